#pragma once

#include "marathon/runtime/thread_runtime.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <random>

namespace marathon::inline MARATHON_ABI {

namespace detail {

class ThreadOneShot final : public OneShot {
 public:
  explicit ThreadOneShot(ThreadRuntime& runtime) : runtime_(runtime) { sem_init(&semaphore_, 0, 0); }
  ~ThreadOneShot() override { sem_destroy(&semaphore_); }

  void Set() override {
    set_.store(true, std::memory_order_release);
    sem_post(&semaphore_);
  }
  bool Wait(Duration timeout) override {
    const auto is_set = [this] { return set_.load(std::memory_order_acquire); };
    if (runtime_.LookFor(is_set)) return true;
    runtime_.AboutToWait();
    if (Sleep(timeout)) sem_post(&semaphore_);  // for the next who waits
    return is_set();
  }

 private:
  // Unlike std::atomic::wait it does not yield its core some times before it sleeps.
  bool Sleep(Duration timeout) {
    constexpr Duration kCentury = std::chrono::hours(24 * 365 * 100);  // more would overflow the clock
    timespec until{};
    clock_gettime(CLOCK_MONOTONIC, &until);
    const std::chrono::nanoseconds end = std::chrono::nanoseconds(until.tv_nsec) + std::clamp(timeout, Duration(0), kCentury);
    until.tv_sec += std::chrono::floor<std::chrono::seconds>(end).count();
    until.tv_nsec = (end % std::chrono::seconds(1)).count();
    int failed = 0;
    do {
      failed = timeout == kForever ? sem_wait(&semaphore_) : sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until);
    } while (failed != 0 && errno == EINTR);
    return failed == 0;
  }

  ThreadRuntime& runtime_;
  std::atomic<bool> set_{false};
  sem_t semaphore_;
};

// What this thread is to a pool: work that it posts to its own pool it will soon run itself, so the first
// piece wakes nobody.
struct PoolThread {
  const void* pool = nullptr;
  bool kept_one = false;
};
inline PoolThread& ThisPoolThread() {
  thread_local PoolThread thread;
  return thread;
}

}  // namespace detail

MARATHON_INLINE ThreadRuntime::ThreadRuntime(int turn_threads, int activity_threads)
    : cores_(std::max(1, static_cast<int>(std::thread::hardware_concurrency()))) {
  const auto set_up = [this](Lane lane, const char* name, int limit) {
    PoolOf(lane).name = name;
    PoolOf(lane).limit = limit;
    PoolOf(lane).most_active = cores_;
  };
  set_up(Lane::kTurn, "marathon/turn", turn_threads > 0 ? turn_threads : cores_);
  set_up(Lane::kActivity, "marathon/act", std::max(1, activity_threads));
  set_up(Lane::kBegin, "marathon/begin", cores_);
}

MARATHON_INLINE ThreadRuntime::~ThreadRuntime() { Stop(); }

MARATHON_INLINE Time ThreadRuntime::Now() const {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

MARATHON_INLINE int64_t ThreadRuntime::MonotonicMicros() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

MARATHON_INLINE uint64_t ThreadRuntime::Random() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return generator();
}

// ---- Lanes -----------------------------------------------------------------------------------------

// Work finds a thread without a futex call when one is looking for it, and else wakes one sleeper at a
// time: whoever takes a piece of work and leaves some wakes the next. Short work gains nothing from more
// threads than cores, which only meet at the lock; work that blocks does. So from there on one thread
// watches whether the others get on, and if not lets more of them go.
MARATHON_INLINE void ThreadRuntime::Push(Pool& pool, Queue& queue, Callback<void()> work) {
  detail::PoolThread& self = detail::ThisPoolThread();
  bool wake = false;
  {
    std::lock_guard lock(pool.mutex);
    if (pool.stopping && self.pool != &pool) return;
    queue.push_back(std::move(work));
    pool.queued.store(true, std::memory_order_relaxed);
    if (self.pool == &pool && !std::exchange(self.kept_one, true)) return;
    wake = Summon(pool);
  }
  if (wake) pool.changed.notify_one();
}

// With the pool's mutex held: sees to it that a thread comes for what is queued, if it is time for one.
// True: the caller is to wake one.
MARATHON_INLINE bool ThreadRuntime::Summon(Pool& pool) {
  if (pool.looking || pool.waking) return false;
  if (pool.active >= pool.most_active && pool.watching) return false;
  if (pool.idle > 0) return pool.waking = true;
  if (static_cast<int>(pool.threads.size()) < pool.limit && !pool.stopping) {
    pool.waking = true;
    pool.threads.emplace_back([this, &pool] { RunPool(pool); });
  }
  return false;
}

MARATHON_INLINE bool ThreadRuntime::IsOwnThread() const {
  const void* const pool = detail::ThisPoolThread().pool;
  return std::ranges::any_of(pools_, [pool](const Pool& own) { return &own == pool; });
}

