// Time as Marathon stores it: instants are microseconds UTC, durations are milliseconds.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI {

// An instant on some store's or runtime's clock. The clock itself is always injected: see
// runtime.h.
using Time = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

// A length of time a user can ask for. Any chrono literal of a millisecond or more converts to it.
using Duration = std::chrono::milliseconds;

// Later than every real instant; the deadline of what has none.
inline constexpr Time kNever = Time::max();

inline constexpr int64_t ToMicros(Time time) { return time.time_since_epoch().count(); }
inline constexpr Time FromMicros(int64_t micros) { return Time(std::chrono::microseconds(micros)); }

// `time + duration`, which stops at kNever instead of overflowing ("sleep for a million years"),
// and at the beginning of time for a negative duration that is as long.
inline constexpr Time AddSaturated(Time time, Duration duration) {
  if (time == kNever) return kNever;
  constexpr int64_t kMax = Time::max().time_since_epoch().count() / 1000;
  const int64_t now = ToMicros(time) / 1000;
  if (duration.count() >= std::min(kMax, kMax - now)) return kNever;
  if (duration.count() <= std::max(-kMax, -kMax - now)) return Time::min();
  return time + duration;
}

}  // namespace marathon::inline MARATHON_ABI
