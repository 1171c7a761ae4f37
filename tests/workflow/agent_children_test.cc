// Agents that call agents: child runs, what they may spend, how they end. Each test runs with live coroutines kept
// between turns and with none, and each turn is replayed and compared; at the end a cluster whose workers crash.
// needs: agent testing
// program: agent
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../sanitized.h"
#include "agent_texts.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/testing/test_environment.h"
#include "marathon/testing/workflow_simulator.h"

namespace agent_test {

struct Page {
  int number = 0;
};
MARATHON_TOOL_INPUT(Page, (number, "which"))

}  // namespace agent_test

namespace marathon::agent::agent_children_test {
namespace {

using namespace std::chrono_literals;
using agent_test::Page;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

llm::ChatResponse Calls(std::vector<std::pair<std::string, std::string>> tasks, llm::Usage usage = {}) {
  llm::ChatResponse response{.model = "m", .stop_reason = llm::StopReason::kToolCalls, .usage = usage};
  for (auto& [id, task] : tasks) {
    response.blocks.emplace_back(llm::ToolCall{id, "research", R"({"task": ")" + task + R"("})"});
  }
  return response;
}
llm::ChatResponse SaysFor(std::string text, llm::Usage usage) {
  llm::ChatResponse response{.model = "m", .usage = usage};
  response.blocks.emplace_back(llm::Text{std::move(text)});
  return response;
}

// "Editor" has "Researcher" as its tool "research", and that one has "read". The children are asked what `child_`
// says, since their order is nobody's promise.
class AgentChildrenTest : public ::testing::TestWithParam<size_t> {
 protected:
  AgentChildrenTest() {
    editor_.name = "Editor";
    editor_.model = "m";
    researcher_.name = "Researcher";
    researcher_.model = "r";
    researcher_.tools = {MakeTool("read", "Reads.", [](const Page& page) { return "page " + std::to_string(page.number); },
                                  {.effect = Effect::kPure})};
  }
  testing::TestEnvironment& env() {
    if (!env_) {
      editor_.tools = {MakeAgentTool("research", "Finds out.", researcher_, options_)};
      auto model = std::make_shared<llm::ScriptedModel>(
          [this](const llm::ChatRequest& request) { return request.model == "r" ? child_(request) : Next(request); });
      Registry registry;
      Bind(registry, editor_, model);
      env_.emplace(registry, testing::TestEnvironmentOptions{.cache_runs = GetParam()});
    }
    return *env_;
  }
  llm::ChatResult Next(const llm::ChatRequest&) {
    if (parent_.empty()) return llm::MakeError(llm::ErrorClass::kBadRequest, "nothing is left");
    llm::ChatResult next = parent_.front();
    parent_.erase(parent_.begin());
    return next;
  }
  marathon::Run Start() {
    Input input = Ask("go");
    input.keep_messages = true;
    auto run = env().engine().Start("Editor", input);
    EXPECT_TRUE(run.ok()) << run.status();
    return *run;
  }
  static Result ResultOf(const marathon::Run& run) {
    auto result = run.Result<Result>();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.value_or(Result());
  }
  // The child that a call of the first step has.
  marathon::Run ChildOf(const marathon::Run& run, const std::string& call) {
    return env().engine().Find(run.run_id().str() + "/1/" + call);
  }
  Input ChildInput(const marathon::Run& run, const std::string& call) {
    const auto history = ChildOf(run, call).History();
    EXPECT_TRUE(history.ok()) << history.status();
    for (const Event& event : *history) {
      if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) return Decode<Input>(started->input).value();
    }
    return {};
  }

