// Redis as state store and task queue: shared by any number of processes and machines.
//
//   registry.Use(marathon::RedisBackend());
//   auto engine = marathon::Engine::Open("redis://localhost:6379/0", registry);
//
// The URL is one of
//   redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]    port 6379, database 0
//   rediss://…                                       the same over TLS (RedisTlsBackend)
//   redis:/PATH/OF/SOCKET                            a Unix socket
// with any of these parameters (docs/redis.md says more, also on what Redis itself must be set to):
//   namespace=NAME        runs of one namespace know nothing of another's; "default"
//   ca=FILE               rediss: certificates to trust, PEM; the system's
//   cert=FILE, key=FILE   rediss: a certificate to show to the server and its key, PEM; none
//   database=N            with a Unix socket
//   connect_timeout=MS    5000
//   reply_timeout=MS      a server that leaves a command unanswered so long counts as gone; 10000
//   resend=MS             how long work that was published waits to be taken before it is published
//                         again, at first; 60000
//   closed_keep=MS        how long a closed run is kept; a week
//   closed_bytes=N        closed runs are kept up to about so many bytes, the newest; 0, no limit
//   blob_keep=MS          how long a blob is kept that nobody puts or reads; a week
//   stream_keep=MS        how long a stream is kept that nobody writes to; a day
// Link marathon::redis. Needs Redis 6.2 or newer, which must not evict keys.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "marathon/backend.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/log_sink.h"
#include "marathon/state_store.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// What a URL does not say.
struct RedisOptions {
  Duration connect_timeout{5'000};
  Duration reply_timeout{10'000};
  // How long work that was published waits to be taken before it is published again; each further time
  // twice as long. 1 ms to an hour; the same for all processes.
  Duration resend = limits::kResendFirst;
  // Closed runs are kept so long (at least a second), and up to about so many bytes, if that is not 0: beyond, the oldest
  // are forgotten, each partition by itself. The same for all processes; what closed while it was 0 is not counted.
  Duration closed_keep = limits::kRetention;
  int64_t closed_bytes = 0;
  // How long blobs and streams are kept that nobody uses, by the server's clock.
  Duration blob_keep = limits::kBlobKeep;
  Duration stream_keep = limits::kStreamKeep;
  std::string ca_file;
  std::string cert_file, key_file;
  // Leases and timers go by the server's clock. False: by the runtime's, which all processes that share
  // the server must then share, too; for tests that turn the clock.
  bool server_clock = true;
  // Told of settings of the server that can lose what was written; null: nobody.
  std::shared_ptr<LogSink> log = NewStderrLogSink();
};

MARATHON_EXPORT Backend RedisBackend(RedisOptions defaults = {});
MARATHON_EXPORT Backend RedisTlsBackend(RedisOptions defaults = {});

// ---- For tests. REQUIRES: `store` came from one of these backends.

// Answers when all that the server has sent so far has been dealt with.
MARATHON_EXPORT void RedisSync(StateStore& store, DoneStatus done);

// How many entries of the due index polls of this store have looked at, ever: what the cost of an idle
// poll is made of.
MARATHON_EXPORT int64_t RedisDueVisited(const StateStore& store);

}  // namespace marathon::inline MARATHON_ABI
