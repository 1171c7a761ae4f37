// The test environment, as a user's tests see it: time that skips, mocks, and what it says when nothing
// moves any more.
// needs: testing
// program: testing
#include <gmock/gmock.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/script.h"
#include "marathon/testing/test_environment.h"

namespace marathon::testing::test_environment_test {

struct Order {
  std::string id;
  double amount = 0;
  friend bool operator==(const Order&, const Order&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)

namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

inline constexpr ActivityDef<std::string(Order)> kCharge{"Charge"};
inline constexpr ActivityDef<void(std::string)> kMail{"Mail"};
inline constexpr SignalDef<bool> kApproved{"approved"};
inline constexpr WorkflowDef<std::string(Order)> kCheckout{"Checkout"};
inline constexpr RetryPolicy kThreeTries{.initial_interval = 10s, .maximum_attempts = 3, .jitter = 0};

const Order kOrder{"o-1", 9.5};

// Charges, then waits a month for approval.
Workflow<std::string> Checkout(WorkflowContext& ctx, Order order) {
  std::string receipt =
      co_await ctx.Run(kCharge, order, {.start_to_close_timeout = 1min, .retry = &kThreeTries});
  const std::optional<bool> approved = co_await ctx.Receive(kApproved, 30 * 24h);
  if (!approved) co_await ctx.Run(kMail, receipt);
  co_return !approved ? "nobody answered" : *approved ? receipt : "declined";
}

class CollectingLog final : public LogSink {
 public:
  void Log(LogLevel, std::string_view message) override { text += std::string(message) + "\n"; }
  std::string text;
};

Registry Code() {
  Registry registry;
  registry.Bind(kCheckout, Checkout);
  return registry;
}

class TestEnvironmentTest : public ::testing::TestWithParam<size_t> {
 protected:
  TestEnvironmentOptions Options() {
    TestEnvironmentOptions options;
    options.cache_runs = GetParam();
    options.log = log_;
    return options;
  }
  std::shared_ptr<CollectingLog> log_ = std::make_shared<CollectingLog>();
};
INSTANTIATE_TEST_SUITE_P(, TestEnvironmentTest, ::testing::Values(0u, 10'000u),
                         [](const auto& cache) { return cache.param == 0 ? "NoCache" : "Cache"; });

TEST_P(TestEnvironmentTest, AnUpdateThatTakesAMonthIsAnsweredAtOnce) {
  Registry registry;
  registry.Bind("Slow", [](WorkflowContext& ctx) -> Workflow<void> {
    bool over = false;
    auto slow = ctx.OnUpdate("slow", [&](int x) -> Workflow<int> {
      co_await ctx.Sleep(30 * 24h);
      over = true;
      co_return x + 1;
    });
    co_await ctx.WaitUntil([&] { return over; });
  });
  TestEnvironment env(registry, Options());
  auto run = env.engine().Start("Slow");
  ASSERT_TRUE(run.ok()) << run.status();
  const auto answer = run->Update<int>("slow", 1);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, 2);
  EXPECT_EQ(run->Result(), absl::OkStatus());
}

// Not by the time of the last turn.
TEST_P(TestEnvironmentTest, AValidatorSeesTheTimeThatItIs) {
  Registry registry;
  registry.Bind("Offer", [](WorkflowContext& ctx) -> Workflow<int> {
    const Time deadline = ctx.Now() + 24h;
    int bids = 0;
    auto bid = ctx.OnUpdate(
        "bid", [&](int) { return ++bids; },
        [&](const int&) {
          if (ctx.Now() > deadline) throw ApplicationError("too late");
        });
    co_await ctx.Receive<bool>("close");
    co_return bids;
  });
  TestEnvironment env(registry, Options());
  auto run = env.engine().Start("Offer");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Update<int>("bid", 1).value_or(0), 1);
  env.After(48h, [&] {
    EXPECT_EQ(run->Update<int>("bid", 2).status().code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(run->Signal("close", true).ok());
  });
  EXPECT_EQ(run->Result<int>().value_or(0), 1);
}

TEST_P(TestEnvironmentTest, AMonthPassesAtOnce) {
  TestEnvironment env(Code(), Options());
  env.Mock(kCharge, [](const Order& order) { return "receipt of " + order.id; });
  env.Mock(kMail, Script<void>().Returns());
  const Time start = env.Now();
  const auto run = env.engine().Start(kCheckout, kOrder);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Result<std::string>().value(), "nobody answered");
  EXPECT_GE(env.Now() - start, 30 * 24h);
  EXPECT_LT(env.Now() - start, 30 * 24h + 1s);
  EXPECT_THAT(env.Inputs(kCharge), ElementsAre(kOrder));
  EXPECT_THAT(env.Inputs<std::string>("Mail"), ElementsAre("receipt of o-1"));
}

TEST_P(TestEnvironmentTest, SignalsComeAtTheirTime) {
  TestEnvironment env(Code(), Options());
  env.Mock(kCharge, Script<std::string>().Returns("r-1"));
  const auto one = env.engine().Start(kCheckout, kOrder, {.workflow_id = "one"});
  const auto two = env.engine().Start(kCheckout, kOrder, {.workflow_id = "two"});
  const Time start = env.Now();
  env.After(24h, [&] { EXPECT_TRUE(one->Signal(kApproved, true).ok()); });
  env.At(start + 48h, [&] { EXPECT_TRUE(env.engine().Find("two").Signal(kApproved, false).ok()); });
  EXPECT_EQ(one->Result<std::string>().value(), "r-1");
  EXPECT_EQ(env.Now(), start + 24h);
  EXPECT_EQ(two->Result<std::string>().value(), "declined");
  EXPECT_EQ(env.Now(), start + 48h);
}

// Children are the registry's own; their activities are doubled as anybody's.
TEST_P(TestEnvironmentTest, ChildrenLiveInItsTimeToo) {
  Registry registry = Code();
  registry.Bind("Parent", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const Order order = kOrder;
    co_return co_await ctx.RunChild(kCheckout, order);
  });
  TestEnvironment env(registry, Options());
  env.Mock(kCharge, Script<std::string>().Returns("r-1"));
  env.Mock(kMail, Script<void>().Returns());
  const Time start = env.Now();
  const auto run = env.engine().Start("Parent");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Result<std::string>().value(), "nobody answered");
  EXPECT_LT(env.Now() - start, 30 * 24h + 1s);
}

