// WorkflowCore, second half: cancellation, handlers, and values that a replay takes from the record.
#pragma once

#include "marathon/detail/workflow_core.h"

#include <fmt/format.h>

#include <algorithm>

#include "marathon/errors.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- Cancellation ------------------------------------------------------------------------------

MARATHON_INLINE ScopeId WorkflowCore::OpenScope(bool shielded) {
  CheckMayAct();
  if (scopes_.empty()) scopes_.emplace_back();  // the run's own
  const ScopeId parent = shielded ? kNoScope : current_scope();
  scopes_.push_back({parent, IsCanceled(parent)});
  const auto scope = static_cast<ScopeId>(scopes_.size() - 1);
  SetCurrentScope(scope);
  return scope;
}

MARATHON_INLINE void WorkflowCore::Cancel(Operation& operation, std::source_location where) {
  if (operation.done || operation.canceled || closed_ || stalled()) return;
  CheckMayAct();
  OperationRef keep(&operation);
  if (operation.kind == Operation::Kind::kBranch) return CancelScope(operation.scope, where);
  operation.canceled = true;
  if (operation.kind == Operation::Kind::kReceive) return;  // gave up: skipped when a signal comes
  if (operation.kind == Operation::Kind::kTimer) {
    Issue(TimerCanceled{operation.id}, where);
  } else if (operation.cancellation != ActivityCancellation::kAbandon) {
    const bool wait = operation.cancellation == ActivityCancellation::kWait;
    Issue(ActivityCancelRequested{operation.id, wait}, where);
    if (wait) return;  // until it has ended
  }
  pending_.erase(operation.id);
  ResolveCanceled(operation);
}

MARATHON_INLINE void WorkflowCore::ResolveCanceled(Operation& operation) {
  operation.canceled = true;
  operation.failure = std::make_unique<Failure>();
  operation.failure->kind = FailureKind::kCanceled;
  operation.failure->type = failure_type::kCanceled;
  operation.failure->message = "canceled by its workflow";
  Complete(operation);
}

// A scope is younger than the one around it, so one pass reaches all. What waits is canceled in the order in
// which a replay would find it: receivers, then by event id, then conditions.
MARATHON_INLINE void WorkflowCore::CancelScope(ScopeId scope, std::source_location where) {
  if (closed_ || stalled() || IsCanceled(scope)) return;
  CheckMayAct();
  if (scopes_.empty()) scopes_.emplace_back();
  scopes_[scope].canceled = true;
  for (size_t i = scope + 1; i < scopes_.size(); ++i) {
    if (IsCanceled(scopes_[i].parent)) scopes_[i].canceled = true;
  }
  std::vector<OperationRef> waiting;
  for (auto& [name, signal] : signals_) {
    for (const OperationRef& receiver : signal.receivers) {
      if (!receiver->canceled && IsCanceled(receiver->scope)) ResolveCanceled(*receiver);
    }
  }
  for (const auto& [id, operation] : pending_) {
    if (IsCanceled(operation->scope)) waiting.push_back(operation);
  }
  std::sort(waiting.begin(), waiting.end(),
            [](const OperationRef& a, const OperationRef& b) { return a->id < b->id; });
  for (const OperationRef& operation : waiting) Cancel(*operation, where);
  for (Condition* condition : conditions_) {
    if (IsCanceled(condition->scope)) condition->canceled = true;  // WakeConditions sees to it
  }
}

// ---- Handlers ----------------------------------------------------------------------------------

MARATHON_INLINE uint64_t WorkflowCore::SetHandler(std::string_view name, SignalHandler handler) {
  CheckMayAct();
  Signal& signal = signals_[std::string(name)];
  signal.handler = std::make_shared<const SignalHandler>(std::move(handler));
  signal.registration = ++registrations_;
  for (const UnreadSignal& unread : std::exchange(signal.unread, {})) {
    CallHandler(*signal.handler, unread.input);
    RunNow(*branches_.back());
  }
  return signal.registration;
}

MARATHON_INLINE void WorkflowCore::CallHandler(const SignalHandler& handler, const Payload& value) {
  Workflow<void> call = handler(value);
  AddBranch(std::move(call).Release(), true);
  ++handlers_running_;
}

