// Blobs, streams and limits in SQLite: what its conformance suites do not ask. Other processes, damage, faults, older files.
// needs: sqlite testing
// program: stores
#include <gmock/gmock.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "faulty_vfs.h"
#include "marathon/detail/sha256.h"
#include "marathon/store/payload_refs.h"
#include "sqlite_fixture.h"
#include "src/adapters/sqlite/schema.h"

namespace marathon::testing::sqlite_beside_test {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Le;

class SqliteBesideTest : public ::testing::Test {
 protected:
  using Refs = StatusOr<std::vector<BlobRef>>;
  using Bytes = StatusOr<std::vector<std::string>>;
  using Page = StatusOr<FramePage>;

  std::string file() const { return folder_.File("app.db"); }

  static Refs Put(Process& process, std::vector<std::string> blobs) {
    return process.Wait<Refs>([&](auto done) { process.ports.blobs->Put(std::move(blobs), std::move(done)); });
  }
  static Bytes Get(Process& process, std::vector<BlobRef> refs) {
    return process.Wait<Bytes>([&](auto done) { process.ports.blobs->Get(std::move(refs), std::move(done)); });
  }
  static StatusOr<uint64_t> Append(Process& process, AppendFrames request) {
    return process.Wait<StatusOr<uint64_t>>(
        [&](auto done) { process.ports.streams->Append(std::move(request), std::move(done)); });
  }
  static Page Read(Process& process, ReadFrames request) {
    return process.Wait<Page>([&](auto done) { process.ports.streams->Read(std::move(request), std::move(done)); });
  }
  static int64_t Wait(Process& process, const std::string& key = "k") {
    const auto permit = process.Wait<StatusOr<Permit>>([&](auto done) {
      process.ports.limiter->Acquire({.key = key, .units = {{"requests", 1, 60, 2}}}, std::move(done));
    });
    EXPECT_TRUE(permit.ok()) << permit.status();
    return permit.ok() ? permit->wait.count() : -1;
  }
  static void Settle(Process& process, SettleLimit request) {
    const auto settled = process.Wait<Status>(
        [&](auto done) { process.ports.limiter->Settle(std::move(request), std::move(done)); });
    EXPECT_TRUE(settled.ok()) << settled;
  }
  static EnterReply Enter(Process& process, const std::string& key, const std::string& holder) {
    auto entered = process.Wait<StatusOr<EnterReply>>(
        [&](auto done) { process.ports.limiter->Enter({key, holder, 1}, std::move(done)); });
    EXPECT_TRUE(entered.ok()) << entered.status();
    return entered.ok() ? *std::move(entered) : EnterReply();
  }
  // Those that were passed a place.
  static std::vector<std::string> Leave(Process& process, const std::string& key, const std::string& holder,
                                        int64_t epoch) {
    auto left = process.Wait<StatusOr<LeaveReply>>(
        [&](auto done) { process.ports.limiter->Leave({key, holder, epoch}, std::move(done)); });
    EXPECT_TRUE(left.ok()) << left.status();
    return left.ok() ? left->passed : std::vector<std::string>();
  }
  // What a stream has that has never been trimmed, each frame with its number, counted from 1.
  static std::string Text(const FramePage& page) {
    std::string text;
    for (const StreamFrame& frame : page.frames) text += std::to_string(frame.seq - page.first + 1) + frame.bytes;
    return text;
  }

  SimWorld world_{1};
  TempFolder folder_;
};

TEST_F(SqliteBesideTest, AReaderHearsWhatAnotherProcessWrites) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  uint64_t known = 0;
  for (uint64_t i = 0; i < 3; ++i) {
    std::optional<FramePage> heard;
    two.ports.streams->Read({.stream = "s", .after = known, .wait = true}, [&](Page page) {
      ASSERT_TRUE(page.ok()) << page.status();
      heard = *std::move(page);
    });
    world_.RunUntil(world_.Now() + std::chrono::milliseconds(100));
    EXPECT_FALSE(heard.has_value());
    const auto written = Append(one, {"s", "step", 1, i, {"x"}});
    ASSERT_TRUE(written.ok()) << written.status();
    EXPECT_TRUE(world_.RunUntil([&] { return heard.has_value(); }, world_.Now() + std::chrono::milliseconds(50)));
    EXPECT_EQ(heard->last, *written);
    known = *written;
  }
}

