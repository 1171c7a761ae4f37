// StateStore conformance: activities. Included by state_store_conformance.h.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

// ---- Claims

TEST_P(StateStoreConformance, AnActivityIsClaimedOnce) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = StartedWithActivity("w", "s1", false);
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0], (TaskHint{TaskKind::kActivity, "queue", run, 2, 0, "", "Work"}));

  const auto won = Claim("s1", {ClaimRequest{{run, 2}, 0}});
  ASSERT_TRUE(won.ok());
  ASSERT_EQ(won->size(), 1u);
  const ActivityRow& row = won->at(0);
  EXPECT_EQ(row.state, ActivityState::kClaimed);
  EXPECT_EQ(row.epoch, 1);
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(row.deliveries, 0);
  EXPECT_EQ(row.session, "s1");
  EXPECT_EQ(row.workflow_type, "Type");
  EXPECT_EQ(row.input.data, "1");
  EXPECT_EQ(row.started_at, store().Now());
  EXPECT_TRUE(Claim("s2", {ClaimRequest{{run, 2}, 0}})->empty()) << "the same hint again";
  EXPECT_TRUE(Claim("s2", {ClaimRequest{{run, 2}, 1}})->empty()) << "it is claimed";
  EXPECT_TRUE(Claim("s2", {ClaimRequest{{run, 7}, 0}})->empty());
  EXPECT_TRUE(Claim("s2", {ClaimRequest{{Run("none"), 2}, 0}})->empty());
}

TEST_P(StateStoreConformance, ClaimsAnswerInTheOrderAsked) {
  ASSERT_TRUE(Open("s1").ok());
  std::vector<ClaimRequest> requests;
  for (const char* id : {"d", "a", "c", "b"}) {
    requests.push_back({{StartedWithActivity(id, "s1", false), 2}, 0});
  }
  const auto won = Claim("s1", requests);
  ASSERT_TRUE(won.ok());
  ASSERT_EQ(won->size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(won->at(i).key, requests[i].key);
}

TEST_P(StateStoreConformance, OnlyALiveSessionClaims) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", false);
  EXPECT_EQ(Claim("s2", {ClaimRequest{{run, 2}, 0}}).status().code(),
            StatusCode::kFailedPrecondition);
  TurnCommit commit = Turn(run, 2, 4, "s2");
  commit.activities.push_back(Activity(4, /*claim=*/true));
  EXPECT_EQ(Commit(commit).status().code(), StatusCode::kAborted);
  EXPECT_EQ(ReadAll(run).row.version, 2);
}

TEST_P(StateStoreConformance, PendingActivitiesAreLimited) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  TurnCommit commit = Turn(run, 2, 3 + limits::kMaxPendingActivities, "s1");
  for (int64_t i = 0; i <= limits::kMaxPendingActivities; ++i) {
    commit.activities.push_back(Activity(3 + i, true));
  }
  const auto refused = Commit(commit);
  EXPECT_EQ(refused.status().code(), StatusCode::kOutOfRange);
  EXPECT_NE(MessageOf(refused.status()).find("kMaxPendingActivities"), std::string_view::npos);
  commit.activities.pop_back();
  EXPECT_TRUE(Commit(commit).ok());
  EXPECT_EQ(ReadAll(run).row.pending_activities, limits::kMaxPendingActivities);
}

// ---- Ends of attempts

TEST_P(StateStoreConformance, AResultGoesToTheInbox) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd end = End({run, 2}, 1, AttemptEnd::Kind::kFinal);
  end.session = "s1";
  const auto reply = EndAttempt(end);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->applied);
  EXPECT_TRUE(reply->mine);
  const RunSnapshot after = ReadAll(run);
  EXPECT_TRUE(after.activities.empty());
  EXPECT_EQ(after.row.pending_activities, 0);
  EXPECT_EQ(after.row.ready_since, store().Now());
  ASSERT_EQ(after.inbox.size(), 1u);
  EXPECT_EQ(after.inbox[0].body, end.outcome);

  const auto again = EndAttempt(end);
  ASSERT_TRUE(again.ok()) << "its reply may have been lost";
  EXPECT_FALSE(again->applied);
  EXPECT_EQ(ReadAll(run).inbox.size(), 1u);
}

