// StateStore conformance: runs that are pinned to a build. Included by state_store_conformance.h.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, ACommitPinsItsRun) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedBy("a", "w", "s1");
  const RunRow row = ReadAll(run).row;
  EXPECT_EQ(row.pinned, "a");
  EXPECT_EQ(row.task_queue, "queue") << "which its activities go to";
  EXPECT_EQ(Listed({.pinned_to = "a"}), Names{"w"});
  EXPECT_EQ(Listed({.pinned_to = "b"}), Names{});
  EXPECT_EQ(List({.pinned_to = "a", .count_only = true}).count, 1);

  ASSERT_TRUE(Put(run, Signal("go")).ok());
  EXPECT_TRUE(Hints().empty());
  EXPECT_EQ(TurnsIn("queue@a", "s1"), std::set{run});
  EXPECT_EQ(TakeAs("b", run, "s2").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Take(run, "s1").status().code(), StatusCode::kFailedPrecondition) << "of no build";
  EXPECT_TRUE(TakeAs("a", run, "s1").ok());
  TurnCommit turn = Turn(run, 2, 4, "s2", 2);
  turn.build_id = "b";
  EXPECT_EQ(Commit(turn).status().code(), StatusCode::kAborted);
  turn.build_id = "a";
  EXPECT_TRUE(Commit(turn).ok());
  EXPECT_EQ(ReadAll(run).row.pinned, "a");
}

// Whoever puts a message, ends an activity or polls says nothing of its build.
TEST_P(StateStoreConformance, APinnedRunIsNobodysWhoOnlyOffersItself) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  TurnCommit first;
  first.activities.push_back(Activity(2, true));
  first.timers.push_back({1, std::chrono::seconds(5)});
  const RunKey run = StartedBy("a", "w", "s1", std::move(first));
  EXPECT_FALSE(Put(run, Signal("go"), "s2")->mine);
  EXPECT_TRUE(Put(run, Signal("on"), "s1")->mine) << "it owns it";
  ASSERT_TRUE(CloseSession("s1").ok());
  TurnsIn("queue@a", "s2");
  AttemptEnd end = End({run, 2}, OnlyActivity(run).epoch, AttemptEnd::Kind::kFinal);
  end.session = "s2";
  EXPECT_FALSE(EndAttempt(end)->mine);
  Advance(std::chrono::seconds(6));
  EXPECT_TRUE(Poll("s2").ready.empty());
  EXPECT_EQ(ReadAll(run).row.owner, "");
  EXPECT_EQ(ReadAll(run).inbox.size(), 4u);
  EXPECT_TRUE(TakeAs("a", run, "s2").ok());
}

TEST_P(StateStoreConformance, WhatWaitsForAPinnedRunIsPublishedToItsBuildAgain) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedBy("a", "w", "s1");
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  EXPECT_EQ(TurnsIn("queue@a", "s1"), std::set{run});
  EXPECT_EQ(Listed({.ready_before = store().Now()}), Names{});
  Advance(std::chrono::hours(2));
  Poll();
  EXPECT_EQ(TurnsIn("queue@a", "s1"), std::set{run});
  EXPECT_EQ(Listed({.ready_before = store().Now() - std::chrono::hours(1)}), Names{"w"}) << "nobody takes it";
  ASSERT_TRUE(Expire("s1").ok());
  EXPECT_EQ(TurnsIn("queue@a", "s2"), std::set{run});
  EXPECT_TRUE(Hints().empty());
}

