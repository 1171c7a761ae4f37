#pragma once

#include "marathon/schedule/cron.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

// What may stand in one field. `names` have three letters each, for `min` and up.
struct CronField {
  std::string_view name;
  int min;
  int max;
  std::string_view names = "";
  std::vector<ScheduleRange> ScheduleCalendar::* member;
};

// In the order of seven fields.
inline constexpr std::array kCronFields = {
    CronField{"second", 0, 59, "", &ScheduleCalendar::second},
    CronField{"minute", 0, 59, "", &ScheduleCalendar::minute},
    CronField{"hour", 0, 23, "", &ScheduleCalendar::hour},
    CronField{"day of month", 1, 31, "", &ScheduleCalendar::day_of_month},
    CronField{"month", 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", &ScheduleCalendar::month},
    CronField{"day of week", 0, 7, "SUNMONTUEWEDTHUFRISAT", &ScheduleCalendar::day_of_week},
    CronField{"year", 1970, 2199, "", &ScheduleCalendar::year}};

inline std::vector<std::string_view> SplitText(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t end; (end = text.find(separator)) != text.npos; text.remove_prefix(end + 1)) {
    parts.push_back(text.substr(0, end));
  }
  parts.push_back(text);
  return parts;
}

inline std::optional<int> CronNumber(std::string_view text) {
  int value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text[0] == '-' || error != std::errc() || at != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

inline std::optional<int> CronValue(const CronField& field, std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  if (upper.size() == 3) {
    for (size_t i = 0; i < field.names.size(); i += 3) {
      if (field.names.substr(i, 3) == upper) return field.min + static_cast<int>(i / 3);
    }
  }
  const std::optional<int> value = CronNumber(text);
  return value && *value >= field.min && *value <= field.max ? value : std::nullopt;
}

// "*", "7", "9-17", each perhaps with "/step".
inline StatusOr<ScheduleRange> ParseCronRange(const CronField& field, std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return InvalidArgument(fmt::format("{} \"{}\": {}", field.name, text, why));
  };
  const auto value_is = [&] {
    return fmt::format("a value is a number from {} to {}{}", field.min, field.max,
                       field.names.empty() ? std::string()
                                           : fmt::format(" or a name such as {}", field.names.substr(0, 3)));
  };
  const size_t slash = text.find('/');
  const std::string_view values = text.substr(0, slash);
  ScheduleRange range{field.min, field.max, 1};
  if (slash != text.npos) {
    const std::optional<int> step = CronNumber(text.substr(slash + 1));
    if (!step || *step < 1) return wrong("behind the \"/\" comes a step, a number from 1 on");
    range.step = *step;
  }
  if (values == "*") {
    if (field.max == 7) range.last = 6;  // Sunday once
    return range;
  }
  const size_t dash = values.find('-');
  const std::optional<int> first = CronValue(field, values.substr(0, dash));
  if (!first) return wrong(value_is());
  range.first = *first;
  if (dash == values.npos) {
    if (slash == text.npos) range.last = *first;
    return range;
  }
  std::optional<int> last = CronValue(field, values.substr(dash + 1));
  if (!last) return wrong(value_is());
  if (field.max == 7 && last == 0 && *first > 0) last = 7;  // FRI-SUN
  if (*last < *first) {
    return wrong("the range ends before it begins; write two, such as \"22-23,0-5\"");
  }
  range.last = *last;
  return range;
}

inline std::string_view CronMacro(std::string_view text) {
  constexpr std::pair<std::string_view, std::string_view> kMacros[] = {
      {"@yearly", "0 0 1 1 *"},  {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
      {"@weekly", "0 0 * * 0"},  {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
      {"@hourly", "0 * * * *"}};
  const auto* const found = std::ranges::find(kMacros, text, [](const auto& m) { return m.first; });
  return found == std::end(kMacros) ? std::string_view() : found->second;
}

MARATHON_INLINE StatusOr<std::vector<ScheduleCalendar>> ParseCron(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return InvalidArgument(fmt::format("cron string \"{}\": {}", text, why));
  };
  std::vector<std::string_view> words = SplitText(text, ' ');
  std::erase(words, "");
  if (words.size() == 1 && words[0].starts_with('@')) {
    const std::string_view fields = CronMacro(words[0]);
    if (fields.empty()) {
      return wrong("it is none of @yearly, @monthly, @weekly, @daily, @hourly; for \"@every\" use "
                   "ScheduleSpec::intervals");
    }
    words = SplitText(fields, ' ');
  }
  if (!words.empty() && words[0].find('=') != text.npos) {
    return wrong("the time zone goes into ScheduleSpec::time_zone");
  }
  if (words.size() < 5 || words.size() > 7) {
    return wrong(fmt::format("it has {} fields; write five: minute, hour, day of month, month and day "
                             "of week, with a year behind them or also a second before them",
                             words.size()));
  }
  ScheduleCalendar calendar;
  const size_t skipped = words.size() == 7 ? 0 : 1;  // fields before the first word
  for (size_t i = 0; i < words.size(); ++i) {
    const CronField& field = kCronFields[i + skipped];
    for (const std::string_view part : SplitText(words[i], ',')) {
      StatusOr<ScheduleRange> range = ParseCronRange(field, part);
      if (!range.ok()) return wrong(MessageOf(range.status()));
      (calendar.*field.member).push_back(*range);
    }
  }
  const std::string_view day_of_month = words[3 - skipped];
  const std::string_view day_of_week = words[5 - skipped];
  if (day_of_month.starts_with('*') || day_of_week.starts_with('*')) return std::vector{calendar};
  ScheduleCalendar by_month = calendar;
  by_month.day_of_week.clear();
  calendar.day_of_month.clear();
  return std::vector{std::move(by_month), std::move(calendar)};
}

}  // namespace marathon::inline MARATHON_ABI::detail
