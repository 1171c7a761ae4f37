#include "io_loop.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

struct RedisLoop::State {
  ~State() { close(wakeup); }

  void Wake() const {
    const uint64_t one = 1;
    static_cast<void>(!write(wakeup, &one, sizeof one));
  }
  void Run();
  bool RunPosted();  // false: the end
  void Wait();

  const int wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::vector<Waiter*> waiters;
  std::vector<pollfd> fds;  // of wakeup and the waiters
  std::vector<Callback<void()>> work;  // what has been posted, while it is done

  std::mutex mutex;  // guards:
  std::vector<Callback<void()>> posted;
  bool stopped = false;
  std::thread::id thread;
};

RedisLoop::Micros RedisLoop::Now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

RedisLoop::RedisLoop() : state_(std::make_shared<State>()) {}

RedisLoop::~RedisLoop() = default;

void RedisLoop::Add(Waiter* waiter) { state_->waiters.push_back(waiter); }

void RedisLoop::Start(std::shared_ptr<void> owner) {
  thread_ = std::thread([state = state_, owner = std::move(owner)] { state->Run(); });
  const std::lock_guard lock(state_->mutex);
  state_->thread = thread_.get_id();
}

void RedisLoop::Post(Callback<void()> work) {
  bool first = false;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopped) return;
    first = state_->posted.empty() && state_->thread != std::this_thread::get_id();
    state_->posted.push_back(std::move(work));
  }
  if (first) state_->Wake();
}

void RedisLoop::Stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
  }
  state_->Wake();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void RedisLoop::State::Run() {
  sigset_t all;  // the application's signals are its own, and a closed socket's is nobody's
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (RunPosted()) Wait();
}

bool RedisLoop::State::RunPosted() {
  for (;;) {
    {
      const std::lock_guard lock(mutex);
      if (posted.empty()) return !stopped;
      std::swap(work, posted);
    }
    for (Callback<void()>& one : work) one();
    work.clear();
  }
}

void RedisLoop::State::Wait() {
  fds.assign(1, {wakeup, POLLIN, 0});
  Micros first = -1;
  for (Waiter* waiter : waiters) {
    short events = 0;
    const int fd = waiter->Prepare(&events);
    fds.push_back({fd, events, 0});
    const Micros deadline = waiter->Deadline();
    if (deadline >= 0 && (first < 0 || deadline < first)) first = deadline;
  }
  int timeout = -1;
  if (first >= 0) {
    const Micros left = (std::max<Micros>(first - Now(), 0) + 999) / 1000;
    timeout = static_cast<int>(std::min<Micros>(left, INT_MAX));
  }
  {
    const std::lock_guard lock(mutex);
    if (!posted.empty()) timeout = 0;  // by this thread, in Prepare
  }
  poll(fds.data(), fds.size(), timeout);
  if (fds[0].revents != 0) {
    uint64_t count = 0;
    static_cast<void>(!read(wakeup, &count, sizeof count));
  }
  for (size_t i = 0; i < waiters.size(); ++i) {
    if (fds[i + 1].fd >= 0 && fds[i + 1].revents != 0) waiters[i]->OnReady();
  }
  for (Waiter* waiter : waiters) {
    const Micros deadline = waiter->Deadline();
    if (deadline >= 0 && deadline <= Now()) waiter->OnDeadline();
  }
}

}  // namespace marathon::inline MARATHON_ABI::detail
