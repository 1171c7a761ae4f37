// NextStart: the run that follows where one of its chain ends, as continue-as-new and retries want it.
//
// Values and pure functions; no thread rule.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/event.h"

namespace marathon::inline MARATHON_ABI {

struct NextStart {
  std::string run_id;
  WorkflowStarted started;
  Duration delay{0};
  bool keeps_pin = false;  // it is for the same build as the one before
  // What history has taken for the workflow and its code has not: signals that nobody received.
  std::vector<EventBody> unread;
};

namespace detail {
Failure RunTimeoutFailure();  // of a run that its run timeout has ended
}  // namespace detail

// What follows a run that began with `started` and ends with event `closing`, which is given the next run's
// id; null: nothing. `run_id` is its own, and `labels` are what it has come to.
std::unique_ptr<NextStart> FollowEnd(const Id& run_id, const WorkflowStarted& started,
                                     const RunLabels& labels, Event& closing);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/next_start-inl.h"
#endif
