// The times of schedules: concrete dates, in zones with and without daylight saving.
// program: values
#include "marathon/schedule/plan.h"

#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "marathon/schedule/cron.h"

namespace marathon::schedule_plan_test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Time At(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << text << ": " << error;
  return FromMicros(absl::ToUnixMicros(time));
}

// The first `count` times after `after`, as text; fewer if there are no more.
std::vector<std::string> Times(const ScheduleSpec& spec, const std::string& after, int count) {
  const StatusOr<SchedulePlan> plan = SchedulePlan::Make(spec);
  EXPECT_TRUE(plan.ok()) << plan.status();
  std::vector<std::string> times;
  if (!plan.ok()) return times;
  for (Time time = plan->NextTime(At(after)); time != kNever && count > 0; --count) {
    times.push_back(ScheduleTimeText(time));
    time = plan->NextTime(time);
  }
  return times;
}

std::vector<std::string> Cron(const std::string& cron, const std::string& after, int count,
                              const std::string& zone = "UTC") {
  return Times({.crons = {cron}, .time_zone = zone}, after, count);
}

std::string Objection(const ScheduleSpec& spec) {
  const StatusOr<SchedulePlan> plan = SchedulePlan::Make(spec);
  EXPECT_EQ(plan.status().code(), StatusCode::kInvalidArgument);
  return std::string(MessageOf(plan.status()));
}

// ---- Cron

TEST(SchedulePlanTest, ATimeOfDay) {
  EXPECT_THAT(Cron("30 8 * * *", "2027-01-15T08:30:00Z", 2),
              ElementsAre("2027-01-16T08:30:00Z", "2027-01-17T08:30:00Z"));
  EXPECT_THAT(Cron("30 8 * * *", "2027-01-15T08:29:59.999999Z", 1), ElementsAre("2027-01-15T08:30:00Z"));
}

TEST(SchedulePlanTest, StepsRangesAndLists) {
  EXPECT_THAT(Cron("*/20 9-10 * * *", "2027-01-15T00:00:00Z", 7),
              ElementsAre("2027-01-15T09:00:00Z", "2027-01-15T09:20:00Z", "2027-01-15T09:40:00Z",
                          "2027-01-15T10:00:00Z", "2027-01-15T10:20:00Z", "2027-01-15T10:40:00Z",
                          "2027-01-16T09:00:00Z"));
  EXPECT_THAT(Cron("5,50-58/4 0 1 1 *", "2027-01-01T00:00:00Z", 4),
              ElementsAre("2027-01-01T00:05:00Z", "2027-01-01T00:50:00Z", "2027-01-01T00:54:00Z",
                          "2027-01-01T00:58:00Z"));
  EXPECT_THAT(Cron("0 5/8 * * *", "2027-01-01T00:00:00Z", 4),
              ElementsAre("2027-01-01T05:00:00Z", "2027-01-01T13:00:00Z", "2027-01-01T21:00:00Z",
                          "2027-01-02T05:00:00Z"));
}

TEST(SchedulePlanTest, NamesOfMonthsAndDays) {
  EXPECT_THAT(Cron("0 0 * feb Mon", "2027-01-15T00:00:00Z", 2),
              ElementsAre("2027-02-01T00:00:00Z", "2027-02-08T00:00:00Z"));
  // 2027-01-15 is a Friday.
  EXPECT_THAT(Cron("0 12 * * FRI-SUN", "2027-01-15T00:00:00Z", 4),
              ElementsAre("2027-01-15T12:00:00Z", "2027-01-16T12:00:00Z", "2027-01-17T12:00:00Z",
                          "2027-01-22T12:00:00Z"));
  for (const char* sunday : {"0 0 * * 0", "0 0 * * 7", "0 0 * * SUN"}) {
    EXPECT_THAT(Cron(sunday, "2027-01-15T00:00:00Z", 1), ElementsAre("2027-01-17T00:00:00Z"));
  }
}

TEST(SchedulePlanTest, EitherDayFieldIsEnoughIfBothAreRestricted) {
  // The 13th, and Fridays.
  EXPECT_THAT(Cron("0 0 13 * FRI", "2027-01-08T00:00:00Z", 4),
              ElementsAre("2027-01-13T00:00:00Z", "2027-01-15T00:00:00Z", "2027-01-22T00:00:00Z",
                          "2027-01-29T00:00:00Z"));
  // A field that begins with * does not count as restricted: both must hold. Even Fridays.
  EXPECT_THAT(Cron("0 0 */2 * FRI", "2027-01-01T12:00:00Z", 2),
              ElementsAre("2027-01-15T00:00:00Z", "2027-01-29T00:00:00Z"));
}

