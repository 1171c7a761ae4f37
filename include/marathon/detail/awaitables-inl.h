#pragma once

#include "marathon/detail/awaitables.h"

#include <utility>

#include "marathon/detail/workflow_core.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE void OperationAwaiter::await_suspend(std::coroutine_handle<> self) {
  waiter_ = WaiterHere(*operation_->core, self);
  operation_->AddWaiter(waiter_);
}

MARATHON_INLINE bool SideEffectBase::TakeRecorded() {
  const Payload* recorded = core_.RecordedSideEffect(where_);
  if (recorded == nullptr) return false;
  payload_ = *recorded;
  return true;
}
MARATHON_INLINE bool SideEffectBase::stalled() const { return core_.stalled(); }
MARATHON_INLINE void SideEffectBase::Record() { core_.RecordSideEffect(payload_, where_); }

MARATHON_INLINE bool ContinueAsNewAwaiter::await_ready() const {
  if (core_.IsCanceled(core_.current_scope())) ThrowCanceled();
  return false;
}
MARATHON_INLINE void ContinueAsNewAwaiter::await_suspend(std::coroutine_handle<>) {
  core_.ContinueAsNew(std::move(next_), where_);
}

}  // namespace marathon::inline MARATHON_ABI::detail
