// An agent with a tool, whose model is a script.
#include <marathon/agent/agent.h>
#include <marathon/agent/tools/calculator.h>
#include <marathon/llm/scripted_model.h>
#include <marathon/marathon.h>

namespace agent = marathon::agent;

int main() {
  auto model = std::make_shared<marathon::llm::ScriptedModel>();
  model->CallsTool("calculator", R"({"expression": "6 * 7"})").Says("It is 42.");
  agent::Agent clerk{.name = "Clerk", .model = "any"};
  clerk.tools = {agent::CalculatorTool()};
  marathon::Registry registry;
  agent::Bind(registry, clerk, model);
  auto engine = marathon::Engine::Open("memory:", registry).value();
  const auto run = engine.Start("Clerk", agent::Ask("How much is six times seven?")).value();
  return run.Result<agent::Result>().value().text == "It is 42." && model->left() == 0 ? 0 : 1;
}
