// A fault that no ordinary test finds: an activity without an idempotency key. The simulator runs the workflow in
// a cluster whose workers crash, and asks in the end whether each order was charged once.
//
//   seed 1, 2, 3 …   a cluster of three, each seed another course of crashes
//        │
//   scenario ──► play: starts runs ──► faults, then peace ──► check: one charge an order?
//                         │
//                    Charge ──► FakeBank, which no crash touches
#include <marathon/marathon.h>
#include <marathon/testing/workflow_simulator.h>

#include <iostream>
#include <map>
#include <set>

using namespace std::chrono_literals;
namespace mt = marathon::testing;

inline constexpr marathon::ActivityDef<void(std::string)> kCharge{"Charge"};

marathon::Workflow<void> Checkout(marathon::WorkflowContext& ctx, std::string order) {
  co_await ctx.Run(kCharge, order);
  co_await ctx.Sleep(24h);
}

struct FakeBank {
  // A bank does not charge twice under one key; an empty one is no key.
  void Charge(const std::string& order, const std::string& key) {
    if (key.empty() || keys.insert(key).second) ++charges[order];
  }
  std::map<std::string, int> charges;
  std::set<std::string> keys;
};

mt::SimScenario Orders(bool with_key) {
  auto bank = std::make_shared<FakeBank>();
  mt::SimScenario scenario;
  scenario.registry.Bind("Checkout", Checkout);
  scenario.registry.Bind(kCharge, [bank, with_key](marathon::ActivityContext& ctx, const std::string& order) {
    bank->Charge(order, with_key ? ctx.idempotency_key() : "");
  });
  scenario.play = [](mt::SimUser& user) -> absl::Status {
    for (const std::string order : {"o-1", "o-2", "o-3"}) {
      const auto run = user.engine().Start("Checkout", order, {.workflow_id = order});
      if (!run.ok()) return run.status();
      user.Advance(1s);
    }
    return {};
  };
  scenario.check = [bank](mt::SimUser&) -> absl::Status {
    for (const auto& [order, times] : bank->charges) {
      if (times != 1) return absl::AbortedError(order + " was charged " + std::to_string(times) + " times");
    }
    return {};
  };
  return scenario;
}

int main() {
  const auto careless = mt::SimulateWorkflow([] { return Orders(false); });
  if (careless.violation.empty()) {
    std::cerr << "the fault was not found in " << careless.seeds << " seeds\n";
    return 1;
  }
  std::cout << "without a key: " << careless.violation << " (seed " << careless.seed << " finds it again)\n";

  const auto careful = mt::SimulateWorkflow([] { return Orders(true); });
  if (!careful.violation.empty()) {
    std::cerr << "seed " << careful.seed << ": " << careful.violation << "\n";
    return 1;
  }
  std::cout << "with the key: " << careful.seeds << " seeds are clean; " << careful.counts.crashes << " crashes, "
            << careful.repeated << " of " << careful.activities << " attempts were repetitions\n";
}
