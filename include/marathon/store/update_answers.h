// The answers to updates that are always the same, as stores keep them. Functions only; safe from any thread.
#pragma once

#include <string>
#include <utility>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/event_codec.h"
#include "marathon/failure.h"

namespace marathon::inline MARATHON_ABI::detail {

inline const std::string& AcceptedAnswer() {
  static const std::string kAnswer = EncodeBody(UpdateAccepted{});
  return kAnswer;
}

// To those that a run of a chain leaves to the next one, which knows nothing of them.
inline const std::string& UnfinishedAnswer() {
  static const std::string kAnswer = [] {
    UpdateCompleted completed;
    Failure& failure = completed.failure.emplace();
    failure.kind = FailureKind::kEngine;
    failure.type = failure_type::kUnfinishedUpdate;
    failure.message = "the run ended before the update's handler did";
    failure.non_retryable = true;
    return EncodeBody(std::move(completed));
  }();
  return kAnswer;
}

}  // namespace marathon::inline MARATHON_ABI::detail
