// StateStore conformance: pauses, retries and dead letters. Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

// ---- Pause and Resume

TEST_P(StateStoreConformance, APausedRunTakesNoTurns) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go"), "s1")->mine);
  ASSERT_TRUE(Pause(run, "lunch").ok());
  EXPECT_TRUE(Pause(run, "again").ok());
  const RunRow row = ReadAll(run).row;
  EXPECT_EQ(row.paused, (PauseInfo{"lunch", store().Now()})) << "the first reason stays";
  EXPECT_EQ(row.ready_since, kNever);
  EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Commit(Turn(run, 2, 3, "s1", 2)).status().code(), StatusCode::kAborted);
  EXPECT_FALSE(Put(run, Signal("more"), "s1")->mine) << "messages wait";
  EXPECT_EQ(ReadAll(run).row.inbox_size, 2);
  ASSERT_EQ(List({.paused_only = true}).runs.size(), 1u);
  EXPECT_TRUE(List({.blocked_only = true}).runs.empty());
  Advance(std::chrono::hours(2));
  EXPECT_TRUE(Poll("s1").ready.empty());

  ASSERT_TRUE(Resume(run).ok());
  EXPECT_TRUE(Resume(run).ok()) << "again: nothing to do";
  EXPECT_TRUE(List({.paused_only = true}).runs.empty());
  const auto turn = Take(run, "s1");
  ASSERT_TRUE(turn.ok()) << turn.status();
  EXPECT_EQ(turn->inbox.size(), 2u);
  EXPECT_FALSE(turn->row.paused.has_value());
}

TEST_P(StateStoreConformance, AResumedRunIsPublished) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Pause({"w", ""}).ok()) << "the newest";
  Hints();
  Advance(std::chrono::hours(2));
  Poll();
  EXPECT_TRUE(Hints().empty());
  ASSERT_TRUE(Resume(Run("w")).ok());
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].run, Run("w"));
  EXPECT_EQ(ReadAll(Run("w")).row.ready_since, store().Now());
}

TEST_P(StateStoreConformance, NoAttemptOfAPausedRunsActivitiesBegins) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit commit;
  commit.activities = {Activity(1, true), Activity(2)};
  const RunKey run = Started("w", "s1", std::move(commit));
  const Epoch epoch = UnclaimedEpoch(1002);
  Hints();
  ASSERT_TRUE(Pause(run).ok());
  EXPECT_TRUE(Claim("s1", {{{run, 2}, epoch}})->empty());
  EXPECT_TRUE(Beat({run, 1}, epoch + 1).ok()) << "what runs goes on";
  ASSERT_TRUE(EndAttempt(End({run, 1}, epoch + 1, AttemptEnd::Kind::kRetry))->applied);
  EXPECT_TRUE(Claim("s1", {{{run, 1}, epoch + 1}})->empty());
  Advance(std::chrono::hours(2));
  EXPECT_TRUE(Poll().expired_activities.empty());
  EXPECT_TRUE(Hints().empty());

  ASSERT_TRUE(Resume(run).ok());
  EXPECT_EQ(Hints().size(), 2u);
  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.activities.at(0).available_at, store().Now());
  EXPECT_EQ(after.activities.at(0).attempt, 2);
  EXPECT_TRUE(Claim("s1", {{{run, 1}, epoch + 1}, {{run, 2}, epoch}})->empty()) << "what was refused stays refused";
  EXPECT_EQ(Claim("s1", {{{run, 1}, epoch + 2}, {{run, 2}, epoch + 1}})->size(), 2u);
}

TEST_P(StateStoreConformance, WhatEndsInAPausedRunWaits) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit commit;
  commit.activities = {Activity(1, true)};
  commit.timers.push_back({2, std::chrono::seconds(5)});
  const RunKey run = Started("w", "s1", std::move(commit));
  ASSERT_TRUE(Pause(run).ok());
  const auto ended = EndAttempt(End({run, 1}, UnclaimedEpoch(1002) + 1, AttemptEnd::Kind::kFinal));
  EXPECT_TRUE(ended->applied);
  EXPECT_FALSE(ended->mine);
  Advance(std::chrono::seconds(6));
  EXPECT_TRUE(Poll("s1").ready.empty());
  EXPECT_EQ(ReadAll(run).inbox.size(), 2u);
  ASSERT_TRUE(Resume(run).ok());
  EXPECT_EQ(Take(run, "s1")->inbox.size(), 2u);
}

TEST_P(StateStoreConformance, ABackoffEndsInAPausedRunAndWaits) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd retry = End({run, 2}, OnlyActivity(run).epoch, AttemptEnd::Kind::kRetry);
  retry.delay = std::chrono::seconds(5);
  ASSERT_TRUE(EndAttempt(retry)->applied);
  ASSERT_TRUE(Pause(run).ok());
  Advance(std::chrono::seconds(6));
  Poll();
  EXPECT_EQ(OnlyActivity(run).state, ActivityState::kClaimable);
  EXPECT_TRUE(Claim("s1", {{{run, 2}, retry.epoch}})->empty());
  ASSERT_TRUE(Resume(run).ok());
  EXPECT_EQ(Claim("s1", {{{run, 2}, retry.epoch + 1}})->size(), 1u);
}

