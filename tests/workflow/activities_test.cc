// Activities as workflows see them: callables of every form, failures, retries, deadlines, heartbeats,
// cancellation, and outcomes that come from elsewhere.
// labels: threads
// program: activities
#include <gmock/gmock.h>

#include "../sanitized.h"
#include "fixture.h"
#include "marathon/testing/forwarding_state_store.h"

namespace marathon::tests::activities_test {
namespace {

using ::testing::HasSubstr;

class ActivitiesTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, ActivitiesTest, ::testing::ValuesIn(AllSetups()), SetupName);

// ---- Forms of callables

int Double(int x) { return 2 * x; }
int DoubleInContext(ActivityContext& ctx, const int& x) { return 2 * x * ctx.attempt(); }
int DoubleNoexcept(int x) noexcept { return 2 * x; }
struct Multiply {
  int factor;
  int operator()(ActivityContext&, int x) const { return factor * x; }
};

constexpr ActivityDef<int()> kFortyTwo{"FortyTwo"};
constexpr ActivityDef<int()> kFortyTwoInContext{"FortyTwoInContext"};
constexpr ActivityDef<void(std::string)> kTell{"Tell"};
constexpr ActivityDef<void()> kRing{"Ring"};
constexpr ActivityDef<void(int)> kCheck{"Check"};
constexpr ActivityDef<int(int)> kGeneric{"Generic"};

TEST_P(ActivitiesTest, EveryFormOfCallableRuns) {
  std::atomic<int> told{0};
  std::mutex threads_mutex;
  std::vector<std::jthread> threads;  // of asynchronous activities
  const auto on_another_thread = [&](std::function<void()> work) {
    std::lock_guard lock(threads_mutex);
    threads.emplace_back(std::move(work));
  };
  Registry registry;
  registry.Bind("Free", Double);
  registry.Bind("FreePointer", &Double);
  registry.Bind("FreeInContext", DoubleInContext);
  registry.Bind("Noexcept", DoubleNoexcept);
  registry.Bind("Functor", Multiply{2});
  registry.Bind("Lambda", [text = std::string("42")](int x) { return std::stoi(text) * x / 21; });
  registry.Bind("StatusOr", [](int x) -> StatusOr<int> { return 2 * x; });
  registry.Bind("Function", std::function<int(int)>(Double));
  registry.Bind("MoveOnly", [two = std::make_unique<int>(2)](int x) { return *two * x; });
  registry.Bind("Async", [&](int x, ActivityCompletion<int> done) {
    auto shared = std::make_shared<ActivityCompletion<int>>(std::move(done));
    on_another_thread([x, shared] { shared->Complete(2 * x); });
  });
  registry.Bind("AsyncAtOnce", [](ActivityContext& ctx, int x, ActivityCompletion<int> done) {
    done.Complete(2 * x * ctx.attempt());
  });
  registry.Bind(kGeneric, [](auto x) { return 2 * x; });
  registry.Bind(kFortyTwo, [] { return 42; });
  registry.Bind(kFortyTwoInContext, [](ActivityContext&) { return StatusOr<int>(42); });
  registry.Bind(kTell, [&](const std::string& text) { told += static_cast<int>(text.size()); });
  registry.Bind(kRing, [&](ActivityCompletion<void> done) { ++told, done.Complete(); });
  registry.Bind(kCheck, [](int x) { return x == 1 ? Status() : InvalidArgument("not one"); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::vector<std::string>> {
    std::vector<std::string> wrong;
    for (const char* name : {"Free", "FreePointer", "FreeInContext", "Noexcept", "Functor", "Lambda",
                             "StatusOr", "Function", "MoveOnly", "Async", "AsyncAtOnce", "Generic"}) {
      if (co_await ctx.Run<int>(name, 21) != 42) wrong.push_back(name);
    }
    if (co_await ctx.Run(kFortyTwo) != 42) wrong.push_back("FortyTwo");
    if (co_await ctx.Run(kFortyTwoInContext) != 42) wrong.push_back("FortyTwoInContext");
    co_await ctx.Run(kTell, "five!");
    co_await ctx.Run(kRing);
    co_await ctx.Run(kCheck, 1);
    co_return wrong;
  });
  const auto wrong = RunOnce<std::vector<std::string>>(registry);
  ASSERT_TRUE(wrong.ok()) << wrong.status();
  EXPECT_THAT(*wrong, ::testing::IsEmpty());
  EXPECT_EQ(told, 6);
}

struct Order {
  std::string id;
  double amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)
constexpr ActivityDef<Order(Order)> kPrice{"Price"};
constexpr WorkflowDef<Order(Order)> kCheckout{"Checkout"};

TEST_P(ActivitiesTest, TypesTravelAsJson) {
  Registry registry;
  registry.Bind(kPrice, [](Order order) { return Order{order.id + "!", order.amount * 2}; });
  registry.Bind(kCheckout, [](WorkflowContext& ctx, Order order) -> Workflow<Order> {
    co_return co_await ctx.Run(kPrice, order);
  });
  Engine engine = Open(registry);
  const auto order = ResultOf<Order>(engine.Start(kCheckout, Order{"größe", 9.5}));
  ASSERT_TRUE(order.ok()) << order.status();
  EXPECT_EQ(order->id, "größe!");
  EXPECT_EQ(order->amount, 19);
}

TEST_P(ActivitiesTest, InfoNamesTheCall) {
  Registry registry;
  registry.Bind("Info", [](ActivityContext& ctx, int) {
    const ActivityInfo& info = ctx.info();
    return std::vector<std::string>{info.activity_type, info.workflow_type, info.task_queue,
                                    info.key.run.workflow_id, ctx.idempotency_key()};
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::vector<std::string>> {
    auto first = co_await ctx.Run<std::vector<std::string>>("Info", 1);
    const auto second = co_await ctx.Run<std::vector<std::string>>("Info", 1);
    first.push_back(second.back());
    co_return first;
  });
  Engine engine = Open(registry);
  const auto info = ResultOf<std::vector<std::string>>(engine.Start("W", {.workflow_id = "w-1"}));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_THAT(*info, ::testing::ElementsAre("Info", "W", "default", "w-1", HasSubstr("/3"),
                                            HasSubstr("/6")));
}

// ---- Failures

constexpr ActivityDef<int(std::string)> kFail{"Fail"};

int Fail(const std::string& how) {
  if (how == "application") {
    throw ApplicationError("no funds", {.type = "CardDeclined",
                                        .non_retryable = true,
                                        .details = Payload{"[1,2]", Encoding::kJson}});
  }
  if (how == "std") throw std::out_of_range("too far");
  if (how == "int") throw 42;
  return 1;
}

Workflow<std::string> Caught(WorkflowContext& ctx, std::string how) {
  std::string seen;
  try {
    seen = std::to_string(co_await ctx.Run(kFail, how, {.retry = &kOneTry}));
  } catch (const ActivityError& e) {
    seen = e.activity_type() + "|" + std::to_string(e.attempt()) + "|" + e.failure().type + "|" +
           e.failure().message + "|" + e.failure().details.data;
  }
  co_return seen;
}

TEST_P(ActivitiesTest, FailuresAreCaughtWhereTheyAreAwaited) {
  Registry registry;
  registry.Bind(kFail, Fail);
  registry.Bind("W", Caught);
  Engine engine = Open(registry);
  const auto caught = [&](const std::string& how) {
    return ResultOf<std::string>(engine.Start("W", how)).value_or("not caught");
  };
  EXPECT_EQ(caught("application"), "Fail|1|CardDeclined|no funds|[1,2]");
  EXPECT_EQ(caught("std"), "Fail|1|std::exception|too far|");
  EXPECT_THAT(caught("int"), HasSubstr("Fail|1|unknown|an exception that is not a std::exception"));
  EXPECT_EQ(caught("not at all"), "1");
}

TEST_P(ActivitiesTest, AnUncaughtFailureEndsTheRun) {
  Registry registry;
  registry.Bind(kFail, Fail);
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kFail, "application");
  });
  const auto result = RunOnce<int>(registry);
  EXPECT_EQ(result.status().code(), StatusCode::kAborted);
  EXPECT_EQ(FailureOf(result.status()).type, "CardDeclined");
  EXPECT_TRUE(FailureOf(result.status()).non_retryable);
  EXPECT_EQ(FailureOf(result.status()).details.data, "[1,2]");
}

