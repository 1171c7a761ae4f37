// Prices, estimates and the ledger.
// needs: agent
// program: agent
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "marathon/activity.h"
#include "marathon/adapters/memory.h"
#include "marathon/agent/budget.h"
#include "marathon/llm/error.h"
#include "marathon/llm/message.h"
#include "marathon/agent/definition.h"
#include "marathon/llm/model.h"
#include "marathon/testing/activity_tester.h"
#include "marathon/testing/manual_clock.h"
#include "src/agent/lost_attempts.h"
#include "src/agent/model_activity.h"

namespace marathon::agent::agent_budget_test {
namespace {

using namespace std::chrono_literals;

const PriceTable kPrices = {{.model = "gpt", .input = 1'000'000, .output = 2'000'000},
                            {.model = "gpt-5-mini", .input = 250'000, .output = 2'000'000, .cached_input = 25'000},
                            {.model = "claude", .input = 3'000'000, .output = 15'000'000, .cached_input = 300'000,
                             .cache_write = 3'750'000}};

TEST(AgentBudgetTest, TheLongestNameThatFitsIsThePrice) {
  EXPECT_EQ(FindPrice(kPrices, "gpt-5-mini-2026"), &kPrices[1]);
  EXPECT_EQ(FindPrice(kPrices, "gpt-5"), &kPrices[0]);
  EXPECT_EQ(FindPrice(kPrices, "claude-sonnet-4-5"), &kPrices[2]);
  EXPECT_EQ(FindPrice(kPrices, "llama"), nullptr);
}

TEST(AgentBudgetTest, EachKindOfTokenHasItsPrice) {
  EXPECT_EQ(CostOf(kPrices[0], {.input = 1'000, .output = 10}), 1'000 + 20);
  EXPECT_EQ(CostOf(kPrices[0], {.input = 1'000, .cached_input = 400}), 1'000);  // no price of its own
  EXPECT_EQ(CostOf(kPrices[2], {.input = 1'000, .cached_input = 400, .cache_write_input = 100, .output = 10}),
            500 * 3 + 120 + 375 + 150);
  EXPECT_EQ(CostOf(kPrices[1], {.input = 1}), 1);  // a quarter, rounded up
  EXPECT_EQ(CostOf(kPrices[1], {}), 0);
}

TEST(AgentBudgetTest, EstimatesAreRatherTooHigh) {
  EXPECT_EQ(EstimateTokens(std::string(300, 'x')), 100);
  llm::Message message = llm::UserMessage(std::string(30, 'x'));
  EXPECT_EQ(EstimateTokens(message), 4 + 10);
  message.blocks.emplace_back(llm::Media{.url = "https://x"});
  EXPECT_EQ(EstimateTokens(message), 4 + 10 + 1'500);
}

TEST(AgentBudgetTest, AttemptsThatWereLostCostTheirInput) {
  Ledger ledger({}, kPrices, FromMicros(0));
  ASSERT_EQ(ledger.Reserve({"gpt", 100, 50}, FromMicros(0)), "");
  ledger.SettleLost(0);
  ledger.SettleLost(-1);
  EXPECT_EQ(ledger.spent(), (Spending{.steps = 1}));
  ledger.SettleLost(3);
  EXPECT_EQ(ledger.spent(), (Spending{.steps = 1, .usage = {.input = 300}, .micro_usd = 300, .estimated = true}));
  ledger.Settle("gpt", {.input = 90, .output = 10});
  EXPECT_EQ(ledger.spent().usage, (llm::Usage{.input = 390, .output = 10}));
}

// Attempts that failed, and workers that died; those that are known to have cost nothing apart.
TEST(AgentBudgetTest, WhichAttemptsAreLost) {
  testing::ManualClock clock;
  const Ports ports = NewMemoryPorts(clock);
  const auto lost = [&](int attempt, int deliveries, const std::string& heartbeat = "") {
    ActivityInfo info;
    info.attempt = attempt;
    info.deliveries = deliveries;
    const ActivityContext ctx(info, heartbeat.empty() ? Payload() : Encode(heartbeat).value(), {}, {}, *ports.blobs,
                              *ports.streams, *ports.limiter);
    return internal::LostBefore(ctx);
  };
  EXPECT_EQ(lost(1, 0), 0);
  EXPECT_EQ(lost(1, 2), 2);
  EXPECT_EQ(lost(4, 1), 4);
  EXPECT_EQ(lost(4, 1, "7 a permit"), 4);
  EXPECT_EQ(lost(4, 1, internal::WithFree("7 a permit", 2)), 2);
  EXPECT_EQ(lost(4, 0, internal::WithFree("", 3)), 0);
  const auto costs = [](llm::ErrorClass error_class, int status = 0, bool partial = false, bool sent = true) {
    llm::Error error = llm::MakeError(error_class, "");
    error.sent = sent;
    error.http_status = status;
    error.partial = partial;
    return internal::MayHaveCost(error);
  };
  EXPECT_TRUE(costs(llm::ErrorClass::kTransient));
  EXPECT_FALSE(costs(llm::ErrorClass::kTransient, 503));
  EXPECT_FALSE(costs(llm::ErrorClass::kTransient, 0, false, /*sent=*/false));
  EXPECT_FALSE(costs(llm::ErrorClass::kCanceled, 0, false, /*sent=*/false));
  EXPECT_TRUE(costs(llm::ErrorClass::kTransient, 0, true, /*sent=*/false)) << "a router's other route has";
  EXPECT_TRUE(costs(llm::ErrorClass::kTimeout));
  EXPECT_TRUE(costs(llm::ErrorClass::kTruncated, 200));
  EXPECT_FALSE(costs(llm::ErrorClass::kOverloaded, 529));
  EXPECT_TRUE(costs(llm::ErrorClass::kOverloaded, 200, true));
  EXPECT_FALSE(costs(llm::ErrorClass::kAuth, 401));
}

// Answers, and remembers what permit it was shown.
class PermitModel final : public llm::Model {
 public:
  void Chat(llm::ChatRequest, std::stop_token, OnDelta, OnResult done) override {
    done(llm::ChatResponse{.blocks = {llm::Text{"yes"}}});
  }
  void ChatWithin(llm::Pace pace, llm::ChatRequest request, std::stop_token stop, OnDelta on_delta,
                  OnResult done) override {
    permit = pace.permit;
    Chat(std::move(request), std::move(stop), std::move(on_delta), std::move(done));
  }
  std::string permit;
};

// What a wait for a limit keeps, and what is counted, stand side by side.
TEST(AgentBudgetTest, AStepThatWaitedShowsItsPermitAndCountsOn) {
  const auto model = std::make_shared<PermitModel>();
  const auto agent = std::make_shared<const Agent>(Agent{.name = "A", .model = "m"});
  testing::ActivityTester tester(
      {.attempt = 3, .last_heartbeat = Encode(internal::WithFree("2 the permit", 1)).value()});
  const ModelTask task{.step = 1, .messages = {llm::UserMessage("hi")}, .model = "m"};
  const StatusOr<ModelReply> reply = tester.Run(internal::ModelActivity(agent, model, nullptr), task);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(model->permit, "the permit");
  EXPECT_EQ(reply->attempts_lost, 1) << "of two, one had cost nothing";
}

TEST(AgentBudgetTest, EachPartStopsByItself) {
  const Time now = FromMicros(0);
  const auto lacking = [&](const Budget& budget, Time at = FromMicros(0)) {
    Ledger ledger(budget, kPrices, FromMicros(0));
    return ledger.Reserve({"gpt", 100, 50}, at);
  };
  EXPECT_EQ(lacking({}), "");
  EXPECT_EQ(lacking({.tokens = 149}), "tokens");
  EXPECT_EQ(lacking({.tokens = 150}), "");
  EXPECT_EQ(lacking({.micro_usd = 199}), "usd");
  EXPECT_EQ(lacking({.micro_usd = 200}), "");
  EXPECT_EQ(lacking({.wall = 1min}, now + 59s), "");
  EXPECT_EQ(lacking({.wall = 1min}, now + 1min), "wall");
  Ledger unknown({.micro_usd = 1'000'000}, kPrices, now);
  EXPECT_EQ(unknown.Reserve({"llama", 1, 1}, now), "price");
  Ledger steps({.steps = 1}, kPrices, now);
  EXPECT_EQ(steps.Reserve({"gpt", 1, 1}, now), "");
  EXPECT_EQ(steps.Reserve({"gpt", 1, 1}, now), "steps");
  EXPECT_EQ(steps.spent().steps, 1);
  Ledger tools({.tool_calls = 3}, kPrices, now);
  EXPECT_EQ(tools.ReserveTools(2, now), "");
  EXPECT_EQ(tools.ReserveTools(2, now), "tool_calls");
  EXPECT_EQ(tools.ReserveTools(1, now), "");
}

TEST(AgentBudgetTest, WhatWasUsedIsBookedAndNotWhatWasReserved) {
  Ledger ledger({.tokens = 200}, kPrices, FromMicros(0));
  EXPECT_EQ(ledger.Reserve({"gpt", 100, 100}, FromMicros(0)), "");
  ledger.Settle("gpt", {.input = 40, .output = 10});
  EXPECT_EQ(ledger.spent().micro_usd, 60);
  EXPECT_FALSE(ledger.spent().estimated);
  EXPECT_EQ(ledger.Reserve({"gpt", 50, 100}, FromMicros(0)), "");
  ledger.Settle("", {});  // broken off: nobody says what it has used
  EXPECT_EQ(ledger.spent().usage, (llm::Usage{.input = 90, .output = 10}));
  EXPECT_TRUE(ledger.spent().estimated);
  EXPECT_EQ(ledger.spent().micro_usd, 110);
  EXPECT_EQ(ledger.Reserve({"gpt", 1, 100}, FromMicros(0)), "tokens");
}

TEST(AgentBudgetTest, WhatKeepsToBoth) {
  const Budget both = Least({.steps = 5, .tool_calls = 0, .tokens = 100, .wall = 1min},
                            {.steps = 9, .tool_calls = 3, .tokens = -1, .micro_usd = 7});
  EXPECT_EQ(both, (Budget{.steps = 5, .tool_calls = 3, .tokens = -1, .micro_usd = 7, .wall = 1min}));
}

TEST(AgentBudgetTest, LessThanNothingIsNothing) {
  const auto lacking = [&](const Budget& budget) {
    Ledger ledger(budget, kPrices, FromMicros(0));
    return ledger.Reserve({"gpt", 1, 1}, FromMicros(0));
  };
  EXPECT_EQ(lacking({.steps = -1}), "steps");
  EXPECT_EQ(lacking({.tokens = -1}), "tokens");
  EXPECT_EQ(lacking({.micro_usd = -1}), "usd");
  EXPECT_EQ(lacking({.wall = -1ms}), "wall");
  Ledger ledger({.tool_calls = -1}, kPrices, FromMicros(0));
  EXPECT_EQ(ledger.ReserveTools(1, FromMicros(0)), "tool_calls");
}

TEST(AgentBudgetTest, WhatIsLentIsNobodyElses) {
  const Time now = FromMicros(0);
  const Budget free{.steps = 0, .tool_calls = 0};
  Ledger ledger({.steps = 10, .tool_calls = 4, .tokens = 1'000, .wall = 1h}, kPrices, now);
  Budget first, second, third;
  EXPECT_EQ(ledger.Lend(free, 2, now + 20min, first), "");
  EXPECT_EQ(first, (Budget{.steps = 5, .tool_calls = 2, .tokens = 500, .wall = 40min}));
  EXPECT_EQ(ledger.Lend({.steps = 2, .tool_calls = 0, .wall = 1min}, 1, now, second), "");
  EXPECT_EQ(second, (Budget{.steps = 2, .tool_calls = 2, .tokens = 500, .wall = 1min}));
  EXPECT_EQ(ledger.Reserve({"gpt", 1, 1}, now), "tokens");
  EXPECT_EQ(ledger.ReserveTools(1, now), "tool_calls");
  EXPECT_EQ(ledger.Lend(free, 1, now, third), "tokens");
  EXPECT_EQ(third.steps, -1);
  ledger.Return(first, Spending{.steps = 1, .tool_calls = 1, .usage = {.input = 80, .output = 20}, .micro_usd = 7});
  EXPECT_EQ(ledger.spent(), (Spending{.steps = 1, .tool_calls = 1, .usage = {.input = 80, .output = 20}, .micro_usd = 7}));
  EXPECT_EQ(ledger.Lend(free, 1, now, third), "");
  EXPECT_EQ(third, (Budget{.steps = 7, .tool_calls = 1, .tokens = 400, .wall = 1h}));
  // One that is lost has spent all that it had.
  ledger.Return(third, Spending{});
  ledger.Return(second, std::nullopt);
  EXPECT_EQ(ledger.spent(), (Spending{.steps = 3, .tool_calls = 3, .usage = {.input = 580, .output = 20}, .micro_usd = 7,
                                      .estimated = true}));
}

}  // namespace
}  // namespace marathon::agent::agent_budget_test
