// Sessions: turns one at a time, what they may spend, how they end, and how a long one goes on as a new run. Each test
// runs with live coroutines kept between turns and with none, and each turn is replayed and compared; at the end a
// cluster whose workers crash.
// needs: agent testing
// program: agent
#include <gmock/gmock.h>

#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../sanitized.h"
#include "fixture.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/limits.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/testing/test_environment.h"
#include "marathon/testing/workflow_simulator.h"

namespace agent_test {

struct Letter {
  std::string to;
};
MARATHON_TOOL_INPUT(Letter, (to, "whom"))

}  // namespace agent_test

namespace marathon::agent::agent_session_test {
namespace {

using namespace std::chrono_literals;
using agent_test::Letter;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::string_view kBad = "unreadable";  // to the provider, whoever sends it, and whenever

// Writes a letter first if it is told to; then says what it was told, in short.
llm::ChatResult AnswerTo(const llm::ChatRequest& request) {
  llm::ChatResponse response{.model = "m", .usage = {.input = 10, .output = 5}};
  const llm::Message& last = request.messages.back();
  const auto* result = std::get_if<llm::ToolResult>(&last.blocks.front());
  const std::string text = llm::TextOf(last.blocks).substr(0, 20);
  for (const llm::Message& message : request.messages) {
    if (llm::TextOf(message.blocks) == kBad) return llm::Error{.error_class = llm::ErrorClass::kBadRequest, .retryable = false};
  }
  if (result == nullptr && text.starts_with("write to ")) {
    response.stop_reason = llm::StopReason::kToolCalls;
    response.blocks = {llm::Text{"I shall."}, llm::ToolCall{"c", "write", R"({"to": ")" + text.substr(9) + R"("})"}};
  } else {
    response.blocks = {llm::Text{"re: " + (result == nullptr ? text : result->text)}};
  }
  return response;
}

class AgentSessionTest : public ::testing::TestWithParam<size_t> {
 protected:
  AgentSessionTest() {
    agent_.name = "A";
    agent_.model = "m";
    agent_.tools = {MakeTool("write", "Writes a letter.", [this](ToolContext& ctx, const Letter& letter) {
      keys_.push_back(ctx.idempotency_key());
      return "wrote to " + letter.to;
    }, {.timeout = 1h})};
  }
  testing::TestEnvironment& env() {
    if (!env_) {
      Registry registry;
      BindSession(registry, agent_, model_, options_);
      env_.emplace(registry, testing::TestEnvironmentOptions{.verify_determinism = verify_, .cache_runs = GetParam(), .log = log_});
    }
    return *env_;
  }
  marathon::Run Start() {
    auto run = env().engine().Start("A/session", SessionInput(), {.workflow_id = "s"});
    EXPECT_TRUE(run.ok()) << run.status();
    return *run;
  }
  static Result Said(const marathon::Run& run, std::string text, UpdateOptions options = {}) {
    const auto result = Say(run, std::move(text), std::move(options));
    EXPECT_TRUE(result.ok()) << result.status();
    return result.value_or(Result());
  }
  static UpdateHandle Begun(const marathon::Run& run, std::string text, std::string id = "") {
    auto update = run.StartUpdate(kSay, Ask(std::move(text)), {.update_id = std::move(id)});
    EXPECT_TRUE(update.ok()) << update.status();
    return *update;
  }
  static std::string TextOf(const UpdateHandle& update) {
    const auto result = update.Result<Result>();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->text : "";
  }
  static std::string TypeOf(const Status& status) {
    const auto failure = GetFailure(status);
    return failure ? failure->type : "";
  }
  Id NewestRun() {
    const auto description = env().engine().Find("s").Describe();
    EXPECT_TRUE(description.ok()) << description.status();
    return description.ok() ? description->run.key.run_id : Id();
  }
  // Its history is so long then that it goes on after the next turn. Stops between turns are forgotten.
  void MakeLong(const marathon::Run& run) {
    ASSERT_TRUE(run.Pause().ok());  // so that they come in few turns
    for (int64_t i = 0; i < limits::kHistoryHintEvents; ++i) ASSERT_TRUE(Stop(run, "").ok());
    ASSERT_TRUE(run.Resume().ok());
    env().RunUntilIdle();
  }
  static SessionResult EndOf(const marathon::Run& run) {
    const auto end = run.Result<SessionResult>();
    EXPECT_TRUE(end.ok()) << end.status();
    return end.value_or(SessionResult());
  }

