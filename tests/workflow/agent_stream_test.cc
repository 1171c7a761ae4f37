// What a reader sees of an agent that works: the same text as the history has, whatever attempts and logs fail, and
// whatever process it reads from.
// needs: agent testing
// program: agent_streams
#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"
#include "marathon/adapters/memory.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/testing/test_environment.h"

namespace agent_test {

struct Sum {
  int a = 0;
};
MARATHON_TOOL_INPUT(Sum, (a, "one"))

}  // namespace agent_test

namespace marathon::agent::agent_stream_test {
namespace {

using tests::kPatience;
using Kind = StreamEvent::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// All that is in the stream of a run.
std::vector<StreamEvent> EventsOf(StreamLog& log, const marathon::Run& run, uint64_t after = 0) {
  StreamReader reader(log, StreamOf(run.run_id()), after);
  std::vector<StreamEvent> all;
  for (;;) {
    auto events = reader.Next(Duration(0));
    EXPECT_TRUE(events.ok()) << events.status();
    if (!events.ok() || events->empty()) return all;
    all.insert(all.end(), events->begin(), events->end());
  }
}

// "delta 1 Hello": what kind, of which step, and its text.
std::vector<std::string> Lines(const std::vector<StreamEvent>& events) {
  std::vector<std::string> lines;
  for (const StreamEvent& event : events) {
    const std::string sse = SseOf(event);
    const size_t type = sse.find("event: ") + 7;
    std::string line = sse.substr(type, sse.find('\n', type) - type);
    if (event.step != 0) line += " " + std::to_string(event.step);
    if (event.kind != Kind::kStepDone && !event.text.empty()) line += " " + event.text;
    lines.push_back(std::move(line));
  }
  return lines;
}

StreamView ViewOf(const std::vector<StreamEvent>& events) {
  StreamView view;
  for (const StreamEvent& event : events) view.Apply(event);
  return view;
}

// Breaks off in the middle of its first answers.
class BreakingModel final : public llm::Model {
 public:
  explicit BreakingModel(int times) : times_(times) {}
  void Chat(llm::ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override {
    if (times_-- > 0) {
      on_delta({.text = "Hello, wor"});
      llm::Error error = llm::MakeError(llm::ErrorClass::kTruncated, "cut");
      error.partial = true;
      return done(std::move(error));
    }
    llm::ScriptedModel script;
    script.Says("Hello again");
    script.Chat(std::move(request), std::move(stop), std::move(on_delta), std::move(done));
  }

 private:
  std::atomic<int> times_;
};

// Says something, and then nothing more until it is stopped.
class SilentModel final : public llm::Model {
 public:
  void Chat(llm::ChatRequest, std::stop_token stop, OnDelta on_delta, OnResult done) override {
    on_delta({.text = "Hello, wor"});
    done_ = std::move(done);
    stop_.emplace(std::move(stop), [this] {
      if (done_) std::exchange(done_, {})(llm::MakeError(llm::ErrorClass::kCanceled, "stopped"));
    });
  }

 private:
  OnResult done_;
  std::optional<std::stop_callback<std::function<void()>>> stop_;
};

// Says something, and goes on when it has long been given up.
class DeafModel final : public llm::Model {
 public:
  void Chat(llm::ChatRequest, std::stop_token, OnDelta on_delta, OnResult done) override {
    on_delta({.text = "Hello, wor"});
    on_delta_ = std::move(on_delta);
    done_ = std::move(done);
  }
  void GoOn() { on_delta_({.text = "ld"}); }
  void End() {
    on_delta_ = nullptr;  // what it holds, holds this
    std::exchange(done_, {})(llm::MakeError(llm::ErrorClass::kCanceled, "at last"));
  }

