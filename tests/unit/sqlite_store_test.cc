// The SQLite adapter as a store: groups, faults of the file, several processes.
// needs: sqlite testing
// program: stores
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "faulty_vfs.h"
#include "sqlite_fixture.h"

namespace marathon::testing::sqlite_store_test {
namespace {

using ::testing::HasSubstr;

class SqliteStoreTest : public ::testing::Test {
 protected:
  std::string file() const { return folder_.File("app.db"); }
  void ExpectSound() { EXPECT_EQ(CheckSqliteFile(file()), Status()); }

  TempFolder folder_;
  SimWorld world_{1};
};

TEST_F(SqliteStoreTest, KeepsWhatWasWritten) {
  {
    Process process(world_, "first");
    ASSERT_TRUE(process.Open(file()).ok());
    ASSERT_TRUE(process.OpenSession("s").ok());
    ASSERT_TRUE(process.Start(StartOf(1)).ok());
    ASSERT_TRUE(process.Commit(FirstTurn(1, "s", true)).ok());
  }
  Process process(world_, "second");
  ASSERT_TRUE(process.Open(file()).ok());
  auto run = process.Read(KeyOf(1));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->row.version, 3);
  EXPECT_EQ(run->records.size(), 1u);
  EXPECT_EQ(run->activities.size(), 1u);
  process.Close();
  ExpectSound();
  EXPECT_THAT(folder_.Files(), ::testing::ElementsAre("app.db"));  // no log, no lock files
}

TEST_F(SqliteStoreTest, NamespacesKnowNothingOfEachOther) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file(), "?namespace=one").ok());
  ASSERT_TRUE(two.Open(file(), "?namespace=two").ok());
  ASSERT_TRUE(one.Start(StartOf(1)).ok());
  EXPECT_EQ(two.Read(KeyOf(1)).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(two.Start(StartOf(1)).ok());
  auto list = two.Call(&StateStore::List, ListRequest{});
  ASSERT_TRUE(list.ok());
  EXPECT_EQ(list->runs.size(), 1u);
  EXPECT_NE(one.ports.store->domain(), two.ports.store->domain());
}

TEST_F(SqliteStoreTest, ListsPastManyRunsThatDoNotFit) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file(), "?synchronous=normal").ok());
  int answered = 0;
  constexpr int kRuns = 5'000;  // more than are looked at in one transaction
  for (int i = 0; i < kRuns; ++i) {
    StartRequest request = StartOf(i);
    request.workflow_type = i == 7 || i == 8 ? "Rare" : "Common";
    process.ports.store->Start(std::move(request), [&](const auto& reply) { answered += reply.ok(); });
  }
  ASSERT_TRUE(world_.RunUntil([&] { return answered == kRuns; }));
  auto first = process.Call(&StateStore::List, ListRequest{.workflow_type = "Rare", .limit = 1});
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->runs.size(), 1u);
  EXPECT_EQ(first->runs[0].key, KeyOf(8));
  auto second = process.Call(
      &StateStore::List,
      ListRequest{.workflow_type = "Rare", .limit = 10, .page_token = first->next_page_token});
  ASSERT_TRUE(second.ok());
  ASSERT_EQ(second->runs.size(), 1u);
  EXPECT_EQ(second->runs[0].key, KeyOf(7));
  EXPECT_EQ(second->next_page_token, "");
  auto bad = process.Call(&StateStore::List, ListRequest{.page_token = "x"});
  EXPECT_EQ(bad.status().code(), StatusCode::kInvalidArgument);
}

// ---- Damage and faults

