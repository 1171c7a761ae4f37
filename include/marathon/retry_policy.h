// When a failed activity, or a failed run, is tried again. Values; no thread rule.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/failure.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// What a workflow author writes, as a named constant:
//
//   static constexpr std::string_view kFinal[] = {"CardDeclined"};
//   static constexpr marathon::RetryPolicy kCardRetry{.maximum_attempts = 5, .non_retryable_types = kFinal};
//   co_await ctx.Run(kCharge, order, {.retry = &kCardRetry});
//
// Trivially destructible on purpose: g++ 12 destroys other temporaries twice inside a co_await
// expression (docs/internals.md). The defaults are those of Temporal's activities.
struct RetryPolicy {
  Duration initial_interval{1000};
  double backoff_coefficient = 2.0;
  Duration maximum_interval{0};  // 0: 100 times the initial interval
  int maximum_attempts = 0;      // 0: without limit
  double jitter = 0.1;           // each wait is shortened by up to this part of it, at random; 0 to 1
  std::span<const std::string_view> non_retryable_types{};  // values of Failure::type
};

// The same, as a history and an activity row hold it.
struct StoredRetryPolicy {
  Duration initial_interval{1000};
  double backoff_coefficient = 2.0;
  Duration maximum_interval{0};
  int maximum_attempts = 0;
  double jitter = 0.1;
  std::vector<std::string> non_retryable_types;

  StoredRetryPolicy() = default;
  explicit StoredRetryPolicy(const RetryPolicy& policy);
  friend bool operator==(const StoredRetryPolicy&, const StoredRetryPolicy&) = default;
};

// Whether attempt number `attempt` (1-based), having failed with `failure`, is followed by another.
bool IsRetryable(const StoredRetryPolicy& policy, const Failure& failure, int attempt);

// The wait between attempt `attempt` and the next: exponential, capped, shortened by jitter, or the
// failure's own `next_retry_delay`. `random` is any 64 random bits.
Duration RetryDelay(const StoredRetryPolicy& policy, const Failure& failure, int attempt,
                    uint64_t random);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/retry_policy-inl.h"
#endif
