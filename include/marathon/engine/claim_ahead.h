// ClaimAhead: how many activities a process may hold at a time. Short ones are claimed before a thread is
// free, since a turn that claims is a write less than the task queue; but no more than about 50 ms of work
// a thread, so that nothing waits here that another process could begin, and no start-to-close time runs
// out in a queue. The estimate of their length rises at once and falls slowly.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

class ClaimAhead {
 public:
  explicit ClaimAhead(int threads) : threads_(threads) {}

  int limit() const {
    constexpr int64_t kMostWaiting = 50'000;  // microseconds, a thread
    constexpr int64_t kMost = 64;             // activities, a thread
    const int64_t ahead = kMostWaiting / micros_.load(std::memory_order_relaxed);
    return threads_ * static_cast<int>(1 + std::min(ahead, kMost));
  }
  // An activity has held its thread for so long. (Of two at a time, one may be forgotten.)
  void Measured(int64_t micros) {
    constexpr int64_t kFalling = 16;
    const int64_t before = micros_.load(std::memory_order_relaxed);
    micros_.store(std::max({micros, before - before / kFalling, kShortest}),
                  std::memory_order_relaxed);
  }

 private:
  static constexpr int64_t kUnknown = 1'000'000;
  static constexpr int64_t kShortest = 16;

  const int threads_;
  std::atomic<int64_t> micros_{kUnknown};
};

}  // namespace marathon::inline MARATHON_ABI::detail