TEST_P(ActivitiesTest, TryRunGivesFailuresAsValues) {
  Registry registry;
  registry.Bind(kFail, Fail);
  registry.Bind(kCheck, [](int) { return NotFound("nobody"); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const Outcome<int> good = co_await ctx.TryRun(kFail, "not");
    const Outcome<int> bad = co_await ctx.TryRun(kFail, "application");
    const Outcome<void> status = co_await ctx.TryRun(kCheck, 1, {.retry = &kOneTry});
    co_return std::to_string(good.ok() ? good.value() : 0) + bad.failure().type +
        status.failure().type + status.failure().message;
  });
  EXPECT_EQ(RunOnce<std::string>(registry).value_or(""), "1CardDeclinedNOT_FOUNDnobody");
}

// ---- Retries

constexpr ActivityDef<int()> kFlaky{"Flaky"};

TEST_P(ActivitiesTest, IsRetriedUntilItSucceeds) {
  Registry registry;
  registry.Bind(kFlaky, [](ActivityContext& ctx) {
    if (ctx.attempt() < 3) throw std::runtime_error("not yet");
    return ctx.attempt();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kFlaky, {.retry = &kThreeTries});
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 3);
  EXPECT_EQ(run->History()->size(), 6u) << "a retry leaves no event";
}

