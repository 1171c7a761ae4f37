// What an agent's run takes and what it gives.
//
// Values; no thread rule. Their JSON is kept: its names never change.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/agent/budget.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/llm/message.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::agent {

struct Input {
  std::vector<llm::Message> messages{};  // what the conversation begins with
  bool keep_messages = false;            // the result has the whole conversation
  std::optional<Budget> budget{};        // holds beside the agent's own

  friend bool operator==(const Input&, const Input&) = default;
};

// One message of the user's. A call, so it may stand inside a co_await expression on g++ 12.
inline Input Ask(std::string text) {
  Input input;
  input.messages.push_back(llm::UserMessage(std::move(text)));
  return input;
}

// Persisted by name.
enum class StopReason : uint8_t {
  kDone,     // the model had its say
  kBudget,   // `why` is the part that was too small
  kStopped,  // somebody said so; `why` is the reason
  kRefused,  // the model or its provider would not
  kFailed,   // `why` is the class of the failure: "Quota", "MaxTokens", "Arguments"
};

struct Result {
  StopReason stop = StopReason::kDone;
  std::string text{};    // the model's last words, whichever way it ended
  std::string output{};  // with an output schema: the JSON text that fits it
  std::string why{};
  std::string message{};  // kFailed: a sentence for people
  Spending spent{};
  std::vector<llm::Message> messages{};  // with Input::keep_messages

  friend bool operator==(const Result&, const Result&) = default;
};

// The output as a value of your own.
template <class T>
StatusOr<T> OutputOf(const Result& result) {
  return Decode<T>({result.output, Encoding::kJson});
}

// "done"
MARATHON_EXPORT std::string_view NameOf(StopReason stop);

MARATHON_EXPORT void to_json(nlohmann::json& json, const Input& input);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Input& input);
MARATHON_EXPORT void to_json(nlohmann::json& json, const Budget& budget);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Budget& budget);
MARATHON_EXPORT void to_json(nlohmann::json& json, const Spending& spent);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Spending& spent);
MARATHON_EXPORT void to_json(nlohmann::json& json, const Result& result);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Result& result);

}  // namespace marathon::inline MARATHON_ABI::agent
