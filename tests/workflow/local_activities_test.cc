// Local activities: run by the worker that takes the turn, recorded with it.
// labels: threads
// program: activities
#include <gmock/gmock.h>

#include "fixture.h"
#include "marathon/testing/history_builder.h"
#include "marathon/testing/replay_history.h"
#include "marathon/testing/test_environment.h"

namespace marathon::tests::local_activities_test {
namespace {

using marathon::testing::TestEnvironment;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalActivitiesTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, LocalActivitiesTest, ::testing::ValuesIn(AllSetups()), SetupName);

constexpr ActivityDef<int(int)> kDouble{"Double"};
constexpr ActivityDef<int()> kSeven{"Seven"};
// Of those that wait for others: as long as they may.
constexpr LocalOptions kLong{.start_to_close_timeout = 1min};

int Twice(int x) { return 2 * x; }

TEST_P(LocalActivitiesTest, ItsOutcomeIsAPartOfTheTurn) {
  Registry registry;
  registry.Bind(kDouble, Twice);
  registry.Bind(kSeven, [](ActivityContext& ctx) {
    EXPECT_EQ(ctx.info().local, 3);
    EXPECT_EQ(ctx.info().workflow_type, "W");
    EXPECT_THAT(ctx.idempotency_key(), HasSubstr("/local/3"));
    EXPECT_EQ(ctx.Heartbeat(1), Status());
    EXPECT_EQ(ctx.CompleteLater().status().code(), StatusCode::kFailedPrecondition);
    return 7;
  });
  registry.Bind("W", [](WorkflowContext& ctx, int x) -> Workflow<int> {
    x = co_await ctx.RunLocal(kDouble, x);
    x = co_await ctx.RunLocal<int>("Double", x);
    co_return x + co_await ctx.RunLocal(kSeven);
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W", 2);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 15);
  EXPECT_THAT(Types(*run),
              ElementsAre(EventType::kTurnStarted, EventType::kWorkflowStarted,
                          EventType::kLocalActivityStarted, EventType::kActivityCompleted,
                          EventType::kLocalActivityStarted, EventType::kActivityCompleted,
                          EventType::kLocalActivityStarted, EventType::kActivityCompleted,
                          EventType::kWorkflowCompleted));
  EXPECT_EQ(run->Describe()->activities.size(), 0u);
}

// Each waits until all have begun.
TEST_P(LocalActivitiesTest, SeveralRunSideBySideAndWithOtherThings) {
  constexpr int kCalls = 3;
  Registry registry;
  std::atomic<int> begun{0};
  registry.Bind(kDouble, [&](int x) {
    ++begun;
    EXPECT_TRUE(Eventually([&] { return begun >= kCalls; }));
    return 2 * x;
  });
  registry.Bind(kSeven, [] { return 7; });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ActivityHandle<int>> handles;
    for (int i = 0; i < kCalls; ++i) handles.push_back(ctx.StartLocal(kDouble, i, kLong));
    const auto seven = ctx.Start(kSeven);
    int sum = 0;
    for (const int x : co_await ctx.All(handles)) sum += x;
    co_return sum + co_await seven;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 13);
}

TEST_P(LocalActivitiesTest, MessagesWaitUntilTheTurnIsOver) {
  Registry registry;
  Mailbox<int> began, go;
  registry.Bind(kDouble, [&](int x) {
    began.Put(x);
    return go.Take();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    std::string order;
    const auto on_signal = ctx.OnSignal("s", [&](int) -> Workflow<void> {
      order += "signal ";
      co_return;
    });
    for (int i = 0; i < 2; ++i) {
      const int x = co_await ctx.RunLocal(kDouble, i, kLong);
      order += std::to_string(x) + " ";
    }
    co_await ctx.WaitUntil([&] { return order.find("signal") != order.npos; });
    co_return order;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  began.Take();
  EXPECT_EQ(run->Signal("s", 1), Status());
  go.Put(41);
  go.Put(42);
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "41 42 signal ");
  EXPECT_EQ(began.size(), 1u) << "none was run again";
}

// The signal comes before the close, so the turn is taken again; what it has run, it does not run again.
TEST_P(LocalActivitiesTest, ATurnThatIsTakenAgainKeepsTheirEnds) {
  Registry registry;
  Mailbox<int> began, go;
  registry.Bind(kDouble, [&](int x) {
    began.Put(x);
    return go.Take();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    int signals = 0;
    const auto on_signal = ctx.OnSignal("s", [&](int by) -> Workflow<void> {
      signals += by;
      co_return;
    });
    const int x = co_await ctx.RunLocal(kDouble, 1, kLong);
    co_return x + signals;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  began.Take();
  EXPECT_EQ(run->Signal("s", 100), Status());
  go.Put(1);
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 101);
  EXPECT_EQ(began.size(), 0u);
}

TEST_P(LocalActivitiesTest, AnotherWorkerRunsWhatAShutdownStops) {
  Registry registry;
  Mailbox<int> began;
  std::atomic<bool> patient{false};
  registry.Bind(kDouble, [&](ActivityContext& ctx, int x) -> StatusOr<int> {
    const bool returns = patient;  // before anybody hears of it
    began.Put(ctx.attempt());
    if (returns) return 2 * x;
    WaitForStop(ctx.stop_token());
    return Cancelled("stopped");
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.RunLocal(kDouble, 21, {.start_to_close_timeout = 1min});
  });
  std::optional<Engine> one(Open(registry));
  const auto started = one->Start("W");
  ASSERT_TRUE(started.ok()) << started.status();
  const Id id = started->workflow_id();
  began.Take();
  patient = true;
  one.reset();
  Engine two = Open(registry);
  EXPECT_EQ(two.Find(id).Result<int>(kPatience).value_or(0), 42);
  EXPECT_EQ(began.Take(), 1) << "a worker that goes away is no failed attempt";
}

class LocalGiveBackTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, LocalGiveBackTest, ::testing::Values(Setup{StoreKind::kMemory, 0}), SetupName);

TEST_P(LocalGiveBackTest, AWorkerWithoutItsCodeLeavesTheRunToOthers) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.RunLocal(kDouble, 21); });
  Engine without = Open(registry);
  const auto run = without.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(log_->WaitFor("local activity \"Double\" is not registered in this worker"));
  registry.Bind(kDouble, Twice);
  Engine with = Open(registry);
  EXPECT_EQ(with.Find(run->workflow_id()).Result<int>(kPatience).value_or(0), 42);
}

