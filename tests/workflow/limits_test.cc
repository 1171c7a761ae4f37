// Limits on activities: how many at a time and how many a second, for a type and for a worker; who takes what a
// worker may not begin.
// labels: threads
// program: activities
#include <gmock/gmock.h>

#include "fixture.h"
#include "marathon/testing/test_environment.h"

namespace marathon::tests::limits_test {
namespace {

using marathon::testing::ActivityCall;
using marathon::testing::TestEnvironment;
using marathon::testing::TestEnvironmentOptions;
using ::testing::HasSubstr;

constexpr ActivityDef<int(int)> kLimited{"Limited"};
constexpr ActivityDef<int(int)> kFree{"Free"};

int Same(int x) { return x; }

// Starts so many of each at once and adds up what they give.
Workflow<int> FanOut(WorkflowContext& ctx, int calls) {
  std::vector<ActivityHandle<int>> handles;
  for (int i = 0; i < calls; ++i) handles.push_back(ctx.Start(kLimited, 1));
  for (int i = 0; i < calls; ++i) handles.push_back(ctx.Start(kFree, 1));
  int sum = 0;
  for (const int value : co_await ctx.All(handles)) sum += value;
  co_return sum;
}

// When each attempt began, in milliseconds after the first.
std::vector<int64_t> BegunAt(const std::vector<ActivityCall>& calls) {
  std::vector<int64_t> begun;
  for (const ActivityCall& call : calls) {
    begun.push_back((ToMicros(call.at) - ToMicros(calls.front().at)) / 1'000);
  }
  return begun;
}

Registry Limited(ActivityLimits limits) {
  Registry registry;
  registry.Bind("W", FanOut);
  registry.Bind(kLimited, Same, limits);
  registry.Bind(kFree, Same);
  return registry;
}

// ---- In virtual time

TEST(LimitsTest, NoMoreOfATypeThanItsLimitAndOthersGoOn) {
  TestEnvironment env(Limited({.max_concurrent = 3}));
  env.Mock(kLimited, Same, {.delay = 10s});
  const auto run = env.engine().Start("W", 12);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 24);
  const auto begun = BegunAt(env.Calls(kLimited));
  ASSERT_EQ(begun.size(), 12u);
  for (size_t i = 0; i < begun.size(); ++i) {
    EXPECT_EQ(begun[i] / 10'000, static_cast<int64_t>(i / 3)) << i << ": as soon as there is room, and not before";
  }
  EXPECT_LT(BegunAt(env.Calls(kFree)).back(), 1'000) << "nothing holds up what has no limit";
}

TEST(LimitsTest, ARateIsKeptToTheMillisecond) {
  TestEnvironment env(Limited({.max_per_second = 4}));
  const auto run = env.engine().Start("W", 20);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 40);
  const auto begun = BegunAt(env.Calls(kLimited));
  ASSERT_EQ(begun.size(), 20u);
  for (size_t i = 0; i < begun.size(); ++i) {
    EXPECT_GE(begun[i], static_cast<int64_t>(250 * i)) << i;
    EXPECT_LE(begun[i], static_cast<int64_t>(251 * i + 1)) << i;
  }
  EXPECT_LT(BegunAt(env.Calls(kFree)).back(), 250);
}

TEST(LimitsTest, ARateOfLessThanOneASecondAndRetriesCount) {
  Registry registry = Limited({.max_per_second = 0.1});
  TestEnvironment env(registry);
  env.Mock(kLimited, [](ActivityContext& ctx, int x) -> StatusOr<int> {
    if (ctx.attempt() < 2) return Unavailable("once more");
    return x;
  });
  const auto run = env.engine().Start("W", 2);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 4);
  const auto begun = BegunAt(env.Calls(kLimited));
  ASSERT_EQ(begun.size(), 4u);
  for (size_t i = 0; i < begun.size(); ++i) EXPECT_EQ(begun[i] / 10'000, static_cast<int64_t>(i)) << i;
}

TEST(LimitsTest, AHighRateMakesUpForATenthOfASecondAtMost) {
  TestEnvironment env(Limited({.max_per_second = 100}));
  const auto run = env.engine().Start("W", 50);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 100);
  const auto begun = BegunAt(env.Calls(kLimited));
  ASSERT_EQ(begun.size(), 50u);
  for (size_t i = 10; i < begun.size(); ++i) {
    EXPECT_GE(begun[i], static_cast<int64_t>(10 * (i - 10))) << i;
    EXPECT_LE(begun[i], static_cast<int64_t>(11 * (i - 9))) << i;
  }
}

TEST(LimitsTest, AWorkersRateHoldsForAllTypesTogether) {
  TestEnvironmentOptions options;
  options.max_activities_per_second = 2;
  TestEnvironment env(Limited({}), options);
  const auto run = env.engine().Start("W", 5);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 10);
  std::vector<ActivityCall> calls = env.Calls(kLimited);
  for (ActivityCall& call : env.Calls(kFree)) calls.push_back(std::move(call));
  std::ranges::sort(calls, {}, &ActivityCall::at);
  const auto begun = BegunAt(calls);
  ASSERT_EQ(begun.size(), 10u);
  for (size_t i = 0; i < begun.size(); ++i) {
    EXPECT_GE(begun[i], static_cast<int64_t>(500 * i)) << i;
    EXPECT_LE(begun[i], static_cast<int64_t>(501 * i + 1)) << i;
  }
}

TEST(LimitsTest, BothLimitsOfATypeHold) {
  TestEnvironment env(Limited({.max_concurrent = 1, .max_per_second = 1}));
  env.Mock(kLimited, Same, {.delay = 1500ms});
  const auto run = env.engine().Start("W", 4);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 8);
  const auto begun = BegunAt(env.Calls(kLimited));
  ASSERT_EQ(begun.size(), 4u);
  for (size_t i = 0; i < begun.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(begun[i]), 1500.0 * static_cast<double>(i), 10.0) << i;
  }
}

