#include "marathon/agent/agent.h"

#include <map>
#include <string>
#include <utility>

#include "marathon/agent/agent_tool.h"
#include "src/agent/model_activity.h"
#include "src/agent/publish_activity.h"
#include "src/agent/tool_activity.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

// By their names: those whose tools are being bound, or have been.
using Family = std::map<std::string, const Agent*>;

void BindOne(Registry& registry, std::shared_ptr<const Agent> agent, const std::shared_ptr<llm::Model>& model,
             const BindOptions& options, Family& family);

// The loop is the run's own coroutine, so that a run that has ended still answers queries.
void BindWorkflow(Registry& registry, const std::shared_ptr<const Agent>& agent) {
  registry.Bind(agent->name, [agent](WorkflowContext& ctx, const Input& input) -> Workflow<Result> {
    return RunAgent(ctx, *agent, input);
  });
}

// One that was bound by itself before stays as it is.
void BindChild(Registry& registry, const std::shared_ptr<const Agent>& agent, const std::shared_ptr<llm::Model>& model,
               const BindOptions& options, Family& family) {
  const auto known = family.find(agent->name);
  if (known == family.end()) {
    if (registry.FindWorkflow(agent->name) != nullptr) return;
    BindOne(registry, agent, model, options, family);
    BindWorkflow(registry, agent);
  } else if (known->second != agent.get()) {
    registry.AddMistake("two agents have the name \"" + agent->name +
                        "\": make the tool of an agent once, and copy it; an agent cannot be its own tool");
  }
}

void BindOne(Registry& registry, std::shared_ptr<const Agent> agent, const std::shared_ptr<llm::Model>& model,
             const BindOptions& options, Family& family) {
  family.emplace(agent->name, agent.get());
  if (agent->output) {
    const auto schema = JsonSchema::Parse(agent->output->schema);
    if (!schema.ok()) {
      registry.AddMistake("the output schema of \"" + agent->name + "\": " +
                          std::string(MessageOf(schema.status())));
    }
  }
  registry.Bind(internal::ModelActivityName(*agent), internal::ModelActivity(agent, model, options.listener));
  if (agent->stream) registry.Bind(internal::PublishActivityName(*agent), internal::Publish);
  for (const Tool& tool : agent->tools) {
    if (!tool.mistake.empty()) registry.AddMistake(tool.mistake);
    if (tool.agent) {
      BindChild(registry, tool.agent, model, options, family);
    } else {
      registry.Bind(internal::ToolActivityName(*agent, tool.definition.name), internal::ToolActivity(agent, tool));
    }
  }
}

}  // namespace

void BindActivities(Registry& registry, std::shared_ptr<const Agent> agent, std::shared_ptr<llm::Model> model,
                    BindOptions options) {
  Family family;
  BindOne(registry, std::move(agent), model, options, family);
}

void Bind(Registry& registry, Agent agent, std::shared_ptr<llm::Model> model, BindOptions options) {
  const auto shared = std::make_shared<const Agent>(std::move(agent));
  BindActivities(registry, shared, std::move(model), std::move(options));
  BindWorkflow(registry, shared);
}

void BindSession(Registry& registry, Agent agent, std::shared_ptr<llm::Model> model, SessionOptions session,
                 BindOptions options) {
  const auto shared = std::make_shared<const Agent>(std::move(agent));
  BindActivities(registry, shared, std::move(model), std::move(options));
  BindWorkflow(registry, shared);
  registry.Bind(internal::SessionName(*shared),
                [shared, session](WorkflowContext& ctx, const SessionInput& input) -> Workflow<SessionResult> {
                  return RunSession(ctx, *shared, session, input);
                });
}

Workflow<Result> RunAgent(WorkflowContext& ctx, const Agent& agent, const Input& input) {
  Loop loop(ctx, agent, input);
  Result result = co_await RunTurn(loop);
  co_return result;
}

Workflow<Result> RunTurn(Loop& loop) {
  while (co_await loop.Ask()) {
    if (loop.calls().empty()) {
      loop.Accept();
    } else {
      co_await loop.CallTools();
    }
  }
  Result result = loop.TakeResult();  // a local, for g++ 12 (docs/internals.md)
  co_return result;
}

}  // namespace marathon::inline MARATHON_ABI::agent
