// Embeddings: the request and the answer as OpenAI has them, by way of a client; their stored form.
// needs: llm
// program: llm
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../stream_server.h"
#include "marathon/llm/client.h"
#include "marathon/llm/json.h"

namespace marathon::llm::llm_embed_test {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::DoubleRequest;
using tests::StreamReply;
using tests::StreamServer;

EmbedRequest TwoTexts() {
  EmbedRequest request{.model = "m"};
  request.texts = {"one", "two"};
  return request;
}

EmbedResult Embed(Embedder& embedder, EmbedRequest request, std::stop_token stop = {}) {
  std::promise<EmbedResult> result;
  embedder.Embed(std::move(request), std::move(stop),
                 [&](EmbedResult answer) { result.set_value(std::move(answer)); });
  return result.get_future().get();
}

// A client of a server that answers everything with `status` and `body`, and keeps what it was asked.
class EmbedTest : public ::testing::Test {
 protected:
  EmbedResult Answer(std::string body, EmbedRequest request = TwoTexts(), int status = 200) {
    StreamServer server([&](const DoubleRequest& asked) {
      path_ = asked.path;
      asked_ = json::parse(asked.body);
      return StreamReply{.status = status,
                         .headers = {{"Content-Type", "application/json"}},
                         .pieces = {body}};
    });
    auto client = Client::Open({.base_url = server.url() + "/v1"});
    EXPECT_TRUE(client.ok()) << client.status();
    return Embed(**client, std::move(request));
  }
  std::string path_;
  json asked_;
};

TEST_F(EmbedTest, AsksAndAnswersInTheOrderOfTheTexts) {
  EmbedRequest request = TwoTexts();
  request.dimensions = 2;
  request.extra = R"({"user": "u"})";
  const EmbedResult result = Answer(
      R"({"data": [{"index": 1, "embedding": [3, -0.5]}, {"index": 0, "embedding": [1, 2]}],
          "model": "m-2", "usage": {"prompt_tokens": 4, "total_tokens": 4}})",
      request);
  EXPECT_EQ(path_, "/v1/embeddings");
  EXPECT_EQ(asked_, json::parse(R"({"model": "m", "input": ["one", "two"], "encoding_format": "float",
                                    "dimensions": 2, "user": "u"})"));
  const auto* response = std::get_if<EmbedResponse>(&result);
  ASSERT_NE(response, nullptr) << std::get<Error>(result).message;
  EXPECT_THAT(response->vectors, ElementsAre(ElementsAre(1, 2), ElementsAre(3, -0.5)));
  EXPECT_EQ(response->model, "m-2");
  EXPECT_EQ(response->usage, Usage{.input = 4});
}

TEST_F(EmbedTest, VectorsMayComeInBase64AndWithoutAnIndex) {
  const EmbedResult result =
      Answer(R"({"data": [{"embedding": "AACAPwAAAEA="}, {"embedding": "AABAQAAAAL8="}]})");
  const auto* response = std::get_if<EmbedResponse>(&result);
  ASSERT_NE(response, nullptr) << std::get<Error>(result).message;
  EXPECT_THAT(response->vectors, ElementsAre(ElementsAre(1, 2), ElementsAre(3, -0.5)));
}

TEST_F(EmbedTest, NonsenseIsNoAnswer) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "not a JSON object"},
      {"{", "not a JSON object"},
      {R"({"data": [{"index": 0, "embedding": [1]}]})", "1 vectors for 2 texts"},
      {R"({"model": "m"})", "0 vectors for 2 texts"},
      {R"({"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]})", "vector 1"},
      {R"({"data": [{"index": 2, "embedding": [1]}]})", "vector 0"},
      {R"({"data": [{"index": -1, "embedding": [1]}]})", "vector 0"},
      {R"({"data": [{"index": 0, "embedding": []}]})", "vector 0"},
      {R"({"data": [{"index": 0, "embedding": ["x"]}]})", "vector 0"},
      {R"({"data": [{"index": 0, "embedding": "AACA"}]})", "vector 0"},
      {R"({"data": [7]})", "vector 0"},
      {R"({"data": {"embedding": [1]}})", "no list"},
      {R"({"data": "x"})", "no list"},
  };
  for (const auto& [body, message] : cases) {
    const EmbedResult result = Answer(body);
    const auto* error = std::get_if<Error>(&result);
    ASSERT_NE(error, nullptr) << body;
    EXPECT_EQ(error->error_class, ErrorClass::kTransient) << body;
    EXPECT_THAT(error->message, HasSubstr(message)) << body;
  }
}

TEST_F(EmbedTest, ErrorsHaveTheClassesOfChats) {
  const char* body = R"({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})";
  const EmbedResult limited = Answer(body, TwoTexts(), 429);
  EXPECT_EQ(std::get<Error>(limited).error_class, ErrorClass::kRateLimit);
  EXPECT_EQ(std::get<Error>(Answer(body)).error_class, ErrorClass::kRateLimit) << "in a 200";
}

TEST_F(EmbedTest, WhatCannotBeMeantIsNotSent) {
  auto openai = Client::Open({.base_url = "http://127.0.0.1:1"});
  ASSERT_TRUE(openai.ok());
  const auto message = [&](EmbedRequest request) {
    const EmbedResult result = Embed(**openai, std::move(request));
    EXPECT_EQ(std::get<Error>(result).error_class, ErrorClass::kBadRequest);
    return std::get<Error>(result).message;
  };
  EXPECT_EQ(message({.model = "m"}), "the request has no texts");
  EmbedRequest nameless = TwoTexts();
  nameless.model.clear();
  EXPECT_EQ(message(nameless), "the request names no model");
  EmbedRequest broken = TwoTexts();
  broken.texts[0] = "\xff";
  EXPECT_THAT(message(broken), HasSubstr("not UTF-8"));

  auto anthropic = Client::Open({.protocol = Protocol::kAnthropic, .base_url = "http://127.0.0.1:1"});
  ASSERT_TRUE(anthropic.ok());
  const EmbedResult none = Embed(**anthropic, TwoTexts());
  EXPECT_EQ(std::get<Error>(none).message, "the provider has no embeddings");

  std::stop_source stopped;
  stopped.request_stop();
  const EmbedResult canceled = Embed(**openai, TwoTexts(), stopped.get_token());
  EXPECT_EQ(std::get<Error>(canceled).error_class, ErrorClass::kCanceled);
}

TEST(EmbedJson, IsExact) {
  EmbedRequest request = TwoTexts();
  EXPECT_EQ(json(request), json::parse(R"({"model": "m", "texts": ["one", "two"]})"));
  request.dimensions = 3;
  request.extra = "{}";
  EXPECT_EQ(json(request).get<EmbedRequest>(), request);

  EmbedResponse response{.model = "m"};
  response.vectors = {{1, 2}, {0.1F, -std::numeric_limits<float>::denorm_min()}};
  response.usage.input = 4;
  EXPECT_EQ(json(response), json::parse(R"({"model": "m", "usage": {"input": 4},
                                            "vectors": ["AACAPwAAAEA=", "zczMPQEAAIA="]})"));
  EXPECT_EQ(json(response).get<EmbedResponse>(), response);
  EXPECT_ANY_THROW(json::parse(R"({"vectors": ["AAA="]})").get<EmbedResponse>());
}

}  // namespace
}  // namespace marathon::llm::llm_embed_test
