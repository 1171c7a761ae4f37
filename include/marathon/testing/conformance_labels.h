// StateStore conformance: labels of runs, and lists and counts by what runs are. Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, ARunHasTheLabelsOfItsStart) {
  ASSERT_TRUE(Start(Labeled("w", {{"customer", "c-7"}}, {{"for", "Ada"}})).ok());
  ASSERT_TRUE(Start(NewStart("plain")).ok());
  EXPECT_EQ(LabelsOf(Run("w")), (RunLabels{{{"for", "Ada"}}, {{"customer", "c-7"}}}));
  EXPECT_FALSE(ReadAll(Run("plain")).row.labels.has_value());
  const ListReply list = List({.attributes = {{"customer", "c-7"}}});
  ASSERT_EQ(list.runs.size(), 1u);
  EXPECT_EQ(list.runs[0].labels, ReadAll(Run("w")).row.labels);
}

TEST_P(StateStoreConformance, ATurnChangesAttributes) {
  ASSERT_TRUE(Start(Labeled("w", {{"stage", "new"}, {"early", "yes"}}, {{"for", "Ada"}})).ok());
  const Labels changes{{"stage", "paid"}, {"early", ""}, {"bank", "b"}, {"bank", "c"}};
  ASSERT_TRUE(Commit(Setting(Turn(Run("w"), 0, 2, "", 1), changes)).ok());
  EXPECT_EQ(LabelsOf(Run("w")), (RunLabels{{{"for", "Ada"}}, {{"bank", "c"}, {"stage", "paid"}}}));
  EXPECT_EQ(Listed({.attributes = {{"stage", "paid"}}}), Names{"w"});
  EXPECT_EQ(Listed({.attributes = {{"bank", "c"}}}), Names{"w"});
  for (const auto& [name, text] : Labels{{"stage", "new"}, {"early", "yes"}, {"bank", "b"}, {"for", "Ada"}}) {
    EXPECT_EQ(Listed({.attributes = {{name, text}}}), Names{}) << name;
  }
}

TEST_P(StateStoreConformance, ATurnThatIsRefusedChangesNone) {
  ASSERT_TRUE(Start(Labeled("w", {{"stage", "new"}})).ok());
  const TurnCommit late = Setting(Turn(Run("w"), 1, 2, "", 1), {{"stage", "paid"}});
  EXPECT_EQ(Commit(late).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Listed({.attributes = {{"stage", "new"}}}), Names{"w"});
  EXPECT_EQ(Count({.attributes = {{"stage", "paid"}}}), 0);
}

TEST_P(StateStoreConformance, AFirstTurnMaySetAttributes) {
  StartRequest start = Labeled("w", {{"stage", "new"}});
  start.first_turn = Setting(Turn(Run("w"), 0, 2, ""), {{"stage", "paid"}});
  ASSERT_TRUE(Start(start).ok());
  EXPECT_EQ(Listed({.attributes = {{"stage", "paid"}}}), Names{"w"});
  EXPECT_EQ(Listed({.attributes = {{"stage", "new"}}}), Names{});
}

TEST_P(StateStoreConformance, TheLastLabelMayGo) {
  ASSERT_TRUE(Start(Labeled("w", {{"stage", "new"}})).ok());
  ASSERT_TRUE(Commit(Setting(Turn(Run("w"), 0, 2, "", 1), {{"stage", ""}})).ok());
  EXPECT_FALSE(ReadAll(Run("w")).row.labels.has_value());
  EXPECT_EQ(Listed({.attributes = {{"stage", "new"}}}), Names{});
}

TEST_P(StateStoreConformance, LabelsGoOnWithTheChain) {
  ASSERT_TRUE(Start(Labeled("w", {{"stage", "new"}, {"customer", "c-7"}}, {{"for", "Ada"}})).ok());
  ASSERT_TRUE(Commit(Setting(Continuing("w", 1), {{"stage", "paid"}})).ok());
  const RunLabels labels{{{"for", "Ada"}}, {{"customer", "c-7"}, {"stage", "paid"}}};
  EXPECT_EQ(LabelsOf(Run("w")), labels) << "it is closed, and found all the same";
  EXPECT_EQ(LabelsOf(Next("w")), labels);
  EXPECT_EQ(Listed({.attributes = {{"stage", "paid"}}}), (Names{"w", "w"}));
  EXPECT_EQ(Listed({.status = RunStatus::kRunning, .attributes = {{"stage", "paid"}}}), Names{"w"});
  ASSERT_TRUE(Commit(Setting(Turn(Next("w"), 0, 2, "", 1), {{"stage", "sent"}})).ok());
  EXPECT_EQ(Listed({.attributes = {{"stage", "paid"}}}), Names{"w"});
}

