// SharedCode<R(Args...)>: a user's callable, whose copies are one. What std::function over std::shared_ptr does, for a
// third of the functions that each callable costs a compiler; and a callable need not be copyable.
//
// Thread rule: as the callable, which is called const.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

template <class Signature>
class SharedCode;

template <class R, class... Args>
class SharedCode<R(Args...)> {
 public:
  SharedCode() = default;
  template <class Fn>
    requires(!std::same_as<std::remove_cvref_t<Fn>, SharedCode>)
  SharedCode(Fn&& fn)  // NOLINT(google-explicit-constructor)
      : code_(std::unique_ptr<const Code>(new CodeOf<std::remove_cvref_t<Fn>>(std::forward<Fn>(fn)))) {}

  R operator()(Args... args) const { return code_->Run(std::forward<Args>(args)...); }
  explicit operator bool() const { return code_ != nullptr; }

 private:
  struct Code {
    virtual ~Code() = default;
    virtual R Run(Args... args) const = 0;
  };
  template <class Fn>
  struct CodeOf final : Code {
    explicit CodeOf(const Fn& f) : fn(f) {}
    explicit CodeOf(Fn&& f) : fn(std::move(f)) {}
    R Run(Args... args) const override { return fn(std::forward<Args>(args)...); }
    const Fn fn;
  };

  std::shared_ptr<const Code> code_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
