// Chains of runs: continue-as-new, retries of workflows, delayed starts, on every store.
// program: lists
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "fixture.h"
#include "marathon/testing/forwarding_state_store.h"

namespace marathon::tests::chains_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ChainsTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(Stores, ChainsTest, ::testing::ValuesIn(AllSetups()), SetupName);

// The closing event of a run, and what it began with.
EventBody LastOf(const Run& run) {
  auto history = run.History();
  EXPECT_TRUE(history.ok()) << history.status();
  return history.ok() && !history->empty() ? history->back().body : EventBody();
}
WorkflowStarted StartOf(const Run& run) {
  auto history = run.History();
  EXPECT_TRUE(history.ok()) << history.status();
  for (const Event& event : history.ok() ? *history : History()) {
    if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) return *started;
  }
  ADD_FAILURE() << "no start";
  return {};
}

Workflow<int> CountDown(WorkflowContext& ctx, int left) {
  const int step = co_await ctx.Run<int>("Step", left);
  if (left > 0) co_await ctx.ContinueAsNew(left - step);
  co_return 42;
}

TEST_P(ChainsTest, AChainGoesOnAndItsResultIsTheLastOnes) {
  Registry registry;
  registry.Bind("CountDown", CountDown);
  registry.Bind("Step", [](int) { return 1; });
  Engine engine = Open(registry);
  auto run = engine.Start("CountDown", 5, {.workflow_id = "w", .request_id = "r"});
  ASSERT_TRUE(run.ok()) << run.status();
  auto result = run->Result<int>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*result, 42);

  // Each run names the next, and knows where it comes from.
  RunKey key = run->key();
  int runs = 1;
  for (;; ++runs) {
    const marathon::Run one = engine.Find("w", key.run_id);
    const EventBody end = LastOf(one);
    const auto* next = std::get_if<WorkflowContinuedAsNew>(&end);
    if (next == nullptr) break;
    EXPECT_EQ(one.Describe()->run.status, RunStatus::kContinuedAsNew);
    const WorkflowStarted started = StartOf(engine.Find("w", next->run_id));
    ASSERT_EQ(started.origin.size(), 1u);
    EXPECT_EQ(started.origin[0].first_run_id, run->run_id());
    EXPECT_EQ(started.origin[0].previous_run_id, key.run_id);
    key.run_id = next->run_id;
  }
  EXPECT_EQ(runs, 6);
  EXPECT_EQ(engine.Find("w").Describe()->run.key, key);
  // The same start is still the same chain.
  auto again = engine.Start("CountDown", 5, {.workflow_id = "w", .request_id = "r"});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->Result<int>(kPatience).value_or(0), 42);
}

// Is away once, for the next look at a workflow's newest run.
class OnceAwayStore final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;
  void Read(ReadRequest request, Done<RunSnapshot> done) override {
    if (request.run.run_id.empty() && is_away.exchange(false)) return done(Unavailable("away"));
    ForwardingStateStore::Read(std::move(request), std::move(done));
  }
  std::atomic<bool> is_away{false};
};

// Of the runs that have gone on, the store keeps the last one only.
TEST(ForgottenChainTest, TheFirstRunsHandleLeadsToWhereItIs) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, int left) -> Workflow<int> {
    if (left > 0) co_await ctx.ContinueAsNew(left - 1);
    co_return co_await ctx.Receive<int>("go");
  });
  ThreadRuntime runtime(1, 1);
  Ports ports = NewMemoryPorts(runtime, {.closed_bytes = 1});
  const auto store = std::make_shared<OnceAwayStore>(ports.store);
  ports.store = store;
  auto engine = Engine::Open(ports, registry);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto run = engine->Start("W", 3);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] { return run->Describe().status().code() == StatusCode::kNotFound; }));
  EXPECT_EQ(run->Result<int>(1ms).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_EQ(run->Signal("go", 7), Status());
  store->is_away = true;
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 7);
  EXPECT_FALSE(store->is_away) << "it was asked, and asked again";
  EXPECT_EQ(engine->Find("no such").Result<int>(kPatience).status().code(), StatusCode::kNotFound);
}