TEST(LimitsTest, ACancelReachesWhatWaits) {
  TestEnvironment env(Limited({.max_concurrent = 1}));
  env.Mock(kLimited, Same, {.delay = 1min});
  const auto run = env.engine().Start("W", 3);
  ASSERT_TRUE(run.ok()) << run.status();
  env.After(1s, [&] { EXPECT_EQ(run->Cancel(), Status()); });
  EXPECT_EQ(run->Result<int>().status().code(), StatusCode::kCancelled);
  env.Advance(10min);
  EXPECT_EQ(env.Calls(kLimited).size(), 1u) << "the others never begin";
  const auto again = env.engine().Start("W", 1);
  EXPECT_EQ(ResultOf<int>(again).value_or(0), 2) << "and hold no place";
}

TEST(LimitsTest, WrongLimitsAreTold) {
  Registry registry;
  registry.Bind(kLimited, Same, {.max_concurrent = -1});
  registry.Bind("W", FanOut, {.max_concurrent = 1});
  const auto engine = Engine::Open("memory:", registry);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("the activity \"Limited\" must not be negative"));
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("the workflow \"W\" is bound with limits"));
  EngineOptions options;
  options.max_activities_per_second = -1;
  EXPECT_THAT(std::string(Engine::Open("memory:", Registry(), options).status().message()),
              HasSubstr("max_activities_per_second"));
}

TEST(LimitsTest, OptionsThatCannotWorkAreTold) {
  const auto complaint = [](const EngineOptions& options) {
    const auto engine = Engine::Open("memory:", Registry(), options);
    EXPECT_EQ(engine.status().code(), StatusCode::kInvalidArgument);
    return std::string(engine.status().message());
  };
  EXPECT_THAT(complaint({.turn_threads = -1}), HasSubstr("turn_threads is -1, and must be at least 0"));
  EXPECT_THAT(complaint({.activity_threads = 0}), HasSubstr("activity_threads is 0, and must be at least 1"));
  EXPECT_THAT(complaint({.max_async_activities = 0}), HasSubstr("max_async_activities"));
  EXPECT_THAT(complaint({.lease = Duration(0)}), HasSubstr("lease is 0 ms, and must be from 100 to"));
  EXPECT_THAT(complaint({.lease = Duration::max()}), HasSubstr("lease"));
  EXPECT_THAT(complaint({.watchdog = Duration(-1)}), HasSubstr("watchdog is -1 ms, and must be from 0 to"));
  EXPECT_THAT(complaint({.watchdog = Duration::max()}), HasSubstr("watchdog"));
}

TEST(LimitsTest, WithoutAWatchdogTurnsMayTakeTheirTime) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_await ctx.Sleep(Duration(1));
    co_return 3;
  });
  auto engine = Engine::Open("memory:", registry, {.watchdog = Duration(0)});
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(ResultOf<int>(engine->Start("W")).value_or(0), 3);
}

// ---- Over each store

class LimitedWorkersTest : public WorkflowTest {
 protected:
  // A worker that runs at most two of kLimited at a time; each says that it began, and waits for `go`; without one,
  // until it is told to stop.
  Registry Worker(std::atomic<int>& running, Mailbox<int>& began, Mailbox<int>* go) {
    Registry registry;
    registry.Bind("W", FanOut);
    registry.Bind(kFree, Same);
    registry.Bind(
        kLimited,
        [&running, &began, go](ActivityContext& ctx, int x) -> StatusOr<int> {
          EXPECT_LE(++running, 2);
          began.Put(x);
          if (go == nullptr) WaitForStop(ctx.stop_token());
          const int got = go == nullptr ? 0 : go->Take();
          --running;
          if (go == nullptr) return Cancelled("stopped");
          return got;
        },
        {.max_concurrent = 2});
    return registry;
  }
};
INSTANTIATE_TEST_SUITE_P(, LimitedWorkersTest, ::testing::ValuesIn(AllSetups()), SetupName);

// Four run at the same time: two here, two there.
TEST_P(LimitedWorkersTest, WhatOneMayNotBeginAnotherTakes) {
  constexpr int kCalls = 8;
  std::atomic<int> here{0}, there{0};
  Mailbox<int> began, go;
  Engine one = Open(Worker(here, began, &go));
  Engine two = Open(Worker(there, began, &go));
  const auto run = one.Start("W", kCalls);
  ASSERT_TRUE(run.ok()) << run.status();
  for (int i = 0; i < 4; ++i) began.Take();
  EXPECT_EQ(here, 2);
  EXPECT_EQ(there, 2);
  for (int i = 0; i < kCalls; ++i) go.Put(1);
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 2 * kCalls);
}

TEST_P(LimitedWorkersTest, AShutdownLosesNothingThatWaits) {
  constexpr int kCalls = 6;
  std::atomic<int> before{0}, after{0};
  Mailbox<int> began, began_again, go_again;
  std::optional<Engine> one(Open(Worker(before, began, nullptr)));
  const auto started = one->Start("W", kCalls);
  ASSERT_TRUE(started.ok()) << started.status();
  const RunKey key = started->key();
  began.Take();
  began.Take();
  one.reset();
  EXPECT_EQ(began.size(), 0u);
  for (int i = 0; i < kCalls; ++i) go_again.Put(1);
  Engine two = Open(Worker(after, began_again, &go_again));
  EXPECT_EQ(two.Find(key.workflow_id).Result<int>(kPatience).value_or(0), 2 * kCalls);
}

}  // namespace
}  // namespace marathon::tests::limits_test
