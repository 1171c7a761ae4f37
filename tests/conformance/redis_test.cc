// needs: redis testing
// The Redis store against the suites of both ports, over a real server and a real cluster of three.
#include <gtest/gtest.h>

#include <memory>

#include "marathon/testing/state_store_conformance.h"
#include "marathon/testing/task_queue_conformance.h"
#include "redis_harness.h"

namespace marathon::testing {
namespace {

const HarnessMaker kRedis{
    "Redis", [] { return std::unique_ptr<StoreHarness>(std::make_unique<RedisServerHarness>()); }};

const HarnessMaker kCluster{"RedisCluster", [] {
                              return std::unique_ptr<StoreHarness>(
                                  std::make_unique<RedisClusterHarness>());
                            }};

INSTANTIATE_TEST_SUITE_P(Redis, StateStoreConformance, ::testing::Values(kRedis, kCluster));
INSTANTIATE_TEST_SUITE_P(Redis, TaskQueueConformance, ::testing::Values(kRedis, kCluster));

}  // namespace
}  // namespace marathon::testing
