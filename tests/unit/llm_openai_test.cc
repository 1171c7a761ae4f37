// OpenAI's Chat Completions on the wire: requests as JSON, responses whole and in chunks.
// needs: llm
// program: llm
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "llm_wire.h"

namespace marathon::llm::internal::llm_openai_test {
namespace {

using nlohmann::json;
using Kind = Delta::Kind;

json Encoded(const ChatRequest& request, Endpoint endpoint = {}) {
  return EncodedBy(EncodeOpenAi, request, std::move(endpoint));
}
Error Refused(const ChatRequest& request) { return RefusedBy(EncodeOpenAi, request); }
Answer Stream(const std::vector<std::string>& events) {
  return ReadEvents(NewOpenAiReader, events);
}
// A chunk whose only choice has this delta.
std::string Chunk(const std::string& delta, const std::string& finish = "null") {
  return R"({"id":"r1","model":"m-1","choices":[{"index":0,"delta":)" + delta +
         R"(,"finish_reason":)" + finish + "}]}";
}

TEST(OpenAiRequestTest, SaysWhatIsAskedAndNoMore) {
  ChatRequest request{.model = "m", .messages = {SystemMessage("s"), UserMessage("u")}};
  EXPECT_EQ(Encoded(request), json::parse(R"({
    "model": "m", "stream": true, "stream_options": {"include_usage": true},
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]})"));
  EXPECT_EQ(Encoded(request, {.stream = false}), json::parse(R"({
    "model": "m", "stream": false,
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]})"));
}

TEST(OpenAiRequestTest, Settings) {
  ChatRequest request{.model = "m", .messages = {UserMessage("u")}};
  request.max_tokens = 5;
  request.temperature = 0;
  request.stop = {"A"};
  request.output = OutputSchema{.name = "o", .schema = R"({"type":"object"})"};
  request.cache.key = "k";
  request.extra = R"({"seed": 1, "temperature": 0.5, "stream": false})";
  const json body = Encoded(request);
  EXPECT_EQ(body["max_completion_tokens"], 5);
  EXPECT_EQ(body["stop"], json({"A"}));
  EXPECT_EQ(body["response_format"], json::parse(R"({"type": "json_schema", "json_schema":
    {"name": "o", "schema": {"type": "object"}, "strict": true}})"));
  EXPECT_EQ(body["prompt_cache_key"], "k");
  EXPECT_EQ(body["seed"], 1);
  EXPECT_EQ(body["temperature"], 0.5) << "extra goes over the rest";
  EXPECT_EQ(body["stream"], true) << "but for what the reader must know";
  EXPECT_EQ(Encoded(request, {.old_max_tokens = true})["max_tokens"], 5);
  request.extra = {};
  const json plain = Encoded(request);
  ASSERT_TRUE(plain.contains("temperature")) << "0 is a temperature";
  EXPECT_EQ(plain["temperature"], 0);
}