TEST_P(LocalActivitiesTest, AShutdownDoesNotWaitForTheNextAttempt) {
  static constexpr RetryPolicy kSlowly{.initial_interval = 4s, .jitter = 0};
  Registry registry;
  Mailbox<int> began;
  std::atomic<bool> works{false};
  registry.Bind(kDouble, [&](int x) -> StatusOr<int> {
    const bool succeeds = works;  // before anybody hears of it
    began.Put(x);
    if (succeeds) return 2 * x;
    return Unavailable("not yet");
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.RunLocal(kDouble, 21, {.retry = &kSlowly});
  });
  std::optional<Engine> one(Open(registry));
  const auto started = one->Start("W");
  ASSERT_TRUE(started.ok()) << started.status();
  const Id id = started->workflow_id();
  began.Take();
  works = true;
  one.reset();
  Engine two = Open(registry);
  EXPECT_EQ(two.Find(id).Result<int>(kPatience).value_or(0), 42);
}

TEST_P(LocalActivitiesTest, ACanceledOneIsToldToStop) {
  Registry registry;
  Mailbox<int> begun, stopped;
  registry.Bind(kDouble, [&](ActivityContext& ctx, int x) -> StatusOr<int> {
    begun.Put(x);
    WaitForStop(ctx.stop_token());
    stopped.Put(x);
    return Cancelled("told to");
  });
  registry.Bind(kSeven, [&] { return begun.Take() + begun.Take() + 4; });  // what has not begun never runs
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    auto long_one = ctx.StartLocal(kDouble, 1, kLong);
    auto waits = ctx.StartLocal(
        kDouble, 2, {.start_to_close_timeout = 1min, .cancellation = ActivityCancellation::kWait});
    const int seven = co_await ctx.RunLocal(kSeven, kLong);
    long_one.Cancel();
    waits.Cancel();
    const auto first = co_await ctx.Try(long_one);
    const auto second = co_await ctx.Try(waits);
    const bool both = first.failure().kind == FailureKind::kCanceled &&
                      second.failure().kind == FailureKind::kCanceled;
    co_return both ? seven : 0;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 7);
  EXPECT_EQ(stopped.Take() + stopped.Take(), 3);
}

