// Where a Redis server is, and how to be let in.
//
// A value; no thread rule.
#pragma once

#include <string>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

struct RedisAddress {
  std::string host, port;  // or
  std::string socket;      // the path of a Unix socket
  bool tls = false;
  std::string ca_file;     // PEM certificates to trust; empty: the system's
  std::string cert_file, key_file;  // PEM, to show to the server; empty: none
  std::string user, password;
  int database = 0;
  Duration connect_timeout{5'000};
  Duration reply_timeout{10'000};  // a server that leaves a command unanswered so long counts as gone

  // For messages: without user and password.
  std::string Name() const { return socket.empty() ? host + ":" + port : socket; }
};

}  // namespace marathon::inline MARATHON_ABI::detail