TEST_P(StateStoreConformance, RunsThatAreGoneAreFoundNoMore) {
  for (const char* id : {"deleted", "kept", "open"}) {
    ASSERT_TRUE(Start(Labeled(id, {{"customer", "c-7"}})).ok());
    if (id == std::string("open")) continue;
    TurnCommit close = Turn(Run(id), 0, 2, "", 1);
    close.close = RunStatus::kCompleted;
    ASSERT_TRUE(Commit(close).ok());
  }
  ASSERT_TRUE(Delete(Run("deleted")).ok());
  EXPECT_EQ(Listed({.attributes = {{"customer", "c-7"}}}), (Names{"open", "kept"}));
  Advance(limits::kRetention + std::chrono::seconds(1));
  Poll();
  EXPECT_EQ(Listed({.attributes = {{"customer", "c-7"}}}), Names{"open"});
  EXPECT_EQ(Count({.attributes = {{"customer", "c-7"}}}), 1);
  // Its id is free; another run of it is another run.
  ASSERT_TRUE(Start(Labeled("deleted", {{"customer", "c-8"}})).ok());
  EXPECT_EQ(Count({.attributes = {{"customer", "c-7"}}}), 1);
}

TEST_P(StateStoreConformance, ListsTakeAllThatIsAsked) {
  Time half{};
  for (int i = 0; i < 12; ++i) {
    StartRequest request = Labeled((i % 2 == 0 ? "even-" : "odd-") + std::to_string(i),
                                   {{"third", std::to_string(i % 3)}, {"half", i < 6 ? "first" : "second"}});
    request.workflow_type = i % 4 == 0 ? "Fourth" : "Type";
    const auto started = Start(request);
    ASSERT_TRUE(started.ok());
    if (i == 6) half = ReadAll(started->run).row.start_time;
    Advance(std::chrono::seconds(1));
  }
  EXPECT_EQ(Listed({.attributes = {{"third", "1"}, {"half", "first"}}}), (Names{"even-4", "odd-1"}));
  EXPECT_EQ(Listed({.attributes = {{"half", "first"}, {"third", "1"}}}), (Names{"even-4", "odd-1"}));
  EXPECT_EQ(Listed({.workflow_type = "Fourth", .attributes = {{"half", "first"}}}), (Names{"even-4", "even-0"}));
  EXPECT_EQ(Listed({.workflow_id_prefix = "odd-1"}), (Names{"odd-11", "odd-1"}));
  EXPECT_EQ(Count({.started_from = half}), 6);
  EXPECT_EQ(Count({.started_before = half}), 6);
  EXPECT_EQ(Listed({.started_from = half, .attributes = {{"third", "0"}}}), (Names{"odd-9", "even-6"}));
  EXPECT_EQ(Count({}), 12);
  EXPECT_EQ(Count({.workflow_type = "Fourth"}), 3);
  EXPECT_EQ(Count({.workflow_type = "Fourth", .limit = 1}), 3) << "whatever the limit";
  EXPECT_EQ(Count({.status = RunStatus::kFailed}), 0);
  EXPECT_EQ(Count({.workflow_id_prefix = "even-", .attributes = {{"third", "0"}}}), 2);
  EXPECT_EQ(Listed({.attributes = {{"third", "7"}}}), Names{});
  EXPECT_EQ(Listed({.attributes = {{"thir", "d1"}}}), Names{}) << "names and texts are apart";
}

TEST_P(StateStoreConformance, PagesStayAsTheyAreWhileRunsStart) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Start(Labeled("w" + std::to_string(i), {{"customer", "c-7"}})).ok());
    Advance(std::chrono::milliseconds(1));
  }
  Names ids;
  ListRequest request{.attributes = {{"customer", "c-7"}}, .limit = 3};
  for (int page = 0; page < 10; ++page) {
    const ListReply reply = List(request);
    EXPECT_LE(reply.runs.size(), 3u);
    for (const RunRow& row : reply.runs) ids.push_back(row.key.workflow_id.str());
    request.page_token = reply.next_page_token;
    if (request.page_token.empty()) break;
    ASSERT_TRUE(Start(Labeled("new" + std::to_string(page), {{"customer", "c-7"}})).ok());
    Advance(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(ids, (Names{"w9", "w8", "w7", "w6", "w5", "w4", "w3", "w2", "w1", "w0"}));
}

TEST_P(StateStoreConformance, LabelsAreThereWhenTheStoreIsOpenedAgain) {
  ASSERT_TRUE(Start(Labeled("w", {{"stage", "new"}}, {{"for", "Ada"}})).ok());
  if (!harness().Reopen()) GTEST_SKIP() << "not durable";
  EXPECT_EQ(LabelsOf(Run("w")), (RunLabels{{{"for", "Ada"}}, {{"stage", "new"}}}));
  ASSERT_TRUE(Commit(Setting(Turn(Run("w"), 0, 2, "", 1), {{"stage", "paid"}})).ok());
  EXPECT_EQ(Listed({.attributes = {{"stage", "paid"}}}), Names{"w"});
  EXPECT_EQ(Listed({.attributes = {{"stage", "new"}}}), Names{});
}

}  // namespace marathon::inline MARATHON_ABI::testing
