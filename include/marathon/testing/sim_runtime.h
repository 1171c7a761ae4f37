// SimRuntime: the Runtime of one incarnation of one simulated worker process. Everything the engine
// posts goes through the world's heap, with a small drawn latency, so that nothing can rely on the order
// of two threads. Kill() ends the incarnation as SIGKILL would; the next one is a new SimRuntime.
//
// Not safe from several threads: the world has one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing {

class SimRuntime : public Runtime {
 public:
  struct Options {
    int64_t turn_micros_max = 50;          // from Post(kTurn) to its run
    int64_t activity_micros_max = 1'000;   // from Post(kActivity) to its run
    double slow_activity = 0;              // the chance that it takes up to the next figure instead
    int64_t slow_activity_micros_max = 0;
  };

  // `name` is unique in the world: it names the actor and its random stream.
  SimRuntime(SimWorld& world, const std::string& name) : SimRuntime(world, name, Options{}) {}
  SimRuntime(SimWorld& world, const std::string& name, Options options);

  SimWorld& world() const { return world_; }
  ActorId actor() const { return actor_; }

  void Kill() { world_.Kill(actor_); }
  bool IsAlive() const { return world_.IsAlive(actor_); }
  void Pause(Duration duration) { world_.Pause(actor_, duration); }

  // How far this machine's clock is off. May be set at any time: the clock jumps.
  void SetSkew(Duration skew) { skew_ = skew; }

  Time Now() const override { return world_.Now() + skew_; }
  int64_t MonotonicMicros() const override { return world_.ElapsedMicros(); }
  uint64_t Random() override { return random_.Next(); }
  void Post(Lane lane, Callback<void()> work) override;
  void PostWhenIdle(Callback<void()> work) override;
  AlarmId SetAlarm(Duration delay, Callback<void()> work) override;
  void CancelAlarm(AlarmId alarm) override { world_.Cancel(alarm); }
  // Its Wait runs the world until it is set; inside the world, where nothing may block, Wait aborts.
  std::shared_ptr<OneShot> NewOneShot() override;

 private:
  SimWorld& world_;
  Options options_;
  ActorId actor_;
  SeededRandom random_;   // what the engine draws
  SeededRandom latency_;  // what the simulation draws
  Duration skew_{0};
  int64_t turns_until_ = 0;  // the latest instant at which posted turn work is still waiting
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/sim_runtime-inl.h"
#endif
