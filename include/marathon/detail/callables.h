// Turns user callables of all accepted shapes into the erased form the engine calls.
#pragma once

#include <exception>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/detail/function_type.h"
#include "marathon/detail/handlers.h"
#include "marathon/detail/shared_code.h"
#include "marathon/errors.h"
#include "marathon/transactions.h"
#include "marathon/workflow.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI::detail {

// Makes a run's code from its input. The coroutine refers to `ctx`, which outlives it. An error: the input is
// not what the workflow takes (InputFailure).
using WorkflowFactory = SharedCode<Status(WorkflowContext& ctx, const Payload& input, RootWorkflow* root)>;

struct ActivityEntry {
  bool asynchronous = false;  // returns before it is done: needs no thread of its own meanwhile
  // Ends in attempt->Finish, now or, if asynchronous, later.
  SharedCode<void(ActivityContext& ctx, const Payload& input, std::shared_ptr<ActivityAttempt> attempt)> run;
  std::string_view transactions = {};  // it writes in those of this kind (Transactions::kind); empty: it does not
};

template <class T>
struct IsStatusOr : std::false_type {};
template <class T>
struct IsStatusOr<StatusOr<T>> : std::true_type {
  using Value = T;
};

// ---- The types of a callable, read off its call operator ----

template <class... A>
struct InputOf {  // what is left of the parameters once the context is gone
  using Type = void;
};
template <class In, class... Rest>
struct InputOf<In, Rest...> {
  using Type = std::remove_cvref_t<In>;
};
template <class... Rest>
struct InputOf<WorkflowContext&, Rest...> : InputOf<Rest...> {};
template <class... Rest>
struct InputOf<ActivityContext&, Rest...> : InputOf<Rest...> {};
template <class Out, class... Rest>
struct InputOf<ActivityCompletion<Out>, Rest...> : InputOf<Rest...> {};

template <class Tx, class... Rest>
  requires std::is_base_of_v<StoreTransaction, std::remove_reference_t<Tx>>
struct InputOf<Tx, Rest...> : InputOf<Rest...> {};

template <class R, class... A>
struct OutputOf {
  using Type = R;
};
template <class T, class... A>
struct OutputOf<Workflow<T>, A...> {
  using Type = T;
};
template <class T, class... A>
struct OutputOf<StatusOr<T>, A...> {
  using Type = T;
};
template <class... A>
struct OutputOf<Status, A...> {
  using Type = void;
};
template <class... A>
struct CompletionOf {
  static constexpr bool kFound = false;
};
template <class First, class... Rest>
struct CompletionOf<First, Rest...> : CompletionOf<Rest...> {};
template <class Out, class... Rest>
struct CompletionOf<ActivityCompletion<Out>, Rest...> {
  static constexpr bool kFound = true;
  using Type = Out;
};

template <class Out, class In>
struct SignatureOf {
  using Type = Out(In);
};
template <class Out>
struct SignatureOf<Out, void> {
  using Type = Out();
};

template <class R, class... A>
struct ParametersOf {
  static constexpr bool kIsWorkflow = IsWorkflow<R>::value;
  static constexpr bool kIsAsynchronous = CompletionOf<A...>::kFound;
  using Output = typename std::conditional_t<kIsAsynchronous, CompletionOf<A...>,
                                             OutputOf<R, A...>>::Type;
  using Signature = typename SignatureOf<Output, typename InputOf<A...>::Type>::Type;
};

template <class Signature>
struct TraitsOf;
template <class R, class... A>
struct TraitsOf<R(A...)> : ParametersOf<R, A...> {};
template <class Fn>
struct CallableTraits : TraitsOf<typename FunctionType<Fn>::Type> {};

// An activity that writes in a transaction of the store's, a Tx, which also commits its end.
template <class Tx, class Fn>
struct TransactionalActivity {
  Fn fn;
};
template <class Tx, class Fn>
struct CallableTraits<TransactionalActivity<Tx, Fn>> : CallableTraits<Fn> {};

template <class Signature>
struct DefTypes;
template <class O, class I>
struct DefTypes<O(I)> {
  using Out = O;
  using In = I;
};
template <class O>
struct DefTypes<O()> {
  using Out = O;
  using In = void;
};