TEST_F(SqliteStoreTest, OneDamagedRunDoesNotDisturbTheOthersInItsGroup) {
  Process process(world_);
  {
    Process before(world_, "before");
    ASSERT_TRUE(before.Open(file()).ok());
    for (int i = 0; i < 3; ++i) {
      StartRequest request = StartOf(i);
      request.run_timeout = std::chrono::seconds(1);
      ASSERT_TRUE(before.Start(std::move(request)).ok());
    }
  }
  RawDatabase(file()).Run("UPDATE runs SET row = CAST(substr(row, 1, 20) || 'x' AS BLOB) WHERE id = 2");
  ASSERT_TRUE(process.Open(file()).ok());
  std::vector<Status> replies(3);
  int answered = 0;
  for (int i = 0; i < 3; ++i) {  // queued together: one transaction
    Message signal{.body = SignalReceived{.name = "go"}};
    process.ports.store->Put({.run = KeyOf(i), .message = signal}, [&, i](const auto& reply) {
      replies[i] = reply.status();
      ++answered;
    });
  }
  ASSERT_TRUE(world_.RunUntil([&] { return answered == 3; }));
  EXPECT_TRUE(replies[0].ok()) << replies[0];
  EXPECT_EQ(replies[1].code(), StatusCode::kDataLoss) << replies[1];
  EXPECT_TRUE(replies[2].ok()) << replies[2];
  // Nor does it stop what is due for the others.
  world_.RunUntil(world_.Now() + std::chrono::seconds(2));
  auto due = process.Call(&StateStore::PollDue, DueRequest{});
  ASSERT_TRUE(due.ok()) << due.status();
  EXPECT_EQ(due->expired_runs.size(), 2u);
}

TEST_F(SqliteStoreTest, AFullDiskIsSaidAndHarmsNothing) {
  {
    Process process(world_, "small");
    SqliteOptions small;
    small.max_pages = 60;
    ASSERT_TRUE(process.Open(file(), "", small).ok());
    int started = 0;
    Status full;
    for (; full.ok(); ++started) {
      StartRequest request = StartOf(started);
      std::get<WorkflowStarted>(request.messages[0].body).input.data.assign(10'000, 'x');
      full = process.Start(std::move(request)).status();
    }
    EXPECT_EQ(full.code(), StatusCode::kResourceExhausted) << full;
    EXPECT_THAT(std::string(MessageOf(full)), HasSubstr("disk"));
    ASSERT_GT(started, 2);
    EXPECT_TRUE(process.Read(KeyOf(0)).ok());
    EXPECT_TRUE(process.Read(KeyOf(started - 2)).ok());
    EXPECT_EQ(process.Read(KeyOf(started - 1)).status().code(), StatusCode::kNotFound);
  }
  ExpectSound();
  Process process(world_, "large");
  ASSERT_TRUE(process.Open(file()).ok());
  EXPECT_TRUE(process.Start(StartOf(1000)).ok());
}

TEST_F(SqliteStoreTest, WaitsForAnotherWriterOnlySoLong) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file(), "?busy_timeout=5").ok());
  RawDatabase other(file());
  other.Run("BEGIN IMMEDIATE");
  EXPECT_EQ(process.Start(StartOf(1)).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(process.Read(KeyOf(1)).status().code(), StatusCode::kNotFound);  // readers go on
  other.Run("COMMIT");
  EXPECT_TRUE(process.Start(StartOf(1)).ok());
}

