// An agent as a tool of another one: each call is a child workflow, a run of its own, with steps, approvals, a stream
// and a budget of its own. What it comes to in the end is the call's result.
//
//   Agent editor{.name = "Editor", .model = "claude-opus-4-5"};
//   editor.tools = {agent::MakeAgentTool("research", "Finds out about something.", Researcher())};
//   agent::Bind(registry, editor, client);  // binds Researcher, too
//
// It may spend what its own budget says, but no more than is left of its caller's: that is set aside, and what it has
// really spent is booked on both. Agents called in one step share what is left in equal parts.
//
// A value; no thread rule.
#pragma once

#include <string>

#include "marathon/agent/definition.h"
#include "marathon/agent/tool.h"
#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent {

// What the model writes.
struct AgentTask {
  std::string task;
};
MARATHON_TOOL_INPUT(AgentTask, (task, "all that it has to know and to do, in words; it sees nothing else"))

struct AgentToolOptions {
  // What a run that was lost, timed out or terminated say, may have left: the model reads that its outcome is unknown,
  // but for kPure and kIdempotent. No effect has a run begun again; its own steps survive crashes by themselves.
  Effect effect = Effect::kAtMostOnce;
  Duration timeout{0};   // of the run, with all its waiting; 0: none
  int max_parallel = 0;  // as in ToolOptions, and so are those below
  ApprovalRule approve{};
  Duration approval_timeout{0};
  size_t result_max = 64u << 10;
  std::string task_queue{};
};

// `agent`'s name is that of its workflow: give one name to one agent only, and copies of one tool to several callers.
// The child's workflow id is "<run id>/<step>/<call id>" of the call.
MARATHON_EXPORT Tool MakeAgentTool(std::string name, std::string description, Agent agent,
                                   AgentToolOptions options = {});

}  // namespace marathon::inline MARATHON_ABI::agent
