// Clusters without faults, in virtual time: what takes days and many runs, and what the simulator's seeds
// seldom reach.
// needs: testing
// program: sim
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "marathon/adapters/memory.h"
#include "marathon/marathon.h"
#include "marathon/store/hint_outbox.h"
#include "marathon/store/local_hub.h"
#include "marathon/testing/rewinding_state_store.h"
#include "marathon/testing/sim_cluster.h"
#include "../sanitized.h"

namespace marathon::testing::cluster_test {
namespace {

using namespace std::chrono_literals;

constexpr int kSleepers = kSanitized ? 5'000 : 20'000;  // engine_test.cc has 100,000, on real stores

class ClusterTest : public ::testing::Test {
 protected:
  using Code = std::function<std::shared_ptr<const Registry>(SimProcess&)>;

  void Begin(int workers, EngineOptions engine, Code code) {
    SimCluster::Options options;
    options.workers = workers;
    options.rates = FaultRates::None();
    options.engine = std::move(engine);
    options.registry = std::move(code);
    cluster_ = std::make_unique<SimCluster>(world_, memory_, std::move(options), counts_);
    cluster_->Begin();
    world_.RunUntil(world_.Now() + 1s);
  }

  // Starts the run "<type>-<input>" at `process`, and hands over how it ended.
  void Start(SimProcess& process, std::string type, int64_t input,
             std::function<void(const StatusOr<RunEnd>&)> ended) {
    StartCall call;
    call.options.workflow_id = type + "-" + std::to_string(input);
    call.workflow_type = std::move(type);
    call.input = *Encode(input);
    Host& host = *process.host;
    host.Start(std::move(call), [&host, ended = std::move(ended)](const StatusOr<StartReply>& started) {
      ASSERT_TRUE(started.ok()) << started.status();
      host.AwaitEnd(started->run, ended);
    });
  }

  SimWorld world_{1};
  Ports memory_ = NewMemoryPorts(world_);
  FaultCounts counts_;
  std::unique_ptr<SimCluster> cluster_;
};

// The lease is 10 s: one that is not renewed would be lost, and the activity begun again.
TEST_F(ClusterTest, ASessionLostWhileItRestedIsRenewedOnceItIsOpenedAgain) {
  int begun = 0;
  EngineOptions engine;
  engine.lease = 10s;
  Begin(1, engine, [&](SimProcess& process) {
    auto registry = std::make_shared<Registry>();
    registry->Bind("Minutes", [](WorkflowContext& ctx, int64_t x) -> Workflow<int64_t> {
      co_return co_await ctx.Run<int64_t>("Wait", x, {.start_to_close_timeout = 1h});
    });
    registry->Bind("Wait", [&](ActivityContext&, const int64_t& x, ActivityCompletion<int64_t> done) {
      ++begun;
      world_.After(process.runtime.actor(), 300'000'000, "waited",
                   [x, done = std::move(done)]() mutable { done.Complete(x + 1); });
    });
    return registry;
  });
  world_.RunUntil(world_.Now() + 5min);
  SimProcess& worker = *cluster_->worker(0);
  memory_.store->CloseSession(worker.host->session().id(), [](const Status&) {});

  std::optional<RunEnd> end;
  Start(worker, "Minutes", 41, [&](const StatusOr<RunEnd>& ended) { end = *ended; });
  ASSERT_TRUE(world_.RunUntil([&] { return end.has_value(); }, world_.Now() + 1h));
  ASSERT_TRUE(std::holds_alternative<WorkflowCompleted>(end->closing));
  EXPECT_EQ(Decode<int64_t>(std::get<WorkflowCompleted>(end->closing).result).value_or(0), 42);
  EXPECT_EQ(begun, 1);
}

// By the second try its chain has gone on, and another run answers. The first turn has claimed the start of a child,
// which nobody else would make as long as this session lives.
TEST_F(ClusterTest, AStartWhoseAnswerIsLostStartsTheChildrenOfARunThatHasContinued) {
  Begin(1, {}, [](SimProcess&) {
    auto registry = std::make_shared<Registry>();
    registry->Bind("child", [](WorkflowContext&, int64_t input) -> Workflow<int64_t> { co_return input; });
    registry->Bind("parent", [](WorkflowContext& ctx, int64_t round) -> Workflow<int64_t> {
      if (round > 0) co_return round;
      const auto child = ctx.StartChild<int64_t>(
          "child", round, {.workflow_id = "child", .on_parent_close = ParentClosePolicy::kAbandon});
      co_await ctx.ContinueAsNew(round + 1);
      co_return child.run().run_id.empty() ? 0 : 1;
    });
    return registry;
  });
  SimProcess& process = *cluster_->worker(0);
  process.store->FailCall(1, CallFault::kUnknownDone);
  bool parent_ended = false;
  Start(process, "parent", 0, [&](const StatusOr<RunEnd>& end) { parent_ended = end.ok(); });
  world_.RunUntil(world_.Now() + 10s);
  EXPECT_TRUE(parent_ended);
  bool child_ended = false;
  process.host->AwaitEnd({"child", ""}, [&](const StatusOr<RunEnd>& end) { child_ended = end.ok(); });
  world_.RunUntil(world_.Now() + 1s);
  EXPECT_TRUE(child_ended);
}

// A day of sleep each, most of them without a live coroutine; all wake in time, and within minutes.
TEST_F(ClusterTest, ManySleepersWake) {
  EngineOptions engine;
  engine.cache_runs = 1'000;
  Begin(2, engine, [&](SimProcess&) {
    auto registry = std::make_shared<Registry>();
    registry->Bind("Sleeper", [](WorkflowContext& ctx, int64_t x) -> Workflow<int64_t> {
      const Time before = ctx.Now();
      co_await ctx.Sleep(24h + Duration(x));
      co_return ctx.Now() - before >= 24h + Duration(x) ? x + 1 : 0;
    });
    return registry;
  });
  int woken = 0;
  int wrong = 0;
  for (int64_t x = 0; x < kSleepers; ++x) {
    Start(*cluster_->worker(static_cast<size_t>(x % 2)), "Sleeper", x,
          [&, x](const StatusOr<RunEnd>& end) {
            ++woken;
            const auto* done = end.ok() ? std::get_if<WorkflowCompleted>(&end->closing) : nullptr;
            wrong += done == nullptr || Decode<int64_t>(done->result).value_or(0) != x + 1;
          });
  }
  const Time begin = world_.Now();
  world_.RunUntil(begin + 24h);
  EXPECT_EQ(woken, 0);
  ASSERT_TRUE(world_.RunUntil([&] { return woken == kSleepers; }, begin + 24h + 10min)) << woken;
  EXPECT_EQ(wrong, 0);
}

// Over a store that can lose its last writes, and a queue of another domain, which loses nothing.
class LostTailTest : public ClusterTest {
 protected:
  LostTailTest() {
    memory_.store = store_;
    memory_.queue = NewLocalTaskQueue(std::make_shared<LocalHub>(), "queue");
    EXPECT_TRUE(store_->SetOutlet(HintOutbox::Create(memory_.queue, outlet_)).ok());
  }
  ~LostTailTest() override { cluster_.reset(); }  // before what it uses

