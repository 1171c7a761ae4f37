// A workflow's handlers, with their types erased: what runs when a signal comes, what answers a query.
// The core (workflow_core.h) keeps them by name.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/function_type.h"
#include "marathon/payload.h"
#include "marathon/status.h"
#include "marathon/workflow.h"

namespace marathon::inline MARATHON_ABI::detail {

// One signal's life: a branch of its own. What it throws fails the run.
using SignalHandler = std::function<Workflow<void>(const Payload& value)>;
// Throws what the handler throws.
using QueryHandler = std::function<StatusOr<Payload>(const Payload& input)>;

[[noreturn]] void ThrowDecodeError(std::string_view what, const Status& status);

// ---- The types of a handler

template <class Signature>
struct HandlerTypes;
template <class R>
struct HandlerTypes<R()> {
  using In = void;
  using Result = R;
};
template <class R, class A>
struct HandlerTypes<R(A)> {
  using In = std::remove_cvref_t<A>;
  using Result = R;
};
template <class Fn>
using HandlerIn = typename HandlerTypes<typename FunctionType<Fn>::Type>::In;
template <class Fn>
using HandlerResult = typename HandlerTypes<typename FunctionType<Fn>::Type>::Result;

template <class Signature, class Fn>
inline constexpr bool kAnswers = false;
template <class Out, class In, class Fn>
inline constexpr bool kAnswers<Out(In), Fn> =
    std::is_same_v<HandlerIn<Fn>, In> && std::is_convertible_v<HandlerResult<Fn>, Out>;
template <class Out, class Fn>
inline constexpr bool kAnswers<Out(), Fn> =
    std::is_void_v<HandlerIn<Fn>> && std::is_convertible_v<HandlerResult<Fn>, Out>;

template <class In>
NonVoid<In> DecodeOrThrow(std::string_view what, const Payload& payload) {
  if constexpr (std::is_void_v<In>) {
    return {};
  } else {
    StatusOr<In> value = Decode<In>(payload);
    if (!value.ok()) ThrowDecodeError(what, value.status());
    return *std::move(value);
  }
}

template <class In, class Fn>
decltype(auto) CallWith(const Fn& fn, NonVoid<In>& input) {
  if constexpr (std::is_void_v<In>) {
    return fn();
  } else {
    return fn(std::move(input));
  }
}

// ---- Erasing them. `fn` is kept for as long as a call of it runs.

template <class Fn>
Workflow<void> RunSignalHandler(std::shared_ptr<const Fn> fn, Payload payload) {
  using In = HandlerIn<Fn>;
  NonVoid<In> value = DecodeOrThrow<In>("a signal", payload);
  if constexpr (IsWorkflow<HandlerResult<Fn>>::value) {
    static_assert(std::is_same_v<HandlerResult<Fn>, Workflow<void>>,
                  "Marathon: a signal handler returns nothing, or a Workflow<void>");
    co_await CallWith<In>(*fn, value);
  } else {
    static_assert(std::is_void_v<HandlerResult<Fn>>,
                  "Marathon: a signal handler returns nothing, or a Workflow<void>");
    CallWith<In>(*fn, value);
  }
  co_return;
}

template <class Fn>
SignalHandler MakeSignalHandler(Fn fn) {
  return [fn = std::make_shared<const Fn>(std::move(fn))](const Payload& value) {
    return RunSignalHandler<Fn>(fn, value);
  };
}

template <class Fn>
QueryHandler MakeQueryHandler(Fn fn) {
  using In = HandlerIn<Fn>;
  using Out = std::remove_cvref_t<HandlerResult<Fn>>;
  static_assert(!IsWorkflow<Out>::value, "Marathon: a query is answered at once, not by a coroutine");
  return [fn = std::move(fn)](const Payload& payload) -> StatusOr<Payload> {
    NonVoid<In> input = DecodeOrThrow<In>("a query", payload);
    if constexpr (std::is_void_v<Out>) {
      CallWith<In>(fn, input);
      return Payload();
    } else {
      return Encode<Out>(CallWith<In>(fn, input));
    }
  };
}

}  // namespace marathon::inline MARATHON_ABI::detail
