// The calculator: what it reads, and what it says of what it cannot.
// needs: agent testing
// program: agent
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "marathon/agent/tools/calculator.h"
#include "marathon/testing/activity_tester.h"

namespace marathon::agent::agent_calculator_test {
namespace {

double Value(std::string_view expression) {
  const auto value = Calculate(expression);
  EXPECT_TRUE(value.ok()) << expression << ": " << value.status();
  return value.value_or(std::numeric_limits<double>::quiet_NaN());
}

std::string Complaint(std::string_view expression) {
  const auto value = Calculate(expression);
  EXPECT_FALSE(value.ok()) << expression << " is " << *value;
  return std::string(MessageOf(value.status()));
}

TEST(AgentCalculatorTest, OperatorsBindAsPeopleExpect) {
  EXPECT_EQ(Value("2 * (3 + 4)^2"), 98);
  EXPECT_EQ(Value("1 + 2 * 3 - 4 / 2"), 5);
  EXPECT_EQ(Value("10 - 3 - 2"), 5);
  EXPECT_EQ(Value("100 / 5 / 2"), 10);
  EXPECT_EQ(Value("2^3^2"), 512);
  EXPECT_EQ(Value("-2^2"), -4);
  EXPECT_EQ(Value("(-2)^2"), 4);
  EXPECT_EQ(Value("2^-1"), 0.5);
  EXPECT_EQ(Value("--2 - -+3"), 5);
  EXPECT_EQ(Value("-7 % 4"), -3);
  EXPECT_EQ(Value(" \t1e3\n+.5+1. "), 1001.5);
}

TEST(AgentCalculatorTest, FunctionsAndConstants) {
  EXPECT_EQ(Value("sqrt(16) + abs(-3) + round(2.5) + floor(-0.5) + ceil(0.5)"), 10);
  EXPECT_EQ(Value("min(3, 1, 2) + max(4)"), 5);
  EXPECT_EQ(Value("log10(1000) + log2(8) + ln(exp(2))"), 8);
  EXPECT_DOUBLE_EQ(Value("sin(pi/2) + cos(0) + tan(0)"), 2);
  EXPECT_DOUBLE_EQ(Value("asin(1) + acos(1) + atan(0) + ln(e)"), std::acos(0.0) + 1);
  EXPECT_EQ(Value("max(min(1, (2)), sqrt((4)))"), 2);
}

TEST(AgentCalculatorTest, WhatIsWrongAndWhere) {
  EXPECT_EQ(Complaint(""), "at 1: a number is wanted, and this is the end");
  EXPECT_EQ(Complaint("1 +"), "at 4: a number is wanted, and this is the end");
  EXPECT_EQ(Complaint("1 + x"), "at 5: \"x\" is no function or constant of this calculator");
  EXPECT_EQ(Complaint("1 2"), "at 3: an operator is wanted");
  EXPECT_EQ(Complaint("(1 + 2"), "at 7: \")\" is wanted");
  EXPECT_EQ(Complaint("1)"), "at 2: an operator is wanted");
  EXPECT_EQ(Complaint("* 1"), "at 1: a number is wanted");
  EXPECT_EQ(Complaint("."), "at 1: a number is wanted");
  EXPECT_EQ(Complaint("sqrt 4"), "at 6: \"(\" is wanted after sqrt");
  EXPECT_EQ(Complaint("sqrt(1, 2)"), "at 7: \")\" is wanted");
  EXPECT_EQ(Complaint("5 / (3 - 3)"), "at 3: division by zero");
  EXPECT_EQ(Complaint("5 % 0"), "at 3: division by zero");
  EXPECT_EQ(Complaint("0 ^ -1"), "at 3: division by zero");
  EXPECT_EQ(Complaint("(-8) ^ 0.5"), "at 6: a negative number to a power that is not whole");
  EXPECT_EQ(Complaint("sqrt(-1)"), "at 1: sqrt has no value there");
  EXPECT_EQ(Complaint("1 + ln(0)"), "at 5: ln has no value there");
  EXPECT_EQ(Complaint("acos(2)"), "at 1: acos has no value there");
  EXPECT_EQ(Complaint("1; rm -rf"), "at 2: an operator is wanted");
  EXPECT_EQ(Complaint(std::string("1\0+1", 4)), "at 2: an operator is wanted");
}

TEST(AgentCalculatorTest, NothingIsInfinite) {
  for (const char* expression : {"1e999", "1e308 * 10", "1e308 + 1e308", "-1e308 - 1e308", "1 / 1e-320 / 1e-10",
                                 "10^400", "exp(1000)", "(-10)^309", "1e-999"}) {
    const auto value = Calculate(expression);
    EXPECT_EQ(value.status().code(), StatusCode::kOutOfRange) << expression;
  }
}

TEST(AgentCalculatorTest, DepthAndLengthHaveEnds) {
  const auto nested = [](size_t depth) { return std::string(depth, '(') + "1" + std::string(depth, ')'); };
  EXPECT_EQ(Value(nested(100)), 1);
  EXPECT_EQ(Complaint(nested(101)), "at 102: nested more than 100 deep");
  EXPECT_EQ(Complaint(std::string(4'000, '(')), "at 102: nested more than 100 deep");
  std::string tower = "1";
  for (int i = 0; i < 1'000; ++i) tower += "^1";
  EXPECT_THAT(Complaint(tower), ::testing::HasSubstr("nested more than 100 deep"));
  EXPECT_EQ(Value(std::string(4'000, '-') + "1"), 1);
  EXPECT_EQ(Complaint(std::string(5'000, ' ')), "at 4097: longer than 4096 bytes");
}

// What the model reads.
ToolReply Asked(const std::string& expression) {
  const Tool tool = CalculatorTool();
  EXPECT_EQ(tool.mistake, "");
  const auto run = [&tool](ActivityContext& activity, const nlohmann::json& arguments) {
    ToolContext ctx(activity, {.step = 1, .call_id = "c"});
    return tool.run(ctx, arguments);
  };
  const StatusOr<ToolReply> reply = testing::ActivityTester().Run(run, nlohmann::json{{"expression", expression}});
  EXPECT_TRUE(reply.ok()) << reply.status();
  return reply.value_or(ToolReply());
}

TEST(AgentCalculatorTest, TheToolSaysAsManyDigitsAsItTakes) {
  EXPECT_EQ(Asked("6 * 7"), (ToolReply{.text = "42"}));
  EXPECT_EQ(Asked("0.1 + 0.2").text, "0.30000000000000004");
  EXPECT_EQ(Asked("-0").text, "0");
  EXPECT_EQ(Asked("2^60").text, "1.152921504606847e+18");
  EXPECT_EQ(Asked("1 / 0"), (ToolReply{.text = "at 3: division by zero", .is_error = true}));
}

}  // namespace
}  // namespace marathon::agent::agent_calculator_test