  StatusCode Find(const RunKey& run) {
    StatusCode code{};
    ReadRequest request;
    request.run = run;
    store_->Read(std::move(request), [&](const StatusOr<RunSnapshot>& read) { code = read.status().code(); });
    return code;
  }

  SimRuntime outlet_{world_, "outlet"};
  std::shared_ptr<RewindingStateStore> store_ = std::make_shared<RewindingStateStore>(
      world_, [](const Clock& clock) { return NewMemoryPorts(clock).store; });
};

// The turn that asked for it is lost, too: taken again, it asks for the same run, of which the worker has live
// coroutines.
TEST_F(LostTailTest, AChildWhoseStartIsLostBeginsAnewAlsoWhereItIsInTheCache) {
  int doubled = 0;
  Begin(1, {}, [&](SimProcess&) {
    auto registry = std::make_shared<Registry>();
    registry->Bind("parent", [](WorkflowContext& ctx, int64_t x) -> Workflow<int64_t> {
      co_await ctx.Sleep(10s);
      co_return co_await ctx.RunChild<int64_t>("child", x, {.workflow_id = "child"});
    });
    registry->Bind("child", [](WorkflowContext& ctx, int64_t x) -> Workflow<int64_t> {
      const auto twice = co_await ctx.Run<int64_t>("Double", x);
      co_await ctx.Receive<int64_t>("go");
      co_return twice + 2;
    });
    registry->Bind("Double", [&](int64_t x) {
      ++doubled;
      return 2 * x;
    });
    return registry;
  });
  SimProcess& worker = *cluster_->worker(0);
  std::optional<RunEnd> end;
  Start(worker, "parent", 20, [&](const StatusOr<RunEnd>& ended) { end = *ended; });
  world_.RunUntil(world_.Now() + 15s);
  ASSERT_EQ(doubled, 1) << "the child waits, in its second turn";

  store_->Lose(10s);
  ASSERT_EQ(Find({"child", ""}), StatusCode::kNotFound);
  world_.RunUntil(world_.Now() + 15s);
  EXPECT_EQ(doubled, 2);
  ASSERT_EQ(Find({"child", ""}), StatusCode::kOk);
  worker.host->Signal({"child", ""}, "go", *Encode(int64_t{0}), {},
                      [](const Status& status) { EXPECT_TRUE(status.ok()) << status; });
  ASSERT_TRUE(world_.RunUntil([&] { return end.has_value(); }, world_.Now() + 1min));
  ASSERT_TRUE(std::holds_alternative<WorkflowCompleted>(end->closing));
  EXPECT_EQ(Decode<int64_t>(std::get<WorkflowCompleted>(end->closing).result).value_or(0), 42);
}

}  // namespace
}  // namespace marathon::testing::cluster_test
