// A store that loses its last writes: what is left, and who is told.
// needs: testing
// program: testing
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/testing/manual_clock.h"
#include "marathon/testing/rewinding_state_store.h"

namespace marathon::testing::rewinding_store_test {
namespace {

using std::chrono::seconds;

struct CountingWatcher final : StoreWatcher {
  void OnDue(Time) override { ++due; }
  void OnActivitiesCanceled(const std::vector<ActivityKey>&) override {}
  void OnReturned(std::vector<HeldActivity> given) override { held = std::move(given); }

  int due = 0;
  std::optional<std::vector<HeldActivity>> held;
};

class RewindingStoreTest : public ::testing::Test {
 protected:
  // A run whose first turn has given one activity to `session`.
  void Start(const RunKey& run, const SessionId& session, CommitId commit_id = ~CommitId{0}) {
    StartRequest request;
    request.run = run;
    request.workflow_type = "Type";
    request.request_id = run.run_id;
    request.session = session;
    TurnCommit turn;
    turn.run = run;
    turn.commit_id = commit_id;
    turn.session = session;
    turn.new_version = 2;
    turn.record = "a record";
    NewActivity& activity = turn.activities.emplace_back();
    activity.id = 2;
    activity.activity_type = "Work";
    activity.claim = true;
    request.first_turn = std::move(turn);
    store.Start(std::move(request),
                [](const StatusOr<StartReply>& reply) { ASSERT_TRUE(reply.ok()) << reply.status(); });
  }
  StatusOr<RunSnapshot> Read(const RunKey& run) {
    StatusOr<RunSnapshot> snapshot = RunSnapshot();
    ReadRequest request;
    request.run = run;
    request.records = true;
    store.Read(std::move(request), [&](StatusOr<RunSnapshot> reply) { snapshot = std::move(reply); });
    return snapshot;
  }
  Status Commit(const RunKey& run, uint64_t incarnation) {
    TurnCommit turn;
    turn.run = run;
    turn.incarnation = incarnation;
    turn.expected_version = 2;
    turn.new_version = 3;
    turn.record = "another";
    turn.close = RunStatus::kCompleted;
    Status status;
    store.Commit(std::move(turn), [&](const StatusOr<CommitReply>& reply) { status = reply.status(); });
    return status;
  }

  const RunKey old_run{"old", "old-run"}, new_run{"new", "new-run"};
  ManualClock clock;
  RewindingStateStore store{clock, [](const Clock& its) { return NewMemoryPorts(its).store; }};
  std::shared_ptr<CountingWatcher> watcher = std::make_shared<CountingWatcher>();
};

TEST_F(RewindingStoreTest, LosesWhatIsNewAndKeepsWhatIsOld) {
  store.OpenSession({.id = "s"}, watcher, [](const StatusOr<Time>&) {});
  Start(old_run, "s");
  const Time then = Read(old_run)->row.start_time;
  clock.Advance(seconds(10));
  Start(new_run, "s");
  const uint64_t incarnation = Read(old_run)->incarnation;
  ASSERT_TRUE(Commit(old_run, incarnation).ok());
  EXPECT_FALSE(IsOpen(Read(old_run)->row));

  EXPECT_EQ(store.Lose(seconds(5)), 2u);
  EXPECT_EQ(Read(new_run).status().code(), StatusCode::kNotFound);
  const StatusOr<RunSnapshot> left = Read(old_run);
  ASSERT_TRUE(left.ok());
  EXPECT_TRUE(IsOpen(left->row));
  EXPECT_EQ(left->row.start_time, then);
  EXPECT_EQ(left->records, std::vector<std::string>{"a record"});
  EXPECT_NE(left->incarnation, incarnation);
  EXPECT_EQ(Commit(old_run, incarnation).code(), StatusCode::kAborted);
  EXPECT_TRUE(Commit(old_run, left->incarnation).ok());
}

TEST_F(RewindingStoreTest, TellsWhatASessionHoldsAndWaitsOnForEnds) {
  store.OpenSession({.id = "s"}, watcher, [](const StatusOr<Time>&) {});
  Start(old_run, "s");
  clock.Advance(seconds(10));
  Start(new_run, "s");
  int ended = 0;
  EXPECT_NE(store.AwaitClose(old_run, [&](const StatusOr<RunSnapshot>&) { ++ended; }), 0u);
  watcher->due = 0;

  store.Lose(seconds(5));
  EXPECT_EQ(watcher->due, 1) << "of what is made again nobody is told";
  ASSERT_TRUE(watcher->held.has_value());
  ASSERT_EQ(watcher->held->size(), 1u);
  EXPECT_EQ(watcher->held->front().key, (ActivityKey{old_run, 2}));
  EXPECT_EQ(watcher->held->front().epoch, UnclaimedEpoch(~CommitId{0}) + 1);
  EXPECT_EQ(ended, 0);
  ASSERT_TRUE(Commit(old_run, 0).ok());
  EXPECT_EQ(ended, 1);
}

// The run goes another way than it did, and has another activity where that one was.
TEST_F(RewindingStoreTest, AnAttemptOfThenEndsNoActivityOfNow) {
  store.OpenSession({.id = "s"}, watcher, [](const StatusOr<Time>&) {});
  clock.Advance(seconds(10));
  const CommitId then = CommitId{1} << 40, now = CommitId{7} << 40;
  Start(new_run, "s", then);
  store.Lose(seconds(5));
  Start(new_run, "s", now);
  const auto end_one_of = [&](CommitId commit) {
    AttemptEnd end;
    end.key = {new_run, 2};
    end.epoch = UnclaimedEpoch(commit) + 1;
    end.outcome = ActivityCompleted{.scheduled = 2};
    StatusOr<AttemptReply> reply = AttemptReply();
    store.EndAttempt(std::move(end), [&](StatusOr<AttemptReply> given) { reply = std::move(given); });
    return reply;
  };
  EXPECT_EQ(end_one_of(then).status().code(), StatusCode::kAborted);
  ASSERT_TRUE(end_one_of(now).ok());
}

}  // namespace
}  // namespace marathon::testing::rewinding_store_test
