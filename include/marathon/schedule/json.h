// A schedule's values as JSON: what its workflow takes, records and hands to its activities. Each struct names its
// members once, in a layout (detail/layout.h); a member at its default is left out, and one that is missing
// has its default. Durations are milliseconds, times microseconds since 1970, enumerators their numbers.
//
// Persisted: a name is never given to anything else. Functions only; safe from any thread.
#pragma once

#include <stdexcept>
#include <tuple>
#include <type_traits>

#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/layout.h"
#include "marathon/detail/value_fields.h"
#include "marathon/schedule/workflow.h"

namespace marathon::inline MARATHON_ABI::detail {

template <>
struct EnumRange<OverlapPolicy> {
  static constexpr OverlapPolicy first = OverlapPolicy::kSkip, last = OverlapPolicy::kAllowAll;
};
template <>
struct EnumRange<ScheduleRunState> {
  static constexpr auto first = ScheduleRunState::kStarted, last = ScheduleRunState::kNotStarted;
};
template <>
struct EnumRange<ScheduleCommandKind> {
  static constexpr auto first = ScheduleCommandKind::kPause, last = ScheduleCommandKind::kUpdate;
};

template <>
struct Layout<ScheduleRange> {
  static constexpr auto fields = std::tuple{Field{"first", &ScheduleRange::first},
                                            Field{"last", &ScheduleRange::last},
                                            Field{"step", &ScheduleRange::step}};
};
template <>
struct Layout<ScheduleCalendar> {
  static constexpr auto fields = std::tuple{
      Field{"second", &ScheduleCalendar::second}, Field{"minute", &ScheduleCalendar::minute},
      Field{"hour", &ScheduleCalendar::hour},     Field{"day_of_month", &ScheduleCalendar::day_of_month},
      Field{"month", &ScheduleCalendar::month},   Field{"day_of_week", &ScheduleCalendar::day_of_week},
      Field{"year", &ScheduleCalendar::year}};
};
template <>
struct Layout<ScheduleInterval> {
  static constexpr auto fields = std::tuple{Field{"every_ms", &ScheduleInterval::every},
                                            Field{"offset_ms", &ScheduleInterval::offset}};
};
template <>
struct Layout<ScheduleSpec> {
  static constexpr auto fields = std::tuple{
      Field{"crons", &ScheduleSpec::crons},         Field{"intervals", &ScheduleSpec::intervals},
      Field{"calendars", &ScheduleSpec::calendars}, Field{"excludes", &ScheduleSpec::excludes},
      Field{"start", &ScheduleSpec::start},         Field{"end", &ScheduleSpec::end},
      Field{"jitter_ms", &ScheduleSpec::jitter},    Field{"time_zone", &ScheduleSpec::time_zone}};
};
template <>
struct Layout<ScheduleAction> {
  static constexpr auto fields = std::tuple{
      Field{"workflow_type", &ScheduleAction::workflow_type}, Field{"input", &ScheduleAction::input},
      Field{"task_queue", &ScheduleAction::task_queue},
      Field{"run_timeout_ms", &ScheduleAction::run_timeout},
      Field{"memo", &ScheduleAction::memo}, Field{"attributes", &ScheduleAction::attributes},
      Field{"priority", &ScheduleAction::priority}};
};
template <>
struct Layout<ScheduleOptions> {
  static constexpr auto fields =
      std::tuple{Field{"overlap", &ScheduleOptions::overlap},
                 Field{"catch_up_window_ms", &ScheduleOptions::catch_up_window},
                 Field{"pause_on_failure", &ScheduleOptions::pause_on_failure},
                 Field{"remaining_actions", &ScheduleOptions::remaining_actions},
                 Field{"paused", &ScheduleOptions::paused},
                 Field{"note", &ScheduleOptions::note}};
};
template <>
struct Layout<ScheduleConfig> {
  static constexpr auto fields = std::tuple{Field{"spec", &ScheduleConfig::spec},
                                            Field{"action", &ScheduleConfig::action},
                                            Field{"options", &ScheduleConfig::options}};
};
template <>
struct Layout<ScheduleRun> {
  static constexpr auto fields = std::tuple{
      Field{"nominal", &ScheduleRun::nominal},         Field{"started", &ScheduleRun::started},
      Field{"workflow_id", &ScheduleRun::workflow_id}, Field{"run_id", &ScheduleRun::run_id},
      Field{"state", &ScheduleRun::state},             Field{"failure", &ScheduleRun::failure}};
};
template <>
struct Layout<ScheduleCounts> {
  static constexpr auto fields = std::tuple{
      Field{"started", &ScheduleCounts::started}, Field{"overlapped", &ScheduleCounts::overlapped},
      Field{"missed", &ScheduleCounts::missed}, Field{"dropped", &ScheduleCounts::dropped}};
};
template <>
struct Layout<ScheduleStart> {
  static constexpr auto fields = std::tuple{
      Field{"nominal", &ScheduleStart::nominal}, Field{"workflow_id", &ScheduleStart::workflow_id},
      Field{"request_id", &ScheduleStart::request_id}, Field{"manual", &ScheduleStart::manual},
      Field{"overlap", &ScheduleStart::overlap}};
};
template <>
struct Layout<ScheduleState> {
  static constexpr auto fields = std::tuple{
      Field{"id", &ScheduleState::id},           Field{"config", &ScheduleState::config},
      Field{"seen_until", &ScheduleState::seen_until}, Field{"running", &ScheduleState::running},
      Field{"ending", &ScheduleState::ending},   Field{"buffer", &ScheduleState::buffer},
      Field{"recent", &ScheduleState::recent},   Field{"counts", &ScheduleState::counts},
      Field{"triggers", &ScheduleState::triggers}};
};
template <>
struct Layout<ScheduleTimes> {
  static constexpr auto fields = std::tuple{
      Field{"due", &ScheduleTimes::due}, Field{"next", &ScheduleTimes::next},
      Field{"seen_until", &ScheduleTimes::seen_until}, Field{"missed", &ScheduleTimes::missed},
      Field{"error", &ScheduleTimes::error}};
};
template <>
struct Layout<ScheduleCommand> {
  static constexpr auto fields = std::tuple{
      Field{"kind", &ScheduleCommand::kind},       Field{"note", &ScheduleCommand::note},
      Field{"request_id", &ScheduleCommand::request_id}, Field{"overlap", &ScheduleCommand::overlap},
      Field{"times", &ScheduleCommand::times},     Field{"config", &ScheduleCommand::config}};
};
template <>
struct Layout<ScheduleTarget> {
  static constexpr auto fields = std::tuple{Field{"workflow_id", &ScheduleTarget::workflow_id},
                                            Field{"request_id", &ScheduleTarget::request_id},
                                            Field{"action", &ScheduleTarget::action}};
};
template <>
struct Layout<ScheduleEnd> {
  static constexpr auto fields = std::tuple{Field{"workflow_id", &ScheduleEnd::workflow_id},
                                            Field{"run_id", &ScheduleEnd::run_id},
                                            Field{"terminate", &ScheduleEnd::terminate}};
};

// ---- By layout

template <class T>
nlohmann::json LayoutToJson(const T& value) {
  if constexpr (std::is_same_v<T, Time>) {
    return ToMicros(value);
  } else if constexpr (std::is_same_v<T, Duration>) {
    return value.count();
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<int>(value);
  } else if constexpr (kIsOptional<T>) {
    return value.has_value() ? LayoutToJson(*value) : nlohmann::json();
  } else if constexpr (kIsVector<T>) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& element : value) list.push_back(LayoutToJson(element));
    return list;
  } else if constexpr (HasLayout<T>) {
    nlohmann::json object = nlohmann::json::object();
    ForEachField<T>([&](const auto& field) {
      if (value.*field.member == DefaultOf<T>().*field.member) return;
      object[field.name] = LayoutToJson(value.*field.member);
    });
    return object;
  } else {
    return value;
  }
}