TEST_P(ChainsTest, ARunThatContinuesAtOnceDoesNotGrowTheStack) {
  Registry registry;
  registry.Bind("Loop", [](WorkflowContext& ctx, int left) -> Workflow<int> {
    if (left > 0) co_await ctx.ContinueAsNew(left - 1);
    co_return 7;
  });
  Engine engine = Open(registry);
  EXPECT_EQ(ResultOf<int>(engine.Start("Loop", 100)).value_or(0), 7);
}

inline constexpr SignalDef<int> kNumber{"number"};
inline constexpr SignalDef<int> kGo{"go"};

// Adds up ten numbers a run, received or not by the time it goes on.
Workflow<std::vector<int>> Collect(WorkflowContext& ctx, std::vector<int> seen) {
  co_await ctx.Receive(kGo);
  seen.push_back(co_await ctx.Receive(kNumber));
  if (seen.size() < 4) co_await ctx.ContinueAsNew(seen);
  co_return seen;
}

TEST_P(ChainsTest, NoSignalIsLostOnTheWay) {
  Registry registry;
  registry.Bind("Collect", Collect);
  Engine engine = Open(registry);
  auto run = engine.Start("Collect", std::vector<int>(), {.workflow_id = "w"});
  ASSERT_TRUE(run.ok()) << run.status();
  // All the numbers come while nobody receives them; each "go" lets a run take one.
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(run->Signal(kNumber, i).ok());
  // By the id of the first run: the chain is meant.
  for (int i = 0; i < 4; ++i) {
    const Status sent = run->Signal(kGo, i);
    ASSERT_TRUE(sent.ok()) << sent;
  }
  auto seen = run->Result<std::vector<int>>(kPatience);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(*seen, ElementsAre(0, 1, 2, 3));
}

Workflow<std::string> Heir(WorkflowContext& ctx, std::string text) {
  co_return text + " " + ctx.workflow_type();
}
inline constexpr WorkflowDef<std::string(std::string)> kHeir{"Heir"};

TEST_P(ChainsTest, TheNextRunMayBeOfAnotherTypeAndHaveOtherTimes) {
  Registry registry;
  registry.Bind(kHeir, Heir);
  registry.Bind("First", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const std::string text = "from " + ctx.workflow_type();
    co_await ctx.ContinueAsNew(kHeir, text, {.run_timeout = 5min});
    co_return "never";
  });
  Engine engine = Open(registry);
  auto run = engine.Start("First", {.run_timeout = 1h, .headers = {{"trace", "1"}}});
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "from First Heir");
  const WorkflowStarted next = StartOf(engine.Find(run->workflow_id()));
  EXPECT_EQ(next.workflow_type, "Heir");
  EXPECT_EQ(next.run_timeout, Duration(5min));
  EXPECT_EQ(next.headers, (Headers{{"trace", "1"}}));
}

TEST_P(ChainsTest, TimesAreCarriedOverAndTheNameMayBeGiven) {
  Registry registry;
  registry.Bind(kHeir, Heir);
  registry.Bind("First", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const std::string text = "text";
    co_await ctx.ContinueAsNew(text, {.workflow_type = "Heir"});
    co_return "never";
  });
  Engine engine = Open(registry);
  auto run = engine.Start("First", {.run_timeout = 1h});
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "text Heir");
  EXPECT_EQ(StartOf(engine.Find(run->workflow_id())).run_timeout, Duration(1h));
}

TEST_P(ChainsTest, ALongHistorySuggestsIt) {
  Registry registry;
  registry.Bind("Long", [](WorkflowContext& ctx, bool first) -> Workflow<int> {
    if (!first) co_return ctx.ContinueAsNewSuggested() ? -1 : 1;
    for (int64_t i = 0; i < limits::kHistoryHintEvents / 2; ++i) ctx.StartTimer(24h).Cancel();
    if (ctx.ContinueAsNewSuggested()) co_return -2;  // not in the midst of a turn
    co_await ctx.Sleep(1ms);
    if (!ctx.ContinueAsNewSuggested()) co_return -3;
    const bool next = false;
    co_await ctx.ContinueAsNew(next);
    co_return -4;
  });
  Engine engine = Open(registry);
  EXPECT_EQ(ResultOf<int>(engine.Start("Long", true)).value_or(0), 1);
}

