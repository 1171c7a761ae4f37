// The router over scripted models: who is asked, in what order, and what the caller hears.
// needs: llm
// program: llm
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/llm/router.h"
#include "marathon/llm/scripted_model.h"

namespace marathon::llm::llm_router_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Says something and then breaks off; or stays, for a stop.
class HalfModel final : public Model {
 public:
  explicit HalfModel(std::optional<Error> error) : error_(std::move(error)) {}
  void Chat(ChatRequest, std::stop_token stop, OnDelta on_delta, OnResult done) override {
    if (on_delta) on_delta({.text = "half"});
    if (stop.stop_possible() && !error_) return done(MakeError(ErrorClass::kCanceled, "stopped"));
    Error error = *error_;
    error.partial = true;
    done(std::move(error));
  }

 private:
  const std::optional<Error> error_;
};

struct Answer {
  std::optional<ChatResult> result;
  std::vector<std::string> deltas;  // "|" for a reset
  const ChatResponse& response() const { return std::get<ChatResponse>(*result); }
  const Error& error() const { return std::get<Error>(*result); }
};

Answer Ask(Model& model, std::string name, std::stop_token stop = {}) {
  ChatRequest request{.model = std::move(name)};
  request.messages = {UserMessage("Hello")};
  Answer answer;
  model.Chat(
      std::move(request), std::move(stop),
      [&](const Delta& delta) {
        answer.deltas.push_back(delta.kind == Delta::Kind::kReset ? "|" : delta.text);
      },
      [&](ChatResult result) {
        EXPECT_FALSE(answer.result) << "two results";
        answer.result = std::move(result);
      });
  EXPECT_TRUE(answer.result) << "no result";
  return answer;
}

class RouterTest : public ::testing::Test {
 protected:
  std::shared_ptr<Router> Make(std::vector<Route> routes, RouterOptions options = {}) {
    auto router = Router::Make(std::move(routes), std::move(options));
    EXPECT_TRUE(router.ok()) << router.status();
    return *router;
  }
  std::vector<std::string> Asked(const ScriptedModel& model) {
    std::vector<std::string> names;
    for (const ChatRequest& request : model.requests()) names.push_back(request.model);
    return names;
  }
  std::shared_ptr<ScriptedModel> one_ = std::make_shared<ScriptedModel>();
  std::shared_ptr<ScriptedModel> two_ = std::make_shared<ScriptedModel>();
};

TEST_F(RouterTest, GoesByTheModelsName) {
  auto router = Make({{.name = "a", .match = "claude-*", .model = one_},
                      {.name = "b", .match = "gpt-5", .model = two_, .send_as = "local"}});
  one_->Says("one");
  two_->Says("two");
  const Answer first = Ask(*router, "claude-sonnet");
  EXPECT_EQ(TextOf(first.response().blocks), "one");
  EXPECT_EQ(first.response().route, "a");
  EXPECT_EQ(Ask(*router, "gpt-5").response().route, "b");
  EXPECT_THAT(Asked(*one_), ElementsAre("claude-sonnet"));
  EXPECT_THAT(Asked(*two_), ElementsAre("local"));

  const Answer none = Ask(*router, "gpt-5-mini");
  EXPECT_EQ(none.error().error_class, ErrorClass::kBadRequest);
  EXPECT_THAT(none.error().message, HasSubstr("no route takes the model \"gpt-5-mini\""));
  EXPECT_THAT(none.error().message, HasSubstr("claude-*, gpt-5"));
}

TEST_F(RouterTest, AsksTheNextOneWhereThatMayHelp) {
  auto router = Make({{.name = "a", .model = one_}, {.name = "b", .model = two_}});
  for (const ErrorClass error :
       {ErrorClass::kOverloaded, ErrorClass::kTransient, ErrorClass::kTruncated,
        ErrorClass::kTimeout, ErrorClass::kQuota}) {
    one_->Fails(error);
    two_->Says("spare");
    EXPECT_EQ(Ask(*router, "m").response().route, "b") << NameOf(error);
  }
  for (const ErrorClass error : {ErrorClass::kRateLimit, ErrorClass::kAuth, ErrorClass::kBadRequest,
                                 ErrorClass::kTooLarge, ErrorClass::kRefused,
                                 ErrorClass::kCanceled}) {
    one_->Fails(error);
    EXPECT_EQ(Ask(*router, "m").error().error_class, error);
  }
  EXPECT_EQ(two_->requests().size(), 5u);
}

TEST_F(RouterTest, WhichErrorsLeadOnIsAnOption) {
  auto router = Make({{.name = "a", .model = one_}, {.name = "b", .model = two_}},
                     {.next_after = {ErrorClass::kRateLimit, ErrorClass::kCanceled}});
  one_->Fails(ErrorClass::kRateLimit).Fails(ErrorClass::kOverloaded).Fails(ErrorClass::kCanceled);
  two_->Says("spare");
  EXPECT_EQ(Ask(*router, "m").response().route, "b");
  EXPECT_EQ(Ask(*router, "m").error().error_class, ErrorClass::kOverloaded);
  EXPECT_EQ(Ask(*router, "m").error().error_class, ErrorClass::kCanceled) << "never after that";
}

