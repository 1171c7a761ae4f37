// Transactional activities: SQL of an activity that takes effect exactly once.
// labels: threads
// needs: sqlite testing
// program: activities
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <atomic>
#include <cstdlib>
#include <set>

#include "../unit/faulty_vfs.h"
#include "../unit/sqlite_fixture.h"
#include "fixture.h"
#include "marathon/adapters/memory.h"
#include "marathon/adapters/sqlite_transaction.h"
#include "marathon/testing/test_environment.h"

namespace marathon::tests::transactions_test {
namespace {

using marathon::testing::FaultyVfs;
using marathon::testing::RawDatabase;
using marathon::testing::TempFolder;
using marathon::testing::TestEnvironment;
using sqlite::Transaction;
using sqlite::Transactional;
using ::testing::HasSubstr;

struct Transfer {
  std::string from, to;
  int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Transfer, from, to, cents)

constexpr ActivityDef<int64_t(Transfer)> kTransfer{"Transfer"};
constexpr ActivityDef<int()> kCount{"Count"};

constexpr const char* kLedger =
    "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0));"
    "INSERT OR IGNORE INTO accounts VALUES ('a', 100), ('b', 0);"
    "CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL);"
    "INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter)";

StatusOr<int64_t> Move(Transaction& tx, const Transfer& input) {
  const char* const sql = "UPDATE accounts SET cents = cents + ?2 WHERE name = ?1";
  if (auto paid = tx.Run(sql, input.to, input.cents); !paid.ok()) return paid.status();
  if (auto paid = tx.Run(sql, input.from, -input.cents); !paid.ok()) return paid.status();
  return tx.One<int64_t>("SELECT cents FROM accounts WHERE name = ?1", input.from);
}

StatusOr<int> CountOne(Transaction& tx) {
  if (auto counted = tx.Run("UPDATE counter SET n = n + 1"); !counted.ok()) return counted.status();
  return tx.One<int>("SELECT n FROM counter");
}

// By runs that are kept live.
class TransactionsTest : public ::testing::TestWithParam<size_t> {
 protected:
  Engine Open(Registry registry, const std::string& parameters = "") {
    SqliteOptions sqlite;
    sqlite.full_sync = false;
    sqlite.transaction_limit = 1min;  // a busy machine may hold an attempt up; that is no failure
    sqlite.user_schema = kLedger;
    registry.Use(SqliteBackend(sqlite));
    EngineOptions options;
    options.cache_runs = GetParam();
    options.turn_threads = 2;
    options.verify_determinism = true;
    options.log = log_;
    auto engine = Engine::Open("sqlite:" + file() + parameters, registry, std::move(options));
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  // A workflow "W" that is one Count.
  static void BindOne(Registry& registry, const RetryPolicy& retry) {
    registry.Bind("W", [&retry](WorkflowContext& ctx) -> Workflow<int> {
      co_return co_await ctx.Run(kCount, {.retry = &retry});
    });
  }
  std::string file() const { return folder_.File("app.db"); }
  std::string Sql(const std::string& sql) const { return RawDatabase(file()).Text(sql); }

  TempFolder folder_;
  std::shared_ptr<CollectingLog> log_ = std::make_shared<CollectingLog>();
};
INSTANTIATE_TEST_SUITE_P(, TransactionsTest, ::testing::Values(0, 10'000), [](const auto& setup) {
  return setup.param == 0 ? "NoCache" : "Cached";
});

TEST_P(TransactionsTest, CommitsItsSqlWithItsEnd) {
  Registry registry;
  registry.Bind(kTransfer, Transactional(Move));
  registry.Bind("ByName", Transactional([](ActivityContext& ctx, Transaction& tx, const Transfer& input) {
                  EXPECT_EQ(ctx.attempt(), 1);
                  return Move(tx, input);
                }));
  registry.Bind("W", [](WorkflowContext& ctx, Transfer input) -> Workflow<int64_t> {
    const int64_t left = co_await ctx.Run(kTransfer, input);
    EXPECT_EQ(left, 70);
    co_return co_await ctx.Run<int64_t>("ByName", input);
  });
  Engine engine = Open(registry);
  EXPECT_EQ(ResultOf<int64_t>(engine.Start("W", Transfer{"a", "b", 30})).value_or(0), 40);
  EXPECT_EQ(Sql("SELECT group_concat(cents) FROM accounts"), "40,60");
}

TEST_P(TransactionsTest, WhatFailsLeavesNothingAndIsRetried) {
  Registry registry;
  std::atomic<int> attempts{0};
  registry.Bind(kCount, Transactional([&](Transaction& tx) -> StatusOr<int> {
                  const StatusOr<int> counted = CountOne(tx);
                  EXPECT_EQ(counted.value_or(0), 1);
                  if (++attempts == 1) return Unavailable("not yet");
                  if (attempts == 2) throw ApplicationError("nor now");
                  return counted;
                }));
  BindOne(registry, kThreeTries);
  Engine engine = Open(registry);
  EXPECT_EQ(ResultOf<int>(engine.Start("W")).value_or(0), 1);
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(Sql("SELECT n FROM counter"), "1");
}

TEST_P(TransactionsTest, ErrorsOfSqlAreFailures) {
  Registry registry;
  registry.Bind(kTransfer, Transactional(Move));
  registry.Bind("W", [](WorkflowContext& ctx, Transfer input) -> Workflow<int64_t> {
    co_return co_await ctx.Run(kTransfer, input, {.retry = &kThreeTries});
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W", Transfer{"a", "b", 101});
  const Failure failure = FailureOf(ResultOf<int64_t>(run).status());
  EXPECT_EQ(failure.type, "FAILED_PRECONDITION");
  EXPECT_THAT(failure.message, HasSubstr("CHECK constraint failed"));
  EXPECT_EQ(Sql("SELECT group_concat(cents) FROM accounts"), "100,0");
}

TEST_P(TransactionsTest, ForbiddenSqlIsNotRetried) {
  Registry registry;
  std::atomic<int> attempts{0};
  registry.Bind(kCount, Transactional([&](Transaction& tx) -> StatusOr<int> {
                  ++attempts;
                  if (auto counted = CountOne(tx); !counted.ok()) return counted;
                  if (auto committed = tx.Run("COMMIT"); !committed.ok()) return committed.status();
                  return 0;
                }));
  BindOne(registry, kThreeTries);
  Engine engine = Open(registry);
  const Failure failure = FailureOf(ResultOf<int>(engine.Start("W")).status());
  EXPECT_EQ(failure.type, failure_type::kForbiddenSql);
  EXPECT_EQ(attempts, 1);
  EXPECT_EQ(Sql("SELECT n FROM counter"), "0");
}

TEST_P(TransactionsTest, SqlThatGoesOnForTooLongIsInterrupted) {
  Registry registry;
  registry.Bind(kCount, Transactional([](Transaction& tx) -> StatusOr<int> {
                  if (auto counted = CountOne(tx); !counted.ok()) return counted;
                  return tx.One<int>("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                                     "SELECT count(*) FROM n");
                }));
  BindOne(registry, kOneTry);
  Engine engine = Open(registry, "?transaction_limit=10");
  const Failure failure = FailureOf(ResultOf<int>(engine.Start("W")).status());
  EXPECT_EQ(failure.type, "DEADLINE_EXCEEDED");
  EXPECT_THAT(failure.message, HasSubstr("transaction_limit"));
  EXPECT_EQ(Sql("SELECT n FROM counter"), "0");
}

TEST_P(TransactionsTest, WhatItAsksOfItsEngineIsRefused) {
  Registry registry;
  Engine* itself = nullptr;
  registry.Bind(kCount, Transactional([&](ActivityContext& ctx, Transaction& tx) {
                  EXPECT_EQ(ctx.CompleteLater().status().code(), StatusCode::kFailedPrecondition);
                  EXPECT_EQ(ctx.Heartbeat(1), Status());
                  const auto other = itself->Start("W");
                  EXPECT_EQ(other.status().code(), StatusCode::kFailedPrecondition) << other.status();
                  EXPECT_EQ(itself->Find(ctx.info().key.run.workflow_id.view()).Signal("s", 1).code(),
                            StatusCode::kFailedPrecondition);
                  return CountOne(tx);
                }));
  BindOne(registry, kOneTry);
  Engine engine = Open(registry);
  itself = &engine;
  const auto result = ResultOf<int>(engine.Start("W"));
  EXPECT_EQ(result.value_or(0), 1) << result.status();
}

// Two engines, as two processes have them, many threads, and each activity failing once after it has written.
TEST_P(TransactionsTest, EachRunCountsOnceWhateverIsRetried) {
  constexpr int kRuns = 40;
  std::atomic<int> attempts{0};
  const auto open = [&] {
    Registry registry;
    registry.Bind(kCount, Transactional([&](ActivityContext& ctx, Transaction& tx) -> StatusOr<int> {
                    ++attempts;
                    StatusOr<int> counted = CountOne(tx);
                    if (ctx.attempt() == 1) return Unavailable("once more");
                    return counted;
                  }));
    BindOne(registry, kThreeTries);
    return Open(registry);
  };
  Engine one = open();
  Engine two = open();
  std::vector<StatusOr<marathon::Run>> runs;
  for (int i = 0; i < kRuns; ++i) runs.push_back((i % 2 == 0 ? one : two).Start("W"));
  std::set<int> counts;
  for (const auto& run : runs) {
    const auto count = ResultOf<int>(run);
    ASSERT_TRUE(count.ok()) << count.status();
    counts.insert(*count);
  }
  EXPECT_EQ(counts.size(), static_cast<size_t>(kRuns));  // no two of them saw the same
  EXPECT_EQ(*counts.rbegin(), kRuns);
  EXPECT_EQ(Sql("SELECT n FROM counter"), std::to_string(kRuns));
  EXPECT_GE(attempts, 2 * kRuns);
}

// Whether it was committed is not known at first, or it certainly was not: it is delivered again, and counts once.
TEST_P(TransactionsTest, ACommitThatTheDiskRefusesIsMadeInTheEnd) {
  for (const int code : {SQLITE_IOERR_WRITE, SQLITE_FULL}) {
    FaultyVfs vfs;
    std::atomic<bool> armed{false};
    std::atomic<int> calls{0};
    vfs.Set([&](FaultyVfs::Op op, const std::string& suffix) {
      const bool fails = op == FaultyVfs::Op::kWrite && suffix == "-wal" && armed.exchange(false);
      return fails ? code : SQLITE_OK;
    });
    Registry registry;
    registry.Bind(kCount, Transactional([&](ActivityContext& ctx, Transaction& tx) {
                    EXPECT_EQ(ctx.attempt(), 1);
                    StatusOr<int> counted = CountOne(tx);
                    if (++calls == 1) armed = true;  // the next write is the commit's
                    return counted;
                  }));
    BindOne(registry, kOneTry);
    const int before = std::atoi(code == SQLITE_FULL ? Sql("SELECT n FROM counter").c_str() : "0");
    Engine engine = Open(registry);
    const auto result = ResultOf<int>(engine.Start("W"));
    EXPECT_EQ(result.value_or(0), before + 1) << result.status();
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(Sql("SELECT n FROM counter"), std::to_string(before + 1));
  }
}

TEST_P(TransactionsTest, OrdinaryActivitiesAndOtherRunsGoOnBesideIt) {
  constexpr int kRuns = 50;
  Registry registry;
  registry.Bind(kCount, Transactional(CountOne));
  registry.Bind("Plain", [](int x) { return x; });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    auto plain = ctx.Start<int>("Plain", 7);
    auto counted = ctx.Start(kCount);
    const int seven = co_await plain;
    co_return seven + co_await counted;
  });
  Engine engine = Open(registry);
  std::vector<StatusOr<marathon::Run>> runs;
  for (int i = 0; i < kRuns; ++i) runs.push_back(engine.Start("W"));
  for (const auto& run : runs) EXPECT_TRUE(ResultOf<int>(run).ok());
  EXPECT_EQ(Sql("SELECT n FROM counter"), std::to_string(kRuns));
}

TEST_P(TransactionsTest, TheQueueMayBeOfAnotherDomain) {
  Registry registry;
  registry.Bind(kCount, Transactional(CountOne));
  BindOne(registry, kOneTry);
  registry.Use(Backend{"other", [](const BackendUrl&, Runtime&) -> StatusOr<Ports> {
                         auto queue = NewLocalTaskQueue(std::make_shared<LocalHub>(), "another domain");
                         return Ports{nullptr, std::move(queue)};
                       }});
  Engine engine = Open(registry, "?queue=other%3A");
  EXPECT_EQ(ResultOf<int>(engine.Start("W")).value_or(0), 1);
}

// ---- Where there is no such transaction

TEST_P(TransactionsTest, AnotherStoreIsRefusedAtOpen) {
  Registry registry;
  registry.Bind(kCount, Transactional(CountOne));
  const auto engine = Engine::Open("memory:", registry);
  EXPECT_EQ(engine.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(engine.status())), HasSubstr("\"Count\" is transactional: it needs the store that "
                                                                 "keeps its tables, SQLite, and memory:"));
}

TEST_P(TransactionsTest, ItCannotBeLocal) {
  Registry registry;
  std::atomic<int> attempts{0};
  registry.Bind(kCount, Transactional([&](Transaction& tx) {
                  ++attempts;
                  return CountOne(tx);
                }));
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.RunLocal(kCount); });
  Engine engine = Open(registry);
  const Failure failure = FailureOf(ResultOf<int>(engine.Start("W")).status());
  EXPECT_EQ(failure.type, failure_type::kNoTransaction);
  EXPECT_EQ(attempts, 0);
}

TEST_P(TransactionsTest, TheTestingKitWantsAMock) {
  Registry registry;
  registry.Bind(kCount, Transactional(CountOne));
  BindOne(registry, kOneTry);
  TestEnvironment environment(registry);
  const Failure failure = FailureOf(ResultOf<int>(environment.engine().Start("W")).status());
  EXPECT_EQ(failure.type, failure_type::kNoTransaction);
  environment.Mock(kCount, [] { return 5; });
  EXPECT_EQ(ResultOf<int>(environment.engine().Start("W")).value_or(0), 5);
}

// An activity's code alone, over a connection of the test's.
TEST(TransactionTest, CodeIsTestedOverAnyConnection) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, kLedger, nullptr, nullptr, nullptr), SQLITE_OK);
  {
    Transaction tx(db);
    EXPECT_EQ(Move(tx, {"a", "b", 30}).value_or(0), 70);
    EXPECT_EQ(Move(tx, {"a", "b", 101}).status().code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(CountOne(tx).value_or(0), 1);
  }
  sqlite3_close(db);
}

}  // namespace
}  // namespace marathon::tests::transactions_test
