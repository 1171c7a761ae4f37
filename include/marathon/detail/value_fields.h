// The layouts of payloads, failures, retry policies and keys: see layout.h. Persisted: the order of the
// members is the order of their bytes.
#pragma once

#include <tuple>

#include "marathon/config.h"
#include "marathon/detail/layout.h"
#include "marathon/failure.h"
#include "marathon/ids.h"
#include "marathon/payload.h"
#include "marathon/retry_policy.h"

namespace marathon::inline MARATHON_ABI::detail {

template <>
struct EnumRange<Encoding> {
  static constexpr Encoding first = Encoding::kNone, last = Encoding::kSealed;
};
template <>
struct EnumRange<FailureKind> {
  static constexpr FailureKind first = FailureKind::kApplication, last = FailureKind::kEngine;
};
template <>
struct EnumRange<TimeoutKind> {
  static constexpr TimeoutKind first = TimeoutKind::kNone, last = TimeoutKind::kRun;
};

template <>
struct Layout<Payload> {
  static constexpr auto fields = std::tuple{
      Field{"encoding", &Payload::encoding},
      Field{"data", &Payload::data},
  };
};

template <>
struct Layout<Failure> {
  static constexpr bool sparse = true;
  static constexpr auto fields = std::tuple{
      Field{"kind", &Failure::kind},
      Field{"timeout", &Failure::timeout},
      Field{"non_retryable", &Failure::non_retryable},
      Field{"type", &Failure::type},
      Field{"message", &Failure::message},
      Field{"details", &Failure::details},
      Field{"next_retry_delay_ms", &Failure::next_retry_delay},
      Field{"cause", &Failure::cause},
  };
};

template <>
struct Layout<StoredRetryPolicy> {
  static constexpr bool sparse = true;
  static constexpr auto fields = std::tuple{
      Field{"initial_interval_ms", &StoredRetryPolicy::initial_interval},
      Field{"backoff_coefficient", &StoredRetryPolicy::backoff_coefficient},
      Field{"maximum_interval_ms", &StoredRetryPolicy::maximum_interval},
      Field{"maximum_attempts", &StoredRetryPolicy::maximum_attempts},
      Field{"jitter", &StoredRetryPolicy::jitter},
      Field{"non_retryable_types", &StoredRetryPolicy::non_retryable_types},
  };
};

template <>
struct Layout<RunKey> {
  static constexpr auto fields = std::tuple{
      Field{"workflow_id", &RunKey::workflow_id},
      Field{"run_id", &RunKey::run_id},
  };
};

template <>
struct Layout<ActivityKey> {
  static constexpr auto fields = std::tuple{
      Field{"run", &ActivityKey::run},
      Field{"id", &ActivityKey::id},
  };
};

}  // namespace marathon::inline MARATHON_ABI::detail
