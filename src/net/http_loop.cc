// HttpLoop over curl's multi interface and epoll. What happens costs what it touches, not what is open: a
// thousand quiet streams are free.
#include "src/net/http_loop.h"

#include <curl/curl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <unordered_map>
#include <utility>

#include "src/net/http_transfer.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

constexpr int kWaitMillis = 60'000;
constexpr int64_t kDrainMicros = 1'000'000;
// What epoll tells: the bell that Post rings, a watch, or one of curl's sockets.
constexpr uint64_t kBell = ~uint64_t{0};
constexpr uint64_t kOfWatch = uint64_t{1} << 63;

class SystemClock final : public Clock {
 public:
  Time Now() const override {
    return std::chrono::time_point_cast<Time::duration>(std::chrono::system_clock::now());
  }
};

}  // namespace

struct HttpLoop::State {
  explicit State(long connections_kept) {
    static const CURLcode kGlobal = curl_global_init(CURL_GLOBAL_DEFAULT);
    static_cast<void>(kGlobal);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections_kept);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, OnSocket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, OnTimer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
    Poll(EPOLL_CTL_ADD, bell, EPOLLIN, kBell);
  }
  ~State() {
    DropAll();
    curl_multi_cleanup(multi);
    close(bell);
    close(poll);
  }

  void Run();
  bool RunPosted();  // false: the end
  bool Drains();     // … but not yet
  void Wait();
  void RunTimers();
  void KickCurl();
  void OnReady(uint64_t what, uint32_t events);
  void TakeFinished();
  void DropAll();
  void Ring();

  Id After(int64_t micros, Callback<void()> work);
  void CancelTimer(Id id);
  void WatchIdle(Id id, int64_t micros);
  std::unique_ptr<HttpTransfer> Remove(Id id);

  void Poll(int operation, int fd, uint32_t events, uint64_t what) {
    epoll_event event{.events = events, .data = {.u64 = what}};
    epoll_ctl(poll, operation, fd, &event);
  }
  static int OnSocket(CURL*, curl_socket_t fd, int what, void* self, void* known);
  static int OnTimer(CURLM*, long millis, void* self);

  CURLM* multi = nullptr;
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  const int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

  std::mutex mutex;  // guards:
  std::vector<Callback<void()>> posted;
  bool stopped = false;
  std::thread::id thread;

  // The loop's own.
  struct Watch {
    int fd;
    Callback<void()> ready;
  };
  int64_t drain_until = 0;      // once stopped
  int64_t curl_due = kForever;  // when curl wants to look at its own timers
  Id last_id = 0;
  std::unordered_map<Id, std::unique_ptr<HttpTransfer>> transfers;
  std::map<std::pair<int64_t, Id>, Callback<void()>> timers;  // by their time
  std::unordered_map<Id, int64_t> timer_times;
  std::map<Id, Watch> watches;

  static constexpr int64_t kForever = INT64_MAX;
};

const Clock& HttpLoop::WallClock() {
  static const SystemClock kClock;
  return kClock;
}

HttpLoop::HttpLoop(long connections_kept) : state_(std::make_shared<State>(connections_kept)) {}

HttpLoop::~HttpLoop() = default;

void HttpLoop::Start(std::shared_ptr<void> owner) {
  const std::lock_guard lock(state_->mutex);
  thread_ = std::thread([state = state_, owner = std::move(owner)] { state->Run(); });
  state_->thread = thread_.get_id();
}

void HttpLoop::Post(Callback<void()> work) {
  bool wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopped) return;
    wake = state_->posted.empty() && state_->thread != std::this_thread::get_id();
    state_->posted.push_back(std::move(work));
  }
  if (wake) state_->Ring();
}

bool HttpLoop::IsThisThread() const {
  const std::lock_guard lock(state_->mutex);
  return state_->thread == std::this_thread::get_id();
}

void HttpLoop::Stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
  }
  state_->Ring();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

HttpLoop::Id HttpLoop::Send(HttpRequest request, Callback<void(StatusOr<HttpReply>)> done) {
  const Id id = ++state_->last_id;
  const int64_t idle = request.idle_timeout.count() * 1000;
  auto transfer = std::make_unique<HttpTransfer>(std::move(request), id, std::move(done));
  curl_multi_add_handle(state_->multi, transfer->easy);
  state_->transfers.emplace(id, std::move(transfer));
  if (idle > 0) state_->WatchIdle(id, idle);
  return id;
}

HttpLoop::Id HttpLoop::After(Duration delay, Callback<void()> work) {
  return state_->After(delay.count() * 1000, std::move(work));
}

HttpLoop::Id HttpLoop::WhenReadable(int fd, Callback<void()> ready) {
  const Id id = ++state_->last_id;
  state_->watches.emplace(id, State::Watch{fd, std::move(ready)});
  state_->Poll(EPOLL_CTL_ADD, fd, EPOLLIN, kOfWatch | id);
  return id;
}

void HttpLoop::Cancel(Id id) {
  state_->CancelTimer(id);
  if (auto watch = state_->watches.extract(id)) {
    state_->Poll(EPOLL_CTL_DEL, watch.mapped().fd, 0, 0);
  }
  const auto dropped = state_->Remove(id);
}

// ---- The loop --------------------------------------------------------------------------------------

void HttpLoop::State::Run() {
  sigset_t all;  // the application's signals are its own, and a closed socket's is nobody's
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (RunPosted() || Drains()) {
    KickCurl();
    TakeFinished();
    RunTimers();
    Wait();
    TakeFinished();
  }
  DropAll();
}

