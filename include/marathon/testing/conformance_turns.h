// StateStore conformance: turns, closing, blocking. Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

// ---- Turns

TEST_P(StateStoreConformance, ACommitMovesTheRunOn) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Start(NewStart("w", "s1")).ok());
  ASSERT_TRUE(Put(Run("w"), Signal("go")).ok());
  const TurnCommit commit = Turn(Run("w"), 0, 4, "s1", 2);
  const Reply reply = Commit(commit);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->inbox_size, 0);
  EXPECT_EQ(reply->now, store().Now());
  const RunSnapshot run = ReadAll(Run("w"));
  EXPECT_EQ(run.row.version, 4);
  EXPECT_EQ(run.row.commit_id, commit.commit_id);
  EXPECT_EQ(run.row.history_bytes, static_cast<int64_t>(commit.record.size()));
  EXPECT_EQ(run.row.owner, "s1");
  EXPECT_EQ(run.row.ready_since, kNever);
  EXPECT_TRUE(run.inbox.empty());
  EXPECT_EQ(run.records, std::vector<std::string>{commit.record});
}

TEST_P(StateStoreConformance, ARepeatedCommitIsAbortedAndCanBeRecognised) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  const TurnCommit commit = Turn(Run("w"), 0, 2, "", 1);
  ASSERT_TRUE(Commit(commit).ok());
  EXPECT_EQ(Commit(commit).status().code(), StatusCode::kAborted);
  const RunSnapshot run = ReadAll(Run("w"));
  EXPECT_EQ(run.row.commit_id, commit.commit_id);
  EXPECT_EQ(run.records.size(), 1u);
}

TEST_P(StateStoreConformance, ACommitAtAnotherVersionChangesNothing) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  const RunSnapshot before = ReadAll(run);
  TurnCommit stale = Turn(run, 1, 5, "s1", 9);
  stale.activities.push_back(Activity(4));
  stale.timers.push_back({5, Duration(1)});
  stale.handed_over.push_back({2, 1});
  stale.close = RunStatus::kCompleted;
  EXPECT_EQ(Commit(stale).status().code(), StatusCode::kAborted);
  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.row, before.row);
  EXPECT_EQ(after.records, before.records);
  EXPECT_EQ(after.inbox, before.inbox);
  EXPECT_EQ(after.activities, before.activities);
}

TEST_P(StateStoreConformance, CommitsOfUnknownAndClosedRunsAreRefused) {
  EXPECT_EQ(Commit(Turn(Run("none"), 0, 2, "")).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kTerminated;
  ASSERT_TRUE(Commit(close).ok());
  EXPECT_EQ(Commit(Turn(Run("w"), 2, 3, "")).status().code(), StatusCode::kAborted);
}

TEST_P(StateStoreConformance, ACommitTakesOnlyTheMessagesItNames) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Start(NewStart("w", "s1")).ok());
  ASSERT_TRUE(Put(Run("w"), Signal("late")).ok());
  Advance(std::chrono::seconds(1));
  const Reply reply = Commit(Turn(Run("w"), 0, 2, "s1", 1));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->inbox_size, 1);
  const RunSnapshot run = ReadAll(Run("w"));
  ASSERT_EQ(run.inbox.size(), 1u);
  EXPECT_EQ(std::get<SignalReceived>(run.inbox[0].body).name, "late");
  EXPECT_EQ(run.row.ready_since, store().Now()) << "still ready, and its owner goes on";
  EXPECT_TRUE(Hints().empty());
  Advance(limits::kOwnerPreference);
  Poll();
  EXPECT_EQ(Hints().size(), 1u) << "if it does not, somebody else will";
}

TEST_P(StateStoreConformance, ACommitWithoutEventsTakesMessages) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  TurnCommit commit = Turn(run, 2, 2, "s1", 2);
  ASSERT_TRUE(Commit(commit).ok());
  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.row.version, 2);
  EXPECT_EQ(after.row.commit_id, commit.commit_id);
  EXPECT_TRUE(after.inbox.empty());
  EXPECT_EQ(after.records.size(), 1u);
}

