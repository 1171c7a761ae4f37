// Concurrency keys: of the activities with one key no more are at work at a time than may, wherever they run.
// labels: threads
// program: activities
#include <gmock/gmock.h>

#include "fixture.h"
#include "marathon/testing/test_environment.h"

namespace marathon::tests::concurrency_keys_test {
namespace {

using marathon::testing::ActivityCall;
using marathon::testing::TestEnvironment;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ActivityDef<int(int)> kCall{"Call"};

int Same(int x) { return x; }

// Starts so many at once, numbered from 0, all with one key, and adds up what they give.
template <int kMax>
Workflow<int> FanOut(WorkflowContext& ctx, int calls) {
  std::vector<ActivityHandle<int>> handles;
  for (int i = 0; i < calls; ++i) {
    handles.push_back(ctx.Start(kCall, i, {.concurrency_key = "customer 7", .max_per_key = kMax}));
  }
  int sum = 0;
  for (const int value : co_await ctx.All(handles)) sum += value;
  co_return sum;
}

// When each attempt began, in whole seconds after the first.
std::vector<int64_t> BegunAt(const TestEnvironment& env) {
  std::vector<int64_t> begun;
  const std::vector<ActivityCall> calls = env.Calls(kCall);
  for (const ActivityCall& call : calls) {
    begun.push_back((ToMicros(call.at) - ToMicros(calls.front().at) + 500'000) / 1'000'000);
  }
  return begun;
}

template <class W>
Registry With(W workflow) {
  Registry registry;
  registry.Bind("W", workflow);
  registry.Bind(kCall, Same);
  return registry;
}

// ---- In virtual time

TEST(ConcurrencyKeysTest, OneAfterAnotherInTheirOrder) {
  TestEnvironment env(With(FanOut<1>));
  env.Mock(kCall, Same, {.delay = 10s});
  EXPECT_EQ(ResultOf<int>(env.engine().Start("W", 5)).value_or(0), 10);
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 10, 20, 30, 40));
  EXPECT_THAT(env.Inputs(kCall), ElementsAre(0, 1, 2, 3, 4));
}

TEST(ConcurrencyKeysTest, AsManyAsMay) {
  TestEnvironment env(With(FanOut<2>));
  env.Mock(kCall, Same, {.delay = 10s});
  EXPECT_EQ(ResultOf<int>(env.engine().Start("W", 5)).value_or(0), 10);
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 0, 10, 10, 20));
}

TEST(ConcurrencyKeysTest, RunsShareAKeyAndOtherKeysAndTaskQueuesAreApart) {
  Registry registry = With([](WorkflowContext& ctx, std::string key) -> Workflow<int> {
    const std::string queue = key == "elsewhere" ? "elsewhere" : "";
    if (key == "elsewhere") key = "a";
    co_return co_await ctx.Run(kCall, 1, {.task_queue = queue, .concurrency_key = key});
  });
  testing::TestEnvironmentOptions options;
  options.task_queues = {"default", "elsewhere"};
  TestEnvironment env(registry, options);
  env.Mock(kCall, Same, {.delay = 10s});
  std::vector<StatusOr<marathon::Run>> runs;
  for (const char* const key : {"a", "a", "b", "elsewhere", ""}) {
    runs.push_back(env.engine().Start("W", std::string(key)));
  }
  for (const auto& run : runs) EXPECT_EQ(ResultOf<int>(run).value_or(0), 1);
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 0, 0, 0, 10));
}

TEST(ConcurrencyKeysTest, WhoWaitsUsesUpNoAttemptAndNoTime) {
  TestEnvironment env(With([](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ActivityHandle<int>> handles;
    for (int i = 0; i < 4; ++i) {
      handles.push_back(ctx.Start(kCall, 1, {.start_to_close_timeout = 150s, .retry = &kOneTry, .concurrency_key = "k"}));
    }
    int sum = 0;
    for (const int value : co_await ctx.All(handles)) sum += value;
    co_return sum;
  }));
  env.Mock(kCall, Same, {.delay = 100s});
  const auto run = env.engine().Start("W");
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->Result<int>().value_or(0), 4);
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 100, 200, 300)) << "no back-off is waited for";
  for (const ActivityCall& call : env.Calls(kCall)) {
    EXPECT_EQ(call.info.attempt, 1);
    EXPECT_EQ(call.info.deliveries, 0);
  }
}

TEST(ConcurrencyKeysTest, ABackOffLeavesThePlace) {
  static constexpr RetryPolicy kLater{.initial_interval = 15s, .jitter = 0};
  TestEnvironment env(With([](WorkflowContext& ctx) -> Workflow<int> {
    auto first = ctx.Start(kCall, 0, {.retry = &kLater, .concurrency_key = "k"});
    auto second = ctx.Start(kCall, 1, {.concurrency_key = "k"});
    auto third = ctx.Start(kCall, 2, {.concurrency_key = "k"});
    const auto [a, b, c] = co_await ctx.All(first, second, third);
    co_return a + b + c;
  }));
  env.Mock(
      kCall,
      [](ActivityContext& ctx, int x) -> StatusOr<int> {
        if (x == 0 && ctx.attempt() == 1) return Unavailable("once more");
        return x;
      },
      {.delay = 10s});
  EXPECT_EQ(ResultOf<int>(env.engine().Start("W")).value_or(0), 3);
  EXPECT_THAT(env.Inputs(kCall), ElementsAre(0, 1, 2, 0));
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 10, 20, 30)) << "and the retry waits its turn";
}

