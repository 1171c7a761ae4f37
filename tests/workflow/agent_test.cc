// Agents in virtual time: steps, tools, people, budgets, ends. Each test runs with live coroutines kept between turns
// and with none, and each turn is replayed and compared.
// needs: agent testing
// program: agent
#include <gmock/gmock.h>

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "marathon/agent/agent.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/testing/test_environment.h"

namespace agent_test {

struct Sum {
  int a = 0;
  std::optional<int> b;
};
MARATHON_TOOL_INPUT(Sum, (a, "one"), (b, "the other"))

}  // namespace agent_test

namespace marathon::agent::loop_test {
namespace {

using namespace std::chrono_literals;
using agent_test::Sum;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A script whose last answer never comes by itself.
class HoldingModel final : public llm::Model {
 public:
  explicit HoldingModel(std::shared_ptr<llm::ScriptedModel> script) : script_(std::move(script)) {}

  void Chat(llm::ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override {
    if (script_->left() > 0) {
      return script_->Chat(std::move(request), std::move(stop), std::move(on_delta), std::move(done));
    }
    for (const llm::Delta& delta : says) on_delta(delta);
    held_ = std::move(done);
    if (deaf) return;
    stops_.emplace_back(std::move(stop), [this] {
      if (!held_) return;
      stopped = true;
      Answer(llm::MakeError(llm::ErrorClass::kCanceled, "stopped"));
    });
  }
  void Answer(llm::ChatResult result) { std::exchange(held_, {})(std::move(result)); }
  bool stopped = false;
  std::vector<llm::Delta> says{};  // before it falls silent
  bool deaf = false;               // it does not hear that it is stopped

 private:
  std::shared_ptr<llm::ScriptedModel> script_;
  OnResult held_;
  std::list<std::stop_callback<std::function<void()>>> stops_;
};

class AgentTest : public ::testing::TestWithParam<size_t> {
 protected:
  AgentTest() {
    agent_.name = "A";
    agent_.model = "m";
    agent_.instructions = "Be brief.";
    AddTool(Effect::kPure);
  }
  // "add": what it is called with is in `called_`.
  void AddTool(Effect effect, ToolOptions options = {}) {
    options.effect = effect;
    agent_.tools = {MakeTool(
        "add", "Adds.",
        [this](ToolContext& ctx, const Sum& sum) -> std::string {
          called_.push_back(std::to_string(sum.a));
          keys_.push_back(ctx.idempotency_key());
          if (sum.a < 0) throw std::runtime_error("too little");
          return std::to_string(sum.a + sum.b.value_or(0));
        },
        std::move(options))};
  }

  testing::TestEnvironment& env() {
    if (!env_) {
      Registry registry;
      std::shared_ptr<llm::Model> model = model_;
      if (holding_) model = holding_;
      Bind(registry, agent_, model);
      env_.emplace(registry, testing::TestEnvironmentOptions{.cache_runs = GetParam()});
    }
    return *env_;
  }
  marathon::Run Start(std::string text = "hi") {
    Input input = Ask(std::move(text));
    input.keep_messages = true;
    auto run = env().engine().Start("A", input);
    EXPECT_TRUE(run.ok()) << run.status();
    return *run;
  }
  Result RunOnce(std::string text = "hi") { return ResultOf(Start(std::move(text))); }
  static Result ResultOf(const marathon::Run& run) {
    auto result = run.Result<Result>();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.value_or(Result());
  }
  // The results of tools in the messages, "text" or "error: text".
  static std::vector<std::string> ToolTexts(const std::vector<llm::Message>& messages) {
    std::vector<std::string> texts;
    for (const llm::Message& message : messages) {
      for (const llm::Block& block : message.blocks) {
        if (const auto* result = std::get_if<llm::ToolResult>(&block)) {
          texts.push_back((result->is_error ? "error: " : "") + result->text);
        }
      }
    }
    return texts;
  }
  PendingApproval OnlyPending(const marathon::Run& run) {
    const auto pending = Pending(run);
    EXPECT_TRUE(pending.ok()) << pending.status();
    EXPECT_EQ(pending.ok() ? pending->size() : 0, 1u);
    return pending.ok() && !pending->empty() ? pending->front() : PendingApproval();
  }
  // Lets "add" wait for a person, and asks for one call of it.
  marathon::Run StartWaiting(Duration timeout = Duration(0)) {
    AddTool(Effect::kAtMostOnce, {.approve = Always(), .approval_timeout = timeout});
    model_->CallsTool("add", R"({"a": 1, "b": 2})").Says("done");
    const marathon::Run run = Start();
    env().RunUntilIdle();
    return run;
  }

