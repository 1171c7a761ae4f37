// StateStore conformance: answers to updates. Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

inline void ExpectAnswer(const StatusOr<RunSnapshot>& told, const UpdateAnswer& answer) {
  ASSERT_TRUE(told.ok()) << told.status();
  ASSERT_TRUE(told->answer.has_value());
  EXPECT_EQ(*told->answer, answer);
}

TEST_P(StateStoreConformance, WhoeverAwaitsAnUpdateIsToldOfItsStages) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Put(Run("w"), Update("u")).ok());
  const TurnCommit accepts = Answering(Turn(Run("w"), 0, 3, "", 2), {Accepted("u")});
  ExpectAnswer(AwaitUpdate(Run("w"), "u", UpdateStage::kAccepted, &accepts), Accepted("u"));
  ExpectAnswer(AwaitUpdate(Run("w"), "u", UpdateStage::kAccepted), Accepted("u"));
  const TurnCommit completes = Answering(Turn(Run("w"), 3, 4, "", 2), {Completed("u")});
  const auto told = AwaitUpdate(Run("w"), "u", UpdateStage::kCompleted, &completes);
  ExpectAnswer(told, Completed("u"));
  EXPECT_EQ(told->row.status, RunStatus::kRunning);
  ExpectAnswer(AwaitUpdate(Run("w"), "u", UpdateStage::kAccepted), Completed("u"));
  ExpectAnswer(AwaitUpdate({"w", ""}, "u"), Completed("u"));
}

TEST_P(StateStoreConformance, ARejectionIsToldWithoutAnEvent) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(Turn(Run("w"), 0, 2, "", 1)).ok());
  ASSERT_TRUE(Put(Run("w"), Update("u")).ok());
  const TurnCommit rejects = Answering(Turn(Run("w"), 2, 2, "", 2), {Rejected("u")});
  ExpectAnswer(AwaitUpdate(Run("w"), "u", UpdateStage::kAccepted, &rejects), Rejected("u"));
  const RunSnapshot run = ReadAll(Run("w"));
  EXPECT_EQ(run.row.version, 2);
  EXPECT_EQ(run.records.size(), 1u);
  EXPECT_TRUE(run.inbox.empty());
  EXPECT_TRUE(Put(Run("w"), Update("u"))->duplicate);
  ExpectAnswer(AwaitUpdate(Run("w"), "u"), Rejected("u"));
}

TEST_P(StateStoreConformance, OnlyItsOwnAnswerIsTold) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Put(Run("w"), Update("u")).ok());
  ASSERT_TRUE(Put(Run("w"), Update("v")).ok());
  auto told = std::make_shared<int>(0);
  const uint64_t name = store().Await({Run("w"), "v"}, [told](auto) { ++*told; });
  const TurnCommit one = Answering(Turn(Run("w"), 0, 3, "", 3), {Completed("u"), Accepted("v")});
  ExpectAnswer(AwaitUpdate(Run("w"), "u", UpdateStage::kCompleted, &one), Completed("u"));
  EXPECT_EQ(*told, 0);
  store().CancelAwait(name);
  EXPECT_EQ(told.use_count(), 1) << "its callback is gone";
  ASSERT_TRUE(Commit(Answering(Turn(Run("w"), 3, 4, ""), {Completed("v")})).ok());
  EXPECT_EQ(*told, 0);
}

TEST_P(StateStoreConformance, AnUpdateNobodySentIsNotFound) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  EXPECT_EQ(AwaitUpdate(Run("w"), "u").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(AwaitUpdate(Run("none"), "u").status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(Put(Run("w"), Signal("go", "u")).ok());  // no update
  EXPECT_EQ(AwaitUpdate(Run("w"), "u").status().code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, TheEndOfARunAnswersThoseThatAreOpen) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  for (const char* id : {"done", "begun", "late"}) ASSERT_TRUE(Put(Run("w"), Update(id)).ok());
  ASSERT_TRUE(
      Commit(Answering(Turn(Run("w"), 0, 5, "", 3), {Completed("done"), Accepted("begun")})).ok());
  TurnCommit close = Turn(Run("w"), 5, 6, "", 3);
  close.close = RunStatus::kCompleted;
  const auto late = AwaitUpdate(Run("w"), "late", UpdateStage::kAccepted, &close);
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_FALSE(late->answer.has_value());
  EXPECT_EQ(late->row.status, RunStatus::kCompleted);
  EXPECT_EQ(late->records, std::vector<std::string>{close.record});
  EXPECT_FALSE(AwaitUpdate(Run("w"), "begun")->answer.has_value());
  ExpectAnswer(AwaitUpdate(Run("w"), "begun", UpdateStage::kAccepted), Accepted("begun"));
  ExpectAnswer(AwaitUpdate(Run("w"), "done"), Completed("done"));
  EXPECT_TRUE(Put(Run("w"), Update("done"))->duplicate);
}

TEST_P(StateStoreConformance, AClosingTurnAnswersToo) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Put(Run("w"), Update("u")).ok());
  TurnCommit close = Answering(Turn(Run("w"), 0, 4, "", 2), {Completed("u")});
  close.close = RunStatus::kCompleted;
  ExpectAnswer(AwaitUpdate(Run("w"), "u", UpdateStage::kCompleted, &close), Completed("u"));
}

