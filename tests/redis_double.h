// A Redis server of a test's own, on a free port of the loopback, that answers as the test says: what a real one says seldom.
//
// Its handler is called on threads of its own, one command at a time. Everything else is safe from any thread.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../src/adapters/redis/script.h"

namespace marathon::tests {

using RedisWords = std::vector<std::string>;

// ---- Replies as they are sent

inline std::string RedisError(const std::string& text) { return "-" + text + "\r\n"; }
inline std::string RedisBulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}
inline std::string RedisArray(const std::vector<std::string>& replies) {
  std::string all = "*" + std::to_string(replies.size()) + "\r\n";
  for (const std::string& reply : replies) all += reply;
  return all;
}
inline const std::string kRedisNil = "$-1\r\n", kRedisOk = "+OK\r\n";

inline bool Has(const RedisWords& command, const std::string& word) {
  return std::find(command.begin(), command.end(), word) != command.end();
}
inline bool IsStep(const RedisWords& command) { return command[0] == "EVALSHA" || command[0] == "EVAL"; }

// What a healthy server says that is empty, of `partitions` and of no cluster. `ahead`: of this machine's clock.
struct HealthyRedis {
  int partitions = 1;
  std::chrono::microseconds ahead{0};
  std::string slots = RedisError("ERR This instance has cluster support disabled");

  int64_t Now() const {
    const auto now = std::chrono::system_clock::now().time_since_epoch() + ahead;
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  }
  // A step that was done, with the replies to its reads.
  std::string Done(const std::vector<std::string>& replies) const {
    return RedisArray({":0\r\n", RedisBulk(std::to_string(Now())), RedisArray(replies)});
  }
  std::string Answer(const RedisWords& command) const {
    const std::string& name = command[0];
    if (name == "PING") return "+PONG\r\n";
    if (name == "SCRIPT") return RedisBulk(std::string(40, 'a'));
    if (name == "INFO") return RedisBulk("\r\nredis_version:7.0.0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n");
    if (name == "CONFIG") return RedisArray({RedisBulk("appendfsync"), RedisBulk("always")});
    if (name == "CLUSTER") return slots;
    if (name == "SUBSCRIBE" || name == "UNSUBSCRIBE") return Pushes(command);
    if (!IsStep(command)) return kRedisOk;
    if (Has(command, "probe")) {
      const std::string layout = RedisArray({RedisBulk("1"), RedisBulk(std::to_string(partitions))});
      return Done({kRedisNil, ":1\r\n", ":1\r\n", ":1\r\n", layout});
    }
    static const std::string digest = detail::RedisScriptDigest(detail::kRedisStepScript);
    if (command[1] != digest && command[1] != detail::kRedisStepScript) {  // one for a shape, which reads nothing
      return name == "EVAL" ? Done({}) : RedisError("NOSCRIPT No matching script. Please use EVAL.");
    }
    const size_t keys = std::strtoul(command[2].c_str(), nullptr, 10);
    const std::string& plan = command[4 + keys];  // names, checks, reads: of three bytes each
    size_t reads = 0;
    for (size_t i = 6; i < 9; ++i) reads = reads << 8 | static_cast<unsigned char>(plan[i]);
    return Done(std::vector<std::string>(reads, kRedisNil));
  }

 private:
  static std::string Pushes(const RedisWords& command) {
    std::string kind = command[0], all;
    std::transform(kind.begin(), kind.end(), kind.begin(), [](char c) { return static_cast<char>(c + ('a' - 'A')); });
    for (size_t i = 1; i < command.size(); ++i) all += RedisArray({RedisBulk(kind), RedisBulk(command[i]), ":1\r\n"});
    return all;
  }
};

// Takes a command off the front of what a connection has sent. False: it is not all there yet.
inline bool TakeRedisCommand(std::string* text, RedisWords* command) {
  command->clear();
  size_t at = text->find("\r\n");
  if (at == text->npos) return false;
  const size_t count = std::strtoul(text->c_str() + 1, nullptr, 10);
  for (at += 2; command->size() < count;) {
    const size_t end = text->find("\r\n", at);
    if (end == text->npos) return false;
    const size_t size = std::strtoul(text->c_str() + at + 1, nullptr, 10);
    if (text->size() < end + 2 + size + 2) return false;
    command->push_back(text->substr(end + 2, size));
    at = end + 2 + size + 2;
  }
  text->erase(0, at);
  return true;
}

class RedisDouble {
 public:
  // What to send in answer to a command; empty: nothing. For no command at all: as soon as somebody has connected.
  using Handler = std::function<std::string(const RedisWords&)>;
  // Ends the connection, after what is in front of it.
  static constexpr std::string_view kHangUp = "HANG UP";

  explicit RedisDouble(Handler handler) : handler_(std::move(handler)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 64), 0);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~RedisDouble() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    HangUp();
    for (std::thread& thread : threads_) thread.join();
    for (const int fd : connections_) close(fd);
    close(listener_);
  }
  RedisDouble(const RedisDouble&) = delete;
  RedisDouble& operator=(const RedisDouble&) = delete;

  std::string port() const { return std::to_string(port_); }
  // How many connections have been ended by who made them.
  int left() const { return left_; }
  std::string place() const { return "127.0.0.1:" + port(); }
  // Ends all connections.
  void HangUp() {
    const std::lock_guard lock(mutex_);
    for (const int fd : connections_) shutdown(fd, SHUT_RDWR);
  }
  // Changes what the handler sees.
  template <class Change>
  void With(Change change) {
    const std::lock_guard lock(handling_);
    change();
  }

 private:
  void Accept() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      const std::lock_guard lock(mutex_);
      connections_.push_back(fd);
      threads_.emplace_back([this, fd] { Serve(fd); });
    }
  }

  void Serve(int fd) {
    std::string text;
    RedisWords command;
    while (Answer(fd, command)) {
      while (!TakeRedisCommand(&text, &command)) {
        char bytes[8192];
        const ssize_t count = recv(fd, bytes, sizeof bytes, 0);
        if (count <= 0) {
          ++left_;
          return;
        }
        text.append(bytes, static_cast<size_t>(count));
      }
    }
    shutdown(fd, SHUT_RDWR);
  }

  // False: the connection ends.
  bool Answer(int fd, const RedisWords& command) {
    std::string out;
    {
      const std::lock_guard lock(handling_);
      out = handler_(command);
    }
    const bool ends = out.ends_with(kHangUp);
    if (ends) out.resize(out.size() - kHangUp.size());
    return send(fd, out.data(), out.size(), MSG_NOSIGNAL) >= 0 && !ends;
  }

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> left_ = 0;
  std::mutex handling_;
  std::mutex mutex_;  // guards:
  std::vector<int> connections_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace marathon::tests
