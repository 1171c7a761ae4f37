// The awaiters of ctx.WaitUntil.
#pragma once

#include <coroutine>
#include <exception>
#include <source_location>
#include <utility>

#include "marathon/config.h"
#include "marathon/detail/awaitables.h"
#include "marathon/detail/operation.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// What they have in common, but for the predicate's type.
class ConditionBase : public Awaitable {
 public:
  ConditionBase(const ConditionBase&) = delete;
  ConditionBase& operator=(const ConditionBase&) = delete;

 protected:
  explicit ConditionBase(WorkflowCore& core) : core_(core) {}
  // Whether the scope that it is awaited in is canceled.
  bool IsCanceled();
  // Waits as `condition_`, whose predicate has been set.
  void Suspend(std::coroutine_handle<> self);
  void StopWaiting();
  OperationRef StartTimer(Duration timeout, std::source_location where);

  Condition condition_;

 private:
  WorkflowCore& core_;
};

// What the predicate throws is thrown by the co_await.
template <class Predicate>
class [[nodiscard]] ConditionAwaiter : public ConditionBase {
 public:
  template <class P>
  ConditionAwaiter(WorkflowCore& core, P&& predicate) : ConditionBase(core), predicate_(std::forward<P>(predicate)) {}

  bool await_ready() { return Holds() || IsCanceled(); }
  void await_suspend(std::coroutine_handle<> self) {
    condition_.holds = [](void* awaiter) { return static_cast<ConditionAwaiter*>(awaiter)->Holds(); };
    condition_.predicate = this;
    Suspend(self);
  }
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
    timer_ = this->StartTimer(timeout_, where_);
    Base::await_suspend(self);
    timer_->AddWaiter(this->condition_.waiter);
  }
  bool await_resume() {
    bool holds = true;
    if (timer_) {
      holds = !timer_->done || this->Holds();
      this->StopWaiting();
      timer_->RemoveWaiter(this->condition_.waiter);
      timer_->Cancel(where_);
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

#ifndef MARATHON_COMPILED
#include "marathon/detail/condition_awaiters-inl.h"
#endif