  Agent agent_;
  std::shared_ptr<llm::ScriptedModel> model_ = std::make_shared<llm::ScriptedModel>();
  std::shared_ptr<HoldingModel> holding_;  // instead, if there is one
  std::vector<std::string> called_, keys_;
  std::optional<testing::TestEnvironment> env_;
};

// ---- Steps and tools

// A person who waits goes before batches: the model's answers and the tools of an agent have its run's priority.
TEST_P(AgentTest, WhatItCallsHasItsPriority) {
  model_->CallsTool("add", R"({"a": 1, "b": 2})").Says("done");
  const auto run = env().engine().Start("A", Ask("hi"), {.priority = 1});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(ResultOf(*run).text, "done");
  int calls = 0;
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  for (const Event& event : *history) {
    const auto* call = std::get_if<ActivityScheduled>(&event.body);
    if (call == nullptr) continue;
    ++calls;
    EXPECT_EQ(call->policy.priority, 1) << call->activity_type;
  }
  EXPECT_GE(calls, 3) << "twice the model, and a tool";
}

TEST_P(AgentTest, AnAnswer) {
  model_->Says("hello");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kDone);
  EXPECT_EQ(result.text, "hello");
  EXPECT_EQ(result.spent.steps, 1);
  EXPECT_THAT(result.messages, ElementsAre(llm::UserMessage("hi"), llm::AssistantMessage("hello")));
  const llm::ChatRequest request = model_->requests().at(0);
  EXPECT_THAT(request.messages, ElementsAre(llm::SystemMessage("Be brief."), llm::UserMessage("hi")));
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.max_tokens, agent_.max_tokens);
  EXPECT_THAT(request.tools, ElementsAre(agent_.tools[0].definition));
}

TEST_P(AgentTest, AToolAndBack) {
  model_->CallsTool("add", R"({"a": 1, "b": 2})").CallsTool("add", R"({"a": 3})").Says("done");
  const marathon::Run run = Start();
  const Result result = ResultOf(run);
  EXPECT_EQ(result.text, "done");
  EXPECT_EQ(result.spent.steps, 3);
  EXPECT_EQ(result.spent.tool_calls, 2);
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("3", "3"));
  const std::string id = run.run_id().str();
  EXPECT_THAT(keys_, ElementsAre(id + "/1/call_1", id + "/2/call_2"));
  // Each request has all that was said before, though no input has.
  std::vector<llm::Message> last = model_->requests().at(2).messages;
  EXPECT_EQ(last.size(), 6u);
  last.erase(last.begin());
  last.push_back(llm::AssistantMessage("done"));
  EXPECT_EQ(last, result.messages);
  const auto tasks = env().Inputs<ModelTask>("A/model");
  ASSERT_EQ(tasks.size(), 3u);
  EXPECT_FALSE(tasks[0].head.has_value());
  EXPECT_EQ(tasks[2].messages.size(), 1u);
  EXPECT_TRUE(tasks[2].head.has_value());
}

TEST_P(AgentTest, OneResultForEachInTheirOrder) {
  model_->CallsTools({{.name = "add", .arguments = R"({"a": 1})"},
                      {.name = "add", .arguments = R"({"a": -1})"},
                      {.name = "subtract", .arguments = "{}"},
                      {.name = "add", .arguments = R"({"a": "one"})"},
                      {.name = "add", .arguments = R"({"a": 4})"}})
      .Says("done");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kDone);
  EXPECT_THAT(ToolTexts(result.messages),
              ElementsAre("1", HasSubstr("error: too little"),
                          "error: There is no tool of this name. There are: add",
                          HasSubstr("error: The arguments do not fit the tool's schema: a: "), "4"));
  // A pure one is retried.
  EXPECT_EQ(std::ranges::count(called_, "-1"), agent_.tools[0].options.retry.maximum_attempts);
}

// All of one response run at once, or as many as the tool allows.
TEST_P(AgentTest, SideBySide) {
  for (const auto& [most, time] : {std::pair{0, 1min}, {1, 3min}, {2, 2min}}) {
    env_.reset();
    AddTool(Effect::kPure, {.timeout = 1h, .max_parallel = most});
    std::vector<llm::ToolCall> calls(3, {.name = "add", .arguments = R"({"a": 1})"});
    model_->CallsTools(calls).Says("done");
    env().Mock("A/tool/add", [](const ToolTask&) { return ToolReply{.text = "ok"}; }, {.delay = 1min});
    const Time began = env().Now();
    EXPECT_THAT(ToolTexts(RunOnce().messages), ElementsAre("ok", "ok", "ok"));
    EXPECT_EQ(env().Now() - began, time) << most;
  }
}

TEST_P(AgentTest, ToolsThatTakeTooLong) {
  for (const Effect effect : {Effect::kPure, Effect::kAtMostOnce}) {
    env_.reset();
    AddTool(effect, {.timeout = 1s, .retry = {.maximum_attempts = 2}});
    model_->CallsTool("add", R"({"a": 1})").Says("done");
    env().Mock("A/tool/add", [](const ToolTask&) { return ToolReply{.text = "ok"}; }, {.delay = 1min});
    const bool pure = effect == Effect::kPure;
    EXPECT_THAT(ToolTexts(RunOnce().messages),
                ElementsAre(pure ? "error: it did not end within 1000 ms"
                                 : "error: it did not end within 1000 ms. It is not known whether it had its effect"));
    EXPECT_EQ(env().Calls("A/tool/add").size(), pure ? 2u : 1u);
  }
}

TEST_P(AgentTest, AModelThatDoesNotLearn) {
  for (int i = 0; i < 3; ++i) model_->CallsTool("add", R"({"b": 2})");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "Arguments");
  EXPECT_THAT(result.message, HasSubstr("add: The arguments do not fit"));
  EXPECT_EQ(ToolTexts(result.messages).size(), 3u);
  EXPECT_THAT(called_, IsEmpty());
}

TEST_P(AgentTest, LongResultsAreCut) {
  AddTool(Effect::kPure, {.result_max = 3});
  model_->CallsTool("add", R"({"a": 12345})").Says("done");
  EXPECT_THAT(ToolTexts(RunOnce().messages), ElementsAre("123\n[cut off here: 2 more bytes]"));
}

TEST_P(AgentTest, HooksSeeAndChange) {
  agent_.hooks.before_model = [](ModelChoice& choice) {
    choice.model = "m" + std::to_string(choice.step);
    if (choice.step == 2) choice.tools.clear();
  };
  agent_.hooks.before_tool = [](const llm::ToolCall& call) -> std::string {
    return call.arguments.find("13") == std::string::npos ? "" : "Not this number.";
  };
  agent_.hooks.after_tool = [](const llm::ToolCall&, llm::ToolResult& result) { result.text += "!"; };
  model_->CallsTools({{.name = "add", .arguments = R"({"a": 1})"}, {.name = "add", .arguments = R"({"a": 13})"}})
      .Says("done");
  EXPECT_THAT(ToolTexts(RunOnce().messages), ElementsAre("1!", "error: Not this number.!"));
  EXPECT_EQ(model_->requests()[1].model, "m2");
  EXPECT_THAT(model_->requests()[1].tools, IsEmpty());
}

