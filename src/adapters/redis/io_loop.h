// RedisLoop: the one thread of a Redis store. It waits for its connections and runs what is posted.
//
// Post and Stop may be called from any thread, everything else on the loop's own.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

class RedisLoop {
 public:
  // Microseconds that only grow.
  using Micros = int64_t;

  // Something to wait for.
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // The descriptor to watch and what for, after doing what can be done at once; -1: none for now.
    virtual int Prepare(short* events) = 0;
    virtual void OnReady() = 0;
    // When to be called though nothing comes; negative: never.
    virtual Micros Deadline() = 0;
    virtual void OnDeadline() = 0;
  };

  RedisLoop();
  ~RedisLoop();  // after Stop()
  RedisLoop(const RedisLoop&) = delete;
  RedisLoop& operator=(const RedisLoop&) = delete;

  // Starts the thread, which keeps `owner` alive: waiters belong to that.
  void Start(std::shared_ptr<void> owner);
  // From posted work.
  void Add(Waiter* waiter);
  // Work posted after Stop() is destroyed, not run.
  void Post(Callback<void()> work);
  // Ends the thread after what has been posted, and waits for it unless that is the caller.
  void Stop();

  static Micros Now();

 private:
  struct State;
  std::shared_ptr<State> state_;  // the thread's too
  std::thread thread_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