bool HttpLoop::State::RunPosted() {
  std::vector<Callback<void()>> work;
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

bool HttpLoop::State::Drains() {
  if (drain_until == 0) drain_until = SteadyMicros() + kDrainMicros;
  return !transfers.empty() && SteadyMicros() < drain_until;
}

void HttpLoop::State::Ring() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(bell, &one, sizeof one);
}

void HttpLoop::State::Wait() {
  const int64_t next = std::min(curl_due, timers.empty() ? kForever : timers.begin()->first.first);
  int64_t millis = kWaitMillis;
  if (next != kForever) millis = std::clamp<int64_t>((next - SteadyMicros() + 999) / 1000, 0, millis);
  {
    const std::lock_guard lock(mutex);
    if (!posted.empty()) millis = 0;
    if (stopped) millis = std::min<int64_t>(millis, transfers.empty() ? 0 : kDrainMicros / 1000);
  }
  std::array<epoll_event, 256> events;
  const int count = epoll_wait(poll, events.data(), static_cast<int>(events.size()),
                               static_cast<int>(millis));
  for (int i = 0; i < count; ++i) {
    OnReady(events[static_cast<size_t>(i)].data.u64, events[static_cast<size_t>(i)].events);
  }
}

void HttpLoop::State::OnReady(uint64_t what, uint32_t events) {
  if (what == kBell) {
    uint64_t rings = 0;
    [[maybe_unused]] const ssize_t size = read(bell, &rings, sizeof rings);
    return;
  }
  if ((what & kOfWatch) != 0) {
    auto watch = watches.extract(what & ~kOfWatch);
    if (!watch) return;
    Poll(EPOLL_CTL_DEL, watch.mapped().fd, 0, 0);
    watch.mapped().ready();
    return;
  }
  int bits = 0;
  if ((events & EPOLLIN) != 0) bits |= CURL_CSELECT_IN;
  if ((events & EPOLLOUT) != 0) bits |= CURL_CSELECT_OUT;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) bits |= CURL_CSELECT_ERR;
  int running = 0;
  curl_multi_socket_action(multi, static_cast<curl_socket_t>(what), bits, &running);
}

// curl says what it waits for at a socket. `known`: it has said so before.
int HttpLoop::State::OnSocket(CURL*, curl_socket_t fd, int what, void* self, void* known) {
  State& state = *static_cast<State*>(self);
  if (what == CURL_POLL_REMOVE) {
    state.Poll(EPOLL_CTL_DEL, fd, 0, 0);
    curl_multi_assign(state.multi, fd, nullptr);
    return 0;
  }
  uint32_t events = 0;
  if ((what & CURL_POLL_IN) != 0) events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) events |= EPOLLOUT;
  state.Poll(known != nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, events, static_cast<uint64_t>(fd));
  if (known == nullptr) curl_multi_assign(state.multi, fd, &state);
  return 0;
}

int HttpLoop::State::OnTimer(CURLM*, long millis, void* self) {
  static_cast<State*>(self)->curl_due = millis < 0 ? kForever : SteadyMicros() + millis * 1000;
  return 0;
}

void HttpLoop::State::KickCurl() {
  if (curl_due > SteadyMicros()) return;
  curl_due = kForever;  // curl may set it again meanwhile
  int running = 0;
  curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

// ---- Timers ----------------------------------------------------------------------------------------

HttpLoop::Id HttpLoop::State::After(int64_t micros, Callback<void()> work) {
  const Id id = ++last_id;
  const int64_t time = SteadyMicros() + micros;
  timers.emplace(std::pair(time, id), std::move(work));
  timer_times.emplace(id, time);
  return id;
}

void HttpLoop::State::CancelTimer(Id id) {
  if (const auto time = timer_times.extract(id)) timers.erase({time.mapped(), id});
}

void HttpLoop::State::RunTimers() {
  const int64_t now = SteadyMicros();
  while (!timers.empty() && timers.begin()->first.first <= now) {
    auto timer = timers.extract(timers.begin());
    timer_times.erase(timer.key().second);
    timer.mapped()();
  }
}

// Looks after `micros` whether something has come meanwhile: a piece costs no timer of its own.
void HttpLoop::State::WatchIdle(Id id, int64_t micros) {
  transfers.at(id)->idle_timer = After(micros, [this, id] {
    const Duration timeout = transfers.at(id)->request.idle_timeout;
    const int64_t idle_since = transfers.at(id)->last_byte;
    const int64_t left = idle_since + timeout.count() * 1000 - SteadyMicros();
    if (left > 0) return WatchIdle(id, left);
    const auto ended = Remove(id);
    ended->done(DeadlineExceeded("nothing came for " + std::to_string(timeout.count()) + " ms"));
  });
}

// ---- Ends of calls ---------------------------------------------------------------------------------

std::unique_ptr<HttpTransfer> HttpLoop::State::Remove(Id id) {
  auto node = transfers.extract(id);
  if (!node) return nullptr;
  CancelTimer(node.mapped()->idle_timer);
  curl_multi_remove_handle(multi, node.mapped()->easy);
  return std::move(node.mapped());
}

void HttpLoop::State::TakeFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    void* id = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &id);
    if (const auto transfer = Remove(reinterpret_cast<Id>(id))) transfer->Finish(code);
  }
}

void HttpLoop::State::DropAll() {
  for (const auto& [id, transfer] : transfers) curl_multi_remove_handle(multi, transfer->easy);
  const auto dropped = std::exchange(transfers, {});
  const auto timers_dropped = std::exchange(timers, {});
  const auto watches_dropped = std::exchange(watches, {});
}

}  // namespace marathon::inline MARATHON_ABI::detail