TEST_F(SqliteStoreTest, TheFirstIntervalOfResendsIsTheUrls) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file(), "?resend=5000").ok());
  const StatusOr<StartReply> started = process.Start(StartOf(1));
  ASSERT_TRUE(started.ok()) << started.status();
  const auto due = process.Call(&StateStore::PollDue, DueRequest{});
  ASSERT_TRUE(due.ok()) << due.status();
  EXPECT_EQ(due->next_due, started->now + Duration(5'000));
}

TEST_F(SqliteStoreTest, ACommitWhoseSyncFailedIsUnknown) {
  FaultyVfs vfs;
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  ASSERT_TRUE(process.Start(StartOf(1)).ok());
  vfs.Set([](FaultyVfs::Op op, const std::string& suffix) {
    return op == FaultyVfs::Op::kSync && suffix == "-wal" ? SQLITE_IOERR_FSYNC : SQLITE_OK;
  });
  EXPECT_EQ(process.Start(StartOf(2)).status().code(), StatusCode::kUnknown);
  // While nobody can tell, nobody is told.
  EXPECT_EQ(process.Read(KeyOf(2)).status().code(), StatusCode::kUnavailable);
  vfs.Clear();
  const auto looked = process.Read(KeyOf(2));
  const bool there = looked.ok();
  if (!there) {
    EXPECT_EQ(looked.status().code(), StatusCode::kNotFound);
  }
  EXPECT_TRUE(process.Read(KeyOf(1)).ok());
  process.Close();
  Process again(world_, "again");  // what was seen stays true
  ASSERT_TRUE(again.Open(file()).ok());
  EXPECT_EQ(again.Read(KeyOf(2)).ok(), there);
}

// Method: start five runs and close one, failing the Nth write, sync or read of the log and the database,
// for N = 1, 2, 3 … until none fails; once, and from then on. An acknowledged start must be there
// afterwards, a refused one must not, and the file must be sound.
TEST_F(SqliteStoreTest, SurvivesAFaultAtEveryCall) {
  for (const int code : {SQLITE_IOERR_WRITE, SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_READ}) {
    const auto wanted = code == SQLITE_IOERR_FSYNC  ? FaultyVfs::Op::kSync
                        : code == SQLITE_IOERR_READ ? FaultyVfs::Op::kRead
                                                    : FaultyVfs::Op::kWrite;
    for (const bool for_ever : {false, true}) {
      bool failed = true;
      for (int n = 1; failed; ++n) {
        SCOPED_TRACE(::testing::Message() << "code " << code << " call " << n << (for_ever ? "…" : ""));
        TempFolder folder;
        FaultyVfs vfs;
        std::vector<Status> replies;
        int calls = 0;
        failed = false;
        {
          Process process(world_, "faulty");
          ASSERT_TRUE(process.Open(folder.File("app.db")).ok());
          vfs.Set([&](FaultyVfs::Op op, const std::string&) {
            if (op != wanted || ++calls < n || (calls > n && !for_ever)) return SQLITE_OK;
            failed = true;
            return code;
          });
          for (int i = 0; i < 5; ++i) replies.push_back(process.Start(StartOf(i)).status());
          static_cast<void>(process.Commit(Closing(0, 0)));
        }
        vfs.Clear();
        Process process(world_, "sound");
        EXPECT_EQ(CheckSqliteFile(folder.File("app.db")), Status());
        ASSERT_TRUE(process.Open(folder.File("app.db")).ok());
        for (int i = 0; i < 5; ++i) {
          const Status read = process.Read(KeyOf(i)).status();
          ASSERT_TRUE(read.ok() || read.code() == StatusCode::kNotFound) << read;
          if (replies[i].code() != StatusCode::kUnknown) {
            EXPECT_EQ(read.ok(), replies[i].ok()) << i << ": " << replies[i];
          }
        }
        if (n > 1'000) FAIL() << "it never ends";
      }
    }
  }
}

// ---- Several processes

TEST_F(SqliteStoreTest, SeesWhatAnotherProcessWrites) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  std::vector<Delivery> turns, activities;
  const auto receive = [&](TaskKind kind, std::vector<Delivery>& out) {
    two.ports.queue->Receive({.session = "s", .kind = kind, .task_queues = {"default"}},
                             [&](StatusOr<std::vector<Delivery>> got) {
                               if (got.ok()) out = *std::move(got);
                             });
  };
  receive(TaskKind::kTurn, turns);
  receive(TaskKind::kActivity, activities);
  std::optional<RunSnapshot> end;
  ASSERT_TRUE(one.Start(StartOf(1)).ok());
  two.ports.store->AwaitClose({"order-1", ""}, [&](StatusOr<RunSnapshot> got) {
    ASSERT_TRUE(got.ok()) << got.status();
    end = *std::move(got);
  });

  const auto within = [&](const std::function<bool()>& seen) {
    return world_.RunUntil(seen, world_.Now() + std::chrono::milliseconds(50));
  };
  ASSERT_TRUE(within([&] { return !turns.empty(); }));
  EXPECT_EQ(turns[0].hint.run, KeyOf(1));
  ASSERT_TRUE(one.Commit(FirstTurn(1, "", false)).ok());
  ASSERT_TRUE(within([&] { return !activities.empty(); }));
  EXPECT_EQ(activities[0].hint.activity, 3);
  ASSERT_TRUE(one.Commit(Closing(1, 3)).ok());
  ASSERT_TRUE(within([&] { return end.has_value(); }));
  EXPECT_EQ(end->row.status, RunStatus::kTerminated);
  EXPECT_EQ(end->records.size(), 1u);
}

TEST_F(SqliteStoreTest, WhoeverFollowsARunHearsOfWhatAnotherProcessWrites) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  ASSERT_TRUE(one.OpenSession("s").ok());
  ASSERT_TRUE(one.Start(StartOf(1)).ok());
  std::optional<RunSnapshot> told;
  const auto follow = [&](EventId after) {
    told.reset();
    AwaitRequest request{KeyOf(1)};
    request.after = after;
    two.ports.store->Await(std::move(request), [&](StatusOr<RunSnapshot> snapshot) {
      ASSERT_TRUE(snapshot.ok()) << snapshot.status();
      told = *std::move(snapshot);
    });
    world_.RunUntil(world_.Now() + std::chrono::milliseconds(100));
  };
  const auto soon = [&] {
    return world_.RunUntil([&] { return told.has_value(); }, world_.Now() + std::chrono::milliseconds(50));
  };
  follow(0);
  EXPECT_FALSE(told.has_value());
  ASSERT_TRUE(one.Commit(FirstTurn(1, "s", true)).ok());
  ASSERT_TRUE(soon());
  EXPECT_EQ(told->row.version, 3);
  EXPECT_EQ(told->records.size(), 1u);
  follow(3);
  EXPECT_FALSE(told.has_value());
  ASSERT_TRUE(one.Commit(Closing(1, 3)).ok());
  ASSERT_TRUE(soon());
  EXPECT_EQ(told->row.status, RunStatus::kTerminated);
  EXPECT_EQ(told->records.size(), 1u);
}

