// A web server of a test's own, on a free port of the loopback, that sends its answers as the test says: in
// which pieces, with a pause wherever the test wants one, and to which bad end. One thread, thousands of
// connections.
//
// Its handler is called on that thread. Everything else is safe from any.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http_double.h"

namespace marathon::tests {

// How an answer ends: as it should; by a closed connection; by a reset one; not at all.
enum class StreamEnd { kWhole, kCut, kReset, kStall };

struct StreamReply {
  int status = 200;  // 0: no head comes, and nothing else; the connection ends as `end` says
  std::map<std::string, std::string> headers = {{"Content-Type", "text/event-stream"}};
  std::vector<std::string> pieces = {};  // each sent by itself
  StreamEnd end = StreamEnd::kWhole;
  // Waits for OpenGate() behind so many pieces.
  size_t gate = std::numeric_limits<size_t>::max();
};

// A text in pieces of `size` bytes, wherever that cuts it.
inline std::vector<std::string> Pieces(const std::string& text, size_t size) {
  std::vector<std::string> pieces;
  for (size_t at = 0; at < text.size(); at += size) pieces.push_back(text.substr(at, size));
  return pieces;
}

class StreamServer {
 public:
  using Handler = std::function<StreamReply(const DoubleRequest&)>;

  explicit StreamServer(Handler handler) : handler_(std::move(handler)) {
    rlimit files{};  // both ends of all connections are this process's
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 4096), 0);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    bell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thread_ = std::thread([this] { Run(); });
  }
  ~StreamServer() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    Ring();
    thread_.join();
    for (const auto& [fd, connection] : connections_) close(fd);
    close(listener_);
    close(bell_);
  }
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<DoubleRequest> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  size_t connections() {
    const std::lock_guard lock(mutex_);
    return accepted_;
  }

  // Lets the answers go on that wait, and those that come later.
  void OpenGate() {
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
    }
    Ring();
  }
  // So many answers wait at the gate, or hang in the end.
  bool WaitForWaiting(size_t count) {
    return WaitFor([&] { return waiting_ >= count; });
  }
  // So many connections have been closed by the other side.
  bool WaitForClosed(size_t count) {
    return WaitFor([&] { return closed_ >= count; });
  }

 private:
  struct Connection {
    std::string in;
    std::deque<StreamReply> replies;  // the first is under way
    size_t sent = 0;                  // pieces of it
    bool begun = false;
    bool waits = false;
  };

  template <class Predicate>
  bool WaitFor(Predicate predicate) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(120), predicate);
  }
  void Ring() {
    const uint64_t one = 1;
    EXPECT_EQ(write(bell_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }

  void Run() {
    for (;;) {
      std::vector<pollfd> fds = {{listener_, POLLIN, 0}, {bell_, POLLIN, 0}};
      bool busy = false;
      for (const auto& [fd, connection] : connections_) {
        fds.push_back({fd, POLLIN, 0});
        busy |= !connection.replies.empty() && !connection.waits;
      }
      poll(fds.data(), fds.size(), busy ? 0 : -1);
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      if (fds[1].revents != 0) {
        uint64_t rings = 0;
        EXPECT_GT(read(bell_, &rings, sizeof rings), 0);
      }
      if (fds[0].revents != 0) Accept();
      for (size_t i = 2; i < fds.size(); ++i) {
        if (fds[i].revents != 0) Receive(fds[i].fd);
      }
      for (auto next = connections_.begin(); next != connections_.end();) {
        const auto one = next++;
        if (!one->second.replies.empty()) SendOn(one->first, one->second);
      }
      changed_.notify_all();
    }
  }

  void Accept() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      connections_[fd];
      ++accepted_;
    }
  }

  void Receive(int fd) {
    char bytes[65536];
    const ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count <= 0) {
      ++closed_;
      return Drop(fd);
    }
    Connection& connection = connections_[fd];
    connection.in.append(bytes, static_cast<size_t>(count));
    for (DoubleRequest request; TakeRequest(&connection.in, &request);) {
      requests_.push_back(request);
      connection.replies.push_back(handler_(request));
    }
  }

  void Drop(int fd) {
    if (connections_[fd].waits) --waiting_;
    connections_.erase(fd);
    close(fd);
  }

  // One step of the answer that is under way.
  void SendOn(int fd, Connection& connection) {
    StreamReply& reply = connection.replies.front();
    const bool at_end = connection.sent == reply.pieces.size();
    const bool waits = (connection.sent == reply.gate && !open_) ||
                       (at_end && reply.end == StreamEnd::kStall);
    if (!std::exchange(connection.begun, true) && reply.status != 0) SendHead(fd, reply);
    if (waits != connection.waits) waits ? ++waiting_ : --waiting_;
    connection.waits = waits;
    if (waits) return;
    if (!at_end) {
      const std::string& piece = reply.pieces[connection.sent++];
      char size[32];
      snprintf(size, sizeof size, "%zx\r\n", piece.size());
      return Send(fd, size + piece + "\r\n");
    }
    switch (reply.end) {
      case StreamEnd::kStall: return;
      case StreamEnd::kWhole:
        Send(fd, "0\r\n\r\n");
        connection.replies.pop_front();
        connection.sent = 0;
        connection.begun = false;
        return;
      case StreamEnd::kReset: {
        const linger now{1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        [[fallthrough]];
      }
      case StreamEnd::kCut: return Drop(fd);
    }
  }

  void SendHead(int fd, const StreamReply& reply) {
    std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " Said\r\n";
    for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
    Send(fd, head + "Transfer-Encoding: chunked\r\n\r\n");
  }
  static void Send(int fd, const std::string& bytes) {
    // Whoever has gone is noticed when reading.
    static_cast<void>(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }

  const Handler handler_;
  int listener_ = -1;
  int bell_ = -1;
  int port_ = 0;
  std::map<int, Connection> connections_;  // the thread's

  std::mutex mutex_;  // guards:
  std::condition_variable changed_;
  std::vector<DoubleRequest> requests_;
  bool stopped_ = false;
  bool open_ = false;
  size_t waiting_ = 0;
  size_t closed_ = 0;
  size_t accepted_ = 0;

  std::thread thread_;
};

}  // namespace marathon::tests
