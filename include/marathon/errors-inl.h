#pragma once

#include "marathon/errors.h"

#include <utility>

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE WorkflowError::WorkflowError(Failure failure)
    : std::runtime_error(ToString(failure)), failure_(std::move(failure)) {}

MARATHON_INLINE ActivityError::ActivityError(Failure failure, std::string activity_type, int attempt)
    : WorkflowError(std::move(failure)),
      activity_type_(std::move(activity_type)),
      attempt_(attempt) {}

MARATHON_INLINE ChildRunError::ChildRunError(Failure failure, std::string workflow_type)
    : WorkflowError(std::move(failure)), workflow_type_(std::move(workflow_type)) {}

MARATHON_INLINE ApplicationError::ApplicationError(std::string message)
    : ApplicationError(std::move(message), ApplicationErrorOptions()) {}

MARATHON_INLINE ApplicationError::ApplicationError(std::string message,
                                                   ApplicationErrorOptions options)
    : WorkflowError(Failure{.kind = FailureKind::kApplication,
                            .non_retryable = options.non_retryable,
                            .type = std::move(options.type),
                            .message = std::move(message),
                            .details = std::move(options.details),
                            .next_retry_delay = options.next_retry_delay,
                            .cause = {}}) {}

// One of the few places that translate exceptions: see docs/errors.md.
MARATHON_INLINE Failure FailureFrom(const std::exception_ptr& exception) {
  Failure failure;
  try {
    std::rethrow_exception(exception);
  } catch (const WorkflowError& e) {
    failure = e.failure();
  } catch (const std::exception& e) {
    failure.type = failure_type::kException;
    failure.message = e.what();
  } catch (...) {
    failure.type = failure_type::kUnknownException;
    failure.message = "an exception that is not a std::exception; throw marathon::ApplicationError";
  }
  detail::MakeFit(failure);
  return failure;
}

}  // namespace marathon::inline MARATHON_ABI