template <class T>
void LayoutFromJson(const nlohmann::json& json, T& value) {
  if constexpr (std::is_same_v<T, Time>) {
    value = FromMicros(json.get<int64_t>());
  } else if constexpr (std::is_same_v<T, Duration>) {
    value = Duration(json.get<int64_t>());
  } else if constexpr (std::is_enum_v<T>) {
    const int number = json.get<int>();
    const bool known = number >= static_cast<int>(EnumRange<T>::first) &&
                       number <= static_cast<int>(EnumRange<T>::last);
    if (!known) throw std::invalid_argument("an enumerator of a newer Marathon");
    value = static_cast<T>(number);
  } else if constexpr (kIsOptional<T>) {
    value.reset();
    if (!json.is_null()) LayoutFromJson(json, value.emplace());
  } else if constexpr (kIsVector<T>) {
    value.clear();
    for (const auto& element : json) LayoutFromJson(element, value.emplace_back());
  } else if constexpr (HasLayout<T>) {
    if (!json.is_object()) throw std::invalid_argument("a JSON object is missing");
    ForEachField<T>([&](const auto& field) {
      const auto found = json.find(field.name);
      if (found != json.end()) LayoutFromJson(*found, value.*field.member);
    });
  } else {
    json.get_to(value);
  }
}

// What the codec meets by itself; all else is inside of these.
template <class T>
concept ScheduleValue = std::is_same_v<T, ScheduleState> || std::is_same_v<T, ScheduleCommand> ||
                        std::is_same_v<T, ScheduleTarget> || std::is_same_v<T, ScheduleEnd> ||
                        std::is_same_v<T, ScheduleRun> || std::is_same_v<T, ScheduleTimes>;

template <ScheduleValue T>
void to_json(nlohmann::json& json, const T& value) {
  json = LayoutToJson(value);
}
template <ScheduleValue T>
void from_json(const nlohmann::json& json, T& value) {
  LayoutFromJson(json, value);
}

}  // namespace marathon::inline MARATHON_ABI::detail

namespace marathon::inline MARATHON_ABI {
using detail::from_json;  // for ScheduleRun
using detail::to_json;
}  // namespace marathon::inline MARATHON_ABI
