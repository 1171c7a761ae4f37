// StateStore conformance: chains of runs and delayed starts. Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, TheCommitThatClosesARunStartsTheNext) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  Hints();
  ASSERT_TRUE(Commit(Continuing("w", 1)).ok());

  const RunSnapshot old = ReadAll(Run("w"));
  EXPECT_EQ(old.row.status, RunStatus::kContinuedAsNew);
  ASSERT_TRUE(old.row.links.has_value());
  EXPECT_EQ(old.row.links->next_run_id, "w-next");
  const RunSnapshot next = ReadAll(Next("w"));
  EXPECT_EQ(next.row.status, RunStatus::kRunning);
  EXPECT_EQ(next.row.workflow_type, "NextType");
  EXPECT_EQ(next.row.request_id, "w-request");
  EXPECT_EQ(next.row.start_time, store().Now());
  EXPECT_EQ(next.row.ready_since, store().Now());
  ASSERT_TRUE(next.row.links.has_value());
  EXPECT_EQ(next.row.links->first_run_id, "w-run");
  EXPECT_EQ(next.inbox.size(), 1u);
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0], (TaskHint{TaskKind::kTurn, "queue", Next("w"), 0, 0, ""}));

  EXPECT_EQ(Read({.run = {"w", ""}})->row.key, Next("w"));
  const auto again = Start(NewStart("w"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->started);
  EXPECT_EQ(again->run, Next("w"));
}

TEST_P(StateStoreConformance, TheSessionThatOffersItTakesTheNextRun) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Start(NewStart("w", "s1")).ok());
  Hints();
  TurnCommit commit = Continuing("w", 1);
  commit.session = commit.next->session = "s1";
  ASSERT_TRUE(Commit(commit).ok());
  EXPECT_EQ(ReadAll(Next("w")).row.owner, "s1");
  EXPECT_TRUE(Hints().empty());
  EXPECT_TRUE(Take(Next("w"), "s1").ok());
}

TEST_P(StateStoreConformance, OnlyAClosingCommitMayGoOnElsewhere) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit commit = Continuing("w", 1);
  commit.close.reset();
  EXPECT_EQ(Commit(commit).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Read({.run = Next("w")}).status().code(), StatusCode::kNotFound);
}

// What history has and nobody received, then what waits; never refused because a signal came late.
TEST_P(StateStoreConformance, UnreadSignalsMoveInOrder) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(Put(run, Signal("taken", "k0")).ok());  // seq 2
  ASSERT_TRUE(Put(run, Signal("late 1", "k1")).ok());
  ASSERT_TRUE(EndAttempt(End({run, 2}, OnlyActivity(run).epoch, AttemptEnd::Kind::kFinal)).ok());
  ASSERT_TRUE(Put(run, Signal("late 2")).ok());
  TurnCommit commit = Continuing("w", 2, 2);
  commit.next->messages.push_back(Signal("unreceived"));
  const Reply reply = Commit(commit);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(SignalsOf(Next("w")), (std::vector<std::string>{"unreceived", "late 1", "late 2"}));
  EXPECT_TRUE(ReadAll(run).inbox.empty());

  // Request ids go with them, and the closed run stands for the one that goes on.
  EXPECT_TRUE(Put(Next("w"), Signal("taken", "k0"))->duplicate);
  EXPECT_TRUE(Put(run, Signal("late 1", "k1"))->duplicate);
  const auto put = Put(run, Signal("later"));
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->run, Next("w"));
  EXPECT_EQ(SignalsOf(Next("w")).back(), "later");
}

TEST_P(StateStoreConformance, ARequestToCancelMovesToo) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Put(Run("w"), Message{0, "", WorkflowCancelRequested{"late"}}).ok());
  ASSERT_TRUE(Commit(Continuing("w", 1)).ok());
  const RunSnapshot next = ReadAll(Next("w"));
  ASSERT_EQ(next.inbox.size(), 2u);
  EXPECT_EQ(next.inbox[1].body, EventBody(WorkflowCancelRequested{"late"}));
}