TEST(SchedulePlanTest, MonthsThatAreTooShortAreLeftOut) {
  EXPECT_THAT(Cron("0 0 31 * *", "2027-01-01T00:00:00Z", 4),
              ElementsAre("2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z", "2027-05-31T00:00:00Z",
                          "2027-07-31T00:00:00Z"));
  EXPECT_THAT(Cron("0 0 30 2 *", "2027-01-01T00:00:00Z", 1), ElementsAre());
}

TEST(SchedulePlanTest, LeapDays) {
  EXPECT_THAT(Cron("0 0 29 2 *", "2027-01-01T00:00:00Z", 2),
              ElementsAre("2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"));
  EXPECT_THAT(Cron("0 0 29 2 *", "2096-03-01T00:00:00Z", 1), ElementsAre("2104-02-29T00:00:00Z"));
  EXPECT_THAT(Cron("59 23 28-29 2 *", "2028-02-28T00:00:00Z", 2),
              ElementsAre("2028-02-28T23:59:00Z", "2028-02-29T23:59:00Z"));
}

TEST(SchedulePlanTest, YearsAndSeconds) {
  EXPECT_THAT(Cron("0 0 1 1 * 2030-2032/2", "2027-01-01T00:00:00Z", 3),
              ElementsAre("2030-01-01T00:00:00Z", "2032-01-01T00:00:00Z"));
  EXPECT_THAT(Cron("*/30 0 0 1 1 * *", "2027-01-01T00:00:00Z", 2),
              ElementsAre("2027-01-01T00:00:30Z", "2028-01-01T00:00:00Z"));
}

TEST(SchedulePlanTest, Macros) {
  const std::string after = "2027-01-15T10:20:30Z";  // a Friday
  EXPECT_THAT(Cron("@yearly", after, 1), ElementsAre("2028-01-01T00:00:00Z"));
  EXPECT_THAT(Cron("@monthly", after, 1), ElementsAre("2027-02-01T00:00:00Z"));
  EXPECT_THAT(Cron("@weekly", after, 1), ElementsAre("2027-01-17T00:00:00Z"));
  EXPECT_THAT(Cron(" @daily ", after, 1), ElementsAre("2027-01-16T00:00:00Z"));
  EXPECT_THAT(Cron("@hourly", after, 1), ElementsAre("2027-01-15T11:00:00Z"));
}

TEST(SchedulePlanTest, WrongCronStringsSayWhatToWrite) {
  const auto objection = [](const std::string& cron) { return Objection({.crons = {cron}}); };
  EXPECT_THAT(objection("0 0 * *"), HasSubstr("it has 4 fields; write five: minute, hour"));
  EXPECT_THAT(objection(""), HasSubstr("it has 0 fields"));
  EXPECT_THAT(objection("60 0 * * *"), HasSubstr("minute \"60\": a value is a number from 0 to 59"));
  EXPECT_THAT(objection("0 24 * * *"), HasSubstr("hour \"24\""));
  EXPECT_THAT(objection("0 0 0 * *"), HasSubstr("day of month \"0\": a value is a number from 1 to 31"));
  EXPECT_THAT(objection("0 0 * JANUARY *"), HasSubstr("month \"JANUARY\": a value is a number from 1 to "
                                                      "12 or a name such as JAN"));
  EXPECT_THAT(objection("0 0 * * 8"), HasSubstr("day of week \"8\""));
  EXPECT_THAT(objection("0 0 L * *"), HasSubstr("day of month \"L\""));
  EXPECT_THAT(objection("0 0 * * 5#2"), HasSubstr("day of week \"5#2\""));
  EXPECT_THAT(objection("*/0 0 * * *"), HasSubstr("a step, a number from 1 on"));
  EXPECT_THAT(objection("0/ 0 * * *"), HasSubstr("a step, a number from 1 on"));
  EXPECT_THAT(objection("0 22-5 * * *"), HasSubstr("write two, such as \"22-23,0-5\""));
  EXPECT_THAT(objection("1,,2 0 * * *"), HasSubstr("minute \"\""));
  EXPECT_THAT(objection("-5 0 * * *"), HasSubstr("minute \"-5\""));
  EXPECT_THAT(objection("1 +2 * * *"), HasSubstr("hour \"+2\""));
  EXPECT_THAT(objection("99999999999 0 * * *"), HasSubstr("minute"));
  EXPECT_THAT(objection("@every 5m"), HasSubstr("it has 2 fields"));
  EXPECT_THAT(objection("@fortnightly"), HasSubstr("none of @yearly"));
  EXPECT_THAT(objection("CRON_TZ=Europe/Berlin 0 0 * * *"), HasSubstr("ScheduleSpec::time_zone"));
}

