// The floor of agents that stream: bare libcurl, one thread, as many requests at a time, and what comes is counted.
#include "floor_http.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bench.h"

namespace bench {

struct HttpFloor::State {
  State(const std::string& its_url, std::string its_body, int streams)
      : body(std::move(its_body)), multi(curl_multi_init()), poll(epoll_create1(EPOLL_CLOEXEC)) {
    headers = curl_slist_append(headers, "Content-Type: application/json");
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(streams));
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, OnSocket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, OnTimer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
    for (int i = 0; i < streams; ++i) {
      CURL* easy = easies.emplace_back(curl_easy_init());
      curl_easy_setopt(easy, CURLOPT_URL, its_url.c_str());
      curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.c_str());
      curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBody);
      curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
      curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    }
  }
  ~State() {
    for (CURL* easy : easies) curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    close(poll);
  }

  static size_t OnBody(char*, size_t size, size_t count, void* self) {
    static_cast<State*>(self)->bytes += static_cast<int64_t>(size * count);
    return size * count;
  }
  static int OnSocket(CURL*, curl_socket_t fd, int what, void* self, void* known) {
    State& state = *static_cast<State*>(self);
    epoll_event event{};
    event.data.fd = fd;
    if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
    const bool gone = what == CURL_POLL_REMOVE;
    epoll_ctl(state.poll, gone ? EPOLL_CTL_DEL : known != nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(state.multi, fd, gone ? nullptr : &state);
    return 0;
  }
  static int OnTimer(CURLM*, long millis, void* self) {
    static_cast<State*>(self)->timeout = static_cast<int>(millis);
    return 0;
  }

  void Act(curl_socket_t fd, int events) {
    int bits = 0;
    if ((events & EPOLLIN) != 0) bits |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0) bits |= CURL_CSELECT_OUT;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) bits |= CURL_CSELECT_ERR;
    curl_multi_socket_action(multi, fd, bits, &running);
  }

  const std::string body;
  CURLM* const multi;
  const int poll;
  curl_slist* headers = nullptr;
  std::vector<CURL*> easies;
  int timeout = -1;  // ms
  int running = 0;
  int64_t bytes = 0;
};

HttpFloor::HttpFloor(const std::string& url, std::string body, int streams)
    : state_(std::make_unique<State>(url, std::move(body), streams)) {}
HttpFloor::~HttpFloor() = default;

int64_t HttpFloor::Stream() {
  State& state = *state_;
  state.bytes = 0;
  for (CURL* easy : state.easies) curl_multi_add_handle(state.multi, easy);
  curl_multi_socket_action(state.multi, CURL_SOCKET_TIMEOUT, 0, &state.running);
  while (state.running > 0) {
    epoll_event events[256];
    const int count = epoll_wait(state.poll, events, 256, state.timeout);
    for (int i = 0; i < count; ++i) state.Act(events[i].data.fd, static_cast<int>(events[i].events));
    if (count == 0) {
      state.timeout = -1;  // curl may set it again meanwhile
      curl_multi_socket_action(state.multi, CURL_SOCKET_TIMEOUT, 0, &state.running);
    }
  }
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(state.multi, &left)) {
    if (message->data.result != CURLE_OK) Die(curl_easy_strerror(message->data.result));
  }
  for (CURL* easy : state.easies) curl_multi_remove_handle(state.multi, easy);
  return state.bytes;
}

}  // namespace bench
