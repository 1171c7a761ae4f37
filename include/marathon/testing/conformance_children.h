// StateStore conformance: activities that are owed, and those that are the library's own, by which children live.
// Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, WhatIsBuiltInIsDueInsteadOfHinted) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit commit;
  commit.activities.push_back(Owes(2));
  const RunKey run = Started("w", "s1", std::move(commit));
  const ActivityRow row = OnlyActivity(run);
  EXPECT_EQ(row.owed, Owed::kAtEnd);
  const DueReply due = Poll();
  ASSERT_EQ(due.claimable.size(), 1u);
  EXPECT_EQ(due.claimable[0].key, row.key);
  EXPECT_EQ(due.claimable[0].epoch, row.epoch);
  EXPECT_TRUE(Poll().claimable.empty()) << "told for now";
  Advance(limits::kDueAgain);
  EXPECT_EQ(Poll().claimable.size(), 1u);
  EXPECT_EQ(Claim("s1", due.claimable)->size(), 1u);
  Advance(limits::kDueAgain);
  EXPECT_TRUE(Poll().claimable.empty()) << "claimed";
  // Freed with its session, it is due at once.
  ASSERT_TRUE(CloseSession("s1").ok());
  EXPECT_EQ(Poll().claimable.size(), 1u);
}

TEST_P(StateStoreConformance, AnOutcomeOfAnyEpochEndsIt) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  EXPECT_EQ(OnlyActivity(run).state, ActivityState::kDetached);
  EXPECT_EQ(EndAttempt(End({run, 2}, 0, AttemptEnd::Kind::kFinal)).status().code(),
            StatusCode::kAborted);
  EXPECT_EQ(EndAttempt(End({run, 2}, kAnyEpoch, AttemptEnd::Kind::kRetry)).status().code(),
            StatusCode::kAborted);
  const auto ended = EndAttempt(End({run, 2}, kAnyEpoch, AttemptEnd::Kind::kFinal));
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_TRUE(ended->applied);
  const RunSnapshot after = ReadAll(run);
  EXPECT_TRUE(after.activities.empty());
  ASSERT_EQ(after.inbox.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<ActivityCompleted>(after.inbox[0].body));
  EXPECT_FALSE(EndAttempt(End({run, 2}, kAnyEpoch, AttemptEnd::Kind::kFinal))->applied);
}

// A child may tell a parent whose store has lost the turn that asked for it.
TEST_P(StateStoreConformance, AnOutcomeOfAnyEpochIsOfAChildOnly) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  const ActivityRow before = OnlyActivity(run);
  const auto ended = EndAttempt(End(before.key, kAnyEpoch, AttemptEnd::Kind::kFinal));
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_FALSE(ended->applied);
  EXPECT_EQ(OnlyActivity(run), before);
}

TEST_P(StateStoreConformance, ACancelIsDeliveredAndDoesNotEndIt) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  TurnCommit cancel = Turn(run, 2, 3, "s1", 0);
  cancel.cancel_activities.push_back({2, true});
  ASSERT_TRUE(Commit(cancel).ok());
  const std::vector<ActivityRow> rows = ClaimDue("s1");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_TRUE(rows[0].cancel_requested);
  ASSERT_TRUE(EndAttempt(Detach(rows[0], true)).ok());
  const RunSnapshot after = ReadAll(run);
  EXPECT_TRUE(after.inbox.empty());
  ASSERT_EQ(after.activities.size(), 1u);
  EXPECT_EQ(after.activities[0].state, ActivityState::kDetached);
  EXPECT_TRUE(Poll().claimable.empty());
}

// The deliverer that is at work has not seen the cancel: another delivery must.
TEST_P(StateStoreConformance, ACancelDuringADeliveryTakesAnother) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  TurnCommit cancel = Turn(run, 2, 3, "s1", 0);
  cancel.cancel_activities.push_back({2, false});
  ASSERT_TRUE(Commit(cancel).ok());
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  EXPECT_EQ(OnlyActivity(run).state, ActivityState::kClaimable);
  // One that dies, or gives back, has told nobody.
  std::vector<ActivityRow> rows = ClaimDue("s1");
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_TRUE(EndAttempt(End(rows[0].key, rows[0].epoch, AttemptEnd::Kind::kGiveBack)).ok());
  rows = ClaimDue("s1");
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_TRUE(CloseSession("s1").ok());
  EXPECT_EQ(OnlyActivity(run).state, ActivityState::kClaimable);
  EXPECT_TRUE(ReadAll(run).inbox.empty());
}

TEST_P(StateStoreConformance, WhatIsOwedOutlivesItsRun) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  ASSERT_TRUE(Commit(Closing(run, 2)).ok());
  EXPECT_EQ(ReadAll(run).row.pending_activities, 1);
  // It is kept for as long as it owes something.
  Advance(limits::kRetention + std::chrono::hours(1));
  ASSERT_TRUE(Open("s2").ok());
  const std::vector<ActivityRow> rows = ClaimDue("s2");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].owed, Owed::kNow);
  ASSERT_TRUE(EndAttempt(End(rows[0].key, rows[0].epoch, AttemptEnd::Kind::kFinal)).ok());
  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.row.pending_activities, 0);
  EXPECT_TRUE(after.activities.empty());
  EXPECT_TRUE(after.inbox.empty());
  Poll();
  EXPECT_EQ(Read({.run = run}).status().code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, ADeliveryDuringTheEndIsFollowedByTheLastOne) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  const ActivityRow before = OnlyActivity(run);
  ASSERT_TRUE(Commit(Closing(run, 2)).ok());
  EXPECT_EQ(OnlyActivity(run).state, ActivityState::kClaimed);
  ASSERT_TRUE(EndAttempt(Detach(before)).ok());
  const std::vector<ActivityRow> rows = ClaimDue("s1");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].owed, Owed::kNow);
}

