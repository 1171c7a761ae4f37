// How far a tool is: what of it is said, what a log that is slow or away makes of it, and who may speak.
// needs: agent testing
// program: agent
#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/agent/definition.h"
#include "marathon/agent/stream.h"
#include "marathon/agent/tool.h"
#include "marathon/testing/activity_tester.h"
#include "marathon/testing/manual_clock.h"
#include "src/agent/tool_activity.h"
#include "src/agent/tool_writer.h"

namespace agent_test {

struct Work {
  int rounds = 0;
};
MARATHON_TOOL_INPUT(Work, (rounds, "how many"))

}  // namespace agent_test

namespace marathon::agent::agent_progress_test {
namespace {

using namespace std::chrono_literals;
using agent_test::Work;
using internal::ToolWriter;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Body = std::function<std::string(ToolContext&, const Work&)>;

// Answers when the test says so.
class HeldLog final : public StreamLog {
 public:
  void Append(AppendFrames request, Done<uint64_t> done) override {
    EXPECT_FALSE(done_) << "one call at a time";
    requests.push_back(std::move(request));
    done_ = std::move(done);
    if (at_once) Answer(*at_once);
  }
  void Answer(StatusOr<uint64_t> answer) { std::exchange(done_, nullptr)(std::move(answer)); }
  uint64_t Read(ReadFrames, Done<FramePage>) override { return 0; }
  void CancelRead(uint64_t) override {}
  void Trim(std::string, uint64_t, DoneStatus) override {}
  void Sweep(int, Done<int64_t>) override {}
  // The texts of the newest request.
  std::vector<std::string> Sent() const {
    std::vector<std::string> texts;
    for (const std::string& frame : requests.back().frames) texts.push_back(DecodeEvent(frame)->text);
    return texts;
  }

  std::vector<AppendFrames> requests;
  std::optional<StatusOr<uint64_t>> at_once;

 private:
  Done<uint64_t> done_;
};

class ToolWriterTest : public ::testing::Test {
 protected:
  void Progress(std::string text) { writer_->Progress(std::move(text), std::nullopt, 0ms); }

  HeldLog log_;
  std::shared_ptr<ToolWriter> writer_ = std::make_shared<ToolWriter>(log_, "s", ToolTask{.step = 3, .call_id = "c"}, 7);
};

TEST_F(ToolWriterTest, OfWhatComesMeanwhileTheNewestIsSaid) {
  Progress("a");
  Progress("b");
  Progress("c");
  ASSERT_EQ(log_.requests.size(), 1u);
  EXPECT_EQ(log_.requests[0].stream, "s");
  EXPECT_EQ(log_.requests[0].fence, 7u);
  log_.Answer(1);
  ASSERT_EQ(log_.requests.size(), 2u);
  EXPECT_THAT(log_.Sent(), ElementsAre("c"));
  EXPECT_EQ(log_.requests[1].written, 1u);
  log_.Answer(2);
  log_.at_once = 3;
  writer_->Result({.text = "done"});
  EXPECT_THAT(log_.Sent(), ElementsAre("done"));
  EXPECT_EQ(log_.requests[2].written, 2u);
  EXPECT_EQ(log_.requests[2].step, log_.requests[0].step) << "so that a result silences older deliveries";
}

TEST_F(ToolWriterTest, WhatWasNotWrittenIsNotSaidLater) {
  log_.at_once = Unavailable("away");
  Progress("a");
  log_.at_once = 1;
  Progress("b");
  EXPECT_THAT(log_.Sent(), ElementsAre("b"));
  EXPECT_EQ(log_.requests[1].written, 0u);
}

// The log knows which of them are there.
TEST_F(ToolWriterTest, WhatWasPerhapsWrittenIsSentAgain) {
  log_.at_once = Unknown("perhaps");
  Progress("a");
  Progress("b");
  EXPECT_THAT(log_.Sent(), ElementsAre("a", "b"));
  log_.at_once = Unavailable("away");
  Progress("c");
  log_.at_once = 3;
  writer_->Result({.text = "done"});
  EXPECT_THAT(log_.Sent(), ElementsAre("a", "b", "done"));
  EXPECT_EQ(log_.requests.back().written, 0u);
}

TEST_F(ToolWriterTest, ALogThatNeverTellsIsNotAskedForEver) {
  log_.at_once = Unknown("perhaps");
  for (int i = 0; i < 100; ++i) writer_->Progress("p", std::nullopt, i * 1s);
  EXPECT_EQ(log_.requests.size(), 8u);
  writer_->Result({.text = "done"});
  EXPECT_EQ(log_.requests.size(), 9u);
}

TEST_F(ToolWriterTest, ADeliveryThatIsFencedOutFallsSilent) {
  log_.at_once = Aborted("a higher fence");
  Progress("a");
  Progress("b");
  writer_->Result({.text = "done"});
  EXPECT_EQ(log_.requests.size(), 1u);
}

// ---- Tools

Agent AgentWith(Body body, Effect effect = Effect::kPure) {
  Agent agent{.name = "A", .model = "m"};
  agent.tools = {MakeTool("work", "Works.", std::move(body), {.effect = effect})};
  return agent;
}

class ToolProgressTest : public ::testing::Test {
 protected:
  StatusOr<ToolReply> Run(Body body, bool stream = true) {
    auto agent = std::make_shared<Agent>(AgentWith(std::move(body)));
    agent->stream = stream;
    const internal::ToolActivity activity(agent, agent->tools[0]);
    const auto run = [&](ActivityContext& ctx, const ToolTask& task) { return activity(ctx, task); };
    return tester_.Run(run, ToolTask{.step = 1, .call_id = "c", .arguments = R"({"rounds": 3})"});
  }
  std::vector<StreamEvent> Events() {
    StreamReader reader(tester_.streams(), "agent/test-run");
    return reader.Next(Duration(0)).value();
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (const StreamEvent& event : Events()) texts.push_back(event.text);
    return texts;
  }