// In the run's first turn, whose commit is its start.
TEST_P(ActivitiesTest, IsRetriedWithinItsScheduleToClose) {
  Registry registry;
  registry.Bind(kFlaky, [](ActivityContext& ctx) {
    if (ctx.attempt() == 1) throw std::runtime_error("not yet");
    return ctx.attempt();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kFlaky,
                               {.schedule_to_close_timeout = 1h, .retry = &kThreeTries});
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 2);
}

TEST_P(ActivitiesTest, MaximumAttemptsIsTheLast) {
  std::atomic<int> calls{0};
  Registry registry;
  registry.Bind(kFlaky, [&]() -> int {
    ++calls;
    throw std::runtime_error("never");
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    try {
      co_await ctx.Run(kFlaky, {.retry = &kThreeTries});
    } catch (const ActivityError& e) {
      co_return e.attempt();
    }
    co_return 0;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 3);
  EXPECT_EQ(calls, 3);
}

TEST_P(ActivitiesTest, SomeFailuresAreFinal) {
  static constexpr std::string_view kFinalTypes[] = {"Other", "CardDeclined"};
  static constexpr RetryPolicy kPolicy{.initial_interval = 1ms, .non_retryable_types = kFinalTypes};
  std::atomic<int> calls{0};
  Registry registry;
  registry.Bind("ByType", [&](int) -> int {
    ++calls;
    throw ApplicationError("no", {.type = "CardDeclined"});
  });
  registry.Bind("ByFlag", [&](int) -> int {
    ++calls;
    throw ApplicationError("no", {.non_retryable = true});
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    int attempts = 0;
    for (const char* name : {"ByType", "ByFlag"}) {
      try {
        co_await ctx.Run<int>(name, 1, {.retry = &kPolicy});
      } catch (const ActivityError& e) {
        attempts += e.attempt();
      }
    }
    co_return attempts;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 2);
  EXPECT_EQ(calls, 2);
}

TEST_P(ActivitiesTest, AFailureMaySetTheNextDelay) {
  static constexpr RetryPolicy kSlow{.initial_interval = 24h};
  Registry registry;
  registry.Bind(kFlaky, [](ActivityContext& ctx) {
    if (ctx.attempt() == 1) throw ApplicationError("soon", {.next_retry_delay = 1ms});
    return ctx.attempt();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kFlaky, {.retry = &kSlow});
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 2);
}

TEST_P(ActivitiesTest, ARetryThatWaitsIsDescribed) {
  static constexpr RetryPolicy kSlow{.initial_interval = 1h, .jitter = 0};
  Registry registry;
  registry.Bind(kFlaky, []() -> int { throw ApplicationError("down", {.type = "Outage"}); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kFlaky, {.retry = &kSlow});
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ActivityRow row;
  Time now{};
  ASSERT_TRUE(Eventually([&] {
    const auto description = run->Describe();
    if (!description.ok() || description->activities.size() != 1) return false;
    row = description->activities[0];
    now = description->now;
    return row.state == ActivityState::kBackoff;
  }));
  EXPECT_EQ(row.attempt, 2);
  ASSERT_TRUE(row.last_failure.has_value());
  EXPECT_EQ(row.last_failure->type, "Outage");
  EXPECT_GT(row.available_at, now + 50min);
  EXPECT_TRUE(run->Terminate("enough").ok());
}

// ---- Deadlines and heartbeats

constexpr ActivityDef<int(int)> kHang{"Hang"};
// Tries again at once, as often as it takes: on a busy machine any attempt may be late.
constexpr RetryPolicy kAtOnce{.initial_interval = 1ms, .jitter = 0};

int Hang(ActivityContext& ctx, int) {
  WaitForStop(ctx.stop_token());
  return 0;
}

TEST_P(ActivitiesTest, EachDeadlineEndsInItsTimeoutError) {
  Registry registry;
  registry.Bind(kHang, Hang);
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::vector<int>> {
    const ActivityOptions all[] = {
        {.start_to_close_timeout = 20ms, .retry = &kOneTry},
        {.task_queue = "nobody", .schedule_to_start_timeout = 20ms},
        {.schedule_to_close_timeout = 20ms},
        {.heartbeat_timeout = 20ms, .retry = &kOneTry}};
    std::vector<int> kinds;
    for (const ActivityOptions& options : all) {
      try {
        co_await ctx.Run(kHang, 1, options);
      } catch (const TimeoutError& e) {
        kinds.push_back(static_cast<int>(e.failure().timeout));
      }
    }
    co_return kinds;
  });
  const auto kinds = RunOnce<std::vector<int>>(registry);
  ASSERT_TRUE(kinds.ok()) << kinds.status();
  EXPECT_THAT(*kinds, ::testing::ElementsAre(1, 2, 3, 4));
}

TEST_P(ActivitiesTest, ATimeoutIsRetriedAndTheLateResultIgnored) {
  Registry registry;
  registry.Bind(kHang, [](ActivityContext& ctx, int) {
    if (ctx.attempt() == 1) WaitForStop(ctx.stop_token());
    return ctx.attempt();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kHang, 1,
                               {.start_to_close_timeout = 50ms, .retry = &kAtOnce});
  });
  EXPECT_GT(RunOnce<int>(registry).value_or(0), 1);
}

TEST_P(ActivitiesTest, HeartbeatDetailsReachTheNextAttempt) {
  Registry registry;
  registry.Bind(kHang, [](ActivityContext& ctx, int) {
    const StatusOr<int> progress = ctx.LastHeartbeat<int>();
    if (progress.ok()) return *progress;
    EXPECT_EQ(progress.status().code(), StatusCode::kNotFound);
    EXPECT_TRUE(ctx.Heartbeat(40).ok());
    WaitForStop(ctx.stop_token());
    return 0;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kHang, 1, {.heartbeat_timeout = 50ms, .retry = &kAtOnce});
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 40);
}

// ---- Cancellation

TEST_P(ActivitiesTest, CancelReachesTheRunningActivity) {
  Mailbox<int> begun;
  Mailbox<int> stopped;
  Registry registry;
  registry.Bind(kHang, [&](ActivityContext& ctx, int x) {
    begun.Put(x);
    WaitForStop(ctx.stop_token());
    stopped.Put(x);
    return x;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    auto hang = ctx.Start(kHang, 7);
    co_await ctx.Receive<bool>("cancel");
    hang.Cancel();
    std::string seen = hang.done() ? "at once, " : "";
    try {
      co_await hang;
    } catch (const CanceledError& e) {
      seen += e.failure().type;
    }
    co_return seen;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  begun.Get();
  ASSERT_TRUE(run->Signal("cancel", true).ok());
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "at once, marathon.Canceled");
  EXPECT_EQ(stopped.Get(), 7);
}

TEST_P(ActivitiesTest, TerminateStopsTheRunAndItsActivities) {
  Mailbox<int> begun;
  Mailbox<int> stopped;
  Registry registry;
  registry.Bind(kHang, [&](ActivityContext& ctx, int x) {
    begun.Put(x);
    WaitForStop(ctx.stop_token());
    stopped.Put(x);
    return x;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run(kHang, 7); });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  begun.Get();
  ASSERT_TRUE(run->Terminate("enough").ok());
  EXPECT_EQ(stopped.Get(), 7);
  const auto result = ResultOf<int>(run);
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(FailureOf(result.status()).kind, FailureKind::kTerminated);
  EXPECT_THAT(FailureOf(result.status()).message, HasSubstr("enough"));
  EXPECT_EQ(run->Terminate("again").code(), StatusCode::kFailedPrecondition);
}

TEST_P(ActivitiesTest, WhatNobodyRunsIsCanceledWithoutATrace) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    auto early = ctx.Start(kHang, 1, {.task_queue = "nobody"});
    auto at_once = ctx.Start(kHang, 2);
    at_once.Cancel();
    co_await ctx.Sleep(1ms);
    early.Cancel();
    early.Cancel();
    co_await ctx.Sleep(1ms);
    co_return (co_await ctx.Try(early)).failure().type;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "marathon.Canceled");
  EXPECT_TRUE(run->Describe()->activities.empty());
}