TEST_P(AgentTest, EachAnswerIsSeenOnceByItsHook) {
  std::vector<std::string> seen;  // by the run that counts; replays call it again
  agent_.hooks.after_model = [&](const llm::ChatResponse& answer) {
    const std::string text = llm::TextOf(answer.blocks);
    if (std::ranges::find(seen, text) == seen.end()) seen.push_back(text);
    if (text == "not this") throw std::runtime_error("bad words");
  };
  model_->CallsTool("add", R"({"a": 1})").Says("done");
  EXPECT_EQ(RunOnce().stop, StopReason::kDone);
  EXPECT_THAT(seen, ElementsAre("", "done"));
  model_->Says("not this").Says("never");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "Hook");
  EXPECT_EQ(result.message, "after_model threw: bad words");
  EXPECT_EQ(result.text, "not this");
}

// Whatever throws, there is a result, and a call that nobody could decide on is not made.
TEST_P(AgentTest, HooksThatThrowAreEnds) {
  const auto thrown = [&](const Hooks& hooks, ApprovalRule rule = nullptr) {
    called_.clear();
    agent_.hooks = hooks;
    AddTool(Effect::kPure, {.approve = std::move(rule)});
    env_.reset();
    model_ = std::make_shared<llm::ScriptedModel>();
    model_->CallsTools({{.name = "add", .arguments = R"({"a": 1})"}, {.name = "add", .arguments = R"({"a": 2})"}})
        .Says("never");
    const Result result = RunOnce();
    EXPECT_EQ(result.stop, StopReason::kFailed);
    EXPECT_EQ(result.why, "Hook");
    return result;
  };
  Result result = thrown({.before_model = [](ModelChoice&) { throw std::runtime_error("no"); }});
  EXPECT_EQ(result.message, "before_model threw: no");
  EXPECT_EQ(model_->left(), 2u);
  result = thrown({.before_tool = [](const llm::ToolCall& call) -> std::string {
    if (call.arguments.find('2') != std::string::npos) throw std::runtime_error("no");
    return "";
  }});
  EXPECT_EQ(result.message, "before_tool threw: no");
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("1", HasSubstr("error: Not called")));
  EXPECT_THAT(called_, ElementsAre("1"));
  result = thrown({.after_tool = [](const llm::ToolCall&, llm::ToolResult&) { throw 7; }});
  EXPECT_THAT(result.message, HasSubstr("after_tool threw"));
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("1", "2"));
  result = thrown({.before_tool = [](const llm::ToolCall& call) -> std::string {
    if (call.arguments.find('1') != std::string::npos) throw std::runtime_error("no");
    return "";
  }});
  EXPECT_THAT(called_, IsEmpty()) << "the one behind it is not made either";
  EXPECT_EQ(ToolTexts(result.messages).back(), "error: Not called: the agent has ended.");
  result = thrown({.before_tool = [](const llm::ToolCall& call) -> std::string {
    if (call.arguments.find('2') != std::string::npos) throw std::runtime_error("no");
    return "";
  }}, Always());
  EXPECT_EQ(ToolTexts(result.messages).front(), "error: Not called: the agent has ended.") << "nobody is waited for";
  result = thrown({}, [](const nlohmann::json& arguments) { return arguments.at("cents") > 5; });
  EXPECT_THAT(result.message, HasSubstr("the approval rule of add threw"));
  EXPECT_THAT(called_, IsEmpty());
}

TEST_P(AgentTest, ArgumentsThatAreNoJsonAreToldToTheModel) {
  model_->CallsTool("add", R"({"a": 1)").CallsTool("add", R"([1, 2])").CallsTool("add", "seven").Says("sorry");
  agent_.bad_calls = 4;
  Result result = RunOnce();
  EXPECT_THAT(ToolTexts(result.messages), ::testing::Each(HasSubstr("error: The arguments do not fit")));
  EXPECT_EQ(ToolTexts(result.messages).size(), 3u);
  EXPECT_EQ(result.text, "sorry");
  EXPECT_THAT(called_, IsEmpty());
  env_.reset();
  agent_.bad_calls = 2;
  model_ = std::make_shared<llm::ScriptedModel>();
  model_->CallsTool("add", "{").CallsTool("add", "}").Says("never");
  result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "Arguments");
}

// ---- Ends

TEST_P(AgentTest, FailuresOfTheModelAreEnds) {
  model_->Fails(llm::ErrorClass::kOverloaded).Says("after all");
  EXPECT_EQ(RunOnce().text, "after all");
  model_->Fails(llm::ErrorClass::kQuota, "no money");
  Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "Quota");
  EXPECT_THAT(result.message, HasSubstr("no money"));
  model_->Fails(llm::ErrorClass::kRefused);
  EXPECT_EQ(RunOnce().stop, StopReason::kRefused);
  llm::ChatResponse response{.stop_reason = llm::StopReason::kRefused};
  response.blocks = {llm::Text{"I would rather not."}};
  model_->Answers(response);
  result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kRefused);
  EXPECT_EQ(result.text, "I would rather not.");
}

// A call that the limits of its endpoint hold is postponed, as often as need be: no attempt of the step's.
TEST_P(AgentTest, AStepThatHasToWaitIsNoFailure) {
  agent_.model_retry.maximum_attempts = 1;
  llm::Error held = llm::MakeError(llm::ErrorClass::kRateLimit, "later");
  held.retry_after = 1h;
  held.permit = "1 key";
  model_->Answers(held).Answers(held).Says("done");
  EXPECT_EQ(RunOnce().text, "done");
  const auto calls = env().Calls("A/model");
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[2].info.attempt, 1);
  EXPECT_GE(calls[2].at - calls[0].at, 2h);
  EXPECT_LT(calls[2].at - calls[0].at, 2h + 1s);
}

TEST_P(AgentTest, AnAnswerThatIsCutOffIsNone) {
  llm::ChatResponse response{.stop_reason = llm::StopReason::kMaxTokens};
  response.blocks = {llm::Text{"Once upon"}};
  model_->Answers(response);
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "MaxTokens");
  EXPECT_EQ(result.text, "Once upon");
}

