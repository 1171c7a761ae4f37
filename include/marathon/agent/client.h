// An agent's run from outside: typed calls for the signals and queries of control.h.
//
//   for (const agent::PendingApproval& call : *agent::Pending(run)) {
//     agent::Approve(run, call);
//   }
//
// Functions only; safe from any thread. Errors are those of Run::Signal, Run::Query and Run::Update.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/agent/control.h"
#include "marathon/agent/result.h"
#include "marathon/agent/session.h"
#include "marathon/agent/stream.h"
#include "marathon/config.h"
#include "marathon/engine.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::agent {

// The calls that wait for a person, in the order in which they began to wait.
inline StatusOr<std::vector<PendingApproval>> Pending(const Run& run) { return run.Query(kPending); }
// For List and Count: the open runs in which a call waits for a person, of agents, their children and sessions.
inline ListRequest WaitingRuns() {
  ListRequest request;
  request.status = RunStatus::kRunning;
  request.attributes = {{kWaitsAttribute, kWaitsForApproval}};
  return request;
}
inline StatusOr<AgentStatus> StatusOf(const Run& run) { return run.Query(kStatus); }

// OK means that the run has been told, not that the decision still counts.
inline Status Decide(const Run& run, const Decision& decision, SignalOptions options = {}) {
  return run.Signal(kDecide, decision, std::move(options));
}
// Waits until the run has it: OK means that it counts. kInvalidArgument: it does not (kDecideAndTell);
// kFailedPrecondition: the run has ended.
inline Status DecideAndTell(const Run& run, const Decision& decision, UpdateOptions options = {}) {
  return run.Update(kDecideAndTell, decision, std::move(options));
}
inline Status Approve(const Run& run, const PendingApproval& call) {
  return Decide(run, {.key = call.key, .digest = call.digest});
}
inline Status Deny(const Run& run, const PendingApproval& call, std::string text) {
  return Decide(run, {.key = call.key, .digest = call.digest, .verdict = Verdict::kDeny, .text = std::move(text)});
}
inline Status Edit(const Run& run, const PendingApproval& call, std::string arguments) {
  return Decide(run, {.key = call.key, .digest = call.digest, .verdict = Verdict::kEdit,
                      .arguments = std::move(arguments)});
}

// What a reader of the run's stream decides from: as Pending tells of it.
inline PendingApproval AsPending(const StreamEvent& asked) {
  return {.key = asked.id, .tool = asked.tool, .arguments = asked.text, .digest = asked.digest, .expires = asked.expires};
}

// Shows what the run says as it comes: `show` is called with each event of its stream behind `after`, on this thread. Waits
// for the end of the run, and of its stream. A client that comes back gives the number of the last event that it has
// seen (StreamEvent::seq). Errors are those of Run::Describe and StreamReader::Next; it may be called again then.
MARATHON_EXPORT Status Watch(Engine& engine, const Run& run, const std::function<void(const StreamEvent&)>& show,
                             uint64_t after = 0);

inline Status Steer(const Run& run, std::string text, SignalOptions options = {}) {
  return run.Signal(kSteer, {std::move(text)}, std::move(options));
}
inline Status Stop(const Run& run, std::string reason, SignalOptions options = {}) {
  return run.Signal(kStop, {std::move(reason)}, std::move(options));
}
// Of a session: this turn, if it is still on (StreamEvent::turn, SessionStatus::turn).
inline Status StopTurn(const Run& session, int turn, std::string reason, SignalOptions options = {}) {
  return session.Signal(kStop, {std::move(reason), turn}, std::move(options));
}

// ---- Sessions

// Waits for its turn, and for the end of it. The same update_id again is the same turn. kFailedPrecondition: the session
// has ended; kInvalidArgument: it turns this away, and the failure's type says why ("Closed", "Busy", "Empty").
inline StatusOr<Result> Say(const Run& session, const Input& input, UpdateOptions options = {}) {
  return session.Update(kSay, input, std::move(options));
}
inline StatusOr<Result> Say(const Run& session, std::string text, UpdateOptions options = {}) {
  return Say(session, Ask(std::move(text)), std::move(options));
}
inline Status Close(const Run& session, std::string reason = "", SignalOptions options = {}) {
  return session.Signal(kClose, {std::move(reason)}, std::move(options));
}
inline StatusOr<SessionStatus> SessionOf(const Run& session) { return session.Query(kSession); }

}  // namespace marathon::inline MARATHON_ABI::agent
