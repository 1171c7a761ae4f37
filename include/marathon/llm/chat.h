// One call of a chat model: what is asked, what comes back, and the pieces it comes in.
//
// Values; no thread rule. json.h makes requests and responses JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "marathon/config.h"
#include "marathon/llm/error.h"
#include "marathon/llm/message.h"

namespace marathon::inline MARATHON_ABI::llm {

// A function that the model may ask for. Keep the order of a list of them: prompt caches go by it.
struct Tool {
  std::string name;
  std::string description{};
  std::string schema{};  // JSON Schema of the arguments, as text; empty: it takes none
  bool strict = false;   // the provider holds the model to the schema, if it can

  friend bool operator==(const Tool&, const Tool&) = default;
};

struct ToolChoice {
  enum class Kind : uint8_t {
    kAuto,      // the model decides
    kNone,      // it must not call any
    kRequired,  // it must call one or more
    kTool,      // it must call `name`
  };
  Kind kind = Kind::kAuto;
  std::string name{};
  bool parallel = true;  // several in one response

  friend bool operator==(const ToolChoice&, const ToolChoice&) = default;
};

// The form that the text of the answer must have.
struct OutputSchema {
  std::string name = "answer";  // letters, digits, '_' and '-'
  std::string schema{};         // JSON Schema, as text
  bool strict = true;

  friend bool operator==(const OutputSchema&, const OutputSchema&) = default;
};

// What the provider should keep of the prompt, for the next request that begins alike.
struct CacheHint {
  enum class Keep : uint8_t { kDefault, kMinutes, kHour };
  Keep keep = Keep::kDefault;  // Anthropic: kDefault is not at all. OpenAI decides by itself
  std::string key{};           // OpenAI: requests of one key go to one cache

  friend bool operator==(const CacheHint&, const CacheHint&) = default;
};

struct ChatRequest {
  std::string model;
  std::vector<Message> messages{};
  std::vector<Tool> tools{};
  ToolChoice tool_choice{};
  std::optional<int64_t> max_tokens{};   // of the answer; Anthropic needs a number and gets 4096
  std::optional<double> temperature{};
  std::vector<std::string> stop{};       // the answer ends before any of these
  std::optional<OutputSchema> output{};
  CacheHint cache{};
  // A JSON object whose members become members of the request as it is sent, over those written here:
  // what a provider has and this struct has not (R"({"top_p": 0.9})").
  std::string extra{};

  friend bool operator==(const ChatRequest&, const ChatRequest&) = default;
};

// In tokens. All zero: the server did not say.
struct Usage {
  int64_t input = 0;             // of all kinds
  int64_t cached_input = 0;      // … of which came from the provider's cache
  int64_t cache_write_input = 0;  // … and went into it
  int64_t output = 0;            // of all kinds
  int64_t reasoning = 0;         // … of which nobody sees

  Usage& operator+=(const Usage& other) {
    input += other.input;
    cached_input += other.cached_input;
    cache_write_input += other.cache_write_input;
    output += other.output;
    reasoning += other.reasoning;
    return *this;
  }
  friend bool operator==(const Usage&, const Usage&) = default;
};

enum class StopReason : uint8_t {
  kEnd,            // the model had no more to say
  kToolCalls,      // it waits for tools
  kMaxTokens,      // max_tokens were not enough; the last block may be half
  kStopText,       // one of ChatRequest::stop
  kRefused,        // the provider or the model would not
  kPaused,         // Anthropic: send the answer back, and it goes on
  kContextFull,    // the model can hold no more
  kOther,          // a word of the provider's that is not known here
};

struct ChatResponse {
  std::string id{};     // the provider's
  std::string model{};  // the one that answered
  std::vector<Block> blocks{};
  StopReason stop_reason = StopReason::kEnd;
  std::string stop_word{};  // the provider's own
  Usage usage{};
  std::string route{};  // of a Router (router.h): the one that answered

  friend bool operator==(const ChatResponse&, const ChatResponse&) = default;
};

// The response as the next request must have it.
inline Message AsMessage(const ChatResponse& response) {
  Message message{.role = Role::kAssistant};
  message.blocks = response.blocks;
  return message;
}

// A piece of a response on its way.
struct Delta {
  enum class Kind : uint8_t {
    kText,           // `text` is appended to a Text
    kReasoning,      // … to a Reasoning
    kToolCall,       // a ToolCall begins: `id`, and its name in `text`
    kToolArguments,  // `text` is appended to its arguments
    kReset,          // nothing of it counts any more: another model begins anew (router.h)
  };
  Kind kind = Kind::kText;
  size_t block = 0;  // which one of ChatResponse::blocks
  std::string text{};
  std::string id{};

  friend bool operator==(const Delta&, const Delta&) = default;
};

using ChatResult = std::variant<ChatResponse, Error>;

}  // namespace marathon::inline MARATHON_ABI::llm
