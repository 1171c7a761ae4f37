// RedisLoop: the one thread of a Redis store. It waits for its connections and runs what is posted.
//
// Post and Stop may be called from any thread, everything else on the loop's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
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

// Work of a loop for later. On the loop's thread only, but for the constructor.
class RedisTimer final : public RedisLoop::Waiter {
 public:
  explicit RedisTimer(std::function<void()> work) : work_(std::move(work)) {}

  // Does the work once, after `pause`, or when it was to be done before that.
  void Set(RedisLoop::Micros pause) {
    const RedisLoop::Micros at = RedisLoop::Now() + pause;
    if (at_ < 0 || at < at_) at_ = at;
  }

  int Prepare(short*) override { return -1; }
  void OnReady() override {}
  RedisLoop::Micros Deadline() override { return at_; }
  void OnDeadline() override {
    at_ = -1;
    work_();
  }

 private:
  const std::function<void()> work_;
  RedisLoop::Micros at_ = -1;
};

}  // namespace marathon::inline MARATHON_ABI::detail