// Handlers go before other code: here before the rest of the code that sets one.
MARATHON_INLINE void WorkflowCore::RunNow(Branch& branch) {
  std::erase(runnable_, &branch);
  std::make_heap(runnable_.begin(), runnable_.end(), RunsLater());
  branch.queued = false;
  Branch* const outer = std::exchange(current_, &branch);
  std::exchange(branch.resume, nullptr).resume();
  current_ = outer;
  if (!stalled()) AfterRunning(branch);
}

MARATHON_INLINE uint64_t WorkflowCore::SetHandler(std::string_view name, QueryHandler handler) {
  CheckMayAct();
  queries_[std::string(name)] = {std::move(handler), ++registrations_};
  return registrations_;
}

MARATHON_INLINE void WorkflowCore::RemoveHandler(uint64_t registration) {
  for (auto& [name, signal] : signals_) {
    if (signal.registration == registration) signal.handler = nullptr;
  }
  std::erase_if(queries_, [&](const auto& q) { return q.second.registration == registration; });
}

MARATHON_INLINE StatusOr<Payload> WorkflowCore::Query(std::string_view name, const Payload& input) {
  const auto found = queries_.find(name);
  if (found == queries_.end()) {
    std::string names;
    for (const auto& [known, answerer] : queries_) {
      names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", known);
    }
    return NotFound(fmt::format("workflow type \"{}\" answers no query \"{}\" here; it answers {}",
                                facts_.workflow_type, name, names.empty() ? "none" : names));
  }
  const bool before = std::exchange(querying_, true);
  StatusOr<Payload> answer = Unknown("");
  try {
    answer = found->second.handler(input);
  } catch (...) {
    answer = FailureStatus(FailureFrom(std::current_exception()));
  }
  querying_ = before;
  return answer;
}

MARATHON_INLINE void WorkflowCore::OnEnd() {
  if (at_end_) answer_at_end_ = Query(at_end_->first, at_end_->second);
}

// ---- Recorded values ---------------------------------------------------------------------------

// Versions in the record are taken where they stand, whether the code still asks for them or not: a change that
// is long over may be dropped from the code.
MARATHON_INLINE void WorkflowCore::PassVersions() {
  while (replaying_ && issued_.size() < recorded_.size()) {
    const Event& event = recorded_[issued_.size()];
    const auto* recorded = std::get_if<VersionRecorded>(&event.body);
    if (recorded == nullptr) return;
    versions_.insert_or_assign(recorded->change, recorded->version);
    issued_.push_back({Event{++last_id_, *recorded}, std::source_location()});
  }
}

MARATHON_INLINE int32_t WorkflowCore::Version(std::string_view change, int32_t min, int32_t max,
                                              std::source_location where) {
  CheckMayAct();
  if (stalled()) return min;
  PassVersions();
  auto found = versions_.find(change);
  if (found == versions_.end()) {
    found = versions_.emplace(std::string(change), replaying_ ? kBeforeChange : max).first;
    if (!replaying_) Issue(VersionRecorded{found->first, max}, where);
  }
  const int32_t version = found->second;
  if (version >= min && version <= max) return version;
  mismatch_ = Mismatch{last_id_, fmt::format("version {} of change \"{}\"", version, change),
                       fmt::format("has versions {} to {}", min, max), where};
  return min;
}

MARATHON_INLINE const Payload* WorkflowCore::RecordedSideEffect(std::source_location where) {
  CheckMayAct();
  PassVersions();
  const size_t ahead = issued_.size();
  if (!replaying_) return nullptr;
  if (ahead < recorded_.size()) {
    const Event& event = recorded_[ahead];
    if (const auto* recorded = std::get_if<SideEffectRecorded>(&event.body)) return &recorded->value;
    mismatch_ = Mismatch{event.id, Describe(event.body), "recorded a side effect", where};
  } else {
    mismatch_ = Mismatch{last_id_ + 1, "nothing more in this turn", "recorded a side effect", where};
  }
  return nullptr;
}

}  // namespace marathon::inline MARATHON_ABI::detail
