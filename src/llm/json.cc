// The stored form of requests and responses: tests/unit/llm_values_test.cc has it written out.
#include "marathon/llm/json.h"

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "src/llm/base64.h"
#include "src/llm/floats.h"
#include "src/llm/kept_json.h"

namespace marathon::inline MARATHON_ABI::llm {
namespace {

using internal::EnumOf;
using internal::Get;
using internal::Put;
using internal::WordOf;
using nlohmann::json;

// The words for enumerators, by their values; they never change.
constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
constexpr std::array<std::string_view, 4> kChoices = {"auto", "none", "required", "tool"};
constexpr std::array<std::string_view, 3> kKeeps = {"default", "minutes", "hour"};
constexpr std::array<std::string_view, 8> kStopReasons = {
    "end", "tool_calls", "max_tokens", "stop_text", "refused", "paused", "context_full", "other"};

template <class T>
void PutOptional(json& to, const char* name, const std::optional<T>& value) {
  if (value) to[name] = *value;
}
template <class T>
void GetOptional(const json& from, const char* name, std::optional<T>& value) {
  if (const auto found = from.find(name); found != from.end()) value = found->get<T>();
}

json FromMedia(const Media& media) {
  json to = {{"type", media.kind == MediaKind::kImage ? "image" : "document"}};
  Put(to, "media_type", media.media_type);
  Put(to, "url", media.url);
  Put(to, "file_id", media.file_id);
  if (media.blob) to["blob"] = {{"sha256", media.blob->sha256}, {"size", media.blob->size}};
  if (!media.bytes.empty()) to["data"] = internal::ToBase64(media.bytes);
  Put(to, "name", media.name);
  return to;
}

Media ToMedia(const json& from) {
  Media media;
  if (from.at("type") == "document") media.kind = MediaKind::kDocument;
  Get(from, "media_type", media.media_type);
  Get(from, "url", media.url);
  Get(from, "file_id", media.file_id);
  Get(from, "name", media.name);
  if (const auto blob = from.find("blob"); blob != from.end()) {
    media.blob = BlobRef{blob->at("sha256").get<std::string>(), blob->at("size").get<uint64_t>()};
  }
  if (const auto data = from.find("data"); data != from.end()) {
    auto bytes = internal::FromBase64(data->get_ref<const std::string&>());
    if (!bytes) throw std::invalid_argument("\"data\" of an image or a document is not base64");
    media.bytes = *std::move(bytes);
  }
  return media;
}

struct BlockToJson {
  json operator()(const Text& text) const { return {{"type", "text"}, {"text", text.text}}; }
  json operator()(const Media& media) const { return FromMedia(media); }
  json operator()(const ToolCall& call) const {
    return {{"type", "tool_call"}, {"id", call.id}, {"name", call.name},
            {"arguments", call.arguments}};
  }
  json operator()(const ToolResult& result) const {
    json to = {{"type", "tool_result"}, {"call_id", result.call_id}};
    Put(to, "text", result.text);
    for (const Media& media : result.media) to["media"].push_back(FromMedia(media));
    Put(to, "is_error", result.is_error);
    return to;
  }
  json operator()(const Reasoning& reasoning) const {
    json to = {{"type", "reasoning"}, {"text", reasoning.text}};
    Put(to, "signature", reasoning.signature);
    Put(to, "field", reasoning.field);
    return to;
  }
  json operator()(const Opaque& opaque) const {
    return {{"type", "opaque"}, {"provider", opaque.provider}, {"json", opaque.json}};
  }
};

Block ToBlock(const json& from) {
  const auto& type = from.at("type").get_ref<const std::string&>();
  if (type == "text") return Text{from.at("text").get<std::string>()};
  if (type == "image" || type == "document") return ToMedia(from);
  if (type == "tool_call") {
    return ToolCall{from.at("id").get<std::string>(), from.at("name").get<std::string>(),
                    from.at("arguments").get<std::string>()};
  }
  if (type == "tool_result") {
    ToolResult result{.call_id = from.at("call_id").get<std::string>()};
    Get(from, "text", result.text);
    Get(from, "is_error", result.is_error);
    if (const auto media = from.find("media"); media != from.end()) {
      for (const json& one : *media) result.media.push_back(ToMedia(one));
    }
    return result;
  }
  if (type == "reasoning") {
    Reasoning reasoning{.text = from.at("text").get<std::string>()};
    Get(from, "signature", reasoning.signature);
    Get(from, "field", reasoning.field);
    return reasoning;
  }
  if (type == "opaque") {
    return Opaque{from.at("provider").get<std::string>(), from.at("json").get<std::string>()};
  }
  throw std::invalid_argument("\"" + type + "\" is no type of a block");
}

json FromBlocks(const std::vector<Block>& blocks) {
  json to = json::array();
  for (const Block& block : blocks) to.push_back(std::visit(BlockToJson(), block));
  return to;
}

std::vector<Block> ToBlocks(const json& from) {
  std::vector<Block> blocks;
  for (const json& one : from) blocks.push_back(ToBlock(one));
  return blocks;
}

}  // namespace

void to_json(json& to, const Message& message) {
  to = {{"role", WordOf(kRoles, message.role)}, {"blocks", FromBlocks(message.blocks)}};
}
void from_json(const json& from, Message& message) {
  message.role = EnumOf<Role>(kRoles, from.at("role"), "role");
  message.blocks = ToBlocks(from.at("blocks"));
}

void to_json(json& to, const Tool& tool) {
  to = {{"name", tool.name}};
  Put(to, "description", tool.description);
  Put(to, "schema", tool.schema);
  Put(to, "strict", tool.strict);
}
void from_json(const json& from, Tool& tool) {
  from.at("name").get_to(tool.name);
  Get(from, "description", tool.description);
  Get(from, "schema", tool.schema);
  Get(from, "strict", tool.strict);
}

void to_json(json& to, const Usage& usage) {
  to = json::object();
  Put(to, "input", usage.input);
  Put(to, "cached_input", usage.cached_input);
  Put(to, "cache_write_input", usage.cache_write_input);
  Put(to, "output", usage.output);
  Put(to, "reasoning", usage.reasoning);
}
void from_json(const json& from, Usage& usage) {
  Get(from, "input", usage.input);
  Get(from, "cached_input", usage.cached_input);
  Get(from, "cache_write_input", usage.cache_write_input);
  Get(from, "output", usage.output);
  Get(from, "reasoning", usage.reasoning);
}

void to_json(json& to, const ChatRequest& request) {
  to = {{"model", request.model}, {"messages", request.messages}};
  Put(to, "tools", request.tools);
  if (request.tool_choice != ToolChoice()) {
    json choice = {{"kind", WordOf(kChoices, request.tool_choice.kind)}};
    Put(choice, "name", request.tool_choice.name);
    Put(choice, "parallel", request.tool_choice.parallel, true);
    to["tool_choice"] = std::move(choice);
  }
  PutOptional(to, "max_tokens", request.max_tokens);
  PutOptional(to, "temperature", request.temperature);
  Put(to, "stop", request.stop);
  if (request.output) {
    to["output"] = {{"name", request.output->name}, {"schema", request.output->schema},
                    {"strict", request.output->strict}};
  }
  if (request.cache != CacheHint()) {
    json cache = {{"keep", WordOf(kKeeps, request.cache.keep)}};
    Put(cache, "key", request.cache.key);
    to["cache"] = std::move(cache);
  }
  Put(to, "extra", request.extra);
}
void from_json(const json& from, ChatRequest& request) {
  from.at("model").get_to(request.model);
  from.at("messages").get_to(request.messages);
  Get(from, "tools", request.tools);
  if (const auto choice = from.find("tool_choice"); choice != from.end()) {
    request.tool_choice.kind =
        EnumOf<ToolChoice::Kind>(kChoices, choice->at("kind"), "tool choice");
    Get(*choice, "name", request.tool_choice.name);
    Get(*choice, "parallel", request.tool_choice.parallel);
  }
  GetOptional(from, "max_tokens", request.max_tokens);
  GetOptional(from, "temperature", request.temperature);
  Get(from, "stop", request.stop);
  if (const auto output = from.find("output"); output != from.end()) {
    request.output.emplace();
    Get(*output, "name", request.output->name);
    Get(*output, "schema", request.output->schema);
    Get(*output, "strict", request.output->strict);
  }
  if (const auto cache = from.find("cache"); cache != from.end()) {
    request.cache.keep = EnumOf<CacheHint::Keep>(kKeeps, cache->at("keep"), "cache hint");
    Get(*cache, "key", request.cache.key);
  }
  Get(from, "extra", request.extra);
}

void to_json(json& to, const ChatResponse& response) {
  to = {{"blocks", FromBlocks(response.blocks)},
        {"stop_reason", WordOf(kStopReasons, response.stop_reason)}};
  Put(to, "id", response.id);
  Put(to, "model", response.model);
  Put(to, "stop_word", response.stop_word);
  if (response.usage != Usage()) to["usage"] = response.usage;
  Put(to, "route", response.route);
}
void from_json(const json& from, ChatResponse& response) {
  response.blocks = ToBlocks(from.at("blocks"));
  response.stop_reason = EnumOf<StopReason>(kStopReasons, from.at("stop_reason"), "stop reason");
  Get(from, "id", response.id);
  Get(from, "model", response.model);
  Get(from, "stop_word", response.stop_word);
  Get(from, "usage", response.usage);
  Get(from, "route", response.route);
}

void to_json(json& to, const EmbedRequest& request) {
  to = {{"model", request.model}, {"texts", request.texts}};
  PutOptional(to, "dimensions", request.dimensions);
  Put(to, "extra", request.extra);
}
void from_json(const json& from, EmbedRequest& request) {
  from.at("model").get_to(request.model);
  from.at("texts").get_to(request.texts);
  GetOptional(from, "dimensions", request.dimensions);
  Get(from, "extra", request.extra);
}

// Vectors are base64 of 32-bit floats, the low byte first: a third of the digits' length, and exact.
void to_json(json& to, const EmbedResponse& response) {
  json vectors = json::array();
  for (const auto& vector : response.vectors) {
    vectors.push_back(internal::ToBase64(internal::BytesOfFloats(vector)));
  }
  to = {{"vectors", std::move(vectors)}};
  Put(to, "model", response.model);
  if (response.usage != Usage()) to["usage"] = response.usage;
}
void from_json(const json& from, EmbedResponse& response) {
  for (const json& one : from.at("vectors")) {
    const auto bytes = internal::FromBase64(one.get_ref<const std::string&>());
    auto vector = bytes ? internal::FloatsOfBytes(*bytes) : std::nullopt;
    if (!vector) throw std::invalid_argument("one of \"vectors\" is not base64 of floats");
    response.vectors.push_back(*std::move(vector));
  }
  Get(from, "model", response.model);
  Get(from, "usage", response.usage);
}

}  // namespace marathon::inline MARATHON_ABI::llm
