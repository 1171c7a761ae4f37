// What authors throw and catch inside workflow and activity bodies. Everywhere else Marathon answers
// with a Status. Values; no thread rule.
//
// Eviction, a lost lease, nondeterminism and shutdown are never thrown: the engine destroys the
// coroutine instead, so a `catch (...)` of yours never runs because of them.
#pragma once

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/failure.h"

namespace marathon::inline MARATHON_ABI {

// The root: something ended badly, and `failure()` is what history says about it.
class WorkflowError : public std::runtime_error {
 public:
  explicit WorkflowError(Failure failure);
  const Failure& failure() const { return failure_; }

 private:
  Failure failure_;
};

// Thrown by `co_await` on an activity that failed for good. `failure().type` and `message` are the
// activity's own; `activity_type()` and `attempt()` say which one, and how often it was tried.
class ActivityError : public WorkflowError {
 public:
  ActivityError(Failure failure, std::string activity_type, int attempt);
  const std::string& activity_type() const { return activity_type_; }
  int attempt() const { return attempt_; }

 private:
  std::string activity_type_;
  int attempt_;
};

// An activity whose deadline passed; `failure().timeout` says which.
class TimeoutError : public ActivityError {
 public:
  using ActivityError::ActivityError;
};

// A child run that ended badly, or could not be started: `failure()` is its own, or says why.
class ChildRunError : public WorkflowError {
 public:
  ChildRunError(Failure failure, std::string workflow_type);
  const std::string& workflow_type() const { return workflow_type_; }

 private:
  std::string workflow_type_;
};

// A signal or a cancel to another run that cannot be delivered: it is not there, or closed.
class DeliveryError : public WorkflowError {
 public:
  using WorkflowError::WorkflowError;
};

// An activity, a timer or a child run that was canceled.
class CanceledError : public WorkflowError {
 public:
  using WorkflowError::WorkflowError;
};

struct ApplicationErrorOptions {
  std::string type = "ApplicationError";  // what retry policies and callers compare
  bool non_retryable = false;
  Payload details{};
  std::optional<Duration> next_retry_delay{};
};

// Thrown by authors: fails the activity attempt, or the workflow.
class ApplicationError : public WorkflowError {
 public:
  explicit ApplicationError(std::string message);
  ApplicationError(std::string message, ApplicationErrorOptions options);
};

// The Failure for any exception: a WorkflowError's own, or a description of what else was thrown.
Failure FailureFrom(const std::exception_ptr& exception);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/errors-inl.h"
#endif
