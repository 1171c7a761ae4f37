#pragma once

#include "marathon/detail/workflow_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "marathon/activity.h"
#include "marathon/detail/text.h"
#include "marathon/errors.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE std::string Mismatch::ToString() const {
  std::string text = fmt::format("event {}: history has {}, the code {}", event_id, recorded, issued);
  if (where.line() != 0) text += fmt::format(" (at {}:{})", where.file_name(), where.line());
  return text;
}

// The command that an inbound event answers; 0: none.
inline EventId AnsweredBy(const EventBody& inbound) {
  if (const auto* completed = std::get_if<ActivityCompleted>(&inbound)) return completed->scheduled;
  if (const auto* failed = std::get_if<ActivityFailed>(&inbound)) return failed->scheduled;
  if (const auto* fired = std::get_if<TimerFired>(&inbound)) return fired->timer;
  return 0;
}

// The run's id seeds ctx.Random, a splitmix64 sequence.
MARATHON_INLINE WorkflowCore::WorkflowCore(RunFacts facts)
    : facts_(std::move(facts)), random_state_(HashOf(facts_.key.run_id)) {}

// Frames go first, newest branch first: their destructors may still drop handles, but nothing that they
// do is recorded.
MARATHON_INLINE WorkflowCore::~WorkflowCore() {
  closed_ = true;
  for (auto branch = branches_.rbegin(); branch != branches_.rend(); ++branch) {
    if (*branch && (*branch)->operation) {
      std::exchange((*branch)->operation->branch, nullptr).destroy();
    }
  }
  if (root_.handle) root_.handle.destroy();
}

MARATHON_INLINE void WorkflowCore::Adopt(RootWorkflow root) {
  root_ = std::move(root);
  root_.promise->listener = this;
  auto branch = std::make_unique<Branch>();
  branch->resume = root_.handle;
  Enqueue(*branch);
  branches_.push_back(std::move(branch));
}

MARATHON_INLINE void WorkflowCore::CloseWith(EventBody closing) {
  Issue(std::move(closing), std::source_location());
  closed_ = true;
}

MARATHON_INLINE void WorkflowCore::BeginTurn(EventId marker_id, Time now,
                                             uint32_t behavior_flags) {
  last_id_ = marker_id;
  if (!forks_.empty() && marker_id > forks_.front().until) {
    forks_.erase(forks_.begin());
    random_state_ = HashOf(forks_.empty() ? facts_.key.run_id.view() : forks_.front().run_id);
  }
  now_ = now;
  continue_as_new_suggested_ = (behavior_flags & kContinueAsNewSuggested) != 0;
}

MARATHON_INLINE void WorkflowCore::SetStart(const WorkflowStarted& started) {
  run_timeout_ = started.run_timeout;
  forks_ = ForksOf(started.headers);
  if (!forks_.empty()) random_state_ = HashOf(forks_.front().run_id);
  labels_ = {started.memo, started.attributes};
  priority_ = started.priority;
  if (started.origin.empty()) return;
  first_run_id_ = started.origin.front().first_run_id;
  attempt_ = started.origin.front().attempt;
  parent_ = started.origin.front().parent;
}

MARATHON_INLINE std::vector<EventBody> WorkflowCore::TakeUnread() {
  std::map<EventId, EventBody> in_order;
  for (auto& [name, signal] : signals_) {
    for (UnreadSignal& unread : std::exchange(signal.unread, {})) {
      in_order.emplace(unread.id, SignalReceived{name, std::move(unread.input),
                                                 std::move(unread.headers)});
    }
  }
  std::vector<EventBody> signals;
  for (auto& [id, body] : in_order) signals.push_back(std::move(body));
  return signals;
}

MARATHON_INLINE bool WorkflowCore::IsPending(const EventBody& inbound) const {
  if (const EventId answered = AnsweredBy(inbound); answered != 0) return pending_.contains(answered);
  if (std::holds_alternative<WorkflowCancelRequested>(inbound)) return !cancel_requested_;
  if (const auto* update = std::get_if<UpdateAccepted>(&inbound)) return updates_.contains(update->name);
  return true;
}

