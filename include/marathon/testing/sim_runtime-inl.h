#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <utility>

#include "marathon/testing/sim_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

class SimOneShot final : public OneShot {
 public:
  explicit SimOneShot(SimWorld& world) : world_(world) {}

  void Set() override { set_ = true; }

  bool Wait(Duration timeout) override {
    if (set_) return true;
    if (world_.running()) {
      fmt::print(stderr, "SimRuntime: a OneShot was waited for inside the simulated world, where "
                         "nothing may block. Use an asynchronous call there.\n");
      std::abort();
    }
    const Time limit = timeout == kForever ? kNever : AddSaturated(world_.Now(), timeout);
    if (world_.RunUntil([this] { return set_; }, limit)) return true;
    if (limit != kNever) world_.RunUntil(limit);
    return set_;
  }

 private:
  SimWorld& world_;
  bool set_ = false;
};

}  // namespace internal

MARATHON_INLINE SimRuntime::SimRuntime(SimWorld& world, const std::string& name, Options options)
    : world_(world),
      options_(options),
      actor_(world.AddActor(name)),
      random_(world.Fork("random of " + name)),
      latency_(world.Fork("latency of " + name)) {}

MARATHON_INLINE void SimRuntime::Post(Lane lane, Callback<void()> work) {
  if (lane != Lane::kTurn) {
    const bool slow = latency_.Chance(options_.slow_activity);
    const int64_t most = slow ? options_.slow_activity_micros_max : options_.activity_micros_max;
    world_.After(actor_, latency_.Between(0, most), "activity", std::move(work));
    return;
  }
  const int64_t delay = latency_.Between(0, options_.turn_micros_max);
  turns_until_ = std::max(turns_until_, world_.ElapsedMicros() + delay);
  world_.After(actor_, delay, "turn", std::move(work));
}

MARATHON_INLINE void SimRuntime::PostWhenIdle(Callback<void()> work) {
  const int64_t waiting = std::max<int64_t>(0, turns_until_ - world_.ElapsedMicros());
  world_.After(actor_, waiting + 1, "idle", std::move(work));
}

MARATHON_INLINE AlarmId SimRuntime::SetAlarm(Duration delay, Callback<void()> work) {
  constexpr int64_t kLongest = std::numeric_limits<int64_t>::max() / 2000;
  const int64_t millis = std::clamp<int64_t>(delay.count(), 0, kLongest);
  const int64_t late = latency_.Between(0, options_.turn_micros_max);
  return world_.After(actor_, millis * 1000 + late, "alarm", std::move(work));
}

MARATHON_INLINE std::shared_ptr<OneShot> SimRuntime::NewOneShot() {
  return std::make_shared<internal::SimOneShot>(world_);
}

}  // namespace marathon::inline MARATHON_ABI::testing
