// Agent: a model with two tools, one of which needs a person's word. Each step is recorded, so a crash asks nothing
// twice and sends nothing twice, and the person may take days. What it says is shown as it comes.
//
//   "Plan my evening" ──► model ──► find_events (pure) ──► model ──► book (once) ──waits──► approved ──► model ──► answer
//
//   agent "Plan my evening in Oslo." sqlite:evening.db   kill it when you like: the same command goes on
//
// The model is a script, unless AGENT_MODEL names one: then it is asked where llm::EndpointFromEnvironment says. (The
// script begins anew with its process, so kill that of a real model.)
#include <marathon/adapters/sqlite.h>
#include <marathon/agent/agent.h>
#include <marathon/llm/client.h>
#include <marathon/llm/scripted_model.h>
#include <marathon/marathon.h>

#include <cstdlib>
#include <iostream>

using namespace std::chrono_literals;
namespace agent = marathon::agent;
namespace llm = marathon::llm;

struct Search {
  std::string city;
};
MARATHON_TOOL_INPUT(Search, (city, "where"))

struct Booking {
  std::string event;
  int seats = 1;
};
MARATHON_TOOL_INPUT(Booking, (event, "its name"), (seats, "how many"))

std::string FindEvents(const Search& search) { return "In " + search.city + ": Peer Gynt at seven, a concert at nine."; }
std::string Book(agent::ToolContext& ctx, const Booking& booking) {
  return "booked " + booking.event + " as " + ctx.idempotency_key();
}

int main(int argc, char** argv) try {
  const char* name = std::getenv("AGENT_MODEL");
  auto script = std::make_shared<llm::ScriptedModel>();
  script->CallsTool("find_events", R"({"city": "Oslo"})").CallsTool("book", R"({"event": "Peer Gynt", "seats": 2})");
  script->Says("Two seats for Peer Gynt, at seven.");
  std::shared_ptr<llm::Model> model = script;
  if (name != nullptr) model = llm::Client::Open(llm::EndpointFromEnvironment().value()).value();

  agent::Agent planner{.name = "Planner", .model = name != nullptr ? name : "script"};
  planner.instructions = "You plan evenings. Be brief.";
  planner.prices = {{.model = "", .input = 3'000'000, .output = 15'000'000}};  // micro-USD a million tokens, of any model
  planner.budget = {.steps = 10, .micro_usd = 500'000};                        // half a dollar
  planner.tools = {agent::MakeTool("find_events", "What is on tonight.", FindEvents, {.effect = agent::Effect::kPure}),
                   agent::MakeTool("book", "Books seats. They are paid for.", Book,
                                   {.effect = agent::Effect::kAtMostOnce, .approve = agent::Always(),
                                    .approval_timeout = 72h})};
  marathon::Registry registry;
  registry.Use(marathon::SqliteBackend());
  agent::Bind(registry, planner, model);
  auto engine = marathon::Engine::Open(argc > 2 ? argv[2] : "memory:", registry).value();
  const auto run = engine.Start("Planner", agent::Ask(argc > 1 ? argv[1] : "Plan my evening in Oslo."),
                                {.workflow_id = "evening", .request_id = "evening"}).value();

  const auto watched = agent::Watch(engine, run, [&](const agent::StreamEvent& event) {
    if (event.kind == agent::StreamEvent::Kind::kText) std::cout << event.text << std::flush;
    if (event.kind == agent::StreamEvent::Kind::kApproval) {  // a person, who agrees to everything
      std::cout << "[approved: " << event.tool << " " << event.text << "]\n";
      agent::Approve(run, agent::AsPending(event)).IgnoreError();
    }
  });
  const auto result = run.Result<agent::Result>().value();
  std::cout << "\n[" << agent::NameOf(result.stop) << " after " << result.spent.steps << " steps, for "
            << result.spent.micro_usd << " micro-USD]\n";
  return watched.ok() && result.stop == agent::StopReason::kDone ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
