// Cron strings: five fields, as in crontab(5), or six with a year behind them, or seven with a second
// before them, too.
//
//   minute hour day-of-month month day-of-week     "30 8 * * MON-FRI"
//
// A field is `*` or a list of values and ranges, each with a step: "*/15", "9-17", "1,15", "10-50/20", "5/10"
// (from 5 on). Months and days of the week have their English names, three letters, in any case. If both
// day fields are restricted (begin with no `*`), either of them is enough. In place of fields: "@yearly",
// "@monthly", "@weekly", "@daily", "@hourly".
//
// Functions only; safe from any thread.
#pragma once

#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/schedule/spec.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// The calendars whose times together are the string's: one, or two if either day field is enough.
// kInvalidArgument: which field, what is wrong, what to write.
StatusOr<std::vector<ScheduleCalendar>> ParseCron(std::string_view text);

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/schedule/cron-inl.h"
#endif
