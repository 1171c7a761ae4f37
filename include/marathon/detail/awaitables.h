// The awaiters behind a co_await of one thing: an operation, a side effect, the end of the run. An awaiter does three
// small things: see whether it must wait, register where to resume, read the result. All have constructors
// (g++ 12 destroys temporaries of aggregate awaiters twice) and stay where they were made.
#pragma once

#include <coroutine>
#include <exception>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

#include "marathon/activity_def.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/handlers.h"
#include "marathon/detail/operation.h"
#include "marathon/errors.h"
#include "marathon/event.h"
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
  void await_suspend(std::coroutine_handle<> self);

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

// ctx.SideEffect, but for the types: never waits, but a mismatch leaves the coroutine where it is.
class SideEffectBase : public Awaitable {
 public:
  SideEffectBase(const SideEffectBase&) = delete;
  SideEffectBase& operator=(const SideEffectBase&) = delete;
  void await_suspend(std::coroutine_handle<>) const noexcept {}

 protected:
  SideEffectBase(WorkflowCore& core, std::source_location where) : core_(core), where_(where) {}
  // Takes the value of a replay; false: there is none, as it is live or stalled.
  bool TakeRecorded();
  bool stalled() const;
  void Record();

  Payload payload_;

 private:
  WorkflowCore& core_;
  std::source_location where_;
};

template <class Function>
class [[nodiscard]] SideEffectAwaiter : public SideEffectBase {
 public:
  using Result = std::remove_cvref_t<std::invoke_result_t<Function&>>;

  template <class F>
  SideEffectAwaiter(WorkflowCore& core, F&& function, std::source_location where)
      : SideEffectBase(core, where), function_(std::forward<F>(function)) {}

  bool await_ready() {
    if (!TakeRecorded()) {
      if (stalled()) return false;
      StatusOr<Payload> encoded = Encode<Result>(function_());
      if (!encoded.ok()) ThrowEncodeError("SideEffect", encoded.status());
      payload_ = *std::move(encoded);
    }
    Record();
    return true;
  }
  Result await_resume() {
    StatusOr<Result> value = Decode<Result>(payload_);
    if (!value.ok()) ThrowDecodeError("SideEffect", value.status());
    return *std::move(value);
  }

 private:
  Function function_;
};

// ctx.ContinueAsNew: ends the run where it is awaited.
class [[nodiscard]] ContinueAsNewAwaiter : public Awaitable {
 public:
  ContinueAsNewAwaiter(WorkflowCore& core, WorkflowContinuedAsNew next, std::source_location where)
      : core_(core), next_(std::move(next)), where_(where) {}
  ContinueAsNewAwaiter(const ContinueAsNewAwaiter&) = delete;
  ContinueAsNewAwaiter& operator=(const ContinueAsNewAwaiter&) = delete;

  bool await_ready() const;
  void await_suspend(std::coroutine_handle<>);
  void await_resume() const noexcept {}

 private:
  WorkflowCore& core_;
  WorkflowContinuedAsNew next_;
  std::source_location where_;
};

}  // namespace detail
}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/detail/awaitables-inl.h"
#endif
