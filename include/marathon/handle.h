// Handles: what ctx.Start and its like give back of something that is under way, to await or to cancel it.
//
//   auto fast = ctx.Start(kAskFast, question);
//   co_await ctx.Sleep(1s);
//   if (!fast.done()) fast.Cancel();
//
// Thread rule: only from the workflow's own body.
#pragma once

#include <source_location>
#include <utility>

#include "marathon/config.h"
#include "marathon/detail/awaitables.h"
#include "marathon/detail/operation.h"
#include "marathon/ids.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {
class HandleBase {
 public:
  explicit HandleBase(OperationRef operation) : operation_(std::move(operation)) {}
  // Whether a co_await would not wait.
  bool done() const { return operation_->done; }
  const OperationRef& operation() const { return operation_; }

 private:
  OperationRef operation_;
};
}  // namespace detail

// Something started and not yet awaited. Copies share it. `co_await handle` waits and gives the result,
// each time; a handle that is dropped changes nothing.
template <class T>
class Handle : public detail::HandleBase, public detail::Awaitable {
 public:
  using Result = T;
  using HandleBase::HandleBase;
  detail::JoinAwaiter<T> operator co_await() const { return detail::JoinAwaiter<T>(operation()); }
};

// What Cancel does: the handle ends at once, with CanceledError; the worker that runs the activity sees
// its stop_token; a timer never fires. Nothing happens if it was done already. With
// ActivityOptions::cancellation an activity may end later, or go on unheard.
template <class T>
class ActivityHandle : public Handle<T> {
 public:
  using Handle<T>::Handle;
  void Cancel(std::source_location where = std::source_location::current()) {
    this->operation()->Cancel(where);
  }
};

// What Cancel does: the child is told as by Run::Cancel; the handle ends as ChildOptions::cancellation says.
template <class T>
class ChildHandle : public ActivityHandle<T> {
 public:
  ChildHandle(detail::OperationRef operation, RunKey run)
      : ActivityHandle<T>(std::move(operation)), run_(std::move(run)) {}
  // The child's first run: the ids are known before it has begun.
  const RunKey& run() const { return run_; }

 private:
  RunKey run_;
};

class TimerHandle : public Handle<void> {
 public:
  using Handle<void>::Handle;
  void Cancel(std::source_location where = std::source_location::current()) {
    operation()->Cancel(where);
  }
};

// What Cancel does: all that the branch waits for is canceled; its code sees CanceledError, and may clean up
// (ShieldedScope). The handle ends when the branch does.
template <class T>
class BranchHandle : public Handle<T> {
 public:
  using Handle<T>::Handle;
  void Cancel(std::source_location where = std::source_location::current()) {
    this->operation()->Cancel(where);
  }
};

}  // namespace marathon::inline MARATHON_ABI
