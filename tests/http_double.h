// A web server of a test's own, on a free port of the loopback, that answers as the test says.
//
// Its handler is called on threads of its own, one request at a time. Everything else: one thread at a time.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace marathon::tests {

struct DoubleRequest {
  std::string method, path, body;
  std::map<std::string, std::string> headers;  // names in lower case
};

// Takes a request off the front of what a connection has sent. False: it is not all there yet.
inline bool TakeRequest(std::string* text, DoubleRequest* request) {
  const size_t end = text->find("\r\n\r\n");
  if (end == text->npos) return false;
  *request = DoubleRequest();
  size_t at = text->find("\r\n");
  const std::string line = text->substr(0, at);
  request->method = line.substr(0, line.find(' '));
  request->path = line.substr(line.find(' ') + 1, line.rfind(' ') - line.find(' ') - 1);
  while (at < end) {
    const size_t next = text->find("\r\n", at + 2);
    std::string header = text->substr(at + 2, next - at - 2);
    const size_t colon = header.find(':');
    std::string name = header.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request->headers[name] = header.substr(std::min(header.size(), colon + 2));
    at = next;
  }
  const size_t size = std::strtoul(request->headers["content-length"].c_str(), nullptr, 10);
  if (text->size() < end + 4 + size) return false;
  request->body = text->substr(end + 4, size);
  text->erase(0, end + 4 + size);
  return true;
}

struct DoubleReply {
  int status = 200;
  std::string body = {};
  std::map<std::string, std::string> headers = {};
  bool silent = false;  // none at all: the connection stays open until the server goes
};

class HttpDouble {
 public:
  using Handler = std::function<DoubleReply(const DoubleRequest&)>;

  explicit HttpDouble(Handler handler) : handler_(std::move(handler)) {
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
  ~HttpDouble() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : connections_) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    for (const int fd : connections_) close(fd);
    close(listener_);
  }
  HttpDouble(const HttpDouble&) = delete;
  HttpDouble& operator=(const HttpDouble&) = delete;

  // Waits until its callers have closed so many connections. False: they do not, within `patience`.
  bool WaitForClosed(int count, std::chrono::seconds patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return closed_ >= count; });
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  void Accept() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      const std::lock_guard lock(mutex_);
      connections_.push_back(fd);
      threads_.emplace_back([this, fd] {
        Serve(fd);
        const std::lock_guard ended(mutex_);
        ++closed_;
        changed_.notify_all();
      });
    }
  }

  void Serve(int fd) {
    std::string text;
    DoubleRequest request;
    while (Read(fd, &text, &request)) {
      DoubleReply reply;
      {
        const std::lock_guard lock(handling_);
        reply = handler_(request);
      }
      if (reply.silent) continue;
      std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " Said\r\n";
      for (const auto& [name, value] : reply.headers) out += name + ": " + value + "\r\n";
      out += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n" + reply.body;
      if (send(fd, out.data(), out.size(), MSG_NOSIGNAL) < 0) return;
    }
  }

  // The next request of a connection. False: there is none.
  static bool Read(int fd, std::string* text, DoubleRequest* request) {
    while (!TakeRequest(text, request)) {
      char bytes[8192];
      const ssize_t count = recv(fd, bytes, sizeof bytes, 0);
      if (count <= 0) return false;
      text->append(bytes, static_cast<size_t>(count));
    }
    return true;
  }

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::mutex handling_;
  std::mutex mutex_;  // guards:
  std::condition_variable changed_;
  int closed_ = 0;
  std::vector<int> connections_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace marathon::tests
