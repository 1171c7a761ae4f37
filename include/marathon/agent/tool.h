// Tool: a function that a model may call, and what its caller must know of it: what a crash in the middle means,
// how long it may take, and whether a person has to agree.
//
//   struct Search { std::string query; std::optional<int> limit; };
//   MARATHON_TOOL_INPUT(Search, (query, "words to look for"), (limit, "how many"))
//
//   agent.tools = {agent::MakeTool("search", "Searches the archive.",
//                                  [archive](const Search& s) { return archive->Find(s.query); },
//                                  {.effect = agent::Effect::kPure})};
//
// Values; a tool's callable is called const, on threads of the activity pool, several at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "marathon/activity.h"
#include "marathon/agent/schema.h"
#include "marathon/agent/steps.h"
#include "marathon/agent/tool_input.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/callables.h"
#include "marathon/detail/function_type.h"
#include "marathon/errors.h"
#include "marathon/llm/chat.h"
#include "marathon/retry_policy.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent {

struct Agent;

// What a second run of one call would do. A worker may die after the work and before its record.
enum class Effect : uint8_t {
  kPure,          // nothing: it only looks. It is run again, and retried when it fails
  kIdempotent,    // nothing more, under the same idempotency key. The same
  kReconcilable,  // harm; but ToolOptions::check can tell what has become of the first
  kAtMostOnce,    // harm. It is never run again: the model reads that its outcome is unknown
};

namespace internal {
class ToolWriter;
}

// One call of a tool, as the tool sees it. Usable from any thread until the tool returns.
class MARATHON_EXPORT ToolContext {
 public:
  ToolContext(ActivityContext& activity, const ToolTask& task, std::shared_ptr<internal::ToolWriter> writer = nullptr)
      : activity_(activity), step_(task.step), call_id_(task.call_id), writer_(std::move(writer)) {}

  // The same for every delivery and attempt of this call, and of no other: "<run id>/<step>/<call id>".
  std::string idempotency_key() const {
    return run().run_id.str() + "/" + std::to_string(step_) + "/" + call_id_;
  }
  const RunKey& run() const { return activity_.info().key.run; }
  int step() const { return step_; }  // of the model, that asked for it; from 1
  const std::string& call_id() const { return call_id_; }
  int attempt() const { return activity_.attempt(); }
  // Fires when the agent is stopped, the timeout passes, or the engine shuts down.
  const std::stop_token& stop_token() const { return activity_.stop_token(); }
  ActivityContext& activity() { return activity_; }

  // Says how far it is, from 0 to 1 or in words, to whoever watches (stream.h), and to the engine that it is alive.
  // Cheap to call often: only the first of many that come at once are said, and then four a second. Nothing depends
  // on it; without a stream nobody hears it.
  void Progress(std::string_view text);
  void Progress(double fraction, std::string_view text = {});

 private:
  void Say(std::string_view text, std::optional<double> fraction);

  ActivityContext& activity_;
  const int step_;
  const std::string call_id_;
  const std::shared_ptr<internal::ToolWriter> writer_;  // null: nobody watches
};

// What has become of a call whose first run ended without a word.
struct Reconciled {
  enum class Kind : uint8_t { kDone, kNotDone, kUnknown };
  Kind kind = Kind::kUnknown;
  std::string text{};  // kDone: the result, for the model
};

// Whether a person has to agree to a call with these arguments, which fit the schema. In workflow code: it must
// be deterministic. Empty: no. If it throws, the call is not made, and the agent ends (kFailed, "Hook").
using ApprovalRule = std::function<bool(const nlohmann::json& arguments)>;
inline ApprovalRule Always() {
  return [](const nlohmann::json&) { return true; };
}

