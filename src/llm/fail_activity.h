// How an activity asks a model within shared limits, and how it ends with what comes of it.
//
// Functions; safe from any thread.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/detail/text.h"
#include "marathon/llm/error.h"
#include "marathon/llm/pace.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

// The permit that the delivery before this one was postponed with; empty: it was not. Whoever comes later, such as after
// a crash, must not use it a second time.
inline std::string KeptPermit(const ActivityContext& ctx) {
  const auto kept = ctx.LastHeartbeat<std::string>();  // "EPOCH PERMIT"
  if (!kept.ok()) return {};
  Epoch epoch = 0;
  const auto [end, error] = std::from_chars(kept->data(), kept->data() + kept->size(), epoch);
  if (error != std::errc() || end == kept->data() + kept->size() || epoch + 1 != ctx.info().epoch) return {};
  return std::string(end + 1, kept->data() + kept->size());
}

inline Pace PaceOf(const ActivityContext& ctx) { return {&ctx.limiter(), KeptPermit(ctx)}; }

inline Failure FailureOf(const Error& error, int attempt, uint64_t seed) {
  Failure failure = ToFailure(error, attempt, seed);
  // Only the engine stops the call. If it does so for its own sake, such as a lost lease, and not for a
  // cancel, of which the store knows, the call is still wanted.
  if (error.error_class == ErrorClass::kCanceled) failure.non_retryable = false;
  return failure;
}

// How an activity ends with an error: postponed, if the call has to wait; failed otherwise.
struct ErrorEnd {
  explicit ErrorEnd(const ActivityContext& ctx)
      : epoch(ctx.info().epoch),
        attempt(ctx.attempt()),
        seed(marathon::detail::HashOf(ctx.idempotency_key())) {}

  template <class Response>
  void operator()(const Error& error, ActivityCompletion<Response>& done) const {
    if (error.permit.empty()) return done.Fail(FailureOf(error, attempt, seed));
    done.Postpone(error.retry_after.value_or(Duration(0)), std::to_string(epoch) + " " + error.permit);
  }

  Epoch epoch;
  int attempt;
  uint64_t seed;
};

// Completes the activity with what a model or an embedder answered.
template <class Response>
auto CompleteWith(const ActivityContext& ctx, ActivityCompletion<Response> done) {
  return [end_with = ErrorEnd(ctx), done = std::move(done)](std::variant<Response, Error> result) mutable {
    if (const auto* response = std::get_if<Response>(&result)) return done.Complete(*response);
    end_with(std::get<Error>(result), done);
  };
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