TEST_P(StateStoreConformance, DeadlinesPassInAPausedRunButForTheWaitForAWorker) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit commit;
  commit.activities = {Activity(1), Activity(2)};
  commit.activities[0].policy.schedule_to_start = std::chrono::seconds(5);
  commit.activities[1].policy.schedule_to_close = std::chrono::seconds(5);
  const RunKey run = Started("w", "s1", std::move(commit));
  ASSERT_TRUE(Pause(run).ok());
  Advance(std::chrono::seconds(6));
  const DueReply due = Poll();
  ASSERT_EQ(due.expired_activities.size(), 1u);
  EXPECT_EQ(due.expired_activities[0].key.id, 2);
  ASSERT_TRUE(Resume(run).ok());
  for (const ActivityRow& row : Poll().expired_activities) EXPECT_EQ(row.key.id, 2);
  Advance(std::chrono::seconds(6) + limits::kDueAgain);
  EXPECT_EQ(Poll().expired_activities.size(), 2u);
}

TEST_P(StateStoreConformance, WhatIsBuiltInGoesOnInAPausedRun) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit commit;
  commit.activities.push_back(Owes(2));
  const RunKey run = Started("w", "s1", std::move(commit));
  ASSERT_TRUE(Pause(run).ok());
  EXPECT_EQ(ClaimDue("s1").size(), 1u);
}

TEST_P(StateStoreConformance, APausedRunCanBeEndedFromOutside) {
  ASSERT_TRUE(Open("s1").ok());
  StartRequest start = NewStart("w", "s1");
  start.run_timeout = std::chrono::seconds(30);
  ASSERT_TRUE(Start(start).ok());
  ASSERT_TRUE(Pause(Run("w")).ok());
  Advance(std::chrono::seconds(31));
  ASSERT_EQ(Poll().expired_runs.size(), 1u);
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kTimedOut;
  ASSERT_TRUE(Commit(close).ok());
  const RunRow row = ReadAll(Run("w")).row;
  EXPECT_EQ(row.status, RunStatus::kTimedOut);
  EXPECT_FALSE(row.paused.has_value());
  EXPECT_EQ(Pause(Run("w")).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Resume(Run("w")).ok());
  EXPECT_EQ(Pause(Run("none")).code(), StatusCode::kNotFound);
  EXPECT_EQ(Resume(Run("none")).code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, TheRunThatFollowsAPausedOneIsPaused) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Pause(Run("w"), "lunch").ok());
  ASSERT_TRUE(Commit(Continuing("w", 1)).ok()) << "from outside, as for a run timeout";
  RunRow next = ReadAll(Next("w")).row;
  ASSERT_TRUE(next.paused.has_value());
  EXPECT_EQ(next.paused->reason, "lunch");
  EXPECT_EQ(next.ready_since, kNever);
  ASSERT_TRUE(Resume(Run("w")).ok()) << "by the name of the run before";
  next = ReadAll(Next("w")).row;
  EXPECT_FALSE(next.paused.has_value());
  EXPECT_NE(next.ready_since, kNever);
}

TEST_P(StateStoreConformance, APausedStartWaitsForItsDelayAndForResume) {
  StartRequest start = NewStart("w");
  start.delay = std::chrono::seconds(10);
  ASSERT_TRUE(Start(start).ok());
  ASSERT_TRUE(Pause(Run("w")).ok());
  Advance(std::chrono::seconds(11));
  Poll();
  EXPECT_EQ(Poll().next_due, kNever) << "nothing to wait for";
  ASSERT_TRUE(Open("s1").ok());
  EXPECT_EQ(Take(Run("w"), "s1").status().code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Resume(Run("w")).ok());
  EXPECT_EQ(Take(Run("w"), "s1")->inbox.size(), 1u);
}

TEST_P(StateStoreConformance, PausedAndBlockedAreTwoThings) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  ASSERT_TRUE(Pause(run).ok());
  ASSERT_TRUE(Block(run, 2).ok());
  EXPECT_EQ(List({.blocked_only = true, .paused_only = true}).runs.size(), 1u);
  ASSERT_TRUE(Unblock(run).ok());
  EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Block(run, 2).ok());
  ASSERT_TRUE(Resume(run).ok());
  EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Unblock(run).ok());
  EXPECT_TRUE(Take(run, "s1").ok());
}

// ---- RetryActivity

