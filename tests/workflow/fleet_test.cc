// Many engines over one store, as processes of a fleet: roles, rolling restarts, and ten at once.
// labels: threads
// program: engine
#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <memory>
#include <numeric>

#include "fixture.h"

namespace marathon::tests::fleet_test {
namespace {

using ::testing::Each;
using ::testing::Pair;
using Ints = std::vector<int>;

// How often each call of an activity was run, by its idempotency key.
class Ledger {
 public:
  void Note(const std::string& key) {
    std::lock_guard lock(mutex_);
    ++runs_[key];
    changed_.notify_all();
  }
  // Waits until more calls have been run than `than`, or `stop` fires; gives how many.
  size_t WaitForMore(size_t than, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return runs_.size() > than; });
    return runs_.size();
  }
  std::map<std::string, int> runs() {
    std::lock_guard lock(mutex_);
    return runs_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, int> runs_;
};

class FleetTest : public WorkflowTest {
 protected:
  // An engine as another process would open it; nothing in these tests may wait for its lease to end.
  Engine Join(const Registry& registry, const std::string& build_id = "", const std::string& task_queue = "default") {
    EngineOptions options = Options();
    options.lease = 10min;
    options.verify_determinism = false;
    options.build_id = build_id;
    options.task_queues = {task_queue};
    auto engine = store_.OpenByUrl(registry, options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  void BindWorkflow(Registry& registry) {
    registry.Bind("W", [](WorkflowContext& ctx, int rounds) -> Workflow<int> {
      int sum = 0;
      for (int round = 1; round <= rounds; ++round) {
        std::vector<ActivityHandle<int>> steps;
        for (int i = 0; i < 3; ++i) steps.push_back(ctx.Start<int>("Step", round));
        const Ints results = co_await ctx.All(steps);
        sum = std::accumulate(results.begin(), results.end(), sum);
        co_await ctx.Sleep(1ms);
      }
      co_return sum + co_await ctx.Receive<int>("add");
    });
  }
  void BindActivity(Registry& registry) {
    registry.Bind("Step", [this](ActivityContext& ctx, int x) {
      ledger_.Note(ctx.idempotency_key());
      return x;
    });
  }
  Registry Both() {
    Registry registry;
    BindWorkflow(registry);
    BindActivity(registry);
    return registry;
  }
  static int Expected(int rounds) { return 3 * rounds * (rounds + 1) / 2 + 100; }

  Ledger ledger_;
};
INSTANTIATE_TEST_SUITE_P(, FleetTest, ::testing::ValuesIn(AllSetups()), SetupName);
#ifdef MARATHON_HAS_REDIS
INSTANTIATE_TEST_SUITE_P(Cluster, FleetTest, ::testing::Values(Setup{StoreKind::kRedisCluster, 0}), SetupName);
#endif

TEST_P(FleetTest, ClientsWorkflowsAndActivitiesMayLiveApart) {
  Registry workflows;
  BindWorkflow(workflows);
  Registry activities;
  BindActivity(activities);
  Engine client = Join(Registry());
  auto run = client.Start("W", 2);
  auto unwanted = client.Start("W", 1'000'000);
  ASSERT_TRUE(run.ok() && unwanted.ok()) << run.status() << unwanted.status();
  ASSERT_EQ(run->Signal("add", 100), Status()) << "before there is any worker";
  Engine decides = Join(workflows);
  Engine acts = Join(activities);
  EXPECT_EQ(run->Result<int>(limits::kResendFirst - 10s).value_or(0), Expected(2));
  ASSERT_EQ(client.Find(unwanted->workflow_id()).Cancel("too much"), Status());
  EXPECT_EQ(FailureOf(unwanted->Result(kPatience)).kind, FailureKind::kCanceled);
  const auto query = run->Query<int>("any");
  EXPECT_EQ(query.status().code(), StatusCode::kFailedPrecondition) << "a client has no code to replay";
}

// Each engine goes and comes back, again and again, whenever something has been done.
TEST_P(FleetTest, ARollingRestartLosesNothingAndWaitsForNoLease) {
  constexpr int kRuns = 6;
  constexpr int kRounds = 3;
  const Registry registry = Both();
  Engine client = Join(Registry());
  std::vector<marathon::Run> runs;
  for (int i = 0; i < kRuns; ++i) {
    auto run = client.Start("W", kRounds);
    ASSERT_TRUE(run.ok()) << run.status();
    runs.push_back(*run);
  }
  std::jthread rolls([&](const std::stop_token& stop) {
    std::vector<Engine> fleet;
    for (int i = 0; i < 2; ++i) fleet.push_back(Join(registry));
    size_t done = 0;
    for (size_t i = 0; !stop.stop_requested(); ++i) {
      done = ledger_.WaitForMore(done, stop);
      EXPECT_TRUE(fleet[i % 2].Shutdown().ok());
      fleet[i % 2] = Join(registry);
    }
  });
  for (const marathon::Run& run : runs) ASSERT_EQ(run.Signal("add", 100), Status());
  // A hint that is lost on the way is published again, but only after kResendFirst, a minute.
  for (const marathon::Run& run : runs) {
    EXPECT_EQ(run.Result<int>(limits::kResendFirst - 10s).value_or(0), Expected(kRounds));
  }
  rolls.request_stop();
  rolls.join();
  EXPECT_EQ(ledger_.runs().size(), size_t{kRuns * kRounds * 3});
}

// Far more than a queue of another domain takes at once.
TEST_P(FleetTest, OthersHearOfAllThatAWorkerGivesBack) {
  static constexpr ActivityDef<int()> kHold{"Hold"};
  constexpr size_t kRuns = 150;
  // An activity that waits until it is told to stop.
  struct Held {
    Held(const std::stop_token& stop, ActivityCompletion<int> completion)
        : done(std::move(completion)), stopped(stop, [this] { done.Fail({.message = "told to stop"}); }) {}
    ActivityCompletion<int> done;
    std::stop_callback<std::function<void()>> stopped;
  };
  Mailbox<std::shared_ptr<Held>> held;
  Registry busy, fresh;
  for (Registry* registry : {&busy, &fresh}) {
    registry->Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run(kHold); });
  }
  busy.Bind(kHold, [&](ActivityContext& ctx, ActivityCompletion<int> done) {
    held.Put(std::make_shared<Held>(ctx.stop_token(), std::move(done)));
  });
  fresh.Bind(kHold, [] { return 1; });
  Engine client = Join(Registry());
  std::vector<marathon::Run> runs;
  {
    Engine gone = Join(busy);
    for (size_t i = 0; i < kRuns; ++i) {
      auto run = client.Start("W");
      ASSERT_TRUE(run.ok()) << run.status();
      runs.push_back(*run);
    }
    ASSERT_TRUE(Eventually([&] { return held.size() == kRuns; })) << held.size();
  }
  Engine stays = Join(fresh);
  for (const marathon::Run& run : runs) EXPECT_EQ(run.Result<int>(limits::kResendFirst - 10s).value_or(0), 1);
}

// A deploy whose code does not fit: one worker of the old build has gone, one stays, and the new one is given the run.
TEST_P(FleetTest, ARunThatTheNewBuildCannotGoOnWithIsGivenBackToTheOld) {
  Registry changed;
  changed.Bind("W", [](WorkflowContext& ctx, int) -> Workflow<int> {
    co_await ctx.Sleep(1ms);
    co_return -1;
  });
  Registry old;
  old.Bind("W", [](WorkflowContext& ctx, int x) -> Workflow<int> { co_return x + co_await ctx.Receive<int>("add"); });
  int given_back = 0;
  // On a busy machine the old build may have the turn before the new one has asked: then once more, with another run.
  for (int tries = 1; given_back == 0 && tries <= 10; ++tries) {
    std::string id;
    {
      Engine gone = Join(old, "old");
      const auto run = gone.Start("W", 1);
      ASSERT_TRUE(run.ok()) << run.status();
      id = run->workflow_id();
    }
    Engine stays = Join(old, "old");
    // It gets no hints of the run's turns, but sends the signal, and so is the first to have it.
    Engine fresh = Join(changed, "new", "elsewhere");
    const marathon::Run run = fresh.Find(id);
    ASSERT_EQ(run.Signal("add", 100), Status());
    EXPECT_EQ(run.Result<int>(limits::kResendFirst - 10s).value_or(0), 101);
    given_back = log_->Count("is given back: nondeterminism");
  }
  EXPECT_EQ(given_back, 1);
}

// Pinned, it is not even tried elsewhere.
TEST_P(FleetTest, APinnedRunStaysWithItsBuildThroughARollingRestart) {
  constexpr int kRounds = 8;
  const auto code = [](int of_build) {
    Registry registry;
    registry.Bind("W", [of_build](WorkflowContext& ctx) -> Workflow<int> {
      int sum = 0;
      for (int round = 0; round < kRounds; ++round) {
        co_await ctx.Receive<bool>("go");
        sum += of_build;
      }
      co_return sum;
    }, {.versioning = Versioning::kPinned});
    return registry;
  };
  Engine client = Join(Registry());
  Engine old = Join(code(1), "old");
  std::vector<marathon::Run> runs;
  for (int i = 0; i < 3; ++i) {
    const auto run = old.Start("W");
    ASSERT_TRUE(run.ok()) << run.status();
    runs.push_back(client.Find(run->workflow_id()));
  }
  Engine fresh = Join(code(1'000), "new");
  for (int round = 0; round < kRounds; ++round) {
    for (const marathon::Run& run : runs) {
      ASSERT_EQ((round % 2 == 0 ? client : fresh).Find(run.workflow_id()).Signal("go", true), Status());
    }
    EXPECT_TRUE(old.Shutdown().ok());
    old = Join(code(1), "old");
  }
  for (const marathon::Run& run : runs) EXPECT_EQ(run.Result<int>(limits::kResendFirst - 10s).value_or(0), kRounds);
}

// No lease ends and none is renewed while a test waits: what arrives in time was told, not found.
TEST_P(FleetTest, WhatOneEngineIsAskedAnotherIsTold) {
  if (GetParam().store == StoreKind::kSqliteSqs || GetParam().store == StoreKind::kSqlite) {
    GTEST_SKIP() << "another process hears of a cancel with its next renewal";
  }
  Mailbox<bool> begun, told;
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    int heard = 0;
    auto counts = ctx.OnSignal("add", [&](int x) { heard += x; });
    auto answers = ctx.OnQuery("heard", [&] { return heard; });
    const Outcome<int> ended = co_await ctx.Try(ctx.Start<int>("Endless", 1));
    co_return ended.ok() ? -1 : heard;
  });
  Registry busy;
  busy.Bind("Endless", [&](ActivityContext& ctx, int) -> StatusOr<int> {
    begun.Put(true);
    WaitForStop(ctx.stop_token());
    told.Put(true);
    return absl::CancelledError("told to stop");
  });
  Engine decides = Join(registry);
  Engine acts = Join(busy);
  Engine asks = Join(registry, "", "elsewhere");  // has the code, and takes no turns of this queue
  Engine client = Join(Registry());
  const auto started = client.Start("W");
  ASSERT_TRUE(started.ok()) << started.status();
  const marathon::Run run = asks.Find(started->workflow_id());
  EventReader reader = client.Find(run.workflow_id()).Subscribe();
  EXPECT_TRUE(begun.Get());
  ASSERT_EQ(run.Signal("add", 5), Status());
  EXPECT_EQ(run.Query<int>("heard", {.patience = kPatience}).value_or(0), 5);
  ASSERT_EQ(run.Cancel("enough"), Status());
  EXPECT_TRUE(told.Get()) << "the activity's engine has not heard of it";
  EXPECT_EQ(started->Result<int>(kPatience).value_or(0), 5);
  EventType last = EventType::kTurnStarted;
  while (!reader.ended()) {
    const auto events = reader.Next(kPatience);
    ASSERT_TRUE(events.ok()) << events.status();
    ASSERT_TRUE(!events->empty() || reader.ended()) << "nothing came";
    if (!events->empty()) last = TypeOf(events->back().body);
  }
  EXPECT_EQ(last, EventType::kWorkflowCompleted);
}

TEST_P(FleetTest, TenEnginesDoEachThingOnce) {
  constexpr int kRuns = 10;
  const Registry registry = Both();
  std::vector<Engine> fleet;
  for (int i = 0; i < 10; ++i) fleet.push_back(Join(registry));
  std::vector<marathon::Run> runs;
  for (int i = 0; i < kRuns; ++i) {
    auto run = fleet[static_cast<size_t>(i) % fleet.size()].Start("W", 2);
    ASSERT_TRUE(run.ok()) << run.status();
    runs.push_back(*run);
  }
  for (int i = 0; i < kRuns; ++i) {  // from another one than its own
    Engine& far = fleet[static_cast<size_t>(i + 3) % fleet.size()];
    const marathon::Run other = far.Find(runs[static_cast<size_t>(i)].workflow_id());
    ASSERT_EQ(other.Signal("add", 100), Status());
    EXPECT_EQ(other.Result<int>(kPatience).value_or(0), Expected(2));
  }
  EXPECT_EQ(ledger_.runs().size(), size_t{kRuns * 2 * 3});
  EXPECT_THAT(ledger_.runs(), Each(Pair(::testing::_, 1)));
}

}  // namespace
}  // namespace marathon::tests::fleet_test