  Agent agent_;
  SessionOptions options_;
  bool verify_ = true;
  std::vector<std::string> keys_;
  std::shared_ptr<llm::ScriptedModel> model_ = std::make_shared<llm::ScriptedModel>(AnswerTo);
  std::shared_ptr<tests::CollectingLog> log_ = std::make_shared<tests::CollectingLog>();
  std::optional<testing::TestEnvironment> env_;
};

// ---- Turns

TEST_P(AgentSessionTest, AMessageThatTheProviderRefusesGoesWithItsTurn) {
  const marathon::Run run = Start();
  EXPECT_EQ(Said(run, "hello").text, "re: hello");
  const Result refused = Said(run, std::string(kBad));
  EXPECT_EQ(refused.stop, StopReason::kFailed);
  EXPECT_EQ(refused.why, "BadRequest");
  EXPECT_EQ(Said(run, "and?").text, "re: and?");
  EXPECT_THAT(model_->requests().back().messages,
              ElementsAre(llm::UserMessage("hello"), llm::AssistantMessage("re: hello"), llm::UserMessage("and?")));
}

TEST_P(AgentSessionTest, SignalsThatCannotBeReadFailNothing) {
  const marathon::Run run = Start();
  for (const char* signal : {"agent.decide", "agent.steer", "agent.stop"}) {
    EXPECT_EQ(run.SignalPayload(signal, Payload()), Status());
    EXPECT_EQ(run.SignalPayload(signal, Payload{"{", Encoding::kJson}), Status());
  }
  EXPECT_EQ(Said(run, "hello").text, "re: hello");
  EXPECT_EQ(run.SignalPayload("agent.close", Payload()), Status());
  EXPECT_EQ(EndOf(run).why, "closed");
}

// Method: a stop for the first turn comes when the second one, whose message waited, is on.
TEST_P(AgentSessionTest, ALateStopEndsNoOtherTurn) {
  const marathon::Run run = Start();
  env().Mock("A/tool/write", [](const ToolTask&) { return ToolReply{.text = "wrote"}; }, {.delay = 30min});
  const UpdateHandle first = Begun(run, "write to Ann");
  const UpdateHandle second = Begun(run, "write to Bob");
  env().RunUntilIdle();
  EXPECT_EQ(SessionOf(run).value().turn, 1);
  EXPECT_EQ(StatusOf(run).value().turn, 1);
  EXPECT_EQ(SessionOf(run).value().waiting, 1);
  env().Advance(31min);
  env().RunUntilIdle();
  ASSERT_EQ(SessionOf(run).value().turn, 2);
  ASSERT_TRUE(StopTurn(run, 1, "too late").ok());
  ASSERT_TRUE(StopTurn(run, 3, "too early").ok());
  EXPECT_EQ(first.Result<Result>().value().stop, StopReason::kDone);
  EXPECT_EQ(second.Result<Result>().value().stop, StopReason::kDone);
  EXPECT_EQ(TextOf(second), "re: wrote");

  const UpdateHandle third = Begun(run, "write to Cy");
  env().RunUntilIdle();
  ASSERT_TRUE(StopTurn(run, 3, "enough").ok());
  const auto stopped = third.Result<Result>();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->stop, StopReason::kStopped);
  EXPECT_EQ(stopped->why, "enough");
  EXPECT_EQ(SessionOf(run).value().turn, 0);
  EXPECT_EQ(Said(run, "hello").text, "re: hello");
}

// Method: the session has gone on as a new run, and its turns count on.
TEST_P(AgentSessionTest, TurnsKeepTheirNumbersInTheNextRun) {
  const marathon::Run run = Start();
  MakeLong(run);
  EXPECT_EQ(Said(run, "hello").text, "re: hello");
  env().RunUntilIdle();
  ASSERT_NE(NewestRun(), run.run_id());
  const marathon::Run next = env().engine().Find("s");
  env().Mock("A/tool/write", [](const ToolTask&) { return ToolReply{.text = "wrote"}; }, {.delay = 30min});
  const UpdateHandle second = Begun(next, "write to Ann");
  env().RunUntilIdle();
  EXPECT_EQ(SessionOf(next).value().turn, 2);
  ASSERT_TRUE(StopTurn(next, 1, "too late").ok());
  ASSERT_TRUE(StopTurn(next, 2, "enough").ok());
  EXPECT_EQ(second.Result<Result>().value().why, "enough");
}

TEST_P(AgentSessionTest, TheConversationGoesOn) {
  const marathon::Run run = Start();
  EXPECT_EQ(Said(run, "hello").text, "re: hello");
  env().Advance(24h * 30);
  const Result second = Said(run, "and?");
  EXPECT_EQ(second.text, "re: and?");
  EXPECT_EQ(second.spent, (Spending{.steps = 1, .usage = {.input = 10, .output = 5}}));
  EXPECT_THAT(model_->requests().at(1).messages,
              ElementsAre(llm::UserMessage("hello"), llm::AssistantMessage("re: hello"), llm::UserMessage("and?")));
  const auto status = SessionOf(run);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->turns, 2);
  EXPECT_FALSE(status->busy);
  EXPECT_EQ(status->spent.steps, 2);
  const auto tasks = env().Inputs<ModelTask>("A/model");
  ASSERT_THAT(tasks, SizeIs(2));
  EXPECT_EQ(tasks[1].step, 2);
  EXPECT_THAT(tasks[1].messages, SizeIs(1));
}

