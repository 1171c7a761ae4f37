// How a server that others have written fails, and what the client makes of it, in both protocols.
// needs: llm
// program: llm
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "llm_peer.h"

namespace marathon::llm::llm_peer_errors_test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::SizeIs;
using namespace llm_peer;

class PeerErrorTest : public PeerChat {};
class PeerBreakTest : public PeerChat {};  // it breaks off streams only
INSTANTIATE_TEST_SUITE_P(Protocols, PeerErrorTest, ::testing::Combine(EachProtocol(), ::testing::Bool()), NameOfTest);
INSTANTIATE_TEST_SUITE_P(Protocols, PeerBreakTest, ::testing::Combine(EachProtocol(), ::testing::Values(true)), NameOfTest);

TEST_P(PeerErrorTest, ErrorsByStatusAndWord) {
  const struct {
    const char* words;
    int status;
    const char* type;
    ErrorClass error_class;
  } kErrors[] = {
      {"slow", 429, "rate_limit_error", ErrorClass::kRateLimit},
      {"money", 429, "insufficient_quota", ErrorClass::kQuota},
      {"busy", 529, "overloaded_error", ErrorClass::kOverloaded},
      {"away", 503, "api_error", ErrorClass::kOverloaded},
      {"broken", 500, "api_error", ErrorClass::kTransient},
      {"late", 504, "timeout_error", ErrorClass::kTimeout},
      {"forbidden", 403, "permission_error", ErrorClass::kAuth},
      {"prompt is too long: 200001 tokens", 400, "invalid_request_error", ErrorClass::kTooLarge},
      {"huge", 413, "request_too_large", ErrorClass::kTooLarge},
      {"which model?", 404, "not_found_error", ErrorClass::kBadRequest},
  };
  for (const auto& one : kErrors) {
    peer_.Answers({{"match", {{"userMessage", one.words}}},
                   {"response",
                    {{"status", one.status}, {"retryAfter", 7}, {"error", {{"message", one.words}, {"type", one.type}}}}}});
    const Error error = ErrorTo(Asking(one.words));
    EXPECT_EQ(error.error_class, one.error_class) << one.words;
    EXPECT_EQ(error.retryable, IsRetryable(one.error_class)) << one.words;
    EXPECT_EQ(error.http_status, one.status);
    EXPECT_EQ(error.message, one.words);
    EXPECT_NE(error.request_id, "");
    EXPECT_FALSE(error.partial);
    EXPECT_EQ(error.retry_after, one.status == 429 ? std::optional<Duration>(7s) : std::nullopt) << one.words;
  }
}

TEST_P(PeerErrorTest, BelievesOurKeyAlone) {
  const Error error = ErrorTo(Asking("hello"), {.api_key = "sk-another"});
  EXPECT_EQ(error.error_class, ErrorClass::kAuth);
  EXPECT_EQ(error.code, "invalid_api_key");
  EXPECT_THAT(peer_.Asked(), SizeIs(0));
}

TEST_P(PeerErrorTest, ItsFaults) {
  const struct {
    const char* fault;
    ErrorClass error_class;
    int status;
    std::optional<Duration> retry_after = {};
  } kFaults[] = {
      {"dropRate", ErrorClass::kTransient, 500},
      {"malformedRate", ErrorClass::kTransient, 200},  // braces that are no JSON
      {"rateLimitRate", ErrorClass::kRateLimit, 429, 1s},
      {"disconnectRate", ErrorClass::kTransient, 0},  // not a byte of an answer
  };
  for (const auto& one : kFaults) {
    peer_.Answers({{"match", {{"userMessage", one.fault}}}, {"response", {{"content", "Hi"}}}, {"chaos", {{one.fault, 1}}}});
    const Error error = ErrorTo(Asking(one.fault));
    EXPECT_EQ(error.error_class, one.error_class) << one.fault << ": " << error.message;
    EXPECT_EQ(error.http_status, one.status) << one.fault;
    EXPECT_EQ(error.retry_after, one.retry_after) << one.fault;
    EXPECT_TRUE(error.retryable) << one.fault;
    EXPECT_FALSE(error.partial) << one.fault;
  }
}

TEST_P(PeerErrorTest, IsNotWaitedForForever) {
  peer_.Answers({{"match", {{"userMessage", "hello"}}}, {"response", {{"content", "Hi"}}}, {"chaos", {{"latencyMs", 30'000}}}});
  EXPECT_EQ(ErrorTo(Asking("hello"), {.total_timeout = 100ms}).error_class, ErrorClass::kTimeout);
}

TEST_P(PeerBreakTest, BreaksOffInTheMiddle) {
  const json calls = json::array({{{"id", "call_1"}, {"name", "weather"}, {"arguments", R"({"town":"Oslo"})"}}});
  // A pause behind each chunk has it sent: Node.js throws away what it has not when it closes the connection.
  const json fault = {{"chunkSize", 2}, {"latency", 1}, {"truncateAfterChunks", 7}};
  for (const json& response : {json{{"content", "Good morning, Oslo"}}, json{{"toolCalls", calls}}}) {
    peer_.Reset();
    json fixture = fault;
    fixture.update({{"match", {{"userMessage", "Oslo"}}}, {"response", response}});
    peer_.Answers(fixture);
    const Error error = ErrorTo(Asking("Oslo?"));
    EXPECT_EQ(error.error_class, ErrorClass::kTruncated) << error.message;
    EXPECT_TRUE(error.retryable);
    EXPECT_TRUE(error.partial);
    EXPECT_GT(pieces_, 1);
    EXPECT_EQ(peer_.Asked().back()["response"]["interruptReason"], "truncateAfterChunks");
  }
}

}  // namespace
}  // namespace marathon::llm::llm_peer_errors_test