TEST_P(StateStoreConformance, APinnedRunIsMoved) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedBy("a", "w", "s1");
  ASSERT_TRUE(Put(run, Signal("go"), "s1")->mine);
  ASSERT_TRUE(TakeAs("a", run, "s1").ok());
  ASSERT_TRUE(Pin(run, "b").ok());
  EXPECT_EQ(TurnsIn("queue@b", "s2"), std::set{run});
  const RunRow moved = ReadAll(run).row;
  EXPECT_EQ(moved.pinned, "b");
  EXPECT_EQ(moved.owner, "");
  TurnCommit turn = Turn(run, 2, 4, "s1", 2);
  turn.build_id = "a";
  EXPECT_EQ(Commit(turn).status().code(), StatusCode::kAborted) << "it was under way";
  ASSERT_TRUE(TakeAs("b", run, "s1").ok());
  ASSERT_TRUE(Pin({"w", ""}, "b").ok());
  EXPECT_EQ(ReadAll(run).row.owner, "s1") << "it was so already, and nothing changes";

  EXPECT_EQ(Block(run, 2, kNever, "a").code(), StatusCode::kAborted) << "which it has left";
  EXPECT_FALSE(ReadAll(run).row.blocked.has_value());
  ASSERT_TRUE(Block(run, 2, kNever, "b").ok());
  ASSERT_TRUE(Pin(run, "").ok());
  EXPECT_FALSE(ReadAll(run).row.blocked.has_value());
  EXPECT_FALSE(ReadAll(run).row.pinned.has_value());
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].run, run);
  EXPECT_TRUE(Pin(run, "").ok());
  EXPECT_TRUE(Take(run, "s1").ok()) << "of any build";

  ASSERT_TRUE(Pin(run, "c").ok());
  TurnCommit close = Turn(run, 2, 4, "", 2);
  close.close = RunStatus::kTerminated;
  EXPECT_TRUE(Commit(close).ok()) << "which needs no code";
  EXPECT_EQ(ReadAll(run).row.pinned, "c");
  EXPECT_EQ(Pin(run, "d").code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Pin(Run("none"), "d").code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, APausedRunThatIsMovedStaysPaused) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedBy("a", "w", "s1");
  ASSERT_TRUE(Pause(run).ok());
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  ASSERT_TRUE(Pin(run, "b").ok());
  EXPECT_EQ(TakeAs("b", run, "s1").status().code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Resume(run).ok());
  EXPECT_EQ(TurnsIn("queue@b", "s1"), std::set{run});
}

TEST_P(StateStoreConformance, TheNextRunIsPinnedIfItsCommitSaysSo) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Start(NewStart("w", "s1")).ok());
  Hints();
  TurnCommit commit = Continuing("w", 1);  // its first turn is its last one
  commit.session = commit.next->session = "s1";
  commit.build_id = "a";
  commit.pin = commit.next->keeps_pin = true;
  ASSERT_TRUE(Commit(commit).ok());
  EXPECT_EQ(ReadAll(Next("w")).row.pinned, "a");
  EXPECT_EQ(ReadAll(Next("w")).row.owner, "s1");
  EXPECT_TRUE(Hints().empty());
  ASSERT_TRUE(Pin(Run("w"), "b").ok()) << "by the name of the run before";
  EXPECT_EQ(ReadAll(Next("w")).row.pinned, "b");
  EXPECT_EQ(ReadAll(Run("w")).row.pinned, "a");

  TurnCommit fresh = Continuing("v", 1);
  fresh.session = "s1";
  fresh.build_id = "a";
  fresh.pin = true;
  ASSERT_TRUE(Start(NewStart("v", "s1")).ok());
  ASSERT_TRUE(Commit(fresh).ok());
  EXPECT_FALSE(ReadAll(Next("v")).row.pinned.has_value());
}

TEST_P(StateStoreConformance, APinIsThereWhenTheStoreIsOpenedAgain) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedBy("a", "w", "s1");
  ASSERT_TRUE(Pin(run, "b").ok());
  ASSERT_TRUE(Put(run, Signal("go")).ok());
  if (!harness().Reopen()) GTEST_SKIP() << "not durable";
  EXPECT_EQ(ReadAll(run).row.pinned, "b");
  Advance(std::chrono::hours(2));
  Poll();
  EXPECT_EQ(TurnsIn("queue@b", "s2"), std::set{run});
  EXPECT_EQ(TakeAs("a", run, "s2").status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace marathon::inline MARATHON_ABI::testing
