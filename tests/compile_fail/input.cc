// expect: the input is not what the activity's definition takes
// Calls whose types do not fit the definition.
#include <string>
#include <vector>

#include "marathon/marathon.h"

constexpr marathon::ActivityDef<int(std::string)> kLength{"Length"};
constexpr marathon::ActivityDef<int()> kNone{"None"};
constexpr marathon::SignalDef<int> kNumber{"number"};
constexpr marathon::WorkflowDef<int(std::string)> kMeasure{"Measure"};

constexpr marathon::WorkflowDef<int()> kRest{"Rest"};
constexpr marathon::SignalDef<void> kGo{"go"};

marathon::Workflow<int> Good(marathon::WorkflowContext& ctx) {
  co_await ctx.SignalRun("w", kGo);
  co_await ctx.SignalRun("w", "go");
  co_return co_await ctx.Run(kLength, "text") + co_await ctx.Run(kNone) + co_await ctx.Run<int>("None");
}
absl::Status Good(marathon::Engine& engine) {
  auto run = engine.SignalWithStart(kMeasure, "text", kNumber, 1);
  if (run.ok()) run = engine.SignalWithStart(kMeasure, "text", kGo, {.workflow_id = "w"});
  if (run.ok()) run = engine.SignalWithStart(kRest, kNumber, 1);
  if (run.ok()) run = engine.SignalWithStart(kRest, kGo);
  if (run.ok()) run = engine.SignalWithStart("Measure", "text", "number", 1);
  if (!run.ok()) return run.status();
  if (auto status = run->Signal(kGo); !status.ok()) return status;
  return run->Signal("go", {.request_id = "r"});
}

#ifdef CASE_run
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Run(kLength, std::vector<int>());
}
#endif
#ifdef CASE_start
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  auto handle = ctx.Start(kLength, std::vector<int>());
  co_return co_await handle;
}
#endif
#ifdef CASE_input_where_none_is_taken  // expect: no matching (member )?function
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) { co_return co_await ctx.Run(kNone, 5); }
#endif
#ifdef CASE_wrong_output  // expect: convert|conversion
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  std::vector<int> lengths = co_await ctx.Run(kLength, "text");
  co_return lengths.at(0);
}
#endif
#ifdef CASE_signal  // expect: convert|conversion|no matching
absl::Status Bad(const marathon::Run& run) { return run.Signal(kNumber, std::string("text")); }
#endif
#ifdef CASE_start_workflow  // expect: convert|conversion|no matching
auto Bad(marathon::Engine& engine) { return engine.Start(kMeasure, std::vector<int>()); }
#endif
#ifdef CASE_options_where_an_input_is_taken  // expect: no matching
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Run(kLength, {.heartbeat_timeout = marathon::Duration(1)});
}
#endif
#ifdef CASE_no_input_where_one_is_taken  // expect: no matching
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) { co_return co_await ctx.Run(kLength); }
#endif
#ifdef CASE_value_of_a_signal_without_one  // expect: no matching
marathon::Workflow<void> Bad(marathon::WorkflowContext& ctx) { co_await ctx.SignalRun("w", kGo, 1); }
#endif
#ifdef CASE_no_value_of_a_signal_with_one  // expect: no matching
absl::Status Bad(const marathon::Run& run) { return run.Signal(kNumber); }
#endif
#ifdef CASE_signal_with_start  // expect: convert|conversion|no matching
auto Bad(marathon::Engine& engine) { return engine.SignalWithStart(kMeasure, std::vector<int>(), kNumber, 1); }
#endif
#ifdef CASE_signal_with_start_value  // expect: convert|conversion|no matching
auto Bad(marathon::Engine& engine) { return engine.SignalWithStart(kRest, kNumber, std::string("text")); }
#endif
