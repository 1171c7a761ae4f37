// StateStore conformance: Delete. Included by state_store_conformance.h.
#pragma once

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, ADeletedRunIsGone) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  EXPECT_EQ(Delete(run).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadAll(run).row.version, 2) << "it is open: nothing changes";
  ASSERT_TRUE(Commit(Closing(run, 2)).ok());
  ASSERT_TRUE(Delete(run).ok());
  EXPECT_EQ(Delete(run).code(), StatusCode::kNotFound);
  EXPECT_EQ(Read({.run = run, .records = true}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Read({.run = {"w", ""}}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(AwaitUpdate(run, "").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Put(run, Signal("late")).status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(List({}).runs.empty());
  Advance(limits::kRetention + std::chrono::hours(1));
  Poll();

  // Its ids are as if they had never been used.
  StartRequest start = NewStart("w", "s1");
  start.reuse = IdReusePolicy::kRejectDuplicate;
  const auto started = Start(start);
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_TRUE(started->started);
  const RunSnapshot fresh = ReadAll(run);
  EXPECT_EQ(fresh.row.version, 0);
  EXPECT_TRUE(fresh.records.empty());
  EXPECT_EQ(fresh.inbox.size(), 1u);
}

TEST_P(StateStoreConformance, TheWorkflowIdStaysWithARunThatIsNotDeleted) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(Continuing("w", 1)).ok());
  EXPECT_EQ(Delete(Run("w")).code(), StatusCode::kFailedPrecondition) << "its chain goes on";
  ASSERT_TRUE(Commit(Closing(Next("w"), 0)).ok());
  ASSERT_TRUE(Delete(Run("w")).ok());
  EXPECT_EQ(Read({.run = Run("w")}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Read({.run = {"w", ""}})->row.key, Next("w"));
  const auto again = Start(NewStart("w"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->started);
  EXPECT_EQ(again->run, Next("w")) << "the chain is still found by its request";
}

TEST_P(StateStoreConformance, AStartFindsItsRunThoughANewerOneIsDeleted) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(Closing(Run("w"), 0)).ok());
  StartRequest newer = NewStart("w");
  newer.request_id = "newer";
  newer.run.run_id = "newer-run";
  ASSERT_TRUE(Start(newer)->started);
  ASSERT_TRUE(Commit(Closing(newer.run, 0)).ok());
  ASSERT_TRUE(Delete(newer.run).ok());
  StartRequest again = NewStart("w");
  again.run.run_id = "again-run";  // whatever it would call a new one
  const auto repeated = Start(again);
  ASSERT_TRUE(repeated.ok()) << repeated.status();
  EXPECT_FALSE(repeated->started);
  EXPECT_EQ(repeated->run, Run("w"));
}

TEST_P(StateStoreConformance, WithItsNewestRunAWorkflowIdGoes) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(Continuing("w", 1)).ok());
  ASSERT_TRUE(Commit(Closing(Next("w"), 0)).ok());
  ASSERT_TRUE(Delete({"w", ""}).ok());
  EXPECT_EQ(Read({.run = Next("w")}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Read({.run = {"w", ""}}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ReadAll(Run("w")).row.status, RunStatus::kContinuedAsNew) << "the other run is there";
  // The same start, repeated, finds the run that it made.
  EXPECT_FALSE(Start(NewStart("w"))->started);
  StartRequest other = NewStart("w");
  other.request_id = "other";
  EXPECT_EQ(Start(other).status().code(), StatusCode::kAlreadyExists) << "but no other has its id";
  other.run.run_id = "other-run";
  EXPECT_TRUE(Start(other)->started);
}

TEST_P(StateStoreConformance, WhatOwesSomethingGoesWithTheLastOfIt) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Parent("w");
  ASSERT_TRUE(EndAttempt(Detach(OnlyActivity(run))).ok());
  TurnCommit closing = Closing(run, 2);
  closing.activities = {Owes(4, true)};
  ASSERT_TRUE(Commit(closing).ok());
  ASSERT_TRUE(Delete(run).ok());
  EXPECT_TRUE(Delete(run).ok()) << "again: not yet";
  const RunSnapshot kept = ReadAll(run);
  EXPECT_TRUE(kept.row.deleted);
  EXPECT_EQ(kept.records.size(), 2u) << "the news is told from its history";
  ASSERT_EQ(kept.activities.size(), 2u);
  ASSERT_TRUE(EndAttempt(End({run, 4}, kept.activities[1].epoch, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_TRUE(Read({.run = run}).ok());
  const std::vector<ActivityRow> rows = ClaimDue("s1");
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_TRUE(EndAttempt(End(rows[0].key, rows[0].epoch, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_EQ(Read({.run = run}).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(EndAttempt(End(rows[0].key, rows[0].epoch, AttemptEnd::Kind::kFinal))->applied);
  EXPECT_TRUE(Poll().claimable.empty());
}

}  // namespace marathon::inline MARATHON_ABI::testing