TEST_P(TestEnvironmentTest, TimeIsTheTestsOwn) {
  TestEnvironmentOptions options = Options();
  options.start = FromMicros(1'000'000'000'000'000);
  TestEnvironment env(Code(), options);
  EXPECT_EQ(env.Now(), options.start);
  env.Mock(kCharge, Script<std::string>().Returns("r-1"), {.delay = 5s});
  const auto run = env.engine().Start(kCheckout, kOrder);
  env.RunUntilIdle();
  EXPECT_EQ(env.Now(), options.start);
  EXPECT_EQ(run->Describe()->activities.size(), 1u);
  env.Advance(4s);
  EXPECT_EQ(run->Describe()->activities.size(), 1u);
  env.Advance(1s);
  EXPECT_EQ(run->Describe()->activities.size(), 0u);
  EXPECT_EQ(env.Now(), options.start + 5s);
  EXPECT_EQ(run->Result(1h).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(env.Now(), options.start + 5s + 1h);
  ASSERT_TRUE(run->Terminate("enough").ok());
  EXPECT_EQ(run->Result().code(), StatusCode::kCancelled);
  EXPECT_EQ(Describe(run->History()->back().body), "WorkflowTerminated: enough");
}

TEST_P(TestEnvironmentTest, AScriptFailsAndThenSucceeds) {
  TestEnvironment env(Code(), Options());
  env.Mock(kCharge, Script<std::string>().Fails("the line is busy", 2).Returns("r-3"));
  const Time start = env.Now();
  const auto run = env.engine().Start(kCheckout, kOrder);
  ASSERT_TRUE(run->Signal(kApproved, true).ok());
  EXPECT_EQ(run->Result<std::string>().value(), "r-3");
  EXPECT_EQ(env.Now(), start + 10s + 20s);  // the policy's back-off
  const std::vector<ActivityCall> calls = env.Calls(kCharge);
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_THAT(calls[0].outcome->status().ToString(), HasSubstr("the line is busy"));
  EXPECT_EQ(calls[2].info.attempt, 3);
  EXPECT_EQ(calls[2].at, start + 30s);
  EXPECT_EQ(calls[2].outcome->value(), *Encode(std::string("r-3")));
}

TEST_P(TestEnvironmentTest, ALastFailureIsTheRuns) {
  TestEnvironment env(Code(), Options());
  env.Mock(kCharge, Script<std::string>().Fails({.non_retryable = true, .type = "CardDeclined"}));
  const auto run = env.engine().Start(kCheckout, kOrder);
  const auto result = run->Result<std::string>();
  ASSERT_EQ(result.status().code(), StatusCode::kAborted);
  EXPECT_EQ(GetFailure(result.status())->type, "CardDeclined");
  EXPECT_EQ(env.Calls(kCharge).size(), 1u);
}

TEST_P(TestEnvironmentTest, AMockStandsBeforeWhatIsBound) {
  Registry registry = Code();
  registry.Bind(kCharge, [](const Order&) { return std::string("bound"); });
  TestEnvironment env(registry, Options());
  const auto result = [&] {
    const auto run = env.engine().Start(kCheckout, kOrder);
    EXPECT_TRUE(run->Signal(kApproved, true).ok());
    return run->Result<std::string>().value();
  };
  EXPECT_EQ(result(), "bound");
  env.Mock("Charge", [](ActivityContext& ctx, const Order&) { return ctx.info().activity_type; });
  EXPECT_EQ(result(), "Charge");
  env.Unmock("Charge");
  EXPECT_EQ(result(), "bound");
  EXPECT_EQ(env.Calls("Charge").size(), 3u);
}

TEST_P(TestEnvironmentTest, WhatIsNeitherMockedNorBoundFailsForGood) {
  TestEnvironment env(Code(), Options());
  const auto run = env.engine().Start(kCheckout, kOrder);
  const auto result = run->Result<std::string>();
  EXPECT_THAT(result.status().ToString(),
              HasSubstr("activity \"Charge\" is neither mocked nor registered"));
  EXPECT_EQ(GetFailure(result.status())->type, failure_type::kUnregistered);
  EXPECT_EQ(env.Calls(kCharge).size(), 1u);
}

// A minute is its deadline; the policy gives it three attempts.
TEST_P(TestEnvironmentTest, AMockThatTakesTooLongTimesOut) {
  TestEnvironment env(Code(), Options());
  env.Mock(kCharge, Script<std::string>().Returns("late"), {.delay = 61s});
  const Time start = env.Now();
  const auto run = env.engine().Start(kCheckout, kOrder);
  const auto result = run->Result<std::string>();
  EXPECT_EQ(GetFailure(result.status())->timeout, TimeoutKind::kStartToClose);
  EXPECT_EQ(env.Now() - start, 3 * 60s + 10s + 20s);
}

TEST_P(TestEnvironmentTest, ACanceledMockEnds) {
  Registry registry;
  registry.Bind("Impatient", [](WorkflowContext& ctx) -> Workflow<std::string> {
    auto charge = ctx.Start(kCharge, kOrder);
    co_await ctx.Sleep(3s);
    charge.Cancel();
    co_await ctx.Sleep(1h);
    co_return "gave up";
  });
  TestEnvironment env(registry, Options());
  env.Mock(kCharge, Script<std::string>().Returns("late"), {.delay = 30min});
  const auto run = env.engine().Start("Impatient");
  EXPECT_EQ(run->Result<std::string>().value(), "gave up");
  const std::vector<ActivityCall> calls = env.Calls(kCharge);
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(GetFailure(calls[0].outcome->status())->kind, FailureKind::kCanceled);
}

TEST_P(TestEnvironmentTest, AnAsynchronousMockIsCompletedByTheTest) {
  std::optional<ActivityCompletion<std::string>> held;
  std::string token;
  TestEnvironment env(Code(), Options());
  env.Mock(kCharge, [&](const Order&, ActivityCompletion<std::string> done) {
    held.emplace(std::move(done));
  });
  const auto one = env.engine().Start(kCheckout, kOrder);
  env.RunUntilIdle();
  ASSERT_TRUE(held.has_value());
  held->Complete("by hand");
  ASSERT_TRUE(one->Signal(kApproved, true).ok());
  EXPECT_EQ(one->Result<std::string>().value(), "by hand");

  env.Mock(kCharge, [&](ActivityContext& ctx, const Order&) {
    token = ctx.CompleteLater().value();
    return std::string();
  });
  const auto two = env.engine().Start(kCheckout, kOrder);
  ASSERT_TRUE(two->Signal(kApproved, true).ok());
  env.RunUntilIdle();
  ASSERT_TRUE(env.engine().CompleteActivity(token, std::string("by token")).ok());
  EXPECT_EQ(two->Result<std::string>().value(), "by token");
}

// Activities may call the engine, and wait for it: time skips for them, too.
TEST_P(TestEnvironmentTest, AnActivityWaitsForAnotherRun) {
  TestEnvironment env(Code(), Options());
  env.Mock(kMail, Script<void>().Returns());
  env.Mock(kCharge, [&](const Order& order) {
    if (order.id == "inner") return std::string("r-2");
    const auto run = env.engine().Start(kCheckout, Order{"inner", 1});
    env.After(5s, [run] { EXPECT_TRUE(run->Signal(kApproved, true).ok()); });
    return "outer " + run->Result<std::string>().value();
  });
  const auto run = env.engine().Start(kCheckout, kOrder);
  ASSERT_TRUE(run->Signal(kApproved, true).ok());
  EXPECT_EQ(run->Result<std::string>().value(), "outer r-2");
}

TEST_P(TestEnvironmentTest, ARunThatWaitsForEverIsTold) {
  Registry registry;
  registry.Bind("Waits", [](WorkflowContext& ctx) -> Workflow<int> {
    auto charge = ctx.Start(kCharge, kOrder);
    co_return co_await ctx.Receive<int>("never");
  });
  TestEnvironmentOptions options = Options();
  options.max_steps = 2'000;
  TestEnvironment env(registry, options);
  env.Mock(kCharge, Script<std::string>().Fails("no network"));
  const auto run = env.engine().Start("Waits", {.workflow_id = "w"});
  const auto result = run->Result<int>();
  EXPECT_EQ(result.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("\"w\" has not ended"));
  EXPECT_THAT(log_->text, AllOf(HasSubstr("\"w\" (Waits)"), HasSubstr("\"Charge\", attempt"),
                                HasSubstr("no network")));
}

TEST_P(TestEnvironmentTest, CodeThatDoesNotRepeatItselfIsTold) {
  Registry registry;
  registry.Bind("Moody", [calls = std::make_shared<int>()](WorkflowContext& ctx) -> Workflow<void> {
    if (++*calls % 2 == 0) co_await ctx.Run(kMail, std::string());
    co_await ctx.Sleep(1s);
  });
  TestEnvironment env(registry, Options());
  env.Mock(kMail, Script<void>().Returns());
  const auto run = env.engine().Start("Moody");
  EXPECT_EQ(run->Result().code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(env.DescribeOpenRuns(), AllOf(HasSubstr("blocked"), HasSubstr("TimerStarted"),
                                            HasSubstr("ActivityScheduled \"Mail\""),
                                            HasSubstr("test_environment_test.cc")));
}

// The second waits for its moment, and the third is only a sign of life. In virtual time, which an attempt's is, too.
TEST_P(TestEnvironmentTest, AHeartbeatWithoutDetailsTakesNoneAway) {
  std::optional<ActivityCompletion<int>> held;
  ActivityContext* context = nullptr;
  Registry registry;
  registry.Bind("Hang", [&](ActivityContext& ctx, int, ActivityCompletion<int> done) {
    const StatusOr<int> progress = ctx.LastHeartbeat<int>();
    if (progress.ok()) return done.Complete(*progress + ctx.attempt());
    for (const int details : {39, 40}) EXPECT_TRUE(ctx.Heartbeat(details).ok());
    EXPECT_TRUE(ctx.Heartbeat().ok());
    EXPECT_EQ(ctx.elapsed(), 0ms);
    context = &ctx;
    held.emplace(std::move(done));
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run<int>("Hang", 1, {.heartbeat_timeout = 60s, .retry = &kThreeTries});
  });
  TestEnvironment env(registry, Options());
  const auto run = env.engine().Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  env.Advance(50s);
  ASSERT_TRUE(held.has_value());
  EXPECT_EQ(context->elapsed(), 50s);
  EXPECT_EQ(run->Result<int>().value(), 42);
}

// What still runs at the end keeps nobody, and what outlives the environment is harmless.
TEST_P(TestEnvironmentTest, ItEndsInTheMiddleOfThings) {
  std::optional<ActivityCompletion<std::string>> held;
  std::optional<marathon::Run> run;
  {
    TestEnvironment env(Code(), Options());
    env.Mock(kCharge, Script<std::string>().Returns("late"), {.delay = 30s});
    ASSERT_TRUE(env.engine().Start(kCheckout, kOrder).ok());
    env.RunUntilIdle();
    env.Mock(kCharge, [&](const Order&, ActivityCompletion<std::string> done) {
      held.emplace(std::move(done));
    });
    run = env.engine().Start(kCheckout, kOrder).value();
    env.RunUntilIdle();
    ASSERT_TRUE(held.has_value());
  }
  EXPECT_EQ(run->Result().code(), StatusCode::kFailedPrecondition);
  held->Complete("nobody hears");
}

TEST(TestEnvironmentCourseTest, TheSameTestTakesTheSameCourse) {
  const auto course = [](uint64_t seed) {
    TestEnvironmentOptions options;
    options.seed = seed;
    TestEnvironment env(Code(), options);
    env.Mock(kCharge, Script<std::string>().Returns("r"), {.delay = 1s});
    std::vector<marathon::Run> runs;
    for (int i = 0; i < 8; ++i) {
      const Order order{std::to_string(i), 1};
      runs.push_back(env.engine().Start(kCheckout, order, {.workflow_id = order.id}).value());
    }
    env.Advance(10s);
    std::string text;
    for (const marathon::Run& run : runs) text += run.run_id().str() + run.Describe()->run.owner + " ";
    for (const Order& order : env.Inputs(kCharge)) text += order.id;
    return text;
  };
  EXPECT_EQ(course(1), course(1));
  EXPECT_NE(course(1), course(2));
}

TEST(TestEnvironmentDeathTest, ARegistryWithMistakesIsRefused) {
  Registry registry = Code();
  registry.Bind(kCheckout, Checkout);
  EXPECT_DEATH(TestEnvironment{registry}, "\"Checkout\" is bound twice");
}

}  // namespace
}  // namespace marathon::testing::test_environment_test