  testing::ActivityTester tester_;
};

TEST_F(ToolProgressTest, WordsAndFractions) {
  const auto reply = Run([](ToolContext& ctx, const Work&) {
    ctx.Progress("begun");
    ctx.Progress(0.5);
    ctx.Progress(7, "too much");
    ctx.Progress(-1);
    ctx.Progress(std::numeric_limits<double>::quiet_NaN(), "who knows");
    ctx.Progress(std::string(5'000, 'x'));
    return std::string("done");
  });
  ASSERT_TRUE(reply.ok()) << reply.status();
  const auto events = Events();
  ASSERT_EQ(events.size(), 7u);
  EXPECT_EQ(events[0].kind, StreamEvent::Kind::kToolProgress);
  EXPECT_EQ(events[0].id, "c");
  EXPECT_EQ(events[0].fraction, std::nullopt);
  EXPECT_EQ(events[1].fraction, 0.5);
  EXPECT_EQ(events[2].fraction, 1.0);
  EXPECT_EQ(events[2].text, "too much");
  EXPECT_EQ(events[3].fraction, 0.0);
  EXPECT_EQ(events[4].fraction, std::nullopt);
  EXPECT_LT(events[5].text.size(), 1'100u);
  EXPECT_EQ(events[6].kind, StreamEvent::Kind::kToolResult);
  EXPECT_EQ(tester_.heartbeat_count(), 6u);
}

TEST_F(ToolProgressTest, AChattyToolIsHeardNowAndThen) {
  const auto reply = Run([this](ToolContext& ctx, const Work&) {
    for (int i = 0; i < 1'000; ++i) ctx.Progress(std::to_string(i));
    tester_.Advance(249ms);
    ctx.Progress("too soon");
    tester_.Advance(1ms);
    for (const char* text : {"one more", "no more"}) ctx.Progress(text);
    tester_.Advance(1h);
    for (int i = 0; i < 1'000; ++i) ctx.Progress("again " + std::to_string(i));
    return std::string("done");
  });
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(Texts(), ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "one more", "again 0", "again 1", "again 2",
                                   "again 3", "again 4", "again 5", "again 6", "again 7", "done"));
}

TEST_F(ToolProgressTest, WithoutAStreamItIsASignOfLife) {
  const auto reply = Run([](ToolContext& ctx, const Work&) { return ctx.Progress("begun"), std::string("done"); }, false);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(Events(), IsEmpty());
  EXPECT_EQ(tester_.heartbeat_count(), 1u);
}

TEST_F(ToolProgressTest, AToolThatFailsHasSaidWhatItHasSaid) {
  const auto reply = Run([](ToolContext& ctx, const Work&) -> std::string {
    ctx.Progress("begun");
    throw std::runtime_error("no");
  });
  EXPECT_FALSE(reply.ok());
  EXPECT_THAT(Texts(), ElementsAre("begun"));
}

// A worker that was cut off goes on with its delivery while another has the next one.
TEST(ToolDeliveriesTest, AnOlderOneIsNotHeardBehindANewerOne) {
  testing::ManualClock clock;
  const Ports ports = NewMemoryPorts(clock);
  const auto deliver = [&](const std::shared_ptr<const Agent>& agent, Epoch epoch) {
    ActivityContext ctx({.key = {{"w", "r"}, 3}, .epoch = epoch}, {}, {}, {}, *ports.blobs, *ports.streams,
                        *ports.limiter);
    internal::ToolActivity(agent, agent->tools[0])(ctx, {.step = 1, .call_id = "c", .arguments = R"({"rounds": 3})"});
  };
  const auto newer = std::make_shared<const Agent>(AgentWith([](ToolContext& ctx, const Work&) {
    ctx.Progress("newer");
    return std::string("newer is done");
  }));
  const auto older = std::make_shared<const Agent>(AgentWith([&](ToolContext& ctx, const Work&) {
    ctx.Progress("older");
    deliver(newer, 2);
    ctx.Progress("older goes on");
    return std::string("older is done");
  }));
  deliver(older, 1);
  StreamReader reader(*ports.streams, "agent/r");
  std::vector<std::string> texts;
  const auto events = reader.Next(Duration(0));
  for (const StreamEvent& event : *events) texts.push_back(event.text);
  EXPECT_THAT(texts, ElementsAre("older", "newer", "newer is done"));
}

}  // namespace
}  // namespace marathon::agent::agent_progress_test
