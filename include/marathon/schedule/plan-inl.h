#pragma once

#include "marathon/schedule/plan.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>
#include <fmt/format.h>

#include <algorithm>
#include <bitset>
#include <chrono>
#include <span>
#include <utility>
#include <vector>

#include "marathon/schedule/cron.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// ---- Calendars by bits

inline constexpr int kFirstScheduleYear = 1970;
inline constexpr int kLastScheduleYear = 2199;

// The values that one field of a calendar matches, from `kMin` to `kMax`.
template <int kMin, int kMax>
class FieldSet {
 public:
  bool Has(int64_t value) const { return bits_[static_cast<size_t>(value - kMin)]; }
  bool HasAll() const { return bits_.all(); }
  void AddAll() { bits_.set(); }

  // `name` and `largest` are for the message: a day of the week may be written as 7.
  Status Add(std::string_view name, std::span<const ScheduleRange> ranges, int largest = kMax) {
    for (const ScheduleRange& range : ranges) {
      const int last = range.last == -1 ? range.first : range.last;
      if (range.first < kMin || last > largest || last < range.first || range.step < 1) {
        return InvalidArgument(
            fmt::format("{} {{{}, {}, {}}}: write {{first, last, step}} with {} <= first <= last <= {} "
                        "and a step from 1 on",
                        name, range.first, range.last, range.step, kMin, largest));
      }
      for (int64_t value = range.first; value <= last; value += range.step) {
        bits_.set(value > kMax ? 0 : static_cast<size_t>(value - kMin));
      }
    }
    return {};
  }

 private:
  std::bitset<kMax - kMin + 1> bits_;
};

struct CalendarMatcher {
  FieldSet<0, 59> second;
  FieldSet<0, 59> minute;
  FieldSet<0, 23> hour;
  FieldSet<1, 31> day;
  FieldSet<1, 12> month;
  FieldSet<0, 6> weekday;
  FieldSet<kFirstScheduleYear, kLastScheduleYear> year;

  // `any_time`: an empty time of day is any, and not midnight.
  static StatusOr<CalendarMatcher> Make(const ScheduleCalendar& calendar, bool any_time) {
    static constexpr ScheduleRange kZero[] = {{0}};
    CalendarMatcher made;
    const auto fill = [](auto& set, std::string_view name, std::span<const ScheduleRange> ranges,
                         auto... largest) {
      if (ranges.empty()) set.AddAll();
      return set.Add(name, ranges, largest...);
    };
    const auto fill_time = [&](auto& set, std::string_view name,
                               std::span<const ScheduleRange> ranges) {
      return fill(set, name, ranges.empty() && !any_time ? std::span(kZero) : ranges);
    };
    for (const Status& status :
         {fill_time(made.second, "second", calendar.second),
          fill_time(made.minute, "minute", calendar.minute),
          fill_time(made.hour, "hour", calendar.hour),
          fill(made.day, "day_of_month", calendar.day_of_month),
          fill(made.month, "month", calendar.month),
          fill(made.weekday, "day_of_week", calendar.day_of_week, 7),
          fill(made.year, "year", calendar.year)}) {
      if (!status.ok()) return status;
    }
    return made;
  }

  bool HasDay(absl::CivilDay d) const {
    const auto monday_first = static_cast<int>(absl::GetWeekday(d));  // absl counts from Monday
    return day.Has(d.day()) && weekday.Has((monday_first + 1) % 7);
  }
  bool Has(absl::CivilSecond t) const {
    return t.year() >= kFirstScheduleYear && t.year() <= kLastScheduleYear && year.Has(t.year()) &&
           month.Has(t.month()) && HasDay(absl::CivilDay(t)) && hour.Has(t.hour()) &&
           minute.Has(t.minute()) && second.Has(t.second());
  }

  // The first match from `t` on; one of a year after kLastScheduleYear: none.
  absl::CivilSecond From(absl::CivilSecond t) const {
    while (t.year() <= kLastScheduleYear) {
      if (t.year() < kFirstScheduleYear) {
        t = absl::CivilSecond(absl::CivilYear(kFirstScheduleYear));
      } else if (!year.Has(t.year())) {
        t = absl::CivilSecond(absl::CivilYear(t) + 1);
      } else if (!month.Has(t.month())) {
        t = absl::CivilSecond(absl::CivilMonth(t) + 1);
      } else if (!HasDay(absl::CivilDay(t))) {
        t = absl::CivilSecond(absl::CivilDay(t) + 1);
      } else if (!hour.Has(t.hour())) {
        t = absl::CivilSecond(absl::CivilHour(t) + 1);
      } else if (!minute.Has(t.minute())) {
        t = absl::CivilSecond(absl::CivilMinute(t) + 1);
      } else if (!second.Has(t.second())) {
        ++t;
      } else {
        break;
      }
    }
    return t;
  }

