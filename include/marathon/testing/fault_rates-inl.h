#pragma once

#include "marathon/testing/fault_rates.h"

namespace marathon::inline MARATHON_ABI::testing {

MARATHON_INLINE FaultRates FaultRates::Plain() {
  return {.unavailable = 0.02,
          .ambiguous = 0.05,
          .late_effect = 0.01,
          .crash_after_write = 0.01,
          .repeated = 0.1,
          .direct = 0.1,
          .slow = 0.1,
          .lost = 0.05,
          .duplicated = 0.2,
          .late = 0.1,
          .reordered = true,
          .crash_mean_s = 15,
          .pause_mean_s = 20,
          .skew_max = Duration(20'000),
          .clock_jump_mean_s = 30,
          .slow_activity = 0.05};
}

MARATHON_INLINE FaultRates FaultRates::Draw(SeededRandom& random) {
  // Both numbers are drawn either way, so that leaving a class out moves no other one.
  const auto upto = [&random](double most) {
    const double rate = random.Real(0, most);
    return random.Real() < 0.3 ? 0 : rate;
  };
  const auto mean = [&random](double low, double high) {
    const double seconds = random.Real(low, high);
    return random.Real() < 0.3 ? 0 : seconds;
  };
  FaultRates rates;
  rates.unavailable = upto(0.08);
  rates.ambiguous = upto(0.2);
  rates.late_effect = upto(0.1);
  rates.crash_after_write = upto(0.04);
  rates.repeated = upto(0.25);
  rates.direct = upto(0.5);
  rates.slow = upto(0.2);
  rates.lost = upto(0.3);
  rates.duplicated = upto(0.6);
  rates.late = upto(0.3);
  rates.reordered = random.Real() < 0.7;
  rates.crash_mean_s = mean(4, 20);
  rates.pause_mean_s = mean(5, 30);
  rates.skew_max = Duration(static_cast<int64_t>(upto(20'000)));
  rates.clock_jump_mean_s = mean(5, 60);
  rates.slow_activity = upto(0.2);
  return rates;
}

MARATHON_INLINE FaultCounts& FaultCounts::operator+=(const FaultCounts& other) {
  calls += other.calls;
  commits += other.commits;
  unavailable += other.unavailable;
  ambiguous += other.ambiguous;
  ambiguous_done += other.ambiguous_done;
  crashes += other.crashes;
  crashes_after_write += other.crashes_after_write;
  pauses += other.pauses;
  lost += other.lost;
  duplicated += other.duplicated;
  late += other.late;
  return *this;
}

}  // namespace marathon::inline MARATHON_ABI::testing
