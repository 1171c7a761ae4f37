// A recursive parser that calculates as it reads. Its depth is counted, since a model writes what it reads.
#include "marathon/agent/tools/calculator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "src/agent/tools/tool_reply.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

constexpr size_t kExpressionMax = 4'096;
constexpr int kDepthMax = 100;

using Function = double (*)(double);
constexpr std::array<std::pair<std::string_view, Function>, 15> kFunctions = {{
    {"abs", [](double x) { return std::fabs(x); }},     {"ceil", [](double x) { return std::ceil(x); }},
    {"exp", [](double x) { return std::exp(x); }},      {"floor", [](double x) { return std::floor(x); }},
    {"ln", [](double x) { return std::log(x); }},       {"log10", [](double x) { return std::log10(x); }},
    {"log2", [](double x) { return std::log2(x); }},    {"round", [](double x) { return std::round(x); }},
    {"sqrt", [](double x) { return std::sqrt(x); }},    {"sin", [](double x) { return std::sin(x); }},
    {"cos", [](double x) { return std::cos(x); }},      {"tan", [](double x) { return std::tan(x); }},
    {"asin", [](double x) { return std::asin(x); }},    {"acos", [](double x) { return std::acos(x); }},
    {"atan", [](double x) { return std::atan(x); }},
}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The first thing that is wrong ends all: after it, values mean nothing, and nothing is read any more.
class Calculation {
 public:
  explicit Calculation(std::string_view text) : text_(text) {}

  StatusOr<double> Run() {
    const double value = Sum();
    if (error_.ok() && !AtEnd()) Fail(at_, "an operator is wanted");
    if (!error_.ok()) return error_;
    return value;
  }

 private:
  double Sum() {
    double value = Product();
    for (;;) {
      if (Take('+')) {
        value = Finite(value + Product());
      } else if (Take('-')) {
        value = Finite(value - Product());
      } else {
        return value;
      }
    }
  }

  double Product() {
    double value = Signed();
    for (;;) {
      SkipSpace();
      const size_t where = at_;
      if (Take('*')) {
        value = Finite(value * Signed());
      } else if (Take('/')) {
        const double by = Signed();
        if (by == 0) return Fail(where, "division by zero");
        value = Finite(value / by);
      } else if (Take('%')) {
        const double by = Signed();
        if (by == 0) return Fail(where, "division by zero");
        value = std::fmod(value, by);
      } else {
        return value;
      }
    }
  }

  double Signed() {
    bool negative = false;
    for (;;) {
      if (Take('-')) {
        negative = !negative;
      } else if (!Take('+')) {
        break;
      }
    }
    const double value = Power();
    return negative ? -value : value;
  }

  double Power() {
    const double base = Operand();
    SkipSpace();
    const size_t where = at_;
    if (!Take('^')) return base;
    const double exponent = Nested(&Calculation::Signed);
    if (base == 0 && exponent < 0) return Fail(where, "division by zero");
    const double value = std::pow(base, exponent);
    return std::isnan(value) ? Fail(where, "a negative number to a power that is not whole") : Finite(value);
  }

  double Operand() {
    SkipSpace();
    if (AtEnd()) return Fail(at_, "a number is wanted, and this is the end");
    if (Take('(')) return Closed(Nested(&Calculation::Sum));
    if (IsDigit(text_[at_]) || text_[at_] == '.') return Number();
    if (IsLetter(text_[at_])) return Named();
    return Fail(at_, "a number is wanted");
  }

  double Number() {
    double value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error == std::errc::invalid_argument) return Fail(at_, "a number is wanted");
    if (error == std::errc::result_out_of_range) return TooLarge();
    at_ = static_cast<size_t>(end - text_.data());
    return Finite(value);
  }

  // A constant, or a function of what follows in parentheses.
  double Named() {
    const size_t where = at_;
    while (at_ < text_.size() && (IsLetter(text_[at_]) || IsDigit(text_[at_]))) ++at_;
    const std::string_view name = text_.substr(where, at_ - where);
    if (name == "pi") return std::numbers::pi;
    if (name == "e") return std::numbers::e;
    const auto* function = std::find_if(kFunctions.begin(), kFunctions.end(),
                                        [&](const auto& known) { return known.first == name; });
    const bool of_many = name == "min" || name == "max";
    if (!of_many && function == kFunctions.end()) {
      return Fail(where, fmt::format("\"{}\" is no function or constant of this calculator", name));
    }
    if (!Take('(')) return Fail(at_, fmt::format("\"(\" is wanted after {}", name));
    double value = Nested(&Calculation::Sum);
    while (of_many && Take(',')) {
      const double other = Nested(&Calculation::Sum);
      value = name == "min" ? std::min(value, other) : std::max(value, other);
    }
    value = Closed(value);
    if (!of_many) value = function->second(value);
    const bool defined = !std::isnan(value) && !(std::isinf(value) && value < 0);  // ln(0)
    return defined ? Finite(value) : Fail(where, fmt::format("{} has no value there", name));
  }

  double Nested(double (Calculation::*part)()) {
    if (++depth_ > kDepthMax) return Fail(at_, fmt::format("nested more than {} deep", kDepthMax));
    const double value = (this->*part)();
    --depth_;
    return value;
  }

  double Closed(double value) {
    if (!Take(')')) return Fail(at_, "\")\" is wanted");
    return value;
  }

  double Finite(double value) { return std::isinf(value) ? TooLarge() : value; }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || (text_[at_] >= '\t' && text_[at_] <= '\r'))) ++at_;
  }
  bool AtEnd() {
    SkipSpace();
    return at_ >= text_.size();
  }
  bool Take(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  double Fail(size_t where, std::string_view why) {
    return End(InvalidArgument(fmt::format("at {}: {}", where + 1, why)));
  }
  double TooLarge() { return End(OutOfRange(fmt::format("at {}: beyond what a double holds", at_ + 1))); }
  double End(Status error) {
    if (error_.ok()) error_ = std::move(error);
    at_ = text_.size();
    return 1;  // which does no harm, whatever is done with it
  }

  const std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  Status error_;
};

struct Expression {
  std::string expression;
};
MARATHON_TOOL_INPUT(Expression, (expression, "such as 2 * (3 + 4)^2 or sqrt(2) / pi"))

}  // namespace

StatusOr<double> Calculate(std::string_view expression) {
  if (expression.size() > kExpressionMax) {
    return InvalidArgument(fmt::format("at {}: longer than {} bytes", kExpressionMax + 1, kExpressionMax));
  }
  return Calculation(expression).Run();
}

Tool CalculatorTool() {
  return MakeTool(
      "calculator",
      "Calculates an expression of numbers, + - * / % ^, parentheses, pi, e, and the functions abs ceil exp floor ln "
      "log10 log2 round sqrt sin cos tan asin acos atan min max. Angles are in radians.",
      [](const Expression& input) {
        const StatusOr<double> value = Calculate(input.expression);
        if (!value.ok()) return internal::Refusal(value.status());
        return ToolReply{.text = fmt::format("{}", *value == 0 ? 0.0 : *value)};  // zero has no sign
      },
      {.effect = Effect::kPure});
}

}  // namespace marathon::inline MARATHON_ABI::agent
