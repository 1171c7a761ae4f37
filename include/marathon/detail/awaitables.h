// What ctx.* gives back: handles, and the awaiters behind each co_await. An awaiter does three small
// things: see whether it must wait, register where to resume, read the result. All have constructors
// (g++ 12 destroys temporaries of aggregate awaiters twice) and stay where they were made.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <source_location>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "marathon/activity_def.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/workflow_core.h"
#include "marathon/errors.h"
#include "marathon/workflow.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// g++ before 13 destroys twice, inside an expression with co_await, a temporary that is an aggregate
// with a non-trivial member or a closure that captures one.
template <class Arg>
constexpr void CheckSafeArgument() {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
  using Plain = std::remove_cvref_t<Arg>;
  constexpr bool kTemporary = !std::is_lvalue_reference_v<Arg>;
  constexpr bool kClosure = requires { &Plain::operator(); } && !std::is_move_assignable_v<Plain>;
  static_assert(
      !(kTemporary && !std::is_trivially_destructible_v<Plain> &&
        (std::is_aggregate_v<Plain> || kClosure)),
      "Marathon: g++ 12 would destroy this temporary twice. Name it first: `Order order{...}; co_await "
      "ctx.Run(kCharge, order);`, or capture by reference");
#endif
}

[[noreturn]] void ThrowEncodeError(std::string_view what, const Status& status);
[[noreturn]] void ThrowCanceled();
[[noreturn]] void ThrowFailure(const Operation& operation);

// The result of a done operation. Throws what it failed with.
template <class T>
T TakeResult(Operation& operation) {
  if (operation.kind == Operation::Kind::kBranch) {
    auto branch = std::coroutine_handle<WorkflowPromise<T>>::from_address(operation.branch.address());
    if (branch.promise().exception) std::rethrow_exception(branch.promise().exception);
    if constexpr (!std::is_void_v<T>) return *branch.promise().result;
  } else {
    if (operation.failure) ThrowFailure(operation);
    if constexpr (!std::is_void_v<T>) {
      StatusOr<T> value = Decode<T>(operation.result);
      if (!value.ok()) ThrowDecodeError(operation.name, value.status());
      return *std::move(value);
    }
  }
  if constexpr (std::is_void_v<T>) return;
}

// Waits for one operation.
class OperationAwaiter : public Awaitable {
 public:
  explicit OperationAwaiter(OperationRef operation) : operation_(std::move(operation)) {}
  OperationAwaiter(const OperationAwaiter&) = delete;
  OperationAwaiter& operator=(const OperationAwaiter&) = delete;

  bool await_ready() const noexcept { return operation_->done; }
  void await_suspend(std::coroutine_handle<> self) {
    waiter_ = {operation_->core->current_branch(), self, 1};
    WorkflowCore::Wait(*operation_, waiter_);
  }

 protected:
  OperationRef operation_;

 private:
  Waiter waiter_;
};

template <class T>
class [[nodiscard]] JoinAwaiter : public OperationAwaiter {
 public:
  using OperationAwaiter::OperationAwaiter;
  T await_resume() { return TakeResult<T>(*operation_); }
};

template <class T>
Outcome<T> TakeOutcome(Operation& operation) {
  try {
    if constexpr (std::is_void_v<T>) {
      TakeResult<void>(operation);
      return Outcome<void>();
    } else {
      return Outcome<T>(TakeResult<T>(operation));
    }
  } catch (...) {
    return Outcome<T>(FailureFrom(std::current_exception()));
  }
}

template <class T>
class [[nodiscard]] TryAwaiter : public OperationAwaiter {
 public:
  using OperationAwaiter::OperationAwaiter;
  Outcome<T> await_resume() {
    if (operation_->failure) return Outcome<T>(*operation_->failure);  // without a throw: 1 us saved
    return TakeOutcome<T>(*operation_);
  }
};

template <class T>
class [[nodiscard]] ReceiveAwaiter : public OperationAwaiter {
 public:
  using OperationAwaiter::OperationAwaiter;
  T await_resume() { return TakeResult<T>(*operation_); }
};

// Registers one waiter with several operations.
class GroupWait {
 public:
  explicit GroupWait(std::vector<OperationRef> operations) : operations_(std::move(operations)) {}
  GroupWait(const GroupWait&) = delete;
  GroupWait& operator=(const GroupWait&) = delete;

