// SimProgram: its handlers of signals and updates, and the step that waits for one of them.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "marathon/errors.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

// Signals that a handler took for a step to come.
using SimSignals = std::deque<int64_t>;
inline std::string TakeSignal(SimSignals& signals) {
  const int64_t value = signals.front();
  signals.pop_front();
  return fmt::format("r{},", value);
}

inline SimSignals ReadSignals(std::string_view text) {
  SimSignals signals;
  while (!text.empty()) {
    int64_t value = 0;
    const char* const end = std::from_chars(text.data(), text.data() + text.size(), value).ptr;
    signals.push_back(value);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (!text.empty()) text.remove_prefix(1);
  }
  return signals;
}

inline Workflow<void> SimTakeSlowly(WorkflowContext& ctx, int64_t value, SimSignals& signals) {
  signals.push_back(value);
  co_await ctx.Sleep(Duration(value % 3 * 100));
}

inline Workflow<std::string> SimHandler(WorkflowContext& ctx, SimStep step, SimSignals& signals) {
  if (step.count % 2 == 1) {
    auto slow = ctx.OnSignal(kSimSignal, [&](int64_t value) { return SimTakeSlowly(ctx, value, signals); });
    co_await ctx.WaitUntil([&] { return !signals.empty() && ctx.AllHandlersFinished(); });
    SimUses<"ctx.OnSignal(Workflow)", "ctx.AllHandlersFinished", "ctx.WaitUntil">();
    co_return TakeSignal(signals);
  }
  auto handler = ctx.OnSignal(kSimSignal, [&](int64_t value) { signals.push_back(value); });
  co_await ctx.WaitUntil([&] { return !signals.empty(); });
  SimUses<"ctx.OnSignal", "ctx.WaitUntil">();
  co_return TakeSignal(signals);
}

inline Workflow<int64_t> SimUpdate(WorkflowContext& ctx, int64_t number, int64_t& handled) {
  const int64_t answer = ++handled * 1'000 + number;
  if (number % 3 == 0) co_await ctx.Sleep(Duration(number % 7 * 700));
  co_return answer;
}

// Never rejected, and done at once.
inline HandlerRegistration SimPlainUpdates(WorkflowContext& ctx, int64_t& handled) {
  SimUses<"ctx.OnUpdate">();
  return ctx.OnUpdate(kSimTally, [&](int64_t number) { return ++handled * 1'000 + number; });
}

inline HandlerRegistration SimUpdates(WorkflowContext& ctx, int64_t& handled) {
  SimUses<"ctx.OnUpdate(validator)">();
  return ctx.OnUpdate(
      kSimUpdate, [&](int64_t number) { return SimUpdate(ctx, number, handled); },
      [](int64_t number) {
        if (SimRejects(number)) throw ApplicationError("every fifth is rejected");
      });
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
