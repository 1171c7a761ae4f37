// The conformance suite of the StreamLog port. A test program includes this header in one file, brings a
// StoreHarness (of which only the streams are used) that keeps them for limits::kStreamKeep, and instantiates
// StreamLogConformance.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/stream_log.h"
#include "marathon/testing/stream_log_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

// ---- Numbers

TEST_P(StreamLogConformance, FramesAreNumberedInTheirOrder) {
  EXPECT_EQ(Append(1, 0, {"a", "b"}).value(), 2u);
  EXPECT_EQ(Append(1, 2, {std::string("c\0\xff", 3)}).value(), 3u);
  EXPECT_EQ(Append({"s", "other", 1, 0, {""}}).value(), 4u);
  EXPECT_EQ(Append({"t", "step", 1, 0, {"x"}}).value(), 1u) << "a stream of its own";
  const FramePage page = Read();
  EXPECT_EQ(Text(page), std::string("1:a 2:b 3:c\0\xff 4:", 16));
  EXPECT_EQ(page.first, 1u);
  EXPECT_EQ(page.last, 4u);
  EXPECT_EQ(Text(Read(0, 1, "t")), "1:x");
}

TEST_P(StreamLogConformance, AStreamThatNobodyHasWrittenToIsEmpty) {
  const FramePage page = Read();
  EXPECT_TRUE(page.frames.empty());
  EXPECT_EQ(page.first, 1u);
  EXPECT_EQ(page.last, 0u);
  const Waiting waiting = Wait(0);
  EXPECT_EQ(Append(1, 0, {}).value(), 0u) << "the fence only";
  EXPECT_TRUE(Read().frames.empty());
  EXPECT_TRUE(IsOpen(waiting));
  EXPECT_TRUE(IsOpen(Wait(0))) << "nor has it anything for one who comes now";
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  EXPECT_EQ(Text(Take(waiting)), "1:a");
}

TEST_P(StreamLogConformance, NumbersAreWholeInADouble) {
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  EXPECT_LT(NumberOf("s", 1), uint64_t{1} << 53);
}

TEST_P(StreamLogConformance, AReaderGoesOnWhereItWas) {
  ASSERT_TRUE(Append(1, 0, {"a", "b", "c", "d", "e"}).ok());
  EXPECT_EQ(Text(Read(0, 2)), "1:a 2:b");
  EXPECT_EQ(Text(Read(2, 2)), "3:c 4:d");
  EXPECT_EQ(Text(Read(4, 2)), "5:e");
  const FramePage end = Read(5, 2);
  EXPECT_TRUE(end.frames.empty());
  EXPECT_EQ(end.last, 5u);
}

TEST_P(StreamLogConformance, APageIsNotTooLarge) {
  const std::string big(limits::kFrameMaxBytes, 'x');
  constexpr size_t kFit = limits::kFramePageBytes / limits::kFrameMaxBytes;
  for (size_t i = 0; i < kFit + 4; ++i) ASSERT_TRUE(Append(1, i, {big}).ok());
  EXPECT_EQ(Read().frames.size(), kFit);
  EXPECT_EQ(Read(kFit).frames.size(), 4u);
  EXPECT_EQ(Read(0, 0).frames.size(), 1u) << "never none";
}

TEST_P(StreamLogConformance, WhatIsTooLongIsRefused) {
  const std::string name(limits::kMaxIdBytes + 1, 'n');
  const auto code = [&](AppendFrames request) { return Append(std::move(request)).status().code(); };
  EXPECT_EQ(code({"", "step", 1, 0, {"a"}}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({name, "step", 1, 0, {"a"}}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"s", name, 1, 0, {"a"}}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"s", "step", 1, 0, {"a", std::string(limits::kFrameMaxBytes + 1, 'x')}}),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"s", "step", 1, 0, Frames(limits::kAppendMaxFrames + 1)}), StatusCode::kInvalidArgument);
  EXPECT_EQ(Text(), "") << "not even the frame that fits";
  EXPECT_EQ(Append({"most", "step", 1, 0, Frames(limits::kAppendMaxFrames)}).value(), limits::kAppendMaxFrames);
  const Page page = Await<Page>(*harness_, [&](auto done) { streams().Read({.stream = name}, std::move(done)); });
  EXPECT_EQ(page.status().code(), StatusCode::kInvalidArgument);
  const Status trimmed = Await<Status>(*harness_, [&](auto done) { streams().Trim("", 1, std::move(done)); });
  EXPECT_EQ(trimmed.code(), StatusCode::kInvalidArgument);
}

// ---- Repetitions and fences