TEST_P(AgentSessionTest, OneTurnAtATimeInTheOrderOfArrival) {
  const marathon::Run run = Start();
  env().Mock("A/tool/write", [](const ToolTask& task) { return ToolReply{.text = task.arguments}; }, {.delay = 1min});
  const Time began = env().Now();
  std::vector<UpdateHandle> said;
  for (const char* text : {"write to x", "write to y", "hello"}) said.push_back(Begun(run, text));
  env().Advance(30s);
  const auto status = SessionOf(run);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_TRUE(status->busy);
  EXPECT_EQ(status->waiting, 2);
  EXPECT_EQ(TextOf(said[2]), "re: hello");
  EXPECT_EQ(env().Now() - began, 2min);
  EXPECT_EQ(TextOf(said[0]), "re: {\"to\":\"x\"}");
  EXPECT_EQ(TextOf(said[1]), "re: {\"to\":\"y\"}");
}

TEST_P(AgentSessionTest, ATurnThatIsSaidTwiceIsOne) {
  const marathon::Run run = Start();
  const Result first = Said(run, "write to x", {.update_id = "u"});
  EXPECT_EQ(Said(run, "write to x", {.update_id = "u"}), first);
  EXPECT_THAT(keys_, SizeIs(1));
  EXPECT_EQ(SessionOf(run)->turns, 1);
}

