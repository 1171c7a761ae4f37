// Conversations that grow too long, and are summarized: what the models are asked, what stays, what fails. Each test
// runs with live coroutines kept between turns and with none, and each turn is replayed and compared; at the end
// processes that die, and stores that have forgotten.
// needs: agent testing
// program: agent_streams
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../sanitized.h"
#include "fixture.h"
#include "marathon/adapters/memory.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/testing/test_environment.h"
#include "marathon/testing/workflow_simulator.h"

namespace agent_test {

struct Chapter {
  int number = 0;
};
MARATHON_TOOL_INPUT(Chapter, (number, "which"))

}  // namespace agent_test

namespace marathon::agent::agent_compaction_test {
namespace {

using namespace std::chrono_literals;
using agent_test::Chapter;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kChapterBytes = 3'000;  // 1,000 tokens at a guess

llm::ChatResponse SaysIt(std::string text, llm::StopReason stop = llm::StopReason::kEnd) {
  llm::ChatResponse response{.model = "m", .stop_reason = stop, .usage = {.input = 10, .output = 5}};
  response.blocks.emplace_back(llm::Text{std::move(text)});
  return response;
}
llm::ChatResponse Reads(int chapter) {
  llm::ChatResponse response{.model = "m", .stop_reason = llm::StopReason::kToolCalls};
  response.blocks.emplace_back(llm::ToolCall{"call_" + std::to_string(chapter), "read",
                                             R"({"number": )" + std::to_string(chapter) + "}"});
  return response;
}
const llm::Message kSummarized = llm::UserMessage("[What was said before, in short]\nhe read");

// An agent that reads `chapters`, each as long as the last, and is summarized above 2,500 tokens.
struct Reader {
  Agent agent{.name = "A", .model = "m", .instructions = "Be brief."};
  int chapters = 4;
  int read = 0;
  std::function<llm::ChatResult(const llm::ChatRequest&)> summary = [](const llm::ChatRequest&) { return SaysIt("he read"); };
  std::vector<llm::ChatRequest> asked, summaries;

  Reader() {
    agent.tools = {MakeTool("read", "Reads.",
                            [](const Chapter& chapter) {
                              return "chapter " + std::to_string(chapter.number) + std::string(kChapterBytes, '.');
                            },
                            {.effect = Effect::kPure})};
    agent.compaction = {.above_tokens = 2'500, .keep_last = 2, .model = "s"};
  }
  std::shared_ptr<llm::Model> Model() {
    return std::make_shared<llm::ScriptedModel>([this](const llm::ChatRequest& request) -> llm::ChatResult {
      if (request.model == "s") {
        summaries.push_back(request);
        return summary(request);
      }
      asked.push_back(request);
      return read < chapters ? Reads(++read) : SaysIt("done");
    });
  }
};

// The numbers of the chapters in it, "s" where the summary stands.
std::string ChaptersIn(const std::vector<llm::Message>& messages) {
  std::string chapters;
  for (const llm::Message& message : messages) {
    if (message == kSummarized) chapters += "s";
    for (const llm::Block& block : message.blocks) {
      if (const auto* result = std::get_if<llm::ToolResult>(&block)) chapters += result->text.substr(8, 1);
    }
  }
  return chapters;
}

class AgentCompactionTest : public ::testing::TestWithParam<size_t> {
 protected:
  testing::TestEnvironment& env() {
    if (!env_) {
      Registry registry;
      Bind(registry, reader_.agent, reader_.Model());
      env_.emplace(registry, testing::TestEnvironmentOptions{.cache_runs = GetParam(), .log = log_});
    }
    return *env_;
  }
  marathon::Run Start() {
    Input input = Ask("Read.");
    input.keep_messages = true;
    auto run = env().engine().Start("A", input);
    EXPECT_TRUE(run.ok()) << run.status();
    return *run;
  }
  static Result ResultOf(const marathon::Run& run) {
    auto result = run.Result<Result>();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.value_or(Result());
  }

