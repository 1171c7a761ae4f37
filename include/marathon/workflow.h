// Workflow<T>: what a workflow function returns. A workflow is any callable
//
//   marathon::Workflow<Out> Checkout(marathon::WorkflowContext& ctx, In input);
//
// whose body is a durable coroutine: it may `co_await` only what its WorkflowContext offers and other
// Workflow<T>s, which run inline as part of it. Anything else does not compile.
//
// Thread rule: one thread at a time; which one may change at every co_await.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "marathon/config.h"
#include "marathon/detail/frame_memory.h"

namespace marathon::inline MARATHON_ABI {

template <class T>
class Workflow;

// A workflow's name with the types it takes and gives: `WorkflowDef<Out(In)>`, or `Out()`. The name is
// persisted; the types live at compile time only.
template <class Signature>
struct WorkflowDef;
template <class Out, class In>
struct WorkflowDef<Out(In)> {
  std::string_view name;
};
template <class Out>
struct WorkflowDef<Out()> {
  std::string_view name;
};

namespace detail {

// What a workflow may co_await: the library's awaitables carry this tag.
struct Awaitable {};

// Awaits an awaiter where it is. (g++ 12 copies what await_transform returns by reference.)
template <class Awaiter>
class AwaiterInPlace {
 public:
  explicit AwaiterInPlace(Awaiter& awaiter) : awaiter_(&awaiter) {}
  bool await_ready() { return awaiter_->await_ready(); }
  void await_suspend(std::coroutine_handle<> self) { awaiter_->await_suspend(self); }
  decltype(auto) await_resume() { return awaiter_->await_resume(); }

 private:
  Awaiter* awaiter_;
};

template <class T>
struct IsWorkflow : std::false_type {};
template <class T>
struct IsWorkflow<Workflow<T>> : std::true_type {};

// The value of a `void` operation where a value is needed.
template <class T>
using NonVoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

// Told when a coroutine returns, while its locals still live.
class EndListener {
 public:
  virtual void OnEnd() = 0;

 protected:
  ~EndListener() = default;
};

class WorkflowPromiseBase : public FrameMemory {
 public:
  std::suspend_always initial_suspend() noexcept { return {}; }

  // Ends in whoever awaits this workflow, if anybody does; a root or a branch just stays suspended.
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      if (self.promise().continuation) return self.promise().continuation;
      return std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }

  void unhandled_exception() noexcept { exception = std::current_exception(); }

  template <class A>
  decltype(auto) await_transform(A&& awaitable) {
    using Plain = std::remove_cvref_t<A>;
    if constexpr (IsWorkflow<Plain>::value) {
      static_assert(!std::is_lvalue_reference_v<A>,
                    "Marathon: await a workflow where it is made, `co_await Helper(ctx)`, or start it "
                    "with ctx.Spawn(Helper(ctx)) and await the handle");
      return std::forward<A>(awaitable).AwaitInline();
    } else {
      static_assert(std::is_base_of_v<Awaitable, Plain>,
                    "Marathon: a workflow may co_await only what its WorkflowContext offers (ctx.Run, "
                    "ctx.Sleep, ctx.Receive, ...) and other Workflow<T>s; I/O belongs in an activity");
      if constexpr (requires { awaitable.operator co_await(); }) {
        return awaitable.operator co_await();
      } else {
        return AwaiterInPlace<Plain>(awaitable);
      }
    }
  }

  std::coroutine_handle<> continuation;
  std::exception_ptr exception;
  EndListener* listener = nullptr;
};

template <class T>
class WorkflowPromise final : public WorkflowPromiseBase {
 public:
  Workflow<T> get_return_object();
  template <class U>
    requires std::is_convertible_v<U&&, T>
  void return_value(U&& value) {
    if (listener != nullptr) listener->OnEnd();  // before `value`, which may be one of them, is moved
    result.emplace(std::forward<U>(value));
  }
  T Take() {
    if (exception) std::rethrow_exception(exception);
    return std::move(*result);
  }
  std::optional<T> result;
};

template <>
class WorkflowPromise<void> final : public WorkflowPromiseBase {
 public:
  Workflow<void> get_return_object();
  void return_void() {
    if (listener != nullptr) listener->OnEnd();
  }
  void Take() {
    if (exception) std::rethrow_exception(exception);
  }
};

// Runs a helper workflow to its first wait inside the awaiting coroutine's stack frame, so that a
// million helpers that never wait need no stack (g++ has no tail calls at -O0 or under ASan).
template <class T>
class [[nodiscard]] InlineAwaiter : public Awaitable {
 public:
  explicit InlineAwaiter(std::coroutine_handle<WorkflowPromise<T>> child) : child_(child) {}
  InlineAwaiter(const InlineAwaiter&) = delete;
  InlineAwaiter& operator=(const InlineAwaiter&) = delete;
  ~InlineAwaiter() {
    if (child_) child_.destroy();
  }
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) {
    child_.resume();
    if (child_.done()) return false;
    child_.promise().continuation = parent;
    return true;
  }
  T await_resume() { return child_.promise().Take(); }

 private:
  std::coroutine_handle<WorkflowPromise<T>> child_;
};

}  // namespace detail

// Owns a coroutine that has not started. Move-only; the engine, `co_await` or ctx.Spawn takes it over.
template <class T>
class [[nodiscard]] Workflow {
 public:
  using promise_type = detail::WorkflowPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;
  using Result = T;

  explicit Workflow(Handle handle) : handle_(handle) {}
  Workflow(Workflow&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Workflow& operator=(Workflow&&) = delete;
  ~Workflow() {
    if (handle_) handle_.destroy();
  }

  detail::InlineAwaiter<T> AwaitInline() && {
    return detail::InlineAwaiter<T>(std::exchange(handle_, nullptr));
  }
  Handle Release() && { return std::exchange(handle_, nullptr); }

 private:
  Handle handle_;
};

namespace detail {
template <class T>
Workflow<T> WorkflowPromise<T>::get_return_object() {
  return Workflow<T>(std::coroutine_handle<WorkflowPromise<T>>::from_promise(*this));
}
inline Workflow<void> WorkflowPromise<void>::get_return_object() {
  return Workflow<void>(std::coroutine_handle<WorkflowPromise<void>>::from_promise(*this));
}
}  // namespace detail

}  // namespace marathon::inline MARATHON_ABI