TEST(OpenAiRequestTest, ToolRoundTrip) {
  ChatRequest request{.model = "m", .messages = {UserMessage("u")}};
  request.tools = {{.name = "f", .description = "d", .schema = R"({"type":"object","b":1,"a":2})"},
                   {.name = "g", .strict = true}};
  Message answer{.role = Role::kAssistant};
  answer.blocks = {Reasoning{.text = "think", .field = "reasoning_content"}, Text{"t"},
                   ToolCall{"1", "f", R"({"x":1})"}, ToolCall{"2", "g", "not json"}};
  Message results{.role = Role::kUser};
  results.blocks = {Text{"and?"}, ToolResult{.call_id = "1", .text = "one"},
                    ToolResult{.call_id = "2", .text = "two", .is_error = true}};
  request.messages.push_back(answer);
  request.messages.push_back(results);
  const json body = Encoded(request);
  EXPECT_EQ(body["messages"], json::parse(R"([
    {"role": "user", "content": "u"},
    {"role": "assistant", "content": "t", "reasoning_content": "think", "tool_calls": [
      {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
      {"id": "2", "type": "function", "function": {"name": "g", "arguments": "not json"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "one"},
    {"role": "tool", "tool_call_id": "2", "content": "two"},
    {"role": "user", "content": "and?"}])"));
  EXPECT_EQ(body["tools"], json::parse(R"([
    {"type": "function", "function": {"name": "f", "description": "d",
      "parameters": {"type": "object", "b": 1, "a": 2}}},
    {"type": "function", "function": {"name": "g", "strict": true,
      "parameters": {"type": "object", "properties": {}}}}])"));
  EXPECT_FALSE(body.contains("tool_choice"));
  const std::string text = std::get<std::string>(EncodeOpenAi(request, {}));
  EXPECT_LT(text.find(R"("b":1)"), text.find(R"("a":2)")) << "a schema keeps its order";

  request.tool_choice = {.kind = ToolChoice::Kind::kTool, .name = "g", .parallel = false};
  EXPECT_EQ(Encoded(request)["tool_choice"],
            json::parse(R"({"type": "function", "function": {"name": "g"}})"));
  EXPECT_EQ(Encoded(request)["parallel_tool_calls"], false);
  request.tool_choice = {.kind = ToolChoice::Kind::kRequired};
  EXPECT_EQ(Encoded(request)["tool_choice"], "required");
}

TEST(OpenAiRequestTest, ReasoningGoesBackOnlyAmidToolCalls) {
  Message answer{.role = Role::kAssistant};
  answer.blocks = {Reasoning{.text = "think", .field = "reasoning"}, Text{"t"},
                   Reasoning{.text = "signed", .signature = "s"},
                   Opaque{.provider = "anthropic", .json = "{}"}};
  const ChatRequest request{.model = "m", .messages = {UserMessage("u"), answer}};
  EXPECT_EQ(Encoded(request)["messages"][1],
            json::parse(R"({"role": "assistant", "content": "t"})"));
}

TEST(OpenAiRequestTest, Media) {
  Message message = UserMessage("see");
  message.blocks.push_back(Media{.url = "https://x/y.png"});
  message.blocks.push_back(Media{.media_type = "image/png", .bytes = "foo"});
  message.blocks.push_back(Media{.kind = MediaKind::kDocument, .file_id = "file-1"});
  message.blocks.push_back(Media{.kind = MediaKind::kDocument, .media_type = "application/pdf",
                                 .bytes = "foo", .name = "a.pdf"});
  const ChatRequest request{.model = "m", .messages = {message}};
  EXPECT_EQ(Encoded(request)["messages"][0]["content"], json::parse(R"([
    {"type": "text", "text": "see"},
    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,Zm9v"}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,Zm9v"}}])"));
}

TEST(OpenAiRequestTest, HasNoStoreToLookForBlobsIn) {
  Message message = UserMessage("see");
  message.blocks.push_back(Media{.media_type = "image/png", .blob = BlobRef{std::string(64, 'a'), 3}});
  EXPECT_NE(Refused({.model = "m", .messages = {message}}).message.find("ChatActivity"), std::string::npos);
  std::get<Media>(message.blocks[1]).url = "https://x/y.png";
  EXPECT_NE(Refused({.model = "m", .messages = {message}}).message.find("exactly one"), std::string::npos);
}

TEST(OpenAiRequestTest, RefusesWhatItCannotSay) {
  ChatRequest good{.model = "m", .messages = {UserMessage("u")}};
  const auto expect = [](const ChatRequest& request, std::string_view words) {
    const Error error = Refused(request);
    EXPECT_EQ(error.error_class, ErrorClass::kBadRequest);
    EXPECT_NE(error.message.find(words), std::string::npos) << error.message;
  };
  const auto with_block = [&](Block block) {
    ChatRequest request = good;
    request.messages[0].blocks = {std::move(block)};
    return request;
  };
  expect({.model = "", .messages = good.messages}, "no model");
  expect({.model = "m"}, "no messages");
  expect(with_block(Text{"\xff"}), "UTF-8");
  expect(with_block(Media{}), "exactly one of");
  expect(with_block(Media{.url = "u", .bytes = "b"}), "exactly one of");
  expect(with_block(Media{.bytes = "b"}), "media_type");
  expect(with_block(Media{.kind = MediaKind::kDocument, .url = "u"}), "no URL of a document");
  expect(with_block(ToolResult{.call_id = "1", .media = {Media{.url = "u"}}}), "no images");
  expect(with_block(ToolCall{"1", "f", "{}"}), "only the assistant's");
  ChatRequest bad = good;
  bad.tools = {{.name = "f", .schema = "["}};
  expect(bad, "tool \"f\" is not a JSON object");
  bad = good;
  bad.extra = "1";
  expect(bad, "extra is not a JSON object");
  bad = good;
  bad.output = OutputSchema{};
  expect(bad, "output's schema");
}

TEST(OpenAiResponseTest, StreamsText) {
  const Answer answer = Stream({
      Chunk(R"({"role":"assistant","content":""})"), Chunk(R"({"content":"Gr"})"),
      Chunk(R"({"content":"üße"})"), Chunk("{}", R"("stop")"),
      R"({"id":"r1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,
          "prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":2},
          "completion_tokens_details":{"reasoning_tokens":1}}})",
      "[DONE]"});
  ASSERT_TRUE(answer.complete);
  EXPECT_EQ(answer.response.id, "r1");
  EXPECT_EQ(answer.response.model, "m-1");
  EXPECT_EQ(answer.response.blocks, std::vector<Block>{Text{"Grüße"}});
  EXPECT_EQ(answer.response.stop_reason, StopReason::kEnd);
  EXPECT_EQ(answer.response.stop_word, "stop");
  EXPECT_EQ(answer.response.usage, (Usage{9, 3, 2, 4, 1}));
  EXPECT_EQ(answer.deltas, (std::vector<Delta>{{Kind::kText, 0, "Gr", ""}, {Kind::kText, 0, "üße", ""}}));
}

