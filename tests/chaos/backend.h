// The backends that chaos knows: for each, the servers it needs, its URL, and how a process opens
// it. One more is one more function in backend.cc.
//
// Values; no thread rule.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/backend.h"

namespace marathon::chaos {

// A server on a Unix socket. The supervisor starts it, kills it, and puts a proxy before it.
struct Server {
  std::string name;
  std::vector<std::string> command;
  std::string socket;
  bool is_store = true;  // no: a queue, which forgets what it had when it is killed
};

struct ChaosBackend {
  std::string name;
  std::vector<Server> servers;  // none: its processes open files
  // As workers reach it, the proxy of each server listening on a loopback port.
  std::function<std::string(const std::vector<int>& ports)> url;
  // As the audit reaches it, past the proxies.
  std::string direct_url;
  // Looks at what is stored, when nobody has it open; empty: nothing to look at.
  std::function<Status()> check;

  bool has_servers() const { return !servers.empty(); }
};

// None: there is no such backend. Files go into `folder`.
std::optional<ChaosBackend> FindBackend(std::string_view name, const std::string& folder);

// What every process that opens one of these URLs knows.
std::vector<Backend> KnownSchemes();

}  // namespace marathon::chaos
