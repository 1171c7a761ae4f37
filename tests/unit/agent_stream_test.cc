// An agent's stream: its frames, what a writer makes of a model's pieces and of a log that fails, and what a reader
// and a view make of frames.
// needs: agent
// program: agent
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/agent/stream.h"
#include "marathon/limits.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/testing/manual_clock.h"
#include "src/agent/stream_writer.h"

namespace marathon::agent::agent_stream_test {
namespace {

using internal::StreamWriter;
using Kind = StreamEvent::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Duration kLongEnough{60'000};

// Answers when, and as, the test says.
class SlowLog final : public StreamLog {
 public:
  void Append(AppendFrames request, Done<uint64_t> done) override {
    EXPECT_FALSE(done_) << "one call at a time";
    requests.push_back(std::move(request));
    done_ = std::move(done);
    while (!answers.empty() && done_) Answer(Pop());
  }
  void Answer(StatusOr<uint64_t> answer) { std::exchange(done_, nullptr)(std::move(answer)); }
  uint64_t Read(ReadFrames, Done<FramePage>) override { return 0; }
  void CancelRead(uint64_t) override {}
  void Trim(std::string, uint64_t, DoneStatus) override {}
  void Sweep(int, Done<int64_t>) override {}

  std::vector<AppendFrames> requests;
  std::deque<StatusOr<uint64_t>> answers;  // at once

 private:
  StatusOr<uint64_t> Pop() {
    auto answer = std::move(answers.front());
    answers.pop_front();
    return answer;
  }
  Done<uint64_t> done_;
};

llm::Delta Text(std::string text, size_t block = 0) { return {.block = block, .text = std::move(text)}; }

class WriterTest : public ::testing::Test {
 protected:
  void Finish() {
    writer_->Finish(response_, "d", [this](bool written) {
      EXPECT_FALSE(finished_) << "twice";
      finished_ = written;
    });
  }
  // The frames of a call, by type and text.
  std::vector<std::string> Sent(size_t call) {
    std::vector<std::string> sent;
    for (const std::string& frame : log_.requests.at(call).frames) {
      const auto event = DecodeEvent(frame);
      EXPECT_TRUE(event.ok()) << event.status();
      const std::string sse = SseOf(*event);
      const size_t type = sse.find("event: ") + 7;
      sent.push_back(sse.substr(type, sse.find('\n', type) - type) + ":" + event->text);
    }
    return sent;
  }
  SlowLog log_;
  llm::ChatResponse response_;
  std::shared_ptr<StreamWriter> writer_ = std::make_shared<StreamWriter>(log_, "s", 3, 7);
  std::optional<bool> finished_;
};

TEST_F(WriterTest, WhatComesMeanwhileGoesWithTheNextCall) {
  writer_->Begin("m");
  writer_->Add(Text("Hel"));
  writer_->Add(Text("lo "));
  writer_->Add(Text("you", 1));
  ASSERT_EQ(log_.requests.size(), 1u);
  EXPECT_THAT(Sent(0), ElementsAre("step_begin:m"));
  EXPECT_EQ(log_.requests[0].stream, "s");
  EXPECT_EQ(log_.requests[0].step, "model/3");
  EXPECT_EQ(log_.requests[0].fence, 7u);
  EXPECT_EQ(log_.requests[0].written, 0u);
  log_.Answer(1);
  ASSERT_EQ(log_.requests.size(), 2u);
  EXPECT_THAT(Sent(1), ElementsAre("delta:Hello ", "delta:you")) << "one frame a block";
  EXPECT_EQ(log_.requests[1].written, 1u);
  Finish();
  EXPECT_FALSE(finished_) << "not before it is written";
  log_.Answer(3);
  EXPECT_THAT(Sent(2), ElementsAre("step_done:d"));
  EXPECT_EQ(log_.requests[2].written, 3u);
  EXPECT_FALSE(finished_);
  log_.Answer(4);
  EXPECT_EQ(finished_, true);
}

TEST_F(WriterTest, AnEndIsToldAtOnceWhereTheLogAnswersAtOnce) {
  log_.answers = {1, 2, 3};
  writer_->Begin("m");
  writer_->Add(Text("a"));
  Finish();
  EXPECT_EQ(finished_, true);
  EXPECT_EQ(log_.requests.size(), 3u);
}

TEST_F(WriterTest, TheSameCallAgainWhenTheLogIsAwayForAMoment) {
  log_.answers = {Unavailable("away"), Unknown("perhaps"), 1};
  writer_->Begin("m");
  ASSERT_EQ(log_.requests.size(), 3u);
  for (size_t call = 0; call < 3; ++call) {
    EXPECT_THAT(Sent(call), ElementsAre("step_begin:m"));
    EXPECT_EQ(log_.requests[call].written, 0u);
  }
  log_.answers = {2};
  Finish();
  EXPECT_EQ(finished_, true);
}

TEST_F(WriterTest, ALogThatStaysAwayIsNotWaitedFor) {
  log_.answers = {Unavailable("1"), Unavailable("2"), Unavailable("3")};
  writer_->Begin("m");
  writer_->Add(Text("a"));
  EXPECT_EQ(log_.requests.size(), 3u);
  Finish();
  EXPECT_EQ(finished_, false);
  EXPECT_EQ(log_.requests.size(), 3u);
}

TEST_F(WriterTest, AnAttemptThatIsFencedOutFallsSilent) {
  log_.answers = {1, Aborted("a higher fence")};
  writer_->Begin("m");
  writer_->Add(Text("a"));
  writer_->Add(Text("b"));
  Finish();
  EXPECT_EQ(finished_, false);
  EXPECT_EQ(log_.requests.size(), 2u);
}

// Once all of them are there, and in one call: whoever reads in between misses nothing.
TEST_F(WriterTest, ALongAnswerStandsThereAsAWholeInTheEnd) {
  for (uint64_t i = 1; i <= 21; ++i) log_.answers.push_back(100 + i);
  log_.answers.push_back(123);
  std::string text;
  writer_->Begin("m", 2, 3);
  for (int i = 0; i < 20; ++i) {
    writer_->Add(Text(std::to_string(i)));
    text += std::to_string(i);
  }
  response_.blocks = {llm::Text{text}};
  response_.usage = {.input = 5, .output = 6};
  Finish();
  ASSERT_EQ(log_.requests.size(), 23u);
  EXPECT_THAT(Sent(21), ElementsAre("usage:", "step_done:d"));
  EXPECT_EQ(log_.requests[21].replaces_from, 0u);
  EXPECT_THAT(Sent(22), ElementsAre("snapshot:m", "delta:" + text, "usage:", "step_done:d"));
  EXPECT_EQ(log_.requests[22].replaces_from, 101u);
  EXPECT_EQ(log_.requests[22].replaces_to, 123u);
  EXPECT_EQ(log_.requests[22].written, 23u);
  const auto snapshot = DecodeEvent(log_.requests[22].frames[0]);
  EXPECT_EQ(snapshot->turn, 2);
  EXPECT_EQ(snapshot->attempt, 3);
  EXPECT_FALSE(finished_);
  log_.Answer(Unavailable("away"));
  EXPECT_EQ(finished_, true) << "all has been said";
  EXPECT_EQ(log_.requests.size(), 23u);
}

TEST_F(WriterTest, WhatOthersSaidInBetweenStays) {
  log_.answers.push_back(101);
  for (uint64_t i = 2; i <= 21; ++i) log_.answers.push_back(101 + i);  // 102 is another's
  log_.answers.push_back(123);
  writer_->Begin("m");
  for (int i = 0; i < 20; ++i) writer_->Add(Text("x"));
  Finish();
  EXPECT_EQ(finished_, true);
  EXPECT_EQ(log_.requests.size(), 22u);
}

TEST_F(WriterTest, LargePiecesAreCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 40'000; ++i) text += "ü";
  text += std::string(100'000, '\x01');  // six bytes each, in JSON
  writer_->Begin("m");
  writer_->Add(Text(text));
  log_.Answer(1);
  std::string whole;
  ASSERT_GT(log_.requests[1].frames.size(), 1u);
  for (const std::string& frame : log_.requests[1].frames) {
    EXPECT_LE(frame.size(), limits::kFrameMaxBytes);
    whole += DecodeEvent(frame)->text;
  }
  EXPECT_EQ(whole, text);
}

TEST_F(WriterTest, EachKindOfPieceHasItsFrame) {
  writer_->Begin("m");
  writer_->Add({.kind = llm::Delta::Kind::kReasoning, .text = "hm"});
  writer_->Add({.kind = llm::Delta::Kind::kReset});
  writer_->Add({.kind = llm::Delta::Kind::kToolCall, .block = 1, .text = "search", .id = "c1"});
  writer_->Add({.kind = llm::Delta::Kind::kToolArguments, .block = 1, .text = "{}"});
  log_.Answer(1);
  EXPECT_THAT(log_.requests[1].frames,
              ElementsAre(R"({"step":3,"text":"hm","type":"reasoning"})",
                          R"({"attempt":1,"step":3,"type":"reset","why":"another model answers"})",
                          R"({"block":1,"id":"c1","name":"search","step":3,"type":"tool_call"})",
                          R"({"block":1,"step":3,"text":"{}","type":"tool_args"})"));
}

TEST(StreamEventTest, FramesAndServerSentEvents) {
  const StreamEvent result{.kind = Kind::kToolResult, .step = 2, .text = "no", .id = "c", .is_error = true,
                           .seq = 41};
  EXPECT_EQ(EncodeEvent(result), R"({"id":"c","is_error":true,"step":2,"text":"no","type":"tool_result"})");
  EXPECT_EQ(SseOf(result),
            "id: 41\nevent: tool_result\ndata: {\"id\":\"c\",\"is_error\":true,\"step\":2,\"text\":\"no\"}\n\n");
  const StreamEvent progress{.kind = Kind::kToolProgress, .step = 2, .text = "half", .id = "c", .fraction = 0.5};
  EXPECT_EQ(EncodeEvent(progress), R"({"fraction":0.5,"id":"c","step":2,"text":"half","type":"tool_progress"})");
  EXPECT_EQ(*DecodeEvent(EncodeEvent(progress)), progress);
  StreamEvent back = *DecodeEvent(EncodeEvent(result));
  back.seq = 41;
  EXPECT_EQ(back, result);
  EXPECT_EQ(DecodeEvent(EncodeEvent({.kind = Kind::kText, .text = "\xff"}))->text, "\uFFFD");

  StreamEvent asked{.kind = Kind::kApproval, .step = 2, .text = R"({"a":1})", .id = "2/c", .turn = 0, .tool = "add",
                    .digest = "d", .expires = FromMicros(7), .cut = true};
  EXPECT_EQ(EncodeEvent(asked),
            R"({"arguments":"{\"a\":1}","cut":true,"digest":"d","expires":7,"id":"2/c","step":2,"tool":"add","type":"approval_request"})");
  EXPECT_EQ(*DecodeEvent(EncodeEvent(asked)), asked);
  for (const StreamEvent& event :
       {StreamEvent{.kind = Kind::kDone, .text = "budget", .turn = 3, .why = "usd"},
        StreamEvent{.kind = Kind::kReset, .step = 1, .text = "another model answers", .attempt = 2},
        StreamEvent{.kind = Kind::kStepDone, .step = 1, .text = "digest"},
        StreamEvent{.kind = Kind::kStepBegin, .step = 1, .text = "m", .turn = 2, .attempt = 4},
        StreamEvent{.kind = Kind::kUsage, .step = 1, .usage = {.input = 5, .cached_input = 1, .output = 2}}}) {
    EXPECT_EQ(*DecodeEvent(EncodeEvent(event)), event) << EncodeEvent(event);
  }

  for (const char* nonsense : {"", "[]", "{", "{}", R"({"type":"song"})", R"({"type":"delta","step":"x"})",
                               R"({"type":7})", R"({"type":"tool_progress","fraction":"x"})"}) {
    EXPECT_EQ(DecodeEvent(nonsense).status().code(), StatusCode::kDataLoss) << nonsense;
  }
}

TEST(StreamViewTest, OnlyTheNewestAttemptCounts) {
  StreamView view;
  const auto apply = [&](Kind kind, int step, std::string text = "", size_t block = 0) {
    view.Apply({.kind = kind, .step = step, .block = block, .text = std::move(text)});
  };
  apply(Kind::kStepBegin, 1, "m");
  apply(Kind::kText, 1, "one ");
  apply(Kind::kStepDone, 1, "d");
  apply(Kind::kStepBegin, 2, "m");
  apply(Kind::kText, 2, "half");
  apply(Kind::kReasoning, 2, "unseen");
  EXPECT_EQ(view.Text(), "one half");
  apply(Kind::kStepBegin, 2, "m");
  EXPECT_EQ(view.Text(), "one ");
  apply(Kind::kText, 2, "second", 1);
  apply(Kind::kText, 2, "first ", 0);
  EXPECT_EQ(view.Text(), "one first second");
  EXPECT_TRUE(view.IsDone(1));
  EXPECT_FALSE(view.IsDone(2));
  apply(Kind::kReset, 2, "why");
  EXPECT_EQ(view.TextOf(2), "");
  apply(Kind::kStartOver, 0);
  EXPECT_EQ(view.Text(), "");
  EXPECT_FALSE(view.IsDone(1));
}

TEST(StreamViewTest, HowFarACallIsUntilItsResult) {
  StreamView view;
  EXPECT_EQ(view.ProgressOf(1, "c"), nullptr);
  view.Apply({.kind = Kind::kStepBegin, .step = 1});
  view.Apply({.kind = Kind::kToolProgress, .step = 1, .id = "c", .fraction = 0.25});
  view.Apply({.kind = Kind::kToolProgress, .step = 1, .text = "half", .id = "c", .fraction = 0.5});
  view.Apply({.kind = Kind::kToolProgress, .step = 1, .text = "other", .id = "d"});
  ASSERT_NE(view.ProgressOf(1, "c"), nullptr);
  EXPECT_EQ(view.ProgressOf(1, "c")->text, "half");
  EXPECT_EQ(view.ProgressOf(1, "c")->fraction, 0.5);
  EXPECT_EQ(view.ProgressOf(2, "c"), nullptr);
  view.Apply({.kind = Kind::kToolResult, .step = 1, .text = "done", .id = "c"});
  EXPECT_EQ(view.ProgressOf(1, "c"), nullptr);
  EXPECT_NE(view.ProgressOf(1, "d"), nullptr);
  view.Apply({.kind = Kind::kStartOver});
  EXPECT_EQ(view.ProgressOf(1, "d"), nullptr);
}

class ReaderTest : public ::testing::Test {
 protected:
  void Append(std::string text, std::string stream = "s") {
    auto& count = written_[stream];
    log().Append({stream, "step", 1, count++, {EncodeEvent({.step = 1, .text = std::move(text)})}},
                 [](const StatusOr<uint64_t>& last) { EXPECT_TRUE(last.ok()) << last.status(); });
  }
  // Numbers count from the first frame of a stream that began when the clock had not been turned.
  std::vector<std::string> Texts(const std::vector<StreamEvent>& events) {
    std::vector<std::string> texts;
    for (const StreamEvent& event : events) {
      texts.push_back(event.kind == Kind::kStartOver ? "start over" : std::to_string(event.seq - before_) + event.text);
    }
    return texts;
  }
  StreamLog& log() { return *ports_.streams; }

  testing::ManualClock clock_;
  Ports ports_ = NewMemoryPorts(clock_);
  const uint64_t before_ = static_cast<uint64_t>(ToMicros(clock_.Now()));
  std::map<std::string, uint64_t> written_;
};

TEST_F(ReaderTest, GoesOnWhereAnotherStopped) {
  Append("a");
  Append("b");
  StreamReader first(log(), "s");
  EXPECT_THAT(Texts(*first.Next(Duration(0))), ElementsAre("1a", "2b"));
  EXPECT_THAT(*first.Next(Duration(0)), IsEmpty());
  Append("c");
  StreamReader second(log(), "s", first.after());
  EXPECT_THAT(Texts(*second.Next(Duration(0))), ElementsAre("3c"));
  EXPECT_THAT(Texts(*StreamReader(log(), "s", before_ + 1).Next(Duration(0))), ElementsAre("2b", "3c"));
}

// Answers from a thread of its own, as a log does that has a disk or a server behind it; to who waits, never.
class LateLog final : public StreamLog {
 public:
  explicit LateLog(StreamLog& base) : base_(base) {}
  void Append(AppendFrames request, Done<uint64_t> done) override { base_.Append(std::move(request), std::move(done)); }
  uint64_t Read(ReadFrames request, Done<FramePage> done) override {
    if (request.wait) return 1;
    threads_.emplace_back([this, request = std::move(request), done = std::move(done)]() mutable {
      base_.Read(std::move(request), std::move(done));
    });
    return 0;
  }
  void CancelRead(uint64_t) override {}
  void Trim(std::string, uint64_t, DoneStatus) override {}
  void Sweep(int, Done<int64_t>) override {}

 private:
  StreamLog& base_;
  std::vector<std::jthread> threads_;
};

TEST_F(ReaderTest, WithoutPatienceItIsGivenWhatIsThere) {
  Append("a");
  LateLog late(log());
  StreamReader reader(late, "s");
  EXPECT_THAT(Texts(*reader.Next(Duration(0))), ElementsAre("1a"));
  EXPECT_THAT(*reader.Next(Duration(0)), IsEmpty());
  EXPECT_THAT(*reader.Next(Duration(1)), IsEmpty());
}

TEST_F(ReaderTest, TheLongestWaitIsNotOver) {
  ThreadRuntime runtime(1, 1);
  runtime.SetAlarm(Duration(30), [this] { Append("late"); });
  EXPECT_THAT(Texts(*StreamReader(log(), "s").Next(Duration::max())), ElementsAre("1late"));
}

TEST_F(ReaderTest, SaysSoWhenSomethingIsMissing) {
  Append("a");
  Append("b");
  Append("c");
  StreamReader reader(log(), "s", before_ + 1);
  log().Trim("s", before_ + 2, [](const Status& status) { EXPECT_TRUE(status.ok()) << status; });
  EXPECT_THAT(Texts(*reader.Next(Duration(0))), ElementsAre("start over", "3c"));
  EXPECT_THAT(*reader.Next(Duration(0)), IsEmpty());
  EXPECT_THAT(Texts(*StreamReader(log(), "s").Next(Duration(0))), ElementsAre("3c")) << "it had seen nothing";

  StreamReader ahead(log(), "s", before_ + 40);
  EXPECT_THAT(Texts(*ahead.Next(Duration(0))), ElementsAre("start over"));
  EXPECT_THAT(Texts(*ahead.Next(Duration(0))), ElementsAre("3c"));
}

// A step of forty pieces, one of which is read before it is done; then it stands there as a whole.
TEST_F(ReaderTest, AStepThatIsDoneIsReadAsAWhole) {
  const auto append = [&](std::vector<std::string> frames, uint64_t replaces_from = 0, uint64_t replaces_to = 0) {
    uint64_t newest = 0;
    const uint64_t written = std::exchange(written_["s"], written_["s"] + frames.size());
    AppendFrames request{"s", "step", 1, written, std::move(frames), replaces_from, replaces_to};
    log().Append(std::move(request), [&](const StatusOr<uint64_t>& last) {
      ASSERT_TRUE(last.ok()) << last.status();
      newest = *last;
    });
    return newest;
  };
  const auto text = [](std::string piece) { return EncodeEvent({.step = 1, .text = std::move(piece)}); };
  const std::string done = EncodeEvent({.kind = Kind::kStepDone, .step = 1});
  const std::string snapshot = EncodeEvent({.kind = Kind::kSnapshot, .step = 1});
  const auto apply = [](StreamView& view, const std::vector<StreamEvent>& events) {
    for (const StreamEvent& event : events) view.Apply(event);
  };
  append({EncodeEvent({.kind = Kind::kStepBegin, .step = 1}), text("a"), text("b")});
  StreamReader whole(log(), "s"), half(log(), "s");
  StreamView whole_view, half_view, late_view, again_view;
  apply(half_view, *half.Next(Duration(0)));
  append({text("c"), done});
  apply(whole_view, *whole.Next(Duration(0)));
  const uint64_t seen = whole.after();
  append({snapshot, text("abc"), done}, before_ + 1, before_ + 5);
  EXPECT_THAT(*whole.Next(Duration(0)), IsEmpty()) << "it has seen all of it";
  EXPECT_THAT(*StreamReader(log(), "s", seen).Next(Duration(0)), IsEmpty()) << "so has who comes back with its number";
  apply(half_view, *half.Next(Duration(0)));
  StreamReader late(log(), "s");
  const auto events = late.Next(Duration(0));
  EXPECT_EQ(events->size(), 3u);
  apply(late_view, *events);
  append({EncodeEvent({.kind = Kind::kStepBegin, .step = 2}), EncodeEvent({.step = 2, .text = "d"})});
  const auto next = whole.Next(Duration(0));
  EXPECT_EQ(next->size(), 2u);
  apply(whole_view, *next);
  apply(half_view, *half.Next(Duration(0)));
  apply(late_view, *late.Next(Duration(0)));
  for (const StreamView* view : {&whole_view, &half_view, &late_view}) {
    EXPECT_EQ(view->Text(), "abcd");
    EXPECT_TRUE(view->IsDone(1));
  }
}

// Pages of a log may end anywhere: within a snapshot that is skipped, too.
class ShortPages final : public StreamLog {
 public:
  explicit ShortPages(StreamLog& base) : base_(base) {}
  void Append(AppendFrames request, Done<uint64_t> done) override { base_.Append(std::move(request), std::move(done)); }
  uint64_t Read(ReadFrames request, Done<FramePage> done) override {
    request.max = 1;
    return base_.Read(std::move(request), std::move(done));
  }
  void CancelRead(uint64_t name) override { base_.CancelRead(name); }
  void Trim(std::string, uint64_t, DoneStatus) override {}
  void Sweep(int, Done<int64_t>) override {}

 private:
  StreamLog& base_;
};

TEST_F(ReaderTest, ASnapshotIsSkippedOverPages) {
  Append("a");
  StreamReader all(log(), "s");
  EXPECT_THAT(Texts(*all.Next(Duration(0))), ElementsAre("1a"));
  log().Append({"s", "step", 1, 1,
                {EncodeEvent({.kind = Kind::kSnapshot, .step = 1}), EncodeEvent({.step = 1, .text = "a"}),
                 EncodeEvent({.kind = Kind::kStepDone, .step = 1}), EncodeEvent({.step = 2, .text = "b"})},
                before_ + 1, before_ + 1},
               [](const StatusOr<uint64_t>& last) { ASSERT_TRUE(last.ok()); });
  ShortPages pages(log());
  StreamReader reader(pages, "s", before_ + 1);
  EXPECT_THAT(Texts(*reader.Next(Duration(0))), ElementsAre("5b"));
  EXPECT_THAT(*reader.Next(Duration(0)), IsEmpty());
}

// Whoever has missed something is shown the whole that follows, though its number is the next one.
TEST_F(ReaderTest, WhoStartsOverSkipsNothing) {
  for (const bool asks_in_between : {false, true}) {
    const std::string stream = asks_in_between ? "t" : "s";
    for (const char* text : {"a", "b", "c"}) Append(text, stream);
    StreamReader reader(log(), stream, before_ + 1);
    log().Trim(stream, before_ + 3, [](const Status& status) { EXPECT_TRUE(status.ok()) << status; });
    if (asks_in_between) {
      EXPECT_THAT(Texts(*reader.Next(Duration(0))), ElementsAre("start over"));
    }
    log().Append({stream, "step", 1, 3,
                  {EncodeEvent({.kind = Kind::kSnapshot, .step = 1}), EncodeEvent({.step = 1, .text = "abc"}),
                   EncodeEvent({.kind = Kind::kStepDone, .step = 1})},
                  before_ + 1, before_ + 3},
                 [](const StatusOr<uint64_t>& last) { ASSERT_TRUE(last.ok()); });
    StreamView view;
    const auto events = reader.Next(Duration(0));
    for (const StreamEvent& event : *events) view.Apply(event);
    EXPECT_EQ(view.Text(), "abc");
  }
}

// A client saw 57 events, a person took three days to decide, and the agent went on: with more events than the client
// had seen, with fewer, and with as many.
TEST_F(ReaderTest, SaysSoWhenAForgottenStreamHasBegunAnew) {
  constexpr int kSeen = 57;
  for (const int more : {80, 3, kSeen}) {
    SCOPED_TRACE(more);
    const std::string stream = "of " + std::to_string(more);
    for (int i = 0; i < kSeen; ++i) Append("old", stream);
    StreamReader reader(log(), stream);
    ASSERT_EQ(reader.Next(Duration(0))->size(), size_t{kSeen});
    clock_.Advance(std::chrono::hours(72));
    written_.clear();  // with a writer of its own
    for (int i = 0; i < more; ++i) Append("new", stream);
    const auto events = reader.Next(kLongEnough);
    ASSERT_TRUE(events.ok()) << events.status();
    ASSERT_EQ(events->size(), static_cast<size_t>(more) + 1);
    EXPECT_EQ(events->front().kind, Kind::kStartOver);
    for (size_t i = 1; i < events->size(); ++i) EXPECT_EQ(events->at(i).text, "new");
    EXPECT_THAT(*reader.Next(Duration(0)), IsEmpty());
  }
}

TEST_F(ReaderTest, SaysOnceThatAStreamIsForgottenAndWaitsForTheNextOne) {
  Append("a");
  StreamReader reader(log(), "s");
  EXPECT_THAT(Texts(*reader.Next(Duration(0))), ElementsAre("1a"));
  clock_.Advance(std::chrono::hours(72));
  Append("x", "other");  // appends sweep
  EXPECT_THAT(Texts(*reader.Next(kLongEnough)), ElementsAre("start over"));
  ThreadRuntime runtime(1, 1);
  written_.clear();
  runtime.SetAlarm(Duration(30), [this] { Append("b"); });
  const auto events = reader.Next(kLongEnough);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->size(), 1u) << "it has said so";
  EXPECT_EQ(events->front().text, "b");
}

TEST_F(ReaderTest, AFrameThatIsNoneIsAnError) {
  Append("a");
  log().Append({"s", "other", 1, 0, {"song"}}, [](const StatusOr<uint64_t>&) {});
  Append("b");
  StreamReader reader(log(), "s");
  EXPECT_THAT(Texts(*reader.Next(Duration(0))), ElementsAre("1a"));
  EXPECT_EQ(reader.Next(Duration(0)).status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(Texts(*reader.Next(Duration(0))), ElementsAre("3b"));
}

}  // namespace
}  // namespace marathon::agent::agent_stream_test
