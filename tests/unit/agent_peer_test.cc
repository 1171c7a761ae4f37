// An agent whose model is a server that others have written: it comes to its end although that server asks it to wait, and
// breaks off.
// needs: agent
// program: llm
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../peer_server.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/engine.h"
#include "marathon/llm/client.h"

namespace agent_peer_test {

struct Town {
  std::string name;
};
MARATHON_TOOL_INPUT(Town, (name, "of a town"))

}  // namespace agent_peer_test

namespace marathon::agent::agent_peer_test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::SizeIs;
using ::agent_peer_test::Town;
using tests::PeerServer;

class AgentPeerTest : public ::testing::TestWithParam<llm::Protocol> {
 protected:
  AgentPeerTest() {
    peer_.Reset();
    agent_.name = "Guide";
    agent_.model = "small";
    agent_.instructions = "You are a guide.";
    agent_.max_tokens = 100;  // with its 429 the peer says that there are 417 tokens a second
    agent_.model_retry.initial_interval = 10ms;
    agent_.tools = {MakeTool("weather", "The weather of a town.", [this](const Town& town) { return Weather(town); },
                             {.effect = Effect::kPure})};
  }
  std::string Weather(const Town& town) {
    ++tool_calls_;
    return town.name == "Oslo" ? "sun" : "snow";
  }
  Engine Open() {
    const bool is_anthropic = GetParam() == llm::Protocol::kAnthropic;
    auto client = llm::Client::Open({.protocol = GetParam(), .base_url = peer_.url() + (is_anthropic ? "" : "/v1"),
                                     .api_key = PeerServer::kKey});
    EXPECT_TRUE(client.ok()) << client.status();
    Registry registry;
    Bind(registry, agent_, *client);
    auto engine = Engine::Open("memory:", registry);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  static std::vector<StreamEvent> EventsOf(Engine& engine, const Id& run_id) {
    StreamReader reader(engine.streams(), StreamOf(run_id));
    std::vector<StreamEvent> all;
    while (all.empty() || all.back().kind != StreamEvent::Kind::kDone) {
      auto events = reader.Next(60s);
      EXPECT_TRUE(events.ok() && !events->empty()) << events.status();
      if (!events.ok() || events->empty()) break;
      all.insert(all.end(), events->begin(), events->end());
    }
    return all;
  }

  PeerServer& peer_ = PeerServer::Get();
  Agent agent_;
  std::atomic<int> tool_calls_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Protocols, AgentPeerTest, ::testing::Values(llm::Protocol::kOpenAi, llm::Protocol::kAnthropic),
                         [](const auto& each) {
                           return each.param == llm::Protocol::kAnthropic ? "Anthropic" : "OpenAi";
                         });

TEST_P(AgentPeerTest, CompletesItsWorkWhateverThePeerDoes) {
  const auto match = [](int time) { return json{{"userMessage", "Oslo"}, {"hasToolResult", false}, {"sequenceIndex", time}}; };
  const json usage = {{"prompt_tokens", 30}, {"completion_tokens", 10}};
  const json calls = json::array({{{"name", "weather"}, {"arguments", R"({"name":"Oslo"})"}},
                                  {{"name", "weather"}, {"arguments", R"({"name":"Bodø"})"}}});
  const json answer = {{"content", "I shall look."}, {"toolCalls", calls}, {"usage", usage}};
  peer_.Answers({{"match", match(0)}, {"response", {{"status", 429}, {"error", {{"message", "slow"}, {"type", "rate_limit_error"}}}}}});
  peer_.Answers({{"match", match(1)}, {"response", answer}, {"chunkSize", 2}, {"latency", 1}, {"truncateAfterChunks", 12}});
  peer_.Answers({{"match", match(2)}, {"response", answer}, {"chunkSize", 2}});
  peer_.Answers({{"match", {{"hasToolResult", true}}}, {"response", {{"content", "Go to Oslo."}, {"usage", usage}}}});

  auto engine = Open();
  const auto run = engine.Start("Guide", Ask("Oslo or Bodø?"));
  ASSERT_TRUE(run.ok()) << run.status();
  const auto events = EventsOf(engine, run->run_id());
  const auto result = run->Result<Result>(60s);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stop, StopReason::kDone) << result->why << ": " << result->message;
  EXPECT_EQ(result->text, "Go to Oslo.");
  EXPECT_EQ(result->spent.steps, 2);
  EXPECT_EQ(result->spent.tool_calls, 2);
  // Two answers of the peer's, and, at a guess, what was sent for the one that it broke off.
  EXPECT_EQ(result->spent.usage.output, 20);
  EXPECT_GT(result->spent.usage.input, 60);
  EXPECT_LT(result->spent.usage.input, 200);
  EXPECT_TRUE(result->spent.estimated);
  EXPECT_EQ(tool_calls_, 2);

  StreamView view;
  for (const StreamEvent& event : events) view.Apply(event);
  EXPECT_EQ(view.TextOf(1), "I shall look.") << "once, though it was said one and a half times";
  EXPECT_EQ(view.TextOf(2), "Go to Oslo.");

  const auto asked = peer_.Asked();
  ASSERT_THAT(asked, SizeIs(4));
  EXPECT_GE(asked[1]["timestamp"].get<int64_t>() - asked[0]["timestamp"].get<int64_t>(), 1'000) << "its Retry-After";
  EXPECT_EQ(asked[1]["response"]["interruptReason"], "truncateAfterChunks");
  const json& messages = asked[3]["body"]["messages"];
  ASSERT_THAT(messages, SizeIs(5));
  EXPECT_EQ(messages[3]["content"], "sun");
  EXPECT_EQ(messages[4]["content"], "snow");
  EXPECT_EQ(messages[3]["tool_call_id"], messages[2]["tool_calls"][0]["id"]);
  EXPECT_EQ(messages[4]["tool_call_id"], messages[2]["tool_calls"][1]["id"]);
}

}  // namespace
}  // namespace marathon::agent::agent_peer_test