  // What comes after `t`, a match, and the matches that follow without a gap; never too late.
  absl::CivilSecond After(absl::CivilSecond t) const {
    if (!second.HasAll()) return t + 1;
    if (!minute.HasAll()) return absl::CivilSecond(absl::CivilMinute(t) + 1);
    if (!hour.HasAll()) return absl::CivilSecond(absl::CivilHour(t) + 1);
    if (!day.HasAll() || !weekday.HasAll()) return absl::CivilSecond(absl::CivilDay(t) + 1);
    if (!month.HasAll()) return absl::CivilSecond(absl::CivilMonth(t) + 1);
    return absl::CivilSecond(absl::CivilYear(t) + 1);
  }
};

// ---- Time zones

inline Time ToTime(absl::Time time) { return FromMicros(absl::ToUnixMicros(time)); }
inline absl::Time FromTime(Time time) { return absl::FromUnixMicros(ToMicros(time)); }

inline StatusOr<absl::TimeZone> LoadScheduleZone(std::string_view name) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '+' || c == '-' || c == '/';
  };
  absl::TimeZone zone;
  const bool is_name = !name.empty() && name[0] != '/' && name != "localtime" &&
                       std::ranges::all_of(name, is_plain);
  if (is_name && absl::LoadTimeZone(absl::string_view(name.data(), name.size()), &zone)) return zone;
  return InvalidArgument(fmt::format(
      "time_zone \"{}\" is not in this machine's tz database; write \"UTC\" or a name such as "
      "\"Europe/Berlin\", and install tzdata where it is missing",
      name));
}

// The first instant after `after` at which `calendar` acts in `zone`.
inline Time NextOf(const CalendarMatcher& calendar, const absl::TimeZone& zone, Time after) {
  using Info = absl::TimeZone::TimeInfo;
  const bool every_hour = calendar.hour.HasAll();
  absl::CivilSecond at = zone.At(FromTime(after)).cs;
  Info here = zone.At(at);
  bool repeats = here.kind == Info::REPEATED && FromTime(after) >= here.trans;  // its hour runs again
  for (;;) {
    at = calendar.From(at + 1);
    if (at.year() > kLastScheduleYear) return kNever;
    const Info there = zone.At(at);
    const bool same_fold = here.kind == Info::REPEATED && there.kind == Info::REPEATED &&
                           here.trans == there.trans;
    if (every_hour && here.kind == Info::REPEATED && !repeats && !same_fold) {
      at = zone.At(here.trans).cs - 1;  // that hour again
      repeats = true;
      continue;
    }
    repeats = repeats && same_fold;
    here = there;
    absl::Time instant = there.pre;
    if (there.kind == Info::SKIPPED) {
      if (every_hour) continue;
      instant = there.trans;
    } else if (there.kind == Info::REPEATED && every_hour && repeats) {
      instant = there.post;
    }
    if (ToTime(instant) > after) return ToTime(instant);
  }
}

inline Time NextOf(const ScheduleInterval& interval, Time after) {
  const int64_t every = interval.every.count();
  int64_t since = std::chrono::floor<Duration>(after).time_since_epoch().count() - interval.offset.count();
  since -= ((since % every) + every) % every;
  const Time last = FromMicros((since + interval.offset.count()) * 1000);
  return AddSaturated(last, interval.every);
}

