// Persisted structs as JSON for people, by the same field lists as their bytes (detail/layout.h):
// numbers and strings as themselves, enumerators by name, times as ISO 8601, payload data as the
// string it is. Text that is not UTF-8 becomes {"hex": "…"}. Fields of sparse structs are left out
// at their default.
//
// Functions only; safe from any thread.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>
#include <nlohmann/json.hpp>

#include "marathon/config.h"
#include "marathon/detail/event_fields.h"
#include "marathon/detail/layout.h"
#include "marathon/detail/row_fields.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing::detail {

using marathon::detail::ForEachField;
using marathon::detail::HasLayout;
using marathon::detail::IsSparse;
using marathon::detail::kIsOptional;
using marathon::detail::kIsVector;
using marathon::detail::Layout;
using Json = nlohmann::ordered_json;
using Header = std::pair<std::string, std::string>;

// The enumerators' names, from EnumRange::first on.
template <class Enum>
inline constexpr std::array<const char*, 0> kNames{};
template <>
inline constexpr std::array kNames<Encoding> = {"none", "json", "blob", "sealed"};
template <>
inline constexpr std::array kNames<FailureKind> = {"application", "timeout", "canceled",
                                                   "terminated", "engine"};
template <>
inline constexpr std::array kNames<TimeoutKind> = {
    "none", "start_to_close", "schedule_to_start", "schedule_to_close", "heartbeat", "run"};
template <>
inline constexpr std::array kNames<RunStatus> = {"running",  "completed",  "failed",
                                                 "canceled", "terminated", "timed_out",
                                                 "continued_as_new"};
template <>
inline constexpr std::array kNames<ActivityState> = {"claimable", "claimed", "backoff", "detached",
                                                     "dead"};
template <>
inline constexpr std::array kNames<Owed> = {"no", "at_end", "now"};

// ---- To JSON

