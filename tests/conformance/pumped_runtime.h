// PumpedRuntime: a Runtime whose work is done by the test's own thread, in Pump(), and whose clock stands
// still until it is turned. For adapters that need a Runtime in tests that need an exact clock.
//
// Pump and Advance: one thread at a time. The rest is safe from any: adapters post from threads of their own.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/testing/manual_clock.h"

namespace marathon::inline MARATHON_ABI::testing {

class PumpedRuntime final : public Runtime {
 public:
  // Does one thing that is ready; false: nothing is.
  bool Pump() {
    Callback<void()> next;
    {
      const std::lock_guard lock(mutex_);
      if (auto due = alarms_.begin(); due != alarms_.end() && due->first.first <= Now()) {
        work_.push_back(std::move(due->second));
        alarms_.erase(due);
      }
      std::deque<Callback<void()>>& queue = work_.empty() ? when_idle_ : work_;
      if (queue.empty()) return false;
      next = std::move(queue.front());
      queue.pop_front();
    }
    next();
    return true;
  }
  void Advance(std::chrono::microseconds by) { clock_.Advance(by); }

  Time Now() const override { return clock_.Now(); }
  int64_t MonotonicMicros() const override { return ToMicros(clock_.Now()); }
  uint64_t Random() override {
    const std::lock_guard lock(mutex_);
    return ++random_ * 0x9e3779b97f4a7c15u;
  }
  void Post(Lane, Callback<void()> work) override {
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
  }
  void PostWhenIdle(Callback<void()> work) override {
    const std::lock_guard lock(mutex_);
    when_idle_.push_back(std::move(work));
  }
  AlarmId SetAlarm(Duration delay, Callback<void()> work) override {
    const std::lock_guard lock(mutex_);
    alarms_.emplace(std::pair(AddSaturated(Now(), delay), ++last_alarm_), std::move(work));
    return last_alarm_;
  }
  void CancelAlarm(AlarmId alarm) override {
    Callback<void()> canceled;  // destroyed without the lock: what it holds may call
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(alarms_, [&](const auto& entry) { return entry.first.second == alarm; });
    if (found == alarms_.end()) return;
    canceled = std::move(found->second);
    alarms_.erase(found);
  }
  std::shared_ptr<OneShot> NewOneShot() override { return nullptr; }  // nothing here blocks

 private:
  ManualClock clock_;
  std::mutex mutex_;  // guards:
  std::deque<Callback<void()>> work_;
  std::deque<Callback<void()>> when_idle_;
  std::map<std::pair<Time, AlarmId>, Callback<void()>> alarms_;
  AlarmId last_alarm_ = 0;
  uint64_t random_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::testing