// Others look behind the last number they have seen.
TEST_F(SqliteStoreTest, TheNumbersOfADeletedRunsRecordsAreNotUsedAgain) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  ASSERT_TRUE(one.Start(StartOf(2)).ok());
  ASSERT_TRUE(one.Start(StartOf(1)).ok());
  ASSERT_TRUE(one.Commit(FirstTurn(1, "", false)).ok());
  ASSERT_TRUE(one.Commit(Closing(1, 3)).ok());
  std::optional<RunSnapshot> end;
  two.ports.store->AwaitClose(KeyOf(2), [&](StatusOr<RunSnapshot> got) {
    ASSERT_TRUE(got.ok()) << got.status();
    end = *std::move(got);
  });
  world_.RunUntil(world_.Now() + std::chrono::milliseconds(50));
  ASSERT_FALSE(end.has_value());

  one.ports.store->Delete(KeyOf(1), [](const Status& status) { EXPECT_TRUE(status.ok()) << status; });
  one.ports.store->Commit(FirstTurn(2, "", false), [](const auto& r) { EXPECT_TRUE(r.ok()); });
  one.ports.store->Commit(Closing(2, 3), [](const auto& r) { EXPECT_TRUE(r.ok()); });
  EXPECT_TRUE(world_.RunUntil([&] { return end.has_value(); },
                              world_.Now() + std::chrono::milliseconds(50)));
  EXPECT_TRUE(CheckSqliteFile(file()).ok());
  one.ports.store->Delete(KeyOf(2), [](const Status& status) { EXPECT_TRUE(status.ok()) << status; });
  world_.RunUntil(world_.Now() + std::chrono::milliseconds(50));
  EXPECT_TRUE(CheckSqliteFile(file()).ok());
  RawDatabase raw(file());
  EXPECT_EQ(raw.Text("SELECT count(*) || ' ' || max(length(record)) FROM log"), "1 0");
}

