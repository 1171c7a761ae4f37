// Callback<void(T)>: a move-only function object, called at most once or many times as its user says;
// small closures live inside it. (std::move_only_function is C++23.)
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

template <class Signature>
class Callback;

template <class R, class... Args>
class Callback<R(Args...)> {
 public:
  Callback() = default;
  Callback(std::nullptr_t) {}  // NOLINT(google-explicit-constructor)

  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Callback> &&
             std::is_invocable_r_v<R, std::remove_cvref_t<F>&, Args...>)
  Callback(F&& f) {  // NOLINT(google-explicit-constructor)
    using Fn = std::remove_cvref_t<F>;
    if constexpr (sizeof(Fn) <= kInline && alignof(Fn) <= alignof(void*) &&
                  std::is_nothrow_move_constructible_v<Fn>) {
      new (&storage_) Fn(std::forward<F>(f));
      ops_ = &kInlineOps<Fn>;
    } else {
      *reinterpret_cast<Fn**>(&storage_) = New<Fn>(std::forward<F>(f));
      ops_ = &kHeapOps<Fn>;
    }
  }

  Callback(Callback&& other) noexcept : ops_(other.ops_) {
    if (ops_ != nullptr) ops_->move(&other.storage_, &storage_);
    other.ops_ = nullptr;
  }
  Callback& operator=(Callback&& other) noexcept {
    if (this != &other) {
      Reset();
      ops_ = std::exchange(other.ops_, nullptr);
      if (ops_ != nullptr) ops_->move(&other.storage_, &storage_);
    }
    return *this;
  }
  ~Callback() { Reset(); }

  // What is moved in is moved no further than the function does it.
  R operator()(Args&&... args) { return ops_->call(&storage_, std::forward<Args>(args)...); }
  R operator()(const Args&... args)
    requires(sizeof...(Args) > 0 && (!std::is_reference_v<Args> && ...))
  {
    return ops_->call(&storage_, Args(args)...);
  }
  explicit operator bool() const { return ops_ != nullptr; }

 private:
  static constexpr size_t kInline = 6 * sizeof(void*);

  struct Ops {
    R (*call)(void*, Args&&...);
    void (*move)(void* from, void* to) noexcept;  // leaves nothing behind
    void (*destroy)(void*) noexcept;
  };

  // Larger closures come from the pool: most are made on one thread and destroyed on another.
  template <class Fn>
  static constexpr bool kPooled = alignof(Fn) <= alignof(std::max_align_t);
  template <class Fn, class F>
  static Fn* New(F&& f) {
    if constexpr (kPooled<Fn>) {
      void* const memory = detail::BlockPool::Take(sizeof(Fn));
      try {
        return new (memory) Fn(std::forward<F>(f));
      } catch (...) {
        detail::BlockPool::Give(memory, sizeof(Fn));
        throw;
      }
    } else {
      return new Fn(std::forward<F>(f));
    }
  }

  template <class Fn>
  static constexpr Ops kInlineOps{
      [](void* p, Args&&... args) -> R {
        return (*static_cast<Fn*>(p))(std::forward<Args>(args)...);
      },
      [](void* from, void* to) noexcept {
        new (to) Fn(std::move(*static_cast<Fn*>(from)));
        static_cast<Fn*>(from)->~Fn();
      },
      [](void* p) noexcept { static_cast<Fn*>(p)->~Fn(); }};

  template <class Fn>
  static constexpr Ops kHeapOps{
      [](void* p, Args&&... args) -> R {
        return (**static_cast<Fn**>(p))(std::forward<Args>(args)...);
      },
      [](void* from, void* to) noexcept { *static_cast<Fn**>(to) = *static_cast<Fn**>(from); },
      [](void* p) noexcept {
        Fn* fn = *static_cast<Fn**>(p);
        fn->~Fn();
        if constexpr (kPooled<Fn>) {
          detail::BlockPool::Give(fn, sizeof(Fn));
        } else {
          ::operator delete(fn, std::align_val_t(alignof(Fn)));
        }
      }};

  void Reset() {
    if (ops_ != nullptr) std::exchange(ops_, nullptr)->destroy(&storage_);
  }

  const Ops* ops_ = nullptr;
  alignas(void*) std::byte storage_[kInline];
};

// How a port call reports back: once, from any thread, perhaps before the call returns.
template <class T>
using Done = Callback<void(StatusOr<T>)>;
using DoneStatus = Callback<void(Status)>;

}  // namespace marathon::inline MARATHON_ABI