MARATHON_INLINE bool WorkflowCore::Apply(EventId id, const EventBody& inbound) {
  if (!IsPending(inbound)) return false;
  last_id_ = id;
  if (const EventId answered = AnsweredBy(inbound); answered != 0) {
    const auto found = pending_.find(answered);
    OperationRef operation = std::move(found->second);
    pending_.erase(found);
    if (!operation->local || IsEndOfLocal(*operation, inbound)) Deliver(*operation, inbound);
  } else if (const auto* received = std::get_if<SignalReceived>(&inbound)) {
    DeliverSignal(id, *received);
  } else if (const auto* update = std::get_if<UpdateAccepted>(&inbound)) {
    BeginUpdate(id, *update);
  } else if (const auto* canceled = std::get_if<WorkflowCancelRequested>(&inbound)) {
    cancel_requested_ = true;
    cancel_reason_ = canceled->reason;
    CancelScope(kRunScope, std::source_location());
  }
  return true;
}

MARATHON_INLINE void WorkflowCore::Deliver(Operation& operation, const EventBody& outcome) {
  if (const auto* completed = std::get_if<ActivityCompleted>(&outcome)) {
    operation.result = completed->result;
    operation.attempt = completed->attempt;
  } else if (const auto* failed = std::get_if<ActivityFailed>(&outcome)) {
    operation.failure = std::make_unique<Failure>(failed->failure);
    operation.attempt = failed->attempt;
  }
  Complete(operation);
}

MARATHON_INLINE void WorkflowCore::DeliverSignal(EventId id, const SignalReceived& received) {
  Signal& signal = signals_[received.name];
  if (signal.handler) return CallHandler(*signal.handler, received.input);
  while (!signal.receivers.empty() && signal.receivers.front()->canceled) {
    signal.receivers.pop_front();
  }
  if (signal.receivers.empty()) {
    signal.unread.push_back({id, received.input, received.headers});
    return;
  }
  OperationRef receiver = std::move(signal.receivers.front());
  signal.receivers.pop_front();
  receiver->result = received.input;
  Complete(*receiver);
}

MARATHON_INLINE void WorkflowCore::RunUntilBlocked() {
  while (!stalled() && !closed_) {
    Branch* branch = NextRunnable();
    if (branch == nullptr) {
      if (!WakeConditions()) break;
      continue;
    }
    current_ = branch;
    std::exchange(branch->resume, nullptr).resume();
    current_ = nullptr;
    if (stalled()) break;
    if (!handler_failure_) AfterRunning(*branch);
    if (handler_failure_) EndRun(WorkflowFailed{FailureFrom(handler_failure_)});
  }
  PassVersions();
}

MARATHON_INLINE void WorkflowCore::EndWithRoot() {
  if (const std::exception_ptr thrown = root_.promise->exception) return EndRun(WorkflowFailed{FailureFrom(thrown)});
  StatusOr<Payload> result = root_.result(root_.handle);
  if (result.ok()) return EndRun(WorkflowCompleted{*std::move(result)});
  EndRun(WorkflowFailed{ConversionFailure("result", result.status(), failure_type::kEncode)});
}

// The end of the workflow itself ends the run; the end of a spawned branch completes its handle. A signal
// handler that throws fails the run, an update's only the update.
MARATHON_INLINE void WorkflowCore::AfterRunning(Branch& branch) {
  if (!branch.operation) {
    if (root_.handle.done()) EndWithRoot();
    return;
  }
  const std::coroutine_handle<> code = branch.operation->branch;
  if (!code.done()) return;
  if (branch.handler) --handlers_running_;
  if (branch.update) {
    EndUpdate(branch);
  } else if (branch.handler) {
    auto& promise = std::coroutine_handle<WorkflowPromise<void>>::from_address(code.address()).promise();
    if (promise.exception) handler_failure_ = promise.exception;
  }
  Complete(*branch.operation);
  branches_[branch.number].reset();
}

