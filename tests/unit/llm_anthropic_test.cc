// Anthropic's Messages on the wire: requests as JSON, responses whole and in events.
// needs: llm
// program: llm
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "llm_wire.h"

namespace marathon::llm::internal::llm_anthropic_test {
namespace {

using nlohmann::json;
using Kind = Delta::Kind;

json Encoded(const ChatRequest& request, Endpoint endpoint = {}) {
  return EncodedBy(EncodeAnthropic, request, std::move(endpoint));
}
Answer Stream(const std::vector<std::string>& events) {
  return ReadEvents(NewAnthropicReader, events);
}
std::string BlockStart(int index, const std::string& block) {
  return R"({"type":"content_block_start","index":)" + std::to_string(index) +
         R"(,"content_block":)" + block + "}";
}
std::string BlockDelta(int index, const std::string& delta) {
  return R"({"type":"content_block_delta","index":)" + std::to_string(index) + R"(,"delta":)" +
         delta + "}";
}
std::string BlockStop(int index) {
  return R"({"type":"content_block_stop","index":)" + std::to_string(index) + "}";
}
const std::string kStart =
    R"({"type":"message_start","message":{"id":"r1","model":"m-1","content":[],"usage":
        {"input_tokens":10,"cache_read_input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":1}}})";
const std::string kStop = R"({"type":"message_stop"})";
std::string End(const std::string& reason) {
  return R"({"type":"message_delta","delta":{"stop_reason":")" + reason +
         R"("},"usage":{"output_tokens":42}})";
}

TEST(AnthropicRequestTest, SaysWhatIsAskedAndNoMore) {
  ChatRequest request{.model = "m", .messages = {UserMessage("u"), SystemMessage("s")}};
  EXPECT_EQ(Encoded(request), json::parse(R"({
    "model": "m", "stream": true, "max_tokens": 4096,
    "system": [{"type": "text", "text": "s"}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "u"}]}]})"));
}

TEST(AnthropicRequestTest, Settings) {
  ChatRequest request{.model = "m", .messages = {UserMessage("u")}};
  request.max_tokens = 5;
  request.temperature = 0.5;
  request.stop = {"A"};
  request.output = OutputSchema{.schema = R"({"type":"object"})"};
  request.extra = R"({"thinking": {"type": "enabled", "budget_tokens": 1024}})";
  const json body = Encoded(request, {.stream = false});
  EXPECT_EQ(body["max_tokens"], 5);
  EXPECT_EQ(body["temperature"], 0.5);
  EXPECT_EQ(body["stop_sequences"], json({"A"}));
  EXPECT_EQ(body["output_config"],
            json::parse(R"({"format": {"type": "json_schema", "schema": {"type": "object"}}})"));
  EXPECT_EQ(body["thinking"]["budget_tokens"], 1024);
  EXPECT_EQ(body["stream"], false);
}

TEST(AnthropicRequestTest, ToolRoundTrip) {
  ChatRequest request{.model = "m", .messages = {UserMessage("u")}};
  request.tools = {{.name = "f", .description = "d", .schema = R"({"type":"object"})"}, {.name = "g"}};
  Message answer{.role = Role::kAssistant};
  answer.blocks = {Reasoning{.text = "think", .signature = "sig"},
                   Reasoning{.text = "another's", .field = "reasoning"},
                   Opaque{.provider = "anthropic", .json = R"({"type":"redacted_thinking","data":"x"})"},
                   Opaque{.provider = "other", .json = "{}"}, Text{""},
                   ToolCall{"1", "f", R"({"x":1})"}, ToolCall{"2", "g", "not json"}};
  Message results{.role = Role::kUser};
  results.blocks = {Text{"and?"}, ToolResult{.call_id = "1", .text = "one"},
                    ToolResult{.call_id = "2", .text = "two", .media = {Media{.url = "https://x"}},
                               .is_error = true}};
  request.messages.push_back(answer);
  request.messages.push_back(results);
  request.messages.push_back(UserMessage("now"));
  const json body = Encoded(request);
  EXPECT_EQ(body["messages"], json::parse(R"([
    {"role": "user", "content": [{"type": "text", "text": "u"}]},
    {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "think", "signature": "sig"},
      {"type": "redacted_thinking", "data": "x"},
      {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
      {"type": "tool_use", "id": "2", "name": "g", "input": {"not_json": "not json"}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "1", "content": "one"},
      {"type": "tool_result", "tool_use_id": "2", "is_error": true, "content": [
        {"type": "text", "text": "two"},
        {"type": "image", "source": {"type": "url", "url": "https://x"}}]},
      {"type": "text", "text": "and?"},
      {"type": "text", "text": "now"}]}])"));
  EXPECT_EQ(body["tools"], json::parse(R"([
    {"name": "f", "description": "d", "input_schema": {"type": "object"}},
    {"name": "g", "input_schema": {"type": "object", "properties": {}}}])"));
  EXPECT_FALSE(body.contains("tool_choice"));
  const auto choice = [&](ToolChoice value) {
    request.tool_choice = std::move(value);
    return Encoded(request)["tool_choice"];
  };
  EXPECT_EQ(choice({.kind = ToolChoice::Kind::kRequired, .parallel = false}),
            json::parse(R"({"type": "any", "disable_parallel_tool_use": true})"));
  EXPECT_EQ(choice({.kind = ToolChoice::Kind::kTool, .name = "g"}),
            json::parse(R"({"type": "tool", "name": "g"})"));
  EXPECT_EQ(choice({.kind = ToolChoice::Kind::kNone}), json::parse(R"({"type": "none"})"));
}

