// SimProgram: steps whose activities complete elsewhere, or use what stands beside the runs.
#pragma once

#include <fmt/format.h>

#include <string>

#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_steps-inl.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

// Of an activity that fails `fails` times and then succeeds.
inline ActivityOptions SimSureOptions(Duration deadline = kSimDeadline) {
  ActivityOptions options;
  options.start_to_close_timeout = deadline;
  options.retry = &kSimRetry;
  return options;
}

inline Workflow<std::string> SimBeside(WorkflowContext& ctx, SimStep step) {
  switch (step.kind) {
    case SimStep::Kind::kLater: {
      ActivityOptions options = SimSureOptions();
      if (step.count % 2 == 1) options = SimKeyed(options, step);
      const Outcome<int64_t> outcome =
          co_await ctx.TryRun(kSimLater, SimLaterWork(step.work).Pack(), options);
      co_return SimOutcome(outcome);
    }
    case SimStep::Kind::kSpeak:
      co_await ctx.Run(kSimSpeak, step.work.Pack(), SimSureOptions(kSimLongDeadline));
      co_return "z,";
    case SimStep::Kind::kTake:
      co_await ctx.Run(kSimTake, step.work.Pack(), SimSureOptions(kSimLongDeadline));
      co_return "l,";
    default: break;
  }
  const std::string names = co_await ctx.Run(kSimKeep, step.work.Pack(), SimSureOptions());
  co_await ctx.Sleep(Duration(step.millis));
  const std::string bytes = co_await ctx.Run(kSimFetch, names, SimSureOptions());
  co_return bytes == SimBlob(step.work, 0) + SimBlob(step.work, 1) ? "b," : "other blobs,";
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