  Reader reader_;
  std::shared_ptr<tests::CollectingLog> log_ = std::make_shared<tests::CollectingLog>();
  std::optional<testing::TestEnvironment> env_;
};

TEST_P(AgentCompactionTest, TheOlderPartBecomesASummary) {
  const marathon::Run run = Start();
  const Result result = ResultOf(run);
  EXPECT_EQ(result.text, "done");
  // Before the fourth step three chapters would be too much, and before the fifth one more.
  ASSERT_EQ(reader_.summaries.size(), 1u);
  const llm::ChatRequest& summary = reader_.summaries[0];
  EXPECT_TRUE(summary.tools.empty());
  EXPECT_EQ(summary.max_tokens, 2'048);
  ASSERT_EQ(summary.messages.size(), 2u);
  EXPECT_EQ(summary.messages[0].role, llm::Role::kSystem);
  const std::string text = llm::TextOf(summary.messages[1].blocks);
  EXPECT_THAT(text, HasSubstr("User:\nRead."));
  EXPECT_THAT(text, HasSubstr("[calls read as call_1 with {\"number\": 1}]"));
  EXPECT_THAT(text, HasSubstr("[result of call_2: chapter 2.."));
  EXPECT_THAT(text, Not(HasSubstr("chapter 3")));
  std::vector<std::string> seen;
  for (const llm::ChatRequest& request : reader_.asked) seen.push_back(ChaptersIn(request.messages));
  EXPECT_THAT(seen, ElementsAre("", "1", "12", "s3", "s34"));
  // Its own instructions stay, and so does the digest chain: what follows is sent without what was before.
  EXPECT_EQ(reader_.asked[3].messages[0], llm::SystemMessage("Be brief."));
  EXPECT_EQ(reader_.asked[3].messages[1], kSummarized);
  EXPECT_EQ(ChaptersIn(result.messages), "s34");
  const auto tasks = env().Inputs<ModelTask>("A/model");
  ASSERT_EQ(tasks.size(), 6u);
  EXPECT_EQ(tasks[3].summarize, (MessageSpan{0, 5}));
  EXPECT_TRUE(tasks[3].messages.empty()) << "the worker has them";
  EXPECT_FALSE(tasks[4].head.has_value());
  EXPECT_EQ(tasks[4].messages.size(), 3u);
  EXPECT_TRUE(tasks[5].head.has_value());
  EXPECT_EQ(tasks[5].messages.size(), 1u);
  // It is a step, and paid for.
  EXPECT_EQ(result.spent.steps, 6);
  // … of which a reader sees nothing.
  StreamReader reader(env().engine().streams(), StreamOf(run.run_id()));
  const auto events = reader.Next(Duration(0));
  ASSERT_TRUE(events.ok()) << events.status();
  for (const StreamEvent& event : *events) EXPECT_NE(event.step, 4) << event.text;
}

TEST_P(AgentCompactionTest, ACallStaysWithItsResult) {
  reader_.agent.compaction.keep_last = 1;
  const Result result = ResultOf(Start());
  for (const llm::ChatRequest& request : reader_.asked) {
    int open = 0;
    for (const llm::Message& message : request.messages) {
      for (const llm::Block& block : message.blocks) {
        if (std::holds_alternative<llm::ToolCall>(block)) ++open;
        if (std::holds_alternative<llm::ToolResult>(block)) --open;
        EXPECT_GE(open, 0);
      }
    }
    EXPECT_EQ(open, 0);
  }
  EXPECT_EQ(ChaptersIn(result.messages), "s34");
}

TEST_P(AgentCompactionTest, ALongConversationIsSummarizedAgainAndAgain) {
  reader_.chapters = 9;
  const Result result = ResultOf(Start());
  EXPECT_EQ(result.text, "done");
  EXPECT_GE(reader_.summaries.size(), 3u);
  EXPECT_THAT(llm::TextOf(reader_.summaries[1].messages[1].blocks), HasSubstr("he read"));
  for (const llm::ChatRequest& request : reader_.asked) EXPECT_LE(ChaptersIn(request.messages).size(), 3u);
}

// Nothing is lost, and it is not tried with every step.
TEST_P(AgentCompactionTest, WithoutASummaryItGoesOn) {
  int way = 0;
  for (const llm::ChatResult& bad :
       {llm::ChatResult(llm::MakeError(llm::ErrorClass::kBadRequest, "no such model")),
        llm::ChatResult(SaysIt("he re", llm::StopReason::kMaxTokens)), llm::ChatResult(SaysIt(""))}) {
    env_.reset();
    log_ = std::make_shared<tests::CollectingLog>();
    reader_.read = 0;
    reader_.asked.clear();
    reader_.summaries.clear();
    reader_.summary = [&](const llm::ChatRequest&) { return bad; };
    const Result result = ResultOf(Start());
    EXPECT_EQ(result.text, "done") << way;
    EXPECT_EQ(ChaptersIn(result.messages), "1234") << way;
    EXPECT_EQ(ChaptersIn(reader_.asked.back().messages), "1234") << way;
    EXPECT_EQ(reader_.summaries.size(), 2u) << way << ": at 3 chapters, and at 4";
    EXPECT_GT(log_->Count("the conversation stays as long as it is: "), 0) << way++;
  }
}

TEST_P(AgentCompactionTest, AndEndsWhereTheProviderSaysSo) {
  reader_.summary = [](const llm::ChatRequest&) { return llm::MakeError(llm::ErrorClass::kBadRequest, "no"); };
  Registry registry;
  auto model = std::make_shared<llm::ScriptedModel>([this](const llm::ChatRequest& request) -> llm::ChatResult {
    if (request.model == "s") return reader_.summary(request);
    if (ChaptersIn(request.messages).size() < 3) return Reads(++reader_.read);
    return SaysIt("", llm::StopReason::kContextFull);
  });
  Bind(registry, reader_.agent, model);
  env_.emplace(registry, testing::TestEnvironmentOptions{.cache_runs = GetParam(), .log = log_});
  const Result result = ResultOf(Start());
  EXPECT_EQ(result.stop, StopReason::kFailed);
  EXPECT_EQ(result.why, "ContextFull");
}

TEST_P(AgentCompactionTest, WhatCannotBePaidIsNotAsked) {
  reader_.agent.budget.steps = 3;
  Result result = ResultOf(Start());
  EXPECT_EQ(result.why, "steps");
  EXPECT_TRUE(reader_.summaries.empty());
  EXPECT_EQ(result.spent.steps, 3);
  env_.reset();
  reader_.read = 0;
  reader_.agent.budget = {.steps = 0, .tokens = 1'000'000};
  reader_.agent.compaction.max_tokens = 2'000'000;
  result = ResultOf(Start());
  EXPECT_EQ(result.text, "done");
  EXPECT_TRUE(reader_.summaries.empty());
}

TEST_P(AgentCompactionTest, AStopIsHeardMeanwhile) {
  reader_.summary = [](const llm::ChatRequest&) { return llm::MakeError(llm::ErrorClass::kOverloaded, "later"); };
  const marathon::Run run = Start();
  env().Advance(1s);
  EXPECT_FALSE(reader_.summaries.empty());
  ASSERT_TRUE(Stop(run, "enough").ok());
  const Result result = ResultOf(run);
  EXPECT_EQ(result.stop, StopReason::kStopped);
  EXPECT_EQ(ChaptersIn(result.messages), "123");
  EXPECT_TRUE(result.spent.estimated);
}

INSTANTIATE_TEST_SUITE_P(Cache, AgentCompactionTest, ::testing::Values(size_t{10'000}, size_t{0}),
                         [](const auto& setup) { return setup.param == 0 ? "NoCache" : "Cached"; });

// ---- Processes that die

// The store has forgotten the conversation, and the worker is new: it is sent whole, for the summary, too.
TEST(AgentCompactionCrashTest, AConversationThatIsGoneIsSummarizedAllTheSame) {
  Reader reader;
  reader.agent.tools[0].options.approve = [](const nlohmann::json& arguments) { return arguments["number"] == 3; };
  ThreadRuntime runtime(1, 1);
  Ports ports = NewMemoryPorts(runtime);
  Input input = Ask("Read.");
  input.keep_messages = true;
  PendingApproval call;
  {
    Registry registry;
    Bind(registry, reader.agent, reader.Model());
    auto engine = Engine::Open(ports, registry, {});
    ASSERT_TRUE(engine.ok()) << engine.status();
    const auto run = engine->Start("A", input, {.workflow_id = "w"});
    ASSERT_TRUE(tests::Eventually([&] {
      const auto pending = Pending(*run);
      if (pending.ok() && !pending->empty()) call = pending->front();
      return !call.key.empty();
    }));
  }
  ports.blobs = nullptr;
  {
    Registry registry;
    Bind(registry, reader.agent, reader.Model());
    auto engine = Engine::Open(ports, registry, {});
    ASSERT_TRUE(engine.ok()) << engine.status();
    const marathon::Run run = engine->Find("w");
    ASSERT_TRUE(Approve(run, call).ok());
    const auto result = run.Result<Result>(tests::kPatience);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->text, "done");
    EXPECT_EQ(ChaptersIn(result->messages), "s34");
    ASSERT_EQ(reader.summaries.size(), 1u);
    EXPECT_THAT(llm::TextOf(reader.summaries[0].messages[1].blocks), HasSubstr("chapter 2.."));
  }
  ports = Ports();
  runtime.Stop();
}

testing::SimScenario ReadingScenario() {
  auto reader = std::make_shared<Reader>();
  reader->agent.model_retry = {.initial_interval = 100ms};
  // By what it has seen, since steps may be asked twice.
  auto model = std::make_shared<llm::ScriptedModel>([](const llm::ChatRequest& request) -> llm::ChatResult {
    if (request.model == "s") return SaysIt("he read");
    const std::string seen = ChaptersIn(request.messages);
    const int last = seen.empty() || seen.back() == 's' ? 0 : seen.back() - '0';
    return last < 6 ? Reads(last + 1) : SaysIt("done");
  });
  testing::SimScenario scenario;
  Bind(scenario.registry, reader->agent, model);
  scenario.play = [](testing::SimUser& user) -> Status {
    Input input = Ask("Read.");
    input.keep_messages = true;
    const auto run = user.engine().Start("A", input, {.workflow_id = "w"});
    return run.ok() ? run->Result<Result>().status() : run.status();
  };
  scenario.check = [](testing::SimUser& user) -> Status {
    const auto result = user.engine().Find("w").Result<Result>();
    if (!result.ok()) return result.status();
    const std::string chapters = ChaptersIn(result->messages);
    if (result->text != "done" || chapters != "s56") return Aborted("another conversation: " + chapters);
    if (result->spent.steps != 9) return Aborted("steps: " + std::to_string(result->spent.steps));
    return {};
  };
  return scenario;
}

TEST(AgentCompactionCrashTest, OneConversationWhateverCrashes) {
  testing::SimulateWorkflowOptions options;
  options.seeds = kSanitized ? 8 : 25;
  const auto report = testing::SimulateWorkflow([] { return ReadingScenario(); }, options);
  EXPECT_EQ(report.violation, "") << "seed " << report.seed;
  EXPECT_GT(report.repeated, options.seeds / 10);
}

}  // namespace
}  // namespace marathon::agent::agent_compaction_test