  int CountDone() const {
    int done = 0;
    for (const OperationRef& operation : operations_) done += operation->done ? 1 : 0;
    return done;
  }
  void Suspend(std::coroutine_handle<> self, int missing) {
    waiter_ = {operations_.front()->core->current_branch(), self, missing};
    for (OperationRef& operation : operations_) {
      if (!operation->done) WorkflowCore::Wait(*operation, waiter_);
    }
  }
  void StopWaiting() {
    for (OperationRef& operation : operations_) WorkflowCore::StopWaiting(*operation, waiter_);
  }
  // The position of the one that was done first.
  size_t First() const {
    size_t first = operations_.size();
    for (size_t i = 0; i < operations_.size(); ++i) {
      if (operations_[i]->done && (first == operations_.size() ||
                                   operations_[i]->done_order < operations_[first]->done_order)) {
        first = i;
      }
    }
    return first;
  }
  const std::vector<OperationRef>& operations() const { return operations_; }

 private:
  std::vector<OperationRef> operations_;
  Waiter waiter_;
};

class [[nodiscard]] AnyAwaiter : public Awaitable {
 public:
  explicit AnyAwaiter(std::vector<OperationRef> operations) : group_(std::move(operations)) {}
  bool await_ready() const noexcept { return group_.CountDone() > 0 || group_.operations().empty(); }
  void await_suspend(std::coroutine_handle<> self) { group_.Suspend(self, 1); }
  size_t await_resume() {
    group_.StopWaiting();
    return group_.First();
  }

 private:
  GroupWait group_;
};

// What All has in common: wait for every one, then fail with the failure that came first.
class AllWait : public Awaitable {
 public:
  explicit AllWait(std::vector<OperationRef> operations) : group_(std::move(operations)) {}
  bool await_ready() const noexcept { return Missing() == 0; }
  void await_suspend(std::coroutine_handle<> self) { group_.Suspend(self, Missing()); }

 protected:
  // Calls `take(i)` for each operation; rethrows the exception of the one that ended first.
  template <class Take>
  void TakeEach(Take&& take) {
    std::exception_ptr first;
    uint64_t first_order = 0;
    const auto& operations = group_.operations();
    for (size_t i = 0; i < operations.size(); ++i) {
      try {
        take(i);
      } catch (...) {
        if (!first || operations[i]->done_order < first_order) {
          first = std::current_exception();
          first_order = operations[i]->done_order;
        }
      }
    }
    if (first) std::rethrow_exception(first);
  }
  Operation& operation(size_t i) { return *group_.operations()[i]; }
  size_t size() const { return group_.operations().size(); }

 private:
  int Missing() const { return static_cast<int>(group_.operations().size()) - group_.CountDone(); }
  GroupWait group_;
};

template <class T>
NonVoid<T> TakeNonVoid(Operation& operation) {
  if constexpr (std::is_void_v<T>) {
    TakeResult<void>(operation);
    return {};
  } else {
    return TakeResult<T>(operation);
  }
}

}  // namespace detail

// ---- Handles -------------------------------------------------------------------------------------

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
    this->operation()->core->Cancel(*this->operation(), where);
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
    operation()->core->Cancel(*operation(), where);
  }
};

// What Cancel does: all that the branch waits for is canceled; its code sees CanceledError, and may clean up
// (ShieldedScope). The handle ends when the branch does.
template <class T>
class BranchHandle : public Handle<T> {
 public:
  using Handle<T>::Handle;
  void Cancel(std::source_location where = std::source_location::current()) {
    this->operation()->core->Cancel(*this->operation(), where);
  }
};

namespace detail {

template <class H>
std::vector<OperationRef> OperationsOf(const std::vector<H>& handles) {
  std::vector<OperationRef> operations;
  operations.reserve(handles.size());
  for (const H& handle : handles) operations.push_back(handle.operation());
  return operations;
}

template <class... T>
class [[nodiscard]] AllAwaiter : public AllWait {
 public:
  explicit AllAwaiter(const Handle<T>&... handles) : AllWait({handles.operation()...}) {}
  std::tuple<NonVoid<T>...> await_resume() {
    std::tuple<std::optional<NonVoid<T>>...> values;
    TakeEach([&](size_t i) { TakeAt(i, values, std::index_sequence_for<T...>()); });
    return std::apply([](auto&... value) { return std::tuple<NonVoid<T>...>(std::move(*value)...); },
                      values);
  }

