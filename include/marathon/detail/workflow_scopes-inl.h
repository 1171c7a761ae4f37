// WorkflowCore: cancellation, handlers, and values that a replay takes from the record.
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
  if (operation.local) return CancelLocal(operation, where);
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
  const auto is_it = [&](const auto& entry) { return entry.second.registration == registration; };
  std::erase_if(queries_, is_it);
  std::erase_if(updates_, is_it);
}

inline std::string NamesOf(const auto& handlers) {
  std::string names;
  for (const auto& [name, handler] : handlers) {
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", name);
  }
  return names.empty() ? "none" : names;
}

// ---- Updates

MARATHON_INLINE uint64_t WorkflowCore::SetHandler(std::string_view name, UpdateHandler handler) {
  CheckMayAct();
  updates_[std::string(name)] = {std::make_shared<const UpdateHandler>(std::move(handler)),
                                 ++registrations_};
  return registrations_;
}

MARATHON_INLINE bool WorkflowCore::Admits(const UpdateAccepted& update, Time now) {
  UpdateCompleted rejected;
  const auto found = updates_.find(update.name);
  if (found == updates_.end()) {
    Failure& failure = rejected.failure.emplace();
    failure.kind = FailureKind::kEngine;
    failure.type = failure_type::kUnknownUpdate;
    failure.message = fmt::format("workflow type \"{}\" handles no update \"{}\" here; it handles {}",
                                  facts_.workflow_type, update.name, NamesOf(updates_));
    failure.non_retryable = true;
    Answer(update.update_id, std::move(rejected));
    return false;
  }
  const bool before = std::exchange(querying_, true);
  const Time last_turn = std::exchange(now_, now);  // again if it is rejected: that writes nothing
  try {
    found->second.handler->validate(update.input);
  } catch (...) {
    rejected.failure = FailureFrom(std::current_exception());
  }
  querying_ = before;
  now_ = last_turn;
  if (!rejected.failure) return true;
  Answer(update.update_id, std::move(rejected));
  return false;
}

MARATHON_INLINE void WorkflowCore::BeginUpdate(EventId id, const UpdateAccepted& update) {
  const std::shared_ptr<const UpdateHandler> handler = updates_.find(update.name)->second.handler;
  Workflow<Payload> call = handler->run(update.input);
  AddBranch(std::move(call).Release(), true);
  ++handlers_running_;
  branches_.back()->update = std::make_unique<HandledUpdate>(HandledUpdate{id, update.update_id});
  Answer(update.update_id, UpdateAccepted{update.update_id, update.name, {}, {}});
}

MARATHON_INLINE void WorkflowCore::EndUpdate(const Branch& branch) {
  using Promise = WorkflowPromise<Payload>;
  const std::coroutine_handle<> code = branch.operation->branch;
  Promise& promise = std::coroutine_handle<Promise>::from_address(code.address()).promise();
  UpdateCompleted completed{branch.update->accepted, {}, {}};
  if (promise.exception) {
    completed.failure = FailureFrom(promise.exception);
  } else {
    completed.result = std::move(*promise.result);
  }
  Answer(branch.update->update_id, completed);
  Issue(std::move(completed), std::source_location());
}

// The last word of a turn counts.
MARATHON_INLINE void WorkflowCore::Answer(std::string_view update_id, EventBody body) {
  if (replaying_) return;
  std::erase_if(answers_, [&](const UpdateAnswer& answer) { return answer.update_id == update_id; });
  answers_.push_back({std::string(update_id), std::move(body)});
}

MARATHON_INLINE std::vector<UpdateAnswer> WorkflowCore::TakeAnswers() { return std::exchange(answers_, {}); }

// ---- Queries

MARATHON_INLINE StatusOr<Payload> WorkflowCore::Query(std::string_view name, const Payload& input) {
  const auto found = queries_.find(name);
  if (found == queries_.end()) {
    return NotFound(fmt::format("workflow type \"{}\" answers no query \"{}\" here; it answers {}",
                                facts_.workflow_type, name, NamesOf(queries_)));
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

MARATHON_INLINE void WorkflowCore::QueryAtEnd(std::string name, Payload input) {
  at_end_.emplace(std::move(name), std::move(input));
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

MARATHON_INLINE void WorkflowCore::RecordSideEffect(Payload value, std::source_location where) {
  Issue(SideEffectRecorded{std::move(value)}, where);
}

// What history has counts, as long as it has something.
MARATHON_INLINE void WorkflowCore::SetAttributes(Labels changes, std::source_location where) {
  if (closed_ || stalled()) return;
  CheckMayAct();
  PassVersions();
  const size_t ahead = issued_.size();
  const auto* recorded = ahead < recorded_.size() ? std::get_if<AttributesSet>(&recorded_[ahead].body) : nullptr;
  SetLabels(labels_.attributes, recorded != nullptr ? recorded->attributes : changes);
  Issue(AttributesSet{std::move(changes)}, where);
}

}  // namespace marathon::inline MARATHON_ABI::detail
