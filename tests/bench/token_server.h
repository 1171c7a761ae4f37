// TokenServer: a model's server in a process of its own, so that its work is not that of who is measured. Whoever asks
// is streamed so many tokens, one event each, and all who ask at a time are served in turns, as fast as they read.
//
// One thread at a time. Make it before there are other threads: it forks.
#pragma once

#include <sys/types.h>

#include <string>

namespace bench {

class TokenServer {
 public:
  explicit TokenServer(int tokens);
  ~TokenServer();
  TokenServer(const TokenServer&) = delete;
  TokenServer& operator=(const TokenServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // What each answer comes to.
  std::string text() const;

  // Who asks for the model "held" gets half of its answer, and the rest after Release. Waits for so many.
  void WaitForHeld(int count);
  void Release();

 private:
  const int tokens_;
  int port_ = 0;
  int control_ = -1;
  pid_t pid_ = 0;
};

}  // namespace bench