// Calls `fn` with whichever of the accepted parameter lists it takes.
template <class Ctx, class In, class Fn, class... More>
constexpr bool IsCallable() {
  if constexpr (std::is_void_v<In>) {
    return std::is_invocable_v<const Fn&, Ctx&, More...> || std::is_invocable_v<const Fn&, More...>;
  } else {
    return std::is_invocable_v<const Fn&, Ctx&, In, More...> ||
           std::is_invocable_v<const Fn&, In, More...>;
  }
}
template <class In, class Ctx, class Fn, class... More>
decltype(auto) Call(const Fn& fn, Ctx& ctx, NonVoid<In>&& input, More&&... more) {
  if constexpr (std::is_void_v<In>) {
    if constexpr (std::is_invocable_v<const Fn&, Ctx&, More...>) {
      return fn(ctx, std::forward<More>(more)...);
    } else {
      return fn(std::forward<More>(more)...);
    }
  } else if constexpr (std::is_invocable_v<const Fn&, Ctx&, In, More...>) {
    return fn(ctx, std::move(input), std::forward<More>(more)...);
  } else {
    return fn(std::move(input), std::forward<More>(more)...);
  }
}

// The same for a transactional activity: with or without the context, and the input.
template <class Tx, class In, class Fn>
constexpr bool IsCallableWithin() {
  if constexpr (std::is_void_v<In>) {
    return std::is_invocable_v<const Fn&, ActivityContext&, Tx&> || std::is_invocable_v<const Fn&, Tx&>;
  } else {
    return std::is_invocable_v<const Fn&, ActivityContext&, Tx&, In> || std::is_invocable_v<const Fn&, Tx&, In>;
  }
}
template <class In, class Tx, class Fn>
decltype(auto) CallWithin(const Fn& fn, ActivityContext& ctx, Tx& tx, NonVoid<In>&& input) {
  if constexpr (std::is_void_v<In>) {
    if constexpr (std::is_invocable_v<const Fn&, ActivityContext&, Tx&>) {
      return fn(ctx, tx);
    } else {
      return fn(tx);
    }
  } else if constexpr (std::is_invocable_v<const Fn&, ActivityContext&, Tx&, In>) {
    return fn(ctx, tx, std::move(input));
  } else {
    return fn(tx, std::move(input));
  }
}

template <class Signature, class Fn>
constexpr void CheckWorkflow() {
  using Types = DefTypes<Signature>;
  static_assert(IsCallable<WorkflowContext, typename Types::In, Fn>(),
                "Marathon: this callable does not take what the WorkflowDef says: "
                "Workflow<Out>(WorkflowContext&, In)");
}
template <class Signature, class Fn>
struct ActivityCheck {
  using Types = DefTypes<Signature>;
  static_assert(IsCallable<ActivityContext, typename Types::In, Fn>() ||
                    IsCallable<ActivityContext, typename Types::In, Fn,
                               ActivityCompletion<typename Types::Out>>(),
                "Marathon: this callable does not take what the ActivityDef says: "
                "Out(ActivityContext&, const In&), without the context, without the input, or with an "
                "ActivityCompletion<Out> at the end; it is called const");
};
template <class Signature, class Tx, class Fn>
struct ActivityCheck<Signature, TransactionalActivity<Tx, Fn>> {
  static_assert(IsCallableWithin<Tx, typename DefTypes<Signature>::In, Fn>(),
                "Marathon: this callable does not take what the ActivityDef says: "
                "Out(ActivityContext&, Transaction&, const In&), without the context or without the input; it is "
                "called const");
};
template <class Signature, class Fn>
constexpr void CheckActivity() {
  static_cast<void>(ActivityCheck<Signature, Fn>());
}

// Decodes the input of a workflow or an activity.
template <class In>
StatusOr<NonVoid<In>> DecodeInput(const Payload& payload) {
  if constexpr (std::is_void_v<In>) {
    return std::monostate();
  } else {
    return Decode<In>(payload);
  }
}
// What one fails with whose input is something else.
inline Failure InputFailure(const Status& status) {
  return ConversionFailure("input", status, failure_type::kDecode);
}

// ---- Workflows ----

// The result of a root coroutine that has returned.
template <class Out>
StatusOr<Payload> ResultOfRoot(std::coroutine_handle<> handle) {
  if constexpr (std::is_void_v<Out>) {
    return Payload();
  } else {
    return Encode<Out>(
        *std::coroutine_handle<WorkflowPromise<Out>>::from_address(handle.address()).promise().result);
  }
}

