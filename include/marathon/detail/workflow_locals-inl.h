// WorkflowCore: local activities. Whether one has begun is not in the record, only what became of it: so nothing
// that the code sees may depend on it.
#pragma once

#include "marathon/detail/workflow_core.h"

#include <algorithm>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE OperationRef WorkflowCore::StartLocal(std::string_view type, LocalCall call,
                                                      ActivityCancellation cancellation,
                                                      std::source_location where) {
  OperationRef operation = NewOperation(Operation::Kind::kActivity);
  operation->name = type;
  operation->cancellation = cancellation;
  call.number = ++locals_started_;
  if (IsCanceled(operation->scope)) {
    ResolveCanceled(*operation);
    return operation;
  }
  operation->local = std::make_unique<LocalCall>(std::move(call));
  BeginLocal(*operation, where);
  return operation;
}

MARATHON_INLINE void WorkflowCore::BeginLocal(Operation& operation, std::source_location where) {
  Issue(LocalActivityStarted{operation.name, operation.local->attempt}, where);
  operation.id = last_id_;
  operation.local->backs_off = false;
  pending_.emplace(operation.id, OperationRef(&operation));
  locals_to_begin_.emplace_back(&operation);
  ++locals_running_;
}

// False: it is tried again, after a durable timer.
MARATHON_INLINE bool WorkflowCore::IsEndOfLocal(Operation& operation, const EventBody& inbound) {
  LocalCall& call = *operation.local;
  if (call.backs_off) {
    BeginLocal(operation, std::source_location());
    return false;
  }
  --locals_running_;
  std::erase_if(locals_to_begin_, [&](const OperationRef& one) { return one.get() == &operation; });
  const auto* failed = std::get_if<ActivityFailed>(&inbound);
  if (failed == nullptr || !failed->failure.next_retry_delay || operation.canceled) return true;
  Issue(TimerStarted{*failed->failure.next_retry_delay}, std::source_location());
  operation.id = last_id_;
  call.attempt = failed->attempt + 1;
  call.backs_off = true;
  pending_.emplace(operation.id, OperationRef(&operation));
  return false;
}

MARATHON_INLINE void WorkflowCore::CancelLocal(Operation& operation, std::source_location where) {
  const auto is_it = [&](const OperationRef& one) { return one.get() == &operation; };
  if (operation.local->backs_off) {
    Issue(TimerCanceled{operation.id}, where);
  } else {
    const bool begun = std::ranges::none_of(locals_to_begin_, is_it);
    const bool wait = operation.cancellation == ActivityCancellation::kWait;
    const bool tell = operation.cancellation != ActivityCancellation::kAbandon;
    if (begun && tell) canceled_locals_.push_back(operation.id);
    if (wait) return;  // until it has ended
    std::erase_if(locals_to_begin_, is_it);
    --locals_running_;
  }
  pending_.erase(operation.id);
  ResolveCanceled(operation);
}

MARATHON_INLINE std::vector<LocalTask> WorkflowCore::TakeLocals() {
  std::vector<LocalTask> tasks;
  for (const OperationRef& operation : std::exchange(locals_to_begin_, {})) {
    tasks.push_back({operation->id, operation->name, *operation->local, operation->canceled,
                     operation->local->attempt, {}});
  }
  return tasks;
}

MARATHON_INLINE std::vector<EventId> WorkflowCore::TakeCanceledLocals() {
  return std::exchange(canceled_locals_, {});
}

}  // namespace marathon::inline MARATHON_ABI::detail