TEST_P(StateStoreConformance, ANewerEpochRefusesAnOlderOne) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kGiveBack))->applied);
  ASSERT_EQ(Claim("s1", {ClaimRequest{{run, 2}, 1}})->size(), 1u);
  const ActivityRow before = OnlyActivity(run);
  using enum AttemptEnd::Kind;
  for (const auto kind : {kFinal, kRetry, kGiveBack, kDetach}) {
    EXPECT_EQ(EndAttempt(End({run, 2}, 1, kind)).status().code(), StatusCode::kAborted);
  }
  EXPECT_EQ(Beat({run, 2}, 1).status().code(), StatusCode::kAborted);
  EXPECT_EQ(OnlyActivity(run), before);
}

TEST_P(StateStoreConformance, ARetryWaitsOutItsDelay) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd end = End({run, 2}, 1, AttemptEnd::Kind::kRetry);
  end.delay = std::chrono::seconds(3);
  ASSERT_TRUE(EndAttempt(end)->applied);
  EXPECT_FALSE(EndAttempt(end)->applied) << "once";
  ActivityRow row = OnlyActivity(run);
  EXPECT_EQ(row.state, ActivityState::kBackoff);
  EXPECT_EQ(row.attempt, 2);
  EXPECT_EQ(row.last_failure->message, "failed");
  EXPECT_EQ(row.available_at, store().Now() + std::chrono::seconds(3));
  EXPECT_TRUE(Claim("s1", {ClaimRequest{{run, 2}, 1}})->empty());
  EXPECT_LE(Poll().next_due, row.available_at);
  EXPECT_TRUE(Hints().empty());

  Advance(std::chrono::seconds(3));
  Poll();
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0], (TaskHint{TaskKind::kActivity, "queue", run, 2, 1, "", "Work"}));
  EXPECT_FALSE(EndAttempt(end)->applied) << "nor now";
  EXPECT_EQ(Claim("s1", {ClaimRequest{{run, 2}, 1}})->at(0).attempt, 2);
}

TEST_P(StateStoreConformance, ARetryWithoutDelayIsClaimableAtOnce) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kRetry))->applied);
  EXPECT_EQ(Hints().size(), 1u);
  EXPECT_EQ(Claim("s1", {ClaimRequest{{run, 2}, 1}})->at(0).attempt, 2);
}

TEST_P(StateStoreConformance, GivingBackCountsAsNothing) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kGiveBack))->applied);
  EXPECT_EQ(Hints().size(), 1u);
  const ActivityRow row = Claim("s1", {ClaimRequest{{run, 2}, 1}})->at(0);
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(row.deliveries, 0);
  EXPECT_EQ(row.epoch, 2);
}

TEST_P(StateStoreConformance, GivingBackForAWhileCountsAsNothing) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd end = End({run, 2}, 1, AttemptEnd::Kind::kGiveBack);
  end.delay = std::chrono::seconds(3);
  ASSERT_TRUE(EndAttempt(end)->applied);
  EXPECT_EQ(OnlyActivity(run).available_at, store().Now() + std::chrono::seconds(3));
  EXPECT_TRUE(Claim("s1", {ClaimRequest{{run, 2}, 1}})->empty());
  EXPECT_TRUE(Hints().empty());

  Advance(std::chrono::seconds(3));
  Poll();
  EXPECT_EQ(Hints().size(), 1u);
  const ActivityRow row = Claim("s1", {ClaimRequest{{run, 2}, 1}})->at(0);
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(row.deliveries, 0);
  EXPECT_FALSE(row.last_failure.has_value());
}

TEST_P(StateStoreConformance, WhoGivesBackMayLeaveAWord) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd end = End({run, 2}, 1, AttemptEnd::Kind::kGiveBack);
  end.heartbeat = Payload{"7", Encoding::kJson};
  ASSERT_TRUE(EndAttempt(end)->applied);
  EXPECT_EQ(Claim("s1", {ClaimRequest{{run, 2}, 1}})->at(0).heartbeat, end.heartbeat);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 2, AttemptEnd::Kind::kGiveBack))->applied);
  EXPECT_EQ(Claim("s1", {ClaimRequest{{run, 2}, 2}})->at(0).heartbeat, end.heartbeat) << "no word, no change";
}

