// needs: sqlite testing
// program: ports
// The SQLite store against the suites of its ports. What is its own: tests/unit/sqlite_*_test.cc.
#include <gtest/gtest.h>

#include <memory>

#include "marathon/testing/blob_store_conformance.h"
#include "marathon/testing/limiter_conformance.h"
#include "marathon/testing/state_store_conformance.h"
#include "marathon/testing/stream_log_conformance.h"
#include "marathon/testing/task_queue_conformance.h"
#include "sqlite_harness.h"

namespace marathon::testing::sqlite_test {
namespace {

const HarnessMaker kSqlite{
    "Sqlite", [] { return std::unique_ptr<StoreHarness>(std::make_unique<SqliteHarness>()); }};

INSTANTIATE_TEST_SUITE_P(Sqlite, StateStoreConformance, ::testing::Values(kSqlite));
INSTANTIATE_TEST_SUITE_P(Sqlite, TaskQueueConformance, ::testing::Values(kSqlite));
INSTANTIATE_TEST_SUITE_P(Sqlite, BlobStoreConformance, ::testing::Values(kSqlite));
INSTANTIATE_TEST_SUITE_P(Sqlite, StreamLogConformance, ::testing::Values(kSqlite));
INSTANTIATE_TEST_SUITE_P(Sqlite, LimiterConformance, ::testing::Values(kSqlite));

}  // namespace
}  // namespace marathon::testing::sqlite_test
