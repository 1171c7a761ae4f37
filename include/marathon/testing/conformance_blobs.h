// StateStore conformance: blobs that runs hold. Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/limits.h"
#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, ARunHoldsTheBlobsOfItsCommits) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const std::string large(3 << 20, 'x');
  ASSERT_TRUE(Start(NewStart("w")).ok());
  EXPECT_FALSE(ReadAll(Run("w")).row.has_blobs);
  TurnCommit first = With(Turn(Run("w"), 0, 2, "", 1), {all, large});
  first.history_bytes = 4 << 20;
  ASSERT_TRUE(Commit(first).ok());
  ASSERT_TRUE(Commit(With(Turn(Run("w"), 2, 4, ""), {"late"})).ok());
  const RunSnapshot run = ReadAll(Run("w"));
  EXPECT_TRUE(run.row.has_blobs);
  EXPECT_EQ(run.row.history_bytes, (4 << 20) + static_cast<int64_t>(run.records.at(1).size()));
  const StatusOr<Bytes> read = Blobs("w", {Blob("late").ref, Blob(large).ref, Blob(all).ref, Blob("late").ref});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, (Bytes{"late", large, all, "late"})) << "in the order asked for";
}

TEST_P(StateStoreConformance, AFirstTurnBringsBlobs) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  StartRequest request = NewStart("w");
  request.messages.clear();
  request.first_turn = With(Turn(Run("w"), 0, 2, ""), {"first"});
  ASSERT_TRUE(Start(request).ok());
  EXPECT_TRUE(HasBlob("w", "first"));
  EXPECT_TRUE(ReadAll(Run("w")).row.has_blobs);

  request.run.run_id = "another";
  request.first_turn = With(Turn(request.run, 0, 2, ""), {"never"});
  const auto again = Start(request);  // the request is known
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->run, Run("w"));
  EXPECT_FALSE(HasBlob("w", "never"));
}

TEST_P(StateStoreConformance, ARefusedCommitBringsNoBlobs) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  ASSERT_TRUE(Start(NewStart("w")).ok());
  EXPECT_EQ(Commit(With(Turn(Run("w"), 1, 3, ""), {"stale"})).status().code(), StatusCode::kAborted);
  EXPECT_FALSE(HasBlob("w", "stale"));
  EXPECT_FALSE(ReadAll(Run("w")).row.has_blobs);
}

TEST_P(StateStoreConformance, ABlobThatIsNotThereIsNamed) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  ClosedWith("w", {"there"});
  BlobRef ref = Blob("there").ref;
  const BlobRef missing = Blob("missing").ref;
  const Status status = Blobs("w", {ref, missing, Blob("missing, too").ref}).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(MessageOf(status).find(missing.sha256), std::string_view::npos) << status;
  ++ref.size;
  EXPECT_EQ(Blobs("w", {ref}).status().code(), StatusCode::kDataLoss) << "of another size";
  EXPECT_EQ(Blobs("w", {{"no name", 1}}).status().code(), StatusCode::kInvalidArgument);
  const StatusOr<Bytes> nothing = Blobs("w", {});
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_EQ(*nothing, Bytes());
}

TEST_P(StateStoreConformance, ABlobGoesWithTheLastRunThatHoldsIt) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  if (!harness().ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  ClosedWith("a", {"shared", "own"});
  StartRequest second = NewStart("a");
  second.run.run_id = "second";
  second.request_id = "second";
  ASSERT_TRUE(Start(second).ok());
  ASSERT_TRUE(Commit(With(Turn(second.run, 0, 2, "", 1), {"shared"})).ok());
  ASSERT_TRUE(Commit(With(Turn(second.run, 2, 4, ""), {"shared"})).ok()) << "held once, however often it is brought";

  ASSERT_TRUE(Delete(Run("a")).ok());
  EXPECT_TRUE(HasBlob("a", "own")) << "whoever has seen the history may be about to read it";
  PassGrace();
  EXPECT_FALSE(HasBlob("a", "own"));
  EXPECT_TRUE(HasBlob("a", "shared"));
  TurnCommit close = Turn(second.run, 4, 5, "", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  PassGrace();
  EXPECT_TRUE(HasBlob("a", "shared")) << "a run that has closed is kept, and they with it";
  ASSERT_TRUE(Delete(second.run).ok());
  PassGrace();
  EXPECT_FALSE(HasBlob("a", "shared"));
}

TEST_P(StateStoreConformance, ABlobThatIsHeldAgainInTimeStays) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  if (!harness().ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  for (int round = 0; round < 3; ++round) {
    const RunKey run = ClosedWith("w", {"kept"});
    ASSERT_TRUE(Delete(run).ok());
    Advance(limits::kBlobGrace * 2 / 3);
    EXPECT_TRUE(HasBlob("w", "kept")) << round;
  }
  ClosedWith("w", {"kept"});
  PassGrace();
  PassGrace();
  EXPECT_TRUE(HasBlob("w", "kept"));
}

TEST_P(StateStoreConformance, RetentionLetsGoOfBlobs) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  if (!harness().KeepClosed(std::chrono::hours(1), 1 << 30)) GTEST_SKIP() << "keeps what it keeps";
  if (!harness().ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  for (int i = 0; i < 30; ++i) ClosedWith("w" + std::to_string(i), {std::to_string(i)});
  Advance(std::chrono::minutes(61));
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(HasBlob("w" + std::to_string(i), std::to_string(i)));
  Poll();
  EXPECT_EQ(Read({.run = Run("w0")}).status().code(), StatusCode::kNotFound);
  PassGrace();
  for (int i = 0; i < 5; ++i) PassGrace();  // a few at a time
  for (int i = 0; i < 30; ++i) EXPECT_FALSE(HasBlob("w" + std::to_string(i), std::to_string(i))) << i;
}

TEST_P(StateStoreConformance, EachRunOfAChainHoldsItsOwnBlobs) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(With(Continuing("w", 1), {"old"})).ok());
  EXPECT_TRUE(ReadAll(Run("w")).row.has_blobs);
  EXPECT_FALSE(ReadAll(Next("w")).row.has_blobs) << "what waits for it is whole";
  EXPECT_TRUE(HasBlob("w", "old"));
}

TEST_P(StateStoreConformance, HeldBlobsOutliveTheProcess) {
  if (!store().keeps_blobs()) GTEST_SKIP() << "keeps no blobs for runs";
  ClosedWith("w", {"kept"});
  if (!harness().Reopen()) GTEST_SKIP() << "not a durable store";
  EXPECT_TRUE(HasBlob("w", "kept"));
  EXPECT_TRUE(ReadAll(Run("w")).row.has_blobs);
}

}  // namespace marathon::inline MARATHON_ABI::testing
