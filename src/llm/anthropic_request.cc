// Anthropic's Messages: the request.
#include <algorithm>
#include <utility>

#include "src/llm/base64.h"
#include "src/llm/fields.h"
#include "src/llm/request_builder.h"
#include "src/llm/wire.h"

namespace marathon::inline MARATHON_ABI::llm::internal {
namespace {

constexpr int64_t kMaxTokens = 4'096;  // where the request has no number, and the protocol wants one

class AnthropicEncoder {
 public:
  std::variant<std::string, Error> Encode(const ChatRequest& request, const Endpoint& endpoint) {
    OrderedJson& root = builder_.root;
    root["model"] = request.model;
    root["max_tokens"] = request.max_tokens.value_or(kMaxTokens);
    AddTools(request);
    for (const Message& message : request.messages) {
      if (message.role == Role::kSystem) AddSystem(message);
    }
    root["messages"] = OrderedJson::array();
    for (const Message& message : request.messages) {
      if (message.role != Role::kSystem) AddMessage(message);
    }
    if (request.temperature) root["temperature"] = *request.temperature;
    if (!request.stop.empty()) root["stop_sequences"] = request.stop;
    if (request.output) {
      root["output_config"] = {
          {"format",
           {{"type", "json_schema"},
            {"schema", builder_.ParseObject(request.output->schema, "the output's schema")}}}};
    }
    MarkForCache(request.cache.keep);
    return builder_.Finish(request.extra, endpoint.stream);
  }

 private:
  void AddSystem(const Message& message) {
    for (const Block& block : message.blocks) {
      const auto* text = std::get_if<Text>(&block);
      if (text == nullptr) {
        builder_.Refuse("a system message has text only");
      } else if (!text->text.empty()) {
        builder_.root["system"].push_back({{"type", "text"}, {"text", text->text}});
      }
    }
  }

  // Roles take turns: neighbours of one role are one message. Results of tools come first in theirs.
  void AddMessage(const Message& message) {
    OrderedJson results = OrderedJson::array();
    OrderedJson rest = OrderedJson::array();
    for (const Block& block : message.blocks) {
      OrderedJson content = BlockOf(block, message.role);
      if (content.is_null()) continue;
      (std::holds_alternative<ToolResult>(block) ? results : rest).push_back(std::move(content));
    }
    for (OrderedJson& one : rest) results.push_back(std::move(one));
    if (results.empty()) return;
    const char* const role = message.role == Role::kUser ? "user" : "assistant";
    OrderedJson& messages = builder_.root["messages"];
    if (!messages.empty() && messages.back()["role"] == role) {
      for (OrderedJson& one : results) messages.back()["content"].push_back(std::move(one));
    } else {
      messages.push_back({{"role", role}, {"content", std::move(results)}});
    }
  }

  // Null: nothing to say.
  OrderedJson BlockOf(const Block& block, Role role) {
    const bool of_user = std::holds_alternative<ToolResult>(block) || std::holds_alternative<Media>(block);
    const bool of_model = std::holds_alternative<ToolCall>(block) ||
                          std::holds_alternative<Reasoning>(block) ||
                          std::holds_alternative<Opaque>(block);
    if ((of_user && role != Role::kUser) || (of_model && role != Role::kAssistant)) {
      builder_.Refuse("results and media are the user's, tool calls and reasoning the assistant's");
    }
    if (const auto* text = std::get_if<Text>(&block)) {
      if (text->text.empty()) return nullptr;  // it would be refused
      return {{"type", "text"}, {"text", text->text}};
    }
    if (const auto* media = std::get_if<Media>(&block)) return BlockOf(*media);
    if (const auto* call = std::get_if<ToolCall>(&block)) return BlockOf(*call);
    if (const auto* result = std::get_if<ToolResult>(&block)) return BlockOf(*result);
    if (const auto* reasoning = std::get_if<Reasoning>(&block)) {
      if (reasoning->signature.empty()) return nullptr;  // another provider's
      return {{"type", "thinking"},
              {"thinking", reasoning->text},
              {"signature", reasoning->signature}};
    }
    const auto& opaque = std::get<Opaque>(block);
    if (opaque.provider != "anthropic") return nullptr;
    return builder_.ParseObject(opaque.json, "an opaque block");
  }