TEST_P(StateStoreConformance, AnActivityThatWaitsIsRetriedNow) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  EXPECT_TRUE(RetryActivity({run, 2}).ok()) << "it runs: nothing changes";
  AttemptEnd retry = End({run, 2}, OnlyActivity(run).epoch, AttemptEnd::Kind::kRetry);
  retry.delay = std::chrono::hours(1);
  ASSERT_TRUE(EndAttempt(retry)->applied);
  Hints();
  ASSERT_TRUE(RetryActivity({{"w", ""}, 2}).ok()) << "of the newest run";
  const ActivityRow row = OnlyActivity(run);
  EXPECT_EQ(row.state, ActivityState::kClaimable);
  EXPECT_EQ(row.available_at, store().Now());
  EXPECT_EQ(row.attempt, 2);
  EXPECT_TRUE(RetryActivity({run, 2}).ok());
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u) << "at once, and once";
  EXPECT_EQ(Claim("s1", {{{run, 2}, hints[0].epoch}})->size(), 1u);
  EXPECT_EQ(RetryActivity({run, 3}).code(), StatusCode::kNotFound);
  EXPECT_EQ(RetryActivity({Run("none"), 2}).code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, ARetryInAPausedRunWaitsForIt) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  AttemptEnd retry = End({run, 2}, OnlyActivity(run).epoch, AttemptEnd::Kind::kRetry);
  retry.delay = std::chrono::hours(1);
  ASSERT_TRUE(EndAttempt(retry)->applied);
  ASSERT_TRUE(Pause(run).ok());
  Hints();
  ASSERT_TRUE(RetryActivity({run, 2}).ok());
  EXPECT_TRUE(Hints().empty());
  EXPECT_TRUE(Claim("s1", {{{run, 2}, retry.epoch}})->empty());
  ASSERT_TRUE(Resume(run).ok());
  EXPECT_EQ(Hints().size(), 1u);
}

// ---- Dead letters

TEST_P(StateStoreConformance, ADeadLetterIsHeldUntilItIsRetried) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", false);
  for (int deaths = 1; deaths <= 2; ++deaths) {
    const std::string session = "dies" + std::to_string(deaths);
    ASSERT_TRUE(Open(session).ok());
    ASSERT_EQ(Claim(session, {{{run, 2}, OnlyActivity(run).epoch}})->size(), 1u);
    Advance(Duration(31'000));
    ASSERT_TRUE(Expire(session).ok());
  }
  ASSERT_TRUE(CloseSession("s1").ok());
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_NO_FATAL_FAILURE(LetDie(run));
  Hints();
  ActivityRow row = OnlyActivity(run);
  EXPECT_EQ(row.state, ActivityState::kDead);
  EXPECT_EQ(row.deliveries, 2);
  ASSERT_TRUE(row.last_failure.has_value());
  EXPECT_EQ(ReadAll(run).row.dead_letters, 1);
  EXPECT_TRUE(ReadAll(run).inbox.empty());
  EXPECT_EQ(List({.dead_letters_only = true}).runs.size(), 1u);
  EXPECT_TRUE(Claim("s1", {{row.key, row.epoch}})->empty());
  Advance(std::chrono::hours(2));
  Poll();
  EXPECT_TRUE(Hints().empty());

  ASSERT_TRUE(RetryActivity(row.key).ok());
  EXPECT_EQ(Hints().size(), 1u);
  EXPECT_TRUE(List({.dead_letters_only = true}).runs.empty());
  row = OnlyActivity(run);
  EXPECT_EQ(row.deliveries, 0);
  EXPECT_EQ(row.attempt, 1);
  EXPECT_EQ(Claim("s1", {{row.key, row.epoch}})->size(), 1u);
}

TEST_P(StateStoreConformance, ADeadLetterEndsByItsDeadlineACancelOrALateResult) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit commit;
  commit.activities.push_back(Activity(2));
  commit.activities[0].policy.schedule_to_close = std::chrono::seconds(5);
  const RunKey timed = Started("timed", "s1", std::move(commit));
  ASSERT_NO_FATAL_FAILURE(LetDie(timed));
  Advance(std::chrono::seconds(6));
  EXPECT_EQ(Poll().expired_activities.size(), 1u);

  const RunKey canceled = StartedWithActivity("canceled", "s1", false);
  ASSERT_NO_FATAL_FAILURE(LetDie(canceled));
  TurnCommit cancel = Turn(canceled, 2, 3, "s1");
  cancel.cancel_activities.push_back({2, true});
  ASSERT_TRUE(Commit(cancel).ok());
  const RunSnapshot after = ReadAll(canceled);
  EXPECT_EQ(after.inbox.size(), 1u);
  EXPECT_EQ(after.row.dead_letters, 0);
  EXPECT_EQ(after.row.pending_activities, 0);

  const RunKey late = StartedWithActivity("late", "s1", false);
  ASSERT_NO_FATAL_FAILURE(LetDie(late));
  ASSERT_TRUE(
      EndAttempt(End({late, 2}, OnlyActivity(late).epoch, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_EQ(ReadAll(late).row.dead_letters, 0);

  const RunKey closed = StartedWithActivity("closed", "s1", false);
  ASSERT_NO_FATAL_FAILURE(LetDie(closed));
  ASSERT_TRUE(Commit(Closing(closed, 2)).ok());
  EXPECT_EQ(ReadAll(closed).row.dead_letters, 0);
  EXPECT_EQ(List({.dead_letters_only = true}).runs.size(), 1u) << "the timed one";
}

}  // namespace marathon::inline MARATHON_ABI::testing