TEST_P(StateStoreConformance, AnswersGoOnWithTheChain) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  for (const char* id : {"done", "begun", "late"}) ASSERT_TRUE(Put(Run("w"), Update(id)).ok());
  ASSERT_TRUE(
      Commit(Answering(Turn(Run("w"), 0, 5, "", 3), {Completed("done"), Accepted("begun")})).ok());
  const TurnCommit next = Continuing("w", 3, 5);
  const auto old = AwaitUpdate(Run("w"), "late", UpdateStage::kCompleted, &next);
  ASSERT_TRUE(old.ok()) << old.status();
  EXPECT_FALSE(old->answer.has_value());
  ASSERT_TRUE(old->row.links.has_value());
  EXPECT_EQ(old->row.links->next_run_id, Next("w").run_id);

  ExpectAnswer(AwaitUpdate(Next("w"), "done"), Completed("done"));
  const auto begun = AwaitUpdate(Next("w"), "begun");
  ASSERT_TRUE(begun.ok() && begun->answer.has_value()) << begun.status();
  const auto& left = std::get<UpdateCompleted>(begun->answer->body);
  EXPECT_EQ(left.failure.value_or(Failure()).type, failure_type::kUnfinishedUpdate);
  const RunSnapshot run = ReadAll(Next("w"));
  ASSERT_EQ(run.inbox.size(), 2u);
  EXPECT_EQ(run.inbox[1].body, Update("late").body);
  EXPECT_TRUE(Put(Run("w"), Update("late"))->duplicate);
  const TurnCommit completes = Answering(Turn(Next("w"), 0, 4, "", 2), {Completed("late")});
  ExpectAnswer(AwaitUpdate(Next("w"), "late", UpdateStage::kCompleted, &completes), Completed("late"));
}

TEST_P(StateStoreConformance, AFirstTurnMayAnswer) {
  StartRequest start = NewStart("w");
  start.messages.push_back(Update("u"));
  start.first_turn = Answering(Turn(Run("w"), 0, 4, ""), {Completed("u")});
  ASSERT_TRUE(Start(start).ok());
  ExpectAnswer(AwaitUpdate(Run("w"), "u"), Completed("u"));
  EXPECT_TRUE(Put(Run("w"), Update("u"))->duplicate);
}

TEST_P(StateStoreConformance, AnswersAreForgottenLikeRequestIds) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  for (const char* id : {"done", "begun"}) ASSERT_TRUE(Put(Run("w"), Update(id)).ok());
  ASSERT_TRUE(
      Commit(Answering(Turn(Run("w"), 0, 5, "", 3), {Completed("done"), Accepted("begun")})).ok());
  Advance(limits::kDedupeWindow + std::chrono::seconds(1));
  ASSERT_TRUE(Put(Run("w"), Signal("go", "k")).ok());  // it forgets the old ones
  EXPECT_EQ(AwaitUpdate(Run("w"), "done").status().code(), StatusCode::kNotFound);
  // … but none that is still to be answered, and that answer is as new as any.
  EXPECT_TRUE(Put(Run("w"), Update("begun"))->duplicate);
  const TurnCommit completes = Answering(Turn(Run("w"), 5, 6, "", 4), {Completed("begun")});
  ExpectAnswer(AwaitUpdate(Run("w"), "begun", UpdateStage::kCompleted, &completes), Completed("begun"));
  Advance(limits::kDedupeWindow - std::chrono::seconds(1));
  ASSERT_TRUE(Put(Run("w"), Signal("go", "l")).ok());
  ExpectAnswer(AwaitUpdate(Run("w"), "begun"), Completed("begun"));
}

}  // namespace marathon::inline MARATHON_ABI::testing
