// Backend: what a URL scheme stands for. A registry holds one for each scheme it was told of;
// Engine::Open parses the URL and asks the backend of its scheme for the ports.
//
// Values; no thread rule. Backend::open may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

class BlobStore;
class Limiter;
class Runtime;
class StateStore;
class StreamLog;
class TaskQueue;
class Transactions;

// scheme:path?key=value&…  or  scheme://user:password@host:port/path?key=value&…
// Everything is percent-decoded, so `sqlite:100%25.db` is the file "100%.db".
struct BackendUrl {
  std::string scheme;  // in lower case
  std::string user, password;
  std::string host;  // with its port, "localhost:6379"; empty: none
  std::string path;  // after a host, without its slash: "0" in redis://localhost/0
  std::vector<std::pair<std::string, std::string>> parameters;

  // The value of a parameter; none if the URL does not have it.
  std::optional<std::string_view> Find(std::string_view key) const;
  // Sets `value` to a parameter that is a number, or a number of milliseconds; leaves it if the URL does not have it.
  // kInvalidArgument: it is not one from `least` to `most`.
  Status ReadNumber(std::string_view key, int64_t least, int64_t most, int64_t* value) const;
  Status ReadMillis(std::string_view key, Duration least, Duration most, Duration* value) const;
  // kInvalidArgument, naming those there are, when the URL has a parameter that is not in `known`.
  Status CheckParameters(std::initializer_list<std::string_view> known) const;
};

// kInvalidArgument says what is wrong, and never shows a user or password.
StatusOr<BackendUrl> ParseBackendUrl(std::string_view text);

// The URL for messages: without user and password.
std::string ToString(const BackendUrl& url);

// The store and the queue that belong together: of one domain, or joined (store/open_ports.h). Several engines
// may share them. A backend that is a queue only leaves `store` empty: it is named by another's queue=URL.
// What stands beside the runs may be missing: whoever uses it then, gets kUnimplemented.
struct Ports {
  std::shared_ptr<StateStore> store;
  std::shared_ptr<TaskQueue> queue;
  std::shared_ptr<BlobStore> blobs = {};
  std::shared_ptr<StreamLog> streams = {};
  std::shared_ptr<Limiter> limiter = {};
  std::shared_ptr<Transactions> transactions = {};  // those of `store`, if it has any
};

struct Backend {
  std::string scheme;
  // `runtime` outlives the ports.
  std::function<StatusOr<Ports>(const BackendUrl& url, Runtime& runtime)> open;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/backend-inl.h"
#endif
