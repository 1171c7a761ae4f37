// SimProgram: what each step does on the engine.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "marathon/cancellation_scope.h"
#include "marathon/errors.h"
#include "marathon/limits.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_steps_handlers-inl.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

inline constexpr RetryPolicy kSimRetry{.initial_interval = Duration(200),
                                       .maximum_interval = Duration(2'000)};
inline constexpr RetryPolicy kSimThreeTries{.initial_interval = Duration(200),
                                            .maximum_attempts = 3};

inline constexpr RetryPolicy kSimSlowRetry{.initial_interval = Duration(7'000)};

inline ActivityOptions SimOptionsFor(const SimWork& work) {
  ActivityOptions options;
  const bool is_short = work.mode == SimWork::Mode::kOverruns || work.id / 100 % 2 == 0;
  options.start_to_close_timeout = is_short ? kSimDeadline : kSimLongDeadline;
  options.hold_dead_letter = work.id % 2 == 0;
  options.priority = work.id / 100 % (limits::kMaxPriority + 1);
  if (work.mode == SimWork::Mode::kBeats) options.heartbeat_timeout = Duration(3'000);
  options.retry = work.mode == SimWork::Mode::kExhausts ? &kSimThreeTries : &kSimRetry;
  return options;
}

inline LocalOptions SimLocalOptionsFor(const SimWork& work) {
  LocalOptions options{.start_to_close_timeout = kSimDeadline};
  options.retry = work.mode == SimWork::Mode::kExhausts ? &kSimThreeTries : &kSimRetry;
  return options;
}

inline std::string SimOutcome(const Outcome<int64_t>& outcome) {
  return outcome.ok() ? fmt::format("{},", outcome.value()) : "x,";
}
inline std::string SimExpected(const SimWork& work) {
  return work.Succeeds() ? fmt::format("{},", work.Result()) : "x,";
}

// The `index`th of several calls that one step makes.
inline SimWork SimPart(SimWork work, uint32_t index) {
  work.id = static_cast<uint16_t>(work.id + index);
  return work;
}

// What kGather says: all results, or that there is a failure among them.
inline std::string SimGathered(const SimStep& step) {
  if (step.count % 2 == 1 || !step.work.Succeeds()) return SimExpected(step.work);
  std::string log;
  for (uint32_t i = 0; i < step.count; ++i) log += SimExpected(SimPart(step.work, i));
  return log;
}

// Its outcome comes from another process, which has a token. It is refused there, or succeeds.
inline SimWork SimLaterWork(SimWork work) {
  if (work.Succeeds()) work.mode = SimWork::Mode::kSucceeds;
  if (!work.Succeeds()) work.mode = SimWork::Mode::kRefuses;
  return work;
}

inline SimWork DrawWork(SeededRandom& random, size_t step) {
  SimWork work;
  work.id = static_cast<uint16_t>(step * 100);
  work.mode = static_cast<SimWork::Mode>(random.Below(8) < 4 ? 0 : random.Below(5));
  work.fails = static_cast<uint8_t>(random.Below(3) == 0 ? random.Between(1, 3) : 0);
  work.busy_ms = static_cast<uint32_t>(
      random.Below(4) == 0 ? random.Between(500, 4'000) : random.Between(0, 50));
  return work;
}

inline Workflow<std::string> SimBranch(WorkflowContext& ctx, int64_t packed, Duration pause) {
  const Outcome<int64_t> outcome =
      co_await ctx.TryRun(kSimWork, packed, SimOptionsFor(SimWork::Unpack(packed)));
  co_await ctx.Sleep(pause);
  SimUses<"ctx.TryRun", "ctx.Sleep">();
  co_return SimOutcome(outcome);
}

inline Workflow<std::string> SimTold(WorkflowContext& ctx, int64_t packed, int& left) {
  const Outcome<int64_t> outcome =
      co_await ctx.TryRun(kSimWork, packed, SimOptionsFor(SimWork::Unpack(packed)));
  --left;
  co_return SimOutcome(outcome);
}

inline Workflow<std::string> SimCondition(WorkflowContext& ctx, SimStep step) {
  int left = 2;
  const auto a = ctx.Spawn(SimTold(ctx, step.work.Pack(), left));
  const auto b = ctx.Spawn(SimTold(ctx, SimPart(step.work, 1).Pack(), left));
  co_await ctx.WaitUntil([&left] { return left == 0; });
  const std::string from_a = co_await a;
  const std::string from_b = co_await b;
  SimUses<"ctx.Spawn", "ctx.WaitUntil", "Handle.co_await">();
  co_return from_a + from_b;
}

// Of two keys, of which one has one place and the other two.
inline std::string_view SimKey(const SimStep& step) { return step.work.id / 100 % 2 == 0 ? "one" : "two"; }
inline ActivityOptions SimKeyed(ActivityOptions options, const SimStep& step) {
  options.concurrency_key = SimKey(step);
  options.max_per_key = options.concurrency_key == "one" ? 1 : 2;
  SimUses<"ctx.Start(concurrency_key)">();
  return options;
}

inline Workflow<std::string> SimFan(WorkflowContext& ctx, SimStep step) {
  std::vector<ActivityHandle<int64_t>> handles;
  for (uint32_t i = 0; i < step.count; ++i) {
    const SimWork part = SimPart(step.work, i);
    ActivityOptions options = SimOptionsFor(part);
    if (step.kind == SimStep::Kind::kKeyed) options = SimKeyed(options, step);
    handles.push_back(ctx.Start(kSimWork, part.Pack(), options));
  }
  std::string log;
  for (const ActivityHandle<int64_t>& handle : handles) {
    const Outcome<int64_t> outcome = co_await ctx.Try(handle);
    log += SimOutcome(outcome);
  }
  SimUses<"ctx.Start", "ctx.Try">();
  co_return log;
}

inline Workflow<std::string> SimLocal(WorkflowContext& ctx, SimStep step) {
  const LocalOptions options = SimLocalOptionsFor(step.work);
  LocalOptions slow = options;  // beyond what a worker waits for itself
  if (step.count % 2 == 0 && step.work.mode != SimWork::Mode::kExhausts) slow.retry = &kSimSlowRetry;
  SimWork endless = SimPart(step.work, 2);
  endless.busy_ms += 60'000;
  const auto first = ctx.StartLocal(kSimWork, step.work.Pack(), slow);
  const auto second = ctx.StartLocal(kSimQuickWork, SimPart(step.work, 1).Pack(), options);
  auto third = ctx.StartLocal(kSimWork, endless.Pack(), options);
  const Outcome<int64_t> quick = co_await ctx.Try(second);
  third.Cancel();
  const Outcome<int64_t> busy = co_await ctx.Try(first);
  SimUses<"ctx.StartLocal", "ActivityHandle.Cancel", "ctx.Try">();
  co_return SimOutcome(busy) + SimOutcome(quick);
}

inline Workflow<std::string> SimRace(WorkflowContext& ctx, SimStep step) {
  const auto work = ctx.Start(kSimWork, step.work.Pack(), SimOptionsFor(step.work));
  TimerHandle timer = ctx.StartTimer(Duration(step.millis));
  const size_t first = co_await ctx.Any(work, timer);
  if (first == 0) {
    timer.Cancel();
    SimUses<"TimerHandle.Cancel">();
  }
  const Outcome<int64_t> outcome = co_await ctx.Try(work);
  SimUses<"ctx.Start", "ctx.StartTimer", "ctx.Any", "ctx.Try">();
  co_return SimOutcome(outcome);
}

inline Workflow<std::string> SimScope(WorkflowContext& ctx, SimStep step) {
  ActivityOptions options = SimOptionsFor(step.work);
  options.cancellation = static_cast<ActivityCancellation>(step.count % 3);
  CancellationScope scope(ctx);
  const auto work = ctx.Start(kSimWork, step.work.Pack(), options);
  const auto never = ctx.StartTimer(std::chrono::hours(1'000));
  {
    ShieldedScope shield(ctx);
    co_await ctx.Sleep(Duration(step.millis));
  }
  const bool too_early = scope.canceled();
  scope.Cancel();
  const Outcome<int64_t> ended = co_await ctx.Try(work);
  const Outcome<void> timer = co_await ctx.Try(never);
  const Outcome<int64_t> late = co_await ctx.TryRun(kSimWork, step.work.Pack(), options);
  SimUses<"ShieldedScope", "CancellationScope.Cancel", "CancellationScope.canceled", "ctx.Try", "ctx.TryRun">();
  const bool is_told = (!too_early || ctx.cancel_requested()) && scope.canceled();
  const bool as_asked =
      is_told && !timer.ok() && !late.ok() && late.failure().kind == FailureKind::kCanceled;
  co_return as_asked ? "s," : "not canceled,";
}

inline Workflow<std::string> SimChild(WorkflowContext& ctx, SimStep step) {
  const std::string id = fmt::format("{}/{}", ctx.workflow_id().view(), step.work.id);
  const std::string program = SimChildOf(step).ToText();
  ChildOptions options{.workflow_id = id};
  options.priority = static_cast<int>(step.count % (limits::kMaxPriority + 1));
  if (step.kind == SimStep::Kind::kLeftChild) {
    options.on_parent_close = ParentClosePolicy::kAbandon;
  } else if (step.count % 2 == 0) {
    options.on_parent_close = ParentClosePolicy::kCancel;
  }
  if (step.kind == SimStep::Kind::kChild && step.count % 3 == 0) {
    const std::string log = co_await ctx.RunChild(kSimWorkflow, program, options);
    SimUses<"ctx.RunChild">();
    co_return fmt::format("k{}", log);
  }
  const auto child = ctx.StartChild(kSimWorkflow, program, options);
  SimUses<"ctx.StartChild", "ctx.workflow_id">();
  if (step.kind == SimStep::Kind::kLeftChild) co_return "a,";
  if (step.kind == SimStep::Kind::kGuard) co_return "g,";
  if (step.kind == SimStep::Kind::kToldChild) {
    co_await ctx.SignalRun(child, kSimSignal, int64_t{0});
    SimUses<"ctx.SignalRun(child)">();
  }
  if (step.kind == SimStep::Kind::kFailingChild) {
    const Outcome<std::string> ended = co_await ctx.Try(child);
    const bool as_planned = !ended.ok() && ended.failure().kind == FailureKind::kApplication;
    co_return as_planned ? "h," : "not failed,";
  }
  const std::string log = co_await child;
  co_return fmt::format("k{}", log);
}

// A failure is thrown.
inline Workflow<std::string> SimRun(WorkflowContext& ctx, SimStep step) {
  try {
    const int64_t result = co_await ctx.Run(kSimWork, step.work.Pack(), SimOptionsFor(step.work));
    SimUses<"ctx.Run">();
    co_return fmt::format("{},", result);
  } catch (const ActivityError&) {
    co_return "x,";
  }
}

inline Workflow<std::string> SimVersion(WorkflowContext& ctx, SimStep step) {
  const std::string change = fmt::format("change {}", step.work.id);
  const int first = ctx.Version(change, 1, 3);
  co_await ctx.Sleep(Duration(step.millis));
  SimUses<"ctx.Version">();
  co_return ctx.Version(change, 1, 3) == first ? "v," : "other version,";
}

inline Workflow<std::string> SimReceive(WorkflowContext& ctx, SimStep step, SimSignals& signals) {
  if (!signals.empty()) co_return TakeSignal(signals);
  if (step.kind == SimStep::Kind::kReceive) {
    const int64_t value = co_await ctx.Receive(kSimSignal);
    SimUses<"ctx.Receive">();
    co_return fmt::format("r{},", value);
  }
  for (;;) {
    const std::optional<int64_t> value =
        co_await ctx.Receive(kSimSignal, Duration(step.millis));
    SimUses<"ctx.Receive(timeout)">();
    if (value.has_value()) co_return fmt::format("r{},", *value);
  }
}

inline Workflow<std::string> SimBranches(WorkflowContext& ctx, SimStep step) {
  const SimWork second = SimPart(step.work, 1);
  const auto a = ctx.Spawn(SimBranch(ctx, step.work.Pack(), Duration(step.millis)));
  const auto b = ctx.Spawn(SimBranch(ctx, second.Pack(), Duration(step.millis / 2)));
  const std::string from_b = co_await b;
  const std::string from_a = co_await a;
  co_return from_a + from_b;
}

inline Workflow<std::string> SimRecord(WorkflowContext& ctx, SimStep step) {
  const uint64_t random = ctx.Random();
  const uint64_t recorded = co_await ctx.SideEffect([random] { return random; });
  ctx.SetAttributes({{"step", std::to_string(step.work.id)}, {"early", ""}});
  SimUses<"ctx.Random", "ctx.SideEffect", "ctx.SetAttributes">();
  co_return recorded == random ? "e," : "other,";
}

inline Workflow<std::string> SimGather(WorkflowContext& ctx, SimStep step);
inline Workflow<std::string> SimDeadlines(WorkflowContext& ctx, SimStep step);
inline Workflow<std::string> SimFacts(WorkflowContext& ctx, SimStep step);
inline Workflow<std::string> SimErrand(WorkflowContext& ctx, SimStep step);
inline Workflow<std::string> SimBeside(WorkflowContext& ctx, SimStep step);

inline Workflow<std::string> SimSingleStep(WorkflowContext& ctx, SimStep step, SimSignals& signals) {
  switch (step.kind) {
    case SimStep::Kind::kWork: {
      if (step.count % 2 == 1) co_return co_await SimRun(ctx, step);
      const Outcome<int64_t> outcome =
          co_await ctx.TryRun(kSimWork, step.work.Pack(), SimOptionsFor(step.work));
      co_return SimOutcome(outcome);
    }
    case SimStep::Kind::kQuick: {
      const Outcome<int64_t> outcome =
          co_await ctx.TryRun(kSimQuickWork, step.work.Pack(), SimOptionsFor(step.work));
      co_return SimOutcome(outcome);
    }
    case SimStep::Kind::kKeyed:
    case SimStep::Kind::kFan: co_return co_await SimFan(ctx, step);
    case SimStep::Kind::kLocal: co_return co_await SimLocal(ctx, step);
    case SimStep::Kind::kSleep: {
      const Time before = ctx.Now();
      co_await ctx.Sleep(Duration(step.millis));
      SimUses<"ctx.Sleep", "ctx.Now">();
      co_return ctx.Now() - before >= Duration(step.millis) ? "t," : "early,";
    }
    case SimStep::Kind::kHandler: co_return co_await SimHandler(ctx, step, signals);
    case SimStep::Kind::kScope: co_return co_await SimScope(ctx, step);
    case SimStep::Kind::kVersion: co_return co_await SimVersion(ctx, step);
    case SimStep::Kind::kReceive:
    case SimStep::Kind::kPatient: co_return co_await SimReceive(ctx, step, signals);
    case SimStep::Kind::kBranches: co_return co_await SimBranches(ctx, step);
    case SimStep::Kind::kCondition: co_return co_await SimCondition(ctx, step);
    case SimStep::Kind::kRecord: co_return co_await SimRecord(ctx, step);
    case SimStep::Kind::kRace: co_return co_await SimRace(ctx, step);
    case SimStep::Kind::kCancel: {
      ActivityOptions options = SimOptionsFor(step.work);
      if (step.count % 2 == 1) options = SimKeyed(options, step);
      auto work = ctx.Start(kSimWork, step.work.Pack(), options);
      co_await ctx.Sleep(Duration(step.millis));
      work.Cancel();
      SimUses<"ctx.Start", "ActivityHandle.Cancel">();
      co_return "c,";
    }
    case SimStep::Kind::kChild:
    case SimStep::Kind::kToldChild:
    case SimStep::Kind::kLeftChild:
    case SimStep::Kind::kFailingChild:
    case SimStep::Kind::kGuard: co_return co_await SimChild(ctx, step);
    case SimStep::Kind::kErrand:
    case SimStep::Kind::kDismissed: co_return co_await SimErrand(ctx, step);
    case SimStep::Kind::kLater:
    case SimStep::Kind::kSpeak:
    case SimStep::Kind::kBlobs:
    case SimStep::Kind::kTake: co_return co_await SimBeside(ctx, step);
    case SimStep::Kind::kGather: co_return co_await SimGather(ctx, step);
    case SimStep::Kind::kDeadlines: co_return co_await SimDeadlines(ctx, step);
    case SimStep::Kind::kFacts: co_return co_await SimFacts(ctx, step);
    case SimStep::Kind::kFlaky:
      SimUses<"ctx.attempt">();
      if (ctx.attempt() > static_cast<int>(step.count)) co_return "f,";
      break;
    case SimStep::Kind::kContinue:  // not a step of a run
    case SimStep::Kind::kThrow: break;
  }
  throw ApplicationError("thrown by its program");
}

}  // namespace internal

}  // namespace marathon::inline MARATHON_ABI::testing

#include "marathon/testing/sim_steps_beside-inl.h"
#include "marathon/testing/sim_steps_waits-inl.h"
