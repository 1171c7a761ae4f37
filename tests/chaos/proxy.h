// A TCP proxy before a server on a Unix socket, that cuts its connections in the middle of a byte
// stream when it is told to. It has no thread: its owner polls.
//
// One thread at a time.
#pragma once

#include <poll.h>

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "marathon/testing/seeded_random.h"

namespace marathon::chaos {

class Proxy {
 public:
  // Listens on a free port of the loopback interface; aborts if there is none.
  Proxy(std::string target_socket, uint64_t seed);
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  ~Proxy();

  int port() const { return port_; }
  int64_t cuts() const { return cuts_; }

  // One connection is to end after some more bytes in one of its directions, or, if it is idle,
  // soon.
  void CutOne();

  // Adds what is to be polled for, and, called with the same array after the poll, does the work.
  void Prepare(std::vector<pollfd>& fds);
  void Work(const std::vector<pollfd>& fds);

 private:
  static constexpr int64_t kNoCut = -1;
  struct Direction {
    int from = -1, to = -1;
    std::string bytes;           // read and not yet written
    bool ended = false;          // `from` has nothing more
    int64_t cut_after = kNoCut;  // bytes
  };
  struct Link {
    int client = -1, server = -1;
    Direction up, down;
    bool cutting = false;
    int64_t cut_deadline = 0;
    size_t first_fd = 0;  // in the array of the poll under way; 0: not in it
    bool closed = false;
  };

  void Accept();
  void Move(Link& link, Direction& direction, short events);
  void Close(Link& link, bool reset);

  const std::string target_;
  testing::SeededRandom random_;
  int listener_ = -1;
  int port_ = 0;
  size_t listener_fd_ = 0;
  std::list<Link> links_;
  int64_t cuts_ = 0;
};

}  // namespace marathon::chaos