TEST_P(StateStoreConformance, ALateSignalRefusesTheClose) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  TurnCommit close = Turn(run, 2, 3, "s1", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Put(run, Signal("late")).ok());
  const auto refused = Commit(close);
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadAll(run).row.version, 2);
  close.leave_signals = true;
  EXPECT_TRUE(Commit(close).ok());
  EXPECT_EQ(ReadAll(run).row.status, RunStatus::kCompleted);
}

TEST_P(StateStoreConformance, AnActivitysResultDoesNotHinderTheClose) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kFinal))->applied);
  TurnCommit close = Turn(run, 2, 3, "s1", 1);
  close.close = RunStatus::kCompleted;
  EXPECT_TRUE(Commit(close).ok());
}

TEST_P(StateStoreConformance, AClosedRunHasNothingOpen) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.activities = {Activity(1), Activity(2)};
  first.timers.push_back({2, std::chrono::seconds(5)});
  const RunKey run = Started("w", "s1", std::move(first));
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  TurnCommit close = Turn(run, 2, 3, "s1", 2);
  close.close = RunStatus::kFailed;
  ASSERT_TRUE(Commit(close).ok());

  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.row.status, RunStatus::kFailed);
  EXPECT_EQ(after.row.close_time, store().Now());
  EXPECT_EQ(after.row.pending_activities, 0);
  EXPECT_EQ(after.row.ready_since, kNever);
  EXPECT_TRUE(after.activities.empty());
  EXPECT_TRUE(after.inbox.empty());
  EXPECT_EQ(after.records.size(), 2u);
  EXPECT_FALSE(EndAttempt(End({run, 1}, 0, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_TRUE(Claim("s1", {{{run, 2}, 0}})->empty());
  Advance(std::chrono::seconds(6));
  EXPECT_TRUE(Poll("s1").ready.empty());
  EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kFailedPrecondition);
}

// ---- Taking turns

TEST_P(StateStoreConformance, TheOwnerTakesTurnsWithoutAWrite) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go"), "s1")->mine);
  const RunSnapshot before = ReadAll(run);
  const auto turn = Take(run, "s1");
  ASSERT_TRUE(turn.ok());
  EXPECT_EQ(turn->inbox.size(), 1u);
  EXPECT_EQ(turn->row.deliveries, 0);
  EXPECT_EQ(ReadAll(run).row, before.row);
}

TEST_P(StateStoreConformance, OthersTakeATurnWhenTheOwnersTimeIsOver) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  EXPECT_EQ(Take(run, "s2").status().code(), StatusCode::kAborted);
  Advance(limits::kOwnerPreference);
  const auto turn = Take(run, "s2");
  ASSERT_TRUE(turn.ok()) << turn.status();
  EXPECT_EQ(turn->row.owner, "s2");
  EXPECT_EQ(turn->row.deliveries, 1);
  EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kAborted) << "now it is the other's";
  Advance(limits::kTurnClaim);
  EXPECT_EQ(Take(run, "s1")->row.deliveries, 2);
  ASSERT_TRUE(Commit(Turn(run, 2, 3, "s1", 2)).ok());
  EXPECT_EQ(ReadAll(run).row.deliveries, 0) << "a commit forgets them";
}

TEST_P(StateStoreConformance, WhoIsInTheMiddleOfATurnKeepsTheRun) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go"), "s1")->mine);
  const auto kept = Keep(run, "s1");
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->row.version, 2);
  EXPECT_TRUE(kept->records.empty() && kept->inbox.empty());
  Advance(limits::kTurnClaim - std::chrono::seconds(1));
  EXPECT_EQ(Take(run, "s2").status().code(), StatusCode::kAborted);
  ASSERT_TRUE(Keep(run, "s1").ok());
  Advance(std::chrono::seconds(2));
  EXPECT_EQ(Take(run, "s2").status().code(), StatusCode::kAborted) << "it was renewed";
  EXPECT_EQ(ReadAll(run).row.deliveries, 0) << "nobody took it anew";
  Advance(limits::kTurnClaim);
  ASSERT_TRUE(Take(run, "s2").ok()) << "it wears off";
  EXPECT_EQ(Keep(run, "s1").status().code(), StatusCode::kAborted) << "now it is the other's";
}

