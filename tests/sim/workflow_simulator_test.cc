// The simulator over a user's workflow: faults that are planted in the user's code are found, and code that
// does it right is not blamed.
// needs: testing
// program: sim
#include <gmock/gmock.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "marathon/marathon.h"
#include "marathon/testing/workflow_simulator.h"
#include "../sanitized.h"

namespace marathon::testing::workflow_simulator_test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kSeeds = kSanitized ? 60 : 200;

inline constexpr ActivityDef<int(std::string)> kCharge{"Charge"};
inline constexpr SignalDef<bool> kApproved{"approved"};

Workflow<int> Checkout(WorkflowContext& ctx, std::string order) {
  const int amount = co_await ctx.Run(kCharge, order, {.start_to_close_timeout = 10s});
  if (!co_await ctx.Receive(kApproved)) throw ApplicationError("declined");
  co_await ctx.Sleep(1h);
  co_return amount;
}

struct Bank {
  std::map<std::string, int> charges;   // by order
  std::map<std::string, int> receipts;  // by idempotency key
};

// Three orders; each must be charged once.
SimScenario Orders(bool with_key) {
  auto bank = std::make_shared<Bank>();
  SimScenario scenario;
  scenario.registry.Bind("Checkout", Checkout);
  scenario.registry.Bind(kCharge, [bank, with_key](ActivityContext& ctx, const std::string& order) {
    const bool known = bank->receipts.contains(ctx.idempotency_key());
    if (!known || !with_key) ++bank->charges[order];
    return bank->receipts[ctx.idempotency_key()] = 5;
  });
  scenario.play = [](SimUser& user) -> Status {
    for (const std::string order : {"o-1", "o-2", "o-3"}) {
      const auto run = user.engine().Start("Checkout", order, {.workflow_id = order});
      if (!run.ok()) return run.status();
      user.Advance(Duration(user.random().Between(0, 3'000)));
      if (Status status = run->Signal(kApproved, true); !status.ok()) return status;
    }
    return {};
  };
  scenario.check = [bank](SimUser& user) -> Status {
    for (const std::string order : {"o-1", "o-2", "o-3"}) {
      const auto result = user.engine().Find(order).Result<int>();
      if (!result.ok()) return result.status();
      if (bank->charges[order] != 1) {
        return Aborted(order + " was charged " + std::to_string(bank->charges[order]) + " times");
      }
    }
    return {};
  };
  return scenario;
}

TEST(WorkflowSimulatorTest, FindsAMissingIdempotencyKeyAndFindsItAgain) {
  const WorkflowSimReport report = SimulateWorkflow([] { return Orders(false); });
  EXPECT_THAT(report.violation, ::testing::ContainsRegex("check: o-[0-9]+ was charged [2-9] times"));
  EXPECT_LE(report.seed, 50u);
  SimulateWorkflowOptions options;
  options.first_seed = report.seed;
  options.seeds = 1;
  options.trace_lines = 100;
  const WorkflowSimReport again = SimulateWorkflow([] { return Orders(false); }, options);
  EXPECT_EQ(again.violation, report.violation);
  EXPECT_EQ(again.seed, report.seed);
  EXPECT_FALSE(again.trace.empty());
}

TEST(WorkflowSimulatorTest, DoesNotBlameWhatIsRight) {
  SimulateWorkflowOptions options;
  options.seeds = kSeeds;
  const WorkflowSimReport report = SimulateWorkflow([] { return Orders(true); }, options);
  EXPECT_EQ(report.violation, "") << "seed " << report.seed;
  EXPECT_EQ(report.seeds, kSeeds);
  EXPECT_GT(report.repeated, kSeeds / 10) << "of " << report.activities;
  EXPECT_GT(report.counts.crashes, kSeeds / 2);
}

std::string ViolationOf(const std::function<void(SimScenario&)>& make) {
  SimulateWorkflowOptions options;
  options.seeds = 3;
  options.rates = FaultRates::None();
  return SimulateWorkflow(
             [&make] {
               SimScenario scenario = Orders(true);
               make(scenario);
               return scenario;
             },
             options)
      .violation;
}

TEST(WorkflowSimulatorTest, TellsWhatElseIsWrong) {
  EXPECT_EQ(ViolationOf([](SimScenario&) {}), "");
  EXPECT_THAT(ViolationOf([](SimScenario& s) { s.registry.Bind("Checkout", Checkout); }),
              HasSubstr("\"Checkout\" is bound twice"));
  EXPECT_EQ(ViolationOf([](SimScenario& s) {
              s.play = [](SimUser&) { return InvalidArgument("I refuse"); };
            }),
            "play: I refuse");
  const auto start_only = [](SimUser& user) {
    return user.engine().Start("Checkout", std::string("o"), {.workflow_id = "lonely"}).status();
  };
  EXPECT_THAT(ViolationOf([&](SimScenario& s) { s.play = start_only; }),
              AllOf(HasSubstr("not all runs end"), HasSubstr("\"lonely\" (Checkout)")));
  EXPECT_THAT(ViolationOf([&](SimScenario& s) {
                s.registry = Registry();
                s.registry.Bind("Checkout", [](WorkflowContext& ctx, std::string) -> Workflow<int> {
                  co_return co_await ctx.Run<int>("Absent", 1);
                });
                s.play = start_only;
                s.check = [](SimUser& user) { return user.engine().Find("lonely").Result(); };
              }),
              HasSubstr("activity \"Absent\" is not in the scenario's registry"));
}

// Code that counts its calls does not repeat itself, once a worker has to replay it.
TEST(WorkflowSimulatorTest, FindsCodeThatDoesNotRepeatItself) {
  const WorkflowSimReport report = SimulateWorkflow([] {
    SimScenario scenario = Orders(true);
    scenario.registry = Registry();
    scenario.registry.Bind(kCharge, [](const std::string&) { return 1; });
    scenario.registry.Bind("Checkout", [calls = std::make_shared<int>()](
                                           WorkflowContext& ctx, std::string order) -> Workflow<int> {
      if (++*calls > 3) co_await ctx.Sleep(1s);
      co_return co_await ctx.Run(kCharge, order);
    });
    scenario.check = nullptr;
    scenario.play = [](SimUser& user) -> Status {
      for (int i = 0; i < 3; ++i) user.engine().Start("Checkout", std::string("o")).IgnoreError();
      return {};
    };
    return scenario;
  });
  EXPECT_THAT(report.violation, AllOf(HasSubstr("not all runs end"), HasSubstr("blocked"),
                                      HasSubstr("workflow_simulator_test.cc:")));
}

}  // namespace
}  // namespace marathon::testing::workflow_simulator_test
