// expect: this callable does not take what the ActivityDef says
// Callables that are not what their definition says.
#include <string>
#include <vector>

#include "marathon/marathon.h"

constexpr marathon::ActivityDef<int(std::string)> kLength{"Length"};
constexpr marathon::WorkflowDef<int(std::string)> kMeasure{"Measure"};

void Good(marathon::Registry& registry) {
  registry.Bind(kLength, [](const std::string& text) { return static_cast<int>(text.size()); });
  registry.Bind(kMeasure, [](marathon::WorkflowContext&, std::string text) -> marathon::Workflow<int> {
    co_return static_cast<int>(text.size());
  });
}

#ifdef CASE_activity_input
void Bad(marathon::Registry& registry) {
  registry.Bind(kLength, [](std::vector<int>) { return 1; });
}
#endif
#ifdef CASE_activity_context
void Bad(marathon::Registry& registry) {
  registry.Bind(kLength, [](marathon::WorkflowContext&, std::string) { return 1; });
}
#endif
#ifdef CASE_activity_mutable
void Bad(marathon::Registry& registry) {
  registry.Bind(kLength, [n = 0](std::string) mutable { return ++n; });
}
#endif
#ifdef CASE_workflow_input  // expect: this callable does not take what the WorkflowDef says
void Bad(marathon::Registry& registry) {
  registry.Bind(kMeasure, [](marathon::WorkflowContext&, std::vector<int>) -> marathon::Workflow<int> {
    co_return 1;
  });
}
#endif
#ifdef CASE_workflow_result  // expect: the callable's result is not the WorkflowDef's
void Bad(marathon::Registry& registry) {
  registry.Bind(kMeasure, [](marathon::WorkflowContext&, std::string t) -> marathon::Workflow<std::string> {
    co_return t;
  });
}
#endif
#ifdef CASE_options_of_an_activity  // expect: only a workflow has WorkflowOptions
void Bad(marathon::Registry& registry) {
  registry.Bind("Length", [](std::string) { return 1; }, {.versioning = marathon::Versioning::kPinned});
}
#endif
#ifdef CASE_use_of_no_backend  // expect: no matching|constraint
void Bad(marathon::Registry& registry) { registry.Use(5); }
#endif