TEST(OpenAiResponseTest, AssemblesParallelToolCallsByIndex) {
  const Answer answer = Stream({
      Chunk(R"({"reasoning_content":"hm"})"), Chunk(R"({"content":"Wait."})"),
      Chunk(R"({"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]})"),
      Chunk(R"({"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\""}}]})"),
      // The pieces come mixed, and this server repeats ids and names.
      Chunk(R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}},
                              {"index":1,"function":{"arguments":":2}"}}]})"),
      Chunk(R"({"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]})"),
      Chunk(R"({"tool_calls":[{"index":2,"function":{"name":"h"}}]})"),
      Chunk("{}", R"("tool_calls")"), "[DONE]"});
  ASSERT_TRUE(answer.complete);
  EXPECT_EQ(answer.response.stop_reason, StopReason::kToolCalls);
  EXPECT_EQ(answer.response.blocks,
            (std::vector<Block>{Reasoning{.text = "hm", .field = "reasoning_content"}, Text{"Wait."},
                                ToolCall{"a", "f", R"({"x":1})"}, ToolCall{"b", "g", R"({"y":2})"},
                                ToolCall{"call_r11", "h", "{}"}}));
  EXPECT_EQ(answer.deltas[2], (Delta{Kind::kToolCall, 2, "f", "a"}));
  std::string arguments;
  for (const Delta& delta : answer.deltas) {
    if (delta.kind == Kind::kToolArguments && delta.block == 2) arguments += delta.text;
  }
  EXPECT_EQ(arguments, R"({"x":1})");
}

// Seen in the wild: one index for all, an id twice, no index, an object for arguments.
TEST(OpenAiResponseTest, TakesWhatServersMakeOfToolCalls) {
  const auto calls = [](std::vector<std::string> deltas) {
    std::vector<std::string> events;
    for (const std::string& delta : deltas) events.push_back(Chunk(R"({"tool_calls":)" + delta + "}"));
    events.push_back(Chunk("{}", R"("stop")"));
    const Answer answer = Stream(events);
    EXPECT_EQ(answer.response.stop_reason, StopReason::kToolCalls);
    return ToolCallsOf(answer.response.blocks);
  };
  EXPECT_EQ(calls({R"([{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}])",
                   R"([{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}])"}),
            (std::vector<ToolCall>{{"a", "f", "{}"}, {"b", "g", "{}"}}));
  EXPECT_EQ(calls({R"([{"index":0,"id":"a","function":{"name":"f"}},
                       {"index":1,"id":"a","function":{"name":"g"}}])"}),
            (std::vector<ToolCall>{{"a", "f", "{}"}, {"a_1", "g", "{}"}}));
  EXPECT_EQ(calls({R"([{"id":"a","function":{"name":"f","arguments":{"x":1}}},
                       {"id":"b","function":{"name":"g"}}])"}),
            (std::vector<ToolCall>{{"a", "f", R"({"x":1})"}, {"b", "g", "{}"}}));
  EXPECT_EQ(calls({R"([{"index":0,"id":"a","function":{}}])",
                   R"([{"index":0,"function":{"name":"f","arguments":"{}"}}])"}),
            (std::vector<ToolCall>{{"a", "f", "{}"}}));
}

