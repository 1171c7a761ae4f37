// Tests of one's own workflow, without a test framework to keep it short: virtual time, mocks, one activity
// alone, and a recorded history against today's code. docs/testing.md shows them with GoogleTest.
//
//   TestEnvironment   the production engine, memory store, one thread
//     After(24h, …)     calls at an instant; waiting for a result skips the time until then
//     Mock("Charge", …) stands in for an activity
#include <marathon/marathon.h>
#include <marathon/testing/activity_tester.h>
#include <marathon/testing/history_builder.h>
#include <marathon/testing/replay_history.h>
#include <marathon/testing/script.h>
#include <marathon/testing/test_environment.h>

#include <iostream>

using namespace std::chrono_literals;
namespace mt = marathon::testing;

inline constexpr marathon::ActivityDef<std::string(int)> kCharge{"Charge"};
inline constexpr marathon::SignalDef<bool> kApproved{"approved"};
inline constexpr marathon::RetryPolicy kPatient{.initial_interval = 1s, .maximum_attempts = 5};

std::string Charge(marathon::ActivityContext& ctx, const int& amount) {
  return "charged " + std::to_string(amount) + " under " + ctx.idempotency_key();
}

// What is to be tested: charges once there is an approval, which may take a month.
marathon::Workflow<std::string> Checkout(marathon::WorkflowContext& ctx, int amount) {
  const std::optional<bool> approved = co_await ctx.Receive(kApproved, 30 * 24h);
  if (!approved) co_return "nobody answered";
  if (!*approved) co_return "declined";
  co_return co_await ctx.Run(kCharge, amount, {.retry = &kPatient});
}

int failures = 0;
void Check(std::string_view what, bool holds) {
  std::cout << (holds ? "ok      " : "FAILED  ") << what << "\n";
  failures += holds ? 0 : 1;
}

void TestTime(const marathon::Registry& registry) {
  mt::TestEnvironment env(registry);
  const auto run = env.engine().Start("Checkout", 12);
  Check("a month passes at once", run.ok() && *run->Result<std::string>() == "nobody answered");
  Check("nothing was charged", env.Calls(kCharge).empty());
}

void TestMocks(const marathon::Registry& registry) {
  mt::TestEnvironment env(registry);
  env.Mock(kCharge, mt::Script<std::string>().Fails("the line is busy", 2).Returns("r-1"));
  const auto run = env.engine().Start("Checkout", 12);
  if (!run.ok()) return Check("it starts", false);
  env.After(24h, [&] { Check("a signal is taken", run->Signal(kApproved, true).ok()); });
  Check("the third attempt's receipt", *run->Result<std::string>() == "r-1");
  Check("three attempts with the amount", env.Inputs(kCharge) == std::vector{12, 12, 12});
}

void TestActivity() {
  mt::ActivityTester tester({.key = {{"w", "r"}, 7}});
  Check("the key goes to the bank", *tester.Run(Charge, 12) == "charged 12 under r/7");
}

void TestHistory(const marathon::Registry& registry) {
  const auto history = mt::HistoryBuilder()
                           .Started("Checkout", 12)
                           .TimerStarted(30 * 24h)
                           .NextTurn(24h)
                           .SignalReceived("approved", true)
                           .TimerCanceled()
                           .ActivityScheduled("Charge", 12)
                           .Build();
  Check("the history is valid", history.ok());
  Check("today's code repeats it", history.ok() && mt::ReplayHistory(registry, *history).ok());
}

int main() {
  marathon::Registry registry;
  registry.Bind("Checkout", Checkout);
  registry.Bind(kCharge, Charge);
  TestTime(registry);
  TestMocks(registry);
  TestActivity();
  TestHistory(registry);
  return failures == 0 ? 0 : 1;
}