// ---- Outcomes from elsewhere

constexpr ActivityDef<int(int)> kAsk{"Ask"};

TEST_P(ActivitiesTest, CompleteLaterIsCompletedByItsToken) {
  Mailbox<std::string> tokens;
  Registry registry;
  registry.Bind(kAsk, [&](ActivityContext& ctx, int) {
    auto token = ctx.CompleteLater();
    EXPECT_TRUE(token.ok()) << token.status();
    tokens.Put(token.value_or(""));
    return -1;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run(kAsk, 1); });
  std::string token;
  {
    Engine engine = Open(registry);
    auto started = engine.Start("W", {.workflow_id = "ask"});
    ASSERT_TRUE(started.ok()) << started.status();
    token = tokens.Get();
  }
  Engine engine = Open(registry);  // the token outlives the engine that gave it
  EXPECT_TRUE(engine.CompleteActivity(token, 7).ok());
  EXPECT_EQ(engine.Find("ask").Result<int>(kPatience).value_or(0), 7);
  EXPECT_EQ(engine.CompleteActivity(token, 8).code(), StatusCode::kNotFound);
  EXPECT_EQ(engine.CompleteActivity("nonsense", 8).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(tokens.size(), 1u);
}

TEST_P(ActivitiesTest, CompleteLaterIsFailedByItsToken) {
  Mailbox<std::string> tokens;
  Registry registry;
  registry.Bind(kAsk, [&](ActivityContext& ctx, int) {
    if (ctx.attempt() == 1) throw ApplicationError("once more");
    tokens.Put(ctx.CompleteLater().value_or(""));
    return -1;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run(kAsk, 1, {.retry = &kAtOnce});
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(engine.FailActivity(tokens.Get(), {.type = "Denied", .message = "by hand"}).ok());
  EXPECT_EQ(FailureOf(ResultOf<int>(run).status()).type, "Denied");
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  const auto* failed = std::get_if<ActivityFailed>(&history->at(history->size() - 2).body);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->attempt, 2);
}

TEST_P(ActivitiesTest, AsynchronousActivitiesFailTooAndDroppedOnesAreRetried) {
  Registry registry;
  registry.Bind("Fails", [](int, ActivityCompletion<int> done) {
    done.Fail(ApplicationError("no", {.type = "No", .non_retryable = true}));
  });
  registry.Bind("Throws", [](int, ActivityCompletion<int>) { throw ApplicationError("thrown"); });
  registry.Bind("Drops", [](ActivityContext& ctx, int, ActivityCompletion<int> done) {
    if (ctx.attempt() == 2) done.Complete(5);
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    auto fails = ctx.Start<int>("Fails", 1);
    auto throws = ctx.Start<int>("Throws", 1, {.retry = &kOneTry});
    auto drops = ctx.Start<int>("Drops", 1, {.retry = &kThreeTries});
    std::string seen = (co_await ctx.Try(fails)).failure().type;
    seen += (co_await ctx.Try(throws)).failure().message;
    seen += std::to_string(co_await drops);
    co_return seen;
  });
  EXPECT_EQ(RunOnce<std::string>(registry).value_or(""), "Nothrown5");
}

// Whoever has to wait for something is delivered again, and finds what it has left there: no attempt is counted.
TEST_P(ActivitiesTest, APostponedOneComesAgainAsTheSameAttempt) {
  std::atomic<int> silent{0};
  Registry registry;
  registry.Bind("Later", [&](ActivityContext& ctx, int x, ActivityCompletion<int> done) {
    const int before = ctx.LastHeartbeat<int>().value_or(0);
    if (before == 0) return done.Postpone(Duration(0), 1);
    if (before == 1) return done.Postpone(Duration(20), 20);
    if (silent++ == 0) return done.Postpone(Duration(1));  // what was left stays
    done.Complete(1000 * ctx.attempt() + 100 * ctx.info().deliveries + before + x);
  });
  static constexpr RetryPolicy kOnce{.maximum_attempts = 1};
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run<int>("Later", 1, {.retry = &kOnce});
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 1021);
}

// Its deadline is the call's, as it is for one that is retried.
TEST_P(ActivitiesTest, APostponedOneEndsWithItsScheduleToClose) {
  Registry registry;
  registry.Bind("Never", [](int, ActivityCompletion<int> done) { done.Postpone(9h); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    try {
      const int never = co_await ctx.Run<int>("Never", 1, {.schedule_to_close_timeout = 50ms});
      co_return std::to_string(never);
    } catch (const TimeoutError&) {
      co_return "too late";
    }
  });
  Engine engine = Open(registry);
  EXPECT_EQ(engine.Start("W")->Result<std::string>(kPatience).value_or(""), "too late");
}

TEST_P(ActivitiesTest, AThousandRunInParallel) {
  Registry registry;
  registry.Bind("Double", Double);
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int64_t> {
    std::vector<ActivityHandle<int>> handles;
    for (int i = 0; i < 1000; ++i) handles.push_back(ctx.Start<int>("Double", i));
    int64_t sum = 0;
    for (const int value : co_await ctx.All(handles)) sum += value;
    co_return sum;
  });
  EngineOptions options = Options();
  options.verify_determinism = false;  // it would replay the thousand a thousand times
  Engine engine = Open(registry, options);
  EXPECT_EQ(ResultOf<int64_t>(engine.Start("W")).value_or(0), 999'000);
}

TEST_P(ActivitiesTest, ThousandsOfAsynchronousOnesNeedNoThread) {
  const int calls = GetParam().cache_runs == 0 ? 200 : 2'000;  // each replays all without a cache
  Mailbox<int> begun;
  std::mutex mutex;
  std::vector<ActivityCompletion<int>> waiting;
  Registry registry;
  registry.Bind("Call", [&](int x, ActivityCompletion<int> done) {
    std::lock_guard lock(mutex);
    waiting.push_back(std::move(done));
    if (static_cast<int>(waiting.size()) == calls) begun.Put(x);
  });
  registry.Bind("W", [calls](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ActivityHandle<int>> handles;
    for (int i = 0; i < calls; ++i) handles.push_back(ctx.Start<int>("Call", i));
    int sum = 0;
    for (const int value : co_await ctx.All(handles)) sum += value;
    co_return sum;
  });
  EngineOptions options = Options();
  options.verify_determinism = false;
  options.activity_threads = 1;
  Engine engine = Open(registry, options);
  const auto run = engine.Start("W");
  begun.Get();
  {
    std::lock_guard lock(mutex);
    for (auto& done : waiting) done.Complete(1);
    waiting.clear();
  }
  EXPECT_EQ(ResultOf<int>(run).value_or(0), calls);
}

// By the task queue: the workflows are in another process.
class ManyCallsTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, ManyCallsTest, ::testing::ValuesIn(SetupsWhere([](const Setup& setup) {
                           const bool here = setup.store == StoreKind::kMemory || setup.store == StoreKind::kSqlite;
                           return here && setup.cache_runs > 0;
                         })),
                         SetupName);