 private:
  template <class Values, size_t... kIndex>
  void TakeAt(size_t i, Values& values, std::index_sequence<kIndex...>) {
    ((i == kIndex ? (void)std::get<kIndex>(values).emplace(TakeNonVoid<T>(this->operation(kIndex)))
                  : (void)0),
     ...);
  }
};

template <class T>
class [[nodiscard]] AllVectorAwaiter : public AllWait {
 public:
  using AllWait::AllWait;
  std::vector<NonVoid<T>> await_resume() {
    std::vector<NonVoid<T>> values;
    values.reserve(this->size());
    TakeEach([&](size_t i) { values.push_back(TakeNonVoid<T>(this->operation(i))); });
    return values;
  }
};
template <>
class [[nodiscard]] AllVectorAwaiter<void> : public AllWait {
 public:
  using AllWait::AllWait;
  void await_resume() {
    TakeEach([&](size_t i) { TakeResult<void>(operation(i)); });
  }
};

// A signal or a timer, whichever comes first.
template <class T>
class [[nodiscard]] ReceiveForAwaiter : public Awaitable {
 public:
  ReceiveForAwaiter(WorkflowCore& core, OperationRef receive, Duration timeout,
                    std::source_location where)
      : core_(core),
        where_(where),
        group_(receive->done
                   ? std::vector<OperationRef>{receive}
                   : std::vector<OperationRef>{receive, core.StartTimer(timeout, where)}) {}
  bool await_ready() const noexcept { return group_.CountDone() > 0; }
  void await_suspend(std::coroutine_handle<> self) { group_.Suspend(self, 1); }
  // Of a signal without a value: whether it came.
  std::conditional_t<std::is_void_v<T>, bool, std::optional<NonVoid<T>>> await_resume() {
    group_.StopWaiting();
    const auto& operations = group_.operations();
    const bool received = group_.First() == 0;
    if (operations.size() == 2) core_.Cancel(*operations[received ? 1 : 0], where_);
    if constexpr (std::is_void_v<T>) {
      if (received) TakeResult<void>(*operations[0]);  // or throws: it was canceled
      return received;
    } else {
      if (!received) return std::nullopt;
      return TakeResult<T>(*operations[0]);
    }
  }

 private:
  WorkflowCore& core_;
  std::source_location where_;
  GroupWait group_;
};

// ctx.WaitUntil. What the predicate throws is thrown by the co_await.
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

// ctx.SideEffect: never waits, but a mismatch leaves the coroutine where it is.
template <class Function>
class [[nodiscard]] SideEffectAwaiter : public Awaitable {
 public:
  using Result = std::remove_cvref_t<std::invoke_result_t<Function&>>;

  template <class F>
  SideEffectAwaiter(WorkflowCore& core, F&& function, std::source_location where)
      : core_(core), function_(std::forward<F>(function)), where_(where) {}
  SideEffectAwaiter(const SideEffectAwaiter&) = delete;
  SideEffectAwaiter& operator=(const SideEffectAwaiter&) = delete;

  bool await_ready() {
    if (const Payload* recorded = core_.RecordedSideEffect(where_)) {
      payload_ = *recorded;
    } else if (core_.stalled()) {
      return false;
    } else {
      StatusOr<Payload> encoded = Encode<Result>(function_());
      if (!encoded.ok()) ThrowEncodeError("SideEffect", encoded.status());
      payload_ = *std::move(encoded);
    }
    core_.RecordSideEffect(payload_, where_);
    return true;
  }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  Result await_resume() {
    StatusOr<Result> value = Decode<Result>(payload_);
    if (!value.ok()) ThrowDecodeError("SideEffect", value.status());
    return *std::move(value);
  }

 private:
  WorkflowCore& core_;
  Function function_;
  std::source_location where_;
  Payload payload_;
};

// ctx.ContinueAsNew: ends the run where it is awaited.
class [[nodiscard]] ContinueAsNewAwaiter : public Awaitable {
 public:
  ContinueAsNewAwaiter(WorkflowCore& core, WorkflowContinuedAsNew next, std::source_location where)
      : core_(core), next_(std::move(next)), where_(where) {}
  ContinueAsNewAwaiter(const ContinueAsNewAwaiter&) = delete;
  ContinueAsNewAwaiter& operator=(const ContinueAsNewAwaiter&) = delete;

  bool await_ready() const {
    if (core_.IsCanceled(core_.current_scope())) ThrowCanceled();
    return false;
  }
  void await_suspend(std::coroutine_handle<>) { core_.ContinueAsNew(std::move(next_), where_); }
  void await_resume() const noexcept {}

 private:
  WorkflowCore& core_;
  WorkflowContinuedAsNew next_;
  std::source_location where_;
};

}  // namespace detail
}  // namespace marathon::inline MARATHON_ABI