TEST_F(SqliteStoreTest, WhoeverAwaitsARunThatAnotherProcessEndsAndDeletesHearsOfIt) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  ASSERT_TRUE(one.Start(StartOf(1)).ok());
  ASSERT_TRUE(one.Commit(FirstTurn(1, "", false)).ok());
  std::optional<Status> end;
  two.ports.store->AwaitClose(KeyOf(1), [&](const StatusOr<RunSnapshot>& got) { end = got.status(); });
  world_.RunUntil(world_.Now() + std::chrono::milliseconds(50));
  ASSERT_FALSE(end.has_value());

  one.ports.store->Commit(Closing(1, 3), [](const auto& r) { EXPECT_TRUE(r.ok()); });
  one.ports.store->Delete(KeyOf(1), [](const Status& status) { EXPECT_TRUE(status.ok()) << status; });
  EXPECT_TRUE(world_.RunUntil([&] { return end.has_value(); },
                              world_.Now() + std::chrono::milliseconds(50)));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->code(), StatusCode::kNotFound);
}

TEST_F(SqliteStoreTest, FindsWorkThatWasLeftBeforeItCame) {
  {
    Process client(world_, "client");
    ASSERT_TRUE(client.Open(file()).ok());
    for (int i = 0; i < 600; ++i) {  // more than one look brings
      client.ports.store->Start(StartOf(i), [](const auto&) {});
    }
  }
  Process worker(world_, "worker");
  ASSERT_TRUE(worker.Open(file()).ok());
  ASSERT_TRUE(worker.OpenSession("s").ok());
  int taken = 0;
  std::function<void()> receive = [&] {
    worker.ports.queue->Receive(
        {.session = "s", .kind = TaskKind::kTurn, .task_queues = {"default"}, .max = 10},
        [&](StatusOr<std::vector<Delivery>> got) {
          if (!got.ok()) return;
          for (const Delivery& delivery : *got) {
            worker.ports.store->TakeTurn({.run = delivery.hint.run, .session = "s"},
                                         [&, run = delivery.hint.run](StatusOr<RunSnapshot> turn) {
                                           if (!turn.ok()) return;
                                           TurnCommit commit = Closing(0, 0);
                                           commit.run = run;
                                           commit.session = "s";
                                           worker.ports.store->Commit(commit, [&](const auto& reply) {
                                             taken += reply.ok();
                                           });
                                         });
          }
          receive();
        });
  };
  receive();
  EXPECT_TRUE(world_.RunUntil([&] { return taken == 600; },
                              world_.Now() + std::chrono::seconds(10)));
  worker.ports.queue->StopReceiving("s");
}

// ---- Priorities

// Activities of one priority that wait, of runs `first` to before `end`.
void LeaveWaiting(Process& process, int first, int end, uint8_t priority) {
  int left = 2 * (end - first);
  for (int i = first; i < end; ++i) {
    process.ports.store->Start(StartOf(i), [&left](const auto& reply) { left -= reply.ok(); });
    process.ports.store->Commit(FirstTurn(i, "", false, priority), [&left](const auto& reply) { left -= reply.ok(); });
  }
  EXPECT_TRUE(process.world.RunUntil([&left] { return left == 0; }));
}

// The runs whose activities the process gets from its queue, up to `max`.
std::vector<RunKey> ReceiveActivities(Process& process, const SessionId& session, int max) {
  const auto got = process.Wait<StatusOr<std::vector<Delivery>>>([&](Done<std::vector<Delivery>> done) {
    process.ports.queue->Receive(
        {.session = session, .kind = TaskKind::kActivity, .task_queues = {"default"}, .max = max}, std::move(done));
  });
  EXPECT_TRUE(got.ok()) << got.status();
  std::vector<RunKey> runs;
  for (const Delivery& delivery : got.value_or(std::vector<Delivery>())) runs.push_back(delivery.hint.run);
  return runs;
}