TEST_P(StateStoreConformance, MoreSignalsThanATurnTakesMove) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  constexpr int kMany = limits::kTurnMaxMessages + 20;
  for (int i = 0; i < kMany; ++i) ASSERT_TRUE(Put(Run("w"), Signal(std::to_string(i))).ok());
  ASSERT_TRUE(Commit(Continuing("w", 2)).ok());
  EXPECT_EQ(Read({.run = Next("w")})->row.inbox_size, kMany);  // 0 was taken; WorkflowStarted
  const auto first = SignalsOf(Next("w"));
  ASSERT_EQ(first.size(), static_cast<size_t>(limits::kTurnMaxMessages - 1));
  EXPECT_EQ(first.front(), "1");
  EXPECT_EQ(first.back(), std::to_string(limits::kTurnMaxMessages - 1));
}

TEST_P(StateStoreConformance, AFirstTurnMayGoOnElsewhere) {
  StartRequest start = NewStart("w");
  start.messages.push_back(Signal("with the start", "k"));
  start.first_turn = Continuing("w", 0);
  start.first_turn->next->messages.push_back(Signal("with the start"));
  const auto started = Start(start);
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(started->run, Run("w"));
  EXPECT_EQ(SignalsOf(Next("w")), std::vector<std::string>{"with the start"});
  EXPECT_TRUE(Put(Next("w"), Signal("with the start", "k"))->duplicate);
}

TEST_P(StateStoreConformance, AnEndedChainTakesNoSignals) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(Continuing("w", 1)).ok());
  TurnCommit close = Turn(Next("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  EXPECT_EQ(Put(Run("w"), Signal("go")).status().code(), StatusCode::kFailedPrecondition);
  // … and a new one is none of its business.
  StartRequest other = NewStart("w");
  other.run.run_id = "other";
  other.request_id = "other-request";
  ASSERT_TRUE(Start(other)->started);
  EXPECT_EQ(Put(Run("w"), Signal("go")).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Start(NewStart("w"))->run, Next("w"));
}

TEST_P(StateStoreConformance, ADelayedRunTakesItsFirstTurnLater) {
  ASSERT_TRUE(Open("s1").ok());
  StartRequest start = NewStart("w", "s1");
  start.delay = Duration(10'000);
  start.run_timeout = Duration(60'000);
  const auto started = Start(start);
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_FALSE(started->mine);
  EXPECT_FALSE(Put(Run("w"), Signal("go"), "s1")->mine);
  EXPECT_TRUE(Hints().empty());
  RunSnapshot run = ReadAll(Run("w"));
  EXPECT_EQ(run.row.ready_since, kNever);
  EXPECT_EQ(run.row.run_deadline, run.now + Duration(70'000));
  const auto early = Take(Run("w"), "s1");
  ASSERT_TRUE(early.ok()) << early.status();
  EXPECT_TRUE(early->inbox.empty());
  EXPECT_LE(Poll().next_due, run.row.start_time + Duration(10'000));

  Advance(std::chrono::seconds(10));
  Poll();
  EXPECT_EQ(ReadAll(Run("w")).row.ready_since, store().Now());
  EXPECT_EQ(Hints().size(), 1u);
  const auto taken = Take(Run("w"), "s1");
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->inbox.size(), 2u);
}

TEST_P(StateStoreConformance, ADelayedRunOfAChainBeginsLater) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  Hints();
  TurnCommit commit = Continuing("w", 1);
  commit.close = RunStatus::kFailed;
  commit.next->delay = Duration(5'000);
  ASSERT_TRUE(Commit(commit).ok());
  EXPECT_EQ(ReadAll(Next("w")).row.ready_since, kNever);
  EXPECT_TRUE(Hints().empty());
  Advance(std::chrono::seconds(5));
  Poll();
  EXPECT_EQ(ReadAll(Next("w")).row.ready_since, store().Now());
  EXPECT_EQ(Hints().size(), 1u);
  // A run deadline is kept as well.
  TurnCommit turn = Turn(Next("w"), 0, 2, "", 1);
  ASSERT_TRUE(Commit(turn).ok());
  EXPECT_EQ(ReadAll(Next("w")).row.ready_since, kNever);
}

}  // namespace marathon::inline MARATHON_ABI::testing
