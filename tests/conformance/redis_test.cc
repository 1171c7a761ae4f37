// needs: redis testing
// program: ports
// The Redis store against the suites of its ports, over a real server and a real cluster of three.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "marathon/testing/blob_store_conformance.h"
#include "marathon/testing/limiter_conformance.h"
#include "marathon/testing/state_store_conformance.h"
#include "marathon/testing/stream_log_conformance.h"
#include "marathon/testing/task_queue_conformance.h"
#include "redis_harness.h"

namespace marathon::testing::redis_test {
namespace {

const HarnessMaker kRedis{
    "Redis", [] { return std::unique_ptr<StoreHarness>(std::make_unique<RedisServerHarness>()); }};

const HarnessMaker kCluster{"RedisCluster", [] {
                              return std::unique_ptr<StoreHarness>(
                                  std::make_unique<RedisClusterHarness>());
                            }};

INSTANTIATE_TEST_SUITE_P(Redis, StateStoreConformance, ::testing::Values(kRedis, kCluster));
INSTANTIATE_TEST_SUITE_P(Redis, TaskQueueConformance, ::testing::Values(kRedis, kCluster));
INSTANTIATE_TEST_SUITE_P(Redis, BlobStoreConformance, ::testing::Values(kRedis, kCluster));
INSTANTIATE_TEST_SUITE_P(Redis, StreamLogConformance, ::testing::Values(kRedis, kCluster));
INSTANTIATE_TEST_SUITE_P(Redis, LimiterConformance, ::testing::Values(kRedis, kCluster));

class RedisRetention : public StateStoreConformance {};
INSTANTIATE_TEST_SUITE_P(, RedisRetention, ::testing::Values(kRedis));

TEST_P(RedisRetention, NothingIsLeftOfARunThatHasBeenKeptForItsTime) {
  const auto live_and_go = [&](const std::string& id) {
    Hints();  // somebody receives
    ASSERT_TRUE(Open(id + "-session").ok());
    TurnCommit first;
    first.activities.push_back(Activity(2, /*claim=*/true));
    first.timers.push_back({.id = 1, .duration = std::chrono::hours(9)});
    first.attributes = {{"id", id}, {"stage", "open"}};
    const RunKey run = Started(id, id + "-session", std::move(first));
    ASSERT_TRUE(Put(run, Signal("s", id + "-key")).ok());
    TurnCommit close = Turn(run, 2, 4, id + "-session", 2);
    close.close = RunStatus::kCompleted;
    close.attributes = {{"stage", "over"}};
    ASSERT_TRUE(Commit(close).ok());
    ASSERT_TRUE(CloseSession(id + "-session").ok());
    Advance(limits::kRetention);
    Poll();
    Hints();
    ASSERT_EQ(Read({.run = run}).status().code(), StatusCode::kNotFound);
  };
  auto& redis = static_cast<RedisServerHarness&>(harness());
  live_and_go("first");
  const auto before = redis.Sizes();  // counters, and what is there once
  live_and_go("second");
  EXPECT_EQ(redis.Sizes(), before);
}

}  // namespace
}  // namespace marathon::testing::redis_test
