// absl::Status and absl::StatusOr, the only Abseil types in Marathon's interface, and the way to make
// and read them with std::string_view (Debian 12's absl::string_view is a different type).
//
// What a code means, everywhere in Marathon:
//   kInvalidArgument     the caller's value is wrong; the message says what to write instead
//   kNotFound            no such run, workflow type, activity …
//   kAlreadyExists       an open run has this workflow id
//   kAborted             somebody else was first: another commit, a newer epoch. Reload and redo
//   kFailedPrecondition  not in this state: closed, blocked, shut down, a lost session
//   kResourceExhausted   a limit of limits.h; the message names it
//   kOutOfRange          a turn would take its run over a limit of limits.h
//   kUnavailable         the backend did not do it, certainly. Try again later
//   kUnknown             the backend may or may not have done it. Look before repeating
//   kDeadlineExceeded    the caller's own timeout passed
//   kCancelled           given up on: the engine is shutting down
//   kDataLoss            stored bytes are damaged or of a newer format
//   kUnimplemented       this adapter cannot
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <optional>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/failure.h"

namespace marathon::inline MARATHON_ABI {

using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

inline Status MakeStatus(StatusCode code, std::string_view message) {
  return Status(code, absl::string_view(message.data(), message.size()));
}
inline Status InvalidArgument(std::string_view m) { return MakeStatus(StatusCode::kInvalidArgument, m); }
inline Status NotFound(std::string_view m) { return MakeStatus(StatusCode::kNotFound, m); }
inline Status AlreadyExists(std::string_view m) { return MakeStatus(StatusCode::kAlreadyExists, m); }
inline Status Aborted(std::string_view m) { return MakeStatus(StatusCode::kAborted, m); }
inline Status FailedPrecondition(std::string_view m) {
  return MakeStatus(StatusCode::kFailedPrecondition, m);
}
inline Status ResourceExhausted(std::string_view m) {
  return MakeStatus(StatusCode::kResourceExhausted, m);
}
inline Status OutOfRange(std::string_view m) { return MakeStatus(StatusCode::kOutOfRange, m); }
inline Status Unavailable(std::string_view m) { return MakeStatus(StatusCode::kUnavailable, m); }
inline Status Unknown(std::string_view m) { return MakeStatus(StatusCode::kUnknown, m); }
inline Status DeadlineExceeded(std::string_view m) {
  return MakeStatus(StatusCode::kDeadlineExceeded, m);
}
inline Status Cancelled(std::string_view m) { return MakeStatus(StatusCode::kCancelled, m); }
inline Status DataLoss(std::string_view m) { return MakeStatus(StatusCode::kDataLoss, m); }
inline Status Unimplemented(std::string_view m) { return MakeStatus(StatusCode::kUnimplemented, m); }

inline std::string_view MessageOf(const Status& status) {
  return {status.message().data(), status.message().size()};
}

// Whether a store that answered so may answer otherwise in a while: it is away, or its disk is full.
inline bool IsTransient(const Status& status) {
  return status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kUnknown ||
         status.code() == StatusCode::kResourceExhausted;
}

// A run that ended badly, as a Status: kAborted for a failure, kDeadlineExceeded for a run timeout,
// kCancelled for a cancelled or terminated run; the Failure travels inside.
Status FailureStatus(const Failure& failure);

// The Failure that `status` carries, if it came from FailureStatus.
std::optional<Failure> GetFailure(const Status& status);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/status-inl.h"
#endif