TEST_P(ManyCallsTest, TenThousandAreInFlightInOneWorkerOfActivities) {
  constexpr int kRuns = kSanitized ? 1 : 10, kCalls = 1'000;
  Mailbox<int> all_begun;
  std::mutex mutex;
  std::vector<ActivityCompletion<int>> waiting;
  Registry activities;
  activities.Bind("Call", [&](int x, ActivityCompletion<int> done) {
    std::lock_guard lock(mutex);
    waiting.push_back(std::move(done));
    if (waiting.size() == kRuns * kCalls) all_begun.Put(x);
  });
  EngineOptions options = Options();
  options.verify_determinism = false;
  options.activity_threads = 1;
  Engine worker = Open(activities, options);
  Registry workflows;
  workflows.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ActivityHandle<int>> handles;
    for (int i = 0; i < kCalls; ++i) handles.push_back(ctx.Start<int>("Call", i));
    int sum = 0;
    for (const int value : co_await ctx.All(handles)) sum += value;
    co_return sum;
  });
  Engine engine = Open(workflows, options);
  std::vector<StatusOr<marathon::Run>> runs;
  for (int i = 0; i < kRuns; ++i) runs.push_back(engine.Start("W"));
  all_begun.Get();
  {
    std::lock_guard lock(mutex);
    for (auto& done : waiting) done.Complete(1);
    waiting.clear();
  }
  for (const auto& run : runs) EXPECT_EQ(ResultOf<int>(run).value_or(0), kCalls);
}

