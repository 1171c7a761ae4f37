#include "token_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "bench.h"

namespace bench {
namespace {

constexpr char kToken[] = "token ";

std::string Chunk(const std::string& event) {
  char size[32];
  std::snprintf(size, sizeof(size), "%zx\r\n", event.size());
  return size + event + "\r\n";
}

// The process: one thread, and all its connections.
class TokenLoop {
 public:
  TokenLoop(int listener, int control, int tokens) : listener_(listener), control_(control), tokens_(tokens) {}

  [[noreturn]] void Run() {
    for (;;) {
      std::vector<pollfd> fds = {{listener_, POLLIN, 0}, {control_, POLLIN, 0}};
      bool ready = false;
      for (const auto& [fd, peer] : peers_) {
        const bool full = !peer.out.empty();
        fds.push_back({fd, static_cast<short>(POLLIN | (full ? POLLOUT : 0)), 0});
        ready |= !full && MaySend(peer);
      }
      poll(fds.data(), fds.size(), ready ? 0 : -1);
      if (fds[1].revents != 0) Obey();
      if (fds[0].revents != 0) Accept();
      for (size_t i = 2; i < fds.size(); ++i) {
        if ((fds[i].revents & ~POLLOUT) == 0 || Receive(fds[i].fd)) Send(fds[i].fd);
      }
    }
  }

 private:
  struct Peer {
    std::string in;
    std::string out;  // what it would not take yet
    int left = 0;     // tokens
    bool held = false;
  };

  bool MaySend(const Peer& peer) const { return peer.left > 0 && !(peer.held && peer.left == tokens_ / 2); }

  void Obey() {
    char order = 0;
    if (read(control_, &order, 1) != 1) std::_Exit(0);  // nobody is there any more
    for (auto& [fd, peer] : peers_) peer.held = false;
  }
  void Accept() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      peers_[fd];
    }
  }
  // False: it has gone.
  bool Receive(int fd) {
    char bytes[65536];
    const ssize_t count = recv(fd, bytes, sizeof(bytes), 0);
    if (count <= 0) {
      peers_.erase(fd);
      close(fd);
      return false;
    }
    Peer& peer = peers_[fd];
    peer.in.append(bytes, static_cast<size_t>(count));
    const size_t end = peer.in.find("\r\n\r\n");
    const size_t length = peer.in.find("Content-Length: ");
    if (end == std::string::npos || length == std::string::npos) return true;
    if (peer.in.size() < end + 4 + std::strtoul(peer.in.c_str() + length + 16, nullptr, 10)) return true;
    peer.held = peer.in.find("\"model\":\"held\"") != std::string::npos;
    peer.in.clear();
    peer.left = tokens_;
    peer.out = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    return true;
  }
  // The next token, if there is room for it.
  void Send(int fd) {
    Peer& peer = peers_[fd];
    if (peer.out.empty() && !MaySend(peer)) return;
    if (MaySend(peer)) {
      peer.out += token_;
      if (--peer.left == 0) peer.out += end_;
      if (peer.held && peer.left == tokens_ / 2 && write(control_, "h", 1) != 1) std::_Exit(1);
    }
    const ssize_t sent = send(fd, peer.out.data(), peer.out.size(), MSG_NOSIGNAL);
    if (sent > 0) peer.out.erase(0, static_cast<size_t>(sent));
  }

  const int listener_, control_, tokens_;
  const std::string token_ = Chunk(
      R"(data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":")" +
      std::string(kToken) + "\"},\"finish_reason\":null}]}\n\n");
  const std::string end_ =
      Chunk("data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n") +
      Chunk("data: [DONE]\n\n") + "0\r\n\r\n";
  std::map<int, Peer> peers_;
};

}  // namespace

TokenServer::TokenServer(int tokens) : tokens_(tokens) {
  rlimit files{};  // of both processes
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  int ends[2];
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 || listen(listener, 4096) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    Die("no port for the model's server");
  }
  port_ = ntohs(address.sin_port);
  pid_ = fork();
  if (pid_ < 0) Die("fork failed");
  if (pid_ == 0) {
    close(ends[0]);
    TokenLoop(listener, ends[1], tokens).Run();
  }
  close(ends[1]);
  close(listener);
  control_ = ends[0];
}

TokenServer::~TokenServer() {
  close(control_);
  waitpid(pid_, nullptr, 0);
}

std::string TokenServer::text() const {
  std::string text;
  for (int i = 0; i < tokens_; ++i) text += kToken;
  return text;
}

void TokenServer::WaitForHeld(int count) {
  char held = 0;
  for (int i = 0; i < count; ++i) {
    if (read(control_, &held, 1) != 1) Die("the model's server has gone");
  }
}

void TokenServer::Release() {
  if (write(control_, "r", 1) != 1) Die("the model's server has gone");
}

}  // namespace bench
