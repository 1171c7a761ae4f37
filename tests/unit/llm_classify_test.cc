// Which class an answer belongs to, and how long it asks us to wait.
// needs: llm
// program: llm
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "src/llm/classify.h"
#include "src/net/http_text.h"

namespace marathon::llm::internal::llm_classify_test {
namespace {

using marathon::detail::HttpReply;

Error Classify(int status, std::string body, std::map<std::string, std::string> headers = {}) {
  return ErrorOfReply({status, std::move(headers), std::move(body)}, Time());
}

TEST(ClassifyTest, ByStatus) {
  const std::pair<int, ErrorClass> classes[] = {
      {301, ErrorClass::kBadRequest}, {400, ErrorClass::kBadRequest}, {401, ErrorClass::kAuth},
      {402, ErrorClass::kQuota},      {403, ErrorClass::kAuth},       {404, ErrorClass::kBadRequest},
      {408, ErrorClass::kTimeout},    {409, ErrorClass::kTransient},  {413, ErrorClass::kTooLarge},
      {422, ErrorClass::kBadRequest}, {429, ErrorClass::kRateLimit},  {500, ErrorClass::kTransient},
      {502, ErrorClass::kTransient},  {503, ErrorClass::kOverloaded}, {504, ErrorClass::kTimeout},
      {529, ErrorClass::kOverloaded}};
  for (const auto& [status, error_class] : classes) {
    for (const char* body : {"", "<html>", "[]", R"({"error": {"message": "no", "type": "x"}})"}) {
      const Error error = Classify(status, body);
      EXPECT_EQ(error.error_class, error_class) << status << " " << body;
      EXPECT_EQ(error.retryable, IsRetryable(error_class));
      EXPECT_EQ(error.http_status, status);
      EXPECT_FALSE(error.message.empty());
    }
  }
}

TEST(ClassifyTest, ByWordsThatSayMoreThanTheStatus) {
  struct Case {
    int status;
    const char* body;
    ErrorClass error_class;
    const char* code;
  };
  const Case cases[] = {
      {429, R"({"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"m"}})",
       ErrorClass::kQuota, "insufficient_quota"},
      {429, R"({"error":{"type":"tokens","code":"rate_limit_exceeded","message":"m"}})",
       ErrorClass::kRateLimit, "rate_limit_exceeded"},
      {429, R"({"type":"error","error":{"type":"rate_limit_error","message":"m",
               "details":{"error_code":"enforced_spend_limit_reached"}}})",
       ErrorClass::kQuota, "enforced_spend_limit_reached"},
      {400, R"({"error":{"code":"context_length_exceeded","message":"m"}})", ErrorClass::kTooLarge,
       "context_length_exceeded"},
      {400, R"({"type":"error","error":{"type":"invalid_request_error",
               "message":"prompt is too long: 208310 tokens > 200000 maximum"}})",
       ErrorClass::kTooLarge, "invalid_request_error"},
      {400, R"({"type":"error","error":{"type":"invalid_request_error",
               "message":"Your credit balance is too low"}})",
       ErrorClass::kQuota, "invalid_request_error"},
      {400, R"({"type":"error","error":{"type":"invalid_request_error",
               "message":"You have reached your specified API usage limits. You will regain access on 2026-12-01"}})",
       ErrorClass::kQuota, "invalid_request_error"},
      {400, R"({"error":{"code":"content_filter","message":"m"}})", ErrorClass::kRefused,
       "content_filter"},
      {500, R"({"type":"error","error":{"type":"overloaded_error","message":"m"}})",
       ErrorClass::kOverloaded, "overloaded_error"},
      {400, R"({"object":"error","type":"BadRequestError","message":"m","code":400})",
       ErrorClass::kBadRequest, "BadRequestError"},
      {404, R"({"error":"model 'x' not found"})", ErrorClass::kBadRequest, ""},
  };
  for (const Case& one : cases) {
    const Error error = Classify(one.status, one.body);
    EXPECT_EQ(error.error_class, one.error_class) << one.body;
    EXPECT_EQ(error.code, one.code) << one.body;
  }
  EXPECT_EQ(Classify(404, cases[10].body).message, "model 'x' not found");
}

// The status of an error in a stream is 200, and says nothing.
TEST(ClassifyTest, ErrorsInAStream) {
  const auto classify = [](const char* body) {
    return ErrorOfJson(200, nlohmann::json::parse(body)).error_class;
  };
  EXPECT_EQ(classify(R"({"type":"error","error":{"type":"overloaded_error"}})"),
            ErrorClass::kOverloaded);
  EXPECT_EQ(classify(R"({"type":"error","error":{"type":"api_error"}})"), ErrorClass::kTransient);
  EXPECT_EQ(classify(R"({"error":{"type":"invalid_request_error"}})"), ErrorClass::kBadRequest);
  EXPECT_EQ(classify(R"({"error":{"code":"insufficient_quota"}})"), ErrorClass::kQuota);
  EXPECT_EQ(classify(R"({"error":{"message":"?"}})"), ErrorClass::kTransient);
  EXPECT_EQ(classify(R"({"error":{"code":402,"message":"?"}})"), ErrorClass::kQuota);
  EXPECT_EQ(classify(R"({"error":{"code":401,"message":"?"}})"), ErrorClass::kAuth);
  EXPECT_EQ(classify(R"({"error":{"code":429,"message":"?"}})"), ErrorClass::kRateLimit);
  EXPECT_EQ(classify(R"({"error":{"code":7,"message":"?"}})"), ErrorClass::kTransient);
  EXPECT_EQ(ErrorOfJson(200, nlohmann::json::parse(R"({"error":{"code":402}})")).code, "402");
}