inline uint64_t MixBits(uint64_t x) {  // the finalizer of SplitMix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace detail

struct SchedulePlan::Parts {
  std::vector<detail::CalendarMatcher> calendars;
  std::vector<detail::CalendarMatcher> excludes;
  std::vector<ScheduleInterval> intervals;
  Time start{};
  Time end{};
  Duration jitter{0};
  absl::TimeZone zone;
};

MARATHON_INLINE StatusOr<SchedulePlan> SchedulePlan::Make(const ScheduleSpec& spec) {
  auto parts = std::make_shared<Parts>();
  StatusOr<absl::TimeZone> zone = detail::LoadScheduleZone(spec.time_zone);
  if (!zone.ok()) return zone.status();
  parts->zone = *zone;
  const auto add = [](std::vector<detail::CalendarMatcher>& to, const std::string& what,
                      const ScheduleCalendar& calendar, bool any_time) -> Status {
    StatusOr<detail::CalendarMatcher> made = detail::CalendarMatcher::Make(calendar, any_time);
    if (!made.ok()) return InvalidArgument(fmt::format("{}: {}", what, MessageOf(made.status())));
    to.push_back(*std::move(made));
    return {};
  };
  for (const std::string& cron : spec.crons) {
    StatusOr<std::vector<ScheduleCalendar>> calendars = detail::ParseCron(cron);
    if (!calendars.ok()) return calendars.status();
    for (const ScheduleCalendar& calendar : *calendars) {
      if (Status status = add(parts->calendars, cron, calendar, false); !status.ok()) return status;
    }
  }
  for (size_t i = 0; i < spec.calendars.size(); ++i) {
    const std::string what = fmt::format("calendars[{}]", i);
    if (Status s = add(parts->calendars, what, spec.calendars[i], false); !s.ok()) return s;
  }
  for (size_t i = 0; i < spec.excludes.size(); ++i) {
    const std::string what = fmt::format("excludes[{}]", i);
    if (Status s = add(parts->excludes, what, spec.excludes[i], true); !s.ok()) return s;
  }
  for (size_t i = 0; i < spec.intervals.size(); ++i) {
    const ScheduleInterval& interval = spec.intervals[i];
    if (interval.every.count() < 1 || interval.offset.count() < 0 || interval.offset >= interval.every) {
      return InvalidArgument(
          fmt::format("intervals[{}]: every {} ms, offset {} ms: `every` is 1 ms or more, and `offset` from "
                      "0 to less than that",
                      i, interval.every.count(), interval.offset.count()));
    }
  }
  parts->intervals = spec.intervals;
  if (spec.jitter.count() < 0) return InvalidArgument("jitter is negative; 0 is none");
  if (spec.end < spec.start) return InvalidArgument("end is before start: no time is left");
  parts->jitter = spec.jitter;
  parts->start = spec.start;
  parts->end = spec.end;
  return SchedulePlan(std::move(parts));
}

MARATHON_INLINE Time SchedulePlan::NextTime(Time after) const {
  const Parts& parts = *parts_;
  // Before 1970 there is nothing, and absl's civil times are not asked for the beginning of time.
  after = std::max({after, Time() - std::chrono::microseconds(1),
                    parts.start == Time::min() ? parts.start : parts.start - std::chrono::microseconds(1)});
  constexpr Time kEnd = std::chrono::sys_days(std::chrono::year(detail::kLastScheduleYear + 1) / 1 / 1);
  for (;;) {
    if (after >= std::min(parts.end, kEnd)) return kNever;
    Time next = kNever;
    for (const auto& calendar : parts.calendars) {
      next = std::min(next, detail::NextOf(calendar, parts.zone, after));
    }
    for (const auto& interval : parts.intervals) next = std::min(next, detail::NextOf(interval, after));
    if (next > parts.end || next >= kEnd) return kNever;
    const absl::CivilSecond at = parts.zone.At(detail::FromTime(next)).cs;
    const auto exclude = std::ranges::find_if(parts.excludes, [&](const auto& e) { return e.Has(at); });
    if (exclude == parts.excludes.end()) return next;
    after = next;
    // On to where that exclude may end; but what follows an hour that comes twice is not what comes next.
    if (parts.zone.At(at).kind == absl::TimeZone::TimeInfo::REPEATED) continue;
    const absl::TimeZone::TimeInfo end = parts.zone.At(exclude->After(at));
    const absl::Time instant = end.kind == absl::TimeZone::TimeInfo::SKIPPED ? end.trans : end.pre;
    after = std::max(next, detail::ToTime(instant) - std::chrono::microseconds(1));
  }
}

MARATHON_INLINE Time SchedulePlan::Jittered(Time nominal, uint64_t seed) const {
  const Time next = parts_->jitter.count() > 0 ? NextTime(nominal) : nominal;
  const Duration room = std::min(parts_->jitter, std::chrono::floor<Duration>(next - nominal) - Duration(1));
  if (room.count() <= 0) return nominal;
  const uint64_t drawn = detail::MixBits(seed ^ detail::MixBits(static_cast<uint64_t>(ToMicros(nominal))));
  return nominal + Duration(static_cast<int64_t>(drawn % (static_cast<uint64_t>(room.count()) + 1)));
}

MARATHON_INLINE uint64_t ScheduleSeed(std::string_view schedule_id) {
  uint64_t seed = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : schedule_id) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return detail::MixBits(seed);
}

MARATHON_INLINE std::string ScheduleTimeText(Time time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<Duration>(time - day));
  const int64_t millis = clock.subseconds().count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     millis == 0 ? std::string() : fmt::format(".{:03}", millis));
}

}  // namespace marathon::inline MARATHON_ABI
