// A workflow that never ends: it polls a sensor, and every few rounds it continues as new, so that its history
// stays short. What has come in meanwhile goes with it.
//
//   run 1 ── 3 rounds ──► run 2 ── 3 rounds ──► run 3 …        all of them workflow "poller"
//                  ▲ signal "stop", to whichever run there is
#include <marathon/marathon.h>

#include <algorithm>
#include <atomic>
#include <iostream>

using namespace std::chrono_literals;

struct State {
  int rounds = 0;  // of all runs so far
  int runs = 1;
  int highest = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(State, rounds, runs, highest)

inline constexpr marathon::ActivityDef<int()> kRead{"Read"};
inline constexpr marathon::SignalDef<bool> kStop{"stop"};
inline constexpr marathon::WorkflowDef<State(State)> kPoller{"Poller"};

marathon::Workflow<State> Poller(marathon::WorkflowContext& ctx, State state) {
  constexpr int kRoundsOfARun = 3;  // a real one asks ctx.ContinueAsNewSuggested()
  for (int i = 0; i < kRoundsOfARun; ++i) {
    const int value = co_await ctx.Run(kRead);
    state.highest = std::max(state.highest, value);
    ++state.rounds;
    const std::optional<bool> stop = co_await ctx.Receive(kStop, 5ms);
    if (stop) co_return state;
  }
  ++state.runs;
  co_await ctx.ContinueAsNew(state);  // does not come back
  co_return state;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  std::atomic<int> reads = 0;
  auto enough = std::make_shared<std::atomic<bool>>(false);
  marathon::Registry registry;
  registry.Bind(kPoller, Poller);
  registry.Bind(kRead, [&reads, enough] {
    const int read = ++reads;
    if (read == 8) {
      *enough = true;
      enough->notify_all();
    }
    return read * 37 % 50;
  });
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  auto run = engine->Start(kPoller, {}, {.workflow_id = "poller"});
  if (!run.ok()) return Complain(run.status());
  enough->wait(false);
  // The run that was started has ended long ago; the workflow has not.
  if (const absl::Status sent = run->Signal(kStop, true); !sent.ok()) return Complain(sent);
  const auto state = run->Result<State>(10s);
  if (!state.ok()) return Complain(state.status());
  std::cout << "polled at least 8 times: " << (state->rounds >= 8 ? "yes" : "no")
            << ", in several runs: " << (state->runs >= 3 ? "yes" : "no")
            << ", highest: " << state->highest << "\n";
}
