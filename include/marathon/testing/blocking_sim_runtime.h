// BlockingSimRuntime: a SimRuntime for code that blocks. Whoever waits on one of its OneShots runs the world
// meanwhile, so that an Engine over it answers to plain calls, and waiting for a month takes no time. Inside
// the world too: an activity that calls the engine waits there as it would on its own thread.
//
// Not safe from several threads: the world has one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "marathon/config.h"
#include "marathon/testing/sim_runtime.h"
#include "marathon/testing/sim_world.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

class BlockingSimRuntime final : public SimRuntime {
 public:
  // What has not happened by then is not going to.
  struct Limits {
    Duration patience = std::chrono::hours(24 * 366);  // of virtual time, in a wait without a timeout
    uint64_t steps = 500'000;                          // entries of the world, in any one wait
  };

  // Nothing takes time by itself, and an alarm rings when it was set to.
  static constexpr Options kExact{.turn_micros_max = 0, .activity_micros_max = 0};

  BlockingSimRuntime(SimWorld& world, const std::string& name, Limits limits)
      : SimRuntime(world, name, kExact), limits_(limits) {}

  // Called when a wait is given up because of these limits.
  void SetGiveUp(std::function<void()> give_up) { give_up_ = std::move(give_up); }

  // Runs the world until `done()`; false once the clock is at `limit` (kNever: none), or at the limits above.
  bool RunUntil(const std::function<bool()>& done, Time limit);

  // Its Wait is RunUntil.
  std::shared_ptr<OneShot> NewOneShot() override;

 private:
  class BlockingOneShot;

  Limits limits_;
  std::function<void()> give_up_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/blocking_sim_runtime-inl.h"
#endif
