// Chat Completions: the response, whole or in chunks. A chunk's `delta` and a whole `message` are of one form,
// but for the indices of tool calls.
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

StopReason OpenAiReasonOf(std::string_view word) {
  if (word == "stop") return StopReason::kEnd;
  if (word == "length") return StopReason::kMaxTokens;
  if (word == "tool_calls" || word == "function_call") return StopReason::kToolCalls;
  if (word == "content_filter") return StopReason::kRefused;
  return StopReason::kOther;
}

class OpenAiReader final : public ResponseReader {
 public:
  explicit OpenAiReader(Model::OnDelta on_delta) : builder_(std::move(on_delta)) {}

  std::optional<Error> OnEvent(const SseEvent& event) override {
    done_ |= event.data == "[DONE]";
    if (done_) return std::nullopt;
    return OnObject(event.data, "delta");
  }
  std::optional<Error> OnBody(std::string_view body) override {
    done_ = true;
    return OnObject(body, "message");
  }
  bool complete() const override { return done_ || finished_; }
  bool begun() const override { return !builder_.empty(); }
  ChatResponse Take() override { return builder_.Take(); }

 private:
  std::optional<Error> OnObject(std::string_view text, const char* member) {
    const json object = ParseText(halves_.Join(text));
    if (!object.is_object()) {
      return MakeError(ErrorClass::kTransient, "the provider's answer is not JSON");
    }
    if (Find(object, "error") != nullptr) return ErrorOfJson(200, object);
    ChatResponse& response = builder_.response;
    if (response.id.empty()) response.id = StringOf(object, "id");
    if (response.model.empty()) response.model = StringOf(object, "model");
    if (const json* usage = Find(object, "usage")) OnUsage(*usage);
    const json* choices = Find(object, "choices");
    const bool whole = std::string_view(member) == "message";
    if (choices == nullptr || !choices->is_array() || choices->empty()) {
      if (!whole) return std::nullopt;  // the last chunk has usage alone
      return MakeError(ErrorClass::kTransient, "the provider's answer has no choices");
    }
    const json& choice = choices->front();
    if (IntOf(choice, "index") != 0) return std::nullopt;
    if (const json* delta = Find(choice, member)) OnDelta(*delta);
    if (const std::string word = StringOf(choice, "finish_reason"); !word.empty()) {
      finished_ = true;
      response.stop_word = word;
      response.stop_reason = refused_ ? StopReason::kRefused : OpenAiReasonOf(word);
    }
    return std::nullopt;
  }

  void OnDelta(const json& delta) {
    for (const char* field : {"reasoning_content", "reasoning"}) {
      const std::string piece = StringOf(delta, field);
      builder_.AppendReasoning(reasoning_, piece, field);
      if (!piece.empty()) break;  // some servers say it in both
    }
    builder_.AppendText(text_, StringOf(delta, "content"));
    if (const json* parts = Find(delta, "content"); parts != nullptr && parts->is_array()) {
      for (const json& part : *parts) builder_.AppendText(text_, StringOf(part, "text"));
    }
    if (const std::string refusal = StringOf(delta, "refusal"); !refusal.empty()) {
      refused_ = true;
      builder_.AppendText(text_, refusal);
    }
    const json* calls = Find(delta, "tool_calls");
    if (calls == nullptr || !calls->is_array()) return;
    for (size_t i = 0; i < calls->size(); ++i) OnToolCall((*calls)[i], static_cast<int64_t>(i));
  }

  // Pieces of a call have its index. Its id and name come once, but some servers repeat them, and some give
  // all calls the same index and tell them apart by id.
  void OnToolCall(const json& piece, int64_t position) {
    const int64_t index = IntOf(piece, "index", position);
    const std::string id = StringOf(piece, "id");
    const json* function = Find(piece, "function");
    const std::string name = function != nullptr ? StringOf(*function, "name") : std::string();
    const auto [call, is_new] = calls_.try_emplace(index);
    if (is_new || (!id.empty() && id != call->second.id)) {
      call->second = {builder_.OpenToolCall(id, name), id};
    } else {
      builder_.SetName(call->second.block, name);
    }
    if (function == nullptr) return;
    builder_.AppendArguments(call->second.block, StringOf(*function, "arguments"));
    // A few servers send an object instead of its text.
    const json* arguments = Find(*function, "arguments");
    if (arguments != nullptr && arguments->is_object()) {
      builder_.AppendArguments(call->second.block, arguments->dump());
    }
  }

  void OnUsage(const json& usage) {
    Usage& to = builder_.response.usage;
    to.input = IntOf(usage, "prompt_tokens");
    to.output = IntOf(usage, "completion_tokens");
    if (const json* details = Find(usage, "prompt_tokens_details")) {
      to.cached_input = IntOf(*details, "cached_tokens");
      to.cache_write_input = IntOf(*details, "cache_write_tokens");
    }
    if (const json* details = Find(usage, "completion_tokens_details")) {
      to.reasoning = IntOf(*details, "reasoning_tokens");
    }
  }

  struct Call {
    size_t block = 0;
    std::string id;  // as the server has it
  };

  HalfCharacters halves_;
  ResponseBuilder builder_;
  size_t text_ = ResponseBuilder::kNone;
  size_t reasoning_ = ResponseBuilder::kNone;
  std::map<int64_t, Call> calls_;  // by index
  bool refused_ = false;
  bool finished_ = false;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<ResponseReader> NewOpenAiReader(Model::OnDelta on_delta) {
  return std::make_unique<OpenAiReader>(std::move(on_delta));
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