TEST(AnthropicRequestTest, MarksWhatTheNextRequestBeginsWith) {
  ChatRequest request{.model = "m", .messages = {SystemMessage("s"), UserMessage("u")}};
  request.tools = {{.name = "f"}, {.name = "g"}};
  request.cache.keep = CacheHint::Keep::kMinutes;
  json body = Encoded(request);
  const json mark = json::parse(R"({"type": "ephemeral"})");
  EXPECT_FALSE(body["tools"][0].contains("cache_control"));
  EXPECT_EQ(body["tools"][1]["cache_control"], mark);
  EXPECT_EQ(body["system"][0]["cache_control"], mark);
  EXPECT_EQ(body["messages"][0]["content"][0]["cache_control"], mark);
  request.cache.keep = CacheHint::Keep::kHour;
  EXPECT_EQ(Encoded(request)["system"][0]["cache_control"]["ttl"], "1h");
}

TEST(AnthropicRequestTest, Media) {
  Message message{.role = Role::kUser};
  message.blocks = {Media{.media_type = "image/png", .bytes = "foo"}, Media{.file_id = "f1"},
                    Media{.kind = MediaKind::kDocument, .url = "https://x/y.pdf", .name = "y"},
                    Media{.kind = MediaKind::kDocument, .media_type = "text/plain", .bytes = "foo"}};
  EXPECT_EQ(Encoded({.model = "m", .messages = {message}})["messages"][0]["content"], json::parse(R"([
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "Zm9v"}},
    {"type": "image", "source": {"type": "file", "file_id": "f1"}},
    {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}, "title": "y"},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "foo"}}])"));
}

TEST(AnthropicRequestTest, RefusesWhatItCannotSay) {
  const auto expect = [](Role role, Block block, std::string_view words) {
    Message message{.role = role};
    message.blocks = {std::move(block)};
    const Error error = RefusedBy(EncodeAnthropic, {.model = "m", .messages = {message}});
    EXPECT_EQ(error.error_class, ErrorClass::kBadRequest);
    EXPECT_NE(error.message.find(words), std::string::npos) << error.message;
  };
  expect(Role::kUser, ToolCall{"1", "f", "{}"}, "the assistant's");
  expect(Role::kAssistant, ToolResult{.call_id = "1"}, "the user's");
  expect(Role::kAssistant, Media{.url = "u"}, "the user's");
  expect(Role::kSystem, Media{.url = "u"}, "text only");
  expect(Role::kUser, Text{"\xff"}, "UTF-8");
  expect(Role::kUser, Text{""}, "no messages");
  expect(Role::kAssistant, Opaque{.provider = "anthropic", .json = "1"}, "opaque");
}