TEST_P(StateStoreConformance, WhoGivesBackMaySayWhy) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd end = End({run, 2}, 1, AttemptEnd::Kind::kGiveBack);
  end.failure = Failure{.message = "no key"};
  ASSERT_TRUE(EndAttempt(end)->applied);
  const ActivityRow row = Claim("s1", {ClaimRequest{{run, 2}, 1}})->at(0);
  EXPECT_EQ(row.last_failure, end.failure);
  EXPECT_EQ(row.attempt, 1);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 2, AttemptEnd::Kind::kGiveBack))->applied);
  EXPECT_EQ(Claim("s1", {ClaimRequest{{run, 2}, 2}})->at(0).last_failure, end.failure) << "no word, no change";
}

TEST_P(StateStoreConformance, ADetachedActivityOutlivesItsSession) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kDetach))->applied);
  ASSERT_TRUE(CloseSession("s1").ok());
  EXPECT_EQ(OnlyActivity(run).state, ActivityState::kDetached);
  EXPECT_TRUE(Beat({run, 2}, 1).ok());
  EXPECT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_EQ(ReadAll(run).inbox.size(), 1u);
}

TEST_P(StateStoreConformance, OnlyAnOutcomeEndsAnActivity) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd end = End({run, 2}, 1, AttemptEnd::Kind::kFinal);
  end.outcome = TimerFired{2};
  EXPECT_EQ(EndAttempt(end).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(OnlyActivity(run).state, ActivityState::kClaimed);
}

TEST_P(StateStoreConformance, AHandedOverResultGoesWithTheCommit) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  TurnCommit commit = Turn(run, 2, 4, "s1");
  commit.handed_over.push_back({2, 1});
  commit.activities.push_back(Activity(4, true));
  ASSERT_TRUE(Commit(commit).ok());
  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.row.pending_activities, 1);
  EXPECT_EQ(OnlyActivity(run).key.id, 4);
  EXPECT_TRUE(after.inbox.empty());

  TurnCommit gone = Turn(run, 4, 5, "s1");
  gone.handed_over.push_back({2, 1});
  EXPECT_EQ(Commit(gone).status().code(), StatusCode::kAborted) << "it is gone";
  TurnCommit stale = Turn(run, 4, 5, "s1");
  stale.handed_over.push_back({4, 0});
  EXPECT_EQ(Commit(stale).status().code(), StatusCode::kAborted) << "claimed anew";
  EXPECT_EQ(ReadAll(run).row, after.row);
}

// ---- Heartbeats and cancellation

TEST_P(StateStoreConformance, AHeartbeatKeepsItsDetails) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  Advance(std::chrono::seconds(1));
  const auto beat = Beat({run, 2}, 1, Payload{"50", Encoding::kJson});
  ASSERT_TRUE(beat.ok());
  EXPECT_FALSE(beat->cancel_requested);
  ActivityRow row = OnlyActivity(run);
  EXPECT_EQ(row.heartbeat.data, "50");
  EXPECT_EQ(row.heartbeat_at, store().Now());
  ASSERT_TRUE(Beat({run, 2}, 1).ok());
  EXPECT_EQ(OnlyActivity(run).heartbeat.data, "50") << "a bare heartbeat keeps the last details";
  EXPECT_EQ(Beat({run, 9}, 1).status().code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, NewDetailsForgetDeliveries) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  Advance(std::chrono::seconds(30));
  ASSERT_TRUE(Expire("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  EXPECT_EQ(Claim("s2", {ClaimRequest{{run, 2}, 1}})->at(0).deliveries, 1);
  ASSERT_TRUE(Beat({run, 2}, 2).ok());
  EXPECT_EQ(OnlyActivity(run).deliveries, 1);
  ASSERT_TRUE(Beat({run, 2}, 2, Payload{"1", Encoding::kJson}).ok());
  EXPECT_EQ(OnlyActivity(run).deliveries, 0);
}

TEST_P(StateStoreConformance, CancelingWhatNobodyRunsEndsIt) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.activities = {Activity(1), Activity(2, true)};
  const RunKey run = Started("w", "s1", std::move(first));
  AttemptEnd retry = End({run, 2}, 1, AttemptEnd::Kind::kRetry);
  retry.delay = std::chrono::seconds(9);
  ASSERT_TRUE(EndAttempt(retry)->applied);
  TurnCommit cancel = Turn(run, 2, 4, "s1");
  cancel.cancel_activities = {{1}, {2}};
  ASSERT_TRUE(Commit(cancel).ok());
  const RunSnapshot after = ReadAll(run);
  EXPECT_TRUE(after.activities.empty());
  EXPECT_EQ(after.row.pending_activities, 0);
  EXPECT_TRUE(after.inbox.empty());
}