// The callable lives as long as the coroutines that it made: lambdas keep their captures in it. So does the
// input, for coroutines that take it by reference.
template <class Signature, class Fn>
auto MakeWorkflow(Fn fn) {
  using Out = typename DefTypes<Signature>::Out;
  using In = typename DefTypes<Signature>::In;
  return [fn = std::move(fn)](WorkflowContext& ctx, const Payload& payload, RootWorkflow* root) -> Status {
    auto input = DecodeInput<In>(payload);
    if (!input.ok()) return input.status();
    using Kept = NonVoid<In>;
    auto kept = std::allocate_shared<Kept>(PoolAllocator<Kept>(), *std::move(input));
    static_assert(std::is_same_v<decltype(Call<In>(fn, ctx, std::move(*kept))), Workflow<Out>>,
                  "Marathon: the callable's result is not the WorkflowDef's");
    Workflow<Out> workflow = Call<In>(fn, ctx, std::move(*kept));
    const auto handle = std::move(workflow).Release();
    *root = {handle, &handle.promise(), &ResultOfRoot<Out>, std::move(kept)};
    return {};
  };
}

// ---- Activities ----

template <class Out, class Result>
AttemptResult ToAttemptResult(Result&& result) {
  using Plain = std::remove_cvref_t<Result>;
  if constexpr (std::is_same_v<Plain, Status>) {
    if (!result.ok()) return FailureOfStatus(result);
    return ResultOf(Payload());
  } else if constexpr (IsStatusOr<Plain>::value) {
    if (!result.ok()) return FailureOfStatus(result.status());
    return ResultOf(Encode<typename IsStatusOr<Plain>::Value>(*result));
  } else {
    return ResultOf(Encode<Out>(result));
  }
}

template <class Out, class In, class Fn>
AttemptResult RunBlocking(const Fn& fn, ActivityContext& ctx, NonVoid<In>&& input) {
  try {
    if constexpr (std::is_void_v<decltype(Call<In>(fn, ctx, std::move(input)))>) {
      Call<In>(fn, ctx, std::move(input));
      return ResultOf(Payload());
    } else {
      return ToAttemptResult<Out>(Call<In>(fn, ctx, std::move(input)));
    }
  } catch (...) {
    return FailureFrom(std::current_exception());
  }
}

template <class Signature, class Fn>
auto MakeActivity(Fn fn) {
  using Out = typename DefTypes<Signature>::Out;
  using In = typename DefTypes<Signature>::In;
  constexpr bool kAsynchronous = IsCallable<ActivityContext, In, Fn, ActivityCompletion<Out>>();
  ActivityEntry entry;
  entry.asynchronous = kAsynchronous;
  entry.run = [fn = std::move(fn)](ActivityContext& ctx, const Payload& payload,
                                   std::shared_ptr<ActivityAttempt> attempt) {
    const CalledHere called(attempt.get());
    auto input = DecodeInput<In>(payload);
    if (!input.ok()) {
      attempt->Finish(InputFailure(input.status()));
    } else if constexpr (kAsynchronous) {
      ActivityCompletion<Out> completion(attempt);
      try {
        Call<In>(fn, ctx, *std::move(input), std::move(completion));
      } catch (...) {
        attempt->Finish(FailureFrom(std::current_exception()));
      }
    } else {
      attempt->Finish(RunBlocking<Out, In>(fn, ctx, *std::move(input)));
    }
  };
  return entry;
}

template <class Signature, class Tx, class Fn>
auto MakeActivity(TransactionalActivity<Tx, Fn> activity) {
  using Out = typename DefTypes<Signature>::Out;
  using In = typename DefTypes<Signature>::In;
  ActivityEntry entry;
  entry.transactions = Tx::kKind;
  entry.run = [fn = std::move(activity.fn)](ActivityContext& ctx, const Payload& payload,
                                            std::shared_ptr<ActivityAttempt> attempt) {
    auto decoded = DecodeInput<In>(payload);
    if (!decoded.ok()) return attempt->Finish(InputFailure(decoded.status()));
    attempt->FinishWithin([&](StoreTransaction& store) {
      auto& tx = static_cast<Tx&>(store);  // the store is of this kind: Engine::Open has seen to it
      const auto within = [&](ActivityContext& context, NonVoid<In> input) -> decltype(auto) {
        return CallWithin<In>(fn, context, tx, std::move(input));
      };
      if constexpr (std::is_void_v<In>) {
        const auto plain = [&](ActivityContext& context) -> decltype(auto) { return within(context, {}); };
        return RunBlocking<Out, In>(plain, ctx, {});
      } else {
        return RunBlocking<Out, In>(within, ctx, *std::move(decoded));
      }
    });
  };
  return entry;
}

}  // namespace marathon::inline MARATHON_ABI::detail
