// SimulateWorkflow: a user's own workflows in the cluster simulator. The scenario starts runs and says what must
// hold once they have ended; workers crash, freeze and are cut off meanwhile, most of all where it hurts, between
// what an activity did and its saying so. Each seed is another course of events, and gives the same one again.
//
//   auto report = SimulateWorkflow([] {
//     auto bank = std::make_shared<FakeBank>();   // what lies outside: no crash touches it
//     SimScenario scenario;
//     scenario.registry.Bind("Checkout", Checkout);
//     scenario.registry.Bind(kCharge, [bank](ActivityContext& ctx, const Order& order) { … });
//     scenario.play = [](SimUser& user) { return user.engine().Start("Checkout", order).status(); };
//     scenario.check = [bank](SimUser&) { return bank->EachOrderWasChargedOnce(); };
//     return scenario;
//   });
//   EXPECT_EQ(report.violation, "") << "seed " << report.seed;
//
// Everything runs in the calling thread. Activities must end in their call, or complete in this thread.
// Safe from several threads, if the scenarios are.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/engine.h"
#include "marathon/registry.h"
#include "marathon/status.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/testing/sim_world.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

// The scenario's hand in the simulation: a client of the cluster that never crashes. Its calls block, in
// virtual time.
class SimUser {
 public:
  SimUser(SimWorld& world, Engine engine)
      : world_(world), engine_(std::move(engine)), random_(world.Fork("user")) {}

  Engine& engine() { return engine_; }
  Time Now() const { return world_.Now(); }
  void Advance(Duration by) { world_.RunUntil(AddSaturated(Now(), by)); }
  SeededRandom& random() { return random_; }  // the seed's own, for what differs from seed to seed

 private:
  SimWorld& world_;
  Engine engine_;
  SeededRandom random_;
};

// One course of events. What its parts share is made anew for each.
struct SimScenario {
  Registry registry;
  // Starts runs, signals them, waits for them. Not OK: a violation.
  std::function<Status(SimUser& user)> play;
  // Asked once all runs have ended. Not OK: a violation.
  std::function<Status(SimUser& user)> check;
};

struct SimulateWorkflowOptions {
  uint64_t first_seed = 1;
  uint64_t seeds = 500;  // it ends at the first violation
  int workers = 3;
  std::vector<std::string> task_queues{"default"};
  // Of the ports and the workers; none: drawn from the seed. They last for `faulty_for` of virtual time.
  std::optional<FaultRates> rates{};
  Duration faulty_for{100'000};
  // How often the worker dies in the middle of an activity's attempt, or just after its work. At any time.
  double crash_in_activity = 0.1;
  Duration activity_time{500};  // how long an attempt takes at most; what it does, it does at some point within
  size_t trace_lines = 0;       // how many of the last lines of the violated seed's trace to keep
};

struct WorkflowSimReport {
  std::string violation;  // empty: none
  uint64_t seed = 0;      // that it was found with: the same one finds it again
  uint64_t seeds = 0;     // that were simulated
  uint64_t activities = 0;   // attempts that were run …
  uint64_t repeated = 0;     // … of a call that had been run before: its worker was lost, or it failed
  FaultCounts counts;
  std::vector<std::string> trace;
};

WorkflowSimReport SimulateWorkflow(const std::function<SimScenario()>& make_scenario,
                                   const SimulateWorkflowOptions& options = {});

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/workflow_simulator-inl.h"
#endif