// ---- In virtual time

TEST(LocalTimesTest, ShortWaitsAreSpentInTheWorkerLongOnesAreDurable) {
  static constexpr RetryPolicy kDoubling{.initial_interval = 2s, .maximum_attempts = 4, .jitter = 0};
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.RunLocal(kDouble, 21, {.retry = &kDoubling});
  });
  TestEnvironment env(registry);
  env.Mock(kDouble, [](ActivityContext& ctx, int x) -> StatusOr<int> {
    if (ctx.attempt() < 4) return Unavailable("not yet");
    return 2 * x;
  });
  const auto run = env.engine().Start("W");
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 42);
  const auto calls = env.Calls(kDouble);
  ASSERT_EQ(calls.size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(calls[static_cast<size_t>(i)].info.local, 1);
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  std::vector<std::string> events;
  for (const Event& event : *history) events.push_back(Describe(event.body));
  EXPECT_THAT(events, ElementsAre("TurnStarted", "WorkflowStarted \"W\"", "LocalActivityStarted \"Double\"",
                                  HasSubstr("ActivityFailed (activity 3)"), "TimerStarted (8000 ms)",
                                  "TurnStarted", "TimerFired (timer 5)", "LocalActivityStarted \"Double\"",
                                  "ActivityCompleted (activity 8)", "WorkflowCompleted"));
}

TEST(LocalTimesTest, TheLastFailureIsThrown) {
  static constexpr RetryPolicy kTwice{.initial_interval = 1min, .maximum_attempts = 2};
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    try {
      co_await ctx.RunLocal(kSeven, {.retry = &kTwice});
    } catch (const ActivityError& error) {
      co_return std::to_string(error.attempt()) + " " + error.failure().message;
    }
    co_return "";
  });
  TestEnvironment env(registry);
  env.Mock(kSeven, []() -> StatusOr<int> { return Unavailable("no luck"); });
  EXPECT_EQ(ResultOf<std::string>(env.engine().Start("W")).value_or(""), "2 no luck");
}

TEST(LocalTimesTest, OneThatTakesTooLongTimesOut) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<bool> {
    try {
      co_await ctx.RunLocal(kDouble, 1, {.start_to_close_timeout = 2s, .retry = &kOneTry});
    } catch (const TimeoutError&) {
      co_return true;
    }
    co_return false;
  });
  TestEnvironment env(registry);
  env.Mock(kDouble, Twice, {.delay = 3s});
  const Time before = env.Now();
  EXPECT_TRUE(ResultOf<bool>(env.engine().Start("W")).value_or(false));
  EXPECT_EQ(std::chrono::duration_cast<std::chrono::seconds>(env.Now() - before).count(), 2);
}

// A turn that has lasted for ten seconds is committed; the rest is the next one's.
// Deadlines of what has ended, and is not recorded yet, go on while its run waits.
TEST(LocalTimesTest, WhatEndsMeanwhileKeepsItsOutcome) {
  Registry registry;
  registry.Bind("Before", [](WorkflowContext& ctx) -> Workflow<int> {
    const int x = co_await ctx.Run(kSeven, {.heartbeat_timeout = 2s, .retry = &kOneTry});
    co_return x + co_await ctx.RunLocal(kDouble, x, {.start_to_close_timeout = 30s});
  });
  registry.Bind("Beside", [](WorkflowContext& ctx) -> Workflow<int> {
    const auto seven = ctx.Start(kSeven, {.start_to_close_timeout = 2s, .retry = &kOneTry});
    const int x = co_await ctx.RunLocal(kDouble, 7, {.start_to_close_timeout = 30s});
    co_return x + co_await seven;
  });
  TestEnvironment env(registry);
  env.Mock(kSeven, [] { return 7; }, {.delay = 1s});
  env.Mock(kDouble, Twice, {.delay = 8s});
  EXPECT_EQ(ResultOf<int>(env.engine().Start("Before")).value_or(0), 21);
  EXPECT_EQ(ResultOf<int>(env.engine().Start("Beside")).value_or(0), 21);
  EXPECT_EQ(env.Calls(kSeven).size(), 2u);
  EXPECT_EQ(env.Calls(kDouble).size(), 2u) << "nor is a turn taken again";
}

