#pragma once

#include "marathon/testing/blocking_sim_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

class BlockingSimRuntime::BlockingOneShot final : public OneShot {
 public:
  explicit BlockingOneShot(BlockingSimRuntime& runtime) : runtime_(runtime) {}

  void Set() override { set_ = true; }

  bool Wait(Duration timeout) override {
    const Time limit =
        timeout == kForever ? kNever : AddSaturated(runtime_.world().Now(), timeout);
    return runtime_.RunUntil([this] { return set_; }, limit);
  }

 private:
  BlockingSimRuntime& runtime_;
  bool set_ = false;
};

MARATHON_INLINE bool BlockingSimRuntime::RunUntil(const std::function<bool()>& done, Time limit) {
  SimWorld& world = this->world();
  const Time end = limit == kNever ? AddSaturated(world.Now(), limits_.patience) : limit;
  const uint64_t last_step = world.steps() + limits_.steps;
  const auto stop = [&] { return done() || world.steps() >= last_step; };
  const bool stopped = world.RunUntil(stop, end);
  if (!stopped) world.RunUntil(end);  // nothing is left before it: the time passes
  if (done()) return true;
  if (give_up_ && (stopped || limit == kNever)) give_up_();
  return false;
}

MARATHON_INLINE std::shared_ptr<OneShot> BlockingSimRuntime::NewOneShot() {
  return std::make_shared<BlockingOneShot>(*this);
}

}  // namespace marathon::inline MARATHON_ABI::testing
