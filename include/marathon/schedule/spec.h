// ScheduleSpec: when a schedule acts, as a user writes it down. Its times are those of its cron strings,
// intervals and calendars together, without those that an exclude matches, from `start` to `end`.
//
//   marathon::ScheduleSpec weekdays{.crons = {"30 8 * * MON-FRI"}, .time_zone = "Europe/Berlin"};
//   marathon::ScheduleSpec often{.intervals = {{.every = 15min}}, .jitter = 30s};
//   marathon::ScheduleSpec quarterly{.calendars = {{.hour = {{6}}, .day_of_month = {{1}}, .month = {{1, 12, 3}}}}};
//
// Daylight saving time: a calendar or cron string that names hours acts once a day all the same. A time that
// the clock skips is moved to the instant at which it jumps; of a time that comes twice the first
// counts. One for every hour goes by the hours that there are: none in the gap, both in the fold.
//
// Values; no thread rule. schedule/plan.h computes with them.
#pragma once

#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// `first`, or every `step`-th from `first` to `last`, both included.
struct ScheduleRange {
  int first = 0;
  int last = -1;  // -1: `first` alone
  int step = 1;

  friend bool operator==(const ScheduleRange&, const ScheduleRange&) = default;
};

// All fields must match. An empty one matches any value, but for the time of day of a calendar that says when
// to act: there it is 0, so that {.hour = {{9}}} is nine o'clock and not every second from nine to ten.
struct ScheduleCalendar {
  std::vector<ScheduleRange> second{};        // 0-59
  std::vector<ScheduleRange> minute{};        // 0-59
  std::vector<ScheduleRange> hour{};          // 0-23
  std::vector<ScheduleRange> day_of_month{};  // 1-31
  std::vector<ScheduleRange> month{};         // 1-12
  std::vector<ScheduleRange> day_of_week{};   // 0-7, 0 and 7 are Sunday
  std::vector<ScheduleRange> year{};          // 1970-2199

  friend bool operator==(const ScheduleCalendar&, const ScheduleCalendar&) = default;
};

// Every so often, counted from 1970-01-01T00:00:00Z plus `offset`: no daylight saving, no drift.
struct ScheduleInterval {
  Duration every{0};
  Duration offset{0};  // less than `every`

  friend bool operator==(const ScheduleInterval&, const ScheduleInterval&) = default;
};

// With no times at all, a schedule acts only when it is triggered.
struct ScheduleSpec {
  std::vector<std::string> crons{};  // see schedule/cron.h
  std::vector<ScheduleInterval> intervals{};
  std::vector<ScheduleCalendar> calendars{};
  std::vector<ScheduleCalendar> excludes{};
  Time start = Time::min();  // no time before it
  Time end = kNever;         // no time after it
  // Each time is put off by a part of this that is drawn from the schedule's id and the time, so that it
  // is the same however often it is asked for; never as far as the next time.
  Duration jitter{0};
  // Of crons, calendars and excludes: "UTC", or a name of the tz database, which the machines that run
  // the schedule must have.
  std::string time_zone = "UTC";

  friend bool operator==(const ScheduleSpec&, const ScheduleSpec&) = default;
};

}  // namespace marathon::inline MARATHON_ABI