  // Arguments that are no object cannot be said; the model sees them as what they are.
  OrderedJson BlockOf(const ToolCall& call) {
    OrderedJson input = {{"not_json", call.arguments}};
    if (ParseText(call.arguments).is_object()) input = OrderedJson::parse(call.arguments);
    return {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", std::move(input)}};
  }

  OrderedJson BlockOf(const ToolResult& result) {
    OrderedJson to = {{"type", "tool_result"}, {"tool_use_id", result.call_id}};
    if (result.media.empty()) {
      to["content"] = result.text;
    } else {
      to["content"] = OrderedJson::array();
      if (!result.text.empty()) to["content"].push_back({{"type", "text"}, {"text", result.text}});
      for (const Media& media : result.media) to["content"].push_back(BlockOf(media));
    }
    if (result.is_error) to["is_error"] = true;
    return to;
  }

  OrderedJson BlockOf(const Media& media) {
    builder_.CheckMedia(media);
    const bool image = media.kind == MediaKind::kImage;
    OrderedJson source;
    if (!media.url.empty()) {
      source = {{"type", "url"}, {"url", media.url}};
    } else if (!media.file_id.empty()) {
      source = {{"type", "file"}, {"file_id", media.file_id}};
    } else if (media.media_type == "text/plain") {
      source = {{"type", "text"}, {"media_type", media.media_type}, {"data", media.bytes}};
    } else {
      source = {{"type", "base64"}, {"media_type", media.media_type}, {"data", ToBase64(media.bytes)}};
    }
    OrderedJson to = {{"type", image ? "image" : "document"}, {"source", std::move(source)}};
    if (!image && !media.name.empty()) to["title"] = media.name;
    return to;
  }

  void AddTools(const ChatRequest& request) {
    if (request.tools.empty()) return;
    OrderedJson& root = builder_.root;
    for (const Tool& tool : request.tools) {
      OrderedJson to = {{"name", tool.name}};
      if (!tool.description.empty()) to["description"] = tool.description;
      to["input_schema"] = builder_.SchemaOf(tool);
      if (tool.strict) to["strict"] = true;
      root["tools"].push_back(std::move(to));
    }
    const ToolChoice& choice = request.tool_choice;
    if (choice == ToolChoice()) return;
    constexpr const char* kKinds[] = {"auto", "none", "any", "tool"};
    OrderedJson& to = root["tool_choice"];
    to["type"] = kKinds[static_cast<size_t>(choice.kind)];
    if (choice.kind == ToolChoice::Kind::kTool) to["name"] = choice.name;
    if (!choice.parallel && choice.kind != ToolChoice::Kind::kNone) {
      to["disable_parallel_tool_use"] = true;
    }
  }

  // Three of the four marks that are allowed: behind the tools, the system and the last message, so that the
  // next request, which begins with all of this, finds it.
  void MarkForCache(CacheHint::Keep keep) {
    if (keep == CacheHint::Keep::kDefault) return;
    OrderedJson mark = {{"type", "ephemeral"}};
    if (keep == CacheHint::Keep::kHour) mark["ttl"] = "1h";
    OrderedJson& root = builder_.root;
    for (const char* part : {"tools", "system"}) {
      if (root.contains(part)) root[part].back()["cache_control"] = mark;
    }
    if (root["messages"].empty()) return;
    OrderedJson& content = root["messages"].back()["content"];
    const auto last = std::find_if(content.rbegin(), content.rend(), [](const OrderedJson& block) {
      return block["type"] != "thinking" && block["type"] != "redacted_thinking";
    });
    if (last != content.rend()) (*last)["cache_control"] = mark;
  }

  RequestBuilder builder_;
};

}  // namespace

std::vector<std::string> AnthropicHeaders(const std::string& api_key) {
  std::vector<std::string> headers = {"anthropic-version: 2023-06-01"};
  if (!api_key.empty()) headers.push_back("x-api-key: " + api_key);
  return headers;
}

std::variant<std::string, Error> EncodeAnthropic(const ChatRequest& request,
                                                 const Endpoint& endpoint) {
  return AnthropicEncoder().Encode(request, endpoint);
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
