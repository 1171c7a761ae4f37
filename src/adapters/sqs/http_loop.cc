#include "http_loop.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

constexpr size_t kReplyMax = 4u << 20;  // SQS: ten messages of 1 MiB in all
constexpr long kConnectMillis = 5'000;
constexpr long kConnectionsKept = 32;
constexpr int kIdleMillis = 60'000;
constexpr int64_t kDrainMicros = 1'000'000;

int64_t SteadyMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class SystemClock final : public Clock {
 public:
  Time Now() const override {
    return std::chrono::time_point_cast<Time::duration>(std::chrono::system_clock::now());
  }
};

// Whether a call that ended so never reached its server.
bool NeverArrived(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
         code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR ||
         code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT;
}

struct Transfer {
  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }

  CURL* easy = curl_easy_init();
  curl_slist* headers = nullptr;
  HttpRequest request;
  HttpReply reply;
  Callback<void(StatusOr<HttpReply>)> done;
};

size_t OnBody(char* bytes, size_t, size_t size, void* to) {
  std::string& body = static_cast<Transfer*>(to)->reply.body;
  if (body.size() + size > kReplyMax) return 0;
  body.append(bytes, size);
  return size;
}

size_t OnHeader(char* bytes, size_t, size_t size, void* to) {
  const std::string_view line(bytes, size);
  constexpr std::string_view kDate = "date:";
  if (size > kDate.size() && curl_strnequal(bytes, kDate.data(), kDate.size()) != 0) {
    const size_t from = line.find_first_not_of(' ', kDate.size());
    const size_t end = line.find_last_not_of("\r\n ");
    if (from <= end && end != line.npos) {
      static_cast<Transfer*>(to)->reply.date = line.substr(from, end + 1 - from);
    }
  }
  return size;
}

}  // namespace

struct HttpLoop::State {
  State() {
    static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
    static_cast<void>(global);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, kConnectionsKept);
  }
  ~State() {
    DropAll();
    curl_multi_cleanup(multi);
  }

  void Run();
  bool RunPosted();  // false: the end
  bool Drains();     // … but not yet
  void Wait();
  void RunTimers();
  void TakeFinished();
  void DropAll();

  CURLM* multi = nullptr;

  std::mutex mutex;  // guards:
  std::vector<Callback<void()>> posted;
  bool stopped = false;
  std::thread::id thread;

  // The loop's own.
  struct Watch {
    int fd;
    Callback<void()> ready;
  };
  int64_t drain_until = 0;  // once stopped
  Id last_id = 0;
  std::map<Id, std::unique_ptr<Transfer>> transfers;
  std::map<Id, std::pair<int64_t, Callback<void()>>> timers;
  std::map<Id, Watch> watches;
};

const Clock& HttpLoop::WallClock() {
  static const SystemClock clock;
  return clock;
}

HttpLoop::HttpLoop() : state_(std::make_shared<State>()) {}

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
  if (wake) curl_multi_wakeup(state_->multi);
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
  curl_multi_wakeup(state_->multi);
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

HttpLoop::Id HttpLoop::Send(HttpRequest request, Callback<void(StatusOr<HttpReply>)> done) {
  auto transfer = std::make_unique<Transfer>();
  transfer->request = std::move(request);
  transfer->done = std::move(done);
  const HttpRequest& sent = transfer->request;
  CURL* const easy = transfer->easy;
  for (const std::string& header : sent.headers) {
    transfer->headers = curl_slist_append(transfer->headers, header.c_str());
  }
  // Bodies are small, so there is no asking whether they are welcome.
  transfer->headers = curl_slist_append(transfer->headers, "Expect:");
  curl_easy_setopt(easy, CURLOPT_URL, sent.url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, sent.method.c_str());
  if (sent.method == "POST") {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(sent.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, sent.body.data());
  }
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer.get());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer.get());
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectMillis);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(sent.timeout.count()));
  if (sent.direct) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  const Id id = ++state_->last_id;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, reinterpret_cast<void*>(id));
  curl_multi_add_handle(state_->multi, easy);
  state_->transfers.emplace(id, std::move(transfer));
  return id;
}

HttpLoop::Id HttpLoop::After(Duration delay, Callback<void()> work) {
  const Id id = ++state_->last_id;
  state_->timers.emplace(id, std::pair(SteadyMicros() + delay.count() * 1000, std::move(work)));
  return id;
}

HttpLoop::Id HttpLoop::WhenReadable(int fd, Callback<void()> ready) {
  const Id id = ++state_->last_id;
  state_->watches.emplace(id, State::Watch{fd, std::move(ready)});
  return id;
}

void HttpLoop::Cancel(Id id) {
  state_->timers.erase(id);
  state_->watches.erase(id);
  const auto found = state_->transfers.find(id);
  if (found == state_->transfers.end()) return;
  const auto transfer = std::move(found->second);
  state_->transfers.erase(found);
  curl_multi_remove_handle(state_->multi, transfer->easy);
}

void HttpLoop::State::Run() {
  sigset_t all;  // the application's signals are its own, and a closed socket's is nobody's
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (RunPosted() || Drains()) {
    int running = 0;
    curl_multi_perform(multi, &running);
    TakeFinished();
    RunTimers();
    Wait();
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

void HttpLoop::State::Wait() {
  int64_t millis = kIdleMillis;
  for (const auto& [id, timer] : timers) {
    millis = std::clamp<int64_t>((timer.first - SteadyMicros() + 999) / 1000, 0, millis);
  }
  {
    const std::lock_guard lock(mutex);
    if (!posted.empty()) millis = 0;
    if (stopped) millis = std::min<int64_t>(millis, transfers.empty() ? 0 : kDrainMicros / 1000);
  }
  std::vector<curl_waitfd> fds;
  std::vector<Id> ids;
  for (const auto& [id, watch] : watches) {
    fds.push_back({watch.fd, CURL_WAIT_POLLIN, 0});
    ids.push_back(id);
  }
  curl_multi_poll(multi, fds.data(), static_cast<unsigned>(fds.size()), static_cast<int>(millis),
                  nullptr);
  for (size_t i = 0; i < fds.size(); ++i) {
    if (fds[i].revents == 0) continue;
    if (auto node = watches.extract(ids[i])) node.mapped().ready();
  }
}

void HttpLoop::State::RunTimers() {
  const int64_t now = SteadyMicros();
  std::vector<Id> due;
  for (const auto& [id, timer] : timers) {
    if (timer.first <= now) due.push_back(id);
  }
  for (const Id id : due) {
    if (auto node = timers.extract(id)) node.mapped().second();
  }
}

void HttpLoop::State::TakeFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    CURL* const easy = message->easy_handle;
    void* name = nullptr;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &name);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(multi, easy);
    auto node = transfers.extract(reinterpret_cast<Id>(name));
    if (!node) continue;
    Transfer& transfer = *node.mapped();
    transfer.reply.status = static_cast<int>(status);
    if (code == CURLE_OK) {
      transfer.done(std::move(transfer.reply));
    } else {
      const std::string why = curl_easy_strerror(code);
      transfer.done(NeverArrived(code) ? Unavailable(why) : Unknown(why));
    }
  }
}

void HttpLoop::State::DropAll() {
  for (const auto& [id, transfer] : transfers) curl_multi_remove_handle(multi, transfer->easy);
  const auto dropped = std::move(transfers);
  const auto timers_dropped = std::move(timers);
  const auto watches_dropped = std::move(watches);
  transfers.clear();
  timers.clear();
  watches.clear();
}

}  // namespace marathon::inline MARATHON_ABI::detail