struct ToolOptions {
  Effect effect = Effect::kAtMostOnce;
  Duration timeout{30'000};     // of one attempt
  RetryPolicy retry{.maximum_attempts = 3};  // kPure, kIdempotent: of failures. kReconcilable: of timeouts
  int max_parallel = 0;         // calls of it under way at a time, in one run; 0: any number
  ApprovalRule approve{};
  Duration approval_timeout{0};  // then it counts as denied; 0: it waits for ever
  size_t result_max = 64u << 10;  // bytes of text; the rest is cut off, and the model is told
  std::string task_queue{};      // whose workers run it; empty: the run's
  // kReconcilable: required. Asked first, when a run of the same call may have been before.
  std::function<Reconciled(const nlohmann::json& arguments, ToolContext& ctx)> check{};
};

struct Tool {
  llm::Tool definition;  // as the model is told
  ToolOptions options{};
  std::optional<JsonSchema> schema{};
  // Runs it. What it throws is a failure that the model reads.
  std::function<ToolReply(ToolContext& ctx, const nlohmann::json& arguments)> run{};
  std::shared_ptr<const Agent> agent{};  // is run instead, as a child (agent_tool.h)
  std::string mistake{};  // why it cannot be bound; empty: it can
};

namespace internal {

template <class R, class... A>
struct LastParameter {
  using Type = void;
};
template <class R, class A>
struct LastParameter<R(A)> {
  using Type = std::remove_cvref_t<A>;
};
template <class R, class Ctx, class A>
struct LastParameter<R(Ctx, A)> {
  using Type = std::remove_cvref_t<A>;
};
template <class Fn>
using ToolIn = typename LastParameter<typename marathon::detail::FunctionType<Fn>::Type>::Type;

[[noreturn]] MARATHON_EXPORT void ThrowToolStatus(const Status& status);

// A text is itself, another value its JSON.
template <class T>
ToolReply ReplyOf(const T& value) {
  if constexpr (std::is_same_v<T, ToolReply>) {
    return value;
  } else if constexpr (std::is_convertible_v<const T&, std::string>) {
    return ToolReply{.text = value};
  } else if constexpr (marathon::detail::IsStatusOr<T>::value) {
    if (!value.ok()) ThrowToolStatus(value.status());
    return ReplyOf(*value);
  } else if constexpr (std::is_same_v<T, Status>) {
    if (!value.ok()) ThrowToolStatus(value);
    return ToolReply{.text = "done"};
  } else {
    return ToolReply{.text = nlohmann::json(value).dump()};
  }
}

template <class Fn, class... A>
ToolReply CallTool(const Fn& fn, A&&... arguments) {
  if constexpr (std::is_void_v<std::invoke_result_t<const Fn&, A...>>) {
    fn(std::forward<A>(arguments)...);
    return ToolReply{.text = "done"};
  } else {
    return ReplyOf(fn(std::forward<A>(arguments)...));
  }
}

MARATHON_EXPORT Tool NewTool(std::string name, std::string description, std::string schema,
                             ToolOptions options);

}  // namespace internal

// A tool with a schema of your own, as text; otherwise as MakeTool. In has JSON, or is nlohmann::json itself.
template <class Fn>
Tool MakeToolWithSchema(std::string name, std::string description, std::string schema, Fn fn,
                        ToolOptions options = {}) {
  using In = internal::ToolIn<Fn>;
  Tool tool = internal::NewTool(std::move(name), std::move(description), std::move(schema), std::move(options));
  tool.run = [fn = std::move(fn)](ToolContext& ctx, const nlohmann::json& arguments) {
    const In input = arguments.get<In>();
    if constexpr (std::is_invocable_v<const Fn&, ToolContext&, const In&>) {
      return internal::CallTool(fn, ctx, input);
    } else {
      return internal::CallTool(fn, input);
    }
  };
  return tool;
}

// A tool of any callable `Out(const In&)` or `Out(agent::ToolContext&, const In&)`. In has a schema (tool_input.h);
// Out is a text, what has JSON, StatusOr of these, Status, nothing, or a ToolReply. Mistakes are told by
// Engine::Open.
template <class Fn>
Tool MakeTool(std::string name, std::string description, Fn fn, ToolOptions options = {}) {
  using In = internal::ToolIn<Fn>;
  static_assert(!std::is_void_v<In>, "Marathon: a tool is Out(const In&) or Out(agent::ToolContext&, const In&)");
  return MakeToolWithSchema(std::move(name), std::move(description), SchemaTextOf<In>(), std::move(fn),
                            std::move(options));
}

}  // namespace marathon::inline MARATHON_ABI::agent