  Agent editor_, researcher_;
  AgentToolOptions options_;
  std::vector<llm::ChatResult> parent_;
  std::function<llm::ChatResult(const llm::ChatRequest&)> child_ = [](const llm::ChatRequest& request) {
    return SaysFor("about " + llm::TextOf(request.messages.back().blocks), {.input = 50, .output = 10});
  };
  std::optional<testing::TestEnvironment> env_;
};

TEST_P(AgentChildrenTest, AnAgentIsATool) {
  int asked = 0;
  child_ = [&](const llm::ChatRequest& request) -> llm::ChatResult {
    EXPECT_EQ(request.tools.size(), 1u);
    if (++asked == 1) {
      EXPECT_EQ(request.messages.back(), llm::UserMessage("Faust"));
      llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls, .usage = {.input = 50, .output = 10}};
      response.blocks.emplace_back(llm::ToolCall{"c", "read", R"({"number": 7})"});
      return response;
    }
    return SaysFor("Goethe wrote it.", {.input = 60, .output = 5});
  };
  parent_ = {Calls({{"a", "Faust"}}, {.input = 100, .output = 20}), SaysFor("Goethe.", {.input = 130, .output = 5})};
  const marathon::Run run = Start();
  const Result result = ResultOf(run);
  EXPECT_EQ(result.text, "Goethe.");
  EXPECT_THAT(ToolTexts(result), ElementsAre("Goethe wrote it."));
  // What the child has spent is its caller's, too.
  const Result child = ResultOf(ChildOf(run, "a"));
  EXPECT_EQ(child.spent.steps, 2);
  EXPECT_EQ(child.spent.tool_calls, 1);
  EXPECT_EQ(result.spent.steps, 4);
  EXPECT_EQ(result.spent.tool_calls, 2);
  EXPECT_EQ(result.spent.usage, (llm::Usage{.input = 340, .output = 40}));
  const auto tasks = env().Inputs<ModelTask>("Editor/model");
  ASSERT_EQ(tasks.size(), 2u);
  EXPECT_EQ(tasks[1].step, 2) << "steps are the agent's own";
}

TEST_P(AgentChildrenTest, ReadersSeeItsResult) {
  parent_ = {Calls({{"a", "Faust"}}), SaysFor("done", {})};
  const marathon::Run run = Start();
  ResultOf(run);
  std::vector<StreamEvent> results;
  StreamReader reader(env().engine().streams(), StreamOf(run.run_id()));
  const auto events = reader.Next(Duration(0));
  ASSERT_TRUE(events.ok()) << events.status();
  std::ranges::copy_if(*events, std::back_inserter(results),
                       [](const StreamEvent& event) { return event.kind == StreamEvent::Kind::kToolResult; });
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].id, "a");
  EXPECT_EQ(results[0].text, "about Faust");
}