TEST(ConcurrencyKeysTest, WhatCompletesLaterKeepsItsPlace) {
  TestEnvironment env(With(FanOut<1>));
  std::string token;
  env.Mock(kCall, [&](ActivityContext& ctx, int x) {
    if (x == 0) token = ctx.CompleteLater().value_or("");
    return x;
  });
  const auto run = env.engine().Start("W", 2);
  env.Advance(5min);
  EXPECT_EQ(env.Calls(kCall).size(), 1u);
  EXPECT_TRUE(env.engine().CompleteActivity(token, 40).ok());
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 41);
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 300)) << "at once";
}

TEST(ConcurrencyKeysTest, WhatWasToCompleteLaterAndDidNotLeavesItsPlace) {
  TestEnvironment env(With([](WorkflowContext& ctx) -> Workflow<std::string> {
    auto never = ctx.Start(kCall, 0, {.start_to_close_timeout = 100s, .retry = &kOneTry, .concurrency_key = "k"});
    auto next = ctx.Start(kCall, 7, {.concurrency_key = "k"});
    const bool failed = !(co_await ctx.Try(never)).ok();
    const int seven = co_await next;
    co_return std::to_string(seven) + (failed ? " failed" : "");
  }));
  env.Mock(kCall, [&](ActivityContext& ctx, int x) {
    if (x == 0) ctx.CompleteLater().IgnoreError();
    return x;
  });
  EXPECT_EQ(ResultOf<std::string>(env.engine().Start("W")).value_or(""), "7 failed");
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 100));
}

TEST(ConcurrencyKeysTest, ACanceledWaiterHoldsNobodyUp) {
  TestEnvironment env(With([](WorkflowContext& ctx) -> Workflow<std::string> {
    auto first = ctx.Start(kCall, 0, {.concurrency_key = "k"});
    auto second = ctx.Start(kCall, 1, {.concurrency_key = "k"});
    auto third = ctx.Start(kCall, 2, {.concurrency_key = "k"});
    co_await ctx.Sleep(5s);
    second.Cancel();
    const bool canceled = !(co_await ctx.Try(second)).ok();
    const auto [a, c] = co_await ctx.All(first, third);
    co_return std::to_string(a + c) + (canceled ? " canceled" : "");
  }));
  env.Mock(kCall, Same, {.delay = 10s});
  EXPECT_EQ(ResultOf<std::string>(env.engine().Start("W")).value_or(""), "2 canceled");
  EXPECT_THAT(env.Inputs(kCall), ElementsAre(0, 2));
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 10));
}

TEST(ConcurrencyKeysTest, TerminatedRunsLeaveTheirPlacesAndTurns) {
  TestEnvironment env(With(FanOut<1>));
  env.Mock(kCall, Same, {.delay = 5min});
  const auto first = env.engine().Start("W", 2);
  ASSERT_TRUE(first.ok());
  env.Advance(1s);
  const auto second = env.engine().Start("W", 1);
  env.Advance(1s);
  EXPECT_EQ(first->Terminate("enough"), Status());
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->Result<int>().value_or(-1), 0);
  const std::vector<int64_t> begun = BegunAt(env);
  ASSERT_EQ(begun.size(), 2u) << "of the first run one has begun, and the other never does";
  EXPECT_LE(begun[1], 60) << "when the worker has heard that its activity's run has ended";
}

TEST(ConcurrencyKeysTest, ScheduleToCloseBoundsTheWait) {
  TestEnvironment env(With([](WorkflowContext& ctx) -> Workflow<std::string> {
    auto first = ctx.Start(kCall, 0, {.start_to_close_timeout = 1h, .concurrency_key = "k"});
    auto second = ctx.Start(kCall, 1, {.schedule_to_close_timeout = 5min, .concurrency_key = "k"});
    const auto refused = co_await ctx.Try(second);
    const int zero = co_await first;
    co_return refused.failure().type + std::to_string(zero);
  }));
  env.Mock(kCall, Same, {.delay = 30min});
  const auto run = env.engine().Start("W");
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->Result<std::string>().value_or(""), "marathon.Timeout0");
  EXPECT_EQ(env.Calls(kCall).size(), 1u);
}

TEST(ConcurrencyKeysTest, APostponedAttemptLeavesItsPlace) {
  TestEnvironment env(With(FanOut<1>));
  env.Mock(kCall, [](ActivityContext& ctx, int x, ActivityCompletion<int> done) {
    if (x == 0 && ctx.LastHeartbeat<int>().value_or(0) == 0) return done.Postpone(20s, 1);
    done.Complete(x);
  });
  EXPECT_EQ(ResultOf<int>(env.engine().Start("W", 2)).value_or(0), 1);
  EXPECT_THAT(env.Inputs(kCall), ElementsAre(0, 1, 0));
  EXPECT_THAT(BegunAt(env), ElementsAre(0, 0, 20));
}