// Their beginnings have threads of their own.
TEST_P(ActivitiesTest, AsynchronousOnesBeginWhileAllThreadsAreHeld) {
  Mailbox<int> held, go;
  Registry activities;
  activities.Bind("Hold", [&](int x) {
    held.Put(x);
    return go.Take();
  });
  activities.Bind("Call", [](int x, ActivityCompletion<int> done) { done.Complete(2 * x); });
  Registry workflows;
  workflows.Bind("Holder", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("Hold", 1); });
  workflows.Bind("Caller", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("Call", 21); });
  EngineOptions options = Options();
  options.activity_threads = 1;
  Engine engine = Open(workflows, options);
  Engine worker = Open(activities, options);
  const auto holder = engine.Start("Holder");
  held.Get();
  EXPECT_EQ(ResultOf<int>(engine.Start("Caller")).value_or(0), 42);
  go.Put(1);
  EXPECT_EQ(ResultOf<int>(holder).value_or(0), 1);
}

// Method: what its turn cannot begin comes by the task queue, and nothing else.
TEST_P(ActivitiesTest, NoMoreAsynchronousOnesAreAtWorkThanMayBe) {
  constexpr int kMost = 3, kCalls = 12;
  using Completion = std::shared_ptr<ActivityCompletion<int>>;
  Mailbox<Completion> begun;
  std::atomic<int> at_work{0}, most{0};
  Registry registry;
  registry.Bind("Call", [&](int, ActivityCompletion<int> done) {
    const int now = ++at_work;
    for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {}
    begun.Put(std::make_shared<ActivityCompletion<int>>(std::move(done)));
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ActivityHandle<int>> handles;
    for (int i = 0; i < kCalls; ++i) handles.push_back(ctx.Start<int>("Call", i));
    int sum = 0;
    for (const int value : co_await ctx.All(handles)) sum += value;
    co_return sum;
  });
  EngineOptions options = Options();
  options.max_async_activities = kMost;
  Engine engine = Open(registry, options);
  const auto run = engine.Start("W");
  std::deque<Completion> waiting;
  for (int calls = 0; calls < kCalls; ++calls) {
    if (waiting.size() == kMost) {
      --at_work;
      waiting.front()->Complete(1);
      waiting.pop_front();
    }
    waiting.push_back(begun.Take());
    ASSERT_NE(waiting.back(), nullptr);
  }
  for (const Completion& done : waiting) done->Complete(1);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), kCalls);
  EXPECT_EQ(most.load(), kMost);
}

