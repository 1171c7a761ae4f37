// A workflow's code and its handlers, with their types erased: what runs from its start on, when a signal or an update
// comes, what answers a query. The core (workflow_core.h) keeps handlers by name.
#pragma once

#include <coroutine>
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

// A run's code as a coroutine; made by the registry, which knows the type of its result.
struct RootWorkflow {
  std::coroutine_handle<> handle;
  WorkflowPromiseBase* promise = nullptr;  // the handle's
  StatusOr<Payload> (*result)(std::coroutine_handle<>) = nullptr;  // of one that has returned
  std::shared_ptr<void> input{};  // what the coroutine may refer to
};

// One signal's life: a branch of its own. What it throws fails the run.
using SignalHandler = std::function<Workflow<void>(const Payload& value)>;
// Throws what the handler throws.
using QueryHandler = std::function<StatusOr<Payload>(const Payload& input)>;

struct UpdateHandler {
  std::function<void(const Payload& input)> validate;  // throws what the update is rejected with
  std::function<Workflow<Payload>(const Payload& input)> run;
};

[[noreturn]] void ThrowEncodeError(std::string_view what, const Status& status);
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

// What a handler gives in the end, be it a coroutine or not.
template <class T>
struct GivenBy {
  using Type = std::remove_cvref_t<T>;
};
template <class T>
struct GivenBy<Workflow<T>> {
  using Type = T;
};
template <class Fn>
using HandlerOut = typename GivenBy<HandlerResult<Fn>>::Type;

template <class Signature, class Fn>
inline constexpr bool kAnswers = false;
template <class Out, class In, class Fn>
inline constexpr bool kAnswers<Out(In), Fn> =
    std::is_same_v<HandlerIn<Fn>, In> && std::is_convertible_v<HandlerResult<Fn>, Out>;
template <class Out, class Fn>
inline constexpr bool kAnswers<Out(), Fn> =
    std::is_void_v<HandlerIn<Fn>> && std::is_convertible_v<HandlerResult<Fn>, Out>;

// The same for a handler that may be a coroutine.
template <class Signature, class Fn>
inline constexpr bool kHandles = false;
template <class Out, class In, class Fn>
inline constexpr bool kHandles<Out(In), Fn> =
    std::is_same_v<HandlerIn<Fn>, In> && std::is_convertible_v<HandlerOut<Fn>, Out>;
template <class Out, class Fn>
inline constexpr bool kHandles<Out(), Fn> =
    std::is_void_v<HandlerIn<Fn>> && std::is_convertible_v<HandlerOut<Fn>, Out>;

template <class In>
NonVoid<In> DecodeOrThrow(std::string_view what, const Payload& payload) {
  if constexpr (std::is_void_v<In>) {
    return {};
  } else if constexpr (std::is_same_v<In, Payload>) {
    return payload;  // as it came
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

template <class T>
Payload EncodeOrThrow(std::string_view what, const T& value) {
  StatusOr<Payload> payload = Encode<T>(value);
  if (!payload.ok()) ThrowEncodeError(what, payload.status());
  return *std::move(payload);
}

template <class Fn>
Workflow<Payload> RunUpdateHandler(std::shared_ptr<const Fn> fn, Payload payload) {
  using In = HandlerIn<Fn>;
  using Out = HandlerOut<Fn>;
  NonVoid<In> input = DecodeOrThrow<In>("an update", payload);
  Payload answer;
  if constexpr (IsWorkflow<HandlerResult<Fn>>::value && std::is_void_v<Out>) {
    co_await CallWith<In>(*fn, input);
  } else if constexpr (IsWorkflow<HandlerResult<Fn>>::value) {
    const Out out = co_await CallWith<In>(*fn, input);
    answer = EncodeOrThrow<Out>("the answer to an update", out);
  } else if constexpr (std::is_void_v<Out>) {
    CallWith<In>(*fn, input);
  } else {
    answer = EncodeOrThrow<Out>("the answer to an update", CallWith<In>(*fn, input));
  }
  co_return answer;
}

// An input that is not what the handler takes is rejected as one that the validator throws at.
template <class Fn, class Validator>
UpdateHandler MakeUpdateHandler(Fn fn, Validator validator) {
  using In = HandlerIn<Fn>;
  static_assert(std::is_same_v<HandlerIn<Validator>, In> && std::is_void_v<HandlerResult<Validator>>,
                "Marathon: a validator takes what its handler takes, and returns nothing: it throws");
  UpdateHandler handler;
  handler.validate = [validator = std::move(validator)](const Payload& payload) {
    NonVoid<In> input = DecodeOrThrow<In>("an update", payload);
    CallWith<In>(validator, input);
  };
  handler.run = [fn = std::make_shared<const Fn>(std::move(fn))](const Payload& payload) {
    return RunUpdateHandler<Fn>(fn, payload);
  };
  return handler;
}

// With no validator: only the input's form counts.
template <class Fn>
UpdateHandler MakeUpdateHandler(Fn fn) {
  using In = HandlerIn<Fn>;
  if constexpr (std::is_void_v<In>) {
    return MakeUpdateHandler(std::move(fn), [] {});
  } else {
    return MakeUpdateHandler(std::move(fn), [](const In&) {});
  }
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
