// The steps of an agent as its run's history has them: what each activity is given, and what it answers.
//
// A step of the model is given the messages that are new, and where the conversation before them is; prompts are
// in no history twice. Their JSON is kept: its names never change.
//
// Values; no thread rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"

namespace marathon::inline MARATHON_ABI::agent {

// Some of a conversation's messages, by their places.
struct MessageSpan {
  size_t first = 0;
  size_t last = 0;  // behind the last one

  bool empty() const { return first >= last; }
  friend bool operator==(const MessageSpan&, const MessageSpan&) = default;
};

// One request to the model. What does not change from step to step, such as instructions and the tools' schemas,
// is the worker's own.
struct ModelTask {
  int step = 0;                         // from 1
  std::optional<BlobRef> head{};        // of the conversation before `messages` (conversation.h)
  std::vector<llm::Message> messages{};  // since then
  std::string model{};
  std::vector<std::string> tools{};     // the names of those it is offered, in order
  bool again = false;                   // the step was asked before, and the conversation was lost
  std::optional<MessageSpan> summarize{};  // asks for a summary of these instead
  int turn = 1;                         // of the session that the step is of

  friend bool operator==(const ModelTask&, const ModelTask&) = default;
};

struct ModelReply {
  bool lost = false;  // the conversation is no longer kept: send all of it. Nothing else is there then
  llm::ChatResponse response{};
  BlobRef head{};     // of the conversation with this answer; a summary's: of what it is of, and it
  bool unseen = false;  // the run's stream could not be given all of it
  bool stopped = false;  // the agent was stopped: `response` is the text that had come, without usage
  int64_t said_tokens = 0;  // … and this at a guess all that had, reasoning and calls too
  int attempts_lost = 0;  // before this one: those that failed, or whose worker died, and may have been paid for

  friend bool operator==(const ModelReply&, const ModelReply&) = default;
};

struct ToolTask {
  int step = 0;           // of the model, that asked for it
  std::string call_id{};
  std::string arguments{};  // JSON text; the person's, if one changed them

  friend bool operator==(const ToolTask&, const ToolTask&) = default;
};

struct ToolReply {
  std::string text{};
  bool is_error = false;
  bool unknown = false;  // nobody knows whether it had its effect

  friend bool operator==(const ToolReply&, const ToolReply&) = default;
};

// What the loop itself says in the run's stream: once, however often it is run.
struct PublishTask {
  std::string writer{};             // a step of the stream, of its own
  std::vector<std::string> frames{};  // stream.h
  std::vector<std::string> silences{};  // other steps of the stream, which say nothing behind these any more

  friend bool operator==(const PublishTask&, const PublishTask&) = default;
};

MARATHON_EXPORT void to_json(nlohmann::json& json, const PublishTask& task);
MARATHON_EXPORT void from_json(const nlohmann::json& json, PublishTask& task);
MARATHON_EXPORT void to_json(nlohmann::json& json, const ModelTask& task);
MARATHON_EXPORT void from_json(const nlohmann::json& json, ModelTask& task);
MARATHON_EXPORT void to_json(nlohmann::json& json, const ModelReply& reply);
MARATHON_EXPORT void from_json(const nlohmann::json& json, ModelReply& reply);
MARATHON_EXPORT void to_json(nlohmann::json& json, const ToolTask& task);
MARATHON_EXPORT void from_json(const nlohmann::json& json, ToolTask& task);
MARATHON_EXPORT void to_json(nlohmann::json& json, const ToolReply& reply);
MARATHON_EXPORT void from_json(const nlohmann::json& json, ToolReply& reply);

}  // namespace marathon::inline MARATHON_ABI::agent
