// StateStore conformance: sessions, and what becomes of what they hold. Included by state_store_conformance.h.
#pragma once

#include <chrono>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, ASessionIsOpenedOnceAndRenewed) {
  ASSERT_TRUE(Open("s1").ok());
  EXPECT_EQ(Open("s1").code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(Renew("s2").status().code(), StatusCode::kFailedPrecondition);
  Advance(std::chrono::seconds(25));
  ASSERT_TRUE(Renew("s1").ok());
  Advance(std::chrono::seconds(25));
  EXPECT_TRUE(Poll().expired_sessions.empty());
  EXPECT_EQ(Expire("s1").code(), StatusCode::kAborted) << "it lives";
  ASSERT_TRUE(CloseSession("s1").ok());
  EXPECT_TRUE(CloseSession("s1").ok()) << "again: nothing to do";
  EXPECT_EQ(Renew("s1").status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(StateStoreConformance, AnOvertakenRenewalChangesNothing) {
  ASSERT_TRUE(Open("s1").ok());
  const Duration day = std::chrono::hours(24);
  ASSERT_TRUE(SendRenewal({.session = "s1", .serial = 2}).ok());
  EXPECT_EQ(SendRenewal({.session = "s1", .lease = day, .serial = 1}).status().code(),
            StatusCode::kAborted);
  EXPECT_EQ(SendRenewal({.session = "s1", .lease = day, .serial = 2}).status().code(),
            StatusCode::kAborted)
      << "doubled";
  Advance(std::chrono::seconds(30));
  EXPECT_EQ(Poll().expired_sessions, std::vector<SessionId>{"s1"}) << "the short lease holds";
}

TEST_P(StateStoreConformance, AnExpiredSessionLosesWhatItHeld) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(Put(run, Signal("go"), "s1")->mine);
  Hints();
  Advance(std::chrono::seconds(30));
  EXPECT_EQ(Poll().expired_sessions, std::vector<SessionId>{"s1"});
  EXPECT_TRUE(Poll().expired_sessions.empty()) << "told for now";
  Advance(limits::kDueAgain);
  EXPECT_EQ(Poll().expired_sessions, std::vector<SessionId>{"s1"}) << "nobody acted: told again";
  Hints();
  ASSERT_TRUE(Expire("s1").ok());
  EXPECT_EQ(Hints().size(), 2u) << "its activity and its run";
  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.row.owner, "");
  EXPECT_EQ(after.activities.at(0).state, ActivityState::kClaimable);
  EXPECT_EQ(after.activities.at(0).deliveries, 1);
  EXPECT_EQ(after.activities.at(0).attempt, 1);
  EXPECT_EQ(after.activities.at(0).epoch, 1) << "only the next claim raises it";
  EXPECT_EQ(Renew("s1").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Expire("s1").ok()) << "again: nothing to do";
}

TEST_P(StateStoreConformance, AClosedSessionGivesBackWithoutCounting) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(CloseSession("s1").ok());
  EXPECT_EQ(OnlyActivity(run).deliveries, 0);
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  EXPECT_EQ(Take(run, "s2")->row.deliveries, 1);
  ASSERT_TRUE(CloseSession("s2").ok());
  EXPECT_EQ(ReadAll(run).row.deliveries, 0) << "it gave the turn back";
}

TEST_P(StateStoreConformance, ALateResultCountsUntilSomebodyClaimsAnew) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey unclaimed = StartedWithActivity("a", "s1", true);
  const RunKey reclaimed = StartedWithActivity("b", "s1", true);
  const RunKey handed = StartedWithActivity("c", "s1", true);
  Advance(std::chrono::seconds(30));
  ASSERT_TRUE(Expire("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  ASSERT_EQ(Claim("s2", {ClaimRequest{{reclaimed, 2}, 1}})->size(), 1u);

  EXPECT_TRUE(EndAttempt(End({unclaimed, 2}, 1, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_TRUE(Claim("s2", {ClaimRequest{{unclaimed, 2}, 1}})->empty());
  EXPECT_EQ(EndAttempt(End({reclaimed, 2}, 1, AttemptEnd::Kind::kFinal)).status().code(),
            StatusCode::kAborted);
  TurnCommit commit = Turn(handed, 2, 3, "s1");
  commit.handed_over.push_back({2, 1});
  EXPECT_TRUE(Commit(commit).ok());
}

}  // namespace marathon::inline MARATHON_ABI::testing