TEST_F(RouterTest, WhenAllFailTheCallerHearsOfTheBestChance) {
  auto router = Make({{.name = "a", .model = one_}, {.name = "b", .model = two_}},
                     {.next_after = {ErrorClass::kRateLimit, ErrorClass::kQuota}});
  const auto limited = [](int64_t wait) {
    Error error = MakeError(ErrorClass::kRateLimit, "later");
    error.retry_after = Duration(wait);
    return error;
  };
  one_->Answers(limited(5'000));
  two_->Answers(limited(2'000));
  EXPECT_EQ(Ask(*router, "m").error().retry_after, Duration(2'000));

  one_->Answers(limited(5'000));
  two_->Fails(ErrorClass::kQuota, "no money");
  const Answer mended = Ask(*router, "m");
  EXPECT_EQ(mended.error().error_class, ErrorClass::kRateLimit) << "another try may mend it";
  EXPECT_EQ(mended.error().message, "a: later");

  one_->Fails(ErrorClass::kQuota, "no money");
  two_->Answers(limited(5'000));
  EXPECT_EQ(Ask(*router, "m").error().error_class, ErrorClass::kRateLimit);

  one_->Fails(ErrorClass::kQuota, "no money");
  two_->Fails(ErrorClass::kAuth, "a wrong key");
  EXPECT_EQ(Ask(*router, "m").error().message, "b: a wrong key");
  one_->Answers(limited(5'000));
  two_->Fails(ErrorClass::kAuth, "a wrong key");
  EXPECT_EQ(Ask(*router, "m").error().error_class, ErrorClass::kRateLimit) << "a spare that is of no use";

  one_->Fails(ErrorClass::kQuota, "no money here");
  two_->Fails(ErrorClass::kQuota, "nor there");
  EXPECT_EQ(Ask(*router, "m").error().message, "b: nor there");
}

TEST_F(RouterTest, AnErrorOfNoneIsUnsentIfAllAre) {
  Error unsent = MakeError(ErrorClass::kTransient, "nobody there");
  unsent.sent = false;
  auto router = Make({{.name = "a", .model = one_}, {.name = "b", .model = two_}});
  one_->Answers(unsent);
  two_->Answers(unsent);
  EXPECT_FALSE(Ask(*router, "m").error().sent);
  one_->Fails(ErrorClass::kTransient);
  two_->Answers(unsent);
  EXPECT_TRUE(Ask(*router, "m").error().sent) << "the first has been asked";
}

TEST_F(RouterTest, WhatWasSaidBeforeTheNextOneIsTakenBack) {
  auto half = std::make_shared<HalfModel>(MakeError(ErrorClass::kTruncated, "cut"));
  auto router = Make({{.name = "a", .model = half}, {.name = "b", .model = two_}});
  two_->Says("all of it").Fails(ErrorClass::kTransient);
  EXPECT_THAT(Ask(*router, "m").deltas, ElementsAre("half", "|", "all ", "of ", "it"));
  const Answer failed = Ask(*router, "m");
  EXPECT_THAT(failed.deltas, ElementsAre("half", "|"));
  EXPECT_TRUE(failed.error().partial) << "some has been paid for";
  EXPECT_TRUE(failed.error().sent);

  one_->Fails(ErrorClass::kOverloaded);
  two_->Says("fine");
  auto silent = Make({{.name = "a", .model = one_}, {.name = "b", .model = two_}});
  EXPECT_THAT(Ask(*silent, "m").deltas, ElementsAre("fine")) << "nothing to take back";
}

TEST_F(RouterTest, AStopIsNoReasonToAskAnother) {
  auto half = std::make_shared<HalfModel>(MakeError(ErrorClass::kTransient, "reset"));
  auto router = Make({{.name = "a", .model = half}, {.name = "b", .model = two_}});
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(Ask(*router, "m", stop.get_token()).error().error_class, ErrorClass::kTransient);
  EXPECT_THAT(two_->requests(), IsEmpty());
}

TEST_F(RouterTest, ARouterMayBeARoute) {
  auto inner = Make({{.name = "inner", .model = one_}});
  auto outer = Make({{.name = "outer", .model = inner}});
  one_->Says("hello");
  EXPECT_EQ(Ask(*outer, "m").response().route, "inner");
}

TEST_F(RouterTest, RefusesRoutesThatCannotBeMeant) {
  const auto refusal = [](std::vector<Route> routes) {
    return std::string(Router::Make(std::move(routes)).status().message());
  };
  EXPECT_EQ(refusal({}), "a router needs routes");
  EXPECT_THAT(refusal({{.name = "a"}}), HasSubstr("route \"a\" has no model"));
  EXPECT_THAT(refusal({{.name = "", .model = one_}}), HasSubstr("names of their own"));
  EXPECT_THAT(refusal({{.name = "a", .model = one_}, {.name = "a", .model = two_}}),
              HasSubstr("\"a\" is none"));
  EXPECT_THAT(refusal({{.name = "a", .match = "gpt-*-mini", .model = one_}}),
              HasSubstr("matches \"gpt-*-mini\""));
  EXPECT_THAT(refusal({{.name = "a", .match = "", .model = one_}}), HasSubstr("matches \"\""));
}

}  // namespace
}  // namespace marathon::llm::llm_router_test