// More wait than one look brings, and whoever is to have them has written none of it.
TEST_F(SqliteStoreTest, TheSmallestPriorityGoesBeforeABacklogOfOthers) {
  Process client(world_, "client"), worker(world_, "worker");
  ASSERT_TRUE(client.Open(file()).ok());
  ASSERT_TRUE(worker.Open(file()).ok());
  ASSERT_TRUE(worker.OpenSession("s").ok());
  LeaveWaiting(client, 0, 600, 4);
  LeaveWaiting(client, 600, 601, 5);
  LeaveWaiting(client, 601, 602, 1);
  EXPECT_THAT(ReceiveActivities(worker, "s", 1), ::testing::ElementsAre(KeyOf(601)));
  EXPECT_THAT(ReceiveActivities(worker, "s", 2), ::testing::ElementsAre(KeyOf(0), KeyOf(1)));
  // Many of the others wait in the worker's own memory by now.
  LeaveWaiting(client, 602, 603, 2);
  world_.RunUntil(world_.Now() + std::chrono::milliseconds(50));
  EXPECT_THAT(ReceiveActivities(worker, "s", 2), ::testing::ElementsAre(KeyOf(602), KeyOf(2)));
  worker.ports.queue->StopReceiving("s");
}

// Method: a file as schema 5 had it, made of today's.
TEST_F(SqliteStoreTest, WhatWaitsInAFileOfSchema5HasTheDefaultPriority) {
  {
    Process before(world_, "before");
    ASSERT_TRUE(before.Open(file()).ok());
    LeaveWaiting(before, 0, 2, limits::kDefaultPriority);
  }
  RawDatabase(file()).Run(
      "DROP INDEX marathon_activities_claimable; ALTER TABLE activities DROP COLUMN priority;"
      "CREATE INDEX activities_claimable ON activities (ns, queue, claimable) WHERE claimable IS NOT NULL;"
      "DROP TABLE marathon_places; DROP TABLE marathon_place_holders; DROP TABLE marathon_blobs;"
      "DROP TABLE marathon_blob_bytes; DROP TABLE marathon_blob_holders; PRAGMA user_version = 5");
  {
    Process process(world_, "today");
    ASSERT_TRUE(process.Open(file()).ok());
    ASSERT_TRUE(process.OpenSession("s").ok());
    LeaveWaiting(process, 2, 3, 4);
    LeaveWaiting(process, 3, 4, 2);
    EXPECT_THAT(ReceiveActivities(process, "s", 1), ::testing::ElementsAre(KeyOf(3)));
    world_.RunUntil(world_.Now() + std::chrono::milliseconds(50));
    EXPECT_THAT(ReceiveActivities(process, "s", 3), ::testing::ElementsAre(KeyOf(0), KeyOf(1), KeyOf(2)));
    process.ports.queue->StopReceiving("s");
  }
  EXPECT_EQ(RawDatabase(file()).Text("PRAGMA user_version"), "7");
  EXPECT_EQ(RawDatabase(file()).Text("SELECT group_concat(priority, ' ') FROM activities"), "3 3 4 2");
  ExpectSound();
}

// A child that opens a session, claims an activity, says so and waits to be killed.
class Child {
 public:
  explicit Child(const std::string& file) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      SimWorld world(2);
      auto* process = new Process(world, "child");
      const bool ok = process->Open(file).ok() && process->OpenSession("child").ok() &&
                      process->Start(StartOf(1)).ok() &&
                      process->Commit(FirstTurn(1, "child", true)).ok();
      const char answer = ok ? 'y' : 'n';
      if (write(ends[1], &answer, 1) != 1) _exit(1);
      for (;;) pause();
    }
    char answer = 0;
    EXPECT_EQ(read(ends[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    close(ends[0]);
    close(ends[1]);
  }
  ~Child() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};

TEST_F(SqliteStoreTest, ARestartTakesOverAtOnceFromAKilledProcess) {
  {
    Child child(file());
    EXPECT_THAT(folder_.Files(), ::testing::Contains(HasSubstr("-session-")));
  }
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  ASSERT_TRUE(process.OpenSession("next").ok());
  auto run = process.Read(KeyOf(1));
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->activities.size(), 1u);
  EXPECT_EQ(run->activities[0].state, ActivityState::kClaimable);
  EXPECT_EQ(run->activities[0].deliveries, 1);
  auto won = process.Wait<StatusOr<std::vector<ActivityRow>>>([&](auto done) {
    process.ports.store->ClaimActivities("next", {{{KeyOf(1), 3}, 1}}, std::move(done));
  });
  ASSERT_TRUE(won.ok());
  EXPECT_EQ(won->size(), 1u);
  process.Close();
  for (const std::string& name : folder_.Files()) EXPECT_THAT(name, Not(HasSubstr("child")));
}

