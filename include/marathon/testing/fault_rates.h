// FaultRates: how often which fault strikes; FaultCounts: how often it did.
//
// Values; no thread rule.
#pragma once

#include <cstdint>

#include "marathon/config.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

struct FaultRates {
  // Each call of a store.
  double unavailable = 0;       // kUnavailable, and nothing happened
  double ambiguous = 0;         // kUnknown; whether the write happened is a coin's throw
  double late_effect = 0;       // kUnknown, and the write happens afterwards
  double crash_after_write = 0;  // the write happens, the caller dies before it hears of it
  double repeated = 0;           // the write arrives twice, as after a retry on the way
  double direct = 0;            // reports before the call returns, as a store in memory does
  double slow = 0;              // takes up to slow_micros_max, each way
  int64_t latency_micros_max = 3'000;
  int64_t slow_micros_max = 1'500'000;

  // Each hint.
  double lost = 0;
  double duplicated = 0;
  double late = 0;
  bool reordered = false;
  int64_t late_micros_max = 5'000'000;

  // Workers. Means are of virtual seconds between two of them in the cluster; 0: never.
  double crash_mean_s = 0;
  double pause_mean_s = 0;
  Duration pause_max{15'000};
  Duration skew_max{0};           // each worker's clock is off by up to this, either way
  double clock_jump_mean_s = 0;   // and is set anew this often
  double slow_activity = 0;       // the chance that an activity starts up to pause_max late

  // One rate for every class, the same for all seeds.
  static FaultRates Plain();
  // Swarm testing: rates drawn anew for each seed, and each class left out in 30 % of seeds, so that
  // the faults that are left meet in combinations the plain mix never reaches.
  static FaultRates Draw(SeededRandom& random);
  // No faults; calls take a little time.
  static FaultRates None() { return {}; }
};

struct FaultCounts {
  uint64_t calls = 0;
  uint64_t commits = 0;         // turns that were committed
  uint64_t unavailable = 0;
  uint64_t ambiguous = 0;       // writes whose caller was told kUnknown
  uint64_t ambiguous_done = 0;  // … and that had happened, or did later
  uint64_t crashes = 0;         // of workers, whatever the reason
  uint64_t crashes_after_write = 0;
  uint64_t pauses = 0;
  uint64_t lost = 0;
  uint64_t duplicated = 0;  // hints, and calls that arrived twice
  uint64_t late = 0;

  FaultCounts& operator+=(const FaultCounts& other);
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/fault_rates-inl.h"
#endif
