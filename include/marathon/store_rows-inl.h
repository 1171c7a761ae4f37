#pragma once

#include "marathon/store_rows.h"

#include <algorithm>

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE Time NextResend(Time since, int32_t resends, Duration first) {
  Duration gap = first;
  Duration total = gap;
  int32_t left = std::max(resends, 0);
  for (; left > 0 && gap < limits::kResendMax; --left) {
    gap = std::min(gap * 2, limits::kResendMax);
    total += gap;
  }
  return AddSaturated(since, total + gap * left);
}

MARATHON_INLINE ActivityDue NextDue(const ActivityRow& row, Duration resend_first) {
  using What = ActivityDue::What;
  ActivityDue due;
  const auto consider = [&](Time at, What what, TimeoutKind timeout = TimeoutKind::kNone) {
    if (at < due.at) due = {at, what, timeout};
  };
  const auto deadline = [&](Time from, Duration length, TimeoutKind timeout) {
    if (length > Duration{0}) consider(AddSaturated(from, length), What::kTimeout, timeout);
  };
  // Of two that fall together the first considered wins: the final timeouts before what can be
  // retried.
  deadline(row.scheduled_at, row.policy.schedule_to_close, TimeoutKind::kScheduleToClose);
  switch (row.state) {
    case ActivityState::kClaimable:
      if (row.paused) break;
      deadline(row.available_at, row.policy.schedule_to_start, TimeoutKind::kScheduleToStart);
      if (IsBuiltIn(row.activity_type)) {
        consider(row.available_at, What::kClaim);
      } else {
        consider(NextResend(row.available_at, row.resends, resend_first), What::kResend);
      }
      break;
    case ActivityState::kBackoff:
      consider(row.available_at, What::kRetry);
      break;
    case ActivityState::kClaimed:
    case ActivityState::kDetached:
      deadline(row.started_at, row.policy.start_to_close, TimeoutKind::kStartToClose);
      deadline(std::max(row.started_at, row.heartbeat_at), row.policy.heartbeat,
               TimeoutKind::kHeartbeat);
      break;
    case ActivityState::kDead:
      break;
  }
  return due;
}

}  // namespace marathon::inline MARATHON_ABI
