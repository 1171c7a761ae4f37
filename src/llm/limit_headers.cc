#include "src/llm/limit_headers.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <system_error>

#include "marathon/limits.h"
#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI::llm::internal {
namespace {

using marathon::detail::HttpReply;

// Takes a number from the front of `text`.
template <class Number>
std::optional<Number> TakeNumber(std::string_view& text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

bool Take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

// A number and what ends it.
std::optional<int> TakePart(std::string_view& text, std::string_view end) {
  const auto number = TakeNumber<int>(text);
  if (!number || *number < 0 || !Take(text, end)) return std::nullopt;
  return number;
}

std::optional<int64_t> CountOf(const std::string& text) {
  std::string_view rest = text;
  const auto number = TakeNumber<int64_t>(rest);
  if (!number || !rest.empty() || *number < 0 || *number > limits::kLimitMaxAmount) return std::nullopt;
  return number;
}

// An instant is of a whole second, which may be nearly over.
std::optional<Duration> FullIn(const HttpReply& reply, const std::string& text, Time now) {
  if (const auto duration = ParseGoDuration(text)) return duration;
  const auto instant = ParseInstant(text);
  if (!instant) return std::nullopt;
  const Time since = marathon::detail::ParseHttpDate(reply.Header("date")).value_or(now);
  const auto left = std::chrono::ceil<Duration>(*instant - since) + std::chrono::seconds(1);
  return std::clamp(left, Duration(0), limits::kLimitMaxWait);
}

}  // namespace

std::optional<Duration> ParseGoDuration(std::string_view text) {
  constexpr struct {
    std::string_view name;
    double millis;
  } kUnits[] = {{"ms", 1}, {"us", 1e-3}, {"\u00b5s", 1e-3}, {"ns", 1e-6}, {"h", 3'600e3}, {"m", 60e3}, {"s", 1e3}};
  double millis = 0;
  do {
    const auto number = TakeNumber<double>(text);
    const auto unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                                   [&](const auto& one) { return Take(text, one.name); });
    if (!number || !(*number >= 0) || unit == std::end(kUnits)) return std::nullopt;
    millis += *number * unit->millis;
  } while (!text.empty());
  const auto most = static_cast<double>(limits::kLimitMaxWait.count());
  return Duration(static_cast<int64_t>(std::ceil(std::min(millis, most))));
}

std::optional<Time> ParseInstant(std::string_view text) {
  const auto year = TakePart(text, "-"), month = TakePart(text, "-"), day = TakePart(text, "T");
  const auto hour = TakePart(text, ":"), minute = TakePart(text, ":"), second = TakePart(text, "");
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (Take(text, ".")) text.remove_prefix(std::min(text.find_first_not_of("0123456789"), text.size()));
  if (!Take(text, "Z") && !Take(text, "+00:00")) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!text.empty() || !date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         std::chrono::seconds(*second);
}

std::vector<LimitReport> LimitReportsOf(const HttpReply& reply, Time now) {
  std::vector<LimitReport> reports;
  for (const std::string_view unit : {kRequests, kTokens}) {
    const std::string name(unit);
    std::string limit = reply.Header("x-ratelimit-limit-" + name);
    std::string remaining = reply.Header("x-ratelimit-remaining-" + name);
    std::string reset = reply.Header("x-ratelimit-reset-" + name);
    if (limit.empty()) {
      limit = reply.Header("anthropic-ratelimit-" + name + "-limit");
      remaining = reply.Header("anthropic-ratelimit-" + name + "-remaining");
      reset = reply.Header("anthropic-ratelimit-" + name + "-reset");
    }
    const auto size = CountOf(limit), left = CountOf(remaining);
    const auto full_in = FullIn(reply, reset, now);
    if (!size || !left || !full_in || *size == 0 || *left > *size) continue;
    // An instant of whole seconds says nothing of the speed while little is missing: 0 is "as before".
    const bool coarse = !ParseGoDuration(reset) && 2 * (*size - *left) < *size;
    reports.push_back({name, *size, *left, coarse ? Duration(0) : *full_in});
  }
  return reports;
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
