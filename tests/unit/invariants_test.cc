// That the simulator's invariants see what they should: each test tells a story of writes that breaks
// one promise.
// needs: testing
// program: testing
#include "marathon/testing/invariants.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "marathon/event_codec.h"
#include "marathon/testing/sim_program.h"

namespace marathon::testing::invariants_test {
namespace {

using std::chrono::seconds;

class InvariantsTest : public ::testing::Test {
 protected:
  InvariantsTest() {
    StartRequest request;
    request.run = run;
    request.request_id = "request";
    invariants.Started(request, {run, true, false, now}, now);
  }

  // A turn that appends a marker and then `bodies`.
  TurnCommit Turn(std::vector<EventBody> bodies) {
    TurnCommit commit;
    commit.run = run;
    commit.expected_version = version;
    commit.commit_id = ++commit_id;
    commit.session = "session";
    History events{{version + 1, TurnStarted{now, "", 0}}};
    for (EventBody& body : bodies) {
      const EventId id = version + 1 + static_cast<EventId>(events.size());
      if (std::holds_alternative<ActivityScheduled>(body)) {
        NewActivity activity;
        activity.id = id;
        activity.claim = true;
        commit.activities.push_back(activity);
      }
      if (IsClosing(TypeOf(body))) commit.close = RunStatus::kCompleted;
      events.push_back({id, std::move(body)});
    }
    commit.new_version = events.back().id;
    commit.record = EncodeRecord(commit.commit_id, events);
    return commit;
  }
  void Commit(const TurnCommit& commit) {
    invariants.Committed(commit, now);
    version = commit.new_version;
  }
  void Commit(std::vector<EventBody> bodies) { Commit(Turn(std::move(bodies))); }
  void Signal(const std::string& value) {
    PutRequest request;
    request.run = run;
    request.message.body = SignalReceived{"signal", {value, Encoding::kJson}, {}};
    invariants.Put(request, {run, false, false});
  }
  static SignalReceived Received(const std::string& value) {
    return {"signal", {value, Encoding::kJson}, {}};
  }
  // Ends the run; "next" goes on, and gets `unread`.
  void Continue(const std::vector<EventBody>& unread) {
    TurnCommit commit = Turn({TimerStarted{}, WorkflowContinuedAsNew{"next", "", "", {}, {}}});
    commit.close = RunStatus::kContinuedAsNew;
    commit.next.emplace().run_id = "next";
    commit.next->messages.push_back({0, "", WorkflowStarted{}});
    for (const EventBody& body : unread) commit.next->messages.push_back({0, "", body});
    invariants.Committed(commit, now);
  }
  void ExpectViolation(std::string_view which) {
    EXPECT_EQ(invariants.violation().substr(0, which.size()), which) << invariants.violation();
  }

