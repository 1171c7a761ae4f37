// Transactional activities at the store: an activity's SQL and its end are both there or neither, at whatever moment the
// disk fails or the process is killed.
// needs: sqlite testing
// program: stores
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "faulty_vfs.h"
#include "marathon/adapters/sqlite_transaction.h"
#include "sqlite_fixture.h"
#include "src/adapters/sqlite/schema.h"

namespace marathon::testing::sqlite_transaction_test {
namespace {

using ::testing::HasSubstr;
using sqlite::Transaction;

const ActivityKey kCounted{KeyOf(1), 3};  // the activity of FirstTurn(1)

SqliteOptions WithCounter() {
  SqliteOptions options;
  options.user_schema =
      "CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);"
      "INSERT OR IGNORE INTO counter VALUES (1, 0)";
  return options;
}

// A process whose session "s" is at work on the activity, at epoch 1.
void BeginCounting(Process& process, const std::string& file) {
  ASSERT_EQ(process.Open(file, "", WithCounter()), Status());
  ASSERT_TRUE(process.OpenSession("s").ok());
  ASSERT_TRUE(process.Start(StartOf(1)).ok());
  ASSERT_TRUE(process.Commit(FirstTurn(1, "s", true)).ok());
}

// Runs `body` as the activity's; it completes if that is OK.
StatusOr<bool> EndWith(Process& process, Epoch epoch, const std::function<Status(Transaction&)>& body) {
  return process.ports.transactions->End(
      {kCounted, epoch, "s", [&](StoreTransaction& tx) -> std::optional<EventBody> {
         if (!body(static_cast<Transaction&>(tx)).ok()) return std::nullopt;
         return ActivityCompleted{kCounted.id, Payload(), 1};
       }});
}

Status Increment(Transaction& tx) { return tx.Run("UPDATE counter SET n = n + ?1 WHERE id = ?2", 1, 1).status(); }

std::string Counted(const std::string& file) { return RawDatabase(file).Text("SELECT n FROM counter"); }

// Whether the activity has ended; checks that its SQL has taken effect exactly then.
bool ExpectBothOrNeither(Process& process, const std::string& file) {
  const auto run = process.Read(kCounted.run);
  EXPECT_TRUE(run.ok()) << run.status();
  const bool ended = run.ok() && run->activities.empty();
  EXPECT_EQ(Counted(file), ended ? "1" : "0");
  EXPECT_EQ(run.ok() ? run->inbox.size() : 9u, ended ? 1u : 0u);
  return ended;
}

// Opens the file anew, as after a crash, and has the activity done by whoever comes next, unless it is.
void FinishCounting(SimWorld& world, const std::string& file) {
  Process next(world, "next");
  ASSERT_EQ(next.Open(file, "", WithCounter()), Status());
  ASSERT_TRUE(next.OpenSession("next").ok());
  if (!ExpectBothOrNeither(next, file)) {
    auto won = next.Wait<StatusOr<std::vector<ActivityRow>>>([&](auto done) {
      next.ports.store->ClaimActivities("next", {{kCounted, 1}}, std::move(done));
    });
    ASSERT_TRUE(won.ok() && won->size() == 1);
    EXPECT_TRUE(EndWith(next, 2, Increment).ok());
  }
  EXPECT_TRUE(ExpectBothOrNeither(next, file));
  next.Close();
  EXPECT_EQ(CheckSqliteFile(file), Status());
}

class SqliteTransactionTest : public ::testing::Test {
 protected:
  std::string file() const { return folder_.File("app.db"); }
  // What becomes of a statement, in a transaction that is then committed.
  Failure RefusedWith(Process& process, const std::string& sql);