TEST(ClassifyTest, TheServersAdviceCounts) {
  EXPECT_FALSE(Classify(500, "", {{"x-should-retry", "false"}}).retryable);
  EXPECT_TRUE(Classify(400, "", {{"x-should-retry", "true"}}).retryable);
  EXPECT_FALSE(Classify(402, "", {{"x-should-retry", "true"}}).retryable) << "money does not come back";
}

TEST(ClassifyTest, MessagesCanBeRead) {
  EXPECT_EQ(Classify(500, "caf\xE9\nx").message, "caf? x");
  std::string longer(499, 'x');
  longer += "\xC3\xA4";  // its second byte is the 501st
  const Error error = Classify(400, nlohmann::json{{"error", {{"message", longer}}}}.dump());
  EXPECT_EQ(error.message, std::string(499, 'x'));
  EXPECT_EQ(Classify(400, "", {{"request-id", "r1"}}).request_id, "r1");
  EXPECT_EQ(Classify(400, R"({"request_id":"r2"})", {{"request-id", "r1"}}).request_id, "r2");
  EXPECT_EQ(Classify(400, "", {{"x-request-id", "r3"}}).request_id, "r3");
  EXPECT_EQ(Classify(500, std::string(100'000, '[')).error_class, ErrorClass::kTransient);
}

TEST(ClassifyTest, OfCallsWithoutAnAnswer) {
  EXPECT_EQ(ErrorOfCall(Unavailable("x"), false).error_class, ErrorClass::kTransient);
  EXPECT_EQ(ErrorOfCall(Unknown("x"), false).error_class, ErrorClass::kTransient);
  EXPECT_EQ(ErrorOfCall(Unknown("x"), true).error_class, ErrorClass::kTruncated);
  EXPECT_EQ(ErrorOfCall(DeadlineExceeded("x"), true).error_class, ErrorClass::kTimeout);
  EXPECT_EQ(ErrorOfCall(FailedPrecondition("x"), false).error_class, ErrorClass::kAuth);
  EXPECT_TRUE(ErrorOfCall(Unknown("x"), true).partial);
}

TEST(RetryAfterTest, InAllItsForms) {
  const Time now = *marathon::detail::ParseHttpDate("Wed, 25 Nov 2026 04:00:00 GMT");
  const auto wait = [&](std::map<std::string, std::string> headers) {
    const auto after = RetryAfter({429, std::move(headers), ""}, now);
    return after ? after->count() : -1;
  };
  EXPECT_EQ(wait({}), -1);
  EXPECT_EQ(wait({{"retry-after", "7"}}), 7'000);
  EXPECT_EQ(wait({{"retry-after", "0.25"}}), 250);
  EXPECT_EQ(wait({{"retry-after", "0"}}), 0);
  EXPECT_EQ(wait({{"retry-after-ms", "1500.2"}}), 1'501);
  EXPECT_EQ(wait({{"x-ms-retry-after-ms", "20"}}), 20);
  EXPECT_EQ(wait({{"retry-after-ms", "20"}, {"retry-after", "1"}}), 20);
  EXPECT_EQ(wait({{"retry-after-ms", "?"}, {"retry-after", "1"}}), 1'000);
  EXPECT_EQ(wait({{"retry-after", "Wed, 25 Nov 2026 04:00:30 GMT"}}), 30'000);
  EXPECT_EQ(wait({{"retry-after", "Wed, 25 Nov 2026 03:00:00 GMT"}}), 0) << "long past";
  EXPECT_EQ(wait({{"retry-after", "Wed, 25 Nov 2026 05:00:30 GMT"},
                  {"date", "Wed, 25 Nov 2026 05:00:00 GMT"}}), 30'000) << "its clock, not ours";
  for (const char* nonsense : {"soon", "-", "nan", "inf", "1e999", "5 s"}) {
    EXPECT_EQ(wait({{"retry-after", nonsense}}), -1) << nonsense;
  }
  EXPECT_EQ(wait({{"retry-after", "-3"}}), 0);
  EXPECT_EQ(wait({{"retry-after", "1e300"}}), 30ll * 24 * 3'600'000);
}

}  // namespace
}  // namespace marathon::llm::internal::llm_classify_test
