// Agents: a model that works with tools until it is done, as a durable workflow. Each answer and each result is
// recorded once, so a crash asks nothing twice; people may have to agree, and may come back days later; budgets
// hold.
//
//   agent::Agent agent{.name = "Researcher", .model = "claude-sonnet-4-5", .instructions = "Be brief."};
//   agent.tools = {agent::MakeTool("search", "Searches the archive.", Search, {.effect = agent::Effect::kPure})};
//   agent::Bind(registry, agent, client);
//   …
//   auto run = engine->Start("Researcher", agent::Ask("Who wrote Faust?"));
//   const auto result = run->Result<agent::Result>();
//
// The activities of an agent are "Researcher/model" and "Researcher/tool/search". Link marathon::agent.
#pragma once

#include <memory>

#include "marathon/agent/agent_tool.h"
#include "marathon/agent/client.h"
#include "marathon/agent/definition.h"
#include "marathon/agent/loop.h"
#include "marathon/agent/result.h"
#include "marathon/agent/session.h"
#include "marathon/config.h"
#include "marathon/llm/chat_activity.h"
#include "marathon/llm/model.h"
#include "marathon/registry.h"

namespace marathon::inline MARATHON_ABI::agent {

struct BindOptions {
  llm::DeltaListener listener{};  // is told what the model says as it comes; see llm/chat_activity.h
};

// Binds the agent's activities, and the workflow of its name: Workflow<Result>(ctx, Input), which is RunAgent. The agents
// among its tools are bound likewise, and ask the same model, unless a workflow of their name is bound before.
MARATHON_EXPORT void Bind(Registry& registry, Agent agent, std::shared_ptr<llm::Model> model,
                          BindOptions options = {});
// All but the agent's own workflow: for one of yours, which has the same agent.
MARATHON_EXPORT void BindActivities(Registry& registry, std::shared_ptr<const Agent> agent,
                                    std::shared_ptr<llm::Model> model, BindOptions options = {});

// What Bind binds, and the workflow of its sessions, "Researcher/session": Workflow<SessionResult>(ctx, SessionInput),
// which is RunSession.
MARATHON_EXPORT void BindSession(Registry& registry, Agent agent, std::shared_ptr<llm::Model> model,
                                 SessionOptions session = {}, BindOptions options = {});

// The loop. All three must outlive the co_await.
MARATHON_EXPORT Workflow<Result> RunAgent(WorkflowContext& ctx, const Agent& agent, const Input& input);
// The same of one that is there, from where it is to the end of its turn.
MARATHON_EXPORT Workflow<Result> RunTurn(Loop& loop);

}  // namespace marathon::inline MARATHON_ABI::agent
