// Models under limits that workers share: what headers say, what a call takes and gives back, waits and pauses.
// needs: llm
// program: llm
#include <gmock/gmock.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../stream_server.h"
#include "marathon/adapters/memory_limiter.h"
#include "marathon/limits.h"
#include "marathon/llm/client.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/testing/manual_clock.h"
#include "src/llm/limit_headers.h"
#include "src/llm/paced_call.h"
#include "src/net/http_text.h"

namespace marathon::llm::llm_limits_test {
namespace {

using namespace std::chrono_literals;
using internal::EstimateTokens;
using internal::LimitReportsOf;
using internal::ParseGoDuration;
using internal::ParseInstant;
using ::testing::AllOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;
using ::testing::StartsWith;
using tests::DoubleRequest;
using tests::StreamEnd;
using tests::StreamReply;
using tests::StreamServer;

// ---- Headers

std::string Say(const std::vector<LimitReport>& reports) {
  std::string text;
  for (const auto& [unit, limit, remaining, full_in] : reports) {
    text += unit + " " + std::to_string(remaining) + "/" + std::to_string(limit) + " in " +
            std::to_string(full_in.count()) + ";";
  }
  return text;
}

TEST(LimitHeadersTest, GoDurations) {
  const std::pair<const char*, int64_t> durations[] = {
      {"6m0s", 360'000}, {"12ms", 12},   {"1h2m3.5s", 3'723'500}, {"0s", 0}, {"1.2ms", 2},
      {"7us", 1},        {"\u00b5s", -1}, {"3\u00b5s", 1},        {"", -1},  {"5", -1},
      {"-1s", -1},       {"5x", -1},     {"s", -1},               {"nans", -1}};
  for (const auto& [text, millis] : durations) {
    const auto parsed = ParseGoDuration(text);
    EXPECT_EQ(parsed ? parsed->count() : -1, millis) << text;
  }
  EXPECT_EQ(ParseGoDuration("99999999h"), limits::kLimitMaxWait);
}

TEST(LimitHeadersTest, Instants) {
  const auto instant = marathon::detail::ParseHttpDate("Thu, 26 Nov 2026 07:05:09 GMT");
  EXPECT_EQ(ParseInstant("2026-11-26T07:05:09Z"), instant);
  EXPECT_EQ(ParseInstant("2026-11-26T07:05:09.123456Z"), instant);
  EXPECT_EQ(ParseInstant("2026-11-26T07:05:09+00:00"), instant);
  for (const char* text : {"", "2026-11-26", "2026-13-26T07:05:09Z", "2026-02-30T07:05:09Z", "2026-11-26T25:05:09Z",
                           "2026-11-26T07:05:09", "2026-11-26T07:05:09Zz", "yesterday", "12ms"}) {
    EXPECT_FALSE(ParseInstant(text).has_value()) << text;
  }
}

TEST(LimitHeadersTest, OfBothProviders) {
  EXPECT_EQ(Say(LimitReportsOf({200,
                                {{"x-ratelimit-limit-requests", "500"},
                                 {"x-ratelimit-remaining-requests", "499"},
                                 {"x-ratelimit-reset-requests", "120ms"},
                                 {"x-ratelimit-limit-tokens", "30000"},
                                 {"x-ratelimit-remaining-tokens", "0"},
                                 {"x-ratelimit-reset-tokens", "1m0s"}},
                                ""},
                               Time())),
            "requests 499/500 in 120;tokens 0/30000 in 60000;");
  EXPECT_EQ(Say(LimitReportsOf({429,
                                {{"date", "Thu, 26 Nov 2026 07:05:00 GMT"},
                                 {"anthropic-ratelimit-requests-limit", "50"},
                                 {"anthropic-ratelimit-requests-remaining", "0"},
                                 {"anthropic-ratelimit-requests-reset", "2026-11-26T07:05:09Z"},
                                 {"anthropic-ratelimit-tokens-limit", "40000"},
                                 {"anthropic-ratelimit-tokens-remaining", "39000"},
                                 {"anthropic-ratelimit-tokens-reset", "2026-11-26T07:04:00Z"}},
                                ""},
                               Time())),
            "requests 0/50 in 10000;tokens 39000/40000 in 0;")
      << "a whole second is a second more";
}

TEST(LimitHeadersTest, AWholeSecondSaysNothingOfTheSpeedWhileLittleIsMissing) {
  const auto with = [](const char* remaining) {
    return Say(LimitReportsOf({200,
                               {{"date", "Thu, 26 Nov 2026 07:05:00 GMT"},
                                {"anthropic-ratelimit-requests-limit", "4000"},
                                {"anthropic-ratelimit-requests-remaining", remaining},
                                {"anthropic-ratelimit-requests-reset", "2026-11-26T07:05:00Z"}},
                               ""},
                              Time()));
  };
  EXPECT_EQ(with("3999"), "requests 3999/4000 in 0;");
  EXPECT_EQ(with("1000"), "requests 1000/4000 in 1000;");
}

TEST(LimitHeadersTest, NonsenseIsNone) {
  const std::map<std::string, std::string> good = {{"x-ratelimit-limit-requests", "500"},
                                                   {"x-ratelimit-remaining-requests", "499"},
                                                   {"x-ratelimit-reset-requests", "120ms"}};
  ASSERT_EQ(LimitReportsOf({200, good, ""}, Time()).size(), 1u);
  for (const auto& [name, value] : good) {
    for (const char* bad : {"", "-1", "x", "1e9", "99999999999"}) {
      auto headers = good;
      headers[name] = bad;
      EXPECT_THAT(LimitReportsOf({200, headers, ""}, Time()), ::testing::IsEmpty()) << name << " " << bad;
    }
  }
  auto none = good;
  none["x-ratelimit-limit-requests"] = none["x-ratelimit-remaining-requests"] = "0";
  EXPECT_THAT(LimitReportsOf({200, none, ""}, Time()), ::testing::IsEmpty()) << "Azure knows none";
}

// ---- What a call takes

TEST(PacedCallTest, EstimatesWhatARequestMayNeed) {
  ChatRequest request{.model = "m"};
  request.messages = {UserMessage(std::string(4'000, 'x'))};
  EXPECT_EQ(EstimateTokens(request), 1'001);
  request.max_tokens = 500;
  EXPECT_EQ(EstimateTokens(request), 1'501);
  request.messages[0].blocks.emplace_back(Media{.bytes = std::string(1 << 20, 'x')});
  EXPECT_EQ(EstimateTokens(request), 3'001) << "a picture's bytes are no text";
  EmbedRequest texts{.model = "m"};
  texts.texts = {std::string(40, 'x'), std::string(40, 'x')};
  EXPECT_EQ(EstimateTokens(texts), 21);
}

TEST(PacedCallTest, KeysTellEndpointsApartAndNoSecret) {
  const Endpoint endpoint{.base_url = "https://api.example.com:8443/v1", .api_key = "sk-secret-0123456789"};
  const std::string key = LimitKey(endpoint, "gpt-x");
  EXPECT_THAT(key, AllOf(StartsWith("llm:api.example.com:8443:"), HasSubstr(":gpt-x"), Not(HasSubstr("secret"))));
  EXPECT_EQ(LimitKey({.base_url = "https://api.example.com:8443/v1/", .api_key = endpoint.api_key}, "gpt-x"), key);
  EXPECT_NE(LimitKey(endpoint, "gpt-y"), key);
  Endpoint other = endpoint;
  other.api_key += "1";
  EXPECT_NE(LimitKey(other, "gpt-x"), key);
  other = endpoint;
  other.headers = {"api-key: another"};
  EXPECT_NE(LimitKey(other, "gpt-x"), key);
  EXPECT_THAT(LimitKey({.api_key = "k"}, "m"), StartsWith("llm:api.openai.com:"));
  EXPECT_LE(LimitKey(endpoint, std::string(1'000, 'm')).size(), limits::kMaxIdBytes);
}

// ---- A client under limits

StreamReply Says(const std::string& usage = "") {
  return {.pieces = {"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n",
                     "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]" + usage + "}\n\n",
                     "data: [DONE]\n\n"}};
}

class LimitedClientTest : public ::testing::Test {
 protected:
  static constexpr const char* kModel = "m";

  ~LimitedClientTest() override { runtime_.Stop(); }

  void Open(StreamServer::Handler handler, Endpoint endpoint = {}) {
    server_.emplace(std::move(handler));
    endpoint_ = std::move(endpoint);
    endpoint_.base_url = server_->url();
    auto client = Client::Open(endpoint_);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *client;
  }
  ChatResult Chat(std::string permit = {}, std::stop_token stop = {}) {
    ChatRequest request{.model = kModel};
    request.messages = {UserMessage(std::string(400, 'x'))};
    request.max_tokens = 99;
    const auto answered = runtime_.NewOneShot();
    std::optional<ChatResult> result;
    client_->ChatWithin({limiter_.get(), std::move(permit)}, std::move(request), std::move(stop), {},
                        [&, answered](ChatResult given) {
                          result = std::move(given);
                          answered->Set();
                        });
    EXPECT_TRUE(answered->Wait(120s)) << "no result";
    return *std::move(result);
  }
  // Its error; kRefused: it is a response.
  Error ChatError(std::string permit = {}) {
    ChatResult result = Chat(std::move(permit));
    auto* error = std::get_if<Error>(&result);
    return error != nullptr ? *error : Error{.error_class = ErrorClass::kRefused};
  }
  bool ChatSays(std::string permit = {}) { return std::holds_alternative<ChatResponse>(Chat(std::move(permit))); }
  Duration Wait(LimitUnit unit) {
    std::optional<StatusOr<Permit>> permit;
    limiter_->Acquire({.key = LimitKey(endpoint_, kModel), .units = {std::move(unit)}},
                      [&](StatusOr<Permit> given) { permit = std::move(given); });
    EXPECT_TRUE(permit->ok());
    return (*permit)->wait;
  }
  void Pause(Duration pause) {
    limiter_->Settle({.key = LimitKey(endpoint_, kModel), .pause = pause}, [](const Status&) {});
  }

  ThreadRuntime runtime_{1, 1};
  std::shared_ptr<Limiter> limiter_ = NewMemoryLimiter(runtime_);
  std::optional<StreamServer> server_;
  Endpoint endpoint_;
  std::shared_ptr<Client> client_;
};

TEST_F(LimitedClientTest, BeyondTheRateACallIsNotMade) {
  Open([](const DoubleRequest&) { return Says(); }, {.requests_per_minute = 2});
  EXPECT_TRUE(ChatSays());
  EXPECT_TRUE(ChatSays());
  const Error held = ChatError();
  EXPECT_EQ(held.error_class, ErrorClass::kRateLimit);
  EXPECT_TRUE(held.retryable);
  EXPECT_FALSE(held.permit.empty());
  EXPECT_THAT(held.retry_after->count(), AllOf(Ge(20'000), Le(30'000)));
  const Error still = ChatError(held.permit);
  EXPECT_EQ(still.permit, held.permit) << "it has its place";
  const Error another = ChatError("1 llm:another:route");
  EXPECT_THAT(another.retry_after->count(), AllOf(Ge(50'000), Le(60'000)));
  EXPECT_EQ(server_->requests().size(), 2u);
}

TEST_F(LimitedClientTest, WithoutAPaceThereIsNoLimit) {
  Open([](const DoubleRequest&) { return Says(); }, {.requests_per_minute = 1});
  for (int i = 0; i < 3; ++i) {
    const auto answered = runtime_.NewOneShot();
    ChatRequest request{.model = kModel};
    request.messages = {UserMessage("x")};
    client_->Chat(std::move(request), {}, {}, [answered](const ChatResult& result) {
      EXPECT_TRUE(std::holds_alternative<ChatResponse>(result));
      answered->Set();
    });
    ASSERT_TRUE(answered->Wait(120s));
  }
}

TEST_F(LimitedClientTest, UsageSettlesTheEstimate) {
  Open([](const DoubleRequest&) { return Says(R"(,"usage":{"prompt_tokens":100,"completion_tokens":20})"); },
       {.tokens_per_minute = 600});
  EXPECT_TRUE(ChatSays());  // takes 200, uses 120
  EXPECT_EQ(Wait({"tokens", 470, 600}), 0ms);
  EXPECT_GT(Wait({"tokens", 100, 600}), 0ms);
}

TEST_F(LimitedClientTest, AShortWaitIsTheClients) {
  Open([](const DoubleRequest&) { return Says(); });
  const Time begin = runtime_.Now();
  Pause(300ms);
  EXPECT_TRUE(ChatSays());
  EXPECT_GE(runtime_.Now() - begin, 299ms);
}

// Stopped while it waits, it gives back what it has taken.
TEST_F(LimitedClientTest, StoppedInAShortWait) {
  Open([](const DoubleRequest&) { return Says(); }, {.tokens_per_minute = 600});
  const marathon::testing::ManualClock still;  // the pause is not over before the stop, however late that comes
  limiter_ = NewMemoryLimiter(still);
  Pause(900ms);
  std::stop_source stop;
  // The limiter answers within the call, so the wait has begun, or is about to, when this is posted.
  runtime_.SetAlarm(100ms, [stop]() mutable { stop.request_stop(); });
  const ChatResult result = Chat({}, stop.get_token());
  ASSERT_TRUE(std::holds_alternative<Error>(result));
  EXPECT_EQ(std::get<Error>(result).error_class, ErrorClass::kCanceled);
  EXPECT_EQ(server_->requests().size(), 0u);
  EXPECT_LE(Wait({"tokens", 600, 600}), 1s) << "the pause, and no more";
}

TEST_F(LimitedClientTest, TooManyRequestsHoldAllOthers) {
  Open([](const DoubleRequest&) {
    return StreamReply{.status = 429, .headers = {{"Retry-After", "30"}}, .pieces = {"{}"}};
  });
  const Error first = ChatError();
  EXPECT_EQ(first.error_class, ErrorClass::kRateLimit);
  EXPECT_TRUE(first.permit.empty()) << "that call was made";
  const Error second = ChatError();
  EXPECT_FALSE(second.permit.empty());
  EXPECT_THAT(second.retry_after->count(), AllOf(Ge(10'000), Le(30'000)));
  EXPECT_EQ(server_->requests().size(), 1u);
}

TEST_F(LimitedClientTest, AnEmptyPurseAndABadKeyHoldNobody) {
  int calls = 0;
  Open([&](const DoubleRequest&) {
    StreamReply reply{.status = ++calls == 1 ? 401 : 429, .headers = {{"Retry-After", "30"}}};
    reply.pieces = {calls == 2 ? R"({"error":{"code":"insufficient_quota"}})" : "{}"};
    return calls > 2 ? Says() : reply;
  });
  EXPECT_EQ(ChatError().error_class, ErrorClass::kAuth);
  EXPECT_EQ(ChatError().error_class, ErrorClass::kQuota);
  EXPECT_TRUE(ChatSays());
}

TEST_F(LimitedClientTest, WhatAnAnswersHeadSaysLimitsTheNext) {
  Open([](const DoubleRequest&) {
    StreamReply reply = Says();
    reply.headers["x-ratelimit-limit-requests"] = "10";
    reply.headers["x-ratelimit-remaining-requests"] = "0";
    reply.headers["x-ratelimit-reset-requests"] = "10m0s";
    return reply;
  });
  EXPECT_TRUE(ChatSays());
  const Error held = ChatError();
  EXPECT_FALSE(held.permit.empty());
  EXPECT_THAT(held.retry_after->count(), AllOf(Ge(30'000), Le(60'000)));
}

TEST_F(LimitedClientTest, AStoreThatHasNoLimiterLimitsNothing) {
  class None final : public Limiter {
    void Acquire(AcquireLimit, Done<Permit> done) override { done(Unimplemented("none")); }
    void Settle(SettleLimit, DoneStatus done) override { done(Unimplemented("none")); }
    void Clear(std::string, DoneStatus done) override { done(Unimplemented("none")); }
    void Enter(EnterPlace, Done<EnterReply> done) override { done(Unimplemented("none")); }
    void Leave(LeavePlace, Done<LeaveReply> done) override { done(Unimplemented("none")); }
  };
  limiter_ = std::make_shared<None>();
  Open([](const DoubleRequest&) { return Says(); }, {.requests_per_minute = 1});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ChatSays());
}

TEST_F(LimitedClientTest, AStoreThatDoesNotAnswerIsTriedAgain) {
  class Away final : public Limiter {
    void Acquire(AcquireLimit, Done<Permit> done) override { done(Unavailable("away")); }
    void Settle(SettleLimit, DoneStatus done) override { done(Unavailable("away")); }
    void Clear(std::string, DoneStatus done) override { done(Unavailable("away")); }
    void Enter(EnterPlace, Done<EnterReply> done) override { done(Unavailable("away")); }
    void Leave(LeavePlace, Done<LeaveReply> done) override { done(Unavailable("away")); }
  };
  limiter_ = std::make_shared<Away>();
  Open([](const DoubleRequest&) { return Says(); });
  const Error error = ChatError();
  EXPECT_EQ(error.error_class, ErrorClass::kTransient);
  EXPECT_THAT(error.message, HasSubstr("away"));
  EXPECT_EQ(server_->requests().size(), 0u);
}

TEST_F(LimitedClientTest, RatesThatAreNoneAreRefused) {
  for (const int64_t rate : {int64_t{-1}, limits::kLimitMaxAmount + 1}) {
    EXPECT_EQ(Client::Open({.requests_per_minute = rate}).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(Client::Open({.tokens_per_minute = rate}).status().code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace marathon::llm::llm_limits_test
