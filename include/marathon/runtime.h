// Runtime: the one source of time, randomness and threads. Production uses ThreadRuntime
// (runtime/thread_runtime.h); the simulator drives a whole cluster through its own, in one thread.
// Nothing else in Marathon may look at a clock, start a thread, sleep or draw a random number.
//
// Safe to call from any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// Reads a wall clock. Stores take one, so that tests and simulations can turn it.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

// Where posted work runs.
enum class Lane : uint8_t {
  kTurn,      // workflow turns and the engine's own bookkeeping; never blocks
  kActivity,  // blocking activities
  kBegin,     // the beginnings of asynchronous ones, which are not to wait for a thread that others block
};

using AlarmId = uint64_t;  // 0: none

// Something that happens once. Safe from any thread.
class OneShot {
 public:
  static constexpr Duration kForever = Duration::max();

  virtual ~OneShot() = default;
  virtual void Set() = 0;
  // Blocks until Set() was called, or `timeout` has passed: then false.
  virtual bool Wait(Duration timeout) = 0;
};

class Runtime : public Clock {
 public:
  // Microseconds that only ever grow, for measuring. No relation to Now().
  virtual int64_t MonotonicMicros() const = 0;

  // 64 random bits.
  virtual uint64_t Random() = 0;

  // Runs `work` soon, on a thread of `lane`. Work posted after Stop() is destroyed, not run.
  virtual void Post(Lane lane, Callback<void()> work) = 0;

  // Runs `work` on the turn lane once nothing posted before it is left waiting there: for what gains
  // from company, such as a group commit.
  virtual void PostWhenIdle(Callback<void()> work) = 0;

  // Runs `work` on the turn lane when `delay` has passed. Returns a name for CancelAlarm.
  virtual AlarmId SetAlarm(Duration delay, Callback<void()> work) = 0;
  // After this returns, the alarm's work does not start; it may be running.
  virtual void CancelAlarm(AlarmId alarm) = 0;

  // A thread of the turn lane hangs in user code: lets another take its place.
  virtual void ReplaceStuckThread() {}

  // An event for a thread outside the lanes to wait on.
  virtual std::shared_ptr<OneShot> NewOneShot() = 0;
};

}  // namespace marathon::inline MARATHON_ABI