// What this thread has posted to its own pool it will not run soon, after all.
MARATHON_INLINE void ThreadRuntime::AboutToWait() {
  detail::PoolThread& self = detail::ThisPoolThread();
  if (!self.kept_one) return;
  for (Pool& pool : pools_) {
    if (self.pool != &pool) continue;
    bool wake = false;
    {
      std::lock_guard lock(pool.mutex);
      wake = pool.queued.load(std::memory_order_relaxed) && Summon(pool);
    }
    if (wake) pool.changed.notify_one();
  }
}

// With the pool's mutex held: whether this thread is to take what is queued.
MARATHON_INLINE bool ThreadRuntime::MayTake(const Pool& pool) const {
  if (pool.work.empty() && pool.when_idle.empty()) return false;
  return pool.active < pool.most_active || pool.stopping;
}

// Waits a little. If no work has been taken meanwhile, what is under way blocks: others may go on.
MARATHON_INLINE void ThreadRuntime::Watch(Pool& pool, std::unique_lock<std::mutex>& lock) {
  constexpr std::chrono::microseconds kPatience{200};
  const uint64_t before = pool.taken;
  pool.watching = true;
  ++pool.idle;
  pool.changed.wait_for(lock, kPatience);
  --pool.idle;
  pool.watching = false;
  pool.waking = false;
  if (pool.work.empty() && pool.when_idle.empty()) return;
  if (pool.taken == before) {
    pool.most_active = std::max(pool.most_active, 2 * pool.active);
  } else if (pool.most_active > cores_) {
    --pool.most_active;
  }
}

template <class Done>
bool ThreadRuntime::Lookout::Look(const ThreadRuntime& runtime, Done&& done) {
  constexpr int64_t kMicros = 20;
  constexpr int64_t kLongForAYield = 3;  // with nobody else on its core it takes 0.3
  constexpr uint32_t kRarest = 255;
  if (pass_ > 0) {
    --pass_;
    return done();
  }
  bool found = done();
  bool disturbs = false;
  int64_t now = runtime.MonotonicMicros();
  for (const int64_t until = now + kMicros; !found && !disturbs && now < until;) {
    std::this_thread::yield();
    found = done();
    const int64_t before = std::exchange(now, runtime.MonotonicMicros());
    disturbs = now - before >= kLongForAYield;
  }
  passes_ = disturbs ? std::min(2 * passes_ + 1, kRarest) : passes_ / 2;
  pass_ = passes_;
  return found;
}

// For an answer that is quick.
template <class Done>
bool ThreadRuntime::LookFor(Done&& done) const {
  if (done()) return true;
  if (cores_ == 1 || Busy() || looking_outside_.exchange(true, std::memory_order_acquire)) return false;
  const bool found = outside_.Look(*this, done);
  looking_outside_.store(false, std::memory_order_release);
  return found;
}

// With the pool's mutex held, which it releases meanwhile.
MARATHON_INLINE void ThreadRuntime::LookForWork(Pool& pool, std::unique_lock<std::mutex>& lock) {
  pool.looking = true;
  lock.unlock();
  pool.lookout.Look(*this, [&] { return pool.queued.load(std::memory_order_relaxed); });
  lock.lock();
  pool.looking = false;
}

MARATHON_INLINE void ThreadRuntime::Post(Lane lane, Callback<void()> work) {
  Pool& pool = PoolOf(lane);
  Push(pool, pool.work, std::move(work));
}

MARATHON_INLINE void ThreadRuntime::PostWhenIdle(Callback<void()> work) {
  Push(turn_pool_, turn_pool_.when_idle, std::move(work));
}

MARATHON_INLINE void ThreadRuntime::RunPool(Pool& pool) {
  pthread_setname_np(pthread_self(), pool.name);
  detail::PoolThread& self = detail::ThisPoolThread();
  self.pool = &pool;
  bool looked = false;
  std::unique_lock lock(pool.mutex);
  pool.waking = false;
  while (true) {
    if (MayTake(pool)) {
      auto& queue = pool.work.empty() ? pool.when_idle : pool.work;
      Callback<void()> work = std::move(queue.front());
      queue.pop_front();
      ++pool.active;
      ++pool.taken;
      const bool more = !pool.work.empty() || !pool.when_idle.empty();
      pool.queued.store(more, std::memory_order_relaxed);
      const bool wake = more && Summon(pool);
      lock.unlock();
      if (wake) pool.changed.notify_one();
      self.kept_one = false;
      work();
      work = nullptr;
      looked = false;
      lock.lock();
      --pool.active;
    } else if (pool.stopping) {
      return;
    } else if (pool.queued.load(std::memory_order_relaxed) && !pool.watching) {
      Watch(pool, lock);
    } else if (!looked && !pool.looking && cores_ > 1) {
      LookForWork(pool, lock);
      looked = true;
    } else {
      ++pool.idle;
      pool.changed.wait(lock);
      --pool.idle;
      pool.waking = false;
    }
  }
}

MARATHON_INLINE void ThreadRuntime::ReplaceStuckThread() {
  std::lock_guard lock(turn_pool_.mutex);
  ++turn_pool_.limit;
  if (!turn_pool_.stopping) {
    turn_pool_.threads.emplace_back([this] { RunPool(turn_pool_); });
  }
}

