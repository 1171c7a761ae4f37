// Host: starts of runs, with their first turn where this process can take it; and runs that go on where others end.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/detail/block_pool.h"
#include "marathon/detail/priority.h"
#include "marathon/engine/checks.h"
#include "marathon/engine/fork_plan.h"
#include "marathon/engine/host.h"
#include "marathon/engine/next_start.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI {

struct Host::StartState {
  StartCall call;
  RunKey run;
  Id request_id;
  std::string task_queue;
  std::vector<Message> messages;
  detail::SlotPtr slot;  // has taken the first turn
  int failures = 0;
  Done<StartReply> done;
};

MARATHON_INLINE Status Host::CheckStart(const StartState& state, const StartCall& call) {
  for (const Message& message : call.signals) {
    const auto* signal = std::get_if<SignalReceived>(&message.body);
    if (signal == nullptr) continue;
    if (Status status = CheckSignal(signal->name, signal->input, message.dedupe_key); !status.ok()) return status;
  }
  return FirstError({CheckText("workflow id", state.run.workflow_id, limits::kMaxIdBytes),
                     CheckText("request id", state.request_id, limits::kMaxIdBytes),
                     CheckText("workflow type", call.workflow_type, limits::kMaxNameBytes),
                     CheckTaskQueue(state.task_queue),
                     detail::CheckLabels("memo", call.options.memo),
                     detail::CheckLabels("attribute", call.options.attributes),
                     detail::CheckPriority(call.options.priority),
                     CheckPayload("input", call.input)});
}

MARATHON_INLINE WorkflowStarted Host::StartedOf(StartCall& call, const std::string& task_queue) const {
  if (call.fork) return call.fork->started;
  WorkflowStarted started;
  started.workflow_type = call.workflow_type;
  started.input = std::move(call.input);
  started.task_queue = task_queue;
  started.run_timeout = call.options.run_timeout;
  started.headers = std::move(call.options.headers);
  const StartOptions& options = call.options;
  detail::SetLabels(started.memo, options.memo);
  detail::SetLabels(started.attributes, options.attributes);
  if (options.priority != 0) started.priority = static_cast<uint8_t>(options.priority);
  if (!options.retry && options.start_delay <= Duration(0) && !call.child) return started;
  RunOrigin& origin = started.origin.emplace_back();
  origin.start_delay = std::max(options.start_delay, Duration(0));
  if (options.retry) origin.retry = StoredRetryPolicy(*options.retry);
  if (call.child) {
    origin.parent = call.child->parent;
    if (call.child->retry.maximum_attempts != 1) origin.retry = call.child->retry;
  }
  return started;
}

MARATHON_INLINE void Host::Start(StartCall&& call, Done<StartReply> done) {
  auto state = std::allocate_shared<StartState>(detail::PoolAllocator<StartState>());
  const StartOptions& options = call.options;
  state->request_id = NewId();
  state->run.run_id = call.child ? call.child->run_id : state->request_id;
  state->run.workflow_id = options.workflow_id.empty() ? state->request_id : Id(options.workflow_id);
  if (!options.request_id.empty()) state->request_id = options.request_id;
  state->task_queue = options.task_queue.empty() ? "default" : options.task_queue;
  Status status = CheckStart(*state, call);
  if (stopping()) status = FailedPrecondition("the engine has been shut down");
  const bool registered = registry_->FindWorkflow(call.workflow_type) != nullptr;
  if (status.ok() && registry_->has_workflows() && !registered && !call.any_type) {
    status = NotFound(fmt::format("workflow type \"{}\" is not registered; this registry has {}",
                                  call.workflow_type, registry_->WorkflowNames()));
  }
  if (!status.ok()) return done(std::move(status));

  WorkflowStarted started = StartedOf(call, state->task_queue);
  started.request_id = state->request_id;
  state->messages.reserve(1 + call.signals.size());
  state->messages.push_back({0, "", std::move(started)});
  for (Message& signal : call.signals) state->messages.push_back(std::move(signal));
  state->call = std::move(call);
  state->done = std::move(done);

  const bool again = state->call.child && state->call.child->again;
  const bool kept = state->call.fork && !state->call.fork->kept.empty();
  const bool at_once = state->call.options.start_delay <= Duration(0) && !again && !kept;
  if (at_once && Serves(state->call.workflow_type, state->task_queue) && !session_.id().empty()) {
    state->slot = turns_.FirstTurn(state->run, state->call.workflow_type, state->task_queue,
                                   state->messages);
  }
  SendStart(std::move(state));
}

