// Requests, responses and errors as values: their stored form, and what an activity fails with.
// needs: llm
// program: llm
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "marathon/codec.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/error.h"
#include "marathon/llm/json.h"
#include "src/llm/base64.h"

namespace marathon::llm::llm_values_test {
namespace {

using nlohmann::json;

ChatRequest FullRequest() {
  ChatRequest request{.model = "m"};
  request.messages = {SystemMessage("Be brief."), UserMessage("Grüße?")};
  request.messages[1].blocks.push_back(Media{.media_type = "image/png", .bytes = {"\0\xff\x10", 3}});
  request.messages[1].blocks.push_back(
      Media{.kind = MediaKind::kDocument, .url = "https://x/y.pdf", .name = "y"});
  request.messages[1].blocks.push_back(Media{.media_type = "image/png", .blob = BlobRef{std::string(64, 'a'), 3}});
  Message answer{.role = Role::kAssistant};
  answer.blocks = {Reasoning{.text = "hm", .signature = "sig"},
                   Opaque{.provider = "anthropic", .json = "{}"}, Text{"Let me look."},
                   ToolCall{"c1", "look", R"({"at": 1})"}};
  request.messages.push_back(answer);
  Message results{.role = Role::kUser};
  results.blocks = {ToolResult{.call_id = "c1", .text = "nothing", .is_error = true}};
  request.messages.push_back(results);
  request.tools = {Tool{.name = "look", .description = "Looks.", .schema = "{}", .strict = true}};
  request.tool_choice = {.kind = ToolChoice::Kind::kTool, .name = "look", .parallel = false};
  request.max_tokens = 100;
  request.temperature = 0;
  request.stop = {"END"};
  request.output = OutputSchema{.name = "o", .schema = R"({"type":"object"})", .strict = false};
  request.cache = {.keep = CacheHint::Keep::kHour, .key = "k"};
  request.extra = R"({"seed":1})";
  return request;
}

// Histories hold this: a change of it must still read the old form.
constexpr std::string_view kStoredRequest = R"({
  "model": "m",
  "messages": [
    {"role": "system", "blocks": [{"type": "text", "text": "Be brief."}]},
    {"role": "user", "blocks": [
      {"type": "text", "text": "Grüße?"},
      {"type": "image", "media_type": "image/png", "data": "AP8Q"},
      {"type": "document", "url": "https://x/y.pdf", "name": "y"},
      {"type": "image", "media_type": "image/png",
       "blob": {"sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "size": 3}}]},
    {"role": "assistant", "blocks": [
      {"type": "reasoning", "text": "hm", "signature": "sig"},
      {"type": "opaque", "provider": "anthropic", "json": "{}"},
      {"type": "text", "text": "Let me look."},
      {"type": "tool_call", "id": "c1", "name": "look", "arguments": "{\"at\": 1}"}]},
    {"role": "user", "blocks": [
      {"type": "tool_result", "call_id": "c1", "text": "nothing", "is_error": true}]}],
  "tools": [{"name": "look", "description": "Looks.", "schema": "{}", "strict": true}],
  "tool_choice": {"kind": "tool", "name": "look", "parallel": false},
  "max_tokens": 100,
  "temperature": 0.0,
  "stop": ["END"],
  "output": {"name": "o", "schema": "{\"type\":\"object\"}", "strict": false},
  "cache": {"keep": "hour", "key": "k"},
  "extra": "{\"seed\":1}"
})";

constexpr std::string_view kStoredResponse = R"({
  "id": "r1", "model": "m-1",
  "blocks": [{"type": "reasoning", "text": "hm", "field": "reasoning_content"},
             {"type": "text", "text": "No."}],
  "stop_reason": "max_tokens", "stop_word": "length",
  "usage": {"input": 10, "cached_input": 4, "cache_write_input": 3, "output": 7, "reasoning": 2}
})";

ChatResponse FullResponse() {
  ChatResponse response{.id = "r1", .model = "m-1"};
  response.blocks = {Reasoning{.text = "hm", .field = "reasoning_content"}, Text{"No."}};
  response.stop_reason = StopReason::kMaxTokens;
  response.stop_word = "length";
  response.usage = {10, 4, 3, 7, 2};
  return response;
}

template <class T>
void ExpectStored(const T& value, std::string_view stored) {
  const auto payload = Encode(value);
  ASSERT_TRUE(payload.ok()) << payload.status();
  EXPECT_EQ(json::parse(payload->data), json::parse(stored));
  const auto read = Decode<T>({std::string(stored), Encoding::kJson});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, value);
}

TEST(LlmValuesTest, AreStoredAsTheyAlwaysWere) {
  ExpectStored(FullRequest(), kStoredRequest);
  ExpectStored(FullResponse(), kStoredResponse);
}

TEST(LlmValuesTest, DefaultsAreLeftOut) {
  ExpectStored(ChatRequest{.model = "m"}, R"({"model": "m", "messages": []})");
  ExpectStored(ChatResponse{}, R"({"blocks": [], "stop_reason": "end"})");
}

TEST(LlmValuesTest, WhatIsNotKnownIsIgnoredOrNamed) {
  const auto read = [](std::string text) {
    return Decode<ChatRequest>({std::move(text), Encoding::kJson});
  };
  EXPECT_TRUE(read(R"({"model": "m", "messages": [], "of_tomorrow": 1})").ok());
  EXPECT_FALSE(read(R"({"messages": []})").ok());
  const auto expect = [&](const std::string& message, std::string_view words) {
    const auto status = read(R"({"model": "m", "messages": [)" + message + "]}").status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_NE(MessageOf(status).find(words), std::string::npos) << status;
  };
  expect(R"({"role": "king", "blocks": []})", "\"king\" is no role");
  expect(R"({"role": "user", "blocks": [{"type": "smell"}]})", "\"smell\" is no type of a block");
  expect(R"({"role": "user", "blocks": [{"type": "image", "data": "?"}]})", "not base64");
}

TEST(LlmValuesTest, PartsOfAResponse) {
  ChatResponse response;
  response.blocks = {Text{"a"}, ToolCall{"1", "f", "{}"}, Text{"b"}, ToolCall{"2", "g", "{}"}};
  EXPECT_EQ(TextOf(response.blocks), "ab");
  ASSERT_EQ(ToolCallsOf(response.blocks).size(), 2u);
  EXPECT_EQ(ToolCallsOf(response.blocks)[1].name, "g");
  EXPECT_EQ(AsMessage(response), (Message{.role = Role::kAssistant, .blocks = response.blocks}));
  Usage sum{1, 2, 3, 4, 5};
  sum += Usage{10, 20, 30, 40, 50};
  EXPECT_EQ(sum, (Usage{11, 22, 33, 44, 55}));
}

TEST(Base64Test, GoesThereAndBack) {
  // RFC 4648, section 10.
  const std::pair<std::string, std::string> vectors[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(internal::ToBase64(bytes), text);
    EXPECT_EQ(internal::FromBase64(text), bytes);
  }
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(internal::FromBase64(internal::ToBase64(all)), all);
  for (const char* wrong : {"Z", "Zg=", "Zg", "Z===", "Zm9=v===", "Zm9?", "=Zg="}) {
    EXPECT_FALSE(internal::FromBase64(wrong).has_value()) << wrong;
  }
}

TEST(LlmErrorTest, TheClassDecidesWhetherToTryAgain) {
  for (int i = 0; i <= static_cast<int>(ErrorClass::kCanceled); ++i) {
    const auto error_class = static_cast<ErrorClass>(i);
    const Failure failure = ToFailure(MakeError(error_class, "why"));
    EXPECT_EQ(failure.non_retryable, error_class >= ErrorClass::kQuota) << NameOf(error_class);
    EXPECT_EQ(failure.type, "llm." + std::string(NameOf(error_class)));
    EXPECT_EQ(ClassOf(failure), error_class);
    EXPECT_FALSE(failure.next_retry_delay.has_value());
  }
  EXPECT_EQ(ClassOf(Failure{.type = "CardDeclined"}), std::nullopt);
  EXPECT_EQ(ClassOf(Failure{.type = "llm.Tired"}), std::nullopt);
}

TEST(LlmErrorTest, TheProvidersAdviceGoesBeforeTheClass) {
  Error error = MakeError(ErrorClass::kRateLimit, "not today");
  error.retryable = false;
  EXPECT_TRUE(ToFailure(error).non_retryable);
}

TEST(LlmErrorTest, WaitsNoLessThanItIsTold) {
  Error error = MakeError(ErrorClass::kRateLimit, "slow down");
  error.retry_after = Duration(20'000);
  Duration least = Duration::max(), most{0};
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Duration wait = ToFailure(error, 1, seed).next_retry_delay.value();
    least = std::min(least, wait);
    most = std::max(most, wait);
  }
  EXPECT_GE(least, Duration(20'000));
  EXPECT_LE(most, Duration(22'000));
  EXPECT_GT(most - least, Duration(1'000)) << "all come back at once";

  error.retry_after = Duration(0);
  EXPECT_GE(ToFailure(error, 1).next_retry_delay.value(), Duration(500));
  EXPECT_GE(ToFailure(error, 5).next_retry_delay.value(), Duration(8'000));
  EXPECT_LE(ToFailure(error, 1'000'000).next_retry_delay.value(), Duration(66'000));
}

TEST(LlmErrorTest, SaysWhereToLook) {
  Error error = MakeError(ErrorClass::kOverloaded, "busy");
  error.http_status = 529;
  error.request_id = "req_1";
  EXPECT_EQ(ToFailure(error).message, "busy (HTTP 529) [request req_1]");
}

}  // namespace
}  // namespace marathon::llm::llm_values_test