TEST_P(ChainsTest, LongHistoriesAndLargeValuesAreWarnedOfOnce) {
  Registry registry;
  registry.Bind("Long", [](WorkflowContext& ctx) -> Workflow<void> {
    for (int64_t i = 0; i < limits::kHistoryWarnEvents / 2; ++i) ctx.StartTimer(24h).Cancel();
    co_await ctx.Sleep(1ms);
    co_await ctx.SideEffect([] { return std::string(limits::kPayloadWarnBytes, 'x'); });
    co_await ctx.Sleep(1ms);
  });
  registry.Bind("Short", [](WorkflowContext& ctx) -> Workflow<void> { co_await ctx.Sleep(1ms); });
  EngineOptions options = Options();
  const auto log = std::make_shared<CollectingLog>();
  options.log = log;
  Engine engine = Open(registry, options);
  EXPECT_TRUE(ResultOf(engine.Start("Short")).ok());
  EXPECT_EQ(log->Count("history") + log->Count("large"), 0);
  EXPECT_TRUE(ResultOf(engine.Start("Long")).ok());
  EXPECT_EQ(log->Count("let it continue as new"), 1);
  EXPECT_EQ(log->Count("SideEffectRecorded, has 2621"), 1);
  EXPECT_EQ(log->Count("large"), 1);
}

Workflow<std::string> Flaky(WorkflowContext& ctx, std::string text) {
  if (ctx.attempt() < 3) throw ApplicationError("attempt " + std::to_string(ctx.attempt()));
  co_return text + " at attempt " + std::to_string(ctx.attempt());
}
constexpr RetryPolicy kThreeRuns{.initial_interval = 1ms, .maximum_attempts = 3};

TEST_P(ChainsTest, AFailedRunIsRetried) {
  Registry registry;
  registry.Bind("Flaky", Flaky);
  Engine engine = Open(registry);
  auto run = engine.Start("Flaky", std::string("done"), {.retry = kThreeRuns});
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "done at attempt 3");
  const EventBody end = LastOf(*run);
  const auto* failed = std::get_if<WorkflowFailed>(&end);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->failure.message, "attempt 1");
  EXPECT_EQ(run->Describe()->run.status, RunStatus::kFailed);
  const WorkflowStarted second = StartOf(engine.Find(run->workflow_id(), failed->next_run_id));
  EXPECT_EQ(second.origin.at(0).attempt, 2);
}

TEST_P(ChainsTest, TheLastAttemptsFailureIsTheResult) {
  Registry registry;
  registry.Bind("Fails", [](WorkflowContext& ctx) -> Workflow<void> {
    throw ApplicationError("attempt " + std::to_string(ctx.attempt()));
    co_return;
  });
  registry.Bind("Final", [](WorkflowContext& ctx) -> Workflow<void> {
    throw ApplicationError("attempt " + std::to_string(ctx.attempt()), {.non_retryable = true});
    co_return;
  });
  Engine engine = Open(registry);
  EXPECT_EQ(FailureOf(ResultOf(engine.Start("Fails", {.retry = kThreeRuns}))).message, "attempt 3");
  EXPECT_EQ(FailureOf(ResultOf(engine.Start("Final", {.retry = kThreeRuns}))).message, "attempt 1");
}

