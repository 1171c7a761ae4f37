#pragma once

#include "marathon/retry_policy.h"

#include <algorithm>
#include <cmath>

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE StoredRetryPolicy::StoredRetryPolicy(const RetryPolicy& policy)
    : initial_interval(policy.initial_interval),
      backoff_coefficient(policy.backoff_coefficient),
      maximum_interval(policy.maximum_interval),
      maximum_attempts(policy.maximum_attempts),
      jitter(policy.jitter),
      non_retryable_types(policy.non_retryable_types.begin(), policy.non_retryable_types.end()) {}

MARATHON_INLINE bool IsRetryable(const StoredRetryPolicy& policy, const Failure& failure,
                                 int attempt) {
  if (failure.non_retryable) return false;
  if (policy.maximum_attempts > 0 && attempt >= policy.maximum_attempts) return false;
  if (failure.kind == FailureKind::kCanceled || failure.kind == FailureKind::kTerminated)
    return false;
  const TimeoutKind timeout = failure.timeout;
  if (failure.kind == FailureKind::kTimeout && timeout != TimeoutKind::kStartToClose &&
      timeout != TimeoutKind::kHeartbeat && timeout != TimeoutKind::kRun) {
    return false;  // another attempt would find the same deadline passed
  }
  const auto& final_types = policy.non_retryable_types;
  return std::find(final_types.begin(), final_types.end(), failure.type) == final_types.end();
}

MARATHON_INLINE Duration RetryDelay(const StoredRetryPolicy& policy, const Failure& failure,
                                    int attempt, uint64_t random) {
  constexpr int64_t kMax = Duration::max().count();
  if (failure.next_retry_delay) return std::max(*failure.next_retry_delay, Duration{0});
  const int64_t initial = std::max<int64_t>(policy.initial_interval.count(), 0);
  int64_t limit = policy.maximum_interval.count();
  if (limit <= 0) limit = initial > kMax / 100 ? kMax : initial * 100;

  // In floating point, where the power of a large attempt is infinite instead of undefined; what is
  // not below the limit, a NaN included, is the limit.
  const double power = std::pow(policy.backoff_coefficient, std::max(attempt, 1) - 1);
  const double exact = static_cast<double>(initial) * power;
  int64_t delay = limit;
  if (exact < static_cast<double>(limit)) delay = exact > 0 ? static_cast<int64_t>(exact) : 0;

  const double jitter = policy.jitter > 0 ? std::min(policy.jitter, 1.0) : 0.0;
  const double unit = static_cast<double>(random >> 11) * 0x1p-53;  // [0, 1)
  return Duration(delay - static_cast<int64_t>(static_cast<double>(delay) * (jitter * unit)));
}

}  // namespace marathon::inline MARATHON_ABI
