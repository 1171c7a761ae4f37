// FunctionType<Fn>::Type: the signature of a callable, read off its call operator. Functions, lambdas and
// functors that may be called const; not overloaded or generic ones.
#pragma once

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

template <class Fn>
struct FunctionType : FunctionType<decltype(&Fn::operator())> {};
template <class R, class... A>
struct FunctionType<R (*)(A...)> {
  using Type = R(A...);
};
template <class R, class... A>
struct FunctionType<R (*)(A...) noexcept> {
  using Type = R(A...);
};
template <class C, class R, class... A>
struct FunctionType<R (C::*)(A...) const> {
  using Type = R(A...);
};
template <class C, class R, class... A>
struct FunctionType<R (C::*)(A...) const noexcept> {
  using Type = R(A...);
};

}  // namespace marathon::inline MARATHON_ABI::detail