TEST_P(AgentTest, APausedAnswerGoesOn) {
  llm::ChatResponse response{.stop_reason = llm::StopReason::kPaused};
  response.blocks = {llm::Text{"I am looking"}};
  model_->Answers(response).Says("found");
  const Result result = RunOnce();
  EXPECT_EQ(result.text, "found");
  EXPECT_EQ(result.messages.size(), 3u);
}

TEST_P(AgentTest, AnOutputThatFits) {
  agent_.output = llm::OutputSchema{.schema = SchemaTextOf<Sum>()};
  model_->Says("three").Says(R"({"a": "3"})").Says(R"({"a": 3})");
  Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kDone);
  const auto output = OutputOf<Sum>(result);
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ(output->a, 3);
  EXPECT_EQ(model_->requests()[0].output, agent_.output);
  EXPECT_THAT(llm::TextOf(model_->requests()[2].messages.back().blocks), HasSubstr("a: "));
  model_->Says("1").Says("2").Says("3").Says("never");
  result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "Output");
  EXPECT_EQ(result.text, "3");
  EXPECT_EQ(model_->left(), 1u);
}

TEST_P(AgentTest, ACanceledRunIsCanceled) {
  holding_ = std::make_shared<HoldingModel>(model_);
  const marathon::Run run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(run.Cancel("enough").ok());
  EXPECT_EQ(run.Result<Result>().status().code(), StatusCode::kCancelled);
  env().RunUntilIdle();
  EXPECT_TRUE(holding_->stopped);
}

// ---- People

TEST_P(AgentTest, Approved) {
  const marathon::Run run = StartWaiting();
  env().Advance(24h * 30);
  const PendingApproval call = OnlyPending(run);
  EXPECT_EQ(call.key, "1/call_1");
  EXPECT_EQ(call.tool, "add");
  EXPECT_EQ(call.arguments, R"({"a":1,"b":2})");
  EXPECT_EQ(call.expires, Time());
  EXPECT_THAT(called_, IsEmpty());
  EXPECT_EQ(StatusOf(run).value().state, "approval");
  ASSERT_TRUE(Approve(run, call).ok());
  const Result result = ResultOf(run);
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("3"));
  EXPECT_THAT(called_, ElementsAre("1"));
  EXPECT_EQ(StatusOf(run).value().state, "ended");
}

TEST_P(AgentTest, Denied) {
  const marathon::Run run = StartWaiting();
  ASSERT_TRUE(Deny(run, OnlyPending(run), "not today").ok());
  EXPECT_THAT(ToolTexts(ResultOf(run).messages), ElementsAre("error: Not called: not today"));
  EXPECT_THAT(called_, IsEmpty());
}

TEST_P(AgentTest, Edited) {
  const marathon::Run run = StartWaiting();
  const PendingApproval call = OnlyPending(run);
  ASSERT_TRUE(Edit(run, call, "no JSON").ok());
  ASSERT_TRUE(Edit(run, call, R"({"b": 1})").ok());  // does not fit: ignored
  env().RunUntilIdle();
  EXPECT_EQ(OnlyPending(run), call);
  ASSERT_TRUE(Edit(run, call, R"({"a": 7})").ok());
  EXPECT_THAT(ToolTexts(ResultOf(run).messages),
              ElementsAre("[called with other arguments, by a person: {\"a\": 7}]\n7"));
  EXPECT_THAT(called_, ElementsAre("7"));
}

TEST_P(AgentTest, NobodyCame) {
  const marathon::Run run = StartWaiting(48h);
  const PendingApproval call = OnlyPending(run);
  EXPECT_EQ(call.expires - call.asked, 48h);
  env().Advance(48h);
  EXPECT_THAT(ToolTexts(ResultOf(run).messages), ElementsAre("error: Not called: nobody approved it in time."));
  EXPECT_THAT(called_, IsEmpty());
  EXPECT_FALSE(Approve(run, call).ok()) << "the run has ended";
}

// What was seen is what is approved: anything else changes nothing.
TEST_P(AgentTest, DecisionsThatDoNotCount) {
  const marathon::Run run = StartWaiting(48h);
  const PendingApproval call = OnlyPending(run);
  PendingApproval other = call;
  other.digest = DigestOf({{"a", 1'000'000}, {"b", 2}});
  ASSERT_TRUE(Approve(run, other).ok());
  other = call;
  other.key = "1/call_2";
  ASSERT_TRUE(Approve(run, other).ok());
  ASSERT_TRUE(run.Signal(kDecide.name, std::string("yes")).ok());
  ASSERT_TRUE(run.Signal(kSteer.name, 7).ok());
  env().RunUntilIdle();
  EXPECT_EQ(OnlyPending(run), call);
  ASSERT_TRUE(Deny(run, call, "no").ok());
  ASSERT_TRUE(Approve(run, call).ok());  // the second one
  EXPECT_THAT(ToolTexts(ResultOf(run).messages), ElementsAre("error: Not called: no"));
  EXPECT_THAT(called_, IsEmpty());
}

TEST_P(AgentTest, ApprovalByArguments) {
  AddTool(Effect::kPure, {.approve = [](const nlohmann::json& arguments) { return arguments["a"] > 10; }});
  model_->CallsTools({{.name = "add", .arguments = R"({"a": 1})"}, {.name = "add", .arguments = R"({"a": 11})"}})
      .Says("done");
  const marathon::Run run = Start();
  env().RunUntilIdle();
  EXPECT_THAT(called_, ElementsAre("1"));
  ASSERT_TRUE(Approve(run, OnlyPending(run)).ok());
  EXPECT_THAT(ToolTexts(ResultOf(run).messages), ElementsAre("1", "11"));
}

TEST_P(AgentTest, Steered) {
  const marathon::Run run = StartWaiting();
  ASSERT_TRUE(Steer(run, "Be quick.").ok());
  ASSERT_TRUE(Approve(run, OnlyPending(run)).ok());
  const Result result = ResultOf(run);
  ASSERT_EQ(result.messages.size(), 5u);
  EXPECT_EQ(result.messages[3], llm::UserMessage("Be quick."));
}

