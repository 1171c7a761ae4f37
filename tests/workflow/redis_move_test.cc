// needs: redis
// program: histories
// A slot of a cluster that is on the move between two servers, for as long as a test likes: its keys on this side, on that, or on
// both. tests/workflow/redis_test.cc has what comes after.
#include <gmock/gmock.h>

#include <cstddef>
#include <memory>
#include <string>

#include "../../src/adapters/redis/nodes.h"
#include "../redis_cluster.h"
#include "fixture.h"

namespace marathon::tests::redis_move_test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

inline constexpr ActivityDef<int(int)> kDouble{"Double"};
inline constexpr SignalDef<int> kGo{"go"};

// Each step waits for a signal, and each but the first is of a run of its own.
Workflow<int> Steps(WorkflowContext& ctx, int x) {
  x += co_await ctx.Receive(kGo);
  x = co_await ctx.Run(kDouble, x, {.retry = &kThreeTries});
  if (x < 22) co_await ctx.ContinueAsNew(x);
  co_return x;
}
constexpr int kThreeSteps = 1, kOneStep = 10;  // of signals of 1: 4, 10, 22

class RedisMoveTest : public ::testing::Test {
 protected:
  static RedisCluster& cluster() {
    static RedisCluster cluster;
    return cluster;
  }
  // Of one partition, whose slot begins to move.
  void Open(const std::string& name_space) {
    url_ = cluster().Url("partitions=1&namespace=" + name_space);
    prefix_ = "marathon:{" + name_space + ":0}:";
    slot_ = detail::RedisNodes::SlotOf(prefix_);
    from_ = cluster().OwnerOf(slot_);
    to_ = (from_ + 1) % RedisCluster::kServers;
    engine_ = OpenAnother();
  }
  std::unique_ptr<Engine> OpenAnother() {
    Registry registry;
    registry.Use(RedisBackend({.log = nullptr}));
    registry.Bind(kDouble, [](ActivityContext&, int x) { return 2 * x; });
    registry.Bind("Steps", Steps);
    auto engine = Engine::Open(url_, registry,
                               {.turn_threads = 2, .verify_determinism = true, .log = std::make_shared<CollectingLog>()});
    EXPECT_TRUE(engine.ok()) << engine.status();
    return engine.ok() ? std::make_unique<Engine>(*std::move(engine)) : nullptr;
  }
  void BeginMove() { cluster().BeginMove(slot_, from_, to_); }
  void MoveKeys(const std::string& staying = "") { cluster().MoveKeys(slot_, from_, to_, staying); }
  void EndMove() { cluster().EndMove(slot_, from_, to_); }
  std::string KeysAt(size_t server) {
    return cluster().Call(server, {"CLUSTER", "GETKEYSINSLOT", std::to_string(slot_), "1000"});
  }
  // One step more of a run.
  static void Step(const marathon::Run& run, const std::string& id) {
    const Status status = run.Signal("go", 1, {.request_id = id});
    ASSERT_TRUE(status.ok()) << status;
  }

  std::string url_, prefix_;
  int slot_ = 0;
  size_t from_ = 0, to_ = 0;
  std::unique_ptr<Engine> engine_;
};

TEST_F(RedisMoveTest, StepsGoOnWhereTheirKeysAreBeforeTheSlotHasArrived) {
  Open("open");
  ASSERT_NE(engine_, nullptr);
  const auto old_run = engine_->Start("Steps", kThreeSteps, {.request_id = "old"});
  ASSERT_TRUE(old_run.ok()) << old_run.status();
  Step(*old_run, "1");
  BeginMove();
  MoveKeys();
  // One that is new there, with activities, continued as new with what its predecessor remembers of signals.
  const auto new_run = engine_->Start("Steps", kThreeSteps, {.request_id = "new"});
  ASSERT_TRUE(new_run.ok()) << new_run.status();
  for (const std::string id : {"1", "2", "2", "3"}) Step(*new_run, id);
  EXPECT_EQ(new_run->Result<int>(kPatience).value_or(0), 22);
  Step(*old_run, "2");
  // Who opens the store now finds it there.
  {
    const auto other = OpenAnother();
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(other->Find(new_run->workflow_id()).Result<int>(kPatience).value_or(0), 22);
  }
  EXPECT_THAT(KeysAt(from_), IsEmpty());
  EXPECT_THAT(cluster().Call(from_, {"CLUSTER", "NODES"}), HasSubstr("[" + std::to_string(slot_) + "->-"));
  EndMove();
  ASSERT_TRUE(Eventually([&] { return old_run->Signal("go", 1, {.request_id = "3"}).ok(); }));
  EXPECT_EQ(old_run->Result<int>(kPatience).value_or(0), 22);
  EXPECT_THAT(KeysAt(to_), HasSubstr(prefix_ + "runs"));
}

TEST_F(RedisMoveTest, AStepWhoseKeysAreOnBothSidesWaitsForTheRest) {
  Open("split");
  ASSERT_NE(engine_, nullptr);
  const auto run = engine_->Start("Steps", kOneStep);
  ASSERT_TRUE(run.ok()) << run.status();
  // Until nobody is at it: what is under way would be stopped.
  ASSERT_TRUE(Eventually([&] { return run->History().value_or(std::vector<Event>()).size() > 1; }));
  BeginMove();
  MoveKeys(/*staying=*/prefix_ + "r:");
  const Status split = run->Signal("go", 1, {.request_id = "1"});
  EXPECT_EQ(split.code(), StatusCode::kUnavailable) << split;
  EXPECT_THAT(KeysAt(from_), HasSubstr(prefix_ + "r:"));
  MoveKeys();
  Step(*run, "1");
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 22);
  EndMove();
  ASSERT_TRUE(Eventually([&] { return engine_->Start("Steps", kOneStep, {.workflow_id = "next", .request_id = "1"}).ok(); }));
  const auto next = engine_->Find("next");
  ASSERT_TRUE(Eventually([&] { return next.Signal("go", 1, {.request_id = "1"}).ok(); }));
  EXPECT_EQ(next.Result<int>(kPatience).value_or(0), 22);
}

}  // namespace
}  // namespace marathon::tests::redis_move_test