inline Json TextToJson(const std::string& text) {
  const std::string valid = Json(text).dump(-1, ' ', false, Json::error_handler_t::ignore);
  if (Json::parse(valid, nullptr, false) == Json(text)) return text;
  std::string hex;
  for (const char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return Json{{"hex", hex}};
}

// 2026-11-23T08:00:00.000000Z; outside the years 0 to 9999, and for kNever, the microseconds.
inline Json TimeToJson(Time time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  constexpr auto kEnd = std::chrono::sys_days(std::chrono::year(10000) / 1 / 1);
  if (time >= kEnd || time < std::chrono::sys_days(std::chrono::year(0) / 1 / 1))
    return ToMicros(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

template <class T>
Json ToJson(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    constexpr auto kFirst = static_cast<size_t>(marathon::detail::EnumRange<T>::first);
    return kNames<T>.at(static_cast<size_t>(value) - kFirst);
  } else if constexpr (std::is_same_v<T, Time>) {
    return TimeToJson(value);
  } else if constexpr (std::is_same_v<T, Duration>) {
    return value.count();
  } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, Id>) {
    return TextToJson(value);
  } else if constexpr (std::is_same_v<T, Header>) {
    return Json::array({TextToJson(value.first), TextToJson(value.second)});
  } else if constexpr (kIsOptional<T>) {
    return value.has_value() ? ToJson(*value) : Json();
  } else if constexpr (kIsVector<T>) {
    Json json = Json::array();
    for (const auto& element : value) json.push_back(ToJson(element));
    return json;
  } else if constexpr (HasLayout<T>) {
    Json json = Json::object();
    uint64_t mask = ~uint64_t{0};
    if constexpr (IsSparse<T>) mask = marathon::detail::MaskOf(value);
    ForEachField<T>([&](const auto& field) {
      if (mask & 1) json[field.name] = ToJson(value.*field.member);
      mask >>= 1;
    });
    return json;
  } else {
    return value;
  }
}

// ---- From JSON

// Collects the first thing that is wrong, and where: `events[3].policy.retry: unknown field "jiter"`.
class JsonReader {
 public:
  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  void Fail(std::string_view what) {
    if (ok()) error_ = fmt::format("{}: {}", path_.empty() ? "history" : path_, what);
  }

  // A missing field leaves the struct's default; a field that the struct lacks is an error.
  // `reserved` names fields that are the caller's.
  template <class T>
  void GetStruct(const Json& json, T& value,
                 std::initializer_list<std::string_view> reserved = {}) {
    if (!json.is_object()) return Fail("should be an object");
    size_t known = 0;
    for (const std::string_view name : reserved) known += json.contains(name);
    ForEachField<T>([&](const auto& field) {
      const auto it = json.find(field.name);
      if (it == json.end()) return;
      ++known;
      Nested(fmt::format(".{}", field.name), [&] { Get(*it, value.*field.member); });
    });
    if (known == json.size()) return;
    for (const auto& [name, unused] : json.items()) {
      bool found = std::find(reserved.begin(), reserved.end(), name) != reserved.end();
      ForEachField<T>([&](const auto& field) { found = found || name == field.name; });
      if (!found) Fail(fmt::format("unknown field \"{}\"", name));
    }
  }

  // Runs `body` with `step` added to the path.
  template <class Body>
  void Nested(const std::string& step, Body&& body) {
    const size_t size = path_.size();
    path_ += step;
    body();
    path_.resize(size);
  }

 private:
  template <class T>
  void Get(const Json& json, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) return Fail("should be true or false");
      value = json.get<bool>();
    } else if constexpr (std::is_enum_v<T>) {
      GetEnum(json, value);
    } else if constexpr (std::is_integral_v<T>) {
      GetInteger(json, value);
    } else if constexpr (std::is_same_v<T, double>) {
      if (!json.is_number()) return Fail("should be a number");
      value = json.get<double>();
    } else if constexpr (std::is_same_v<T, Time>) {
      GetTime(json, value);
    } else if constexpr (std::is_same_v<T, Duration>) {
      int64_t count = 0;
      GetInteger(json, count);
      value = Duration(count);
    } else if constexpr (std::is_same_v<T, std::string>) {
      GetText(json, value);
    } else if constexpr (std::is_same_v<T, Id>) {
      std::string text;
      GetText(json, text);
      value = text;
    } else if constexpr (std::is_same_v<T, Header>) {
      if (!json.is_array() || json.size() != 2) return Fail("should be a pair of strings");
      GetText(json[0], value.first);
      GetText(json[1], value.second);
    } else if constexpr (kIsOptional<T>) {
      value.reset();
      if (!json.is_null()) Get(json, value.emplace());
    } else if constexpr (kIsVector<T>) {
      GetSequence(json, value);
    } else {
      GetStruct(json, value);
    }
  }

  template <class T>
  void GetSequence(const Json& json, std::vector<T>& values) {
    if (!json.is_array()) return Fail("should be an array");
    if (depth_ >= marathon::detail::kMaxDepth) return Fail("nests too deep");
    ++depth_;
    for (const Json& element : json) {
      const std::string step = fmt::format("[{}]", values.size());
      Nested(step, [&] { Get(element, values.emplace_back()); });
    }
    --depth_;
  }

  template <class Enum>
  void GetEnum(const Json& json, Enum& value) {
    const auto& names = kNames<Enum>;
    const auto at =
        std::find_if(names.begin(), names.end(), [&](const char* n) { return json == n; });
    if (at == names.end()) return Fail(fmt::format("should be one of: {}", fmt::join(names, ", ")));
    value = static_cast<Enum>(static_cast<size_t>(marathon::detail::EnumRange<Enum>::first) +
                              static_cast<size_t>(at - names.begin()));
  }

  template <class Int>
  void GetInteger(const Json& json, Int& value) {
    const bool fits = json.is_number_unsigned()
                          ? std::in_range<Int>(json.get<uint64_t>())
                          : json.is_number_integer() && std::in_range<Int>(json.get<int64_t>());
    if (!fits) return Fail("should be a whole number in range");
    value = json.get<Int>();
  }

  void GetTime(const Json& json, Time& value) {
    if (!json.is_string()) {
      int64_t micros = 0;
      GetInteger(json, micros);
      value = FromMicros(micros);
      return;
    }
    const std::string text = json.get<std::string>();
    int year = 0;
    unsigned month = 0, day = 0, hours = 0, minutes = 0, seconds = 0, micros = 0;
    const int read = std::sscanf(text.c_str(), "%4d-%2u-%2uT%2u:%2u:%2u.%6uZ", &year, &month, &day,
                                 &hours, &minutes, &seconds, &micros);
    const auto date = std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
    if (read == 7 && date.ok()) {
      value = std::chrono::sys_days(date) + std::chrono::hours(hours) +
              std::chrono::minutes(minutes) + std::chrono::seconds(seconds) +
              std::chrono::microseconds(micros);
    }
    if (TimeToJson(value) != json) Fail("should be a time like 2026-11-23T08:00:00.000000Z");
  }

  void GetText(const Json& json, std::string& value) {
    if (json.is_string()) {
      value = json.get<std::string>();
      return;
    }
    if (!json.is_object() || json.size() != 1 || !json.contains("hex") ||
        !json["hex"].is_string()) {
      return Fail("should be a string");
    }
    value.clear();
    const std::string hex = json["hex"].get<std::string>();
    if (hex.size() % 2 != 0 || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
      return Fail("should be hexadecimal digits in pairs");
    }
    for (size_t i = 0; i < hex.size(); i += 2) {
      value += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
  }

  std::string path_;
  std::string error_;
  int depth_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::testing::detail
