// A tool as an activity: what a crash, a lost result and a failure mean for each effect.
#pragma once

#include <memory>

#include "marathon/activity.h"
#include "marathon/agent/definition.h"
#include "marathon/agent/steps.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

class ToolActivity {
 public:
  ToolActivity(std::shared_ptr<const Agent> agent, const Tool& tool) : agent_(std::move(agent)), tool_(tool) {}

  ToolReply operator()(ActivityContext& ctx, const ToolTask& task) const;

 private:
  ToolReply Run(ToolContext& ctx, const ToolTask& task) const;
  ToolReply RunOnce(ToolContext& ctx, const nlohmann::json& arguments) const;
  ToolReply Reconcile(ToolContext& ctx, const nlohmann::json& arguments) const;
  ToolReply Cut(ToolReply reply) const;

  std::shared_ptr<const Agent> agent_;  // whose `tool_` is
  const Tool& tool_;
};

}  // namespace marathon::inline MARATHON_ABI::agent::internal