TEST(AnthropicResponseTest, StreamsBlocks) {
  const Answer answer = Stream({
      kStart, R"({"type":"ping"})",
      BlockStart(0, R"({"type":"thinking","thinking":"","signature":""})"),
      BlockDelta(0, R"({"type":"thinking_delta","thinking":"hm "})"),
      BlockDelta(0, R"({"type":"thinking_delta","thinking":"so"})"),
      BlockDelta(0, R"({"type":"signature_delta","signature":"sig"})"), BlockStop(0),
      BlockStart(1, R"({"type":"redacted_thinking","data":"x"})"), BlockStop(1),
      BlockStart(2, R"({"type":"text","text":""})"),
      BlockDelta(2, R"({"type":"text_delta","text":"Grü"})"),
      BlockDelta(2, R"({"type":"text_delta","text":"ße"})"), BlockStop(2),
      BlockStart(3, R"({"type":"tool_use","id":"a","name":"f","input":{}})"),
      BlockDelta(3, R"({"type":"input_json_delta","partial_json":""})"),
      BlockDelta(3, R"({"type":"input_json_delta","partial_json":"{\"x\":"})"),
      BlockDelta(3, R"({"type":"input_json_delta","partial_json":"1}"})"), BlockStop(3),
      BlockStart(4, R"({"type":"tool_use","id":"b","name":"g","input":{}})"), BlockStop(4),
      BlockStart(5, R"({"type":"server_tool_use","id":"s","name":"search","input":{}})"),
      BlockDelta(5, R"({"type":"input_json_delta","partial_json":"{\"q\":1}"})"), BlockStop(5),
      R"({"type":"of_tomorrow"})", End("tool_use"), kStop});
  ASSERT_FALSE(answer.error.has_value()) << answer.error->message;
  ASSERT_TRUE(answer.complete);
  EXPECT_EQ(answer.response.id, "r1");
  EXPECT_EQ(answer.response.stop_reason, StopReason::kToolCalls);
  EXPECT_EQ(answer.response.usage, (Usage{17, 5, 2, 42, 0})) << "input counts the cached";
  const auto& blocks = answer.response.blocks;
  ASSERT_EQ(blocks.size(), 6u);
  EXPECT_EQ(blocks[0], Block(Reasoning{.text = "hm so", .signature = "sig"}));
  EXPECT_EQ(json::parse(std::get<Opaque>(blocks[1]).json), (json{{"type", "redacted_thinking"}, {"data", "x"}}));
  EXPECT_EQ(blocks[2], Block(Text{"Grüße"}));
  EXPECT_EQ(blocks[3], Block(ToolCall{"a", "f", R"({"x":1})"}));
  EXPECT_EQ(blocks[4], Block(ToolCall{"b", "g", "{}"}));
  EXPECT_EQ(json::parse(std::get<Opaque>(blocks[5]).json)["input"], (json{{"q", 1}}));
  EXPECT_EQ(answer.deltas,
            (std::vector<Delta>{{Kind::kReasoning, 0, "hm ", ""}, {Kind::kReasoning, 0, "so", ""},
                                {Kind::kText, 2, "Grü", ""}, {Kind::kText, 2, "ße", ""},
                                {Kind::kToolCall, 3, "f", "a"}, {Kind::kToolArguments, 3, R"({"x":)", ""},
                                {Kind::kToolArguments, 3, "1}", ""}, {Kind::kToolCall, 4, "g", "b"}}));
}

TEST(AnthropicResponseTest, TellsTheEndFromATruncation) {
  const std::string text = BlockStart(0, R"({"type":"text","text":"a"})");
  EXPECT_FALSE(Stream({kStart, text}).complete);
  EXPECT_FALSE(Stream({kStart, text, BlockStop(0), End("end_turn")}).complete);
  EXPECT_TRUE(Stream({kStart, text, BlockStop(0), End("end_turn"), kStop}).complete);
  const std::pair<const char*, StopReason> reasons[] = {
      {"end_turn", StopReason::kEnd},          {"max_tokens", StopReason::kMaxTokens},
      {"stop_sequence", StopReason::kStopText}, {"refusal", StopReason::kRefused},
      {"pause_turn", StopReason::kPaused},     {"model_context_window_exceeded", StopReason::kContextFull},
      {"tired", StopReason::kOther}};
  for (const auto& [word, reason] : reasons) {
    const Answer answer = Stream({kStart, End(word), kStop});
    EXPECT_EQ(answer.response.stop_reason, reason) << word;
    EXPECT_EQ(answer.response.stop_word, word);
  }
}

TEST(AnthropicResponseTest, ErrorsInTheStream) {
  const Answer answer = Stream({kStart, BlockStart(0, R"({"type":"text","text":"a"})"),
      R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"q"})"});
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->error_class, ErrorClass::kOverloaded);
  EXPECT_EQ(answer.error->request_id, "q");
  for (const char* nonsense : {"{", "1", "{}", "[DONE]"}) {
    ASSERT_TRUE(Stream({nonsense}).error.has_value()) << nonsense;
  }
  // What refers to no block is ignored.
  EXPECT_FALSE(Stream({BlockDelta(7, R"({"type":"text_delta","text":"a"})"), BlockStop(7)}).error);
}

TEST(AnthropicResponseTest, Whole) {
  const Answer answer = ReadBody(NewAnthropicReader, R"({"type":"message","id":"r1","model":"m-1",
    "content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"Hi"},
               {"type":"tool_use","id":"a","name":"f","input":{"x":1}},
               {"type":"tool_use","id":"b","name":"g","input":{}}],
    "stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4}})");
  ASSERT_TRUE(answer.complete);
  EXPECT_EQ(answer.response.blocks,
            (std::vector<Block>{Reasoning{.text = "hm", .signature = "s"}, Text{"Hi"},
                                ToolCall{"a", "f", R"({"x":1})"}, ToolCall{"b", "g", "{}"}}));
  EXPECT_EQ(answer.response.usage, (Usage{.input = 3, .output = 4}));
  EXPECT_TRUE(ReadBody(NewAnthropicReader, "{}").error.has_value());
  EXPECT_TRUE(ReadBody(NewAnthropicReader, R"({"type":"error","error":{"type":"api_error"}})").error);
}

}  // namespace
}  // namespace marathon::llm::internal::llm_anthropic_test