MARATHON_INLINE void WorkflowCore::EndRun(EventBody closing) {
  const auto* failed = std::get_if<WorkflowFailed>(&closing);
  if (failed != nullptr && cancel_requested_ && failed->failure.kind == FailureKind::kCanceled) {
    closing = WorkflowCanceled{cancel_reason_};
  }
  if (handlers_running_ > 0) {
    Log(LogLevel::kWarning,
        fmt::format("run {} of \"{}\" ended while {} of its handlers still ran; see "
                    "ctx.AllHandlersFinished()",
                    facts_.key.run_id, facts_.key.workflow_id, handlers_running_));
  }
  Issue(std::move(closing), std::source_location());
  closed_ = true;
}

// Handlers first, then in the order of creation.
struct RunsLater {
  bool operator()(const Branch* a, const Branch* b) const {
    return a->handler != b->handler ? b->handler : a->number > b->number;
  }
};

MARATHON_INLINE void WorkflowCore::Enqueue(Branch& branch) {
  if (std::exchange(branch.queued, true)) return;
  runnable_.push_back(&branch);
  std::push_heap(runnable_.begin(), runnable_.end(), RunsLater());
}

MARATHON_INLINE Branch* WorkflowCore::NextRunnable() {
  if (runnable_.empty()) return nullptr;
  std::pop_heap(runnable_.begin(), runnable_.end(), RunsLater());
  Branch* branch = runnable_.back();
  runnable_.pop_back();
  branch->queued = false;
  return branch;
}

// Wakes every coroutine whose condition holds, in the order they began to wait.
MARATHON_INLINE bool WorkflowCore::WakeConditions() {
  bool woken = false;
  std::erase_if(conditions_, [&](Condition* condition) {
    if (condition->waiter.missing == 0) return false;
    if (!condition->canceled && !condition->holds(condition->predicate)) return false;
    condition->waiter.missing = 0;
    condition->waiter.branch->resume = condition->waiter.handle;
    Enqueue(*condition->waiter.branch);
    return woken = true;
  });
  return woken;
}

MARATHON_INLINE void WorkflowCore::AddCondition(Condition* condition) { conditions_.push_back(condition); }

MARATHON_INLINE void WorkflowCore::RemoveCondition(Condition* condition) {
  std::erase(conditions_, condition);
}

MARATHON_INLINE void WorkflowCore::Complete(Operation& operation) {
  operation.done = true;
  operation.done_order = ++done_count_;
  for (Waiter* waiter : std::exchange(operation.waiters, {})) {
    if (waiter->missing == 0 || --waiter->missing > 0) continue;
    waiter->branch->resume = waiter->handle;
    Enqueue(*waiter->branch);
  }
}

MARATHON_INLINE Waiter WaiterHere(const WorkflowCore& core, std::coroutine_handle<> self, int missing) {
  return {core.current_branch(), self, missing};
}

MARATHON_INLINE Operation::~Operation() {
  if (branch) branch.destroy();
}
MARATHON_INLINE void Operation::Delete(Operation* operation) { delete operation; }
MARATHON_INLINE void Operation::AddWaiter(Waiter& waiter) { waiters.push_back(&waiter); }
MARATHON_INLINE void Operation::RemoveWaiter(Waiter& waiter) { std::erase(waiters, &waiter); }
MARATHON_INLINE void Operation::Cancel(std::source_location where) { core->Cancel(*this, where); }

MARATHON_INLINE void WorkflowCore::Issue(EventBody body, std::source_location where) {
  PassVersions();
  issued_.push_back({Event{++last_id_, std::move(body)}, where});
}

// What a query handler or a validator must not do: nothing of it would be recorded.
MARATHON_INLINE void WorkflowCore::CheckMayAct() const {
  if (!querying_) return;
  throw ApplicationError("a query handler, or a validator, may only look: it must not start, wait for or cancel anything",
                         {.type = std::string(failure_type::kReadOnly), .non_retryable = true});
}

MARATHON_INLINE OperationRef WorkflowCore::NewOperation(Operation::Kind kind) {
  CheckMayAct();
  auto* operation = new Operation{.core = this, .kind = kind};
  operation->scope = current_scope();
  return OperationRef(operation);
}

MARATHON_INLINE bool WorkflowCore::NextIsScheduled(std::string_view type) {
  PassVersions();
  const size_t ahead = issued_.size();
  if (ahead >= recorded_.size()) return false;
  const auto* scheduled = std::get_if<ActivityScheduled>(&recorded_[ahead].body);
  return scheduled != nullptr && scheduled->activity_type == type;
}