// ---- Claimed ahead

// An engine that has seen short activities only claims more than it has threads for. When one of them
// turns out long, those behind it are anybody's.
TEST_P(ActivitiesTest, WhatWaitsTooLongForAThreadIsGivenBack) {
  static constexpr int kShort = 0, kLong = 1, kWaiting = 2;
  Mailbox<int> began, go;
  Registry registry;
  registry.Bind(kGeneric, [&](int x) {
    if (x == kWaiting) began.Put(x);
    return x == kShort ? x : go.Take();
  });
  registry.Bind("Learn", [](WorkflowContext& ctx) -> Workflow<void> {
    for (int i = 0; i < 100; ++i) co_await ctx.Run(kGeneric, kShort);
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    auto first = ctx.Start(kGeneric, kLong);
    auto second = ctx.Start(kGeneric, kWaiting);
    const int sum = co_await first;
    co_return sum + co_await second;
  });
  EngineOptions options = Options();
  options.activity_threads = 1;
  Engine engine = Open(registry, options);
  // On a busy machine the last short activity may have taken long: then it learns again.
  StatusOr<marathon::Run> run = Unavailable("");
  Epoch epoch = 0;
  for (bool ahead = false; !ahead;) {
    ASSERT_EQ(ResultOf(engine.Start("Learn")), Status());
    run = engine.Start("W");
    ASSERT_TRUE(run.ok()) << run.status();
    StatusOr<RunDescription> begun = Unavailable("");
    ASSERT_TRUE(Eventually([&] {
      begun = run->Describe();
      return begun.ok() && begun->activities.size() == 2;
    })) << begun.status();
    ahead = begun->activities[1].state == ActivityState::kClaimed;
    epoch = begun->activities[1].epoch;
    if (ahead) continue;
    go.Put(1);
    go.Put(1);
    ASSERT_EQ(run->Result<int>(kPatience).value_or(0), 2);
    ASSERT_EQ(began.Take(), kWaiting);
  }

  Engine other = Open(registry, options);
  EXPECT_EQ(began.Take(), kWaiting);
  const auto description = run->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  ASSERT_EQ(description->activities.size(), 2u);
  const ActivityRow& row = description->activities[1];
  EXPECT_EQ(row.epoch, epoch + 1) << "claimed ahead, given back, claimed";
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(row.deliveries, 0);
  go.Put(21);
  go.Put(21);
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 42);
}