// ---- Intervals

TEST(SchedulePlanTest, IntervalsCountFromTheEpoch) {
  EXPECT_THAT(Times({.intervals = {{.every = 1h, .offset = 20min}}}, "2027-01-15T08:20:00Z", 2),
              ElementsAre("2027-01-15T09:20:00Z", "2027-01-15T10:20:00Z"));
  EXPECT_THAT(Times({.intervals = {{.every = 24h * 7}}}, "2027-01-15T08:00:00Z", 1),  // epoch: a Thursday
              ElementsAre("2027-01-21T00:00:00Z"));
  EXPECT_THAT(Times({.intervals = {{.every = 250ms}}}, "2027-01-15T08:00:00.2501Z", 2),
              ElementsAre("2027-01-15T08:00:00.500Z", "2027-01-15T08:00:00.750Z"));
  EXPECT_THAT(Times({.intervals = {{.every = 1h, .offset = 59min}}}, "1950-01-01T00:00:00Z", 1),
              ElementsAre("1970-01-01T00:59:00Z"));
}

TEST(SchedulePlanTest, WrongIntervals) {
  EXPECT_THAT(Objection({.intervals = {{.every = 1h}, {.every = 0s}}}), HasSubstr("intervals[1]"));
  EXPECT_THAT(Objection({.intervals = {{.every = 1h, .offset = 1h}}}), HasSubstr("less than that"));
  EXPECT_THAT(Objection({.intervals = {{.every = 1h, .offset = -1ms}}}), HasSubstr("offset -1 ms"));
}

// ---- Calendars, unions and excludes

TEST(SchedulePlanTest, ACalendarsEmptyTimeOfDayIsMidnight) {
  EXPECT_THAT(Times({.calendars = {{.day_of_month = {{1}}}}}, "2027-01-15T00:00:00Z", 2),
              ElementsAre("2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"));
  EXPECT_THAT(Times({.calendars = {{.hour = {{6}}, .day_of_month = {{1}}, .month = {{1, 12, 3}}}}},
                    "2027-01-15T00:00:00Z", 3),
              ElementsAre("2027-04-01T06:00:00Z", "2027-07-01T06:00:00Z", "2027-10-01T06:00:00Z"));
}

TEST(SchedulePlanTest, AllFieldsOfACalendarMustMatch) {  // Friday the 13th
  EXPECT_THAT(Times({.calendars = {{.day_of_month = {{13}}, .day_of_week = {{5}}}}},
                    "2027-01-01T00:00:00Z", 2),
              ElementsAre("2027-08-13T00:00:00Z", "2028-10-13T00:00:00Z"));
}

TEST(SchedulePlanTest, PartsAddUpAndATimeOfTwoCountsOnce) {
  EXPECT_THAT(Times({.crons = {"0 12 * * *"},
                     .intervals = {{.every = 24h}},
                     .calendars = {{.hour = {{12}}}}},
                    "2027-01-15T00:00:00Z", 3),
              ElementsAre("2027-01-15T12:00:00Z", "2027-01-16T00:00:00Z", "2027-01-16T12:00:00Z"));
}

TEST(SchedulePlanTest, AnExcludesEmptyTimeOfDayIsAnyTime) {
  EXPECT_THAT(Times({.crons = {"0 */8 24-27 12 *"}, .excludes = {{.day_of_month = {{25, 26}}}}},
                    "2027-12-24T08:00:00Z", 3),
              ElementsAre("2027-12-24T16:00:00Z", "2027-12-27T00:00:00Z", "2027-12-27T08:00:00Z"));
}

TEST(SchedulePlanTest, ExcludesOfHoursAndOfMinutes) {
  EXPECT_THAT(Times({.intervals = {{.every = 1s}}, .excludes = {{.hour = {{9, 17}}}}},
                    "2027-01-15T08:59:58Z", 2),
              ElementsAre("2027-01-15T08:59:59Z", "2027-01-15T18:00:00Z"));
  EXPECT_THAT(Times({.intervals = {{.every = 10min}}, .excludes = {{.minute = {{0, 59, 20}}}}},
                    "2027-01-15T08:00:00Z", 3),
              ElementsAre("2027-01-15T08:10:00Z", "2027-01-15T08:30:00Z", "2027-01-15T08:50:00Z"));
}

