// Agent: a model with two tools, one of which needs a person's word. Each step is recorded, so a crash asks nothing
// twice and sends nothing twice, and the person may take days.
//
//   "Plan my evening" ──► model ──► find_events (pure) ──► model ──► book (once) ──waits──► approved ──► model ──► answer
//
// The model is a script, so it needs no network. With OPENAI_BASE_URL (and OPENAI_API_KEY) or ANTHROPIC_API_KEY it is
// a real one, called AGENT_MODEL:
//   ANTHROPIC_API_KEY=… AGENT_MODEL=claude-sonnet-4-5 ./agent "Plan my evening in Oslo."
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
  std::optional<int> limit;
};
MARATHON_TOOL_INPUT(Search, (city, "where"), (limit, "how many at most"))

struct Booking {
  std::string event;
  int seats = 1;
};
MARATHON_TOOL_INPUT(Booking, (event, "its name"), (seats, "how many"))

std::string EnvironmentOr(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

absl::StatusOr<std::shared_ptr<llm::Model>> OpenModel() {
  const std::string url = EnvironmentOr("OPENAI_BASE_URL", ""), key = EnvironmentOr("ANTHROPIC_API_KEY", "");
  if (!url.empty()) return llm::Client::Open({.base_url = url, .api_key = EnvironmentOr("OPENAI_API_KEY", "")});
  if (!key.empty()) return llm::Client::Open({.protocol = llm::Protocol::kAnthropic, .api_key = key});
  auto script = std::make_shared<llm::ScriptedModel>();
  script->CallsTool("find_events", R"({"city": "Oslo"})")
      .CallsTool("book", R"({"event": "Peer Gynt", "seats": 2})")
      .Says("Two seats for Peer Gynt, at seven.");
  return script;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main(int argc, char** argv) {
  auto model = OpenModel();
  if (!model.ok()) return Complain(model.status());
  agent::Agent planner{.name = "Planner", .model = EnvironmentOr("AGENT_MODEL", "any")};
  planner.instructions = "You plan evenings. Be brief.";
  planner.budget = {.steps = 10, .tokens = 100'000};
  planner.tools = {
      agent::MakeTool("find_events", "What is on tonight.",
                      [](const Search& s) { return "In " + s.city + ": Peer Gynt at seven, a concert at nine."; },
                      {.effect = agent::Effect::kPure}),
      agent::MakeTool("book", "Books seats. They are paid for.",
                      [](agent::ToolContext& ctx, const Booking& b) {
                        return "booked " + b.event + " as " + ctx.idempotency_key();
                      },
                      {.effect = agent::Effect::kAtMostOnce, .approve = agent::Always(), .approval_timeout = 72h})};

  marathon::Registry registry;
  agent::Bind(registry, planner, *model);
  auto engine = marathon::Engine::Open("memory:", registry);  // or "sqlite:agent.db"
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Planner", agent::Ask(argc > 1 ? argv[1] : "Plan my evening in Oslo."));
  if (!run.ok()) return Complain(run.status());

  for (;;) {  // a person, who agrees to everything, and looks now and then
    const auto result = run->Result<agent::Result>(200ms);
    if (result.ok()) {
      std::cout << result->text << "\n[" << agent::NameOf(result->stop) << " after " << result->spent.steps
                << " steps, " << result->spent.tool_calls << " calls of tools]\n";
      return result->stop == agent::StopReason::kDone ? 0 : 1;
    }
    if (result.status().code() != absl::StatusCode::kDeadlineExceeded) return Complain(result.status());
    const auto pending = agent::Pending(*run);
    if (!pending.ok()) continue;  // it has just ended
    for (const agent::PendingApproval& call : *pending) {
      std::cout << "[approved: " << call.tool << " " << call.arguments << "]\n";
      if (const auto status = agent::Approve(*run, call); !status.ok()) return Complain(status);
    }
  }
}
