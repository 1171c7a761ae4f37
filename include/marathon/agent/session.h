// Sessions: a conversation with an agent that goes on for as long as people want it to. Its run waits for messages; each
// is a turn, as a run of the agent's would be, and turns are taken one at a time, in the order in which they came.
//
//   agent::BindSession(registry, assistant, client, {.idle_timeout = 24h});
//   …
//   auto run = engine->Start("Assistant/session", agent::SessionInput(), {.workflow_id = "chat-7"});
//   absl::StatusOr<agent::Result> answer = agent::Say(*run, "Who wrote Faust?");  // client.h
//
// When its history has grown long, and nobody waits, it goes on as a new run of the same workflow id, with all that was
// said. Approvals, steering and stopping (control.h) are of the turn that is on.
//
// Values, but for RunSession; no thread rule. Their JSON is kept: its names never change.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "marathon/activity_def.h"
#include "marathon/agent/budget.h"
#include "marathon/agent/control.h"
#include "marathon/agent/definition.h"
#include "marathon/agent/result.h"
#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/llm/message.h"
#include "marathon/time.h"
#include "marathon/workflow.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI::agent {

struct SessionOptions {
  // Of all turns together; Agent::budget is of each. Once it is used up, turns end before they begin (kBudget).
  Budget budget{.steps = 0, .tool_calls = 0};
  Duration idle_timeout{0};  // without a word; then the session ends. 0: it waits for ever
  int max_waiting = 20;      // messages behind the turn that is on; more are turned away ("Busy")
};

// What a session's run takes: the conversation so far, if there is one. The rest is the session's own, for the run that
// goes on.
struct SessionInput {
  std::vector<llm::Message> messages{};
  std::optional<BlobRef> head{};  // of the first `kept`
  size_t kept = 0;
  int turns = 0;
  Spending spent{};
  Time began{};

  friend bool operator==(const SessionInput&, const SessionInput&) = default;
};

struct SessionResult {
  std::string why{};     // "closed" or "idle"
  std::string reason{};  // who closed it said so
  int turns = 0;
  Spending spent{};

  friend bool operator==(const SessionResult&, const SessionResult&) = default;
};

struct SessionStatus {
  int turns = 0;    // that have ended
  bool busy = false;  // one is on
  int turn = 0;     // its number, from 1; 0: none is on
  int waiting = 0;  // messages behind it
  Spending spent{};  // by the turns that have ended
};

// A turn: an agent's input, and its result. Rejected with "Closed", "Busy" and "Empty" (the type of its failure).
inline constexpr UpdateDef<Result(Input)> kSay{"agent.say"};
// Ends the session, once the turns that wait have been taken.
inline constexpr SignalDef<StopOrder> kClose{"agent.close"};
inline constexpr QueryDef<SessionStatus()> kSession{"agent.session"};

namespace internal {

inline std::string SessionName(const Agent& agent) { return agent.name + "/session"; }

}  // namespace internal

// The session. All four must outlive the co_await; `agent` and its tools are bound with agent.h.
MARATHON_EXPORT Workflow<SessionResult> RunSession(WorkflowContext& ctx, const Agent& agent,
                                                   const SessionOptions& options, const SessionInput& input);

MARATHON_EXPORT void to_json(nlohmann::json& json, const SessionInput& input);
MARATHON_EXPORT void from_json(const nlohmann::json& json, SessionInput& input);
MARATHON_EXPORT void to_json(nlohmann::json& json, const SessionResult& result);
MARATHON_EXPORT void from_json(const nlohmann::json& json, SessionResult& result);
MARATHON_EXPORT void to_json(nlohmann::json& json, const SessionStatus& status);
MARATHON_EXPORT void from_json(const nlohmann::json& json, SessionStatus& status);

}  // namespace marathon::inline MARATHON_ABI::agent