MARATHON_INLINE OperationRef WorkflowCore::ScheduleActivity(std::string_view type, Payload input,
                                                            std::string_view task_queue,
                                                            ActivityPolicy policy,
                                                            ActivityCancellation cancellation,
                                                            std::source_location where,
                                                            Headers headers) {
  OperationRef operation = NewOperation(Operation::Kind::kActivity);
  operation->name = type;
  operation->cancellation = cancellation;
  if (IsCanceled(operation->scope)) {
    ResolveCanceled(*operation);
    return operation;
  }
  ActivityScheduled scheduled;
  scheduled.activity_type = type;
  scheduled.task_queue = task_queue.empty() ? std::string_view(facts_.task_queue) : task_queue;
  scheduled.input = std::move(input);
  scheduled.policy = std::move(policy);
  scheduled.headers = std::move(headers);
  Issue(std::move(scheduled), where);
  operation->id = last_id_;
  pending_.emplace(operation->id, operation);
  return operation;
}

MARATHON_INLINE OperationRef WorkflowCore::StartTimer(Duration duration, std::source_location where) {
  OperationRef operation = NewOperation(Operation::Kind::kTimer);
  if (IsCanceled(operation->scope)) {
    ResolveCanceled(*operation);
    return operation;
  }
  Issue(TimerStarted{std::max(duration, Duration(0))}, where);
  operation->id = last_id_;
  pending_.emplace(operation->id, operation);
  return operation;
}

MARATHON_INLINE OperationRef WorkflowCore::Receive(std::string_view name) {
  OperationRef operation = NewOperation(Operation::Kind::kReceive);
  operation->name = name;
  auto found = signals_.find(name);
  if (found == signals_.end()) found = signals_.emplace(std::string(name), Signal()).first;
  Signal& signal = found->second;
  if (!signal.unread.empty()) {
    operation->result = std::move(signal.unread.front().input);
    signal.unread.pop_front();
    Complete(*operation);
  } else if (IsCanceled(operation->scope)) {
    ResolveCanceled(*operation);
  } else {
    signal.receivers.push_back(operation);
  }
  return operation;
}

MARATHON_INLINE OperationRef WorkflowCore::Spawn(std::coroutine_handle<> root) {
  CheckMayAct();
  return AddBranch(root, false);
}

MARATHON_INLINE OperationRef WorkflowCore::AddBranch(std::coroutine_handle<> root, bool shielded) {
  OperationRef operation = NewOperation(Operation::Kind::kBranch);
  operation->branch = root;
  const ScopeId outer = current_scope();
  operation->scope = OpenScope(shielded);
  SetCurrentScope(outer);
  auto branch = std::make_unique<Branch>();
  branch->number = branches_.size();
  branch->resume = root;
  branch->handler = shielded;
  branch->scope = operation->scope;
  branch->operation = operation;
  Enqueue(*branch);
  branches_.push_back(std::move(branch));
  return operation;
}

MARATHON_INLINE void WorkflowCore::ContinueAsNew(WorkflowContinuedAsNew next,
                                                 std::source_location where) {
  if (closed_ || stalled()) return;
  CheckMayAct();
  PassVersions();
  next.run_id = DerivedRunId(facts_.key.run_id, last_id_ + 1);
  if (next.workflow_type.empty()) next.workflow_type = facts_.workflow_type;
  if (next.task_queue.empty()) next.task_queue = facts_.task_queue;
  EndRun(std::move(next));
  issued_.back().where = where;
}

MARATHON_INLINE uint64_t WorkflowCore::NextRandom() {
  CheckMayAct();
  return Mixed(random_state_ += 0x9e3779b97f4a7c15);
}

MARATHON_INLINE void WorkflowCore::Log(LogLevel level, std::string_view message) {
  if (!replaying() && !closed_ && log_) log_(level, message);
}

}  // namespace marathon::inline MARATHON_ABI::detail

#include "marathon/detail/workflow_locals-inl.h"
#include "marathon/detail/workflow_scopes-inl.h"