// One who still has something to say is heard before the end.
TEST_P(AgentTest, SteeredWhileTheLastAnswerIsOnItsWay) {
  holding_ = std::make_shared<HoldingModel>(model_);
  const marathon::Run run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(Steer(run, "And why?").ok());
  model_->Says("because");
  llm::ChatResponse response;
  response.blocks = {llm::Text{"no"}};
  holding_->Answer(response);
  const Result result = ResultOf(run);
  EXPECT_EQ(result.spent.steps, 2);
  EXPECT_EQ(result.text, "because");
  ASSERT_EQ(result.messages.size(), 4u);
  EXPECT_EQ(result.messages[2], llm::UserMessage("And why?"));
}

TEST_P(AgentTest, StoppedWhileTheModelSpeaks) {
  holding_ = std::make_shared<HoldingModel>(model_);
  llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls};
  response.blocks = {llm::Text{"Let me add."}, llm::ToolCall{"c", "add", R"({"a": 1})"}};
  response.usage = {.input = 100, .output = 10};
  model_->Answers(response);
  const marathon::Run run = Start();
  env().RunUntilIdle();
  EXPECT_EQ(StatusOf(run).value().state, "model");
  EXPECT_FALSE(holding_->stopped);
  ASSERT_TRUE(Stop(run, "changed my mind").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_EQ(result.why, "changed my mind");
  EXPECT_EQ(result.text, "Let me add.");
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("1"));
  EXPECT_TRUE(result.spent.estimated);
  EXPECT_GT(result.spent.usage.input, 200);
  env().RunUntilIdle();
  EXPECT_TRUE(holding_->stopped);
}

// In the result, in the conversation, and booked.
TEST_P(AgentTest, AStopKeepsWhatTheModelHasSaid) {
  holding_ = std::make_shared<HoldingModel>(model_);
  holding_->says = {{.text = "taken back"}, {.kind = llm::Delta::Kind::kReset}, {.text = "Let me "}, {.text = "see"},
                    {.kind = llm::Delta::Kind::kReasoning, .block = 1, .text = std::string(300, 'x')},
                    {.kind = llm::Delta::Kind::kToolCall, .block = 2, .text = "add", .id = "c"}};
  const marathon::Run run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(Stop(run, "changed my mind").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_EQ(result.why, "changed my mind");
  EXPECT_EQ(result.text, "Let me see");
  ASSERT_EQ(result.messages.size(), 2u);
  EXPECT_EQ(result.messages[1], llm::AssistantMessage("Let me see"));
  EXPECT_TRUE(result.spent.estimated);
  EXPECT_GT(result.spent.usage.input, 0);
  EXPECT_GT(result.spent.usage.output, 100) << "what it thought has cost, too";
}

// Of thoughts nothing is kept, but they are paid for.
TEST_P(AgentTest, AStopAmongThoughtsIsBooked) {
  holding_ = std::make_shared<HoldingModel>(model_);
  holding_->says = {{.kind = llm::Delta::Kind::kReasoning, .text = std::string(300, 'x')}};
  const marathon::Run run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(Stop(run, "changed my mind").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_EQ(result.why, "changed my mind");
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.messages.size(), 1u) << "no message without a word";
  EXPECT_TRUE(result.spent.estimated);
  EXPECT_GT(result.spent.usage.input, 0);
  EXPECT_EQ(result.spent.usage.output, 100);
}

// Whoever stops it is not kept waiting by a worker that says nothing.
TEST_P(AgentTest, AStopDoesNotWaitForEver) {
  holding_ = std::make_shared<HoldingModel>(model_);
  holding_->says = {{.text = "Let me see"}};
  holding_->deaf = true;
  agent_.max_tokens = 500;
  const marathon::Run run = Start();
  env().RunUntilIdle();
  const Time before = env().Now();
  ASSERT_TRUE(Stop(run, "enough").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_LT(env().Now() - before, 1min);
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.spent.usage.output, 500) << "it may have said all that it was allowed to";
  EXPECT_TRUE(result.spent.estimated);
  holding_->Answer(llm::MakeError(llm::ErrorClass::kCanceled, "at last"));
}

TEST_P(AgentTest, AnAnswerThatIsThereWhenItIsStoppedCallsNothing) {
  holding_ = std::make_shared<HoldingModel>(model_);
  holding_->deaf = true;
  const marathon::Run run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(Stop(run, "enough").ok());
  env().RunUntilIdle();
  llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls, .usage = {.input = 7, .output = 3}};
  response.blocks = {llm::Text{"I add."}, llm::ToolCall{"c", "add", R"({"a": 1})"}};
  holding_->Answer(response);
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_EQ(result.text, "I add.");
  EXPECT_EQ(result.spent.usage, (llm::Usage{.input = 7, .output = 3}));
  EXPECT_THAT(called_, IsEmpty());
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre(HasSubstr("error: Not called")));
}

