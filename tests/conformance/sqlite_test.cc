// needs: sqlite testing
// The SQLite store against the suites of both ports. What is its own: tests/unit/sqlite_*_test.cc.
#include <gtest/gtest.h>

#include <memory>

#include "marathon/testing/state_store_conformance.h"
#include "marathon/testing/task_queue_conformance.h"
#include "sqlite_harness.h"

namespace marathon::testing {
namespace {

const HarnessMaker kSqlite{
    "Sqlite", [] { return std::unique_ptr<StoreHarness>(std::make_unique<SqliteHarness>()); }};

INSTANTIATE_TEST_SUITE_P(Sqlite, StateStoreConformance, ::testing::Values(kSqlite));
INSTANTIATE_TEST_SUITE_P(Sqlite, TaskQueueConformance, ::testing::Values(kSqlite));

}  // namespace
}  // namespace marathon::testing
