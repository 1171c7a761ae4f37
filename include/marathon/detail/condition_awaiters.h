// The awaiters of ctx.WaitUntil.
#pragma once

#include <coroutine>
#include <exception>
#include <source_location>
#include <utility>

#include "marathon/config.h"
#include "marathon/detail/awaitables.h"
#include "marathon/detail/workflow_core.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// What the predicate throws is thrown by the co_await.
template <class Predicate>
class [[nodiscard]] ConditionAwaiter : public Awaitable {
 public:
  template <class P>
  ConditionAwaiter(WorkflowCore& core, P&& predicate)
      : core_(core), predicate_(std::forward<P>(predicate)) {}
  ConditionAwaiter(const ConditionAwaiter&) = delete;
  ConditionAwaiter& operator=(const ConditionAwaiter&) = delete;

  bool await_ready() {
    condition_.scope = core_.current_scope();
    return Holds() || (condition_.canceled = core_.IsCanceled(condition_.scope));
  }
  void await_suspend(std::coroutine_handle<> self) { WaitAs({core_.current_branch(), self, 1}); }
  void await_resume() {
    if (exception_) std::rethrow_exception(exception_);
    if (condition_.canceled) ThrowCanceled();
  }

 protected:
  bool Holds() {
    try {
      return predicate_();
    } catch (...) {
      exception_ = std::current_exception();
      return true;
    }
  }
  void WaitAs(Waiter waiter) {
    condition_.waiter = waiter;
    condition_.holds = [](void* self) { return static_cast<ConditionAwaiter*>(self)->Holds(); };
    condition_.predicate = this;
    core_.AddCondition(&condition_);
  }

  WorkflowCore& core_;
  Condition condition_;

 private:
  Predicate predicate_;
  std::exception_ptr exception_;
};

template <class Predicate>
class [[nodiscard]] ConditionForAwaiter : public ConditionAwaiter<Predicate> {
  using Base = ConditionAwaiter<Predicate>;

 public:
  template <class P>
  ConditionForAwaiter(WorkflowCore& core, P&& predicate, Duration timeout, std::source_location where)
      : Base(core, std::forward<P>(predicate)), timeout_(timeout), where_(where) {}
  void await_suspend(std::coroutine_handle<> self) {
    timer_ = this->core_.StartTimer(timeout_, where_);
    this->WaitAs({this->core_.current_branch(), self, 1});
    WorkflowCore::Wait(*timer_, this->condition_.waiter);
  }
  bool await_resume() {
    bool holds = true;
    if (timer_) {
      holds = !timer_->done || this->Holds();
      this->core_.RemoveCondition(&this->condition_);
      WorkflowCore::StopWaiting(*timer_, this->condition_.waiter);
      this->core_.Cancel(*timer_, where_);
    }
    Base::await_resume();
    return holds;
  }

 private:
  Duration timeout_;
  std::source_location where_;
  OperationRef timer_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
