#pragma once

#include "marathon/failure.h"

#include <utility>

#include "marathon/detail/text.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {
namespace detail {

MARATHON_INLINE std::string_view KindName(const Failure& failure) {
  switch (failure.kind) {
    case FailureKind::kApplication:
      return "failed";
    case FailureKind::kCanceled:
      return "canceled";
    case FailureKind::kTerminated:
      return "terminated";
    case FailureKind::kEngine:
      return "refused by Marathon";
    case FailureKind::kTimeout:
      break;
  }
  switch (failure.timeout) {
    case TimeoutKind::kNone:
      break;
    case TimeoutKind::kStartToClose:
      return "start-to-close timeout";
    case TimeoutKind::kScheduleToStart:
      return "schedule-to-start timeout";
    case TimeoutKind::kScheduleToClose:
      return "schedule-to-close timeout";
    case TimeoutKind::kHeartbeat:
      return "heartbeat timeout";
    case TimeoutKind::kRun:
      return "run timeout";
  }
  return "timeout";
}

MARATHON_INLINE void MakeFit(Failure& failure) {
  for (Failure* f = &failure;; f = &f->cause.front()) {
    if (!IsCleanText(f->type) || f->type.size() > limits::kMaxNameBytes) {
      f->type = ReadableText(std::move(f->type), limits::kMaxNameBytes);
    }
    if (f->details.data.size() > limits::kPayloadMaxBytes) {
      f->message += " (its details, of " + std::to_string(f->details.data.size()) + " bytes, are too large)";
      f->details = Payload();
    }
    if (!IsCleanText(f->message) || f->message.size() > limits::kMaxFailureBytes) {
      f->message = ReadableText(std::move(f->message), limits::kMaxFailureBytes);
    }
    if (f->cause.empty()) return;
  }
}

}  // namespace detail

MARATHON_INLINE std::string ToString(const Failure& failure) {
  std::string text;
  size_t causes = 0;
  for (const Failure* f = &failure;; f = &f->cause.front(), ++causes) {
    text += f->type.empty() ? detail::KindName(*f) : std::string_view(f->type);
    if (!f->message.empty()) text += ": " + f->message;
    if (f->cause.empty()) break;
    text += " (caused by ";
  }
  text.append(causes, ')');
  return text;
}

}  // namespace marathon::inline MARATHON_ABI