  Invariants invariants;
  RunKey run{"workflow", "run"};
  Time now = FromMicros(1'000'000'000);
  EventId version = 0;
  CommitId commit_id = 0;
};

TEST_F(InvariantsTest, AcceptAGoodLife) {
  Commit({WorkflowStarted{}, ActivityScheduled{}, TimerStarted{seconds(5)}});  // 2, 3, 4
  Signal("1");
  now += seconds(5);
  Commit({TimerFired{4}, Received("1"), ActivityCompleted{3, {}, 1}});
  Commit({WorkflowCompleted{}});
  EXPECT_EQ(invariants.violation(), "");
  EXPECT_EQ(invariants.commits(), 3u);
  EXPECT_TRUE(invariants.Find(run)->closed);
}

TEST_F(InvariantsTest, SeeACommitAfterTheEnd) {
  Commit({WorkflowStarted{}, WorkflowCompleted{}});
  Commit({TimerStarted{seconds(1)}});
  ExpectViolation("I1");
}

TEST_F(InvariantsTest, SeeTwoRunsOfOneStart) {
  StartRequest request;
  request.run = {"workflow", "other"};
  request.request_id = "request";
  invariants.Started(request, {request.run, true, false, now}, now);
  ExpectViolation("I1");
}

TEST_F(InvariantsTest, SeeASignalThatAChainLosesOnTheWay) {
  Signal("1");
  Signal("2");
  Commit({WorkflowStarted{}, Received("1")});
  // "1" is in history and unreceived, "2" has not been taken: both go on.
  Continue({Received("1")});
  EXPECT_EQ(invariants.violation(), "");
  run.run_id = "next";
  version = 0;
  Commit({WorkflowStarted{}, Received("2")});
  ExpectViolation("I6");
}

TEST_F(InvariantsTest, SeeASignalThatAChainDoubles) {
  Signal("1");
  Commit({WorkflowStarted{}, Received("1")});
  Continue({Received("1"), Received("1")});
  ExpectViolation("I6");
}

TEST_F(InvariantsTest, SeeAChainThatForgetsItsPriority) {
  WorkflowStarted urgent;
  urgent.priority = 1;
  TurnCommit commit = Turn({urgent, WorkflowContinuedAsNew{"next", "", "", {}, {}}});
  commit.close = RunStatus::kContinuedAsNew;
  commit.next.emplace().run_id = "next";
  invariants.Committed(commit, now);
  EXPECT_EQ(invariants.violation(), "");
  run.run_id = "next";
  version = 0;
  Commit({WorkflowStarted{}});
  ExpectViolation("I18");
}

TEST_F(InvariantsTest, SeeAChainThatGoesOnElsewhereThanItSays) {
  TurnCommit commit = Turn({WorkflowStarted{}, WorkflowContinuedAsNew{"next", "", "", {}, {}}});
  commit.close = RunStatus::kContinuedAsNew;
  commit.next.emplace().run_id = "another";
  invariants.Committed(commit, now);
  ExpectViolation("I1");
}

TEST_F(InvariantsTest, SeeATurnThatDoesNotWaitForItsTime) {
  TurnCommit commit = Turn({WorkflowStarted{}, WorkflowFailed{{}, "next"}});
  commit.close = RunStatus::kFailed;
  commit.next.emplace().run_id = "next";
  commit.next->delay = Duration(5'000);
  invariants.Committed(commit, now);
  EXPECT_EQ(invariants.violation(), "");
  run.run_id = "next";
  version = 0;
  now += seconds(4);
  Commit({WorkflowStarted{}});
  ExpectViolation("I5");
}

TEST_F(InvariantsTest, SeeACommitAtAnotherVersion) {
  Commit({WorkflowStarted{}});
  version = 1;
  Commit({TimerStarted{seconds(1)}});
  ExpectViolation("I2");
}

TEST_F(InvariantsTest, SeeHistoryThatIsNotWhatWasAcknowledged) {
  Commit({WorkflowStarted{}});
  RunSnapshot stored;
  stored.row.key = run;
  stored.row.version = version;
  invariants.Compare(stored);
  ExpectViolation("I3");
}

TEST_F(InvariantsTest, SeeATimerThatFiresEarly) {
  Commit({WorkflowStarted{}, TimerStarted{seconds(5)}});
  now += seconds(4);
  Commit({TimerFired{3}});
  ExpectViolation("I5");
}

TEST_F(InvariantsTest, SeeATimerThatFiresTwice) {
  Commit({WorkflowStarted{}, TimerStarted{Duration(0)}});
  Commit({TimerFired{3}});
  Commit({TimerFired{3}});
  ExpectViolation("I5");
}

TEST_F(InvariantsTest, SeeACanceledTimerFire) {
  Commit({WorkflowStarted{}, TimerStarted{Duration(0)}, TimerCanceled{3}});
  Commit({TimerFired{3}});
  ExpectViolation("I5");
}

TEST_F(InvariantsTest, SeeTimeRunBackwards) {
  Commit({WorkflowStarted{}});
  now -= seconds(1);
  Commit({TimerStarted{seconds(1)}});
  ExpectViolation("I5");
}

TEST_F(InvariantsTest, SeeASignalOutOfOrder) {
  Commit({WorkflowStarted{}});
  Signal("1");
  Signal("2");
  Commit({Received("2")});
  ExpectViolation("I6");
}

TEST_F(InvariantsTest, SeeASignalTwice) {
  Commit({WorkflowStarted{}});
  Signal("1");
  Commit({Received("1"), Received("1")});
  ExpectViolation("I6");
}

TEST_F(InvariantsTest, SeeASignalThatACloseLeavesOut) {
  Commit({WorkflowStarted{}});
  Signal("1");
  Commit({WorkflowCompleted{}});
  ExpectViolation("I6");
}

TEST_F(InvariantsTest, AllowATerminateToLeaveSignalsOut) {
  Commit({WorkflowStarted{}});
  Signal("1");
  Commit({WorkflowTerminated{}});
  EXPECT_EQ(invariants.violation(), "");
}

TEST_F(InvariantsTest, SeeASecondOutcome) {
  Commit({WorkflowStarted{}, ActivityScheduled{}});
  Commit({ActivityCompleted{3, {}, 1}});
  Commit({ActivityFailed{3, {}, 1}});
  ExpectViolation("I7");
}

TEST_F(InvariantsTest, SeeAnOutcomeOfACanceledActivity) {
  Commit({WorkflowStarted{}, ActivityScheduled{}, ActivityCancelRequested{3}});
  Commit({ActivityCompleted{3, {}, 1}});
  ExpectViolation("I7");
}

TEST_F(InvariantsTest, SeeAClaimAfterTheOutcome) {
  Commit({WorkflowStarted{}, ActivityScheduled{}});
  AttemptEnd end;
  end.key = {run, 3};
  end.epoch = 1;
  invariants.Ended(end, {true, false});
  EXPECT_TRUE(invariants.IsResolved(end.key));
  ActivityRow row;
  row.key = end.key;
  row.epoch = 2;
  invariants.Claimed({row});
  ExpectViolation("I7");
}

TEST_F(InvariantsTest, SeeTwoClaimsAtOneEpoch) {
  Commit({WorkflowStarted{}, ActivityScheduled{}});  // claimed by its own turn: epoch 1
  ActivityRow row;
  row.key = {run, 3};
  row.epoch = 1;
  invariants.Claimed({row});
  ExpectViolation("I7");
}

TEST_F(InvariantsTest, OnlyWhoseClaimIsKnownIsToBeToldOfACancel) {
  Commit({WorkflowStarted{}, ActivityScheduled{}});  // claimed by its own turn: epoch 1
  const ActivityKey key{run, 3};
  EXPECT_EQ(invariants.CanceledAt(key, 1, "session"), kNever);
  ActivityRow row;
  row.key = key;
  row.epoch = 2;
  row.session = "second";
  invariants.Claimed({row});
  now += seconds(5);
  Commit({ActivityCancelRequested{3, false}});
  EXPECT_EQ(invariants.CanceledAt(key, 2, "second"), now);
  EXPECT_EQ(invariants.CanceledAt(key, 1, "session"), now) << "who has lost it is to stop, too";
  EXPECT_EQ(invariants.CanceledAt(key, 2, "session"), kNever);
  EXPECT_EQ(invariants.CanceledAt(key, 3, "second"), kNever);

  invariants.Forget();
  EXPECT_EQ(invariants.CanceledAt(key, 2, "second"), kNever);
}

TEST_F(InvariantsTest, SeeAStaleResult) {
  Commit({WorkflowStarted{}, ActivityScheduled{}});
  ActivityRow row;
  row.key = {run, 3};
  row.epoch = 2;
  invariants.Claimed({row});
  AttemptEnd end;
  end.key = row.key;
  end.epoch = 1;
  invariants.Ended(end, {true, false});
  ExpectViolation("I7");
}

TEST_F(InvariantsTest, SeeALiveSessionExpired) {
  invariants.SessionRenewed("session", now, seconds(5));
  invariants.SessionExpired("session", now + seconds(4));
  ExpectViolation("I7");
}

TEST_F(InvariantsTest, SeeARecordThatIsDamaged) {
  TurnCommit commit = Turn({WorkflowStarted{}});
  commit.record.back() = static_cast<char>(commit.record.back() ^ 1);
  Commit(commit);
  ExpectViolation("I9");
}

TEST_F(InvariantsTest, AllowAPausedRunToBeResumed) {
  Commit({WorkflowStarted{}});
  invariants.Paused(run, true);
  invariants.Paused(run, false);
  Commit({TimerStarted{seconds(5)}});
  EXPECT_EQ(invariants.violation(), "");
}

TEST_F(InvariantsTest, SeeATurnOfAPausedRun) {
  Commit({WorkflowStarted{}});
  invariants.Paused(run, true);
  Commit({TimerStarted{seconds(5)}});
  ExpectViolation("I12");
}

TEST_F(InvariantsTest, SeeATurnOfTheRunThatFollowsAPausedOne) {
  Commit({WorkflowStarted{}});
  invariants.Paused(run, true);
  TurnCommit outside = Turn({WorkflowTimedOut{"next"}});
  outside.session.clear();
  outside.close = RunStatus::kTimedOut;
  outside.next.emplace().run_id = "next";
  invariants.Committed(outside, now);
  EXPECT_EQ(invariants.violation(), "") << "from outside it may end";
  run = {"workflow", "next"};
  version = 0;
  Commit({WorkflowStarted{}});
  ExpectViolation("I12");
}

TEST_F(InvariantsTest, SeeATurnOfAnotherBuildThanARunIsPinnedTo) {
  const auto turn_of = [this](const char* build) {
    TurnCommit turn = Turn({TimerStarted{seconds(5)}});
    turn.build_id = build;
    return turn;
  };
  TurnCommit first = Turn({WorkflowStarted{}});
  first.build_id = "one";
  first.pin = true;
  Commit(first);
  Commit(turn_of("one"));
  invariants.Pinned(run, "two");
  Commit(turn_of("two"));
  invariants.Pinned(run, "");
  Commit(turn_of("three"));
  invariants.Pinned(run, "one");
  EXPECT_EQ(invariants.violation(), "");
  Commit(turn_of("three"));
  ExpectViolation("I14");
}

TEST_F(InvariantsTest, SeeAClaimInAPausedRun) {
  Commit({WorkflowStarted{}, ActivityScheduled{}});
  invariants.Paused(run, true);
  ActivityRow row;
  row.key = {run, 3};
  row.epoch = UnclaimedEpoch(commit_id) + 2;
  invariants.Claimed({row});
  ExpectViolation("I12");
}

TEST_F(InvariantsTest, SeeAnOpenRunDeleted) {
  Commit({WorkflowStarted{}});
  invariants.Deleted(run);
  ExpectViolation("I12");
}

TEST_F(InvariantsTest, KeepTheFirstViolation) {
  invariants.Report("I1", run, "first");
  invariants.Report("I2", run, "second");
  ExpectViolation("I1");
}

TEST(SimProgramTest, SurvivesTextAndCallsEachWorkByItsOwnName) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SeededRandom random(seed);
    const SimProgram program = SimProgram::Draw(random);
    const SimProgram again = SimProgram::FromText(program.ToText());
    EXPECT_EQ(again.ToText(), program.ToText());
    EXPECT_EQ(again.Expected(), program.Expected());
    EXPECT_EQ(again.Receives(), program.Receives());
  }
  const SimWork work{.id = 301, .fails = 2, .mode = SimWork::Mode::kBeats, .busy_ms = 4'000};
  const SimWork back = SimWork::Unpack(work.Pack());
  EXPECT_EQ(back.id, 301);
  EXPECT_EQ(back.fails, 2);
  EXPECT_EQ(back.mode, SimWork::Mode::kBeats);
  EXPECT_EQ(back.busy_ms, 4'000u);
}

}  // namespace
}  // namespace marathon::testing::invariants_test
