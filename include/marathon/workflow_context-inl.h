#pragma once

#include "marathon/workflow_context.h"

#include <fmt/format.h>

#include "marathon/detail/text.h"
#include "marathon/errors.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// Throws unless `name` can be recorded as the name of `what`.
inline void CheckName(std::string_view what, std::string_view name, size_t max = limits::kMaxNameBytes) {
  if (!name.empty() && name.size() <= max && IsCleanText(name)) return;
  throw ApplicationError(
      fmt::format("{} must have 1 to {} bytes of UTF-8 without control characters", what, max),
      {.type = std::string(failure_type::kEncode), .non_retryable = true});
}

}  // namespace detail

MARATHON_INLINE detail::ContinueAsNewAwaiter WorkflowContext::ContinueEncoded(
    std::string_view workflow_type, Payload input, const ContinueAsNewOptions& options,
    std::source_location where) {
  if (!workflow_type.empty()) detail::CheckName("a workflow's type", workflow_type);
  if (!options.task_queue.empty()) detail::CheckName("a task queue's name", options.task_queue);
  WorkflowContinuedAsNew next;
  next.workflow_type = workflow_type;
  next.task_queue = options.task_queue;
  next.input = std::move(input);
  next.run_timeout = options.run_timeout.value_or(core_.run_timeout());
  return detail::ContinueAsNewAwaiter(core_, std::move(next), where);
}

MARATHON_INLINE detail::OperationRef WorkflowContext::ScheduleEncoded(std::string_view activity,
                                                                      Payload input,
                                                                      const ActivityOptions& options,
                                                                      std::source_location where) {
  detail::CheckName("an activity's name", activity);
  ActivityPolicy policy;
  policy.start_to_close = options.start_to_close_timeout;
  policy.schedule_to_start = options.schedule_to_start_timeout;
  policy.schedule_to_close = options.schedule_to_close_timeout;
  policy.heartbeat = options.heartbeat_timeout;
  if (policy.start_to_close.count() <= 0 && policy.schedule_to_close.count() <= 0) {
    policy.start_to_close = limits::kDefaultStartToClose;
  }
  if (options.retry != nullptr) policy.retry = StoredRetryPolicy(*options.retry);
  return core_.ScheduleActivity(activity, std::move(input), options.task_queue, std::move(policy),
                                options.cancellation, where);
}

MARATHON_INLINE std::string WorkflowContext::NewUuid() {
  const uint64_t high = Random();
  return detail::UuidText(high, Random(), 4);
}

namespace detail {

MARATHON_INLINE void ThrowEncodeError(std::string_view what, const Status& status) {
  const bool too_large = status.code() == StatusCode::kResourceExhausted;
  throw ApplicationError(
      fmt::format("the value for \"{}\" cannot be recorded: {}", what, MessageOf(status)),
      {.type = std::string(too_large ? failure_type::kTooLarge : failure_type::kEncode),
       .non_retryable = true});
}

MARATHON_INLINE void ThrowDecodeError(std::string_view what, const Status& status) {
  throw ApplicationError(
      fmt::format("the value of \"{}\" is not what the code expects: {}", what, MessageOf(status)),
      {.type = std::string(failure_type::kDecode), .non_retryable = true});
}

MARATHON_INLINE void ThrowCanceled() {
  throw CanceledError(Failure{.kind = FailureKind::kCanceled,
                              .type = std::string(failure_type::kCanceled),
                              .message = "canceled by its workflow"});
}

MARATHON_INLINE void ThrowFailure(const Operation& operation) {
  const Failure& failure = *operation.failure;
  switch (failure.kind) {
    case FailureKind::kTimeout:
      throw TimeoutError(failure, operation.name, operation.attempt);
    case FailureKind::kCanceled:
      throw CanceledError(failure);
    default:
      throw ActivityError(failure, operation.name, operation.attempt);
  }
}

}  // namespace detail
}  // namespace marathon::inline MARATHON_ABI
