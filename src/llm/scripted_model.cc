#include "marathon/llm/scripted_model.h"

#include <utility>

namespace marathon::inline MARATHON_ABI::llm {
namespace {

// Text in pieces that end behind a space.
void TellText(size_t block, std::string_view text, Delta::Kind kind, Model::OnDelta& on_delta) {
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const std::string_view piece = text.substr(0, space == text.npos ? space : space + 1);
    on_delta({.kind = kind, .block = block, .text = std::string(piece)});
    text.remove_prefix(piece.size());
  }
}

void Tell(const ChatResponse& response, Model::OnDelta& on_delta) {
  for (size_t i = 0; i < response.blocks.size(); ++i) {
    const Block& block = response.blocks[i];
    if (const auto* text = std::get_if<Text>(&block)) {
      TellText(i, text->text, Delta::Kind::kText, on_delta);
    } else if (const auto* reasoning = std::get_if<Reasoning>(&block)) {
      TellText(i, reasoning->text, Delta::Kind::kReasoning, on_delta);
    } else if (const auto* call = std::get_if<ToolCall>(&block)) {
      on_delta({.kind = Delta::Kind::kToolCall, .block = i, .text = call->name, .id = call->id});
      on_delta({.kind = Delta::Kind::kToolArguments, .block = i, .text = call->arguments});
    }
  }
}

}  // namespace

ScriptedModel& ScriptedModel::Says(std::string text) {
  ChatResponse response{.model = "scripted"};
  response.blocks.emplace_back(Text{std::move(text)});
  return Answers(std::move(response));
}

ScriptedModel& ScriptedModel::CallsTool(std::string name, std::string arguments) {
  return CallsTools({{.id = {}, .name = std::move(name), .arguments = std::move(arguments)}});
}

ScriptedModel& ScriptedModel::CallsTools(std::vector<ToolCall> calls) {
  ChatResponse response{.model = "scripted", .stop_reason = StopReason::kToolCalls};
  for (ToolCall& call : calls) {
    if (call.id.empty()) {
      const std::lock_guard lock(mutex_);
      call.id = "call_" + std::to_string(++calls_);
    }
    response.blocks.emplace_back(std::move(call));
  }
  return Answers(std::move(response));
}

ScriptedModel& ScriptedModel::Fails(ErrorClass error_class, std::string message) {
  return Answers(MakeError(error_class, std::move(message)));
}

ScriptedModel& ScriptedModel::Answers(ChatResult result) {
  const std::lock_guard lock(mutex_);
  answers_.push_back(std::move(result));
  return *this;
}

std::vector<ChatRequest> ScriptedModel::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

size_t ScriptedModel::left() const {
  const std::lock_guard lock(mutex_);
  return answers_.size();
}

void ScriptedModel::Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta,
                         OnResult done) {
  if (stop.stop_requested()) {
    return done(MakeError(ErrorClass::kCanceled, "the call was canceled"));
  }
  ChatResult result = Next(request);
  const auto* response = std::get_if<ChatResponse>(&result);
  if (response != nullptr && on_delta) Tell(*response, on_delta);
  done(std::move(result));
}

ChatResult ScriptedModel::Next(const ChatRequest& request) {
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    if (!answers_.empty()) {
      ChatResult result = std::move(answers_.front());
      answers_.pop_front();
      return result;
    }
  }
  if (otherwise_) return otherwise_(request);
  return MakeError(ErrorClass::kBadRequest, "the script has no answer left");
}

}  // namespace marathon::inline MARATHON_ABI::llm
