// needs: redis testing
// The Redis store against the suites of both ports, over a real server.
#include <gtest/gtest.h>

#include <memory>

#include "marathon/testing/state_store_conformance.h"
#include "marathon/testing/task_queue_conformance.h"
#include "redis_harness.h"

namespace marathon::testing {
namespace {

const HarnessMaker kRedis{
    "Redis", [] { return std::unique_ptr<StoreHarness>(std::make_unique<RedisHarness>()); }};

INSTANTIATE_TEST_SUITE_P(Redis, StateStoreConformance, ::testing::Values(kRedis));
INSTANTIATE_TEST_SUITE_P(Redis, TaskQueueConformance, ::testing::Values(kRedis));

}  // namespace
}  // namespace marathon::testing
