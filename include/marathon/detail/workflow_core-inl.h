#pragma once

#include "marathon/detail/workflow_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "marathon/detail/text.h"
#include "marathon/errors.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE std::string Mismatch::ToString() const {
  std::string text = fmt::format("event {}: history has {}, the code {}", event_id, recorded, issued);
  if (where.line() != 0) text += fmt::format(" (at {}:{})", where.file_name(), where.line());
  return text;
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
  now_ = now;
  continue_as_new_suggested_ = (behavior_flags & kContinueAsNewSuggested) != 0;
}

MARATHON_INLINE void WorkflowCore::SetStart(const WorkflowStarted& started) {
  run_timeout_ = started.run_timeout;
  if (started.origin.empty()) return;
  first_run_id_ = started.origin.front().first_run_id;
  attempt_ = started.origin.front().attempt;
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
  if (const auto* completed = std::get_if<ActivityCompleted>(&inbound)) {
    return pending_.contains(completed->scheduled);
  }
  if (const auto* failed = std::get_if<ActivityFailed>(&inbound)) {
    return pending_.contains(failed->scheduled);
  }
  if (const auto* fired = std::get_if<TimerFired>(&inbound)) return pending_.contains(fired->timer);
  return true;
}

MARATHON_INLINE bool WorkflowCore::Apply(EventId id, const EventBody& inbound) {
  EventId answers = 0;
  if (const auto* completed = std::get_if<ActivityCompleted>(&inbound)) answers = completed->scheduled;
  if (const auto* failed = std::get_if<ActivityFailed>(&inbound)) answers = failed->scheduled;
  if (const auto* fired = std::get_if<TimerFired>(&inbound)) answers = fired->timer;
  if (answers != 0) {
    const auto found = pending_.find(answers);
    if (found == pending_.end()) return false;
    OperationRef operation = std::move(found->second);
    pending_.erase(found);
    if (const auto* completed = std::get_if<ActivityCompleted>(&inbound)) {
      operation->result = completed->result;
      operation->attempt = completed->attempt;
    } else if (const auto* failed = std::get_if<ActivityFailed>(&inbound)) {
      operation->failure = std::make_unique<Failure>(failed->failure);
      operation->attempt = failed->attempt;
    }
    Complete(*operation);
  } else if (const auto* received = std::get_if<SignalReceived>(&inbound)) {
    Signal& signal = signals_[received->name];
    while (!signal.receivers.empty() && signal.receivers.front()->canceled) {
      signal.receivers.pop_front();
    }
    if (signal.receivers.empty()) {
      signal.unread.push_back({id, received->input, received->headers});
    } else {
      OperationRef receiver = std::move(signal.receivers.front());
      signal.receivers.pop_front();
      receiver->result = received->input;
      Complete(*receiver);
    }
  }
  last_id_ = id;
  return true;
}

MARATHON_INLINE void WorkflowCore::RunUntilBlocked() {
  while (!stalled() && !closed_) {
    Branch* branch = NextRunnable();
    if (branch == nullptr) {
      if (!WakeConditions()) return;
      continue;
    }
    current_ = branch;
    std::exchange(branch->resume, nullptr).resume();
    current_ = nullptr;
    if (!stalled()) AfterRunning(*branch);
  }
}

// The end of the workflow itself ends the run; the end of a spawned branch completes its handle.
MARATHON_INLINE void WorkflowCore::AfterRunning(Branch& branch) {
  if (!branch.operation) {
    if (!root_.handle.done()) return;
    Issue(root_.finish(root_.handle), std::source_location());
    closed_ = true;
  } else if (branch.operation->branch.done()) {
    Complete(*branch.operation);
    branches_[branch.number].reset();
  }
}

MARATHON_INLINE void WorkflowCore::Enqueue(Branch& branch) {
  if (std::exchange(branch.queued, true)) return;
  runnable_.push_back(&branch);
  std::push_heap(runnable_.begin(), runnable_.end(),
                 [](const Branch* a, const Branch* b) { return a->number > b->number; });
}

MARATHON_INLINE Branch* WorkflowCore::NextRunnable() {
  if (runnable_.empty()) return nullptr;
  std::pop_heap(runnable_.begin(), runnable_.end(),
                [](const Branch* a, const Branch* b) { return a->number > b->number; });
  Branch* branch = runnable_.back();
  runnable_.pop_back();
  branch->queued = false;
  return branch;
}

// Wakes every coroutine whose condition holds, in the order they began to wait.
MARATHON_INLINE bool WorkflowCore::WakeConditions() {
  bool woken = false;
  std::erase_if(conditions_, [&](Condition* condition) {
    if (condition->waiter.missing == 0 || !condition->holds(condition->predicate)) return false;
    condition->waiter.missing = 0;
    condition->waiter.branch->resume = condition->waiter.handle;
    Enqueue(*condition->waiter.branch);
    return woken = true;
  });
  return woken;
}

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

