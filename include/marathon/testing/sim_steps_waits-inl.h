// SimProgram: steps that wait for several things, or ask what a run knows of itself and of others.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tuple>
#include <vector>

#include "marathon/cancellation_scope.h"
#include "marathon/errors.h"
#include "marathon/labels.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_steps-inl.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

// Timers of which one is the first, and then all of them with an activity, or `count` activities.
inline Workflow<std::string> SimGather(WorkflowContext& ctx, SimStep step) {
  std::vector<TimerHandle> timers;
  std::vector<ActivityHandle<int64_t>> works;
  for (uint32_t i = 0; i < step.count; ++i) {
    const SimWork part = SimPart(step.work, i);
    timers.push_back(ctx.StartTimer(Duration(step.millis + i)));
    if (i == 0 || step.count % 2 == 0) works.push_back(ctx.Start(kSimWork, part.Pack(), SimOptionsFor(part)));
  }
  const size_t first = co_await ctx.Any(timers);
  SimUses<"ctx.Any(vector)", "Handle.done">();
  if (first >= timers.size() || !timers[first].done()) co_return "not done,";
  std::string log;
  try {
    if (step.count % 2 == 0) {
      const std::vector<int64_t> results = co_await ctx.All(works);
      for (const int64_t result : results) log += fmt::format("{},", result);
      SimUses<"ctx.All(vector)">();
    } else {
      const std::tuple<int64_t, std::monostate> both = co_await ctx.All(works.front(), timers.back());
      log = fmt::format("{},", std::get<0>(both));
      SimUses<"ctx.All">();
    }
  } catch (const ActivityError&) {
    log = "x,";
  }
  co_return log;
}

inline Workflow<void> SimTell(WorkflowContext& ctx, Duration after, bool& told) {
  co_await ctx.Sleep(after);
  told = true;
}

inline Workflow<void> SimEndless(WorkflowContext& ctx) { co_await ctx.Sleep(std::chrono::hours(1'000)); }

// A condition that comes true, in rounds; one that never does; and a branch that is given up.
inline Workflow<std::string> SimDeadlines(WorkflowContext& ctx, SimStep step) {
  bool told = false;
  const auto branch = ctx.Spawn(SimTell(ctx, Duration(step.millis), told));
  for (bool in_time = false; !in_time;) {
    in_time = co_await ctx.WaitUntil([&told] { return told; }, Duration(1'000 * step.count));
    if (in_time != told) co_return "not told,";
  }
  co_await branch;
  auto endless = ctx.Spawn(SimEndless(ctx));
  const Time before = ctx.Now();
  const bool never = co_await ctx.WaitUntil([] { return false; }, Duration(50));
  const bool early = never || ctx.Now() - before < Duration(50);
  endless.Cancel();
  const Outcome<void> ended = co_await ctx.Try(endless);
  SimUses<"ctx.WaitUntil(timeout)", "ctx.Now", "BranchHandle.Cancel">();
  const bool canceled = !ended.ok() && ended.failure().kind == FailureKind::kCanceled;
  co_return early ? "early," : canceled ? "o," : "not canceled,";
}

// What a run knows of itself, and tells the same in every replay; of a fork, what it takes over.
inline Workflow<std::string> SimFacts(WorkflowContext& ctx, SimStep step) {
  const std::string number = std::to_string(step.work.id);
  ctx.SetAttributes({{"facts", number}});
  std::string said =
      fmt::format("{} {} {} {} {}", ctx.NewUuid(), ctx.workflow_type(), ctx.attempt(), ctx.priority(),
                  LabelOf(ctx.memo(), "program"));
  const std::string recorded = co_await ctx.SideEffect([&said] { return said; });
  const bool patched = ctx.Patched("patch " + number);
  const bool is_first = ctx.run_id() == ctx.first_run_id();
  const bool asked = ctx.cancel_requested();
  if (!ctx.ContinueAsNewSuggested()) ctx.Log(LogLevel::kDebug, said);
  int64_t result = -1;
  try {
    result = co_await ctx.RunLocal(kSimQuickWork, step.work.Pack(), SimLocalOptionsFor(step.work));
  } catch (const ActivityError&) {
  }
  SimUses<"ctx.NewUuid", "ctx.workflow_type", "ctx.attempt", "ctx.priority", "ctx.memo", "ctx.attributes", "ctx.Patched", "ctx.run_id",
          "ctx.first_run_id", "ctx.cancel_requested", "ctx.cancel_reason", "ctx.ContinueAsNewSuggested", "ctx.Log",
          "ctx.RunLocal", "ctx.parent">();
  const bool same = recorded == said && patched && ctx.Patched("patch " + number) &&
                    is_first == (ctx.run_id() == ctx.first_run_id()) &&
                    LabelOf(ctx.attributes(), "facts") == number && LabelOf(ctx.memo(), "program") == kSimMemo &&
                    ctx.workflow_type() == kSimWorkflow.name && ctx.parent() == nullptr &&
                    asked == (ctx.cancel_reason() == kSimCancelReason);
  if (!same) co_return "other facts,";
  co_return result < 0 ? "x," : fmt::format("{},", result);
}

// A child that is told twice, by its handle and by its workflow id, or is sent away.
inline Workflow<std::string> SimErrand(WorkflowContext& ctx, SimStep step) {
  const std::string id = fmt::format("{}/{}", ctx.workflow_id().view(), step.work.id);
  const std::string program = SimChildOf(step).ToText();
  auto child = ctx.StartChild(kSimWorkflow, program,
                              {.workflow_id = id, .cancellation = SimCancellationOf(step)});
  co_await ctx.SignalRun(child, kSimSignal, int64_t{0});
  if (child.run().workflow_id.view() != id) co_return "other child,";
  SimUses<"ctx.StartChild", "ctx.SignalRun(child)", "ChildHandle.run">();
  if (step.kind == SimStep::Kind::kErrand) {
    co_await ctx.SignalRun(id, kSimSignal, int64_t{0});
    const std::string log = co_await child;
    SimUses<"ctx.SignalRun">();
    co_return fmt::format("k{}", log);
  }
  if (step.count == 2) {
    co_await ctx.CancelRun(id, "not needed");
    SimUses<"ctx.CancelRun">();
  } else {
    child.Cancel();
    SimUses<"ChildHandle.Cancel">();
  }
  const Outcome<std::string> ended = co_await ctx.Try(child);
  if (step.count == 4) SimUses<"ChildHandle.Cancel(kTry)">();
  if (step.count == 5) {  // it knows of nothing, and so takes what it still waits for
    co_await ctx.SignalRun(child, kSimSignal, int64_t{0});
    SimUses<"ChildHandle.Cancel(kAbandon)">();
  }
  co_return !ended.ok() && ended.failure().kind == FailureKind::kCanceled ? "d," : "not dismissed,";
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
