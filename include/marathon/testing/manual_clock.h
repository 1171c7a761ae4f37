// ManualClock: a clock that stands still until a test turns it. Safe from any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

class ManualClock final : public Clock {
 public:
  static constexpr Time kStart = FromMicros(1'800'000'000'000'000);  // in January 2027

  explicit ManualClock(Time now = kStart) : micros_(ToMicros(now)) {}

  Time Now() const override { return FromMicros(micros_.load()); }
  void Advance(std::chrono::microseconds by) { micros_.fetch_add(by.count()); }
  void Set(Time now) { micros_.store(ToMicros(now)); }

 private:
  std::atomic<int64_t> micros_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