TEST_F(SqliteBesideTest, NamespacesAreApart) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file(), "?namespace=one").ok());
  ASSERT_TRUE(two.Open(file(), "?namespace=two").ok());
  const Refs refs = Put(one, {"blob"});
  ASSERT_TRUE(refs.ok()) << refs.status();
  EXPECT_EQ(Get(two, *refs).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(Append(one, {"s", "step", 9, 0, {"x"}}).ok());
  EXPECT_TRUE(Append(two, {"s", "step", 1, 0, {"y"}}).ok());
  EXPECT_EQ(Text(*Read(one, {.stream = "s"})), "1x");
  Settle(one, {.key = "k", .pause = std::chrono::hours(1)});
  EXPECT_EQ(Wait(two), 0);
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

TEST_F(SqliteBesideTest, ProcessesAreUnderOneLimit) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  EXPECT_EQ(Wait(one), 0);
  EXPECT_EQ(Wait(two), 0);
  EXPECT_THAT(Wait(one), AllOf(Gt(900), Le(1'000)));
  EXPECT_THAT(Wait(two), AllOf(Gt(1'900), Le(2'000)));
  Settle(one, {.key = "k", .pause = std::chrono::minutes(1)});
  EXPECT_THAT(Wait(two), AllOf(Gt(59'000), Le(60'000)));
}

TEST_F(SqliteBesideTest, LimitsThatSayNothingAreSwept) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  for (int i = 0; i < 6; ++i) Wait(process, std::to_string(i));
  RawDatabase raw(file());
  EXPECT_EQ(raw.Text("SELECT count(*) FROM limit_units"), "6");
  world_.RunUntil(world_.Now() + limits::kLimitKeep + std::chrono::seconds(2));
  Wait(process, "0");
  for (int i = 0; i < 3; ++i) Settle(process, {.key = "new", .pause = std::chrono::seconds(1)});
  EXPECT_EQ(raw.Text("SELECT count(*) FROM limits"), "2");
  EXPECT_EQ(raw.Text("SELECT count(*) FROM limit_units"), "1");
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

TEST_F(SqliteBesideTest, DamagedLimitsAreFoundAndNamed) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  Wait(process);
  RawDatabase(file()).Run("UPDATE limit_units SET own_span = 0");
  EXPECT_THAT(std::string(MessageOf(CheckSqliteFile(file()))), HasSubstr("limit"));
  const auto permit = process.Wait<StatusOr<Permit>>([&](auto done) {
    process.ports.limiter->Acquire({.key = "k", .units = {{"requests", 1, 60, 2}}}, std::move(done));
  });
  EXPECT_EQ(permit.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(permit.status())), HasSubstr("\"k\""));
}

TEST_F(SqliteBesideTest, ProcessesShareThePlacesOfAKey) {
  Process one(world_, "one"), two(world_, "two"), other(world_, "other");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  ASSERT_TRUE(other.Open(file(), "?namespace=other").ok());
  EXPECT_TRUE(Enter(one, "k", "a").granted);
  EXPECT_FALSE(Enter(two, "k", "b").granted);
  EXPECT_TRUE(Enter(other, "k", "b").granted);
  EXPECT_EQ(Leave(two, "k", "a", 1), std::vector<std::string>{"b"});
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

TEST_F(SqliteBesideTest, PlacesThatNobodyUsesAreSwept) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  Enter(process, "held", "a");
  Enter(process, "left", "a");
  Enter(process, "left", "b");
  EXPECT_EQ(Leave(process, "left", "a", 1), std::vector<std::string>{"b"});
  EXPECT_EQ(Leave(process, "left", "b", 0), std::vector<std::string>());
  RawDatabase raw(file());
  EXPECT_EQ(raw.Text("SELECT count(*) FROM marathon_places"), "1") << "who leaves last takes its key along";
  world_.RunUntil(world_.Now() + limits::kTakenPlaceKeep + std::chrono::seconds(1));
  Enter(process, "new", "a");
  EXPECT_EQ(raw.Text("SELECT count(*) FROM marathon_places"), "1");
  EXPECT_EQ(raw.Text("SELECT count(*) FROM marathon_place_holders"), "1");
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

TEST_F(SqliteBesideTest, DamagedPlacesAreFoundAndNamed) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  Enter(process, "k", "a");
  RawDatabase(file()).Run("UPDATE marathon_places SET taken = 2");
  EXPECT_THAT(std::string(MessageOf(CheckSqliteFile(file()))), HasSubstr("places"));
  RawDatabase(file()).Run("UPDATE marathon_place_holders SET state = 7");
  const auto entered = process.Wait<StatusOr<EnterReply>>(
      [&](auto done) { process.ports.limiter->Enter({"k", "a", 1}, std::move(done)); });
  EXPECT_EQ(entered.status().code(), StatusCode::kDataLoss);
}

TEST_F(SqliteBesideTest, KeepsAsLongAsTheUrlSays) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file(), "?blob_keep=60000&stream_keep=30000").ok());
  const BlobRef ref = Put(process, {"blob"}).value().at(0);
  ASSERT_TRUE(Append(process, {"s", "step", 1, 0, {"x"}}).ok());
  const auto sweep = [&](auto& port) {
    return process.Wait<StatusOr<int64_t>>([&](auto done) { port.Sweep(10, std::move(done)); }).value();
  };
  const auto pass = [&](int64_t millis) { world_.RunUntil(world_.Now() + Duration(millis)); };
  pass(29'000);
  EXPECT_EQ(sweep(*process.ports.streams), 0);
  pass(7'000);
  EXPECT_EQ(sweep(*process.ports.streams), 1);
  pass(20'000);
  EXPECT_EQ(sweep(*process.ports.blobs), 0);
  EXPECT_TRUE(Get(process, {ref}).ok());
  pass(55'000);
  EXPECT_EQ(sweep(*process.ports.blobs), 0);
  pass(20'000);
  EXPECT_EQ(sweep(*process.ports.blobs), 1);
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

TEST_F(SqliteBesideTest, DamageIsFoundAndNamed) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  const Refs refs = Put(process, {"one", "two"});
  ASSERT_TRUE(refs.ok()) << refs.status();
  ASSERT_TRUE(Append(process, {"s", "step", 1, 0, {"x", "y", "z"}}).ok());
  RawDatabase raw(file());
  const auto finding = [&](const std::string& damage, const std::string& repair) {
    raw.Run(damage);
    const Status status = CheckSqliteFile(file());
    raw.Run(repair);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << damage;
    return std::string(MessageOf(status));
  };
  raw.Run("UPDATE frames SET seq = seq - (SELECT first - 1 FROM streams)");
  raw.Run("UPDATE streams SET first = 1, last = 3");  // as an older program wrote it
  EXPECT_THAT(finding("DELETE FROM frames WHERE seq = 3", "INSERT INTO frames VALUES (1, 3, 'z')"),
              HasSubstr("frames"));
  EXPECT_THAT(finding("UPDATE streams SET first = 2", "UPDATE streams SET first = 1"), HasSubstr("frames"));
  EXPECT_THAT(finding("DELETE FROM frames WHERE stream = 1",
                      "INSERT INTO frames VALUES (1, 1, 'x'), (1, 2, 'y'), (1, 3, 'z')"),
              HasSubstr("frames"));
  EXPECT_THAT(finding("INSERT INTO frames VALUES (7, 1, '')", "DELETE FROM frames WHERE stream = 7"),
              HasSubstr("frames"));
  EXPECT_THAT(finding("UPDATE streams SET last = 4", "UPDATE streams SET last = 3"), HasSubstr("stream"));
  EXPECT_THAT(finding("UPDATE blob_bytes SET blob = 9 WHERE blob = 2", "UPDATE blob_bytes SET blob = 2 WHERE blob = 9"),
              HasSubstr("blob"));
  EXPECT_EQ(CheckSqliteFile(file()), Status());

  raw.Run("UPDATE blob_bytes SET bytes = 'tvo' WHERE blob = 2");
  const Status got = Get(process, *refs).status();
  EXPECT_EQ(got.code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(got)), HasSubstr(refs->at(1).sha256));
  EXPECT_THAT(std::string(MessageOf(CheckSqliteFile(file()))), HasSubstr(refs->at(1).sha256));
  EXPECT_TRUE(Get(process, {refs->at(0)}).ok()) << "the other is whole";
}

// Blobs that runs hold: of two runs, "shared" and one of its own each.
TEST_F(SqliteBesideTest, DamageToHeldBlobsIsFound) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  for (const int n : {1, 2}) {
    ASSERT_TRUE(process.Start(StartOf(n)).ok());
    TurnCommit turn = FirstTurn(n, "", false);
    for (const std::string& bytes : {std::string("shared"), "of " + std::to_string(n)}) {
      turn.blobs.push_back({{detail::Sha256Hex(bytes), bytes.size()}, bytes});
    }
    const Payload name = detail::ToPayload({turn.blobs[1].ref, Encoding::kJson});
    turn.record = EncodeRecord(turn.commit_id, {{1, TurnStarted{}},
                                                {2, WorkflowStarted{.input = name}},
                                                {3, ActivityScheduled{.activity_type = "Charge", .input = name}}});
    turn.activities.at(0).input = name;
    ASSERT_TRUE(process.Commit(turn).ok());
  }
  EXPECT_EQ(CheckSqliteFile(file()), Status());
  RawDatabase raw(file());
  EXPECT_EQ(raw.Text("SELECT group_concat(holders, ' ') FROM marathon_blobs"), "2 1 1");
  const auto finding = [&](const std::string& damage, const std::string& repair) {
    raw.Run(damage);
    const Status status = CheckSqliteFile(file());
    raw.Run(repair);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << damage;
    return std::string(MessageOf(status));
  };
  const std::string digest = detail::Sha256Hex("of 2");
  EXPECT_THAT(finding("UPDATE marathon_blobs SET holders = 1 WHERE id = 1", "UPDATE marathon_blobs SET holders = 2 WHERE id = 1"),
              HasSubstr("who holds it"));
  EXPECT_THAT(finding("UPDATE marathon_blobs SET kept_until = 1 WHERE id = 1",
                      "UPDATE marathon_blobs SET kept_until = NULL WHERE id = 1"),
              HasSubstr("who holds it"));
  EXPECT_THAT(finding("UPDATE marathon_blob_holders SET run = 9 WHERE blob = 3",
                      "UPDATE marathon_blob_holders SET run = 2 WHERE blob = 3"),
              HasSubstr("who holds it"));
  EXPECT_THAT(finding("DELETE FROM marathon_blob_holders WHERE blob = 3; UPDATE marathon_blobs SET holders = 0, kept_until = 1 WHERE id = 3",
                      "INSERT INTO marathon_blob_holders VALUES (2, 3); UPDATE marathon_blobs SET holders = 1, kept_until = NULL WHERE id = 3"),
              HasSubstr(digest));
  EXPECT_THAT(finding("UPDATE marathon_blob_bytes SET bytes = 'of 3' WHERE blob = 3",
                      "UPDATE marathon_blob_bytes SET bytes = 'of 2' WHERE blob = 3"),
              HasSubstr(digest));
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

// Method: as a program of schema 1 left it.
TEST_F(SqliteBesideTest, AFileWithoutThemGetsThem) {
  {
    RawDatabase raw(file());
    raw.Run("PRAGMA journal_mode = WAL");
    raw.Run(detail::kSqliteMigrations[0]);
    raw.Run("PRAGMA application_id = 1298231905; PRAGMA user_version = 1");
  }
  Process process(world_);
  const Status opened = process.Open(file());
  ASSERT_TRUE(opened.ok()) << opened;
  EXPECT_TRUE(process.Start(StartOf(1)).ok());
  EXPECT_TRUE(Put(process, {"blob"}).ok());
  EXPECT_TRUE(Append(process, {"s", "step", 1, 0, {"x"}}).ok());
  EXPECT_EQ(Wait(process), 0);
  EXPECT_TRUE(Enter(process, "k", "a").granted);
  EXPECT_EQ(RawDatabase(file()).Text("PRAGMA user_version"), "7");
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

// Method: append and put, failing the Nth write or sync, for N = 1, 2, 3 … until none fails; what failed is
// repeated, as its writer would. All is there once, whatever was answered.
TEST_F(SqliteBesideTest, WhatFailedIsRepeatedAndThereOnce) {
  for (const auto wanted : {FaultyVfs::Op::kWrite, FaultyVfs::Op::kSync}) {
    bool failed = true;
    int refused = 0;
    for (int n = 1; failed && n < 1'000; ++n) {
      SCOPED_TRACE(n);
      TempFolder folder;
      FaultyVfs vfs;
      failed = false;
      int calls = 0;
      Process process(world_, "faulty");
      ASSERT_TRUE(process.Open(folder.File("app.db")).ok());
      vfs.Set([&](FaultyVfs::Op op, const std::string&) {
        if (op != wanted || ++calls != n) return SQLITE_OK;
        failed = true;
        return op == FaultyVfs::Op::kSync ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE;
      });
      const auto again = [&](auto call) {
        auto reply = call();
        for (int i = 0; i < 3 && !reply.ok(); ++i, reply = call()) {
          ++refused;
          EXPECT_TRUE(IsTransient(reply.status())) << reply.status();
        }
        return reply;
      };
      const Refs refs = again([&] { return Put(process, {"one", std::string(20'000, 'x')}); });
      for (uint64_t i = 0; i < 4; ++i) {
        EXPECT_TRUE(again([&] { return Append(process, {"s", "step", 1, 2 * i, {"a", "b"}}); }).ok());
      }
      vfs.Clear();
      EXPECT_EQ(Text(*Read(process, {.stream = "s"})), "1a2b3a4b5a6b7a8b");
      ASSERT_TRUE(refs.ok()) << refs.status();
      EXPECT_TRUE(Get(process, *refs).ok());
      process.Close();
      EXPECT_EQ(CheckSqliteFile(folder.File("app.db")), Status());
    }
    EXPECT_GT(refused, 3);
  }
}

}  // namespace
}  // namespace marathon::testing::sqlite_beside_test
