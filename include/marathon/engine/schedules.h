// What a Host brings for schedules: their workflow, for whoever takes turns; their activities, for whoever takes
// turns or runs activities; and a look into one from outside.
//
// Functions only; safe from any thread.
#pragma once

#include <memory>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/registry.h"
#include "marathon/schedule/options.h"
#include "marathon/schedule/workflow.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

class Host;

namespace detail {

void AddSchedules(Registry& registry, const std::weak_ptr<Host>& host);

// A schedule as it is at the end of `history`, of its newest run: its workflow is replayed, here, on this thread.
// kFailedPrecondition: another version of Marathon wrote it.
StatusOr<ScheduleState> ReplaySchedule(const RunKey& run, const History& history);

}  // namespace detail
}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/schedules-inl.h"
#endif
