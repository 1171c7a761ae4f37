// The fixture of the StreamLog suite: one call a line, answers awaited, numbers counted from the stream's first frame.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/stream_log.h"
#include "marathon/testing/store_harness.h"

namespace marathon::inline MARATHON_ABI::testing {

class StreamLogConformance : public ::testing::TestWithParam<HarnessMaker> {
 protected:
  using Frames = std::vector<std::string>;
  using Page = StatusOr<FramePage>;

  StreamLogConformance() : harness_(GetParam().make()) {}

  StreamLog& streams() { return *harness_->ports().streams; }

  // Numbers are told, and taken, as if the first frame of each stream had number 1.
  StatusOr<uint64_t> Append(AppendFrames request) {
    const std::string stream = request.stream;
    const size_t frames = request.frames.size();
    StatusOr<uint64_t> last = Await<StatusOr<uint64_t>>(
        *harness_, [&](auto done) { streams().Append(std::move(request), std::move(done)); });
    if (!last.ok() || *last == 0) return last;
    uint64_t& before = before_[stream];
    if (before == 0 && frames > 0) before = *last - frames;
    return *last - before;
  }
  // By the step "step" of the stream "s".
  StatusOr<uint64_t> Append(uint64_t fence, uint64_t written, Frames frames) {
    return Append({"s", "step", fence, written, std::move(frames)});
  }
  FramePage Read(uint64_t after = 0, int max = 1'000, const std::string& stream = "s") {
    return Counted(stream, Await<Page>(*harness_, [&](auto done) {
      streams().Read({.stream = stream, .after = NumberOf(stream, after), .max = max}, std::move(done));
    }));
  }
  // What there is, each frame with its number: "1:a 2:b".
  static std::string Text(const FramePage& page) {
    std::string text;
    for (const StreamFrame& frame : page.frames) {
      text += (text.empty() ? "" : " ") + std::to_string(frame.seq) + ":" + frame.bytes;
    }
    return text;
  }
  std::string Text(uint64_t after = 0) { return Text(Read(after)); }
  void Trim(uint64_t seq, const std::string& stream = "s") {
    const Status trimmed = Await<Status>(
        *harness_, [&](auto done) { streams().Trim(stream, NumberOf(stream, seq), std::move(done)); });
    EXPECT_TRUE(trimmed.ok()) << trimmed;
  }
  int64_t Sweep(int limit = 1'000) {
    const auto swept =
        Await<StatusOr<int64_t>>(*harness_, [&](auto done) { streams().Sweep(limit, std::move(done)); });
    EXPECT_TRUE(swept.ok()) << swept.status();
    return swept.value_or(-1);
  }

  // A read that waits.
  struct Waiting {
    std::shared_ptr<AnswerSlot<Page>> slot = std::make_shared<AnswerSlot<Page>>();
    uint64_t name = 0;
    std::string stream;
  };
  Waiting Wait(uint64_t after, const std::string& stream = "s") {
    Waiting waiting{.stream = stream};
    waiting.name = streams().Read({.stream = stream, .after = NumberOf(stream, after), .wait = true},
                                  [slot = waiting.slot](Page page) { slot->Set(std::move(page)); });
    return waiting;
  }
  bool IsOpen(const Waiting& waiting) {
    for (int i = 0; i < 20; ++i) harness_->Pump();
    return !waiting.slot->has_value();
  }
  FramePage Take(const Waiting& waiting) {
    for (int i = 0; i < kPumpsMax && !waiting.slot->has_value(); ++i) harness_->Pump();
    if (!waiting.slot->has_value()) {
      ADD_FAILURE() << "no frame came";
      return {};
    }
    return Counted(waiting.stream, waiting.slot->Take());
  }

  uint64_t NumberOf(const std::string& stream, uint64_t count) { return count == 0 ? 0 : before_[stream] + count; }
  FramePage Counted(const std::string& stream, Page page) {
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) return {};
    const uint64_t before = before_[stream];
    for (StreamFrame& frame : page->frames) frame.seq -= before;
    if (page->last >= before) {  // it is there
      page->first -= before;
      page->last -= before;
    }
    return *std::move(page);
  }

  std::unique_ptr<StoreHarness> harness_;
  std::map<std::string, uint64_t> before_;  // by stream: the number before its first frame
};

}  // namespace marathon::inline MARATHON_ABI::testing
