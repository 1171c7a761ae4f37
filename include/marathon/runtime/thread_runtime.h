// ThreadRuntime: the Runtime of production. The one place in Marathon that starts threads, reads clocks and
// draws random numbers.
//
// Threads are started when there is work and none is free, up to each lane's limit, and stay until Stop(). They have
// names, which debuggers and `top -H` show: "marathon/turn", "marathon/act", "marathon/begin" and "marathon/alarm".
//
// Thread rule: safe to call from any thread; Stop() from none of its own.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/runtime.h"

namespace marathon::inline MARATHON_ABI {

class ThreadRuntime final : public Runtime {
 public:
  // `turn_threads` 0: as many as cores. So it is for Lane::kBegin.
  ThreadRuntime(int turn_threads, int activity_threads);
  ~ThreadRuntime() override;

  // Runs what has been posted, drops alarms, and joins all threads.
  void Stop();

  Time Now() const override;
  int64_t MonotonicMicros() const override;
  uint64_t Random() override;
  void Post(Lane lane, Callback<void()> work) override;
  void PostWhenIdle(Callback<void()> work) override;
  AlarmId SetAlarm(Duration delay, Callback<void()> work) override;
  void CancelAlarm(AlarmId alarm) override;
  void ReplaceStuckThread() override;
  std::shared_ptr<OneShot> NewOneShot() override;

  // Whether the caller is one of its threads.
  bool IsOwnThread() const;

  // For a OneShot: this thread is about to wait.
  void AboutToWait();
  // Waits a moment for `done()`, unless a core has better to do. Answers whether it is done.
  template <class Done>
  bool LookFor(Done&& done) const;

 private:
  // A thread that is about to sleep looks for a moment whether what it waits for comes: to be woken takes 25 us on
  // another core. A look yields its core to whoever wants it; where somebody did, the next looks are rarer. For one
  // thread at a time.
  class Lookout {
   public:
    // Answers whether it is done.
    template <class Done>
    bool Look(const ThreadRuntime& runtime, Done&& done);

   private:
    uint32_t passes_ = 0;  // so many are left out between two …
    uint32_t pass_ = 0;    // … and so many still before the next
  };

  using Queue = std::deque<Callback<void()>, detail::PoolAllocator<Callback<void()>>>;
  struct Pool {
    std::mutex mutex;
    std::condition_variable changed;
    Queue work;
    Queue when_idle;
    std::vector<std::thread> threads;
    const char* name = "";
    int limit = 0;
    int active = 0;        // threads that have work …
    int most_active = 0;   // … which wakes no more than so many, until somebody sees it stand still
    bool watching = false; // a thread waits for that
    uint64_t taken = 0;    // pieces of work, so far
    int idle = 0;          // threads that wait …
    bool waking = false;   // … and one of them has been told to wake, or a new one is starting
    bool looking = false;  // a thread looks for work before it waits …
    Lookout lookout;         // … with this
    std::atomic<bool> queued{false};  // … without the mutex
    bool stopping = false;
  };

  Pool& PoolOf(Lane lane) { return pools_[static_cast<size_t>(lane)]; }
  void Push(Pool& pool, Queue& queue, Callback<void()> work);
  bool Summon(Pool& pool);
  bool MayTake(const Pool& pool) const;
  void Watch(Pool& pool, std::unique_lock<std::mutex>& lock);
  void RunPool(Pool& pool);
  // Work waits for a thread.
  bool Busy() const {
    return std::ranges::any_of(pools_, [](const Pool& pool) { return pool.queued.load(std::memory_order_relaxed); });
  }
  void LookForWork(Pool& pool, std::unique_lock<std::mutex>& lock);
  void RunAlarms();
  void RescueAlarms();
  void Ring(AlarmId alarm);
  static void StopPool(Pool& pool);

  const int cores_;
  mutable std::atomic<bool> looking_outside_{false};  // a thread that waits for an answer …
  mutable Lookout outside_;                           // … with this
  std::array<Pool, 3> pools_;  // by Lane
  Pool& turn_pool_ = PoolOf(Lane::kTurn);

  std::mutex alarm_mutex_;
  std::condition_variable alarm_changed_;
  std::map<std::pair<int64_t, AlarmId>, Callback<void()>> alarms_;  // by monotonic microseconds
  std::unordered_map<AlarmId, int64_t> alarm_times_;
  std::unordered_map<AlarmId, Callback<void()>> ringing_;           // posted, not begun
  int64_t rang_ = 0;  // when the last of these began, or the first was posted
  AlarmId last_alarm_ = 0;
  bool alarms_stopping_ = false;
  std::thread alarm_thread_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/runtime/thread_runtime-inl.h"
#endif