TEST_P(StreamLogConformance, ARepeatedAppendWritesNothingTwice) {
  EXPECT_EQ(Append(1, 0, {"a", "b"}).value(), 2u);
  EXPECT_EQ(Append(1, 0, {"a", "b"}).value(), 2u);
  ASSERT_TRUE(Append({"s", "other", 1, 0, {"x"}}).ok());
  EXPECT_EQ(Append(1, 0, {"a", "b"}).value(), 2u) << "the number of its own";
  EXPECT_EQ(Append(1, 0, {"a", "b", "c"}).value(), 4u) << "what is new comes";
  EXPECT_EQ(Append(1, 2, {"c", "d"}).value(), 5u);
  EXPECT_EQ(Text(), "1:a 2:b 3:x 4:c 5:d");
}

TEST_P(StreamLogConformance, AGapIsRefused) {
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  EXPECT_EQ(Append(1, 2, {"c"}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Append(2, 1, {"b"}).status().code(), StatusCode::kFailedPrecondition) << "another fence's";
  EXPECT_EQ(Append({"new", "step", 1, 1, {"b"}}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Append(1, 1, {"b"}).value(), 2u) << "nor has that raised the fence";
  EXPECT_EQ(Text(), "1:a 2:b");
}

TEST_P(StreamLogConformance, AHigherFenceShutsLowerOnesOut) {
  ASSERT_TRUE(Append(3, 0, {"a", "b"}).ok());
  EXPECT_EQ(Append(7, 0, {"c"}).value(), 3u) << "it begins to count anew";
  EXPECT_EQ(Append(3, 2, {"late"}).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Append(3, 0, {"a", "b"}).status().code(), StatusCode::kAborted) << "though it is there";
  EXPECT_EQ(Append(6, 0, {"late"}).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Append({"s", "other", 1, 0, {"x"}}).value(), 4u) << "a step of its own";
  EXPECT_EQ(Append(7, 1, {"d"}).value(), 5u);
  EXPECT_EQ(Text(), "1:a 2:b 3:c 4:x 5:d");
}

TEST_P(StreamLogConformance, AFenceIsRaisedWithoutAFrame) {
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  EXPECT_EQ(Append(2, 0, {}).value(), 1u);
  EXPECT_EQ(Append(1, 1, {"late"}).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Text(), "1:a");
}

TEST_P(StreamLogConformance, FencesAreWholeNumbersOf64Bits) {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  ASSERT_TRUE(Append(kMost / 2, 0, {"a"}).ok());
  EXPECT_EQ(Append(kMost / 2 - 1, 0, {"late"}).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Append(kMost / 2 + 1, 0, {"b"}).value(), 2u);
  EXPECT_EQ(Append(kMost, 0, {"c"}).value(), 3u);
  EXPECT_EQ(Append(kMost - 1, 0, {"late"}).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Text(), "1:a 2:b 3:c");
}

// ---- Waiting

TEST_P(StreamLogConformance, AReaderWaitsForAFrame) {
  const Waiting first = Wait(0);
  const Waiting also_first = Wait(0);
  const Waiting elsewhere = Wait(0, "t");
  EXPECT_TRUE(IsOpen(first));
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  EXPECT_EQ(Text(Take(first)), "1:a");
  EXPECT_EQ(Text(Take(also_first)), "1:a");
  const Waiting second = Wait(1);
  EXPECT_TRUE(IsOpen(second));
  EXPECT_TRUE(IsOpen(elsewhere));
  ASSERT_TRUE(Append(1, 1, {"b", "c"}).ok());
  EXPECT_EQ(Take(second).frames.front().seq, 2u);
  EXPECT_TRUE(IsOpen(elsewhere));
  streams().CancelRead(elsewhere.name);
}

TEST_P(StreamLogConformance, AReaderThatHasNotSeenAllDoesNotWait) {
  ASSERT_TRUE(Append(1, 0, {"a", "b"}).ok());
  EXPECT_EQ(Text(Take(Wait(1))), "2:b");
  Trim(2);
  const FramePage collected = Take(Wait(1));
  EXPECT_TRUE(collected.frames.empty());
  EXPECT_EQ(collected.first, 3u);
  const Waiting newcomer = Wait(0);
  EXPECT_TRUE(IsOpen(newcomer)) << "who knows nothing has missed nothing";
  streams().CancelRead(newcomer.name);
  const FramePage unknown = Take(Wait(9));
  EXPECT_TRUE(unknown.frames.empty());
  EXPECT_EQ(unknown.last, 2u) << "that stream is gone";
}

TEST_P(StreamLogConformance, NothingNewWakesNobody) {
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  const Waiting waiting = Wait(1);
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  ASSERT_TRUE(Append(2, 0, {}).ok());
  ASSERT_FALSE(Append(1, 1, {"late"}).ok());
  EXPECT_TRUE(IsOpen(waiting));
  streams().CancelRead(waiting.name);
}

TEST_P(StreamLogConformance, ACanceledReadIsDestroyedUncalled) {
  auto kept = std::make_shared<int>(0);
  const uint64_t name = streams().Read({.stream = "s", .wait = true}, [kept](const Page&) { ++*kept; });
  for (int i = 0; i < 20; ++i) harness_->Pump();
  streams().CancelRead(name);
  streams().CancelRead(name);
  ASSERT_TRUE(Append(1, 0, {"a"}).ok());
  for (int i = 0; i < 20; ++i) harness_->Pump();
  EXPECT_EQ(*kept, 0);
  EXPECT_EQ(kept.use_count(), 1);
}

// ---- Forgetting

TEST_P(StreamLogConformance, TrimmedFramesAreGoneAndNumbersGoOn) {
  ASSERT_TRUE(Append(1, 0, {"a", "b", "c"}).ok());
  Trim(2);
  Trim(1);
  FramePage page = Read();
  EXPECT_EQ(Text(page), "3:c");
  EXPECT_EQ(page.first, 3u);
  EXPECT_EQ(Append(1, 2, {"c"}).value(), 3u) << "it is known what was written";
  Trim(100);
  page = Read();
  EXPECT_EQ(Text(page), "");
  EXPECT_EQ(page.first, 4u);
  EXPECT_EQ(page.last, 3u);
  EXPECT_EQ(Append(1, 3, {"d"}).value(), 4u);
  EXPECT_EQ(Append(0, 0, {"late"}).status().code(), StatusCode::kAborted) << "and the fence";
  EXPECT_EQ(Text(), "4:d");
  Trim(1, "never written");
}

// ---- Replacing

TEST_P(StreamLogConformance, FramesThatStandForOthersReplaceThem) {
  ASSERT_TRUE(Append({"s", "other", 1, 0, {"x"}}).ok());
  ASSERT_EQ(Append(1, 0, {"a", "b", "c"}).value(), 4u);
  const auto replace = [&] { return Append({"s", "step", 1, 3, {"abc", "end"}, NumberOf("s", 2), NumberOf("s", 4)}); };
  EXPECT_EQ(replace().value(), 6u) << "numbers are not used again";
  EXPECT_EQ(Text(), "1:x 5:abc 6:end");
  EXPECT_EQ(replace().value(), 6u);
  EXPECT_EQ(Text(), "1:x 5:abc 6:end") << "repeated, it forgets nothing more";
  for (const uint64_t known : {1, 2, 3, 4}) EXPECT_EQ(Text(Take(Wait(known))), "5:abc 6:end") << known;
  const FramePage page = Read();
  EXPECT_EQ(page.first, 1u);
  EXPECT_EQ(page.last, 6u);
  EXPECT_EQ(Text(Read(0, 2)), "1:x 5:abc");
  EXPECT_EQ(Append(1, 5, {"d"}).value(), 7u);
  EXPECT_EQ(Append({"s", "step", 2, 0, {"all"}, NumberOf("s", 1), NumberOf("s", 7)}).value(), 8u) << "from the first one on";
  EXPECT_EQ(Text(), "8:all");
  EXPECT_EQ(Read(3).first, 1u) << "nothing has been trimmed";
  Trim(4);
  EXPECT_EQ(Text(Read(4)), "8:all");
  EXPECT_EQ(Read().first, 5u);
  Trim(8);
  EXPECT_EQ(Text(), "");
  EXPECT_EQ(Read(8).first, 9u);
}

TEST_P(StreamLogConformance, OnlyWhoMayWriteReplaces) {
  ASSERT_TRUE(Append(5, 0, {"a", "b"}).ok());
  const uint64_t first = NumberOf("s", 1), newest = NumberOf("s", 2);
  EXPECT_EQ(Append({"s", "step", 4, 0, {"late"}, first, newest}).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Append({"s", "step", 5, 3, {"gap"}, first, newest}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Append({"s", "step", 6, 0, {}, first, newest}).value(), 2u) << "nothing stands for them";
  EXPECT_EQ(Append({"s", "step", 6, 0, {"c"}, NumberOf("s", 9), newest}).value(), 3u) << "there are none";
  EXPECT_EQ(Text(), "1:a 2:b 3:c");
  EXPECT_EQ(Append({"new", "step", 1, 0, {"x"}, 7, 8}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Text(Read(0, 10, "new")), "");
}

// Whoever replaces knows of nothing that others have written last, and takes nothing of it along.
TEST_P(StreamLogConformance, WhatOthersWroteLastIsNotReplaced) {
  ASSERT_TRUE(Append(1, 0, {"a", "b"}).ok());
  ASSERT_TRUE(Append({"s", "other", 1, 0, {"x"}}).ok());
  const AppendFrames replace{"s", "step", 1, 2, {"ab"}, NumberOf("s", 1), NumberOf("s", 2)};
  EXPECT_EQ(Append(replace).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Text(), "1:a 2:b 3:x");
  EXPECT_EQ(Append(1, 2, {"c"}).value(), 4u) << "nothing was written";
  EXPECT_EQ(Text(), "1:a 2:b 3:x 4:c");
}

TEST_P(StreamLogConformance, ManyFramesAreReplacedByOne) {
  for (uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(Append(1, 30 * i, Frames(30, "piece")).ok());
  const Waiting waiting = Wait(300);
  ASSERT_EQ(Append({"s", "step", 1, 300, {"whole"}, NumberOf("s", 3), NumberOf("s", 300)}).value(), 301u);
  EXPECT_EQ(Text(Take(waiting)), "301:whole") << "who has seen all of them is told, too";
  EXPECT_EQ(Text(), "1:piece 2:piece 301:whole");
}

TEST_P(StreamLogConformance, AStreamThatNobodyWritesToIsForgotten) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  ASSERT_TRUE(Append(5, 0, {"a", "b"}).ok());
  ASSERT_TRUE(Append({"t", "step", 1, 0, {"x"}}).ok());
  harness_->Advance(limits::kStreamKeep * 2 / 3);
  EXPECT_EQ(Sweep(), 0);
  ASSERT_TRUE(Append({"t", "step", 1, 1, {"y"}}).ok());
  Read();
  harness_->Advance(limits::kStreamKeep * 2 / 3);
  EXPECT_EQ(Sweep(), 1) << "reading keeps nothing";
  EXPECT_EQ(Read().last, 0u);
  EXPECT_EQ(Text(Read(0, 10, "t")), "1:x 2:y");
  const Waiting waiting = Wait(2);
  EXPECT_EQ(Take(waiting).last, 0u) << "whoever knew it, hears so";
  EXPECT_EQ(Append(5, 2, {"c"}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Append(1, 0, {"c"}).ok()) << "it begins anew, fences too";
}

// Whoever knew the forgotten one gets all of the new one, and sees that something was between.
TEST_P(StreamLogConformance, AStreamThatBeginsAnewUsesNoNumberAgain) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  ASSERT_TRUE(Append(1, 0, Frames(500, "old")).ok());
  harness_->Advance(limits::kStreamKeep * 2);
  ASSERT_EQ(Sweep(), 1);
  const Frames written(3, "new");
  ASSERT_TRUE(Append(1, 0, written).ok());
  for (const uint64_t known : {1, 2, 3, 499, 500}) {
    SCOPED_TRACE(known);
    const FramePage page = Take(Wait(known));
    EXPECT_EQ(page.frames.size(), written.size());
    EXPECT_GT(page.first, known + 1);
    EXPECT_EQ(page.last, page.first + 2);
  }
}

TEST_P(StreamLogConformance, ASweepGoesAsFarAsItIsAllowedAndAppendsSweepALittle) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Append({std::to_string(i), "", 1, 0, {"x"}}).ok());
  harness_->Advance(limits::kStreamKeep * 2);
  EXPECT_EQ(Sweep(2), 2);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Append({"new", "", 1, static_cast<uint64_t>(i), {"x"}}).ok());
  EXPECT_EQ(Sweep(), 0);
}

TEST_P(StreamLogConformance, StreamsOutliveTheProcess) {
  ASSERT_TRUE(Append(3, 0, {"a", "b", "c"}).ok());
  ASSERT_TRUE(Append({"s", "step", 3, 3, {"C"}, NumberOf("s", 3), NumberOf("s", 3)}).ok());
  Trim(1);
  if (!harness_->Reopen()) GTEST_SKIP() << "not a durable store";
  EXPECT_EQ(Text(), "2:b 4:C");
  EXPECT_EQ(Append(3, 1, {"b", "c", "C"}).value(), 4u);
  EXPECT_EQ(Append(2, 0, {"late"}).status().code(), StatusCode::kAborted);
  EXPECT_EQ(Append(3, 4, {"d"}).value(), 5u);
  EXPECT_EQ(Text(2), "4:C 5:d");
}

}  // namespace marathon::inline MARATHON_ABI::testing
