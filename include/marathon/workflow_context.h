// WorkflowContext: everything a workflow may do. Each call that waits is awaited where it is made, or
// started and awaited through its handle; nothing else of the world is visible from a workflow's body.
//
//   marathon::Workflow<std::string> Checkout(marathon::WorkflowContext& ctx, Order order) {
//     std::string receipt = co_await ctx.Run(kCharge, order, {.start_to_close_timeout = 10s});
//     co_await ctx.Sleep(24h);
//     if (!co_await ctx.Receive<bool>("approved")) throw marathon::ApplicationError("declined");
//     co_return receipt;
//   }
//
// The body must be deterministic: same inputs and answers, same calls in the same order. Clocks, random
// numbers, threads and I/O belong in activities; ctx.Now, ctx.Random and ctx.SideEffect replace the
// small ones. See docs/determinism.md.
//
// Thread rule: only from the workflow's own body, which is on one thread at a time.
#pragma once

#include <coroutine>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "marathon/activity_def.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/awaitables.h"
#include "marathon/detail/condition_awaiters.h"
#include "marathon/detail/group_awaiters.h"
#include "marathon/detail/handlers.h"
#include "marathon/detail/operation.h"
#include "marathon/handle.h"
#include "marathon/ids.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/log_sink.h"
#include "marathon/retry_policy.h"
#include "marathon/time.h"
#include "marathon/workflow.h"

namespace marathon::inline MARATHON_ABI {

// How one activity is to be run. Trivially destructible on purpose (see retry_policy.h): texts are
// views that need to live for the call only. A zero timeout is none, but an activity never goes without
// a deadline: with neither start-to-close nor schedule-to-close, limits::kDefaultStartToClose holds.
struct ActivityOptions {
  std::string_view task_queue{};           // empty: the workflow's own
  Duration start_to_close_timeout{0};      // one attempt; retried when it passes
  Duration schedule_to_start_timeout{0};   // waiting for a worker; final when it passes
  Duration schedule_to_close_timeout{0};   // all attempts and waits together; final when it passes
  Duration heartbeat_timeout{0};           // between two ctx.Heartbeat()s; retried when it passes
  const RetryPolicy* retry = nullptr;      // null: RetryPolicy's defaults. Must outlive the call
  ActivityCancellation cancellation = ActivityCancellation::kTry;
  // When five workers have died while it ran: it is held, as a dead letter, until somebody calls
  // Run::RetryActivity or a deadline passes, instead of failing.
  bool hold_dead_letter = false;
  int priority = 0;  // in its task queue, as in StartOptions; 0: the workflow's own
  // Of all activities of one task queue with the same key, `max_per_key` are at work at a time, in whatever worker and
  // process; the others wait. Up to limits::kMaxIdBytes; empty: it waits for none. Of those with one key the
  // `max_per_key` that was said last counts; 1 to limits::kMaxPlaces.
  std::string_view concurrency_key{};
  int max_per_key = 1;
};

// How a local activity is to be run. Trivially destructible, as ActivityOptions is.
struct LocalOptions {
  // One attempt, from its beginning: at most limits::kMaxLocalTime. Retried when it passes.
  Duration start_to_close_timeout = limits::kDefaultLocalTime;
  const RetryPolicy* retry = nullptr;  // as in ActivityOptions
  ActivityCancellation cancellation = ActivityCancellation::kTry;
};

// What becomes of a child when its parent's chain of runs has ended.
enum class ParentClosePolicy : uint8_t {
  kTerminate,
  kCancel,   // as by Run::Cancel
  kAbandon,  // it goes on
};

// How a child is to run. Trivially destructible, as ActivityOptions is.
struct ChildOptions {
  std::string_view workflow_id{};     // empty: "<parent's run id>/<number>", another for each call
  std::string_view task_queue{};      // empty: the parent's
  Duration run_timeout{0};            // as in StartOptions
  Duration start_delay{0};            // as in StartOptions
  const RetryPolicy* retry = nullptr;  // as in StartOptions; must outlive the call
  ParentClosePolicy on_parent_close = ParentClosePolicy::kTerminate;
  // When the handle is told that the child is canceled; kTry and kWait cancel the child, kAbandon does not.
  ActivityCancellation cancellation = ActivityCancellation::kWait;
  const Labels* memo = nullptr;        // as in StartOptions; must live for the call
  const Labels* attributes = nullptr;
  int priority = 0;                    // as in StartOptions; 0: the parent's
};

// Which run of a workflow id. Trivially destructible, as ActivityOptions is.
struct TargetOptions {
  std::string_view run_id{};  // it, or the one of its chain that goes on; empty: the id's newest
};

// Keeps a handler in place for as long as it lives. Declare it behind what the handler refers to: so it goes
// first.
class [[nodiscard]] HandlerRegistration {
 public:
  HandlerRegistration(detail::WorkflowCore& core, uint64_t name) : core_(core), name_(name) {}
  HandlerRegistration(const HandlerRegistration&) = delete;
  HandlerRegistration& operator=(const HandlerRegistration&) = delete;
  ~HandlerRegistration();