// What a tool has done by then is worth knowing.
TEST_P(AgentTest, StoppedWhileAToolRuns) {
  model_->CallsTool("add", R"({"a": 1})").Says("never");
  AddTool(Effect::kAtMostOnce, {.timeout = 1h});
  env().Mock("A/tool/add", [](const ToolTask&) { return ToolReply{.text = "half of it"}; }, {.delay = 30min});
  const marathon::Run run = Start();
  env().RunUntilIdle();
  EXPECT_EQ(StatusOf(run).value().state, "tools");
  ASSERT_TRUE(Stop(run, "enough").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_EQ(ToolTexts(result.messages).size(), 1u);
  EXPECT_EQ(model_->left(), 1u);
}

TEST_P(AgentTest, StoppedWhileAPersonIsAsked) {
  const marathon::Run run = StartWaiting();
  ASSERT_TRUE(Stop(run, "enough").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("error: Not called: the agent was stopped."));
  EXPECT_THAT(called_, IsEmpty());
}

// A client that comes back days later, and knows no run, finds those that wait for it.
TEST_P(AgentTest, RunsThatWaitForAPersonAreListed) {
  const auto waiting = [&] {
    const auto runs = env().engine().List(WaitingRuns());
    EXPECT_TRUE(runs.ok()) << runs.status();
    std::vector<Id> ids;
    for (const RunRow& run : runs->runs) ids.push_back(run.key.run_id);
    return ids;
  };
  AddTool(Effect::kAtMostOnce, {.approve = Always()});
  model_->CallsTools({{.id = "x", .name = "add", .arguments = R"({"a": 1})"},
                      {.id = "y", .name = "add", .arguments = R"({"a": 2})"}})
      .Says("done");
  const marathon::Run run = Start();
  EXPECT_THAT(waiting(), IsEmpty());
  env().RunUntilIdle();
  env().Advance(24h * 9);
  EXPECT_THAT(waiting(), ElementsAre(run.run_id()));
  const auto pending = Pending(run);
  ASSERT_TRUE(pending.ok() && pending->size() == 2u) << pending.status();
  ASSERT_TRUE(Approve(run, pending->at(0)).ok());
  env().RunUntilIdle();
  EXPECT_THAT(waiting(), ElementsAre(run.run_id())) << "the other one still does";
  ASSERT_TRUE(Deny(run, pending->at(1), "no").ok());
  EXPECT_EQ(ResultOf(run).text, "done");
  EXPECT_THAT(waiting(), IsEmpty());
  EXPECT_FALSE(run.Describe().value().run.labels) << "nor has it the attribute any more";
}

// Who decides too late, or for something else, hears so.
TEST_P(AgentTest, ADecisionIsToldWhetherItCounts) {
  const auto type = [](const Status& status) {
    const auto failure = GetFailure(status);
    return failure ? failure->type : status.ok() ? "OK" : std::string(MessageOf(status));
  };
  const marathon::Run run = StartWaiting(48h);
  const PendingApproval call = OnlyPending(run);
  Decision decision{.key = call.key, .digest = DigestOf(nlohmann::json::parse(R"({"a": 7})"))};
  EXPECT_EQ(type(DecideAndTell(run, decision)), "Changed");
  decision = {.key = "9/none", .digest = call.digest};
  EXPECT_EQ(type(DecideAndTell(run, decision)), "Unknown");
  decision = {.key = call.key, .digest = call.digest, .verdict = Verdict::kEdit, .arguments = R"({"a": "x"})"};
  EXPECT_EQ(type(DecideAndTell(run, decision)), "Unfit");
  decision.arguments = R"({"a": 5})";
  model_->CallsTool("add", R"({"a": 3})");
  EXPECT_EQ(type(DecideAndTell(run, decision)), "OK");
  env().RunUntilIdle();
  EXPECT_THAT(called_, ElementsAre("5"));
}

TEST_P(AgentTest, ALateDecisionIsToldSo) {
  const auto type = [](const Status& status) {
    const auto failure = GetFailure(status);
    return failure ? failure->type : std::string(MessageOf(status));
  };
  AddTool(Effect::kAtMostOnce, {.approve = Always(), .approval_timeout = 1h});
  model_->CallsTool("add", R"({"a": 1})").CallsTool("add", R"({"a": 2})").CallsTool("add", R"({"a": 3})");
  const marathon::Run run = Start();
  env().RunUntilIdle();
  const PendingApproval first = OnlyPending(run);
  env().Advance(90min);
  const PendingApproval second = OnlyPending(run);
  EXPECT_EQ(type(DecideAndTell(run, {.key = first.key, .digest = first.digest})), "Expired");
  EXPECT_EQ(DecideAndTell(run, {.key = second.key, .digest = second.digest}), Status());
  env().RunUntilIdle();
  EXPECT_EQ(type(DecideAndTell(run, {.key = second.key, .digest = second.digest})), "Decided");
  EXPECT_THAT(called_, ElementsAre("2"));
  ASSERT_TRUE(Stop(run, "enough").ok());
  EXPECT_EQ(ResultOf(run).stop, StopReason::kStopped);
  EXPECT_EQ(DecideAndTell(run, {.key = second.key, .digest = second.digest}).code(), StatusCode::kFailedPrecondition);
}

// ---- Budgets

llm::ChatResponse CallFor(llm::Usage usage) {
  llm::ChatResponse response{.model = "m-2026", .stop_reason = llm::StopReason::kToolCalls, .usage = usage};
  response.blocks = {llm::Text{"thinking"}, llm::ToolCall{"c", "add", R"({"a": 1})"}};
  return response;
}

TEST_P(AgentTest, ABudgetOfSteps) {
  agent_.budget.steps = 2;
  model_->Answers(CallFor({})).Answers(CallFor({})).Says("never");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kBudget);
  EXPECT_EQ(result.why, "steps");
  EXPECT_EQ(result.text, "thinking");
  EXPECT_EQ(result.spent.steps, 2);
  EXPECT_EQ(model_->left(), 1u);
}

TEST_P(AgentTest, ABudgetOfToolCalls) {
  agent_.budget.tool_calls = 2;
  model_->Answers(CallFor({})).CallsTools({{.name = "add"}, {.name = "add"}}).Says("never");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kBudget);
  EXPECT_EQ(result.why, "tool_calls");
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("1", HasSubstr("error: Not called: the agent's budget"),
                                                      HasSubstr("error: Not called: the agent's budget")));
}

TEST_P(AgentTest, ABudgetOfTokens) {
  agent_.max_tokens = 100;
  agent_.budget.tokens = 1'000;
  model_->Answers(CallFor({.input = 300, .output = 20})).Answers(CallFor({.input = 330, .output = 20})).Says("never");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kBudget);
  EXPECT_EQ(result.why, "tokens");
  EXPECT_EQ(result.spent.usage, (llm::Usage{.input = 630, .output = 40}));
  EXPECT_EQ(model_->left(), 1u);
}

