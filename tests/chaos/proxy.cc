#include "proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "shared.h"

namespace marathon::chaos {
namespace {

constexpr size_t kBufferMax = 256 << 10;  // beyond, the sender waits
constexpr int64_t kIdleCutMicros = 500'000;

int ConnectTo(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) return -1;
  std::copy(path.begin(), path.end(), name.sun_path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

bool WouldBlock() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

Proxy::Proxy(std::string target_socket, uint64_t seed)
    : target_(std::move(target_socket)), random_(seed) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&name), size) != 0 ||
      listen(listener_, 128) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&name), &size) != 0) {
    std::perror("no port to listen on");
    std::abort();
  }
  port_ = ntohs(name.sin_port);
}

Proxy::~Proxy() {
  for (Link& link : links_) Close(link, false);
  close(listener_);
}

void Proxy::CutOne() {
  std::vector<Link*> whole;
  for (Link& link : links_) {
    if (!link.cutting) whole.push_back(&link);
  }
  if (whole.empty()) return;
  Link& link = *whole[random_.Below(whole.size())];
  Direction& direction = random_.Below(2) == 0 ? link.up : link.down;
  link.cutting = true;
  link.cut_deadline = NowMicros() + kIdleCutMicros;
  // Often within the next message, sometimes several later.
  direction.cut_after = random_.Between(0, random_.Below(2) == 0 ? 300 : 10'000);
}

void Proxy::Prepare(std::vector<pollfd>& fds) {
  listener_fd_ = fds.size();
  fds.push_back({listener_, POLLIN, 0});
  for (Link& link : links_) {
    const auto events = [](const Direction& in, const Direction& out) {
      const int reads = !in.ended && in.bytes.size() < kBufferMax ? POLLIN : 0;
      return static_cast<short>(reads | (out.bytes.empty() ? 0 : POLLOUT));
    };
    link.first_fd = fds.size();
    fds.push_back({link.client, events(link.up, link.down), 0});
    fds.push_back({link.server, events(link.down, link.up), 0});
  }
}

void Proxy::Work(const std::vector<pollfd>& fds) {
  for (Link& link : links_) {
    const short client = fds[link.first_fd].revents, server = fds[link.first_fd + 1].revents;
    Move(link, link.up, client);
    Move(link, link.down, server);
    const bool done =
        (link.up.ended && link.up.bytes.empty()) || (link.down.ended && link.down.bytes.empty());
    if (!link.closed && done) Close(link, false);
    if (!link.closed && link.cutting && NowMicros() >= link.cut_deadline) {
      ++cuts_;
      Close(link, true);
    }
  }
  std::erase_if(links_, [](const Link& link) { return link.closed; });
  if (fds[listener_fd_].revents != 0) Accept();  // last: a new link was not polled
}

void Proxy::Accept() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return;
    const int server = ConnectTo(target_);
    if (server < 0) {  // it is dead, or not there yet
      close(client);
      continue;
    }
    const int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Link link;
    link.client = client;
    link.server = server;
    link.up.from = link.down.to = client;
    link.up.to = link.down.from = server;
    links_.push_back(std::move(link));
  }
}

void Proxy::Move(Link& link, Direction& direction, short events) {
  if (link.closed) return;
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && !direction.ended) {
    char buffer[65536];
    const ssize_t count = recv(direction.from, buffer, sizeof buffer, 0);
    if (count > 0) direction.bytes.append(buffer, static_cast<size_t>(count));
    if (count == 0 || (count < 0 && !WouldBlock())) direction.ended = true;
  }
  if (direction.bytes.empty()) return;
  const bool cut = direction.cut_after != kNoCut &&
                   direction.cut_after <= static_cast<int64_t>(direction.bytes.size());
  const size_t size = cut ? static_cast<size_t>(direction.cut_after) : direction.bytes.size();
  const ssize_t count = send(direction.to, direction.bytes.data(), size, MSG_NOSIGNAL);
  if (count < 0 && !WouldBlock()) return Close(link, false);
  const size_t sent = count > 0 ? static_cast<size_t>(count) : 0;
  direction.bytes.erase(0, sent);
  if (direction.cut_after != kNoCut) direction.cut_after -= static_cast<int64_t>(sent);
  if (direction.cut_after != 0) return;
  ++cuts_;
  Close(link, random_.Below(2) == 0);
}

// `reset`: what the other end has not read yet is lost, too.
void Proxy::Close(Link& link, bool reset) {
  if (link.closed) return;
  link.closed = true;
  const linger now{1, 0};
  if (reset) setsockopt(link.client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(link.client);
  close(link.server);
}

}  // namespace marathon::chaos