MARATHON_INLINE void WorkflowCore::StopWaiting(Operation& operation, Waiter& waiter) {
  std::erase(operation.waiters, &waiter);
}

MARATHON_INLINE void WorkflowCore::Issue(EventBody body, std::source_location where) {
  issued_.push_back({Event{++last_id_, std::move(body)}, where});
}

MARATHON_INLINE bool WorkflowCore::NextIsScheduled(std::string_view type) const {
  const size_t ahead = issued_.size();
  if (ahead >= recorded_.size()) return false;
  const auto* scheduled = std::get_if<ActivityScheduled>(&recorded_[ahead].body);
  return scheduled != nullptr && scheduled->activity_type == type;
}

MARATHON_INLINE OperationRef WorkflowCore::ScheduleActivity(std::string_view type, Payload input,
                                                            std::string_view task_queue,
                                                            ActivityPolicy policy,
                                                            std::source_location where) {
  ActivityScheduled scheduled;
  scheduled.activity_type = type;
  scheduled.task_queue = task_queue.empty() ? std::string_view(facts_.task_queue) : task_queue;
  scheduled.input = std::move(input);
  scheduled.policy = std::move(policy);
  Issue(std::move(scheduled), where);
  auto* operation = new Operation{.core = this, .kind = Operation::Kind::kActivity};
  operation->id = last_id_;
  operation->name = type;
  OperationRef ref(operation);
  pending_.emplace(operation->id, ref);
  return ref;
}

MARATHON_INLINE OperationRef WorkflowCore::StartTimer(Duration duration, std::source_location where) {
  Issue(TimerStarted{std::max(duration, Duration(0))}, where);
  auto* operation = new Operation{.core = this, .kind = Operation::Kind::kTimer};
  operation->id = last_id_;
  OperationRef ref(operation);
  pending_.emplace(operation->id, ref);
  return ref;
}

MARATHON_INLINE OperationRef WorkflowCore::Receive(std::string_view name) {
  auto* operation = new Operation{.core = this, .kind = Operation::Kind::kReceive};
  operation->name = name;
  OperationRef ref(operation);
  auto found = signals_.find(name);
  if (found == signals_.end()) found = signals_.emplace(std::string(name), Signal()).first;
  Signal& signal = found->second;
  if (signal.unread.empty()) {
    signal.receivers.push_back(ref);
  } else {
    operation->result = std::move(signal.unread.front().input);
    signal.unread.pop_front();
    Complete(*operation);
  }
  return ref;
}

MARATHON_INLINE OperationRef WorkflowCore::Spawn(std::coroutine_handle<> root) {
  auto* operation = new Operation{.core = this, .kind = Operation::Kind::kBranch};
  operation->branch = root;
  OperationRef ref(operation);
  auto branch = std::make_unique<Branch>();
  branch->number = branches_.size();
  branch->resume = root;
  branch->operation = ref;
  Enqueue(*branch);
  branches_.push_back(std::move(branch));
  return ref;
}

MARATHON_INLINE void WorkflowCore::Cancel(Operation& operation, std::source_location where) {
  if (operation.done || operation.canceled || closed_ || stalled()) return;
  OperationRef keep(&operation);
  operation.canceled = true;
  if (operation.kind == Operation::Kind::kActivity) {
    Issue(ActivityCancelRequested{operation.id}, where);
  } else if (operation.kind == Operation::Kind::kTimer) {
    Issue(TimerCanceled{operation.id}, where);
  } else {
    return;  // a receiver that gave up: skipped when a signal comes
  }
  pending_.erase(operation.id);
  operation.failure = std::make_unique<Failure>();
  operation.failure->kind = FailureKind::kCanceled;
  operation.failure->type = failure_type::kCanceled;
  operation.failure->message = "canceled by its workflow";
  Complete(operation);
}

MARATHON_INLINE void WorkflowCore::ContinueAsNew(WorkflowContinuedAsNew next,
                                                 std::source_location where) {
  if (closed_ || stalled()) return;
  next.run_id = DerivedRunId(facts_.key.run_id, last_id_ + 1);
  if (next.workflow_type.empty()) next.workflow_type = facts_.workflow_type;
  if (next.task_queue.empty()) next.task_queue = facts_.task_queue;
  Issue(std::move(next), where);
  closed_ = true;
}

MARATHON_INLINE const Payload* WorkflowCore::RecordedSideEffect(std::source_location where) {
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

MARATHON_INLINE uint64_t WorkflowCore::NextRandom() {
  return Mixed(random_state_ += 0x9e3779b97f4a7c15);
}

MARATHON_INLINE void WorkflowCore::Log(LogLevel level, std::string_view message) {
  if (!replaying() && !closed_ && log_) log_(level, message);
}

}  // namespace marathon::inline MARATHON_ABI::detail