TEST_F(SqliteStoreTest, ALivingProcessNoticesThatAnotherWasKilled) {
  Child child(file());
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  ASSERT_TRUE(process.OpenSession("watching").ok());
  EXPECT_EQ(process.Read(KeyOf(1))->activities[0].state, ActivityState::kClaimed);
  bool received = false;
  process.ports.queue->Receive(
      {.session = "watching", .kind = TaskKind::kActivity, .task_queues = {"default"}},
      [&](const auto& got) { received = got.ok() && !got->empty(); });
  world_.RunUntil(world_.Now() + std::chrono::seconds(2));  // alive: it keeps what it has
  ASSERT_FALSE(received);
  child.Kill();
  EXPECT_TRUE(world_.RunUntil([&] { return received; },
                              world_.Now() + std::chrono::milliseconds(500)));
}

TEST_F(SqliteStoreTest, ASessionIdIsGivenOnce) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  ASSERT_TRUE(one.OpenSession("s").ok());
  EXPECT_EQ(one.OpenSession("s").status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(two.OpenSession("s").status().code(), StatusCode::kAlreadyExists);
  one.Close();  // as a crash: nobody closed the session
  EXPECT_TRUE(two.OpenSession("s").ok());
}

TEST_F(SqliteStoreTest, LooksAtNothingWhenNobodyWaits) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  ASSERT_TRUE(process.OpenSession("s").ok());
  world_.RunUntil(world_.Now() + std::chrono::seconds(1));
  ASSERT_TRUE(process
                  .Wait<Status>([&](DoneStatus done) {
                    process.ports.store->CloseSession("s", std::move(done));
                  })
                  .ok());
  EXPECT_TRUE(world_.RunUntilIdle(100));
}

// One asks again and again for what is due, and looks no more where all that was written since was its own; another, that
// has written nothing, looks each time.
TEST_F(SqliteStoreTest, LooksOnceForWhatIsDue) {
  Process one(world_, "one"), two(world_, "two");
  ASSERT_TRUE(one.Open(file()).ok());
  ASSERT_TRUE(two.Open(file()).ok());
  const auto next_due = [](Process& process) {
    const auto reply = process.Call(&StateStore::PollDue, DueRequest{});
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.ok() ? reply->next_due : Time();
  };
  const auto looked = [&](auto&& ask) {
    const int64_t before = SqliteDueSteps(*one.ports.store);
    ask();
    return SqliteDueSteps(*one.ports.store) - before;
  };
  const auto start = [](Process& process, int n, Duration delay) {
    StartRequest request = StartOf(n);
    request.delay = delay;
    ASSERT_TRUE(process.Start(request).ok());
  };
  using std::chrono::minutes;
  ASSERT_TRUE(one.OpenSession("s").ok());
  start(one, 1, minutes(30));
  const Time first = next_due(one);
  EXPECT_EQ(looked([&] { EXPECT_EQ(next_due(one), first); }), 0);
  start(one, 2, minutes(40));
  EXPECT_EQ(looked([&] { EXPECT_EQ(next_due(one), first); }), 0) << "what is later changes nothing";

  const auto expect_same = [&](const char* after) { EXPECT_EQ(next_due(one), next_due(two)) << after; };
  start(one, 3, Duration(0));
  expect_same("a start that is due sooner");
  ASSERT_TRUE(one.Commit(FirstTurn(3, "s", true)).ok());
  expect_same("a claim");
  ASSERT_TRUE(one.Commit(Closing(3, 3)).ok());
  expect_same("a close, that ends the activity");
  start(two, 4, minutes(1));
  expect_same("what another process writes");
  ASSERT_TRUE(one.Commit(Closing(4, 0)).ok());
  expect_same("the end of what was due first");
  ASSERT_TRUE(one.Wait<Status>([&](DoneStatus done) { one.ports.store->CloseSession("s", std::move(done)); }).ok());
  expect_same("the end of the session that was due first");
  world_.RunUntil(world_.Now() + minutes(45));
  expect_same("all of that time");
}

