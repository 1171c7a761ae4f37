// What the loop says in its run's stream, as an activity: however often it is run, it is said once.
#pragma once

#include "marathon/activity.h"
#include "marathon/agent/steps.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

void Publish(ActivityContext& ctx, const PublishTask& task, ActivityCompletion<void> done);

}  // namespace marathon::inline MARATHON_ABI::agent::internal
