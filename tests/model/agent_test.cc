// An agent and a real model, of tests/model_server.mjs. What it says is nobody's business here; that each step, each
// piece and each event is where it belongs, is.
// needs: agent sqlite
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "../script_server.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/llm/client.h"
#include "marathon/marathon.h"

namespace model_test {

struct Town {
  std::string name;
};
MARATHON_TOOL_INPUT(Town, (name, "of a town"))

}  // namespace model_test

namespace marathon::agent {
namespace {

using model_test::Town;
using Kind = StreamEvent::Kind;

constexpr Duration kPatience{500'000};  // one thread, on a machine that does other things
constexpr llm::Delta::Kind kText = llm::Delta::Kind::kText;

class ModelTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<tests::ScriptServer>("tests/model_server.sh"); }
  static void TearDownTestSuite() { server_.reset(); }

  ModelTest() {
    folder_ = (std::filesystem::temp_directory_path() / "marathon_model_XXXXXX").string();
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    agent_.name = "Guide";
    agent_.model = "small";
    agent_.instructions = "You are a guide. Be brief.";
    agent_.temperature = 0;
    agent_.extra = R"({"stop": ["."]})";  // one sentence will do
    agent_.tools = {MakeTool("weather", "The weather of a town.",
                             [this](const Town&) { return ++tool_calls_, "It rains."; }, {.effect = Effect::kPure})};
  }
  ~ModelTest() override { std::filesystem::remove_all(folder_); }

  Engine Open(bool works = true) {
    Registry registry;
    registry.Use(SqliteBackend());
    if (works) {
      auto client = llm::Client::Open({.base_url = "http://127.0.0.1:" + server_->port() + "/v1"});
      EXPECT_TRUE(client.ok()) << client.status();
      Bind(registry, agent_, *client, {.listener = [this](const ActivityInfo&, const llm::Delta& delta) {
             ++(delta.kind == kText ? pieces_of_text_ : pieces_of_calls_);
             if (pieces_of_text_ == die_at_) kill(getpid(), SIGKILL);
           }});
    }
    auto engine = Engine::Open("sqlite:" + folder_ + "/runs.db", registry);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  static StatusOr<marathon::Run> Start(Engine& engine) {
    return engine.Start("Guide", Ask("What should I do in Oslo today?"), {.workflow_id = "guide"});
  }
  static std::vector<StreamEvent> EventsOf(Engine& engine, const Id& run_id) {
    StreamReader reader(engine.streams(), StreamOf(run_id));
    std::vector<StreamEvent> all;
    while (all.empty() || all.back().kind != Kind::kDone) {
      auto events = reader.Next(kPatience);
      EXPECT_TRUE(events.ok() && !events->empty()) << events.status();
      if (!events.ok() || events->empty()) break;
      all.insert(all.end(), events->begin(), events->end());
    }
    return all;
  }

  static inline std::unique_ptr<tests::ScriptServer> server_;
  std::string folder_;
  Agent agent_;
  std::atomic<int> tool_calls_ = 0, pieces_of_text_ = 0, pieces_of_calls_ = 0;
  int die_at_ = -1;  // pieces of text
};

int Count(const std::vector<StreamEvent>& events, Kind kind) {
  return static_cast<int>(std::ranges::count(events, kind, &StreamEvent::kind));
}

// Of two steps: a call of the tool, and a text, which is in the stream as it is in the result.
void ExpectCallAndText(const Result& result, const std::vector<StreamEvent>& events) {
  EXPECT_EQ(result.stop, StopReason::kDone) << result.why << " " << result.message;
  EXPECT_EQ(result.spent.steps, 2);
  EXPECT_EQ(result.spent.tool_calls, 1);
  EXPECT_GT(result.spent.usage.input, 0);
  EXPECT_GT(result.spent.usage.output, 0);
  StreamView view;
  for (const StreamEvent& event : events) view.Apply(event);
  EXPECT_FALSE(result.text.empty());
  EXPECT_EQ(view.TextOf(1), "");
  EXPECT_EQ(view.TextOf(2), result.text);
  EXPECT_EQ(Count(events, Kind::kToolCall), 1);
  EXPECT_GE(Count(events, Kind::kToolArguments), 1);
  EXPECT_EQ(Count(events, Kind::kToolResult), 1);
  EXPECT_EQ(Count(events, Kind::kStepDone), 2);
}

TEST_F(ModelTest, CallsAToolAndSaysSomething) {
  auto engine = Open();
  const auto run = Start(engine);
  ASSERT_TRUE(run.ok()) << run.status();
  const auto events = EventsOf(engine, run->run_id());
  const auto result = run->Result<Result>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectCallAndText(*result, events);
  EXPECT_FALSE(result->spent.estimated);
  EXPECT_EQ(Count(events, Kind::kStepBegin), 2);
  EXPECT_EQ(tool_calls_, 1);
}

TEST_F(ModelTest, AProcessDiesInTheMiddleOfAnAnswer) {
  const pid_t child = fork();
  ASSERT_NE(child, -1);
  if (child == 0) {
    die_at_ = 2;
    auto engine = Open();
    const auto run = Start(engine);
    if (run.ok()) static_cast<void>(run->Result<Result>(kPatience));
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

  const auto recorded = Open(/*works=*/false).Find("guide").History();
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  auto engine = Open();
  const marathon::Run run = engine.Find("guide");
  const auto result = run.Result<Result>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto description = run.Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  const auto events = EventsOf(engine, description->run.key.run_id);
  ExpectCallAndText(*result, events);
  EXPECT_TRUE(result->spent.estimated) << "the attempt that died may have been paid for";
  EXPECT_EQ(Count(events, Kind::kStepBegin), 3);  // the second one twice
  EXPECT_GE(pieces_of_text_, 2);
  EXPECT_EQ(pieces_of_calls_, 0);  // the first step was recorded, and so was its call's result
  EXPECT_EQ(tool_calls_, 0);
  const auto history = run.History();
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_GT(history->size(), recorded->size());
  EXPECT_TRUE(std::ranges::equal(*recorded, std::span(*history).first(recorded->size())));
}

TEST_F(ModelTest, AnswersInTheFormOfASchema) {
  agent_.tools.clear();
  agent_.output = llm::OutputSchema{
      .schema = R"({"type": "object", "properties": {"place": {"type": "string"}, "hour": {"enum": [9, 12, 20]}},
                    "required": ["place", "hour"], "additionalProperties": false})"};
  auto engine = Open();
  const auto run = Start(engine);
  ASSERT_TRUE(run.ok()) << run.status();
  const auto result = run->Result<Result>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stop, StopReason::kDone) << result->why << " " << result->message;
  EXPECT_EQ(result->spent.steps, 1);
  const auto output = nlohmann::json::parse(result->output);
  EXPECT_THAT(output["hour"].get<int>(), ::testing::AnyOf(9, 12, 20));
}

}  // namespace
}  // namespace marathon::agent
