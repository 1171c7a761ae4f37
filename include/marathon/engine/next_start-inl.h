#pragma once

#include "marathon/engine/next_start.h"

#include <utility>

#include "marathon/detail/forks.h"
#include "marathon/detail/text.h"
#include "marathon/retry_policy.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

MARATHON_INLINE Failure RunTimeoutFailure() {
  Failure failure{.kind = FailureKind::kTimeout, .timeout = TimeoutKind::kRun};
  failure.type = failure_type::kTimeout;
  failure.message = "its run timeout passed";
  return failure;
}

// What the next run knows of those before it.
inline RunOrigin NextOrigin(const std::string& run_id, const WorkflowStarted& started) {
  RunOrigin origin;
  if (!started.origin.empty()) origin = started.origin.front();
  if (origin.first_run_id.empty()) origin.first_run_id = run_id;
  origin.previous_run_id = run_id;
  origin.start_delay = Duration(0);
  return origin;
}

}  // namespace detail

MARATHON_INLINE std::unique_ptr<NextStart> FollowEnd(const Id& run_id,
                                                     const WorkflowStarted& started,
                                                     const RunLabels& labels, Event& closing) {
  const auto* again = std::get_if<WorkflowContinuedAsNew>(&closing.body);
  const bool retried = !started.origin.empty() && started.origin.front().retry.has_value();
  if (again == nullptr && !retried) return nullptr;
  RunOrigin origin = detail::NextOrigin(run_id, started);
  auto next = std::make_unique<NextStart>();
  if (again != nullptr) {
    origin.attempt = 1;
    next->run_id = again->run_id;
    next->started.workflow_type = again->workflow_type;
    next->started.input = again->input;
    next->started.task_queue = again->task_queue;
    next->started.run_timeout = again->run_timeout;
    next->started.headers = started.headers;
    if (!MARATHON_MUTANT("chain_forgets_priority")) next->started.priority = started.priority;
    next->keeps_pin = !again->upgrade && again->task_queue == started.task_queue;
  } else {
    auto* failed = std::get_if<WorkflowFailed>(&closing.body);
    auto* timed_out = std::get_if<WorkflowTimedOut>(&closing.body);
    if (failed == nullptr && timed_out == nullptr) return nullptr;
    const Failure failure = failed != nullptr ? failed->failure : detail::RunTimeoutFailure();
    if (!IsRetryable(*origin.retry, failure, origin.attempt)) return nullptr;
    next->run_id = detail::DerivedRunId(run_id, closing.id);
    next->started = started;
    // As good as random, and the same for everybody.
    const uint64_t random = detail::HashOf(next->run_id);
    next->delay = RetryDelay(*origin.retry, failure, origin.attempt, random);
    origin.start_delay = next->delay;
    ++origin.attempt;
    (failed != nullptr ? failed->next_run_id : timed_out->next_run_id) = next->run_id;
  }
  detail::RemoveForks(next->started.headers);  // it keeps nothing of anybody
  next->started.origin = {std::move(origin)};
  next->started.memo = labels.memo;
  next->started.attributes = labels.attributes;
  return next;
}

}  // namespace marathon::inline MARATHON_ABI