TEST_P(StateStoreConformance, AnEndThatIsWaitedForIsTold) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.activities = {Activity(1), Activity(2, true)};
  const RunKey run = Started("w", "s1", std::move(first));
  TurnCommit cancel = Turn(run, 2, 4, "s1");
  cancel.cancel_activities = {{1, /*answer=*/true}, {2, /*answer=*/true}};
  const auto committed = Commit(cancel);
  ASSERT_TRUE(committed.ok());
  EXPECT_EQ(committed->inbox_size, 1);
  const RunSnapshot after = ReadAll(run);
  ASSERT_EQ(after.inbox.size(), 1u) << "the one that nobody runs";
  const auto* failed = std::get_if<ActivityFailed>(&after.inbox[0].body);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->scheduled, 1);
  EXPECT_EQ(failed->failure.kind, FailureKind::kCanceled);
  ASSERT_EQ(after.activities.size(), 1u);
  EXPECT_EQ(after.activities[0].key.id, 2);
  EXPECT_TRUE(after.activities[0].cancel_requested);
}

TEST_P(StateStoreConformance, CancelingWhatRunsIsTold) {
  auto watcher = std::make_shared<RecordingWatcher>();
  ASSERT_TRUE(Open("s1", watcher).ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  TurnCommit cancel = Turn(run, 2, 3, "s1");
  cancel.cancel_activities = {{2}};
  ASSERT_TRUE(Commit(cancel).ok());
  const std::vector<ActivityKey> expected{{run, 2}};
  EXPECT_EQ(watcher->canceled(), expected) << "at once in this process";
  EXPECT_EQ(*Renew("s1", /*heard=*/false), expected) << "and by the renewal";
  EXPECT_EQ(*Renew("s1", /*heard=*/false), expected) << "again, for the answer was lost";
  EXPECT_TRUE(Renew("s1", /*heard=*/true)->empty()) << "until it is heard";
  EXPECT_TRUE(Beat({run, 2}, 1)->cancel_requested);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_EQ(ReadAll(run).inbox.size(), 1u);
}

TEST_P(StateStoreConformance, AClosedRunsWorkersAreTold) {
  auto watcher = std::make_shared<RecordingWatcher>();
  ASSERT_TRUE(Open("s1", watcher).ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  TurnCommit close = Turn(run, 2, 3, "");
  close.close = RunStatus::kTerminated;
  ASSERT_TRUE(Commit(close).ok());
  const std::vector<ActivityKey> expected{{run, 2}};
  EXPECT_EQ(watcher->canceled(), expected);
  EXPECT_EQ(*Renew("s1"), expected);
  EXPECT_EQ(Beat({run, 2}, 1).status().code(), StatusCode::kNotFound);
}

// A store that went back in time gives an epoch once more, perhaps to another attempt.
TEST_P(StateStoreConformance, ARetryIsOfTheAttemptThatHasEnded) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd end = End({run, 2}, 1, AttemptEnd::Kind::kRetry);
  end.attempt = 2;
  const ActivityRow before = OnlyActivity(run);
  EXPECT_EQ(EndAttempt(end).status().code(), StatusCode::kAborted);
  EXPECT_EQ(OnlyActivity(run), before);
  end.attempt = 1;
  EXPECT_TRUE(EndAttempt(end)->applied);
  EXPECT_FALSE(EndAttempt(end)->applied) << "once";
  EXPECT_EQ(OnlyActivity(run).attempt, 2);
}

TEST_P(StateStoreConformance, ACanceledActivityIsNotTriedAgain) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.activities = {Activity(1, true), Activity(2, true)};
  const RunKey run = Started("w", "s1", std::move(first));
  TurnCommit cancel = Turn(run, 2, 4, "s1");
  cancel.cancel_activities = {{1}, {2}};
  ASSERT_TRUE(Commit(cancel).ok());
  ASSERT_TRUE(EndAttempt(End({run, 1}, 1, AttemptEnd::Kind::kRetry))->applied);
  Advance(std::chrono::seconds(30));
  ASSERT_TRUE(Expire("s1").ok());
  const RunSnapshot after = ReadAll(run);
  EXPECT_TRUE(after.activities.empty());
  ASSERT_EQ(after.inbox.size(), 2u);
  for (const Message& message : after.inbox) {
    EXPECT_EQ(std::get<ActivityFailed>(message.body).failure.kind, FailureKind::kCanceled);
  }
}

}  // namespace marathon::inline MARATHON_ABI::testing
