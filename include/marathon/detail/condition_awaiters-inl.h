#pragma once

#include "marathon/detail/condition_awaiters.h"

#include "marathon/detail/workflow_core.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE bool ConditionBase::IsCanceled() {
  condition_.scope = core_.current_scope();
  condition_.canceled = core_.IsCanceled(condition_.scope);
  return condition_.canceled;
}
MARATHON_INLINE void ConditionBase::Suspend(std::coroutine_handle<> self) {
  condition_.waiter = WaiterHere(core_, self);
  core_.AddCondition(&condition_);
}
MARATHON_INLINE void ConditionBase::StopWaiting() { core_.RemoveCondition(&condition_); }
MARATHON_INLINE OperationRef ConditionBase::StartTimer(Duration timeout, std::source_location where) {
  return core_.StartTimer(timeout, where);
}

}  // namespace marathon::inline MARATHON_ABI::detail
