// ScriptedModel: a model for tests, that answers as it was told, without a network.
//
//   auto model = std::make_shared<llm::ScriptedModel>();
//   model->Fails(llm::ErrorClass::kRateLimit).CallsTool("weather", R"({"city":"Oslo"})").Says("It rains.");
//
// Answers come in their order, one a call, on the caller's thread; text comes in pieces of a word.
//
// Safe from any thread.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/llm/model.h"

namespace marathon::inline MARATHON_ABI::llm {

class MARATHON_EXPORT ScriptedModel final : public Model {
 public:
  using Answer = std::function<ChatResult(const ChatRequest&)>;

  ScriptedModel() = default;
  // Asked whenever no other answer is left.
  explicit ScriptedModel(Answer answer) : otherwise_(std::move(answer)) {}

  ScriptedModel& Says(std::string text);
  ScriptedModel& CallsTool(std::string name, std::string arguments);
  // Several in one response; ids that are empty get one.
  ScriptedModel& CallsTools(std::vector<ToolCall> calls);
  ScriptedModel& Fails(ErrorClass error_class, std::string message = "scripted");
  ScriptedModel& Answers(ChatResult result);

  // What was asked so far.
  std::vector<ChatRequest> requests() const;
  // Answers that nobody has asked for.
  size_t left() const;

  // With no answer left: kBadRequest, which is final.
  void Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override;

 private:
  ChatResult Next(const ChatRequest& request);

  const Answer otherwise_;
  mutable std::mutex mutex_;  // guards:
  std::deque<ChatResult> answers_;
  std::vector<ChatRequest> requests_;
  int calls_ = 0;  // of tools, for their ids
};

}  // namespace marathon::inline MARATHON_ABI::llm