TEST_P(AgentTest, ABudgetOfMoney) {
  agent_.max_tokens = 100;
  agent_.prices = {{.model = "m", .input = 3'000'000, .output = 15'000'000}};
  agent_.budget.micro_usd = 4'000;  // a first step may come to 1,500 and some, and comes to 1,200
  model_->Answers(CallFor({.input = 300, .output = 20})).Answers(CallFor({.input = 330, .output = 20})).Says("never");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kBudget);
  EXPECT_EQ(result.why, "usd");
  EXPECT_EQ(result.spent.micro_usd, (300 + 330) * 3 + 40 * 15);
  agent_.prices.clear();
  env_.reset();
  EXPECT_EQ(RunOnce().why, "Price");
}

// What the provider turned away has cost nothing; what broke off may have.
TEST_P(AgentTest, AttemptsThatMayHaveCostAreBooked) {
  using Class = llm::ErrorClass;
  agent_.prices = {{.model = "m", .input = 3'000'000, .output = 15'000'000}};
  const auto spent = [&](const std::vector<Class>& failures) {
    for (const Class failure : failures) model_->Fails(failure);
    llm::ChatResponse response{.model = "m", .blocks = {llm::Text{"yes"}}, .usage = {.input = 300, .output = 20}};
    model_->Answers(response);
    env_.reset();
    return RunOnce().spent;
  };
  const Spending none = spent({});
  EXPECT_EQ(none.usage, (llm::Usage{.input = 300, .output = 20}));
  EXPECT_EQ(spent({Class::kRateLimit, Class::kOverloaded, Class::kRateLimit}), none);
  const Spending one = spent({Class::kTruncated});
  const int64_t guess = one.usage.input - 300;
  EXPECT_GT(guess, 10);
  EXPECT_EQ(one.micro_usd, none.micro_usd + guess * 3);
  EXPECT_TRUE(one.estimated);
  EXPECT_EQ(one.steps, 1);
  const Spending mixed =
      spent({Class::kRateLimit, Class::kTimeout, Class::kOverloaded, Class::kTransient, Class::kRateLimit});
  EXPECT_EQ(mixed.usage.input, 300 + 2 * guess);
  EXPECT_EQ(mixed.usage.output, 20);
  llm::Error unsent = llm::MakeError(Class::kTransient, "nobody there");
  unsent.sent = false;
  model_->Answers(unsent).Answers(unsent);
  EXPECT_EQ(spent({}), none) << "no provider has seen it";
}

TEST_P(AgentTest, AStepThatFailsHasCostAllTheSame) {
  agent_.model_retry.maximum_attempts = 3;
  for (int i = 0; i < 3; ++i) model_->Fails(llm::ErrorClass::kTruncated);
  const Spending cut = RunOnce().spent;
  EXPECT_TRUE(cut.estimated);
  EXPECT_GT(cut.usage.input, 0);
  EXPECT_EQ(cut.usage.input % 3, 0);
  env_.reset();
  model_->Fails(llm::ErrorClass::kTruncated).Fails(llm::ErrorClass::kAuth);
  EXPECT_EQ(RunOnce().spent.usage.input, cut.usage.input / 3);
  env_.reset();
  model_->Fails(llm::ErrorClass::kAuth);
  EXPECT_EQ(RunOnce().spent, (Spending{.steps = 1}));
  env_.reset();
  holding_ = std::make_shared<HoldingModel>(model_);  // never answers: the engine's timeouts
  EXPECT_EQ(RunOnce().spent.usage.input, cut.usage.input);
}

// Once an agent has lost its money by failures, it asks no more.
TEST_P(AgentTest, WhatFailedCountsAgainstTheBudget) {
  agent_.max_tokens = 100;
  agent_.budget.tokens = 1'000;
  for (int i = 0; i < 9; ++i) model_->Fails(llm::ErrorClass::kTruncated);
  agent_.instructions = std::string(600, 'x');
  model_->Answers(CallFor({.input = 200, .output = 20})).Says("never");
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kBudget);
  EXPECT_EQ(result.why, "tokens");
  EXPECT_EQ(model_->left(), 1u);
}

TEST_P(AgentTest, ABudgetOfTime) {
  agent_.budget.wall = 1h;
  AddTool(Effect::kPure, {.approve = Always()});
  model_->Answers(CallFor({})).Says("never");
  const marathon::Run run = Start();
  env().Advance(2h);
  ASSERT_TRUE(Approve(run, OnlyPending(run)).ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kBudget);
  EXPECT_EQ(result.why, "wall");
}

// ---- A loop of one's own

TEST_P(AgentTest, ALoopOfOnesOwn) {
  auto shared = std::make_shared<const Agent>(agent_);
  model_->CallsTools({{.name = "add", .arguments = R"({"a": 1})"}, {.name = "add", .arguments = R"({"a": 2})"}})
      .Says("done");
  Registry registry;
  BindActivities(registry, shared, model_);
  registry.Bind("W", [shared](WorkflowContext& ctx, Input input) -> Workflow<Result> {
    Loop loop(ctx, *shared, input);
    while (co_await loop.Ask()) {
      if (loop.calls().empty()) {
        loop.Accept();
        continue;
      }
      llm::Message results{.role = llm::Role::kUser};
      for (const llm::ToolCall& call : loop.calls()) {
        llm::ToolResult result = co_await loop.Call(call);
        results.blocks.emplace_back(std::move(result));
      }
      loop.Say(results);
    }
    co_return loop.TakeResult();
  });
  env_.emplace(registry, testing::TestEnvironmentOptions{.cache_runs = GetParam()});
  Input input = Ask("hi");
  input.keep_messages = true;
  const Result result = ResultOf(*env().engine().Start("W", input));
  EXPECT_EQ(result.text, "done");
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("1", "2"));
}

// ---- After a review

