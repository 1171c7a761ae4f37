// Anthropic's Messages: the response, whole or in events.
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/llm/classify.h"
#include "src/llm/fields.h"
#include "src/llm/half_characters.h"
#include "src/llm/response_builder.h"
#include "src/llm/wire.h"

namespace marathon::inline MARATHON_ABI::llm::internal {
namespace {

using nlohmann::json;

StopReason AnthropicReasonOf(std::string_view word) {
  if (word == "end_turn") return StopReason::kEnd;
  if (word == "tool_use") return StopReason::kToolCalls;
  if (word == "max_tokens") return StopReason::kMaxTokens;
  if (word == "stop_sequence") return StopReason::kStopText;
  if (word == "refusal") return StopReason::kRefused;
  if (word == "pause_turn") return StopReason::kPaused;
  if (word == "model_context_window_exceeded") return StopReason::kContextFull;
  return StopReason::kOther;
}

class AnthropicReader final : public ResponseReader {
 public:
  explicit AnthropicReader(Model::OnDelta on_delta) : builder_(std::move(on_delta)) {}

  std::optional<Error> OnEvent(const SseEvent& event) override {
    if (complete_) return std::nullopt;
    const json object = ParseText(halves_.Join(event.data));
    const std::string type = StringOf(object, "type");
    if (type.empty()) return NotAnAnswer();
    if (type == "error") return ErrorOfJson(200, object);
    if (type == "message_start") {
      if (const json* message = Find(object, "message")) OnMessage(*message);
    } else if (type == "message_delta") {
      if (const json* delta = Find(object, "delta")) OnStop(*delta);
      if (const json* usage = Find(object, "usage")) OnUsage(*usage);
    } else if (type == "message_stop") {
      complete_ = true;
    } else {
      OnBlockEvent(type, object);
    }
    return std::nullopt;
  }

  std::optional<Error> OnBody(std::string_view body) override {
    const json message = ParseText(halves_.Join(body));
    if (StringOf(message, "type") == "error") return ErrorOfJson(200, message);
    const json* content = Find(message, "content");
    if (content == nullptr || !content->is_array()) return NotAnAnswer();
    OnMessage(message);
    OnStop(message);
    for (size_t i = 0; i < content->size(); ++i) {
      StartBlock(static_cast<int64_t>(i), (*content)[i], true);
      StopBlock(static_cast<int64_t>(i));
    }
    complete_ = true;
    return std::nullopt;
  }

  bool complete() const override { return complete_; }
  bool begun() const override { return !builder_.empty(); }
  ChatResponse Take() override { return builder_.Take(); }

 private:
  struct OpenBlock {
    size_t block = ResponseBuilder::kNone;  // kNone: of a text in which nothing stands yet
    std::string type;
    json opaque;  // of a type that is not known here
    std::string opaque_input;
  };

  static Error NotAnAnswer() {
    return MakeError(ErrorClass::kTransient, "the provider's answer is not one of Anthropic's");
  }

  void OnMessage(const json& message) {
    builder_.response.id = StringOf(message, "id");
    builder_.response.model = StringOf(message, "model");
    if (const json* usage = Find(message, "usage")) OnUsage(*usage);
  }

  void OnStop(const json& delta) {
    const std::string word = StringOf(delta, "stop_reason");
    if (word.empty()) return;
    builder_.response.stop_word = word;
    builder_.response.stop_reason = AnthropicReasonOf(word);
  }

  // The numbers of a later event replace those of an earlier one. What is read from the cache or written to it
  // does not count as input with them; here it does.
  void OnUsage(const json& usage) {
    Usage& to = builder_.response.usage;
    uncached_ = IntOf(usage, "input_tokens", uncached_);
    to.cached_input = IntOf(usage, "cache_read_input_tokens", to.cached_input);
    to.cache_write_input = IntOf(usage, "cache_creation_input_tokens", to.cache_write_input);
    to.input = uncached_ + to.cached_input + to.cache_write_input;
    to.output = IntOf(usage, "output_tokens", to.output);
    if (const json* details = Find(usage, "output_tokens_details")) {
      to.reasoning = IntOf(*details, "reasoning_tokens", IntOf(*details, "thinking_tokens"));
    }
  }

  void OnBlockEvent(std::string_view type, const json& event) {
    const int64_t index = IntOf(event, "index");
    if (type == "content_block_start") {
      if (const json* block = Find(event, "content_block")) StartBlock(index, *block, false);
    } else if (type == "content_block_delta") {
      if (const json* delta = Find(event, "delta")) OnDelta(index, *delta);
    } else if (type == "content_block_stop") {
      StopBlock(index);
    }
    // A ping, or what will be added one day.
  }

  // `whole`: nothing will be added to it.
  void StartBlock(int64_t index, const json& block, bool whole) {
    OpenBlock& open = open_[index] = {};
    open.type = StringOf(block, "type");
    if (open.type == "text") {
      builder_.AppendText(open.block, StringOf(block, "text"));
    } else if (open.type == "thinking") {
      open.block = builder_.Open(Reasoning{});
      builder_.AppendReasoning(open.block, StringOf(block, "thinking"));
      Sign(open, StringOf(block, "signature"));
    } else if (open.type == "tool_use") {
      open.block = builder_.OpenToolCall(StringOf(block, "id"), StringOf(block, "name"));
      const json* input = Find(block, "input");
      if (whole && input != nullptr) builder_.AppendArguments(open.block, input->dump());
    } else {
      open.block = builder_.Open(Opaque{.provider = "anthropic", .json = {}});
      open.opaque = block;
    }
  }

  void OnDelta(int64_t index, const json& delta) {
    const auto found = open_.find(index);
    if (found == open_.end()) return;
    OpenBlock& open = found->second;
    const std::string type = StringOf(delta, "type");
    if (type == "text_delta") {
      builder_.AppendText(open.block, StringOf(delta, "text"));
    } else if (type == "thinking_delta") {
      builder_.AppendReasoning(open.block, StringOf(delta, "thinking"));
    } else if (type == "signature_delta") {
      Sign(open, StringOf(delta, "signature"));
    } else if (type == "input_json_delta" && open.type == "tool_use") {
      builder_.AppendArguments(open.block, StringOf(delta, "partial_json"));
    } else if (type == "input_json_delta") {
      open.opaque_input += StringOf(delta, "partial_json");
    }
  }

  void Sign(const OpenBlock& open, const std::string& signature) {
    if (auto* reasoning = builder_.Find<Reasoning>(open.block)) reasoning->signature += signature;
  }

  void StopBlock(int64_t index) {
    const auto found = open_.find(index);
    if (found == open_.end()) return;
    OpenBlock& open = found->second;
    if (auto* opaque = builder_.Find<Opaque>(open.block)) {
      if (json input = ParseText(open.opaque_input); input.is_object()) {
        open.opaque["input"] = std::move(input);
      }
      opaque->json = open.opaque.dump();
    }
    open_.erase(found);
  }

  HalfCharacters halves_;
  ResponseBuilder builder_;
  std::map<int64_t, OpenBlock> open_;  // by index
  int64_t uncached_ = 0;
  bool complete_ = false;
};

}  // namespace

std::unique_ptr<ResponseReader> NewAnthropicReader(Model::OnDelta on_delta) {
  return std::make_unique<AnthropicReader>(std::move(on_delta));
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
