// SharedCode<R(Args...)>: a user's callable, whose copies are one. What std::function over std::shared_ptr does, for
// fewer functions that a compiler makes of each callable; and a callable need not be copyable.
//
// Thread rule: as the callable, which is called const.
#pragma once

#include <atomic>
#include <concepts>
#include <type_traits>
#include <utility>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

class AnyCode {
 public:
  virtual ~AnyCode() = default;

 private:
  friend class CodeRef;
  mutable std::atomic<int> uses_{1};
};

// One use of some code.
class CodeRef {
 public:
  CodeRef() = default;
  explicit CodeRef(const AnyCode* code) : code_(code) {}
  CodeRef(const CodeRef& other) : code_(other.code_) {
    if (code_ != nullptr) code_->uses_.fetch_add(1, std::memory_order_relaxed);
  }
  CodeRef(CodeRef&& other) noexcept : code_(std::exchange(other.code_, nullptr)) {}
  CodeRef& operator=(CodeRef other) noexcept {
    std::swap(code_, other.code_);
    return *this;
  }
  ~CodeRef() {
    if (code_ != nullptr && code_->uses_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete code_;
  }

  explicit operator bool() const { return code_ != nullptr; }

 protected:
  const AnyCode* code() const { return code_; }

 private:
  const AnyCode* code_ = nullptr;
};

template <class Signature>
class SharedCode;

template <class R, class... Args>
class SharedCode<R(Args...)> : public CodeRef {
 public:
  SharedCode() = default;
  template <class Fn>
    requires(!std::same_as<std::remove_cvref_t<Fn>, SharedCode>)
  SharedCode(Fn&& fn)  // NOLINT(google-explicit-constructor)
      : CodeRef(new CodeOf<std::remove_cvref_t<Fn>>(std::forward<Fn>(fn))) {}

  R operator()(Args... args) const { return static_cast<const Code*>(code())->Run(std::forward<Args>(args)...); }

 private:
  struct Code : AnyCode {
    virtual R Run(Args... args) const = 0;
  };
  template <class Fn>
  struct CodeOf final : Code {
    explicit CodeOf(const Fn& f) : fn(f) {}
    explicit CodeOf(Fn&& f) : fn(std::move(f)) {}
    R Run(Args... args) const override { return fn(std::forward<Args>(args)...); }
    const Fn fn;
  };
};

}  // namespace marathon::inline MARATHON_ABI::detail