TEST(OpenAiResponseTest, TellsTheEndFromATruncation) {
  EXPECT_FALSE(Stream({Chunk(R"({"content":"a"})")}).complete);
  EXPECT_FALSE(Stream({"[DONE]", "<html>"}).error) << "nothing counts behind the end";
  EXPECT_TRUE(Stream({Chunk(R"({"content":"a"})", R"("length")")}).complete) << "[DONE] may be lost";
  EXPECT_TRUE(Stream({Chunk(R"({"content":"a"})"), "[DONE]"}).complete) << "some name no reason";
  EXPECT_EQ(Stream({Chunk("{}", R"("length")")}).response.stop_reason, StopReason::kMaxTokens);
  EXPECT_EQ(Stream({Chunk("{}", R"("content_filter")")}).response.stop_reason, StopReason::kRefused);
  EXPECT_EQ(Stream({Chunk("{}", R"("tired")")}).response.stop_reason, StopReason::kOther);
  const Answer refusal = Stream({Chunk(R"({"refusal":"I will not."})"), Chunk("{}", R"("stop")")});
  EXPECT_EQ(refusal.response.stop_reason, StopReason::kRefused);
  EXPECT_EQ(TextOf(refusal.response.blocks), "I will not.");
}

TEST(OpenAiResponseTest, ErrorsInTheStream) {
  const Answer answer = Stream({Chunk(R"({"content":"a"})"),
                                R"({"error":{"message":"busy","code":"server_is_overloaded"}})"});
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->error_class, ErrorClass::kOverloaded);
  EXPECT_EQ(answer.error->message, "busy");
  for (const char* nonsense : {"{", "1", "<html>", "\"\xff\""}) {
    const Answer broken = Stream({nonsense});
    ASSERT_TRUE(broken.error.has_value()) << nonsense;
    EXPECT_EQ(broken.error->error_class, ErrorClass::kTransient);
  }
}

TEST(OpenAiResponseTest, ReasoningByEitherName) {
  for (const std::string field : {"reasoning", "reasoning_content"}) {
    const Answer answer = Stream({Chunk("{\"" + field + "\":\"a\"}"), Chunk("{\"" + field + "\":\"b\",\"content\":\"\"}"),
                                  Chunk(R"({"content":"c"})")});
    EXPECT_EQ(answer.response.blocks, (std::vector<Block>{Reasoning{.text = "ab", .field = field}, Text{"c"}}));
  }
  const Answer both = Stream({Chunk(R"({"reasoning":"a","reasoning_content":"a"})"),
                              Chunk(R"({"reasoning":"b","reasoning_content":"b"})")});
  EXPECT_EQ(both.response.blocks, (std::vector<Block>{Reasoning{.text = "ab", .field = "reasoning_content"}}));
}

TEST(OpenAiResponseTest, Whole) {
  const Answer answer = ReadBody(NewOpenAiReader, R"({"id":"r1","model":"m-1","choices":[{"index":0,
    "message":{"role":"assistant","content":"Hi","reasoning":"hm","tool_calls":[
      {"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},
      {"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},
    "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}})");
  ASSERT_TRUE(answer.complete);
  EXPECT_EQ(answer.response.blocks,
            (std::vector<Block>{Reasoning{.text = "hm", .field = "reasoning"}, Text{"Hi"},
                                ToolCall{"a", "f", "{}"}, ToolCall{"b", "g", "{}"}}));
  EXPECT_EQ(answer.response.usage, (Usage{.input = 1, .output = 2}));
  EXPECT_EQ(answer.deltas.size(), 6u);
  EXPECT_TRUE(ReadBody(NewOpenAiReader, R"({"choices":[]})").error.has_value());
  EXPECT_TRUE(ReadBody(NewOpenAiReader, "<html>").error.has_value());
  const Answer parts = ReadBody(NewOpenAiReader, R"({"choices":[{"message":{"content":[
    {"type":"text","text":"a"},{"type":"text","text":"b"}]},"finish_reason":"stop"}]})");
  EXPECT_EQ(TextOf(parts.response.blocks), "ab");
}

}  // namespace
}  // namespace marathon::llm::internal::llm_openai_test