TEST(LocalTimesTest, MoreThanATurnHasRoomFor) {
  constexpr int kMany = 1'500;
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ActivityHandle<int>> handles;
    for (int i = 0; i < kMany; ++i) handles.push_back(ctx.StartLocal(kDouble, 1));
    int sum = 0;
    for (const int x : co_await ctx.All(handles)) sum += x;
    co_return sum;
  });
  TestEnvironment env(registry);
  env.Mock(kDouble, Twice);
  EXPECT_EQ(ResultOf<int>(env.engine().Start("W")).value_or(0), 2 * kMany);
  EXPECT_EQ(env.Calls(kDouble).size(), static_cast<size_t>(kMany));
}

TEST(LocalTimesTest, ALoopOfThemIsCommittedInBetween) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    int sum = 0;
    for (int i = 0; i < 20; ++i) sum += co_await ctx.RunLocal(kDouble, 1);
    co_return sum;
  });
  TestEnvironment env(registry);
  env.Mock(kDouble, Twice, {.delay = 2s});
  const auto run = env.engine().Start("W");
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 40);
  EXPECT_EQ(env.Calls(kDouble).size(), 20u);
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  int turns = 0;
  for (const Event& event : *history) turns += TypeOf(event.body) == EventType::kTurnStarted ? 1 : 0;
  EXPECT_EQ(turns, 4) << "five calls each";
}

TEST(LocalTimesTest, ACancelOfTheRunEndsTheWaitForTheNextAttempt) {
  static constexpr RetryPolicy kHourly{.initial_interval = 1h};
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<void> {
    co_await ctx.RunLocal(kSeven, {.retry = &kHourly});
  });
  TestEnvironment env(registry);
  env.Mock(kSeven, []() -> StatusOr<int> { return Unavailable("no luck"); });
  const auto run = env.engine().Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  env.After(1min, [&] { EXPECT_EQ(run->Cancel(), Status()); });
  EXPECT_EQ(run->Result().code(), StatusCode::kCancelled);
  EXPECT_EQ(env.Calls(kSeven).size(), 1u);
}

TEST(LocalTimesTest, ATimeThatIsTooLongIsRefused) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<void> {
    co_await ctx.RunLocal(kSeven, {.start_to_close_timeout = 61s});
  });
  TestEnvironment env(registry);
  EXPECT_THAT(std::string(ResultOf(env.engine().Start("W")).message()), HasSubstr("must be 1 to 60000"));
}

TEST(LocalTimesTest, TheLibrarysOwnAreRefused) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<void> { co_await ctx.RunLocal<int>("marathon.cancel", 1); });
  TestEnvironment env(registry);
  EXPECT_THAT(std::string(ResultOf(env.engine().Start("W")).message()), HasSubstr("cannot run locally"));
}

TEST(LocalTimesTest, ReplayComparesThem) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, int x) -> Workflow<int> {
    co_return co_await ctx.RunLocal(kDouble, x);
  });
  const auto history = [](std::string_view type) {
    return *marathon::testing::HistoryBuilder()
                .Started("W", 2)
                .LocalActivityStarted(type)
                .ActivityCompleted(type, 4)
                .Completed(4)
                .Build();
  };
  EXPECT_EQ(marathon::testing::ReplayHistory(registry, history("Double")), Status());
  EXPECT_THAT(std::string(marathon::testing::ReplayHistory(registry, history("Other")).message()),
              HasSubstr("history has LocalActivityStarted \"Other\", the code issued LocalActivityStarted \"Double\""));
}

}  // namespace
}  // namespace marathon::tests::local_activities_test
