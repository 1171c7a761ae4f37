// A calculator, for models that are better at words than at numbers.
//
//   agent.tools = {agent::CalculatorTool()};
//   agent::Calculate("2 * (3 + 4)^2");  // 98
//
// Expressions have numbers (`1.5e3`, `pi`, `e`), `+ - * / % ^`, parentheses, and functions: abs ceil exp floor ln log10
// log2 round sqrt sin cos tan asin acos atan, min and max. `^` binds to the right and tighter than a sign before it:
// -2^2 is -4. Numbers are doubles, angles radians.
//
// Functions only; safe from any thread.
#pragma once

#include <string_view>

#include "marathon/agent/tool.h"
#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::agent {

// kInvalidArgument: it is no expression, or has no value; the message begins with where, counted from 1: "at 5:
// division by zero". kOutOfRange: a number in it is more than a double holds. It has up to 4,096 bytes, nested up to
// 100 deep.
MARATHON_EXPORT StatusOr<double> Calculate(std::string_view expression);

// The tool "calculator", kPure: it takes `expression`, and gives the value with as many digits as tell it apart.
MARATHON_EXPORT Tool CalculatorTool();

}  // namespace marathon::inline MARATHON_ABI::agent
