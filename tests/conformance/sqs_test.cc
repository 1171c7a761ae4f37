// needs: sqs sqlite testing
// program: ports
// SQS as the queue of stores of other kinds, against the suites of both ports. What is SQS's own:
// tests/unit/sqs_*_test.cc.
#include <gtest/gtest.h>

#include <memory>

#include "marathon/testing/state_store_conformance.h"
#include "marathon/testing/task_queue_conformance.h"
#include "sqlite_harness.h"
#include "sqs_harness.h"
#ifdef MARATHON_HAS_REDIS
#include "redis_harness.h"
#endif

namespace marathon::testing::sqs_test {
namespace {

const HarnessMaker kSqlite{"SqliteSqs", [] {
                             return std::unique_ptr<StoreHarness>(
                                 std::make_unique<SqsHarness<SqliteHarness>>());
                           }};

INSTANTIATE_TEST_SUITE_P(SqliteSqs, StateStoreConformance, ::testing::Values(kSqlite));
INSTANTIATE_TEST_SUITE_P(SqliteSqs, TaskQueueConformance, ::testing::Values(kSqlite));

// Another server, which others have written: what both do, SQS does more likely.
const HarnessMaker kFauxqs{"SqliteFauxqs", [] {
                             return std::unique_ptr<StoreHarness>(
                                 std::make_unique<SqsHarness<SqliteHarness, tests::FauxqsServer>>());
                           }};

INSTANTIATE_TEST_SUITE_P(SqliteFauxqs, TaskQueueConformance, ::testing::Values(kFauxqs));

#ifdef MARATHON_HAS_REDIS
const HarnessMaker kRedis{"RedisSqs", [] {
                            return std::unique_ptr<StoreHarness>(
                                std::make_unique<SqsHarness<RedisServerHarness>>());
                          }};

INSTANTIATE_TEST_SUITE_P(RedisSqs, StateStoreConformance, ::testing::Values(kRedis));
INSTANTIATE_TEST_SUITE_P(RedisSqs, TaskQueueConformance, ::testing::Values(kRedis));
#endif

}  // namespace
}  // namespace marathon::testing::sqs_test