 private:
  OnDelta on_delta_;
  OnResult done_;
};

class AgentStreamTest : public ::testing::TestWithParam<size_t> {
 protected:
  AgentStreamTest() {
    agent_.name = "A";
    agent_.model = "m";
    agent_.tools = {MakeTool("add", "Adds.", [](const agent_test::Sum& sum) { return sum.a + 1; })};
  }
  marathon::Run Start(std::shared_ptr<llm::Model> model) {
    Registry registry;
    Bind(registry, agent_, std::move(model));
    env_.emplace(registry, testing::TestEnvironmentOptions{.cache_runs = GetParam()});
    auto run = env_->engine().Start("A", Ask("hi"));
    EXPECT_TRUE(run.ok()) << run.status();
    return *run;
  }
  static Result ResultOf(const marathon::Run& run) {
    auto result = run.Result<Result>();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.value_or(Result());
  }
  std::vector<StreamEvent> EventsOf(const marathon::Run& run, uint64_t after = 0) {
    return agent_stream_test::EventsOf(env_->engine().streams(), run, after);
  }

  Agent agent_;
  std::shared_ptr<llm::ScriptedModel> model_ = std::make_shared<llm::ScriptedModel>();
  std::optional<testing::TestEnvironment> env_;
};

TEST_P(AgentStreamTest, AnAnswerFromItsBeginToItsEnd) {
  model_->Says("Hello you");
  const marathon::Run run = Start(model_);
  const Result result = ResultOf(run);
  const auto events = EventsOf(run);
  const auto lines = Lines(events);
  ASSERT_GE(lines.size(), 4u);
  EXPECT_EQ(lines.front(), "step_begin 1 m");
  EXPECT_EQ(lines[lines.size() - 2], "step_done 1");
  EXPECT_EQ(lines.back(), "done done");
  EXPECT_EQ(ViewOf(events).Text(), result.text);
  // The digest is the conversation's, so a reader knows that it has what the history has.
  const auto history = run.History();
  ASSERT_TRUE(history.ok());
  bool found = false;
  for (const Event& event : *history) {
    const auto* completed = std::get_if<ActivityCompleted>(&event.body);
    if (completed == nullptr) continue;
    found = found || completed->result.data.find(events[events.size() - 2].text) != std::string::npos;
  }
  EXPECT_TRUE(found);
}

TEST_P(AgentStreamTest, AnAttemptThatBrokeOffIsTakenBack) {
  const marathon::Run run = Start(std::make_shared<BreakingModel>(2));
  EXPECT_EQ(ResultOf(run).text, "Hello again");
  const auto events = EventsOf(run);
  int begins = 0;
  for (const StreamEvent& event : events) begins += event.kind == Kind::kStepBegin ? 1 : 0;
  EXPECT_EQ(begins, 3);
  EXPECT_EQ(ViewOf(events).Text(), "Hello again");
}

TEST_P(AgentStreamTest, ToolsAndPeopleAreSeen) {
  agent_.tools[0].options.approve = Always();
  agent_.tools[0].options.approval_timeout = std::chrono::hours(48);
  model_->CallsTool("add", R"({"a": 1})").Says("2");
  const marathon::Run run = Start(model_);
  env_->RunUntilIdle();
  EXPECT_THAT(Lines(EventsOf(run)),
              ElementsAre("step_begin 1 m", "tool_call 1 add", R"(tool_args 1 {"a": 1})", "step_done 1",
                          R"(approval_request 1 {"a":1})"));
  const auto pending = Pending(run);
  ASSERT_TRUE(pending.ok() && pending->size() == 1) << pending.status();
  PendingApproval seen = AsPending(EventsOf(run).back());
  seen.asked = pending->front().asked;
  EXPECT_EQ(seen, pending->front()) << "a reader may decide from what it has read";
  EXPECT_EQ(EventsOf(run).front().attempt, 1);
  EXPECT_EQ(EventsOf(run).front().turn, 1);
  ASSERT_TRUE(Approve(run, AsPending(EventsOf(run).back())).ok());
  EXPECT_EQ(ResultOf(run).text, "2");
  auto lines = Lines(EventsOf(run));
  lines.erase(lines.begin(), lines.begin() + 5);
  EXPECT_THAT(lines, ElementsAre("approval_decision 1 approve", "tool_result 1 2", "step_begin 2 m", "delta 2 2",
                                 "step_done 2", "done done"));
}

TEST_P(AgentStreamTest, ToolsSayHowFarTheyAre) {
  agent_.tools = {MakeTool("add", "Adds.", [](ToolContext& ctx, const agent_test::Sum& sum) {
    ctx.Progress("begun");
    ctx.Progress(0.5, "half");
    return sum.a + 1;
  })};
  model_->CallsTool("add", R"({"a": 1})").Says("2");
  const marathon::Run run = Start(model_);
  EXPECT_EQ(ResultOf(run).text, "2");
  const auto events = EventsOf(run);
  auto lines = Lines(events);
  lines.erase(lines.begin(), lines.begin() + 4);
  EXPECT_THAT(lines, ElementsAre("tool_progress 1 begun", "tool_progress 1 half", "tool_result 1 2", "step_begin 2 m",
                                 "delta 2 2", "step_done 2", "done done"));
  EXPECT_EQ(events[5].fraction, 0.5);
  EXPECT_EQ(events[5].id, events[6].id) << "the call's";
}

// Side by side: each has its own progress and its own result.
TEST_P(AgentStreamTest, TwoCallsOfOneToolAreTwo) {
  agent_.tools = {MakeTool("add", "Adds.", [](ToolContext& ctx, const agent_test::Sum& sum) {
    ctx.Progress("at " + std::to_string(sum.a));
    return sum.a + 1;
  })};
  model_->CallsTools({{.id = "x", .name = "add", .arguments = R"({"a": 1})"},
                      {.id = "y", .name = "add", .arguments = R"({"a": 5})"}})
      .Says("2 and 6");
  const marathon::Run run = Start(model_);
  EXPECT_EQ(ResultOf(run).text, "2 and 6");
  std::map<std::string, std::vector<std::string>> by_call;
  for (const StreamEvent& event : EventsOf(run)) {
    if (event.kind == Kind::kToolProgress || event.kind == Kind::kToolResult) by_call[event.id].push_back(event.text);
  }
  EXPECT_THAT(by_call, ElementsAre(std::pair("x", std::vector<std::string>{"at 1", "2"}),
                                   std::pair("y", std::vector<std::string>{"at 5", "6"})));
}

TEST_P(AgentStreamTest, AnEndThatIsNoAnswerIsSeen) {
  agent_.budget.steps = 1;
  model_->CallsTool("add", R"({"a": 1})");
  const marathon::Run run = Start(model_);
  EXPECT_EQ(ResultOf(run).stop, StopReason::kBudget);
  EXPECT_EQ(Lines(EventsOf(run)).back(), "done budget");
}

// A run that is open for long keeps whole answers, and not each of their pieces.
TEST_P(AgentStreamTest, PiecesAreCollectedOnceTheStepIsDone) {
  std::string words;
  for (int i = 0; i < 100; ++i) words += "word" + std::to_string(i) + " ";
  llm::ChatResponse first{.model = "m", .stop_reason = llm::StopReason::kToolCalls, .usage = {.input = 9, .output = 8}};
  first.blocks = {llm::Text{words}, llm::ToolCall{"c", "add", R"({"a": 1})"}};
  model_->Answers(first).Says("2");
  const marathon::Run run = Start(model_);
  EXPECT_EQ(ResultOf(run).text, "2");
  const auto events = EventsOf(run);
  EXPECT_THAT(Lines(events),
              ElementsAre("snapshot 1 m", "delta 1 " + words, "tool_call 1 add", R"(tool_args 1 {"a": 1})", "usage 1",
                          "step_done 1", "tool_result 1 2", "step_begin 2 m", "delta 2 2", "step_done 2", "done done"));
  EXPECT_EQ(ViewOf(events).Text(), words + "2");
  EXPECT_EQ(events[4].usage, first.usage);
  // Whoever was in the middle, has the same in the end.
  StreamView middle;
  middle.Apply({.kind = Kind::kStepBegin, .step = 1});
  middle.Apply({.step = 1, .text = "word0 wor"});
  for (const StreamEvent& event : EventsOf(run, events.front().seq - 50)) middle.Apply(event);
  EXPECT_EQ(middle.Text(), words + "2");
}

TEST_P(AgentStreamTest, AStopIsSeenBehindWhatWasSaid) {
  const marathon::Run run = Start(std::make_shared<SilentModel>());
  env_->RunUntilIdle();
  ASSERT_TRUE(Stop(run, "enough").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.text, "Hello, wor");
  const auto events = EventsOf(run);
  EXPECT_THAT(Lines(events), ElementsAre("step_begin 1 m", "delta 1 Hello, wor", "step_done 1", "done stopped"));
  EXPECT_EQ(ViewOf(events).Text(), result.text);
}

// Each call has one, whoever makes it.
// Behind the end there is nothing, whoever still speaks.
TEST_P(AgentStreamTest, AWorkerThatWasGivenUpIsNotHeardBehindTheEnd) {
  const auto deaf = std::make_shared<DeafModel>();
  const marathon::Run run = Start(deaf);
  env_->RunUntilIdle();
  ASSERT_TRUE(Stop(run, "enough").ok());
  EXPECT_EQ(ResultOf(run).stop, StopReason::kStopped);
  const auto before = EventsOf(run);
  ASSERT_FALSE(before.empty());
  EXPECT_EQ(before.back().kind, Kind::kDone);
  EXPECT_EQ(ViewOf(before).Text(), "Hello, wor");
  deaf->GoOn();
  env_->RunUntilIdle();
  EXPECT_EQ(Lines(EventsOf(run)), Lines(before));
  deaf->End();
}

TEST_P(AgentStreamTest, ResultsThatNoToolHasGivenAreSeen) {
  agent_.tools.push_back(MakeTool("wait", "Waits.", [](const agent_test::Sum&) { return 0; },
                                  {.approve = Always(), .approval_timeout = std::chrono::hours(1)}));
  agent_.budget.tool_calls = 3;
  const auto call = [](std::string id, std::string name, std::string arguments) {
    return llm::ToolCall{.id = std::move(id), .name = std::move(name), .arguments = std::move(arguments)};
  };
  model_->CallsTools({call("bad", "add", "{}"), call("none", "sing", "{}"), call("late", "wait", R"({"a": 1})")})
      .CallsTools({call("poor", "add", R"({"a": 1})")});
  const marathon::Run run = Start(model_);
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kBudget);
  std::map<std::string, std::string> seen;
  const auto events = EventsOf(run);
  for (const StreamEvent& event : events) {
    if (event.kind != Kind::kToolResult) continue;
    EXPECT_TRUE(event.is_error);
    EXPECT_TRUE(seen.emplace(event.id, event.text).second) << event.id;
  }
  EXPECT_THAT(seen, ElementsAre(Pair("bad", HasSubstr("do not fit")), Pair("late", HasSubstr("in time")),
                                Pair("none", HasSubstr("no tool of this name")), Pair("poor", HasSubstr("budget"))));
  EXPECT_EQ(events.back().why, "tool_calls");
}

TEST_P(AgentStreamTest, NobodyHasToSpeak) {
  agent_.stream = false;
  model_->CallsTool("add", R"({"a": 1})").Says("2");
  const marathon::Run run = Start(model_);
  EXPECT_EQ(ResultOf(run).text, "2");
  EXPECT_THAT(EventsOf(run), IsEmpty());
  EXPECT_THAT(env_->Inputs<PublishTask>("A/publish"), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Cache, AgentStreamTest, ::testing::Values(0, 1'000),
                         [](const auto& setup) { return setup.param == 0 ? "NoCache" : "Cached"; });

// ---- Logs that fail, and readers that come and go

// Refuses what steps of the model write, as long as it is told to.
class AwayLog final : public StreamLog {
 public:
  AwayLog(std::shared_ptr<StreamLog> base, Status status) : base_(std::move(base)), status_(std::move(status)) {}
  void Append(AppendFrames request, Done<uint64_t> done) override {
    const bool model = request.step.starts_with("model/") && request.fence != ~uint64_t{0};
    if (model && left_-- > 0) return done(status_);
    base_->Append(std::move(request), std::move(done));
  }
  uint64_t Read(ReadFrames request, Done<FramePage> done) override {
    return base_->Read(std::move(request), std::move(done));
  }
  void CancelRead(uint64_t name) override { base_->CancelRead(name); }
  void Trim(std::string stream, uint64_t seq, DoneStatus done) override {
    base_->Trim(std::move(stream), seq, std::move(done));
  }
  void Sweep(int limit, Done<int64_t> done) override { base_->Sweep(limit, std::move(done)); }

 private:
  const std::shared_ptr<StreamLog> base_;
  const Status status_;
  std::atomic<int> left_ = 3;  // more than a writer tries
};

// An agent over a log that fails so; its events.
std::vector<StreamEvent> EventsOver(const Status& status, std::string* text) {
  auto model = std::make_shared<llm::ScriptedModel>();
  model->CallsTool("add", R"({"a": 1})").Says("It is two");
  Agent agent{.name = "A", .model = "m"};
  agent.tools = {MakeTool("add", "Adds.", [](const agent_test::Sum& sum) { return sum.a + 1; })};
  Registry registry;
  Bind(registry, agent, model);
  ThreadRuntime runtime(1, 1);
  Ports ports = NewMemoryPorts(runtime);
  ports.streams = std::make_shared<AwayLog>(ports.streams, status);
  std::vector<StreamEvent> events;
  {
    auto engine = Engine::Open(ports, registry, {});
    EXPECT_TRUE(engine.ok()) << engine.status();
    auto run = engine->Start("A", Ask("hi"));
    const auto result = run->Result<Result>(kPatience);
    EXPECT_TRUE(result.ok()) << result.status();
    *text = result.value_or(Result()).text;
    events = EventsOf(engine->streams(), *run);
  }
  runtime.Stop();
  return events;
}

TEST(AgentStreamFaults, WhatTheLogCouldNotTakeIsSaidOnceTheStepIsRecorded) {
  std::string text;
  const auto events = EventsOver(Unavailable("away"), &text);
  const StreamView view = ViewOf(events);
  EXPECT_EQ(view.Text(), text);
  EXPECT_TRUE(view.IsDone(1));
  EXPECT_TRUE(view.IsDone(2));
  const auto lines = Lines(events);
  EXPECT_THAT(std::vector(lines.begin(), lines.begin() + 4),
              ElementsAre("step_begin 1 scripted", "tool_call 1 add", R"(tool_args 1 {"a": 1})", "step_done 1"));
}

TEST(AgentStreamFaults, AStoreWithoutStreamsIsNoReasonToFail) {
  std::string text;
  EventsOver(Unimplemented("none"), &text);
  EXPECT_EQ(text, "It is two");
}

// A worker that shuts down in the middle of an answer has not been stopped by anybody: another one gives the whole.
TEST(AgentStreamFaults, AShutdownIsNoStop) {
  Agent agent{.name = "A", .model = "m"};
  ThreadRuntime runtime(1, 1);
  const Ports ports = NewMemoryPorts(runtime);
  const auto open = [&](std::shared_ptr<llm::Model> model) {
    Registry registry;
    Bind(registry, agent, std::move(model));
    return Engine::Open(ports, registry, {});
  };
  Id run_id;
  {
    auto engine = open(std::make_shared<SilentModel>());
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto run = engine->Start("A", Ask("hi"), {.workflow_id = "w"});
    ASSERT_TRUE(run.ok()) << run.status();
    run_id = run->run_id();
    StreamReader reader(engine->streams(), StreamOf(run_id));
    StreamView view;
    while (view.Text().empty()) {
      const auto events = reader.Next(kPatience);
      ASSERT_TRUE(events.ok() && !events->empty()) << events.status();
      for (const StreamEvent& event : *events) view.Apply(event);
    }
  }
  auto model = std::make_shared<llm::ScriptedModel>();
  model->Says("Hello, world");
  {
    auto engine = open(model);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const auto result = engine->Find("w").Result<Result>(kPatience);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->stop, StopReason::kDone);
    EXPECT_EQ(result->text, "Hello, world");
    model->Says("Hello, world");
    const auto other = engine->Start("A", Ask("hi"))->Result<Result>(kPatience);
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_EQ(result->spent.usage.input, 2 * other->spent.usage.input) << "the half answer has cost, too";
    EXPECT_EQ(ViewOf(EventsOf(engine->streams(), engine->Find("w", run_id.str()))).Text(), "Hello, world");
  }
  runtime.Stop();
}

TEST(AgentStreamFaults, AReaderThatWaitsIsTold) {
  auto model = std::make_shared<llm::ScriptedModel>();
  model->Says("Hello you");
  Agent agent{.name = "A", .model = "m"};
  Registry registry;
  Bind(registry, agent, model);
  auto engine = Engine::Open("memory:", registry);
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("A", Ask("hi"));
  ASSERT_TRUE(run.ok()) << run.status();
  StreamReader reader(engine->streams(), StreamOf(run->run_id()));
  StreamView view;
  for (bool done = false; !done;) {
    const auto events = reader.Next(kPatience);
    ASSERT_TRUE(events.ok()) << events.status();
    ASSERT_FALSE(events->empty()) << "the end never came";
    for (const StreamEvent& event : *events) {
      view.Apply(event);
      done = done || event.kind == Kind::kDone;
    }
  }
  EXPECT_EQ(view.Text(), "Hello you");
}

class AgentWatchTest : public ::testing::Test {
 protected:
  AgentWatchTest() {
    agent_.tools = {MakeTool("add", "Adds.", [](const agent_test::Sum& sum) { return sum.a + 1; },
                             {.approve = Always()})};
    model_->CallsTool("add", R"({"a": 1})").Says("It is two");
    Registry registry;
    Bind(registry, agent_, model_);
    engine_.emplace(Engine::Open("memory:", registry).value());
  }
  marathon::Run Start() { return engine_->Start("A", Ask("hi")).value(); }

  Agent agent_{.name = "A", .model = "m"};
  std::shared_ptr<llm::ScriptedModel> model_ = std::make_shared<llm::ScriptedModel>();
  std::optional<Engine> engine_;
};

TEST_F(AgentWatchTest, ShowsAllToTheEndAndTheRestToOneThatComesBack) {
  const marathon::Run run = Start();
  std::vector<StreamEvent> seen;
  const Status watched = Watch(*engine_, run, [&](const StreamEvent& event) {
    seen.push_back(event);
    if (event.kind != Kind::kApproval) return;
    EXPECT_TRUE(Approve(run, AsPending(event)).ok());
  });
  EXPECT_TRUE(watched.ok()) << watched;
  EXPECT_EQ(ViewOf(seen).Text(), "It is two");
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().kind, Kind::kDone);
  EXPECT_EQ(run.Result<Result>(Duration(0))->text, "It is two") << "it ends with the run";

  std::vector<StreamEvent> rest;
  const uint64_t cursor = seen[seen.size() - 2].seq;
  const Status again = Watch(*engine_, engine_->Find(run.workflow_id().str()),
                             [&](const StreamEvent& event) { rest.push_back(event); }, cursor);
  EXPECT_TRUE(again.ok()) << again;
  EXPECT_THAT(rest, ElementsAre(seen.back()));
}

// Its stream has no end.
TEST_F(AgentWatchTest, EndsWithARunThatIsTerminated) {
  const marathon::Run run = Start();
  bool asked = false;
  const Status watched = Watch(*engine_, run, [&](const StreamEvent& event) {
    if (event.kind != Kind::kApproval) return;
    asked = true;
    EXPECT_TRUE(run.Terminate("enough").ok());
  });
  EXPECT_TRUE(watched.ok()) << watched;
  EXPECT_TRUE(asked);
}

TEST_F(AgentWatchTest, TellsThatThereIsNoSuchRun) {
  const Status watched = Watch(*engine_, engine_->Find("nobody"), [](const StreamEvent&) {});
  EXPECT_EQ(watched.code(), StatusCode::kNotFound) << watched;
}

}  // namespace
}  // namespace marathon::agent::agent_stream_test