// ---- Ends

// Method: what closed before was to be kept for longer, and many close in one transaction.
TEST_F(SqliteStoreTest, WhatTakesTooMuchIsForgottenFromTheOldestOn) {
  constexpr int kTogether = 100, kMost = 200;
  Process process(world_);
  const auto run_and_close = [&](int first) {
    int answered = 0;
    for (int i = first; i < first + kTogether; ++i) {
      StartRequest request = StartOf(i);
      TurnCommit& turn = request.first_turn.emplace();
      turn.run = request.run;
      turn.new_version = 2;
      turn.commit_id = static_cast<CommitId>(i) + 1;
      turn.record = EncodeRecord(turn.commit_id, {{1, WorkflowStarted{}}, {2, WorkflowCompleted{}}});
      turn.inbox_taken = 1;
      turn.close = RunStatus::kCompleted;
      process.ports.store->Start(std::move(request), [&answered](const StatusOr<StartReply>& reply) {
        EXPECT_TRUE(reply.ok()) << reply.status();
        ++answered;
      });
    }
    ASSERT_TRUE(world_.RunUntil([&] { return answered == kTogether; }));
    world_.RunUntil(world_.Now() + std::chrono::seconds(1));
  };
  ASSERT_TRUE(process.Open(file()).ok());
  run_and_close(0);
  process.Close();
  const std::string bytes = RawDatabase(file()).Text("SELECT bytes FROM marathon_closed");
  const int64_t most = std::stoll(bytes) / kTogether * kMost;
  ASSERT_TRUE(process.Open(file(), "?closed_keep=3600000&closed_bytes=" + std::to_string(most)).ok());
  for (int i = 1; i < 6; ++i) run_and_close(i * kTogether);
  const auto is_there = [&](int i) { return process.Read(KeyOf(i)).ok(); };
  int kept = 0;
  for (int i = 0; i < 6 * kTogether; ++i) kept += is_there(i);
  EXPECT_LE(kept, kMost);
  EXPECT_GE(kept, kMost * 9 / 10);
  for (int i = 0; i < 4 * kTogether; ++i) EXPECT_FALSE(is_there(i)) << i;
  for (int i = 5 * kTogether; i < 6 * kTogether; ++i) EXPECT_TRUE(is_there(i)) << i;
  process.Close();
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

TEST_F(SqliteStoreTest, ClosingCommitsWhatIsQueuedAndRefusesTheRest) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  StatusCode late = StatusCode::kOk;
  bool started = false;
  StateStore* store = process.ports.store.get();
  store->Start(StartOf(1), [&](const auto& reply) {
    started = reply.ok();
    store->Start(StartOf(2), [&](const auto& second) { late = second.status().code(); });
  });
  process.Close();
  EXPECT_TRUE(started);
  EXPECT_EQ(late, StatusCode::kCancelled);
  ASSERT_TRUE(process.Open(file()).ok());
  EXPECT_TRUE(process.Read(KeyOf(1)).ok());
}

TEST_F(SqliteStoreTest, RefusesToWorkInAForkedChild) {
  Process process(world_);
  ASSERT_TRUE(process.Open(file()).ok());
  ASSERT_TRUE(process.OpenSession("s").ok());
  const pid_t child = fork();
  if (child == 0) {
    StatusCode code = StatusCode::kOk;
    process.ports.store->Start(StartOf(1), [&](const auto& reply) { code = reply.status().code(); });
    process.Close();
    _exit(code == StatusCode::kFailedPrecondition ? 7 : 1);
  }
  int result = 0;
  waitpid(child, &result, 0);
  EXPECT_EQ(WEXITSTATUS(result), 7);
  EXPECT_TRUE(process.Start(StartOf(1)).ok());  // the parent has lost nothing
  Process other(world_, "other");
  ASSERT_TRUE(other.Open(file()).ok());
  EXPECT_EQ(other.OpenSession("s").status().code(), StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace marathon::testing::sqlite_store_test
