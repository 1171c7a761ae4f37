// Branches: functions that run side by side within one run, failures that are values, the quickest of several, and
// what every replay repeats. This engine forgets its coroutines after each turn, so all of it is replayed many times.
//
//   Purchase ──┬─► Spawn: Haggle "corner"  ──┐
//              ├─► Spawn: Haggle "harbour" ──┴─► All ──┐
//              └─► scope: Ask "slow" | Ask "quick" ────┴─► Any ─► Cancel() what is left ─► paid
#include <marathon/marathon.h>

#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using Lines = std::vector<std::string>;

inline constexpr marathon::ActivityDef<int(std::string)> kAsk{"Ask"};
inline constexpr marathon::RetryPolicy kOnce{.maximum_attempts = 1};

// A branch takes steps of its own. It needs no registration: it is part of the run.
marathon::Workflow<int> Haggle(marathon::WorkflowContext& ctx, std::string shop) {
  const int price = co_await ctx.Run(kAsk, shop);
  co_await ctx.Sleep(5ms);
  co_return price - 1;
}

marathon::Workflow<Lines> Purchase(marathon::WorkflowContext& ctx) {
  Lines log;
  // Chance and the surroundings: the same in every replay of this run.
  const std::string user = co_await ctx.SideEffect([] {
    const char* name = std::getenv("USER");
    return std::string(name != nullptr ? name : "somebody");
  });
  const uint64_t dice = ctx.Random() % 6 + 1;
  log.push_back("order " + ctx.NewUuid() + " of " + user + ", who threw " + std::to_string(dice));

  // Instead of a throw: a value or a failure.
  const auto shut = co_await ctx.TryRun(kAsk, "shut", {.retry = &kOnce});
  log.push_back(shut.ok() ? "shut: open" : "shut: " + shut.failure().message);

  auto corner = ctx.Spawn(Haggle(ctx, "corner"));
  auto harbour = ctx.Spawn(Haggle(ctx, "harbour"));
  const auto [near, far] = co_await ctx.All(corner, harbour);
  log.push_back("corner " + std::to_string(near) + ", harbour " + std::to_string(far));

  {
    marathon::CancellationScope race(ctx);  // what starts from here on is its own
    auto slow = ctx.Start(kAsk, "slow");
    auto quick = ctx.Start(kAsk, "quick");
    const size_t first = co_await ctx.Any(slow, quick);
    race.Cancel();
    const auto other = co_await ctx.Try(slow);  // throws nothing, be it canceled
    log.push_back(std::to_string(first) + " was first, " + (other.ok() ? "0 ended" : "0 was canceled"));
  }

  // The code here has changed twice. A run keeps the version with which it came by; this one is new.
  const int version = ctx.Version("payment", marathon::kBeforeChange, 2);
  log.push_back(version == 2 ? "paid by card" : version == 1 ? "paid by cheque" : "paid in cash");
  co_return log;
}

int Ask(marathon::ActivityContext& ctx, const std::string& shop) {
  if (shop == "shut") throw marathon::ApplicationError("nobody opens");
  if (shop == "slow") {  // goes on until it is told to stop
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    stopped.wait(lock, ctx.stop_token(), [] { return false; });
  }
  return static_cast<int>(shop.size());
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kAsk, Ask);
  registry.Bind("Purchase", Purchase);
  // Each turn begins with a replay, and is followed by one that must come to the same.
  auto engine = marathon::Engine::Open("memory:", registry, {.cache_runs = 0, .verify_determinism = true});
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Purchase");
  if (!run.ok()) return Complain(run.status());
  const auto log = run->Result<Lines>(10s);
  if (!log.ok()) return Complain(log.status());
  for (const std::string& line : *log) std::cout << line << "\n";

  const Lines expected = {"shut: nobody opens", "corner 5, harbour 6", "1 was first, 0 was canceled", "paid by card"};
  return Lines(log->begin() + 1, log->end()) == expected ? 0 : 1;
}