TEST(ConcurrencyKeysTest, WhatWaitsIsSeenInTheRunsDescription) {
  TestEnvironment env(With(FanOut<1>));
  env.Mock(kCall, Same, {.delay = 1h});
  const auto run = env.engine().Start("W", 2);
  ASSERT_TRUE(run.ok());
  env.Advance(1s);
  const auto description = run->Describe();
  ASSERT_TRUE(description.ok());
  ASSERT_EQ(description->activities.size(), 2u);
  EXPECT_EQ(description->activities[0].state, ActivityState::kClaimed);
  const ActivityRow& waits = description->activities[1];
  EXPECT_EQ(waits.state, ActivityState::kBackoff);
  EXPECT_EQ(waits.policy.concurrency_key, "customer 7");
  EXPECT_FALSE(waits.last_failure.has_value());
}

TEST(ConcurrencyKeysTest, WrongKeysAndNumbersFailTheCall) {
  const auto failure_of = [](const ActivityOptions& options) {
    TestEnvironment env(With([&options](WorkflowContext& ctx) -> Workflow<int> {
      co_return co_await ctx.Run(kCall, 1, options);
    }));
    return FailureOf(ResultOf<int>(env.engine().Start("W")).status());
  };
  const std::string too_long(limits::kMaxIdBytes + 1, 'k');
  EXPECT_THAT(failure_of({.concurrency_key = too_long}).message, HasSubstr("a concurrency_key must have"));
  EXPECT_EQ(failure_of({.concurrency_key = "a\nb"}).type, failure_type::kEncode);
  EXPECT_THAT(failure_of({.concurrency_key = "k", .max_per_key = 0}).message, HasSubstr("max_per_key is 1 to"));
  EXPECT_EQ(failure_of({.max_per_key = limits::kMaxPlaces + 1}).type, failure_type::kEncode);
}

TEST(ConcurrencyKeysTest, AStoreWithoutALimiterSaysSo) {
  ThreadRuntime runtime(1, 1);
  {
    const Ports memory = NewMemoryPorts(runtime);
    auto engine = Engine::Open(Ports{memory.store, memory.queue}, With(FanOut<1>));
    ASSERT_TRUE(engine.ok()) << engine.status();
    const Failure failure = FailureOf(ResultOf<int>(engine->Start("W", 1)).status());
    EXPECT_EQ(failure.type, failure_type::kNoPlace);
    EXPECT_THAT(failure.message, HasSubstr("has no limiter"));
  }
  runtime.Stop();
}

// ---- Over each store

class KeyedWorkersTest : public WorkflowTest {
 protected:
  // A worker whose activities say that they began, and wait for `go`, or to be told to stop.
  Registry Worker(std::atomic<int>& running, int most, Mailbox<int>& began, Mailbox<int>* go) {
    Registry registry;
    registry.Bind("W", FanOut<2>);
    registry.Bind(kCall, [&running, most, &began, go](ActivityContext& ctx, int x) -> StatusOr<int> {
      EXPECT_LE(++running, most);
      began.Put(x);
      if (go == nullptr) WaitForStop(ctx.stop_token());
      const int got = go == nullptr ? 0 : go->Take();
      --running;
      if (go == nullptr) return Cancelled("stopped");
      return got;
    });
    return registry;
  }
};
INSTANTIATE_TEST_SUITE_P(, KeyedWorkersTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(KeyedWorkersTest, TwoWorkersTogetherRunNoMoreThanMay) {
  constexpr int kCalls = 12;
  std::atomic<int> running{0};
  Mailbox<int> began, go;
  Engine one = Open(Worker(running, 2, began, &go));
  Engine two = Open(Worker(running, 2, began, &go));
  const auto first = one.Start("W", kCalls / 2);
  const auto second = two.Start("W", kCalls / 2);
  ASSERT_TRUE(first.ok() && second.ok());
  for (int i = 0; i < kCalls; ++i) {
    began.Take();
    go.Put(1);
  }
  EXPECT_EQ(first->Result<int>(kPatience).value_or(0), kCalls / 2);
  EXPECT_EQ(second->Result<int>(kPatience).value_or(0), kCalls / 2);
}

TEST_P(KeyedWorkersTest, AShutdownLeavesItsPlaces) {
  constexpr int kCalls = 4;
  std::atomic<int> before{0}, after{0};
  Mailbox<int> began, began_again, go_again;
  std::optional<Engine> one(Open(Worker(before, 2, began, nullptr)));
  const auto started = one->Start("W", kCalls);
  ASSERT_TRUE(started.ok()) << started.status();
  const RunKey key = started->key();
  began.Take();
  began.Take();
  one.reset();
  for (int i = 0; i < kCalls; ++i) go_again.Put(1);
  Engine two = Open(Worker(after, 2, began_again, &go_again));
  EXPECT_EQ(two.Find(key.workflow_id).Result<int>(kPatience).value_or(0), kCalls);
}

}  // namespace
}  // namespace marathon::tests::concurrency_keys_test
