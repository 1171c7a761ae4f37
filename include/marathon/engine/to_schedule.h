// ToSchedule: what a commit says of an activity that an event has scheduled.
#pragma once

#include "marathon/config.h"
#include "marathon/detail/run_messages.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI::detail {

inline NewActivity ToSchedule(EventId id, const ActivityScheduled& scheduled) {
  NewActivity activity{id,              scheduled.activity_type, scheduled.task_queue,
                       scheduled.input, scheduled.headers,       scheduled.policy};
  activity.owed = IsChildRun(activity.activity_type);
  return activity;
}

}  // namespace marathon::inline MARATHON_ABI::detail