TEST_P(ChainsTest, ATimedOutRunIsRetriedAndSignalsWaitForTheNext) {
  Registry registry;
  registry.Bind("Slow", [](WorkflowContext& ctx) -> Workflow<int> {
    if (ctx.attempt() == 1) co_await ctx.Sleep(24h);
    co_return co_await ctx.Receive(kNumber);
  });
  Engine engine = Open(registry);
  auto run = engine.Start("Slow", {.run_timeout = 30ms, .retry = kThreeRuns});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] {
    return run->Describe()->run.status == RunStatus::kTimedOut;
  }));
  auto result = run->Result<int>(kPatience);  // nobody sends anything: the third one times out too
  EXPECT_EQ(FailureOf(result.status()).timeout, TimeoutKind::kRun);
  // A busy machine may time one out before its first turn: it has an end then, and no start.
  int runs = 0;
  for (std::string id = run->run_id(); !id.empty();) {
    const auto history = engine.Find(run->workflow_id(), id).History();
    ASSERT_TRUE(history.ok()) << history.status();
    ++runs;
    for (const Event& event : *history) {
      const auto* started = std::get_if<WorkflowStarted>(&event.body);
      if (started != nullptr) {
        EXPECT_EQ(started->origin.at(0).attempt, runs);
      }
    }
    const auto* end = std::get_if<WorkflowTimedOut>(&history->back().body);
    ASSERT_NE(end, nullptr);
    id = end->next_run_id;
  }
  EXPECT_EQ(runs, 3);
}

TEST_P(ChainsTest, ADelayedStartWaits) {
  Registry registry;
  registry.Bind("When", [](WorkflowContext& ctx, int64_t) -> Workflow<int64_t> {
    const int first = co_await ctx.Receive(kNumber);
    co_return first * 1'000'000'000'000'000'000 + ToMicros(ctx.Now()) / 1'000;
  });
  Engine engine = Open(registry);
  auto run = engine.Start("When", int64_t{0}, {.start_delay = 300ms});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Signal(kNumber, 1).ok());
  const Time started = run->Describe()->run.start_time;
  auto result = run->Result<int64_t>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GE(*result - 1'000'000'000'000'000'000, ToMicros(started) / 1'000 + 299);
}

TEST_P(ChainsTest, ADelayedRunCanBeTerminated) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext&) -> Workflow<void> { co_return; });
  Engine engine = Open(registry);
  auto run = engine.Start("W", {.start_delay = 24h});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(run->Terminate("no longer").ok());
  EXPECT_EQ(FailureOf(run->Result(kPatience)).kind, FailureKind::kTerminated);
}

TEST_P(ChainsTest, TerminateMeansTheChain) {
  Registry registry;
  registry.Bind("Collect", Collect);
  Engine engine = Open(registry);
  auto run = engine.Start("Collect", std::vector<int>());
  ASSERT_TRUE(run.ok()) << run.status();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(run->Signal(kNumber, i).ok());
    ASSERT_TRUE(run->Signal(kGo, i).ok());
  }
  ASSERT_TRUE(Eventually([&] {
    return run->Describe()->run.status == RunStatus::kContinuedAsNew;
  }));
  EXPECT_TRUE(run->Terminate("enough").ok());
  EXPECT_EQ(FailureOf(run->Result(kPatience)).kind, FailureKind::kTerminated);
}

// From a branch, and from a helper that the workflow awaits.
TEST_P(ChainsTest, AnyPartOfARunMayEndIt) {
  Registry registry;
  auto helper = [](WorkflowContext& ctx, int next) -> Workflow<int> {
    co_await ctx.ContinueAsNew(next);
    co_return 0;
  };
  registry.Bind("W", [helper](WorkflowContext& ctx, int step) -> Workflow<int> {
    if (step == 0) co_return co_await helper(ctx, 1);
    if (step == 1) {
      auto branch = ctx.Spawn(helper(ctx, 2));
      co_await ctx.Sleep(24h);
      co_return co_await branch;
    }
    co_return 9;
  });
  Engine engine = Open(registry);
  EXPECT_EQ(ResultOf<int>(engine.Start("W", 0)).value_or(0), 9);
}

TEST_P(ChainsTest, ANameThatCannotBeRecordedIsRefused) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<void> {
    const std::string name(300, 'x');
    co_await ctx.ContinueAsNew({.workflow_type = name});
  });
  Engine engine = Open(registry);
  EXPECT_THAT(FailureOf(ResultOf(engine.Start("W"))).message, HasSubstr("200 bytes"));
}

}  // namespace
}  // namespace marathon::tests::chains_test