TEST(SchedulePlanTest, AnExcludeOfEverythingLeavesNothing) {
  EXPECT_THAT(Times({.intervals = {{.every = 1s}}, .excludes = {{}}}, "2027-01-15T00:00:00Z", 1),
              ElementsAre());
  EXPECT_THAT(Times({.intervals = {{.every = 1s}},
                     .excludes = {{.month = {{1, 6}}}, {.month = {{7, 12}}}}},
                    "2027-01-15T00:00:00Z", 1),
              ElementsAre());
}

TEST(SchedulePlanTest, WrongCalendars) {
  EXPECT_THAT(Objection({.calendars = {{}, {.hour = {{24}}}}}),
              HasSubstr("calendars[1]: hour {24, -1, 1}: write {first, last, step} with 0 <= first <= last "
                        "<= 23"));
  EXPECT_THAT(Objection({.excludes = {{.day_of_month = {{0}}}}}), HasSubstr("excludes[0]: day_of_month"));
  EXPECT_THAT(Objection({.calendars = {{.minute = {{10, 5}}}}}), HasSubstr("minute {10, 5, 1}"));
  EXPECT_THAT(Objection({.calendars = {{.minute = {{0, 59, 0}}}}}), HasSubstr("a step from 1 on"));
  EXPECT_THAT(Objection({.calendars = {{.year = {{1969}}}}}), HasSubstr("1970 <= first"));
}

// ---- Bounds and jitter

TEST(SchedulePlanTest, StartAndEndAreIncluded) {
  const ScheduleSpec spec{.crons = {"0 * * * *"},
                          .start = At("2027-01-15T08:00:00Z"),
                          .end = At("2027-01-15T10:00:00Z")};
  EXPECT_THAT(Times(spec, "2026-01-01T00:00:00Z", 5),
              ElementsAre("2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z", "2027-01-15T10:00:00Z"));
  EXPECT_THAT(Objection({.start = At("2027-01-02T00:00:00Z"), .end = At("2027-01-01T00:00:00Z")}),
              HasSubstr("end is before start"));
}

TEST(SchedulePlanTest, TheEmptySpecHasNoTimes) {
  EXPECT_THAT(Times({}, "2027-01-15T00:00:00Z", 1), ElementsAre());
}

TEST(SchedulePlanTest, TheEndOfTimeIsReached) {
  EXPECT_THAT(Cron("0 0 1 1 *", "2198-06-01T00:00:00Z", 3), ElementsAre("2199-01-01T00:00:00Z"));
  const auto plan = SchedulePlan::Make({.intervals = {{.every = 1s}}});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->NextTime(kNever), kNever);
  EXPECT_EQ(ScheduleTimeText(plan->NextTime(Time::min())), "1970-01-01T00:00:00Z");
}

TEST(SchedulePlanTest, JitterIsSpreadBoundedAndRepeatable) {
  const auto plan = SchedulePlan::Make({.crons = {"0 * * * *"}, .jitter = 10min});
  ASSERT_TRUE(plan.ok());
  std::set<Time> offsets;
  Time nominal = plan->NextTime(At("2027-01-15T00:00:00Z"));
  for (int i = 0; i < 100; ++i, nominal = plan->NextTime(nominal)) {
    const Time at = plan->Jittered(nominal, ScheduleSeed("nightly"));
    EXPECT_GE(at, nominal);
    EXPECT_LE(at, nominal + 10min);
    EXPECT_EQ(at, plan->Jittered(nominal, ScheduleSeed("nightly")));
    offsets.insert(Time() + (at - nominal));
  }
  EXPECT_GT(offsets.size(), 90u);
  EXPECT_NE(plan->Jittered(nominal, ScheduleSeed("a")), plan->Jittered(nominal, ScheduleSeed("b")));
}

TEST(SchedulePlanTest, JitterNeverReachesTheNextTime) {
  const auto plan = SchedulePlan::Make({.intervals = {{.every = 1s}}, .jitter = 24h});
  ASSERT_TRUE(plan.ok());
  Time nominal = At("2027-01-15T00:00:00Z");
  for (int i = 0; i < 100; ++i, nominal += 1s) {
    EXPECT_LT(plan->Jittered(nominal, ScheduleSeed("often")), nominal + 1s);
  }
}

// ---- Daylight saving time

TEST(SchedulePlanTest, BerlinSkipsAnHourInMarch) {  // 2026-03-29, 02:00 CET becomes 03:00 CEST
  // A named hour in the gap moves to the jump, 01:00Z; once, whatever else falls into the gap.
  EXPECT_THAT(Cron("15,45 2 * * *", "2026-03-28T01:30:00Z", 4, "Europe/Berlin"),
              ElementsAre("2026-03-28T01:45:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z",
                          "2026-03-30T00:45:00Z"));
  // One that is not in the gap is at its local time before and after.
  EXPECT_THAT(Cron("0 8 * * *", "2026-03-28T00:00:00Z", 2, "Europe/Berlin"),
              ElementsAre("2026-03-28T07:00:00Z", "2026-03-29T06:00:00Z"));
  // Every hour: 01:30, 03:30, 04:30 local.
  EXPECT_THAT(Cron("30 * * * *", "2026-03-29T00:00:00Z", 3, "Europe/Berlin"),
              ElementsAre("2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"));
}