MARATHON_INLINE void ThreadRuntime::StopPool(Pool& pool) {
  std::vector<std::thread> threads;
  {
    std::lock_guard lock(pool.mutex);
    pool.stopping = true;
    threads.swap(pool.threads);
  }
  pool.changed.notify_all();
  for (std::thread& thread : threads) thread.join();
}

// ---- Alarms ----------------------------------------------------------------------------------------

MARATHON_INLINE AlarmId ThreadRuntime::SetAlarm(Duration delay, Callback<void()> work) {
  constexpr Duration kLongest = std::chrono::hours(24 * 365 * 100);
  const int64_t at = MonotonicMicros() + std::clamp(delay, Duration(0), kLongest).count() * 1000;
  std::lock_guard lock(alarm_mutex_);
  const AlarmId id = ++last_alarm_;
  if (alarms_stopping_) return id;
  const bool first = alarms_.empty() || at < alarms_.begin()->first.first;
  alarms_.emplace(std::pair(at, id), std::move(work));
  alarm_times_.emplace(id, at);
  if (!alarm_thread_.joinable()) alarm_thread_ = std::thread([this] { RunAlarms(); });
  if (first) alarm_changed_.notify_one();
  return id;
}

MARATHON_INLINE void ThreadRuntime::CancelAlarm(AlarmId alarm) {
  Callback<void()> work;  // destroyed after the lock is released
  std::lock_guard lock(alarm_mutex_);
  if (const auto at = alarm_times_.find(alarm); at != alarm_times_.end()) {
    const auto found = alarms_.find({at->second, alarm});
    work = std::move(found->second);
    alarms_.erase(found);
    alarm_times_.erase(at);
  } else if (const auto found = ringing_.find(alarm); found != ringing_.end()) {
    work = std::move(found->second);
    ringing_.erase(found);
  }
}

// No thread of the turn lane has come to an alarm for long: all may hang, and the alarm may be the one that
// notices. One more comes.
MARATHON_INLINE void ThreadRuntime::RescueAlarms() {
  std::lock_guard lock(turn_pool_.mutex);
  const bool one_more = static_cast<int>(turn_pool_.threads.size()) <= turn_pool_.limit;
  if (turn_pool_.stopping || turn_pool_.idle > 0 || !one_more) return;
  turn_pool_.threads.emplace_back([this] { RunPool(turn_pool_); });
}

MARATHON_INLINE void ThreadRuntime::RunAlarms() {
  pthread_setname_np(pthread_self(), "marathon/alarm");
  constexpr int64_t kLate = 100'000;
  std::unique_lock lock(alarm_mutex_);
  while (!alarms_stopping_) {
    const int64_t now = MonotonicMicros();
    if (!ringing_.empty() && now - rang_ > kLate) {
      RescueAlarms();
      rang_ = now;
    }
    if (alarms_.empty() && ringing_.empty()) {
      alarm_changed_.wait(lock);
      continue;
    }
    const int64_t due = alarms_.empty() ? INT64_MAX : alarms_.begin()->first.first;
    if (due > now) {
      const int64_t until = ringing_.empty() ? due : std::min(due, rang_ + kLate + 1);
      alarm_changed_.wait_for(lock, std::chrono::microseconds(std::max(until - now, int64_t{1})));
      continue;
    }
    const AlarmId id = alarms_.begin()->first.second;
    if (ringing_.empty()) rang_ = now;
    ringing_.emplace(id, std::move(alarms_.begin()->second));
    alarm_times_.erase(id);
    alarms_.erase(alarms_.begin());
    lock.unlock();
    Post(Lane::kTurn, [this, id] { Ring(id); });
    lock.lock();
  }
}

MARATHON_INLINE void ThreadRuntime::Ring(AlarmId alarm) {
  Callback<void()> work;
  {
    std::lock_guard lock(alarm_mutex_);
    const auto found = ringing_.find(alarm);
    if (found == ringing_.end()) return;
    work = std::move(found->second);
    ringing_.erase(found);
    rang_ = MonotonicMicros();
  }
  work();
}

MARATHON_INLINE std::shared_ptr<OneShot> ThreadRuntime::NewOneShot() {
  using Pooled = detail::PoolAllocator<detail::ThreadOneShot>;
  return std::allocate_shared<detail::ThreadOneShot>(Pooled(), *this);
}

MARATHON_INLINE void ThreadRuntime::Stop() {
  {
    std::lock_guard lock(alarm_mutex_);
    alarms_stopping_ = true;
  }
  alarm_changed_.notify_all();
  if (alarm_thread_.joinable()) alarm_thread_.join();
  StopPool(PoolOf(Lane::kBegin));
  StopPool(PoolOf(Lane::kActivity));
  StopPool(turn_pool_);
  std::map<std::pair<int64_t, AlarmId>, Callback<void()>> alarms;
  std::unordered_map<AlarmId, Callback<void()>> ringing;
  std::lock_guard lock(alarm_mutex_);
  alarms.swap(alarms_);
  alarm_times_.clear();  // a store may cancel its alarm after this
  ringing.swap(ringing_);
}

}  // namespace marathon::inline MARATHON_ABI