TEST_P(AgentTest, ACallThatWasCutOffIsNotMade) {
  llm::ChatResponse cut{.model = "m", .stop_reason = llm::StopReason::kMaxTokens};
  cut.blocks.emplace_back(llm::ToolCall{.id = "c", .name = "add", .arguments = R"({"a": 1})"});
  model_->Answers(cut);
  const Result result = RunOnce();
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "MaxTokens");
  EXPECT_THAT(called_, IsEmpty());
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("error: Not called: the answer was cut off."));
}

TEST_P(AgentTest, ToolsThatAreTakenAwayAreNotCalled) {
  agent_.hooks.before_model = [](ModelChoice& choice) { choice.tools.clear(); };
  model_->CallsTool("add", R"({"a": 1})").Says("done");
  const Result result = RunOnce();
  EXPECT_EQ(result.text, "done");
  EXPECT_THAT(called_, IsEmpty());
  EXPECT_THAT(ToolTexts(result.messages), ElementsAre("error: There is no tool of this name. There are: none"));
}

TEST_P(AgentTest, ACancelBehindAnApprovalIsOne) {
  const marathon::Run run = StartWaiting();
  ASSERT_TRUE(Approve(run, OnlyPending(run)).ok());
  ASSERT_TRUE(run.Cancel("enough").ok());
  const auto result = run.Result<Result>();
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled) << result.status();
  EXPECT_THAT(called_, IsEmpty());
}

TEST_P(AgentTest, BytesThatAreNoTextAreMarked) {
  agent_.tools = {MakeTool("read", "Reads.", [](const Sum&) { return std::string("caf\xe9"); })};
  model_->CallsTool("read", R"({"a": 1})").Says("done");
  EXPECT_THAT(ToolTexts(RunOnce().messages), ElementsAre("caf\uFFFD"));
}

TEST_P(AgentTest, AConversationThatIsTooLargeIsAnEnd) {
  model_->Says("never");
  const size_t around = nlohmann::json(Ask("")).dump().size();
  auto run = env().engine().Start("A", Ask(std::string(limits::kPayloadMaxBytes - around, 'x')));
  ASSERT_TRUE(run.ok()) << run.status();
  const Result result = ResultOf(*run);
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "TooLarge");
}

// The conversation has their names; the model gets their bytes at each step.
TEST_P(AgentTest, ImagesMayBeBlobs) {
  model_->CallsTool("add", R"({"a": 1, "b": 2})").Says("a cat, and 3").Says("what was it?");
  std::vector<BlobRef> refs;
  env().engine().blobs().Put({"cat"}, [&](StatusOr<std::vector<BlobRef>> put) { refs = put.value(); });
  ASSERT_EQ(refs.size(), 1u);
  Input input = Ask("what is it?");
  input.keep_messages = true;
  input.messages[0].blocks.push_back(llm::Media{.media_type = "image/png", .blob = refs[0]});
  auto run = env().engine().Start("A", input);
  ASSERT_TRUE(run.ok()) << run.status();
  const Result result = ResultOf(*run);
  EXPECT_EQ(result.text, "a cat, and 3");
  ASSERT_FALSE(result.messages.empty());
  EXPECT_EQ(std::get<llm::Media>(result.messages[0].blocks[1]), std::get<llm::Media>(input.messages[0].blocks[1]));
  const std::vector<llm::ChatRequest> requests = model_->requests();
  ASSERT_EQ(requests.size(), 2u);
  for (const llm::ChatRequest& request : requests) {
    const auto& asked = request.messages[1];  // behind the instructions
    EXPECT_EQ(std::get<llm::Media>(asked.blocks[1]), (llm::Media{.media_type = "image/png", .bytes = "cat"}));
  }
  input.messages[0].blocks[1] = llm::Media{.media_type = "image/png", .blob = BlobRef{std::string(64, 'f'), 3}};
  const auto lost = env().engine().Start("A", input);
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_EQ(ResultOf(*lost).text, "what was it?") << "a conversation outlives its images";
  const std::vector<llm::Block> blocks = model_->requests().back().messages[1].blocks;
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(std::get<llm::Text>(blocks[1]).text, "[an image that is no longer kept]");
}

INSTANTIATE_TEST_SUITE_P(Cache, AgentTest, ::testing::Values(size_t{10'000}, size_t{0}), [](const ::testing::TestParamInfo<size_t>& setup) {
  return setup.param == 0 ? "NoCache" : "Cached";
});

// ---- Histories

// 200 turns of 4 KB, half of them the tool's: no history has a prompt twice.
TEST(AgentHistoryTest, GrowsByWhatIsNew) {
  constexpr int kTurns = 200;
  constexpr size_t kBytes = 4 << 10;
  int turns = 0;
  auto model = std::make_shared<llm::ScriptedModel>([&](const llm::ChatRequest& request) -> llm::ChatResult {
    EXPECT_EQ(request.messages.size(), 1u + 2u * static_cast<size_t>(turns));
    llm::ChatResponse response;
    if (++turns > kTurns) {
      response.blocks = {llm::Text{"done"}};
    } else {
      response.blocks = {llm::ToolCall{"call_" + std::to_string(turns), "read", R"({"a": 1})"}};
    }
    return response;
  });
  Agent agent{.name = "A", .model = "m"};
  agent.budget.steps = 0;
  agent.tools = {MakeTool("read", "Reads.", [](const Sum&) { return std::string(kBytes, 'x'); },
                          {.effect = Effect::kPure})};
  Registry registry;
  Bind(registry, agent, model);
  testing::TestEnvironment env(registry, {.verify_determinism = false});
  const auto run = env.engine().Start("A", Ask("hi"));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Result<Result>()->spent.tool_calls, kTurns);
  const auto description = run->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  RecordProperty("history_bytes", std::to_string(description->run.history_bytes));
  EXPECT_LT(description->run.history_bytes, 2 << 20);
  EXPECT_GT(description->run.history_bytes, static_cast<int64_t>(kTurns * kBytes));
}

}  // namespace
}  // namespace marathon::agent::loop_test
