// Agent session: a conversation that goes on, with an agent that has another one as its tool. Each message is a turn; turns are
// taken one at a time, survive crashes, and share a budget. What gets too long is summarized.
//
//   "What is on?" ──► Host/session ──► model ──► ask_guide ──► Guide (a child run) ──► "Peer Gynt" ──► model ──► answer
//   "And after?"  ──► Host/session ──► model (which knows what was said) ──► answer
//
// The models are scripts, so it needs no network.
#include <marathon/agent/agent.h>
#include <marathon/llm/scripted_model.h>
#include <marathon/marathon.h>

#include <iostream>

using namespace std::chrono_literals;
namespace agent = marathon::agent;
namespace llm = marathon::llm;

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  auto model = std::make_shared<llm::ScriptedModel>();
  model->CallsTool("ask_guide", R"({"task": "What is on in Oslo tonight?"})")
      .Says("Peer Gynt, at seven.")  // the guide
      .Says("There is Peer Gynt at seven.")
      .Says("After it? The tram home, or the harbour.");

  agent::Agent guide{.name = "Guide", .model = "any", .instructions = "You know what is on."};
  guide.budget.steps = 3;
  agent::Agent host{.name = "Host", .model = "any", .instructions = "You plan evenings. Be brief."};
  host.tools = {agent::MakeAgentTool("ask_guide", "Asks somebody who knows what is on.", guide)};
  host.compaction = {.above_tokens = 50'000};

  marathon::Registry registry;
  agent::BindSession(registry, host, model, {.budget = {.steps = 100, .tool_calls = 0}, .idle_timeout = 24h});
  auto engine = marathon::Engine::Open("memory:", registry);  // or "sqlite:agent.db"
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Host/session", agent::SessionInput(), {.workflow_id = "chat-7"});
  if (!run.ok()) return Complain(run.status());

  for (const char* text : {"What is on in Oslo?", "And after?"}) {
    const auto answer = agent::Say(*run, text);
    if (!answer.ok()) return Complain(answer.status());
    std::cout << "> " << text << "\n" << answer->text << "\n";
  }
  if (const auto status = agent::Close(*run, "good night"); !status.ok()) return Complain(status);
  const auto end = run->Result<agent::SessionResult>();
  if (!end.ok()) return Complain(end.status());
  std::cout << "[" << end->why << " after " << end->turns << " turns, " << end->spent.steps << " steps]\n";
  return end->turns == 2 && end->spent.steps == 4 ? 0 : 1;
}