// Keys, readers and the ids of children go by the step: so it never comes again in a run.
TEST_P(AgentSessionTest, StepsCountOn) {
  const marathon::Run run = Start();
  Said(run, "write to x");
  Said(run, "write to x");
  const std::string id = run.run_id().str();
  EXPECT_THAT(keys_, ElementsAre(id + "/1/c", id + "/3/c"));
  StreamReader reader(env().engine().streams(), StreamOf(run.run_id()));
  const auto events = reader.Next(Duration(0));
  ASSERT_TRUE(events.ok()) << events.status();
  StreamView view;
  int ends = 0;
  for (const StreamEvent& event : *events) {
    view.Apply(event);
    ends += event.kind == StreamEvent::Kind::kDone ? 1 : 0;
  }
  EXPECT_EQ(view.TextOf(4), "re: wrote to x");
  EXPECT_EQ(ends, 2);
}

TEST_P(AgentSessionTest, APersonMayTakeDays) {
  agent_.tools[0].options.approve = Always();
  const marathon::Run run = Start();
  const UpdateHandle said = Begun(run, "write to x");
  env().Advance(24h * 3);
  const auto pending = Pending(run);
  ASSERT_TRUE(pending.ok() && pending->size() == 1) << pending.status();
  ASSERT_TRUE(Approve(run, pending->front()).ok());
  EXPECT_EQ(TextOf(said), "re: wrote to x");
}

TEST_P(AgentSessionTest, AStopIsOfTheTurnThatIsOn) {
  agent_.tools[0].options.approve = Always();
  const marathon::Run run = Start();
  const UpdateHandle said = Begun(run, "write to x");
  env().RunUntilIdle();
  ASSERT_TRUE(Stop(run, "enough").ok());
  const auto result = said.Result<Result>();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stop, StopReason::kStopped);
  EXPECT_EQ(result->text, "I shall.");
  ASSERT_TRUE(Stop(run, "too late").ok());
  env().RunUntilIdle();
  EXPECT_EQ(Said(run, "hello").stop, StopReason::kDone);
}

// No provider takes a call without its result.
TEST_P(AgentSessionTest, CallsThatNobodyMadeAreAnswered) {
  const marathon::Run run = Start();
  llm::ChatResponse refused{.model = "m", .stop_reason = llm::StopReason::kRefused};
  refused.blocks = {llm::ToolCall{"c", "write", "{}"}};
  model_->Answers(refused);
  EXPECT_EQ(Said(run, "hello").stop, StopReason::kRefused);
  EXPECT_EQ(Said(run, "again").stop, StopReason::kDone);
  const auto messages = model_->requests().back().messages;
  ASSERT_THAT(messages, SizeIs(4));
  EXPECT_EQ(std::get<llm::ToolResult>(messages[2].blocks.at(0)).call_id, "c");
}

TEST_P(AgentSessionTest, ATurnMayGiveAllThatWasSaid) {
  const marathon::Run run = Start();
  Said(run, "hello");
  Input input = Ask("and?");
  input.keep_messages = true;
  const auto result = Say(run, input);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->messages, SizeIs(4));
  // … which another session may begin with.
  SessionInput before;
  before.messages = result->messages;
  const auto other = env().engine().Start("A/session", before);
  ASSERT_TRUE(other.ok()) << other.status();
  Said(*other, "so?");
  EXPECT_THAT(model_->requests().back().messages, SizeIs(5));
}

// ---- Budgets

TEST_P(AgentSessionTest, EachTurnHasABudgetAndAllOfThemOne) {
  agent_.budget.steps = 2;
  options_.budget = {.steps = 4, .tool_calls = 0};
  const marathon::Run run = Start();
  EXPECT_EQ(Said(run, "write to x").spent.steps, 2);
  Input input = Ask("write to x");
  input.budget = Budget{.steps = 1, .tool_calls = 0};
  auto result = Say(run, input);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->why, "steps") << "its own";
  const Result third = Said(run, "write to x");
  EXPECT_EQ(third.why, "steps") << "one is left";
  EXPECT_EQ(third.spent.steps, 1);
  const Result fourth = Said(run, "hello");
  EXPECT_EQ(fourth.stop, StopReason::kBudget);
  EXPECT_EQ(fourth.why, "steps");
  EXPECT_EQ(fourth.spent.steps, 0);
  EXPECT_EQ(SessionOf(run)->spent.steps, 4);
}

