// The workflows that tests of children have as children.
#pragma once

#include <string>

#include "fixture.h"

namespace marathon::tests::children_test {

inline constexpr WorkflowDef<int(int)> kDouble{"Double"};
inline constexpr WorkflowDef<std::string()> kWait{"Wait"};  // for kGo, or a cancel
inline constexpr SignalDef<std::string> kGo{"go"};

inline Workflow<int> Double(WorkflowContext& ctx, int value) {
  if (value < 0) throw ApplicationError("cannot double it", {.type = "Negative"});
  co_return co_await ctx.Run<int>("Twice", value);
}

inline Workflow<std::string> Wait(WorkflowContext& ctx) {
  const std::string word = co_await ctx.Receive(kGo);
  co_return word + " from " + (ctx.parent() == nullptr ? "nobody" : ctx.parent()->workflow_id.str());
}

inline Registry Basics() {
  Registry registry;
  registry.Bind(kDouble, Double);
  registry.Bind(kWait, Wait);
  registry.Bind("Twice", [](int value) { return value * 2; });
  return registry;
}

}  // namespace marathon::tests::children_test