 private:
  detail::WorkflowCore& core_;
  const uint64_t name_;
};

// How the next run of a chain is to differ from this one. Trivially destructible, as ActivityOptions is.
struct ContinueAsNewOptions {
  std::string_view workflow_type{};      // empty: this one's
  std::string_view task_queue{};         // empty: this one's
  std::optional<Duration> run_timeout{};  // 0: none; not said: this one's
  // Where this run is pinned to a build (Versioning::kPinned), the next one is, too, on the same task queue. With
  // `upgrade` it begins on any, as a new run does: the input is then perhaps for newer code.
  bool upgrade = false;
};

// Made in place, in an expression with co_await, they survive what g++ 12 does to temporaries there.
static_assert(std::is_trivially_destructible_v<ActivityOptions> && std::is_trivially_destructible_v<LocalOptions> &&
              std::is_trivially_destructible_v<ChildOptions> && std::is_trivially_destructible_v<TargetOptions> &&
              std::is_trivially_destructible_v<ContinueAsNewOptions> && std::is_trivially_destructible_v<RetryPolicy>);

namespace detail {
// Whether an argument is an input, where options without an input may stand.
template <class Arg, class Options>
concept IsInput = !std::is_same_v<std::remove_cvref_t<Arg>, Options>;
}  // namespace detail

class WorkflowContext {
 public:
  explicit WorkflowContext(detail::WorkflowCore& core) : core_(core) {}
  WorkflowContext(const WorkflowContext&) = delete;
  WorkflowContext& operator=(const WorkflowContext&) = delete;

  // ---- Activities. A failure that no retry mends is thrown as ActivityError, TimeoutError or
  // CanceledError by the co_await; an input that has no JSON as ApplicationError by the call.