  TempFolder folder_;
  SimWorld world_{1};
};

TEST_F(SqliteTransactionTest, CommitsWhatWasWrittenWithTheEnd) {
  Process process(world_);
  BeginCounting(process, file());
  const StatusOr<bool> mine = EndWith(process, 1, Increment);
  ASSERT_TRUE(mine.ok()) << mine.status();
  EXPECT_TRUE(*mine);  // the session takes the next turn
  EXPECT_TRUE(ExpectBothOrNeither(process, file()));
  // Whoever tries again finds it ended.
  EXPECT_EQ(EndWith(process, 1, Increment).status().code(), StatusCode::kAborted);
  EXPECT_TRUE(ExpectBothOrNeither(process, file()));
}

TEST_F(SqliteTransactionTest, WhatGivesNoOutcomeIsRolledBack) {
  Process process(world_);
  BeginCounting(process, file());
  const auto fail = [](Transaction& tx) {
    EXPECT_EQ(Increment(tx), Status());
    return Unavailable("not now");
  };
  EXPECT_EQ(EndWith(process, 1, fail).status().code(), StatusCode::kAborted);
  EXPECT_FALSE(ExpectBothOrNeither(process, file()));
  EXPECT_TRUE(EndWith(process, 1, Increment).ok());  // still the same attempt's
  EXPECT_TRUE(ExpectBothOrNeither(process, file()));
}

TEST_F(SqliteTransactionTest, AnAttemptThatIsSomebodyElsesByNowIsNotBegun) {
  Process process(world_);
  BeginCounting(process, file());
  AttemptEnd back{.key = kCounted, .epoch = 1, .kind = AttemptEnd::Kind::kGiveBack};
  ASSERT_TRUE(process.Call(&StateStore::EndAttempt, back).ok());
  int calls = 0;
  const auto count = [&](Transaction& tx) {
    ++calls;
    return Increment(tx);
  };
  EXPECT_EQ(EndWith(process, 1, count).status().code(), StatusCode::kAborted);  // nobody's
  auto won = process.Wait<StatusOr<std::vector<ActivityRow>>>(
      [&](auto done) { process.ports.store->ClaimActivities("s", {{kCounted, 1}}, std::move(done)); });
  ASSERT_TRUE(won.ok() && won->size() == 1);
  EXPECT_EQ(EndWith(process, 1, count).status().code(), StatusCode::kAborted);  // another attempt's
  EXPECT_EQ(calls, 0);
  EXPECT_TRUE(EndWith(process, 2, count).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(ExpectBothOrNeither(process, file()));
}

TEST_F(SqliteTransactionTest, ACanceledActivityWritesNothing) {
  Process process(world_);
  BeginCounting(process, file());
  TurnCommit cancel;
  cancel.run = kCounted.run;
  cancel.commit_id = 101 + 1;
  cancel.expected_version = 3;
  cancel.expected_commit = 101;
  cancel.session = "s";
  cancel.new_version = 5;
  cancel.record = EncodeRecord(cancel.commit_id, {{4, TurnStarted{}}, {5, ActivityCancelRequested{3}}});
  cancel.cancel_activities.push_back({3});
  const auto canceled = process.Commit(cancel);
  ASSERT_TRUE(canceled.ok()) << canceled.status();
  EXPECT_EQ(EndWith(process, 1, Increment).status().code(), StatusCode::kCancelled);
  EXPECT_FALSE(ExpectBothOrNeither(process, file()));
}

// ---- What SQL may do

Failure SqliteTransactionTest::RefusedWith(Process& process, const std::string& sql) {
  Status status;
  EXPECT_EQ(EndWith(process, 1,
                    [&](Transaction& tx) {
                      status = tx.Run(sql).status();
                      return status;
                    })
                .status()
                .code(),
            StatusCode::kAborted);
  return GetFailure(status).value_or(Failure{.type = "none", .message = status.ToString()});
}

TEST_F(SqliteTransactionTest, RefusesWhatReachesBeyondTheTransaction) {
  Process process(world_);
  BeginCounting(process, file());
  const std::pair<const char*, const char*> kRefused[] = {
      {"COMMIT", "ends with it"},
      {"ROLLBACK", "ends with it"},
      {"BEGIN", "ends with it"},
      {"ATTACH 'other.db' AS other", "several files"},
      {"DETACH other", "several files"},
      {"PRAGMA synchronous = OFF", "settings are the store's"},
      {"PRAGMA wal_checkpoint", "settings are the store's"},
      {"CREATE TEMP TABLE runs (id)", "temporary"},
      {"CREATE TEMP VIEW runs AS SELECT 1", "temporary"},
      {"DELETE FROM activities", "store's own"},
      {"SELECT row FROM Runs", "store's own"},
      {"UPDATE meta SET value = 0", "store's own"},
      {"DROP TABLE log", "store's own"},
      {"ALTER TABLE log ADD COLUMN x", "store's own"},
      {"CREATE INDEX mine ON log (version)", "store's own"},
      {"CREATE TRIGGER mine AFTER INSERT ON log BEGIN SELECT 1; END", "store's own"},
      {"CREATE TABLE marathon_x (id)", "marathon_"},
      {"ANALYZE", "store's own"}};
  for (const auto& [sql, why] : kRefused) {
    const Failure failure = RefusedWith(process, sql);
    EXPECT_EQ(failure.type, failure_type::kForbiddenSql) << sql;
    EXPECT_TRUE(failure.non_retryable) << sql;
    EXPECT_THAT(failure.message, HasSubstr(why)) << sql;
    EXPECT_THAT(failure.message, HasSubstr(sql));
  }
  // Not even by a detour over a view.
  EXPECT_TRUE(EndWith(process, 1, [](Transaction& tx) {
                EXPECT_TRUE(tx.Run("CREATE VIEW detour AS SELECT * FROM runs").ok());
                EXPECT_TRUE(GetFailure(tx.Query("SELECT id FROM detour").status()).has_value());
                return Increment(tx);
              }).ok());
  EXPECT_TRUE(ExpectBothOrNeither(process, file()));
}

TEST_F(SqliteTransactionTest, AllTablesOfTheStoreAreReserved) {
  {
    Process process(world_);
    ASSERT_TRUE(process.Open(file()).ok());
  }
  std::vector<std::string> names(std::begin(detail::kSqliteTables), std::end(detail::kSqliteTables));
  std::ranges::sort(names);
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ",") + name;
  EXPECT_EQ(RawDatabase(file()).Text("SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema "
                                     "WHERE type = 'table' ORDER BY name)"),
            all);
}

TEST_F(SqliteTransactionTest, UsersHaveTablesIndexesTriggersAndSavepoints) {
  Process process(world_);
  BeginCounting(process, file());
  const auto body = [](Transaction& tx) {
    for (const char* sql :
         {"CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, log BLOB, price REAL)",
          "CREATE INDEX items_price ON items (price)",
          "CREATE TRIGGER items_count AFTER INSERT ON items BEGIN UPDATE counter SET n = n + 1; END",
          "ALTER TABLE items ADD COLUMN note TEXT CHECK (note <> '')", "SAVEPOINT before"}) {
      const auto ran = tx.Run(sql);
      EXPECT_TRUE(ran.ok()) << ran.status();
    }
    const std::optional<std::string> no_note;
    EXPECT_EQ(tx.Run("INSERT INTO items VALUES (?1, ?2, ?3, ?4, ?5)", 7, "pen", sqlite::Blob{{"\0\1", 2}}, 1.5, no_note)
                  .value_or(0),
              1);
    EXPECT_EQ(tx.Run("INSERT INTO items (name) VALUES (?1)", std::string("pen")).status().code(),
              StatusCode::kAlreadyExists);
    EXPECT_EQ(tx.Run("INSERT INTO items (name, note) VALUES ('x', '')").status().code(),
              StatusCode::kFailedPrecondition);
    EXPECT_EQ(tx.Run("INSERT INTO nothing VALUES (1)").status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(MessageOf(tx.Run("SELECT ?1").status())), HasSubstr("has 1 parameters"));
    EXPECT_THAT(std::string(MessageOf(tx.Run("SELECT 1; SELECT 2").status())), HasSubstr("one statement"));
    EXPECT_EQ(tx.One<std::string>("SELECT log FROM items").value_or(""), std::string("\0\1", 2));
    EXPECT_EQ(tx.One<double>("SELECT price FROM items WHERE name = ?1", "pen").value_or(0), 1.5);
    EXPECT_EQ(tx.One<int>("SELECT id FROM items WHERE note IS ?1", nullptr).value_or(0), 7);
    EXPECT_EQ(tx.One<int>("SELECT id FROM items WHERE id = 8").status().code(), StatusCode::kNotFound);
    EXPECT_EQ(tx.One<int>("INSERT INTO items (name) VALUES ('ink') RETURNING id").value_or(0), 8);
    EXPECT_EQ(tx.Run("SELECT * FROM items").value_or(9), 0);  // changes none
    auto rows = tx.Query("SELECT id, name, price, log FROM items WHERE id > ?1 ORDER BY id", 0);
    EXPECT_TRUE(rows.ok());
    std::string all;
    while (rows->Next()) {
      all += std::to_string(rows->Int(0)) + rows->Text(1) + (rows->IsNull(2) ? "-" : std::to_string(rows->Real(2)));
    }
    EXPECT_FALSE(rows->Next());
    EXPECT_EQ(all, "7pen1.5000008ink-");
    EXPECT_EQ(tx.One<int>("SELECT count(*) FROM pragma_table_info('items')").value_or(0), 5);
    EXPECT_TRUE(tx.Run("DELETE FROM items WHERE id = 8").ok());
    EXPECT_EQ(tx.One<int>("SELECT n FROM counter").value_or(0), 2);
    EXPECT_TRUE(tx.Run("UPDATE counter SET n = 0").ok());
    EXPECT_TRUE(tx.Run("RELEASE before").ok());
    return Increment(tx);
  };
  const auto mine = EndWith(process, 1, body);
  ASSERT_TRUE(mine.ok()) << mine.status();
  EXPECT_TRUE(ExpectBothOrNeither(process, file()));
  EXPECT_EQ(RawDatabase(file()).Text("SELECT group_concat(name) FROM items"), "pen");
}

// By its conflict clause, a statement may undo the whole transaction; what follows must not commit by itself.
TEST_F(SqliteTransactionTest, AStatementThatRollsBackTakesAllWithIt) {
  Process process(world_);
  BeginCounting(process, file());
  const char* const conflict = "INSERT OR ROLLBACK INTO counter VALUES (1, 5)";
  EXPECT_EQ(EndWith(process, 1, [&](Transaction& tx) {
              EXPECT_EQ(Increment(tx), Status());
              EXPECT_EQ(tx.Run(conflict).status().code(), StatusCode::kAlreadyExists);
              EXPECT_EQ(tx.status().code(), StatusCode::kAlreadyExists);
              EXPECT_EQ(Increment(tx).code(), StatusCode::kAlreadyExists);
              return Status();
            }).status().code(), StatusCode::kAlreadyExists);
  EXPECT_FALSE(ExpectBothOrNeither(process, file()));
  // The same behind Transaction's back.
  EXPECT_EQ(EndWith(process, 1, [&](Transaction& tx) {
              sqlite3* const db = tx.handle();
              EXPECT_EQ(sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr), SQLITE_AUTH);
              EXPECT_EQ(sqlite3_exec(db, conflict, nullptr, nullptr, nullptr) & 0xff, SQLITE_CONSTRAINT);
              EXPECT_EQ(sqlite3_exec(db, "UPDATE counter SET n = 7", nullptr, nullptr, nullptr) & 0xff,
                        SQLITE_CONSTRAINT);
              return Status();
            }).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_FALSE(ExpectBothOrNeither(process, file()));
  // And when a transaction is open again in the end.
  EXPECT_EQ(EndWith(process, 1, [&](Transaction& tx) {
              EXPECT_EQ(Increment(tx), Status());
              EXPECT_EQ(sqlite3_exec(tx.handle(), conflict, nullptr, nullptr, nullptr) & 0xff, SQLITE_CONSTRAINT);
              EXPECT_EQ(sqlite3_exec(tx.handle(), "SAVEPOINT a", nullptr, nullptr, nullptr), SQLITE_OK);
              return Status();
            }).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_FALSE(ExpectBothOrNeither(process, file()));
  EXPECT_TRUE(EndWith(process, 1, Increment).ok());
  EXPECT_TRUE(ExpectBothOrNeither(process, file()));
}

TEST_F(SqliteTransactionTest, ATableThatIsBeingReadIsNotDropped) {
  Process process(world_);
  BeginCounting(process, file());
  EXPECT_TRUE(EndWith(process, 1, [&](Transaction& tx) {
                StatusOr<sqlite::Rows> rows = tx.Query("SELECT n FROM counter");
                EXPECT_TRUE(rows.ok() && rows->Next());
                EXPECT_EQ(tx.Run("DROP TABLE counter").status().code(), StatusCode::kFailedPrecondition);
                return Status();
              }).ok());
}

TEST_F(SqliteTransactionTest, DeferredForeignKeysHoldInTheEnd) {
  Process process(world_);
  BeginCounting(process, file());
  const auto orphan = [](Transaction& tx) {
    EXPECT_TRUE(tx.Run("CREATE TABLE child (id REFERENCES counter DEFERRABLE INITIALLY DEFERRED)").ok());
    EXPECT_TRUE(tx.Run("INSERT INTO child VALUES (2)").ok());
    return Increment(tx);
  };
  EXPECT_EQ(EndWith(process, 1, orphan).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_FALSE(ExpectBothOrNeither(process, file()));
}

// It would pin what the store sees of the file.
TEST_F(SqliteTransactionTest, AStatementThatIsLeftOpenHarmsNobody) {
  Process process(world_);
  BeginCounting(process, file());
  sqlite3_stmt* left = nullptr;
  EXPECT_TRUE(EndWith(process, 1, [&](Transaction& tx) {
                EXPECT_EQ(sqlite3_prepare_v2(tx.handle(), "SELECT 1 FROM counter", -1, &left, nullptr), SQLITE_OK);
                EXPECT_EQ(sqlite3_step(left), SQLITE_ROW);
                return Increment(tx);
              }).ok());
  Process other(world_, "other");
  ASSERT_TRUE(other.Open(file()).ok());
  ASSERT_TRUE(other.Start(StartOf(2)).ok());
  EXPECT_TRUE(process.Read(KeyOf(2)).ok());
  EXPECT_TRUE(process.Start(StartOf(3)).ok());
  sqlite3_finalize(left);
}

TEST_F(SqliteTransactionTest, WhatItAsksOfItsStoreIsRefused) {
  Process process(world_);
  BeginCounting(process, file());
  std::optional<Status> told;
  EXPECT_TRUE(EndWith(process, 1, [&](Transaction& tx) {
                process.ports.store->Start(StartOf(2), [&](const auto& reply) { told = reply.status(); });
                EXPECT_TRUE(told.has_value());
                EXPECT_EQ(told.value_or(Status()).code(), StatusCode::kFailedPrecondition);
                return Increment(tx);
              }).ok());
  EXPECT_TRUE(process.Start(StartOf(2)).ok());  // from now on
}

TEST_F(SqliteTransactionTest, OneThatTakesTooLongHasFailed) {
  Process process(world_);
  BeginCounting(process, file());
  const auto dawdle = [&](Transaction& tx) {
    world_.RunUntil(world_.Now() + std::chrono::milliseconds(2'001));
    return Increment(tx);
  };
  EXPECT_EQ(EndWith(process, 1, dawdle).status().code(), StatusCode::kDeadlineExceeded);
  world_.RunUntil(world_.Now() + std::chrono::milliseconds(50));  // what has waited meanwhile
  EXPECT_FALSE(ExpectBothOrNeither(process, file()));
  EXPECT_TRUE(EndWith(process, 1, Increment).ok());
}

TEST_F(SqliteTransactionTest, UsersTablesAreMadeAtOpenOrItFails) {
  Process process(world_);
  SqliteOptions options;
  options.user_schema = "CREATE TABLE good (id); CREATE TABLE bad (";
  EXPECT_EQ(process.Open(file(), "", options).code(), StatusCode::kInvalidArgument);
  options.user_schema = "CREATE TABLE sessions_of_mine (id); DROP TABLE sessions";
  EXPECT_THAT(std::string(MessageOf(process.Open(file(), "", options))), HasSubstr("store's own"));
  EXPECT_EQ(RawDatabase(file()).Text("SELECT count(*) FROM sqlite_schema WHERE name IN ('good', 'sessions_of_mine')"),
            "0");
  // Such a key, with no index to it, would keep the store from deleting what it has read.
  options.user_schema = "CREATE TABLE notes (m REFERENCES inbox)";
  EXPECT_THAT(std::string(MessageOf(process.Open(file(), "", options))), HasSubstr("FOREIGN KEY that refers to a table"));
  options = WithCounter();
  options.user_schema += "; CREATE TABLE notes (counter REFERENCES counter)";
  options.transaction_limit = Duration::max();
  ASSERT_EQ(process.Open(file(), "", options), Status());
  ASSERT_TRUE(process.OpenSession("s").ok());
  ASSERT_TRUE(process.Start(StartOf(1)).ok());
  ASSERT_TRUE(process.Commit(FirstTurn(1, "s", true)).ok());
  EXPECT_TRUE(EndWith(process, 1, Increment).ok());
}

// ---- Faults

TEST_F(SqliteTransactionTest, ADiskThatFailsAtAnyWriteLeavesBothOrNeither) {
  FaultyVfs vfs;
  int faults = 0;
  int doubts = 0;
  for (const int code : {SQLITE_IOERR_WRITE, SQLITE_FULL}) {
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE("fault " + std::to_string(code) + " at operation " + std::to_string(nth));
      TempFolder folder;
      const std::string path = folder.File("app.db");
      Process process(world_);
      BeginCounting(process, path);
      if (HasFatalFailure()) return;
      int operations = 0;
      vfs.Set([&](FaultyVfs::Op op, const std::string&) {
        return op != FaultyVfs::Op::kRead && ++operations == nth ? code : SQLITE_OK;
      });
      const Status status = EndWith(process, 1, Increment).status();
      vfs.Clear();
      if (operations < nth) break;
      ++faults;
      doubts += status.code() == StatusCode::kUnknown;
      if (IsTransient(status)) {  // what a worker does then
        AttemptEnd back{.key = kCounted, .epoch = 1, .kind = AttemptEnd::Kind::kGiveBack};
        const auto given = process.Call(&StateStore::EndAttempt, back);
        ASSERT_TRUE(given.ok()) << given.status();
        EXPECT_EQ(given->applied, !ExpectBothOrNeither(process, path));
      } else {
        EXPECT_EQ(ExpectBothOrNeither(process, path), status.ok()) << status;
      }
      process.Close();
      FinishCounting(world_, path);
    }
  }
  EXPECT_GE(faults, 6);
  EXPECT_GE(doubts, 1);
}

TEST_F(SqliteTransactionTest, AProcessThatIsKilledAtAnyWriteLeavesBothOrNeither) {
  int kills = 0;
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE("killed at operation " + std::to_string(nth));
    TempFolder folder;
    const std::string path = folder.File("app.db");
    const pid_t child = fork();
    if (child == 0) {
      FaultyVfs vfs;
      SimWorld world(2);
      Process process(world, "child");
      BeginCounting(process, path);
      int operations = 0;
      vfs.Set([&](FaultyVfs::Op op, const std::string&) {
        if (op != FaultyVfs::Op::kRead && ++operations == nth) raise(SIGKILL);
        return SQLITE_OK;
      });
      _exit(EndWith(process, 1, Increment).ok() ? 0 : 1);
    }
    int end = 0;
    ASSERT_EQ(waitpid(child, &end, 0), child);
    FinishCounting(world_, path);
    if (!WIFSIGNALED(end)) {
      EXPECT_EQ(end, 0);
      break;
    }
    EXPECT_EQ(WTERMSIG(end), SIGKILL);
    ++kills;
  }
  EXPECT_GE(kills, 3);
}

}  // namespace
}  // namespace marathon::testing::sqlite_transaction_test