class CountsClaims final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    most = std::max(most.load(), requests.size());
    base()->ClaimActivities(std::move(session), std::move(requests), std::move(done));
  }

  std::atomic<size_t> most{0};  // at a time
};

TEST_P(ActivitiesTest, ShortOnesThatWaitInTheQueueAreClaimedTogether) {
  Registry starts, works;
  starts.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<Handle<int>> handles;
    for (int i = 0; i < 100; ++i) handles.push_back(ctx.Start(kGeneric, 1));
    int sum = 0;
    for (const int value : co_await ctx.All(handles)) sum += value;
    co_return sum;
  });
  works.Bind(kGeneric, [](int x) { return x; });
  Engine engine = Open(starts);
  EngineOptions options = Options();
  options.activity_threads = 1;
  const auto store = std::make_shared<CountsClaims>(store_.ports.store);
  auto worker = Engine::Open(Ports{store, store_.ports.queue}, works, options);
  ASSERT_TRUE(worker.ok()) << worker.status();
  // It learns that they are short. On a busy machine some are not.
  for (int i = 0; i < 100 && store->most < 5; ++i) ASSERT_EQ(ResultOf<int>(engine.Start("W")).value_or(0), 100);
  EXPECT_GE(store->most, 5u);
}

// ---- Shutdown

TEST_P(ActivitiesTest, ShutdownGivesBackWhatRunsAndAnotherEngineGoesOn) {
  Mailbox<int> begun;
  std::atomic<bool> hang{true};
  Registry registry;
  registry.Bind(kHang, [&](ActivityContext& ctx, int) {
    if (hang) {
      begun.Put(1);
      WaitForStop(ctx.stop_token());
      throw std::runtime_error("told to stop");
    }
    return 100 * ctx.attempt() + ctx.info().deliveries;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run(kHang, 1); });
  {
    Engine engine = Open(registry);
    ASSERT_TRUE(engine.Start("W", {.workflow_id = "w"}).ok());
    begun.Get();
    EXPECT_TRUE(engine.Shutdown().ok());
    EXPECT_EQ(engine.Start("W").status().code(), StatusCode::kFailedPrecondition);
  }
  hang = false;
  Engine engine = Open(registry);
  EXPECT_EQ(engine.Find("w").Result<int>(kPatience).value_or(0), 100) << "neither failed nor died";
}

}  // namespace
}  // namespace marathon::tests::activities_test
