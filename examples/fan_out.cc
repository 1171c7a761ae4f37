// Fan-out: many activities at once, then their results together; and the quickest of several.
//
//             ┌─► Square 1 ─┐
//   Squares ──┼─► Square 2 ─┼──► All ──► sum
//             └─► ... 1000 ─┘
//   Race ─────┬─► Ask "hare" ────────┐
//             └─► Ask "tortoise" ────┴─► Any ──► the first; the other is canceled
#include <marathon/marathon.h>

#include <condition_variable>
#include <iostream>
#include <mutex>
#include <numeric>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<int64_t(int64_t)> kSquare{"Square"};
inline constexpr marathon::ActivityDef<std::string(std::string)> kAsk{"Ask"};

marathon::Workflow<int64_t> Squares(marathon::WorkflowContext& ctx, int count) {
  std::vector<marathon::ActivityHandle<int64_t>> squares;
  for (int64_t i = 1; i <= count; ++i) squares.push_back(ctx.Start(kSquare, i));
  const std::vector<int64_t> values = co_await ctx.All(squares);
  co_return std::accumulate(values.begin(), values.end(), int64_t{0});
}

marathon::Workflow<std::string> Race(marathon::WorkflowContext& ctx) {
  std::vector<marathon::ActivityHandle<std::string>> runners;
  for (const char* name : {"hare", "tortoise"}) {
    runners.push_back(ctx.Start(kAsk, std::string(name)));
  }
  const size_t first = co_await ctx.Any(runners);
  runners[1 - first].Cancel();  // its stop_token fires
  co_return co_await runners[first];
}

// The tortoise goes on until it is told to stop.
std::string Ask(marathon::ActivityContext& ctx, const std::string& name) {
  if (name == "tortoise") {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    stopped.wait(lock, ctx.stop_token(), [] { return false; });
  }
  return name;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kSquare, [](const int64_t& x) { return x * x; });
  registry.Bind(kAsk, Ask);
  registry.Bind("Squares", Squares);
  registry.Bind("Race", Race);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  auto squares = engine->Start("Squares", 1000);
  if (!squares.ok()) return Complain(squares.status());
  const auto sum = squares->Result<int64_t>(60s);
  if (!sum.ok()) return Complain(sum.status());
  std::cout << "the first 1000 squares add up to " << *sum << "\n";

  auto race = engine->Start("Race");
  if (!race.ok()) return Complain(race.status());
  const auto winner = race->Result<std::string>(60s);
  if (!winner.ok()) return Complain(winner.status());
  std::cout << "the " << *winner << " won\n";
}
