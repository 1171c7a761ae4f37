// The client and a server that others have written, in both protocols, whole and streamed: what we send is what it
// understands, and what it says is what we hear.
// needs: llm
// program: llm
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "llm_peer.h"

namespace marathon::llm::llm_peer_test {
namespace {

using nlohmann::json;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::SizeIs;
using namespace llm_peer;

class PeerChatTest : public PeerChat {};
INSTANTIATE_TEST_SUITE_P(Protocols, PeerChatTest, ::testing::Combine(EachProtocol(), ::testing::Bool()), NameOfTest);

TEST_P(PeerChatTest, SaysText) {
  peer_.Answers({{"match", {{"userMessage", "hello"}}},
                 {"chunkSize", 4},
                 {"response",
                  {{"content", "Grüße aus Oslo, 😀!"},
                   {"id", "answer-1"},
                   {"usage", {{"prompt_tokens", 12}, {"completion_tokens", 7}}}}}});
  const ChatResponse response = ResponseTo(Asking("Say hello"));
  EXPECT_EQ(TextOf(response.blocks), "Grüße aus Oslo, 😀!");
  EXPECT_EQ(response.id, "answer-1");
  EXPECT_EQ(response.model, "claude-sonnet-4-5");
  EXPECT_EQ(response.stop_reason, StopReason::kEnd);
  EXPECT_EQ(response.usage, (Usage{.input = 12, .output = 7}));
  EXPECT_EQ(pieces_, streams() ? 5 : 1);

  const json headers = peer_.Asked().back()["headers"];
  EXPECT_EQ(headers.contains("authorization"), !is_anthropic());
  EXPECT_EQ(headers.contains("x-api-key"), is_anthropic());
  EXPECT_EQ(headers.value("anthropic-version", ""), is_anthropic() ? "2023-06-01" : "");
  EXPECT_EQ(headers["accept"], streams() ? "text/event-stream" : "application/json");
}

// It counts in UTF-16, so each half of the face is in a chunk of its own.
TEST_P(PeerChatTest, CutsCharactersInTwo) {
  const json calls = json::array({{{"id", "call_1"}, {"name", "weather"}, {"arguments", R"({"town":"😀"})"}}});
  peer_.Answers({{"match", {{"userMessage", "Oslo"}}}, {"chunkSize", 1}, {"response", {{"content", "a😀b"}, {"toolCalls", calls}}}});
  const ChatResponse response = ResponseTo(Asking("Oslo"));
  EXPECT_THAT(response.blocks, ElementsAre(Block(Text{"a😀b"}), Block(ToolCall{"call_1", "weather", R"({"town":"😀"})"})));
}

TEST_P(PeerChatTest, StopsAtMaxTokens) {
  peer_.Answers({{"match", {{"userMessage", "hello"}}}, {"response", {{"content", "Hel"}, {"finishReason", "length"}}}});
  ChatRequest request = Asking("hello");
  request.max_tokens = 1;
  request.temperature = 0.5;
  EXPECT_EQ(ResponseTo(request).stop_reason, StopReason::kMaxTokens);
  const json asked = peer_.Asked().back()["body"];
  EXPECT_EQ(asked[is_anthropic() ? "max_tokens" : "max_completion_tokens"], 1);
  EXPECT_EQ(asked["temperature"], 0.5);
}

TEST_P(PeerChatTest, AToolsRoundTrip) {
  const json calls = json::array({{{"id", "call_1"}, {"name", "weather"}, {"arguments", R"({"town":"Oslo"})"}},
                                  {{"id", "call_2"}, {"name", "weather"}, {"arguments", R"({"town":"Bodø"})"}}});
  peer_.Answers({{"match", {{"userMessage", "Oslo"}, {"hasToolResult", false}}},
                 {"chunkSize", 5},
                 {"response", {{"content", "I shall look."}, {"toolCalls", calls}}}});
  peer_.Answers({{"match", {{"toolCallId", "call_2"}, {"toolResultContains", "snow"}}},
                 {"response", {{"content", "Go to Oslo."}}}});
  ChatRequest request = Asking("Oslo or Bodø?");
  request.tools = {{.name = "weather", .description = "Of a town.", .schema = kWeatherSchema}};

  const ChatResponse first = ResponseTo(request);
  EXPECT_THAT(first.blocks, ElementsAre(Block(Text{"I shall look."}), Block(ToolCall{"call_1", "weather", R"({"town":"Oslo"})"}),
                                        Block(ToolCall{"call_2", "weather", R"({"town":"Bodø"})"})));
  EXPECT_EQ(first.stop_reason, StopReason::kToolCalls);

  request.messages.push_back(AsMessage(first));
  request.messages.push_back({.role = Role::kUser});
  request.messages.back().blocks = {ToolResult{.call_id = "call_1", .text = "sun"}, ToolResult{.call_id = "call_2", .text = "snow"}};
  EXPECT_EQ(TextOf(ResponseTo(request).blocks), "Go to Oslo.");

  const json asked = peer_.Asked().back()["body"];
  const auto called = [&](size_t i) {
    return json{{"id", calls[i]["id"]}, {"type", "function"},
                {"function", {{"name", "weather"}, {"arguments", calls[i]["arguments"]}}}};
  };
  EXPECT_EQ(asked["messages"],
            json::array({{{"role", "system"}, {"content", "Be brief."}},
                         {{"role", "user"}, {"content", "Oslo or Bodø?"}},
                         {{"role", "assistant"}, {"content", "I shall look."}, {"tool_calls", {called(0), called(1)}}},
                         {{"role", "tool"}, {"tool_call_id", "call_1"}, {"content", "sun"}},
                         {{"role", "tool"}, {"tool_call_id", "call_2"}, {"content", "snow"}}}));
  const json function = {{"name", "weather"}, {"description", "Of a town."}, {"parameters", json::parse(kWeatherSchema)}};
  EXPECT_EQ(asked["tools"], json::array({{{"type", "function"}, {"function", function}}}));
}

// In the order in which they come; a whole answer of OpenAI's has no order of text and calls.
TEST_P(PeerChatTest, TextBetweenCalls) {
  const auto call = [](const char* town) {
    return json{{"type", "toolCall"}, {"name", "weather"}, {"arguments", json{{"town", town}}.dump()}};
  };
  peer_.Answers({{"match", {{"userMessage", "Oslo"}}},
                 {"response", {{"blocks", {call("Oslo"), {{"type", "text"}, {"text", "And there?"}}, call("Bodø")}}}}});
  const ChatResponse response = ResponseTo(Asking("Oslo or Bodø?"));
  EXPECT_EQ(response.stop_reason, StopReason::kToolCalls);
  EXPECT_EQ(TextOf(response.blocks), "And there?");
  if (is_anthropic() || streams()) {
    ASSERT_THAT(response.blocks, SizeIs(3));
    EXPECT_EQ(WordsOf(response.blocks[1]), "And there?");
  }
  const auto calls = ToolCallsOf(response.blocks);
  ASSERT_THAT(calls, SizeIs(2));
  EXPECT_EQ(calls[0].arguments, R"({"town":"Oslo"})");
  EXPECT_EQ(calls[1].arguments, R"({"town":"Bodø"})");
  EXPECT_NE(calls[0].id, calls[1].id);
}

// Anthropic wants what its model thought back, in front, as it came: the peer refuses a request that has it not.
class PeerThinkingTest : public PeerChat {
 protected:
  // A thought and a call, its result, and the end. The request that was answered last.
  ChatRequest Round(const json& thought) {
    const json calls = json::array({{{"id", "call_1"}, {"name", "weather"}, {"arguments", R"({"town":"Oslo"})"}}});
    json response = {{"toolCalls", calls}};
    response.update(thought);
    peer_.Answers({{"match", {{"userMessage", "Oslo"}, {"hasToolResult", false}}}, {"chunkSize", 6}, {"response", response}});
    peer_.Answers({{"match", {{"toolCallId", "call_1"}}}, {"response", {{"content", "Stay in."}}}});
    ChatRequest request = Asking("Oslo?");
    request.tools = {{.name = "weather", .schema = kWeatherSchema}};
    if (is_anthropic()) request.extra = R"({"thinking": {"type": "enabled", "budget_tokens": 1024}})";
    request.messages.push_back(AsMessage(ResponseTo(request)));
    request.messages.push_back({.role = Role::kUser});
    request.messages.back().blocks = {ToolResult{.call_id = "call_1", .text = "rain"}};
    EXPECT_EQ(TextOf(ResponseTo(request).blocks), "Stay in.");
    return request;
  }
};
INSTANTIATE_TEST_SUITE_P(Protocols, PeerThinkingTest, ::testing::Combine(EachProtocol(), ::testing::Bool()), NameOfTest);

TEST_P(PeerThinkingTest, GoesBack) {
  ChatRequest request = Round({{"reasoning", "I do not know the weather."}, {"reasoningSignature", "sig-1"}});
  auto& blocks = request.messages[2].blocks;
  ASSERT_THAT(blocks, SizeIs(2));
  const auto reasoning = std::get<Reasoning>(blocks[0]);
  EXPECT_EQ(reasoning.text, "I do not know the weather.");
  EXPECT_EQ(reasoning.signature, is_anthropic() ? "sig-1" : "");
  if (is_anthropic()) {
    blocks.erase(blocks.begin());
    EXPECT_EQ(ErrorTo(request).error_class, ErrorClass::kBadRequest) << "it does refuse";
  } else {
    EXPECT_EQ(peer_.Asked().back()["body"]["messages"][2]["reasoning_content"], reasoning.text);
  }
}

TEST_P(PeerThinkingTest, GoesBackUnread) {
  const ChatRequest request = Round({{"redactedThinking", {"secret-1"}}});
  const auto& blocks = request.messages[2].blocks;
  ASSERT_THAT(blocks, SizeIs(is_anthropic() ? 2 : 1)) << "OpenAI's has none";
  if (!is_anthropic()) return;
  EXPECT_EQ(json::parse(std::get<Opaque>(blocks[0]).json), (json{{"type", "redacted_thinking"}, {"data", "secret-1"}}));
}

// The peer takes any form for Anthropic's; of OpenAI's it answers this one only.
TEST_P(PeerChatTest, AnswersInTheFormOfASchema) {
  json match = {{"userMessage", "Oslo"}};
  if (!is_anthropic()) match["responseFormat"] = "json_schema";
  peer_.Answers({{"match", match}, {"response", {{"content", {{"town", "Oslo"}, {"degrees", -3}}}}}});
  ChatRequest request = Asking("Oslo?");
  request.output = OutputSchema{.name = "weather", .schema = kWeatherSchema};
  const ChatResponse response = ResponseTo(request);
  EXPECT_EQ(json::parse(TextOf(response.blocks)), (json{{"town", "Oslo"}, {"degrees", -3}}));
  if (is_anthropic()) return;
  EXPECT_EQ(peer_.Asked().back()["body"]["response_format"]["json_schema"],
            (json{{"name", "weather"}, {"strict", true}, {"schema", json::parse(kWeatherSchema)}}));
}

TEST_P(PeerChatTest, AHundredAtATime) {
  std::string words;
  for (int i = 0; i < 50; ++i) words += std::to_string(i) + " ";
  peer_.Answers({{"match", {{"userMessage", "count"}}}, {"chunkSize", 3}, {"response", {{"content", words}}}});
  std::deque<Heard> calls(100);
  const auto client = Open();
  for (Heard& call : calls) call.Ask(*client, Asking("Please count"));
  for (Heard& call : calls) {
    const ChatResult result = call.result.get_future().get();
    ASSERT_TRUE(std::holds_alternative<ChatResponse>(result)) << std::get<Error>(result).message;
    EXPECT_EQ(TextOf(std::get<ChatResponse>(result).blocks), words);
  }
}

class PeerEmbedTest : public PeerTest {
 protected:
  EmbedResult Embed(std::vector<std::string> texts, Protocol protocol = Protocol::kOpenAi) {
    const auto client = Open(protocol);
    EmbedRequest request{.model = "text-embedding-3-small"};
    request.texts = std::move(texts);
    request.dimensions = 8;
    std::promise<EmbedResult> result;
    client->Embed(std::move(request), {}, [&](EmbedResult said) { result.set_value(std::move(said)); });
    return result.get_future().get();
  }
  std::vector<std::vector<float>> VectorsOf(std::vector<std::string> texts) {
    const EmbedResult result = Embed(std::move(texts));
    const auto* response = std::get_if<EmbedResponse>(&result);
    if (response != nullptr) return response->vectors;
    ADD_FAILURE() << std::get<Error>(result).message;
    return {};
  }
};

// What it is not told a vector of has one that is made of the text.
TEST_F(PeerEmbedTest, AVectorOfEachText) {
  const auto vectors = VectorsOf({"one", "Grüße"});
  ASSERT_THAT(vectors, SizeIs(2));
  EXPECT_THAT(vectors, Each(SizeIs(8)));
  EXPECT_NE(vectors[0], vectors[1]);
  EXPECT_THAT(VectorsOf({"Grüße", "one"}), ElementsAre(vectors[1], vectors[0]));

  peer_.Answers({{"match", {{"inputText", "two"}}}, {"response", {{"embedding", {0.5, -1, 2}}}}});
  EXPECT_THAT(VectorsOf({"two"}), ElementsAre(ElementsAre(0.5, -1, 2)));
}

TEST_F(PeerEmbedTest, Errors) {
  peer_.Answers({{"match", {{"inputText", "one"}}},
                 {"response", {{"status", 429}, {"retryAfter", 3}, {"error", {{"message", "slow"}, {"type", "rate_limit_error"}}}}}});
  const EmbedResult result = Embed({"one"});
  ASSERT_TRUE(std::holds_alternative<Error>(result));
  EXPECT_EQ(std::get<Error>(result).error_class, ErrorClass::kRateLimit);
  EXPECT_EQ(std::get<Error>(result).retry_after, std::optional(Duration(3'000)));
  const EmbedResult none = Embed({"one"}, Protocol::kAnthropic);
  ASSERT_TRUE(std::holds_alternative<Error>(none));
  EXPECT_EQ(std::get<Error>(none).error_class, ErrorClass::kBadRequest);
  EXPECT_THAT(peer_.Asked(), SizeIs(1)) << "Anthropic has none to ask for";
}

}  // namespace
}  // namespace marathon::llm::llm_peer_test
