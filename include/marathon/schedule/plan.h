// SchedulePlan: a ScheduleSpec that was found right, ready to be asked for its times. Pure, but for the
// tz database of the machine, which is read once, when the plan is made.
//
// A value; safe to read from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/schedule/spec.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

class SchedulePlan {
 public:
  // kInvalidArgument: what is wrong, in which part of the spec, and what to write instead.
  static StatusOr<SchedulePlan> Make(const ScheduleSpec& spec);

  // The first of the spec's times after `after`, without jitter. kNever: there is none up to the year 2199.
  Time NextTime(Time after) const;
  // When a schedule whose id gives `seed` acts for `nominal`, one of the spec's times: by up to
  // `spec.jitter` later, but before the time that follows.
  Time Jittered(Time nominal, uint64_t seed) const;

 private:
  struct Parts;
  explicit SchedulePlan(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const Parts> parts_;
};

// 64 bits of `schedule_id`, for SchedulePlan::Jittered. The same on every machine.
uint64_t ScheduleSeed(std::string_view schedule_id);

// "2027-01-15T08:00:00Z"; with milliseconds if they are not zero.
std::string ScheduleTimeText(Time time);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/schedule/plan-inl.h"
#endif