TEST_P(AgentChildrenTest, SideBySideTheyShareWhatIsLeft) {
  editor_.budget = {.steps = 11, .tool_calls = 0, .tokens = 20'000};
  editor_.max_tokens = 100;
  researcher_.max_tokens = 100;
  researcher_.budget = {.steps = 0, .tool_calls = 3};
  parent_ = {Calls({{"a", "one"}, {"b", "two"}}, {.input = 900, .output = 100}), SaysFor("done", {})};
  const marathon::Run run = Start();
  const Result result = ResultOf(run);
  EXPECT_THAT(ToolTexts(result), ElementsAre("about one", "about two"));
  for (const std::string call : {"a", "b"}) {
    const Input input = ChildInput(run, call);
    ASSERT_TRUE(input.budget.has_value());
    EXPECT_EQ(*input.budget, (Budget{.steps = 5, .tool_calls = 3, .tokens = 9'500}));
  }
  EXPECT_EQ(result.spent.steps, 4);
}

TEST_P(AgentChildrenTest, OneThatRunsOutOfTheSharedBudget) {
  editor_.budget.steps = 4;
  child_ = [](const llm::ChatRequest&) -> llm::ChatResult {
    llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls};
    response.blocks = {llm::Text{"still reading"}, llm::ToolCall{"c", "read", R"({"number": 7})"}};
    return response;
  };
  parent_ = {Calls({{"a", "Faust"}}), SaysFor("never", {})};
  const Result result = ResultOf(Start());
  EXPECT_EQ(result.stop, StopReason::kBudget);
  EXPECT_EQ(result.why, "steps");
  EXPECT_EQ(result.spent.steps, 4) << "its own, and three of the child's";
  EXPECT_THAT(ToolTexts(result), ElementsAre("error: It came to no end: budget, steps\nIts last words: still reading"));
  EXPECT_EQ(parent_.size(), 1u);
}

TEST_P(AgentChildrenTest, WithoutABudgetNoneIsCalled) {
  editor_.budget.steps = 1;
  parent_ = {Calls({{"a", "Faust"}})};
  const Result result = ResultOf(Start());
  EXPECT_EQ(result.why, "steps");
  EXPECT_THAT(ToolTexts(result), ElementsAre("error: Not called: the budget is used up (steps)."));
}

TEST_P(AgentChildrenTest, OneThatFails) {
  child_ = [](const llm::ChatRequest&) { return llm::MakeError(llm::ErrorClass::kBadRequest, "no such model"); };
  parent_ = {Calls({{"a", "Faust"}}), SaysFor("Then not.", {})};
  const Result result = ResultOf(Start());
  EXPECT_EQ(result.text, "Then not.");
  ASSERT_EQ(ToolTexts(result).size(), 1u);
  EXPECT_THAT(ToolTexts(result)[0], HasSubstr("error: It came to no end: failed, "));
  EXPECT_THAT(ToolTexts(result)[0], HasSubstr("no such model"));
}

// Nobody knows what it has spent: so it counts as all that it was lent.
TEST_P(AgentChildrenTest, OneThatIsLost) {
  for (const Effect effect : {Effect::kAtMostOnce, Effect::kPure}) {
    env_.reset();
    editor_.budget = {.steps = 10, .tokens = 50'000};
    researcher_.budget = {.steps = 4, .tokens = 30'000};
    researcher_.tools[0].options.approve = Always();
    options_ = {.effect = effect, .timeout = 1h};
    child_ = [](const llm::ChatRequest&) -> llm::ChatResult {
      llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls};
      response.blocks = {llm::ToolCall{"c", "read", R"({"number": 7})"}};
      return response;
    };
    parent_ = {Calls({{"a", "Faust"}}, {.input = 90, .output = 10}), SaysFor("Then not.", {.input = 200, .output = 10})};
    const Result result = ResultOf(Start());
    EXPECT_EQ(result.text, "Then not.");
    ASSERT_EQ(ToolTexts(result).size(), 1u);
    EXPECT_EQ(ToolTexts(result)[0].ends_with("It is not known what it has done by then"), effect == Effect::kAtMostOnce)
        << ToolTexts(result)[0];
    EXPECT_EQ(result.spent.steps, 6);
    EXPECT_EQ(result.spent.usage.input, 30'290);
    EXPECT_TRUE(result.spent.estimated);
  }
}

TEST_P(AgentChildrenTest, PeopleAreAskedBeforeAndInside) {
  options_.approve = Always();
  researcher_.tools[0].options.approve = Always();
  int asked = 0;
  child_ = [&](const llm::ChatRequest&) -> llm::ChatResult {
    if (++asked == 2) return SaysFor("read it", {});
    llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls};
    response.blocks = {llm::ToolCall{"c", "read", R"({"number": 7})"}};
    return response;
  };
  parent_ = {Calls({{"a", "Faust"}}), SaysFor("done", {})};
  const marathon::Run run = Start();
  env().RunUntilIdle();
  auto pending = Pending(run);
  ASSERT_TRUE(pending.ok() && pending->size() == 1) << pending.status();
  EXPECT_EQ(asked, 0);
  ASSERT_TRUE(Edit(run, pending->front(), R"({"task": "Werther"})").ok());
  env().Advance(24h);
  EXPECT_EQ(ChildInput(run, "a").messages.front(), llm::UserMessage("Werther"));
  const marathon::Run child = ChildOf(run, "a");
  pending = Pending(child);
  ASSERT_TRUE(pending.ok() && pending->size() == 1) << pending.status();
  ASSERT_TRUE(Approve(child, pending->front()).ok());
  EXPECT_THAT(ToolTexts(ResultOf(run)), ElementsAre(HasSubstr("read it")));
}

TEST_P(AgentChildrenTest, AStopReachesThem) {
  researcher_.tools[0].options.approve = Always();
  child_ = [](const llm::ChatRequest&) -> llm::ChatResult {
    llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls};
    response.blocks = {llm::Text{"I have begun"}, llm::ToolCall{"c", "read", R"({"number": 7})"}};
    return response;
  };
  parent_ = {Calls({{"a", "Faust"}}), SaysFor("never", {})};
  const marathon::Run run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(Stop(run, "enough").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_THAT(ToolTexts(result), ElementsAre("error: It came to no end: stopped, enough\nIts last words: I have begun"));
  EXPECT_EQ(ResultOf(ChildOf(run, "a")).stop, StopReason::kStopped);
  EXPECT_EQ(result.spent.steps, 2);
}

TEST_P(AgentChildrenTest, ACancelReachesThem) {
  researcher_.budget.steps = 5;
  researcher_.tools[0].options.approve = Always();
  child_ = [](const llm::ChatRequest&) -> llm::ChatResult {
    llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls};
    response.blocks = {llm::ToolCall{"c", "read", R"({"number": 7})"}};
    return response;
  };
  parent_ = {Calls({{"a", "Faust"}}), SaysFor("Then not.", {})};
  marathon::Run run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(run.Cancel("enough").ok());
  EXPECT_EQ(run.Result<Result>().status().code(), StatusCode::kCancelled);
  EXPECT_EQ(ChildOf(run, "a").Result<Result>().status().code(), StatusCode::kCancelled);
  // A cancel of the child alone is its caller's to know.
  parent_ = {Calls({{"a", "Faust"}}), SaysFor("Then not.", {})};
  run = Start();
  env().RunUntilIdle();
  ASSERT_TRUE(ChildOf(run, "a").Cancel("enough").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.text, "Then not.");
  EXPECT_THAT(ToolTexts(result), ElementsAre(HasSubstr("error: It came to no end: ")));
}

TEST_P(AgentChildrenTest, AsManyAtATimeAsItMay) {
  options_.max_parallel = 1;
  researcher_.tools[0].options.approve = Always();
  child_ = [](const llm::ChatRequest&) -> llm::ChatResult {
    llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls};
    response.blocks = {llm::ToolCall{"c", "read", R"({"number": 7})"}};
    return response;
  };
  parent_ = {Calls({{"a", "one"}, {"b", "two"}}), SaysFor("never", {})};
  const marathon::Run run = Start();
  env().Advance(1h);
  EXPECT_TRUE(Pending(ChildOf(run, "a")).ok());
  EXPECT_FALSE(Pending(ChildOf(run, "b")).ok());
  ASSERT_TRUE(Stop(run, "enough").ok());
  EXPECT_THAT(ToolTexts(ResultOf(run)),
              ElementsAre("error: It came to no end: stopped, enough", "error: Not called: the agent was stopped."));
}

TEST_P(AgentChildrenTest, CallIdsThatAreNoNames) {
  const std::string odd = "a\nb";
  parent_ = {Calls({{odd, "one"}, {std::string(300, 'x'), "two"}}), SaysFor("done", {})};
  EXPECT_THAT(ToolTexts(ResultOf(Start())), ElementsAre("about one", "about two"));
}

INSTANTIATE_TEST_SUITE_P(Cache, AgentChildrenTest, ::testing::Values(size_t{10'000}, size_t{0}),
                         [](const auto& setup) { return setup.param == 0 ? "NoCache" : "Cached"; });

// ---- Binding

std::string MistakesOf(const Agent& agent) {
  Registry registry;
  Bind(registry, agent, std::make_shared<llm::ScriptedModel>());
  return registry.mistakes();
}

TEST(AgentFamilyTest, IsBoundWhole) {
  const Agent writer{.name = "Writer", .model = "m"};
  const Tool write = MakeAgentTool("write", "Writes.", writer);
  Agent researcher{.name = "Researcher", .model = "m"};
  researcher.tools = {write};
  Agent editor{.name = "Editor", .model = "m"};
  editor.tools = {MakeAgentTool("research", "Finds out.", researcher), write};
  EXPECT_EQ(MistakesOf(editor), "");
  Registry registry;
  auto model = std::make_shared<llm::ScriptedModel>();
  Bind(registry, writer, model);  // by itself, with a model of its own say
  Bind(registry, editor, model);
  EXPECT_EQ(registry.mistakes(), "");
  for (const char* name : {"Editor", "Researcher", "Writer"}) EXPECT_NE(registry.FindWorkflow(name), nullptr) << name;
  EXPECT_NE(registry.FindActivity("Writer/model"), nullptr);
  EXPECT_EQ(registry.FindActivity("Editor/tool/write"), nullptr);
}

TEST(AgentFamilyTest, MistakesAreTold) {
  const Agent writer{.name = "Writer", .model = "m"};
  Agent editor{.name = "Editor", .model = "m"};
  editor.tools = {MakeAgentTool("write", "Writes.", writer), MakeAgentTool("rewrite", "Writes.", writer)};
  EXPECT_THAT(MistakesOf(editor), HasSubstr("two agents have the name \"Writer\""));
  editor.tools = {MakeAgentTool("edit", "Edits.", editor)};
  EXPECT_THAT(MistakesOf(editor), HasSubstr("two agents have the name \"Editor\""));
  editor.tools = {MakeAgentTool("no name", "Writes.", writer)};
  EXPECT_THAT(MistakesOf(editor), HasSubstr("\"no name\" needs a name"));
}

// ---- Crashes at random

// An editor with two researchers side by side, each with a step that has an effect.
testing::SimScenario Scenario() {
  auto posted = std::make_shared<std::map<std::string, int>>();  // by task
  auto model = std::make_shared<llm::ScriptedModel>([](const llm::ChatRequest& request) -> llm::ChatResult {
    const bool first = request.messages.size() == 1;
    const std::string task = llm::TextOf(request.messages.front().blocks);
    if (request.model == "m") return first ? Calls({{"a", "1"}, {"b", "2"}}) : SaysFor("done", {});
    if (!first) return SaysFor("posted " + task, {.input = 10, .output = 10});
    llm::ChatResponse response{.stop_reason = llm::StopReason::kToolCalls, .usage = {.input = 10, .output = 10}};
    response.blocks = {llm::ToolCall{"c", "post", R"({"number": )" + task + "}"}};
    return response;
  });
  Agent researcher{.name = "Researcher", .model = "r"};
  researcher.model_retry = {.initial_interval = 100ms};
  researcher.tools = {MakeTool("post", "Posts.", [posted](const Page& page) {
    return ++(*posted)[std::to_string(page.number)], std::string("posted");
  })};
  Agent editor{.name = "Editor", .model = "m"};
  editor.model_retry = {.initial_interval = 100ms};
  editor.tools = {MakeAgentTool("research", "Finds out.", researcher)};
  testing::SimScenario scenario;
  Bind(scenario.registry, editor, model);
  scenario.play = [](testing::SimUser& user) -> Status {
    Input input = Ask("go");
    input.keep_messages = true;
    const auto run = user.engine().Start("Editor", input, {.workflow_id = "w"});
    return run.ok() ? run->Result<Result>().status() : run.status();
  };
  scenario.check = [posted](testing::SimUser& user) -> Status {
    const auto result = user.engine().Find("w").Result<Result>();
    if (!result.ok()) return result.status();
    if (ToolTexts(*result) != std::vector<std::string>{"posted 1", "posted 2"}) return Aborted("other results");
    if (result->spent.steps != 6) return Aborted("steps: " + std::to_string(result->spent.steps));
    for (const auto& [task, times] : *posted) {
      if (times > 1) return Aborted("posted more than once: " + task);
    }
    return {};
  };
  return scenario;
}

TEST(AgentChildrenCrashTest, EachChildOnceWhateverCrashes) {
  testing::SimulateWorkflowOptions options;
  options.seeds = kSanitized ? 10 : 40;
  const auto report = testing::SimulateWorkflow([] { return Scenario(); }, options);
  EXPECT_EQ(report.violation, "") << "seed " << report.seed;
  EXPECT_GT(report.repeated, options.seeds / 10);
}

}  // namespace
}  // namespace marathon::agent::agent_children_test