TEST(SchedulePlanTest, BerlinHasAnHourTwiceInOctober) {  // 2026-10-25, 03:00 CEST becomes 02:00 CET
  // A named hour runs once, at the first.
  EXPECT_THAT(Cron("30 2 * * *", "2026-10-24T12:00:00Z", 2, "Europe/Berlin"),
              ElementsAre("2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"));
  EXPECT_THAT(Cron("30 2 * * *", "2026-10-25T01:10:00Z", 1, "Europe/Berlin"),  // in the second
              ElementsAre("2026-10-26T01:30:00Z"));
  // Every hour runs in both.
  EXPECT_THAT(Cron("*/30 * * * *", "2026-10-24T23:45:00Z", 7, "Europe/Berlin"),
              ElementsAre("2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z",
                          "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z",
                          "2026-10-25T03:00:00Z"));
}

TEST(SchedulePlanTest, NewYorkSkipsAnHourInMarch) {  // 2027-03-14, 02:00 EST becomes 03:00 EDT
  EXPECT_THAT(Cron("30 2 * * *", "2027-03-13T12:00:00Z", 2, "America/New_York"),
              ElementsAre("2027-03-14T07:00:00Z", "2027-03-15T06:30:00Z"));
  EXPECT_THAT(Cron("0 2-3 * * *", "2027-03-14T00:00:00Z", 2, "America/New_York"),  // both at the jump
              ElementsAre("2027-03-14T07:00:00Z", "2027-03-15T06:00:00Z"));
}

TEST(SchedulePlanTest, NewYorkHasAnHourTwiceInNovember) {  // 2027-11-07, 02:00 EDT becomes 01:00 EST
  EXPECT_THAT(Cron("0 1 * * *", "2027-11-06T12:00:00Z", 2, "America/New_York"),
              ElementsAre("2027-11-07T05:00:00Z", "2027-11-08T06:00:00Z"));
  EXPECT_THAT(Cron("0 * * * *", "2027-11-07T04:30:00Z", 3, "America/New_York"),
              ElementsAre("2027-11-07T05:00:00Z", "2027-11-07T06:00:00Z", "2027-11-07T07:00:00Z"));
}

TEST(SchedulePlanTest, AShortFold) {  // Lord Howe, 2027-04-04: 02:00 becomes 01:30 (+11:00, +10:30)
  EXPECT_THAT(Cron("15,45 * * * *", "2027-04-03T14:00:00Z", 4, "Australia/Lord_Howe"),
              ElementsAre("2027-04-03T14:15:00Z", "2027-04-03T14:45:00Z", "2027-04-03T15:15:00Z",
                          "2027-04-03T15:45:00Z"));
}

TEST(SchedulePlanTest, ExcludesInAFoldTakeBothPasses) {
  EXPECT_THAT(Times({.intervals = {{.every = 30min}},
                     .excludes = {{.minute = {{30, 59}}, .hour = {{2}}}},
                     .time_zone = "Europe/Berlin"},
                    "2026-10-24T23:45:00Z", 4),
              ElementsAre("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z",
                          "2026-10-25T02:30:00Z"));
}

TEST(SchedulePlanTest, ADayThatTheClockSkipsAltogether) {  // Samoa had no 2011-12-30
  EXPECT_THAT(Cron("0 12 * * *", "2011-12-29T00:00:00Z", 3, "Pacific/Apia"),
              ElementsAre("2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"));
}

TEST(SchedulePlanTest, ZonesThatAreNone) {
  for (const char* zone : {"", "Europe/Atlantis", "/etc/localtime", "../zoneinfo/UTC", "localtime"}) {
    EXPECT_THAT(Objection({.time_zone = zone}), HasSubstr("\"Europe/Berlin\"")) << zone;
  }
}

TEST(SchedulePlanTest, TimesAsText) {
  EXPECT_EQ(ScheduleTimeText(At("2027-01-15T08:05:09Z")), "2027-01-15T08:05:09Z");
  EXPECT_EQ(ScheduleTimeText(At("2027-01-15T08:05:09.0425Z")), "2027-01-15T08:05:09.042Z");
}

}  // namespace
}  // namespace marathon::schedule_plan_test
