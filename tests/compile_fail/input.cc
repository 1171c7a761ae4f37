// expect: the input is not what the activity's definition takes
// Calls whose types do not fit the definition.
#include <string>
#include <vector>

#include "marathon/marathon.h"

constexpr marathon::ActivityDef<int(std::string)> kLength{"Length"};
constexpr marathon::ActivityDef<int()> kNone{"None"};
constexpr marathon::SignalDef<int> kNumber{"number"};
constexpr marathon::WorkflowDef<int(std::string)> kMeasure{"Measure"};

marathon::Workflow<int> Good(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Run(kLength, "text") + co_await ctx.Run(kNone);
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