// … and it is canceled by the very commit that ends its run, too.
TEST_P(StateStoreConformance, AClosingCommitCancelsWhatIsOwed) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  TurnCommit closing = Closing(run, 2);
  closing.cancel_activities.push_back({2, false});
  ASSERT_TRUE(Commit(closing).ok());
  const std::vector<ActivityRow> rows = ClaimDue("s1");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].owed, Owed::kNow);
  EXPECT_TRUE(rows[0].cancel_requested);
}

TEST_P(StateStoreConformance, TheFirstRunOfAChainStandsForItWhenItIsForgotten) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(Continuing("w", 1)).ok());
  Advance(limits::kRetention + std::chrono::hours(1));
  Poll();
  ASSERT_EQ(Read({.run = Run("w")}).status().code(), StatusCode::kNotFound);
  const auto put = Put(Run("w"), Signal("late"));
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->run, Next("w"));
  EXPECT_EQ(Put({"w", "another"}, Signal("late")).status().code(), StatusCode::kNotFound);
}

// One that wrote no event has still been another commit: what it took is gone.
TEST_P(StateStoreConformance, ACommitNamesTheLastOne) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("one")).ok());
  TurnCommit empty = Turn(run, 2, 2, "s1", 2);
  empty.expected_commit = 1002;
  empty.commit_id = 77;
  ASSERT_TRUE(Commit(empty).ok());
  TurnCommit late = Turn(run, 2, 4, "s1", 2);
  late.expected_commit = 1002;
  EXPECT_EQ(Commit(late).status().code(), StatusCode::kAborted);
  late.expected_commit = 77;
  EXPECT_TRUE(Commit(late).ok());
}

TEST_P(StateStoreConformance, ARunOwesItsParentTheNews) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  TurnCommit closing = Closing(run, 2);
  closing.activities.push_back(Activity(4));
  EXPECT_EQ(Commit(closing).status().code(), StatusCode::kInvalidArgument) << "it is not owed";
  closing.activities = {Owes(4, true)};
  ASSERT_TRUE(Commit(closing).ok());
  const ActivityRow row = OnlyActivity(run);
  EXPECT_EQ(row.owed, Owed::kNow);
  EXPECT_EQ(row.state, ActivityState::kClaimed);
  EXPECT_EQ(row.session, "s1");
  EXPECT_EQ(row.epoch, UnclaimedEpoch(closing.commit_id) + 1);
  ASSERT_TRUE(EndAttempt(End(row.key, row.epoch, AttemptEnd::Kind::kFinal)).ok());
  EXPECT_TRUE(ReadAll(run).activities.empty());
}

TEST_P(StateStoreConformance, ARowNamesItsParentAsDoesTheNextOfItsChain) {
  ASSERT_TRUE(Open("s1").ok());
  const ActivityKey parent{{"parent", "parent-run"}, 7};
  const WorkflowStarted child{.workflow_type = "Type", .origin = {RunOrigin{.parent = parent}}};
  StartRequest request = NewStart("w", "s1");
  request.messages.front().body = child;
  const auto started = Start(request);
  ASSERT_TRUE(started.ok()) << started.status();
  const RunSnapshot first = ReadAll(started->run);
  ASSERT_TRUE(first.row.links.has_value());
  EXPECT_EQ(first.row.links->parent, parent);
  TurnCommit commit = Continuing("w", 1);
  commit.next->messages.front().body = child;
  ASSERT_TRUE(Commit(commit).ok());
  EXPECT_EQ(ReadAll(Next("w")).row.links->parent, parent);
}

TEST_P(StateStoreConformance, ChildrenStayAsLongAsTheChainGoesOn) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  ASSERT_TRUE(Commit(Continuing("w", 1, 2)).ok());
  EXPECT_EQ(OnlyActivity(run).owed, Owed::kAtEnd);
  EXPECT_TRUE(Poll().claimable.empty());
  const RunSnapshot next = ReadAll(Next("w"));
  ASSERT_TRUE(next.row.links.has_value());
  EXPECT_EQ(next.row.links->children, (std::vector<ActivityKey>{{run, 2}}));
  ASSERT_TRUE(Commit(Closing(Next("w"), 0)).ok());
  const std::vector<ActivityRow> rows = ClaimDue("s1");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].key, (ActivityKey{run, 2}));
  EXPECT_EQ(rows[0].owed, Owed::kNow);
}

// One that ends meanwhile is not told to a run that has closed.
TEST_P(StateStoreConformance, AChildOfAnEarlierRunEndsUnheard) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  ASSERT_TRUE(Commit(Continuing("w", 1, 2)).ok());
  ASSERT_TRUE(EndAttempt(End({run, 2}, kAnyEpoch, AttemptEnd::Kind::kFinal)).ok());
  EXPECT_EQ(ReadAll(run).row.pending_activities, 0);
  EXPECT_TRUE(ReadAll(run).inbox.empty());
  ASSERT_TRUE(Commit(Closing(Next("w"), 0)).ok());
  EXPECT_TRUE(Poll().claimable.empty());
}

}  // namespace marathon::inline MARATHON_ABI::testing