  template <class Out, class In, class Arg>
  [[nodiscard]] detail::JoinAwaiter<Out> Run(
      const ActivityDef<Out(In)>& def, Arg&& input, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(Schedule<In>(def.name, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<Out> Run(
      const ActivityDef<Out()>& def, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(ScheduleEncoded(def.name, Payload(), options, where));
  }
  // By name: `co_await ctx.Run<std::string>("Charge", order)`, or `ctx.Run<int>("Now")`.
  template <class Out, class Arg>
    requires detail::IsInput<Arg, ActivityOptions>
  [[nodiscard]] detail::JoinAwaiter<Out> Run(
      std::string_view activity, Arg&& input, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(
        Schedule<std::remove_cvref_t<Arg>>(activity, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<Out> Run(
      std::string_view activity, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(ScheduleEncoded(activity, Payload(), options, where));
  }

  // The same, but the co_await gives an Outcome<Out> instead of throwing.
  template <class Out, class In, class Arg>
  [[nodiscard]] detail::TryAwaiter<Out> TryRun(
      const ActivityDef<Out(In)>& def, Arg&& input, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::TryAwaiter<Out>(Schedule<In>(def.name, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::TryAwaiter<Out> TryRun(
      const ActivityDef<Out()>& def, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::TryAwaiter<Out>(ScheduleEncoded(def.name, Payload(), options, where));
  }
  template <class Out, class Arg>
    requires detail::IsInput<Arg, ActivityOptions>
  [[nodiscard]] detail::TryAwaiter<Out> TryRun(
      std::string_view activity, Arg&& input, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::TryAwaiter<Out>(
        Schedule<std::remove_cvref_t<Arg>>(activity, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::TryAwaiter<Out> TryRun(
      std::string_view activity, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::TryAwaiter<Out>(ScheduleEncoded(activity, Payload(), options, where));
  }

  // The same, but without waiting: the handle is awaited later, alone or through All and Any.
  template <class Out, class In, class Arg>
  [[nodiscard]] ActivityHandle<Out> Start(
      const ActivityDef<Out(In)>& def, Arg&& input, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(Schedule<In>(def.name, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] ActivityHandle<Out> Start(
      const ActivityDef<Out()>& def, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(ScheduleEncoded(def.name, Payload(), options, where));
  }
  template <class Out, class Arg>
    requires detail::IsInput<Arg, ActivityOptions>
  [[nodiscard]] ActivityHandle<Out> Start(
      std::string_view activity, Arg&& input, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(
        Schedule<std::remove_cvref_t<Arg>>(activity, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] ActivityHandle<Out> Start(
      std::string_view activity, ActivityOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(ScheduleEncoded(activity, Payload(), options, where));
  }

  // ---- Local activities

  // Runs a short activity on the worker that takes this turn, which waits for it: without a queue, and without a
  // write of its own, since its outcome is recorded with the turn. It runs at least once; a worker that dies, or a turn
  // that another has taken, runs all of the turn's once more. Messages wait until the turn is over, a cancel of the run too;
  // so it is for what takes milliseconds. Waits between attempts of more than limits::kLocalRetryInWorker are
  // durable. Throws as Run does.
  template <class Out, class In, class Arg>
  [[nodiscard]] detail::JoinAwaiter<Out> RunLocal(
      const ActivityDef<Out(In)>& def, Arg&& input, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(StartLocalWith<In>(def.name, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<Out> RunLocal(
      const ActivityDef<Out()>& def, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(StartLocalEncoded(def.name, Payload(), options, where));
  }
  template <class Out, class Arg>
    requires detail::IsInput<Arg, LocalOptions>
  [[nodiscard]] detail::JoinAwaiter<Out> RunLocal(
      std::string_view activity, Arg&& input, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(
        StartLocalWith<std::remove_cvref_t<Arg>>(activity, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<Out> RunLocal(
      std::string_view activity, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(StartLocalEncoded(activity, Payload(), options, where));
  }
  // The same, but without waiting: several run side by side.
  template <class Out, class In, class Arg>
  [[nodiscard]] ActivityHandle<Out> StartLocal(
      const ActivityDef<Out(In)>& def, Arg&& input, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(StartLocalWith<In>(def.name, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] ActivityHandle<Out> StartLocal(
      const ActivityDef<Out()>& def, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(StartLocalEncoded(def.name, Payload(), options, where));
  }
  template <class Out, class Arg>
    requires detail::IsInput<Arg, LocalOptions>
  [[nodiscard]] ActivityHandle<Out> StartLocal(
      std::string_view activity, Arg&& input, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(
        StartLocalWith<std::remove_cvref_t<Arg>>(activity, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] ActivityHandle<Out> StartLocal(
      std::string_view activity, LocalOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ActivityHandle<Out>(StartLocalEncoded(activity, Payload(), options, where));
  }

  // ---- Other runs

  // Starts a child: a run of its own, on any worker that has its code, which ends when this chain of runs does,
  // or as ChildOptions says. Gives what it, or the last run of its chain, returned. Throws ChildRunError if it
  // failed, timed out, was terminated, or its workflow id belongs to an open run; CanceledError if canceled.
  template <class Out, class In, class Arg>
  [[nodiscard]] detail::JoinAwaiter<Out> RunChild(
      const WorkflowDef<Out(In)>& def, Arg&& input, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(
        ScheduleChild<In>(def.name, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<Out> RunChild(
      const WorkflowDef<Out()>& def, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(ScheduleChildEncoded(def.name, Payload(), options, where));
  }
  // By name: `co_await ctx.RunChild<std::string>("Ship", order)`.
  template <class Out, class Arg>
    requires detail::IsInput<Arg, ChildOptions>
  [[nodiscard]] detail::JoinAwaiter<Out> RunChild(
      std::string_view workflow, Arg&& input, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(ScheduleChild<std::remove_cvref_t<Arg>>(
        workflow, std::forward<Arg>(input), options, where));
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<Out> RunChild(
      std::string_view workflow, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return detail::JoinAwaiter<Out>(ScheduleChildEncoded(workflow, Payload(), options, where));
  }

  // The same, but without waiting. The child starts even if this run ends at once, unless it is to end with it.
  template <class Out, class In, class Arg>
  [[nodiscard]] ChildHandle<Out> StartChild(
      const WorkflowDef<Out(In)>& def, Arg&& input, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ChildHandleOf<Out>(ScheduleChild<In>(def.name, std::forward<Arg>(input), options, where),
                              options);
  }
  template <class Out>
  [[nodiscard]] ChildHandle<Out> StartChild(
      const WorkflowDef<Out()>& def, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ChildHandleOf<Out>(ScheduleChildEncoded(def.name, Payload(), options, where), options);
  }
  template <class Out, class Arg>
    requires detail::IsInput<Arg, ChildOptions>
  [[nodiscard]] ChildHandle<Out> StartChild(
      std::string_view workflow, Arg&& input, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ChildHandleOf<Out>(ScheduleChild<std::remove_cvref_t<Arg>>(
                                  workflow, std::forward<Arg>(input), options, where),
                              options);
  }
  template <class Out>
  [[nodiscard]] ChildHandle<Out> StartChild(
      std::string_view workflow, ChildOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ChildHandleOf<Out>(ScheduleChildEncoded(workflow, Payload(), options, where), options);
  }

  // Signals another run, and waits until it has the signal; one sent after that comes after it. Throws
  // DeliveryError if there is no such run, or it is closed. A SignalDef<void> has no value.
  template <class T, class Arg>
    requires(!std::is_void_v<T>)
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      std::string_view workflow_id, const SignalDef<T>& signal, Arg&& value,
      TargetOptions target = {}, std::source_location where = std::source_location::current()) {
    return SendSignal<T>(Target(workflow_id, target), signal.name, std::forward<Arg>(value), where);
  }
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      std::string_view workflow_id, const SignalDef<void>& signal, TargetOptions target = {},
      std::source_location where = std::source_location::current()) {
    return SendSignal(Target(workflow_id, target), signal.name, where);
  }
  template <class Arg>
    requires detail::IsInput<Arg, TargetOptions>
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      std::string_view workflow_id, std::string_view signal, Arg&& value, TargetOptions target = {},
      std::source_location where = std::source_location::current()) {
    return SendSignal<std::remove_cvref_t<Arg>>(Target(workflow_id, target), signal,
                                                std::forward<Arg>(value), where);
  }
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      std::string_view workflow_id, std::string_view signal, TargetOptions target = {},
      std::source_location where = std::source_location::current()) {
    return SendSignal(Target(workflow_id, target), signal, where);
  }
  // … and a child, which may still be about to start.
  template <class Out, class T, class Arg>
    requires(!std::is_void_v<T>)
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      const ChildHandle<Out>& child, const SignalDef<T>& signal, Arg&& value,
      std::source_location where = std::source_location::current()) {
    return SendSignal<T>(Target(child), signal.name, std::forward<Arg>(value), where);
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      const ChildHandle<Out>& child, const SignalDef<void>& signal,
      std::source_location where = std::source_location::current()) {
    return SendSignal(Target(child), signal.name, where);
  }
  template <class Out, class Arg>
    requires detail::IsInput<Arg, std::source_location>
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      const ChildHandle<Out>& child, std::string_view signal, Arg&& value,
      std::source_location where = std::source_location::current()) {
    return SendSignal<std::remove_cvref_t<Arg>>(Target(child), signal, std::forward<Arg>(value), where);
  }
  template <class Out>
  [[nodiscard]] detail::JoinAwaiter<void> SignalRun(
      const ChildHandle<Out>& child, std::string_view signal,
      std::source_location where = std::source_location::current()) {
    return SendSignal(Target(child), signal, where);
  }
  // Asks another run to end, as Run::Cancel does, and waits until it has been told. Throws DeliveryError.
  [[nodiscard]] detail::JoinAwaiter<void> CancelRun(
      std::string_view workflow_id, std::string_view reason = "", TargetOptions target = {},
      std::source_location where = std::source_location::current());

  // ---- Time. Durable, of any length, by the store's clock.

  [[nodiscard]] detail::JoinAwaiter<void> Sleep(
      Duration duration, std::source_location where = std::source_location::current());
  [[nodiscard]] TimerHandle StartTimer(
      Duration duration, std::source_location where = std::source_location::current());
  // The time at which this turn began: the same in every replay.
  Time Now() const;

  // ---- Branches

  // Runs a workflow function as a concurrent branch of this run, in a cancellation scope of its own.
  // `branch` starts when the caller waits.
  template <class T>
  [[nodiscard]] BranchHandle<T> Spawn(Workflow<T> branch) {
    return BranchHandle<T>(StartBranch(std::move(branch).Release()));
  }
  // Waits for all. Gives a std::tuple (std::monostate for void), or a vector for a vector of handles.
  // If some fail, waits for all the same and then throws the failure that came first.
  template <class... T>
  [[nodiscard]] detail::AllAwaiter<T...> All(const Handle<T>&... handles) {
    return detail::AllAwaiter<T...>(handles...);
  }
  template <class H>
    requires std::is_base_of_v<detail::HandleBase, H>
  [[nodiscard]] detail::AllVectorAwaiter<typename H::Result> All(const std::vector<H>& handles) {
    return detail::AllVectorAwaiter<typename H::Result>(detail::OperationsOf(handles));
  }
  // Waits for the first to end, well or badly, and gives its position. The others go on.
  template <class... T>
  [[nodiscard]] detail::AnyAwaiter Any(const Handle<T>&... handles) {
    return detail::AnyAwaiter({handles.operation()...});
  }
  template <class H>
    requires std::is_base_of_v<detail::HandleBase, H>
  [[nodiscard]] detail::AnyAwaiter Any(const std::vector<H>& handles) {
    return detail::AnyAwaiter(detail::OperationsOf(handles));
  }
  // Waits for a handle and gives an Outcome<T> instead of throwing.
  template <class T>
  [[nodiscard]] detail::TryAwaiter<T> Try(const Handle<T>& handle) {
    return detail::TryAwaiter<T>(handle.operation());
  }

  // ---- Signals and conditions

  // The next signal of this name, in the order acknowledged; waits if there is none. One that is not a
  // T is thrown as ApplicationError; a `void` takes any, and drops its value.
  template <class T>
  [[nodiscard]] detail::ReceiveAwaiter<T> Receive(std::string_view signal) {
    return detail::ReceiveAwaiter<T>(NextSignal(signal));
  }
  template <class T>
  [[nodiscard]] detail::ReceiveAwaiter<T> Receive(const SignalDef<T>& signal) {
    return detail::ReceiveAwaiter<T>(NextSignal(signal.name));
  }
  // The same, or nothing once `timeout` has passed: std::optional<T>; of `void`, whether it came.
  template <class T>
  [[nodiscard]] detail::ReceiveForAwaiter<T> Receive(
      std::string_view signal, Duration timeout,
      std::source_location where = std::source_location::current()) {
    return detail::ReceiveForAwaiter<T>(SignalOrTimer(signal, timeout, where), where);
  }
  template <class T>
  [[nodiscard]] detail::ReceiveForAwaiter<T> Receive(
      const SignalDef<T>& signal, Duration timeout,
      std::source_location where = std::source_location::current()) {
    return detail::ReceiveForAwaiter<T>(SignalOrTimer(signal.name, timeout, where), where);
  }

  // Waits until `predicate()` is true; it is asked again after every change in this run. It must only
  // look. Capture by reference.
  template <class Predicate>
  [[nodiscard]] detail::ConditionAwaiter<std::remove_cvref_t<Predicate>> WaitUntil(
      Predicate&& predicate) {
    detail::CheckSafeArgument<Predicate>();
    return detail::ConditionAwaiter<std::remove_cvref_t<Predicate>>(
        core_, std::forward<Predicate>(predicate));
  }
  // The same, but gives false once `timeout` has passed.
  template <class Predicate>
  [[nodiscard]] detail::ConditionForAwaiter<std::remove_cvref_t<Predicate>> WaitUntil(
      Predicate&& predicate, Duration timeout,
      std::source_location where = std::source_location::current()) {
    detail::CheckSafeArgument<Predicate>();
    return detail::ConditionForAwaiter<std::remove_cvref_t<Predicate>>(
        core_, std::forward<Predicate>(predicate), timeout, where);
  }

  // ---- Handlers. Each is in place until what the call returns is destroyed; a name has one, the last:
  //
  //   Strings done;
  //   auto progress = ctx.OnQuery("progress", [&] { return done; });
  //   auto skip = ctx.OnSignal("skip", [&](std::string step) { done.push_back(step); });

  // Calls `handler(value)` for each signal of this name, those that wait already too. It returns nothing, or a
  // Workflow<void>, which runs as a branch of its own that no cancel reaches. Handlers run before other code.
  // What one throws fails the run, as does a value that it cannot take; a handler of Payload takes any, as it came.
  template <class Fn>
  HandlerRegistration OnSignal(std::string_view signal, Fn handler) {
    return SetHandler(signal, detail::MakeSignalHandler(std::move(handler)));
  }
  template <class T, class Fn>
  HandlerRegistration OnSignal(const SignalDef<T>& signal, Fn handler) {
    static_assert(std::is_same_v<detail::HandlerIn<Fn>, T>,
                  "Marathon: the handler does not take what the SignalDef says");
    return OnSignal(signal.name, std::move(handler));
  }
  // Answers Run::Update with `handler(input)`, or `handler()`: what it returns, be it a Workflow<Out>, which runs as a
  // branch of its own that no cancel reaches. What it throws is the answer too; the run goes on. Handlers run
  // before other code. An update that comes while its name has no handler is rejected.
  template <class Fn>
  HandlerRegistration OnUpdate(std::string_view update, Fn handler) {
    return SetHandler(update, detail::MakeUpdateHandler(std::move(handler)));
  }
  // The same, if `validator(input)` does not throw: then the update is rejected, and leaves no event. It may only
  // look, as a query's handler.
  template <class Fn, class Validator>
  HandlerRegistration OnUpdate(std::string_view update, Fn handler, Validator validator) {
    return SetHandler(update, detail::MakeUpdateHandler(std::move(handler), std::move(validator)));
  }
  template <class Signature, class Fn, class... Validator>
  HandlerRegistration OnUpdate(const UpdateDef<Signature>& update, Fn handler, Validator... validator) {
    static_assert(detail::kHandles<Signature, Fn>,
                  "Marathon: the handler does not take or give what the UpdateDef says");
    return OnUpdate(update.name, std::move(handler), std::move(validator)...);
  }
  // Whether no signal or update handler is running: `co_await ctx.WaitUntil([&] { return ctx.AllHandlersFinished(); })`.
  bool AllHandlersFinished() const;

  // Answers Run::Query with `handler(input)`, or `handler()`. It may only look at the run's state.
  template <class Fn>
  HandlerRegistration OnQuery(std::string_view query, Fn handler) {
    return SetHandler(query, detail::MakeQueryHandler(std::move(handler)));
  }
  template <class Signature, class Fn>
  HandlerRegistration OnQuery(const QueryDef<Signature>& query, Fn handler) {
    static_assert(detail::kAnswers<Signature, Fn>,
                  "Marathon: the handler does not take or give what the QueryDef says");
    return OnQuery(query.name, std::move(handler));
  }

  // ---- Cancellation. Run::Cancel makes each co_await that waits, or would wait, throw CanceledError, but
  // inside a ShieldedScope (cancellation_scope.h). A body that lets it out ends the run as canceled.

  bool cancel_requested() const;
  const std::string& cancel_reason() const;

  // ---- Changing a workflow while runs of it are open

  // Which version of `change` this run follows. A run that comes here for the first time takes `max`, and keeps
  // it; one that passed the place before the change was made has kBeforeChange (-1). A run whose version is not
  // between `min` and `max` blocks. Once no run of before is open, the call may be dropped.
  int Version(std::string_view change, int min, int max,
              std::source_location where = std::source_location::current());
  // Whether this run follows the changed code: `if (ctx.Patched("ask twice")) …`.
  bool Patched(std::string_view change, std::source_location where = std::source_location::current()) {
    return Version(change, kBeforeChange, 1, where) == 1;
  }

  // ---- Chains of runs

  // `co_await ctx.ContinueAsNew(input)` ends this run, and the next one of its chain goes on under the same
  // workflow id, with a history of its own: for workflows that never end. It does not come back. Signals that
  // nobody has received yet go to the next run, in order; what is pending ends with this run.
  template <class Arg>
  [[nodiscard]] detail::ContinueAsNewAwaiter ContinueAsNew(
      Arg&& input, ContinueAsNewOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ContinueWith<std::remove_cvref_t<Arg>>(options.workflow_type, std::forward<Arg>(input),
                                                  options, where);
  }
  [[nodiscard]] detail::ContinueAsNewAwaiter ContinueAsNew(
      ContinueAsNewOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ContinueEncoded(options.workflow_type, Payload(), options, where);
  }
  // As a workflow of another type; its definition says what it takes.
  template <class Out, class In, class Arg>
  [[nodiscard]] detail::ContinueAsNewAwaiter ContinueAsNew(
      const WorkflowDef<Out(In)>& def, Arg&& input, ContinueAsNewOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ContinueWith<In>(def.name, std::forward<Arg>(input), options, where);
  }
  template <class Out>
  [[nodiscard]] detail::ContinueAsNewAwaiter ContinueAsNew(
      const WorkflowDef<Out()>& def, ContinueAsNewOptions options = {},
      std::source_location where = std::source_location::current()) {
    return ContinueEncoded(def.name, Payload(), options, where);
  }
  // Whether this run's history is long enough (limits::kHistoryHintEvents, kHistoryHintBytes) that the next
  // good moment is one to continue as new. Decided at the beginning of each turn.
  bool ContinueAsNewSuggested() const;

  // ---- Values that replay must repeat

  // Calls `function()` once and records what it gives; a replay gives the record. For small, quick,
  // local things, such as reading a setting: what can fail or take time belongs in an activity.
  template <class Function>
  [[nodiscard]] detail::SideEffectAwaiter<std::remove_cvref_t<Function>> SideEffect(
      Function&& function, std::source_location where = std::source_location::current()) {
    detail::CheckSafeArgument<Function>();
    return detail::SideEffectAwaiter<std::remove_cvref_t<Function>>(
        core_, std::forward<Function>(function), where);
  }
  // 64 random bits and a random (version 4) UUID, the same in every replay of this run.
  uint64_t Random();
  std::string NewUuid();

  // ---- Labels, by which others see and find the run: see labels.h

  // Changes attributes of the run, and of those that follow it; an empty text takes one away. List finds the run by
  // them once this turn is over. Throws ApplicationError if a name or text is none, or a limit is passed.
  void SetAttributes(Labels changes, std::source_location where = std::source_location::current());
  // As they are by now.
  const Labels& attributes() const;
  const Labels& memo() const;

  // ---- About the run

  const Id& workflow_id() const;
  const Id& run_id() const;
  const std::string& workflow_type() const;
  // The first run of the chain that this one is in: itself, unless it was continued or retried.
  const Id& first_run_id() const;
  // Counts the runs that StartOptions::retry has made, from 1.
  int attempt() const;
  // StartOptions::priority, or what stands for 0 there: that of its activities and children.
  int priority() const;
  // The run whose child this one is, or the chain of this one; null: nobody's.
  const RunKey* parent() const;
  // True while history is being re-run. For diagnostics only: code that decides by it breaks.
  bool is_replaying() const;
  // Logs through the engine's LogSink, but not again in a replay.
  void Log(LogLevel level, std::string_view message);

  // For the library.
  detail::WorkflowCore& core() { return core_; }

 private:
  // Of the core, for the templates above.
  detail::OperationRef StartBranch(std::coroutine_handle<> root);
  detail::OperationRef NextSignal(std::string_view signal);
  std::vector<detail::OperationRef> SignalOrTimer(std::string_view signal, Duration timeout,
                                                  std::source_location where);
  HandlerRegistration SetHandler(std::string_view signal, detail::SignalHandler handler);
  HandlerRegistration SetHandler(std::string_view query, detail::QueryHandler handler);
  HandlerRegistration SetHandler(std::string_view update, detail::UpdateHandler handler);
  bool NextIsScheduled(std::string_view activity);
  RunKey ChildKey(const detail::Operation& operation, const ChildOptions& options) const;

  template <class In, class Arg>
  detail::OperationRef Schedule(std::string_view activity, Arg&& input,
                                const ActivityOptions& options, std::source_location where) {
    static_assert(std::is_convertible_v<Arg&&, In>,
                  "Marathon: the input is not what the activity's definition takes");
    detail::CheckSafeArgument<Arg>();
    if (NextIsScheduled(activity)) return ScheduleEncoded(activity, Payload(), options, where);
    StatusOr<Payload> payload = Encode<In>(std::forward<Arg>(input));
    if (!payload.ok()) detail::ThrowEncodeError(activity, payload.status());
    return ScheduleEncoded(activity, *std::move(payload), options, where);
  }
  template <class In, class Arg>
  detail::OperationRef StartLocalWith(std::string_view activity, Arg&& input, const LocalOptions& options,
                                      std::source_location where) {
    static_assert(std::is_convertible_v<Arg&&, In>,
                  "Marathon: the input is not what the activity's definition takes");
    detail::CheckSafeArgument<Arg>();
    StatusOr<Payload> payload = Encode<In>(std::forward<Arg>(input));
    if (!payload.ok()) detail::ThrowEncodeError(activity, payload.status());
    return StartLocalEncoded(activity, *std::move(payload), options, where);
  }
  detail::OperationRef StartLocalEncoded(std::string_view activity, Payload input,
                                         const LocalOptions& options, std::source_location where);
  template <class In, class Arg>
  detail::ContinueAsNewAwaiter ContinueWith(std::string_view workflow_type, Arg&& input,
                                            const ContinueAsNewOptions& options,
                                            std::source_location where) {
    static_assert(std::is_convertible_v<Arg&&, In>,
                  "Marathon: the input is not what the workflow's definition takes");
    detail::CheckSafeArgument<Arg>();
    StatusOr<Payload> payload = Encode<In>(std::forward<Arg>(input));
    if (!payload.ok()) detail::ThrowEncodeError("ContinueAsNew", payload.status());
    return ContinueEncoded(workflow_type, *std::move(payload), options, where);
  }
  detail::ContinueAsNewAwaiter ContinueEncoded(std::string_view workflow_type, Payload input,
                                               const ContinueAsNewOptions& options,
                                               std::source_location where);
  detail::OperationRef ScheduleEncoded(std::string_view activity, Payload input,
                                       const ActivityOptions& options, std::source_location where);
  template <class In, class Arg>
  detail::OperationRef ScheduleChild(std::string_view workflow, Arg&& input,
                                     const ChildOptions& options, std::source_location where) {
    static_assert(std::is_convertible_v<Arg&&, In>,
                  "Marathon: the input is not what the workflow's definition takes");
    detail::CheckSafeArgument<Arg>();
    StatusOr<Payload> payload = Encode<In>(std::forward<Arg>(input));
    if (!payload.ok()) detail::ThrowEncodeError(workflow, payload.status());
    return ScheduleChildEncoded(workflow, *std::move(payload), options, where);
  }
  detail::OperationRef ScheduleChildEncoded(std::string_view workflow, Payload input,
                                            const ChildOptions& options, std::source_location where);
  template <class Out>
  ChildHandle<Out> ChildHandleOf(detail::OperationRef operation, const ChildOptions& options) {
    RunKey child = ChildKey(*operation, options);
    return ChildHandle<Out>(std::move(operation), std::move(child));
  }
  // Whom a signal is for. The views are those of the call's arguments.
  struct Target {
    Target(std::string_view id, const TargetOptions& options) : workflow_id(id), run_id(options.run_id) {}
    template <class Out>
    explicit Target(const ChildHandle<Out>& handle)
        : workflow_id(handle.run().workflow_id.view()),
          run_id(handle.run().run_id.view()),
          child(handle.operation()->id) {}

    std::string_view workflow_id;
    std::string_view run_id;
    EventId child = 0;  // the event that scheduled it; 0: it is none
  };
  template <class T, class Arg>
  detail::JoinAwaiter<void> SendSignal(const Target& target, std::string_view signal, Arg&& value,
                                       std::source_location where) {
    static_assert(std::is_convertible_v<Arg&&, T>,
                  "Marathon: the value is not what the signal's definition takes");
    detail::CheckSafeArgument<Arg>();
    StatusOr<Payload> payload = Encode<T>(std::forward<Arg>(value));
    if (!payload.ok()) detail::ThrowEncodeError(signal, payload.status());
    return detail::JoinAwaiter<void>(SendSignalEncoded(target, signal, *std::move(payload), where));
  }
  detail::JoinAwaiter<void> SendSignal(const Target& target, std::string_view signal,
                                       std::source_location where) {
    return detail::JoinAwaiter<void>(SendSignalEncoded(target, signal, Payload(), where));
  }
  detail::OperationRef SendSignalEncoded(const Target& target, std::string_view signal, Payload value,
                                         std::source_location where);

  detail::WorkflowCore& core_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/workflow_context-inl.h"
#endif