// ---- Ends

TEST_P(AgentSessionTest, NobodySaysAnything) {
  options_.idle_timeout = 1h;
  const marathon::Run run = Start();
  env().Advance(50min);
  Said(run, "hello");
  env().Advance(50min);
  Said(run, "hello");
  env().Advance(61min);
  const SessionResult end = EndOf(run);
  EXPECT_EQ(end.why, "idle");
  EXPECT_EQ(end.turns, 2);
  EXPECT_EQ(end.spent.steps, 2);
  EXPECT_EQ(Say(run, "hello").status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(AgentSessionTest, ClosedOnceAllHaveTheirAnswers) {
  const marathon::Run run = Start();
  env().Mock("A/tool/write", [](const ToolTask&) { return ToolReply{.text = "ok"}; }, {.delay = 1min});
  const UpdateHandle first = Begun(run, "write to x"), second = Begun(run, "write to y");
  env().Advance(30s);
  ASSERT_TRUE(Close(run, "good night").ok());
  env().RunUntilIdle();
  const auto late = Say(run, "hello");
  EXPECT_EQ(late.status().code(), StatusCode::kInvalidArgument) << late.status();
  EXPECT_EQ(TypeOf(late.status()), "Closed");
  EXPECT_EQ(TextOf(second), "re: ok");
  EXPECT_EQ(TextOf(first), "re: ok");
  EXPECT_EQ(EndOf(run), (SessionResult{.why = "closed", .reason = "good night", .turns = 2,
                                       .spent = {.steps = 4, .tool_calls = 2, .usage = {.input = 40, .output = 20}}}));
}

TEST_P(AgentSessionTest, WhatIsTurnedAway) {
  options_.max_waiting = 1;
  const marathon::Run run = Start();
  env().Mock("A/tool/write", [](const ToolTask&) { return ToolReply{.text = "ok"}; }, {.delay = 1min});
  const UpdateHandle first = Begun(run, "write to x");
  env().RunUntilIdle();
  const UpdateHandle second = Begun(run, "write to y");
  EXPECT_EQ(TypeOf(Say(run, "hello").status()), "Busy");
  EXPECT_EQ(TypeOf(Say(run, Input()).status()), "Empty");
  EXPECT_EQ(TextOf(second), "re: ok");
  EXPECT_EQ(Said(run, "hello").text, "re: hello");
}

TEST_P(AgentSessionTest, ACanceledSessionIsCanceled) {
  agent_.tools[0].options.approve = Always();
  const marathon::Run run = Start();
  const UpdateHandle said = Begun(run, "write to x");
  env().RunUntilIdle();
  ASSERT_TRUE(run.Cancel("enough").ok());
  EXPECT_EQ(run.Result<SessionResult>().status().code(), StatusCode::kCancelled);
  EXPECT_FALSE(said.Result<Result>().ok());
}

// ---- Long ones

TEST_P(AgentSessionTest, ALongOneGoesOnAsANewRun) {
  options_.budget = {.steps = 100, .tool_calls = 0};
  const marathon::Run run = Start();
  Said(run, "hello");
  MakeLong(run);
  EXPECT_EQ(NewestRun(), run.run_id()) << "with the next turn";
  Said(run, "hello");
  env().RunUntilIdle();
  EXPECT_NE(NewestRun(), run.run_id());
  const Result result = Said(run, "write to x");
  EXPECT_EQ(result.text, "re: wrote to x");
  EXPECT_THAT(model_->requests().back().messages, SizeIs(7));
  EXPECT_EQ(model_->requests().back().messages.front(), llm::UserMessage("hello"));
  // No step sends anew what is kept.
  for (const ModelTask& task : env().Inputs<ModelTask>("A/model")) EXPECT_THAT(task.messages, SizeIs(1));
  EXPECT_THAT(keys_, ElementsAre(NewestRun().str() + "/1/c"));
  EXPECT_EQ(SessionOf(run)->turns, 3);
  EXPECT_EQ(SessionOf(run)->spent.steps, 4);
  StreamReader reader(env().engine().streams(), StreamOf(run.run_id()));
  const auto events = reader.Next(Duration(0));
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ(events->back().kind, StreamEvent::Kind::kDone);
  EXPECT_EQ(events->back().text, "continued");
  ASSERT_TRUE(Close(run).ok());
  EXPECT_EQ(EndOf(run).turns, 3);
}

// Too long for a replay after each turn.
class LongSessionTest : public AgentSessionTest {
 protected:
  LongSessionTest() { verify_ = false; }
};

TEST_P(LongSessionTest, WhoSpeaksMeanwhileIsHeard) {
  const marathon::Run run = Start();
  Said(run, "hello");
  MakeLong(run);
  env().Mock("A/publish", [](const PublishTask&) {}, {.delay = 1s});
  Said(run, "hello");
  std::vector<UpdateHandle> said;  // while it tells that it goes on
  for (int i = 0; i < 3; ++i) said.push_back(Begun(run, "hello " + std::to_string(i), "u" + std::to_string(i)));
  EXPECT_EQ(NewestRun(), run.run_id());
  env().Advance(1min);
  EXPECT_NE(NewestRun(), run.run_id());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(TextOf(said[static_cast<size_t>(i)]), "re: hello " + std::to_string(i));
  EXPECT_EQ(Said(run, "hello 1", {.update_id = "u1"}).text, "re: hello 1") << "answered by the run before";
  EXPECT_EQ(SessionOf(run)->turns, 5);
}

TEST_P(LongSessionTest, WhatWasSaidInBetweenGoesOnToo) {
  const marathon::Run run = Start();
  llm::ChatResponse refused{.model = "m", .stop_reason = llm::StopReason::kRefused};
  refused.blocks = {llm::ToolCall{"c", "write", "{}"}};
  model_->Answers(refused);
  MakeLong(run);
  env().Mock("A/publish", [](const PublishTask&) {}, {.delay = 1s});
  Said(run, "hello");
  ASSERT_TRUE(Steer(run, "Be quick.").ok());
  env().Advance(1min);
  EXPECT_NE(NewestRun(), run.run_id());
  ASSERT_TRUE(Steer(run, "Be brief.").ok());
  Said(run, "and?");
  const auto messages = model_->requests().back().messages;
  ASSERT_THAT(messages, SizeIs(6));
  EXPECT_EQ(std::get<llm::ToolResult>(messages[2].blocks.at(0)).call_id, "c");
  EXPECT_EQ(messages[3], llm::UserMessage("Be quick."));
  EXPECT_EQ(messages[4], llm::UserMessage("Be brief."));
}

// There is an end to what a run takes, even if somebody always waits.
TEST_P(LongSessionTest, OneThatIsNeverIdleTurnsAwayForAMoment) {
  options_.max_waiting = 100;
  const marathon::Run run = Start();
  env().Mock("A/tool/write", [](const ToolTask&) { return ToolReply{.text = "ok"}; }, {.delay = 1min});
  env().RunUntilIdle();
  MakeLong(run);
  std::vector<UpdateHandle> said;
  for (int i = 0; i < 12; ++i) said.push_back(Begun(run, "write to x"));
  int refused = 0;
  for (int minute = 0; minute < 30; ++minute) {
    env().Advance(1min);
    const auto late = run.StartUpdate(kSay, Ask("write to y"));
    if (late.ok()) {
      said.push_back(*late);
    } else {
      EXPECT_EQ(TypeOf(late.status()), "Busy");
      ++refused;
    }
  }
  EXPECT_GT(refused, 5);
  EXPECT_GT(said.size(), 24u) << "taken before, and by the new run";
  EXPECT_NE(NewestRun(), run.run_id());
  for (const UpdateHandle& one : said) EXPECT_EQ(TextOf(one), "re: ok");
}

TEST_P(LongSessionTest, OneThatIsTooLargeToGoOnStays) {
  SessionInput before;
  before.messages = {llm::UserMessage(std::string(limits::kPayloadMaxBytes - 1'000, '.'))};
  const auto run = env().engine().Start("A/session", before, {.workflow_id = "s"});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(Said(*run, "hello").text, "re: hello");
  env().RunUntilIdle();
  const Id second = NewestRun();
  EXPECT_NE(second, run->run_id()) << "its input alone makes a history long";
  EXPECT_EQ(Said(*run, "hello" + std::string(2'000, '.')).stop, StopReason::kDone);
  env().RunUntilIdle();
  EXPECT_EQ(NewestRun(), second);
  EXPECT_EQ(log_->Count("the session cannot go on as a new run"), 1);
  EXPECT_EQ(Said(*run, "hello").text, "re: hello");
}

INSTANTIATE_TEST_SUITE_P(Cache, AgentSessionTest, ::testing::Values(size_t{10'000}, size_t{0}),
                         [](const auto& setup) { return setup.param == 0 ? "NoCache" : "Cached"; });

INSTANTIATE_TEST_SUITE_P(Cache, LongSessionTest, ::testing::Values(size_t{10'000}));

// ---- Crashes at random

// Three turns, said at once; each writes a letter.
testing::SimScenario TalkScenario() {
  auto written = std::make_shared<std::map<std::string, int>>();
  Agent agent{.name = "A", .model = "m"};
  agent.model_retry = {.initial_interval = 100ms};
  agent.tools = {MakeTool("write", "Writes a letter.",
                          [written](ToolContext& ctx, const Letter& letter) {
                            ++(*written)[ctx.idempotency_key()];
                            return "wrote to " + letter.to;
                          },
                          {.effect = Effect::kIdempotent, .retry = {.maximum_attempts = 100}})};
  testing::SimScenario scenario;
  BindSession(scenario.registry, agent, std::make_shared<llm::ScriptedModel>(AnswerTo));
  scenario.play = [](testing::SimUser& user) -> Status {
    const auto run = user.engine().Start("A/session", SessionInput(), {.workflow_id = "s"});
    if (!run.ok()) return run.status();
    for (const std::string to : {"x", "y", "z"}) {
      const auto said = run->StartUpdate(kSay, Ask("write to " + to), {.update_id = to});
      if (!said.ok()) return said.status();
    }
    for (const std::string to : {"z", "x", "y"}) {
      const auto result = run->FindUpdate(to).Result<Result>();
      if (!result.ok()) return result.status();
      if (result->text != "re: wrote to " + to) return Aborted("another answer: " + result->text);
    }
    if (const Status closed = Close(*run, "done"); !closed.ok()) return closed;
    return run->Result<SessionResult>().status();
  };
  scenario.check = [written](testing::SimUser& user) -> Status {
    const auto end = user.engine().Find("s").Result<SessionResult>();
    if (!end.ok()) return end.status();
    if (end->turns != 3 || end->spent.steps != 6) return Aborted("turns: " + std::to_string(end->turns));
    if (written->size() != 3) return Aborted("letters: " + std::to_string(written->size()));
    return {};
  };
  return scenario;
}

TEST(AgentSessionCrashTest, EachTurnOnceWhateverCrashes) {
  testing::SimulateWorkflowOptions options;
  options.seeds = kSanitized ? 8 : 25;
  const auto report = testing::SimulateWorkflow([] { return TalkScenario(); }, options);
  EXPECT_EQ(report.violation, "") << "seed " << report.seed;
  EXPECT_GT(report.repeated, options.seeds / 10);
}

}  // namespace
}  // namespace marathon::agent::agent_session_test