TEST_P(StateStoreConformance, TheRunOfADeadSessionIsAnyones) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go"), "s1")->mine);
  ASSERT_TRUE(CloseSession("s1").ok());
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].run, run);
  EXPECT_TRUE(Take(run, "s2").ok());
}

TEST_P(StateStoreConformance, ATurnGetsTheRecordsItDoesNotKnow) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Commit(Turn(run, 2, 5, "s1")).ok());
  ASSERT_TRUE(Commit(Turn(run, 5, 6, "s1")).ok());
  ASSERT_TRUE(Put(run, Signal("go"), "s1").ok());
  const auto all = ReadAll(run).records;
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(Take(run, "s1")->records, all);
  EXPECT_TRUE(Take(run, "s1", 6, 1006)->records.empty());
  EXPECT_EQ(Take(run, "s1", 2, 1002)->records, (std::vector<std::string>{all[1], all[2]}));
  EXPECT_EQ(Take(run, "s1", 5, 77)->records, all) << "another's commit: start afresh";
  EXPECT_EQ(Take(run, "s1", 3, 1003)->records, all) << "no commit ends there";
}

TEST_P(StateStoreConformance, ABlockedRunWaitsUntilItIsUnblocked) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go"), "s1").ok());
  EXPECT_EQ(Block(run, 1).code(), StatusCode::kAborted) << "another version";
  ASSERT_TRUE(Block(run, 2).ok());
  const RunRow row = ReadAll(run).row;
  ASSERT_TRUE(row.blocked.has_value());
  EXPECT_EQ(row.blocked->reason, "reason");
  EXPECT_EQ(row.blocked->since, store().Now());
  EXPECT_EQ(row.ready_since, kNever);
  EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Commit(Turn(run, 2, 3, "s1", 2)).status().code(), StatusCode::kAborted);
  EXPECT_FALSE(Put(run, Signal("more"), "s1")->mine) << "messages wait";
  EXPECT_EQ(List({.blocked_only = true}).runs.size(), 1u);

  ASSERT_TRUE(Unblock(run).ok());
  EXPECT_TRUE(Unblock(run).ok()) << "again: nothing to do";
  const auto turn = Take(run, "s1");
  ASSERT_TRUE(turn.ok()) << turn.status();
  EXPECT_EQ(turn->inbox.size(), 2u);
}

TEST_P(StateStoreConformance, ARunThatIsGivenBackIsAnyonesAfterAPause) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go"), "s1").ok());
  Hints();
  auto pause = limits::kGiveBackFirst;
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(Block(run, 2, /*retry_at=*/Time()).ok());
    EXPECT_EQ(ReadAll(run).row.blocked->retry_at, store().Now() + pause);
    EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kFailedPrecondition);
    Advance(pause - std::chrono::microseconds(1));
    Poll();
    EXPECT_TRUE(ReadAll(run).row.blocked.has_value());
    EXPECT_TRUE(Hints().empty());
    Advance(std::chrono::microseconds(1));
    Poll();
    EXPECT_EQ(Hints().size(), 1u) << "for anyone";
    ASSERT_TRUE(Take(run, i % 2 == 0 ? "s2" : "s1").ok());
    EXPECT_EQ(ReadAll(run).row.deliveries, 1) << "those given back do not count";
    pause = std::min<Duration>(pause * 2, limits::kGiveBackMax);
  }
  EXPECT_EQ(pause, limits::kGiveBackMax);
  ASSERT_TRUE(Commit(Turn(run, 2, 3, "s1", 2)).ok());
  EXPECT_EQ(ReadAll(run).row.give_backs, 0);
}

TEST_P(StateStoreConformance, ABlockedRunCanBeTerminated) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Block(run, 2).ok());
  TurnCommit terminate = Turn(run, 2, 3, "");
  terminate.close = RunStatus::kTerminated;
  terminate.leave_signals = true;
  EXPECT_TRUE(Commit(terminate).ok());
}

}  // namespace marathon::inline MARATHON_ABI::testing
