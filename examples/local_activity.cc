// Local activities: short things that the worker does for its turn, at once, without a queue and without a write of
// their own. Their outcomes are recorded together with the turn.
//
//   Quote ──┬─► Stock   (a table in memory)  ──┐
//           └─► Price   (a cache near by)    ──┴─► one commit ─► Reserve (an ordinary activity) ─► done
#include <marathon/marathon.h>

#include <iostream>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<int(std::string)> kStock{"Stock"};
inline constexpr marathon::ActivityDef<double(std::string)> kPrice{"Price"};
inline constexpr marathon::ActivityDef<std::string(std::string)> kReserve{"Reserve"};

int Stock(const std::string& item) { return item == "bicycle" ? 3 : 0; }

// It fails once. The worker waits for a moment and tries again, within the turn.
absl::StatusOr<double> Price(marathon::ActivityContext& ctx, const std::string&) {
  if (ctx.attempt() < 2) return absl::UnavailableError("the cache is cold");
  return 499.0;
}

std::string Reserve(const std::string& item) { return item + " reserved"; }

inline constexpr marathon::RetryPolicy kQuick{.initial_interval = 10ms};

marathon::Workflow<std::string> Quote(marathon::WorkflowContext& ctx, std::string item) {
  const auto stock = ctx.StartLocal(kStock, item);
  const auto price = ctx.StartLocal(kPrice, item, {.start_to_close_timeout = 1s, .retry = &kQuick});
  const auto [pieces, each] = co_await ctx.All(stock, price);
  if (pieces == 0) co_return item + " is sold out";
  const std::string reserved = co_await ctx.Run(kReserve, item);  // what others see happens in a queue
  co_return reserved + " for " + std::to_string(static_cast<int>(each)) + ", one of " + std::to_string(pieces);
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kStock, Stock);
  registry.Bind(kPrice, Price);
  registry.Bind(kReserve, Reserve, {.max_concurrent = 2, .max_per_second = 50});  // no more, on this worker
  registry.Bind("Quote", Quote);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Quote", std::string("bicycle"));
  if (!run.ok()) return Complain(run.status());
  const auto result = run->Result<std::string>(10s);
  if (!result.ok()) return Complain(result.status());
  std::cout << *result << "\n";
  const auto history = run->History();
  if (!history.ok()) return Complain(history.status());
  for (const marathon::Event& event : *history) {
    std::cout << event.id << " " << marathon::Describe(event.body) << "\n";
  }
}
