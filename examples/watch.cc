// A run that is watched: its history, event by event, as it is written, from whichever process writes it. Nothing is
// asked for again and again; whoever comes back with the last event that it has seen misses nothing.
//
//   Rounds: round 1 ──► continues as new: round 2 ──► done
//              watcher: 1 TurnStarted, 2 WorkflowStarted "Rounds", 3 TimerStarted (20 ms) …
#include <marathon/marathon.h>

#include <iostream>
#include <optional>
#include <string>

using namespace std::chrono_literals;

inline constexpr marathon::WorkflowDef<std::string(int)> kRounds{"Rounds"};

marathon::Workflow<std::string> Rounds(marathon::WorkflowContext& ctx, int round) {
  co_await ctx.Sleep(20ms);
  if (round < 2) co_await ctx.ContinueAsNew(round + 1);
  co_return "two rounds";
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

// Shows the run to its end, and those that follow it.
absl::Status Watch(marathon::EventReader reader) {
  while (!reader.ended()) {
    const auto events = reader.Next(10s);
    if (!events.ok()) return events.status();
    for (const marathon::Event& event : *events) {
      std::cout << event.id << " " << marathon::Describe(event.body) << "\n";
    }
  }
  const std::optional<marathon::Run> next = reader.next_run();
  return next ? Watch(next->Subscribe()) : absl::OkStatus();
}

int main() {
  marathon::Registry registry;
  registry.Bind(kRounds, Rounds);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());
  auto started = engine->Start(kRounds, 1, {.workflow_id = "rounds"});
  if (!started.ok()) return Complain(started.status());
  // The first run, as the id alone would name the newest.
  const marathon::Run first = engine->Find("rounds", started->run_id().view());
  if (auto status = Watch(first.Subscribe()); !status.ok()) return Complain(status);
  const auto result = engine->Find("rounds").Result<std::string>(10s);
  if (!result.ok()) return Complain(result.status());
  std::cout << *result << "\n";
}