MARATHON_INLINE bool Host::Serves(std::string_view workflow_type,
                                  std::string_view task_queue) const {
  return registry_->FindWorkflow(workflow_type) != nullptr &&
         std::ranges::find(options_.task_queues, task_queue) != options_.task_queues.end();
}

MARATHON_INLINE void Host::SendStart(std::shared_ptr<StartState> state) {
  StartRequest request;
  request.run = state->run;
  request.workflow_type = state->call.workflow_type;
  request.task_queue = state->task_queue;
  request.request_id = state->request_id;
  request.reuse = state->call.options.id_reuse;
  request.conflict = state->call.options.id_conflict;
  request.run_timeout = state->call.options.run_timeout;
  request.delay = state->call.options.start_delay;
  request.messages = state->messages;
  const auto& started = std::get<WorkflowStarted>(state->messages.front().body);
  request.labels = {started.memo, started.attributes};
  if (Serves(request.workflow_type, request.task_queue)) request.session = session_.id();
  if (state->slot) request.first_turn = turns_.BuildCommit(*state->slot);
  if (const ForkPlan* fork = state->call.fork.get(); fork != nullptr && !fork->kept.empty()) {
    request.first_turn = fork->Turns(state->run, state->request_id, runtime_.Random());
    request.inbox = fork->inbox;
  }
  store_->Start(std::move(request), [self = Self(), state](StatusOr<StartReply> reply) {
    self->OnStarted(state, std::move(reply));
  });
}

MARATHON_INLINE void Host::OnStarted(std::shared_ptr<StartState> state, StatusOr<StartReply> reply) {
  constexpr int kTries = 8;
  const StatusCode code = reply.status().code();
  const bool transient = code == StatusCode::kUnavailable || code == StatusCode::kUnknown;
  if (transient && ++state->failures < kTries && !stopping()) {
    return AfterBackoff(state->failures, [self = Self(), state] { self->SendStart(state); });
  }
  if (code == StatusCode::kAborted && state->slot) {  // our session has expired: it can claim nothing
    turns_.Discard(std::exchange(state->slot, nullptr));
    session_.Renew();
    return SendStart(std::move(state));
  }
  // The run is ours if its id is, even if the reply to the first try was lost; but a child's id says nothing of who
  // has started it.
  const bool found = reply.ok() && reply->run.run_id == state->run.run_id;
  const bool ours = found && (reply->started || !state->call.child);
  // What an earlier try did, is still to be found out, even if another run answers: the chain has gone on to it, perhaps.
  const bool in_doubt = found || code == StatusCode::kUnknown || state->failures > 0;
  const bool taken_again = state->slot && found;
  if (state->slot && ours) {
    turns_.Applied(std::exchange(state->slot, nullptr), reply->mine ? 1 : 0);
  } else if (state->slot && in_doubt) {
    turns_.Lost(std::exchange(state->slot, nullptr));
  } else if (state->slot) {
    turns_.Discard(std::exchange(state->slot, nullptr));
  }
  if (reply.ok() && reply->mine && !taken_again) {  // not on this thread, which may be the caller's
    runtime_.Post(Lane::kTurn, [self = Self(), run = reply->run] { self->turns_.Wake(run); });
  }
  state->done(std::move(reply));
}

// ---- Runs that go on where others end ---------------------------------------------------------------

MARATHON_INLINE NextRun Host::NextRunOf(const NextStart& next) {
  NextRun run;
  run.run_id = next.run_id;
  run.workflow_type = next.started.workflow_type;
  run.task_queue = next.started.task_queue;
  run.run_timeout = next.started.run_timeout;
  run.delay = next.delay;
  run.keeps_pin = next.keeps_pin;
  run.messages.reserve(1 + next.unread.size());
  run.messages.push_back({0, "", next.started});
  for (const EventBody& body : next.unread) run.messages.push_back({0, "", body});
  if (Serves(run.workflow_type, run.task_queue)) run.session = session_.id();
  return run;
}

// On the turn lane: a chain of runs that continue at once must not grow the stack.
MARATHON_INLINE void Host::WakeNext(const Id& workflow_id, const NextStart& next) {
  if (next.delay > Duration(0)) return;
  if (!Serves(next.started.workflow_type, next.started.task_queue)) return;
  runtime_.Post(Lane::kTurn, [self = Self(), run = RunKey{workflow_id, next.run_id}] {
    if (!self->stopping()) self->turns_.Wake(run);
  });
}

}  // namespace marathon::inline MARATHON_ABI
