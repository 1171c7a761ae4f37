// ClaimAhead: how many activities a process may hold at a time. Short ones are claimed before a thread is free, since a
// turn that claims is a write less than the task queue, and many that wait there are one write; but no more than about
// 50 ms of work a thread, so that nothing waits here that another process could begin, and no start-to-close time runs
// out in a queue. The estimate of their length rises at once and falls slowly.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

class ClaimAhead {
 public:
  static constexpr std::chrono::milliseconds kMostWaiting{50};  // a thread's work

  explicit ClaimAhead(int threads) : threads_(threads) {}

  int limit() const {
    constexpr int64_t kMost = 64;  // activities, a thread
    const int64_t ahead = ToMicros(kMostWaiting) / micros_.load(std::memory_order_relaxed);
    return threads_ * static_cast<int>(1 + std::min(ahead, kMost));
  }
  // An activity has held its thread for so long. (Of two at a time, one may be forgotten.)
  void Measured(int64_t micros) {
    constexpr int64_t kFalling = 16;
    const int64_t before = micros_.load(std::memory_order_relaxed);
    micros_.store(std::max({micros, before - before / kFalling, kShortest}),
                  std::memory_order_relaxed);
  }
  // Something that was claimed ahead has not begun: those at work are longer, and not measured before they end.
  void WaitedTooLong() { Measured(2 * ToMicros(kMostWaiting)); }

 private:
  static constexpr int64_t ToMicros(std::chrono::microseconds time) { return time.count(); }

  static constexpr int64_t kUnknown = 1'000'000;
  static constexpr int64_t kShortest = 16;

  const int threads_;
  std::atomic<int64_t> micros_{kUnknown};
};

}  // namespace marathon::inline MARATHON_ABI::detail
