// SQLite as state store and task queue: one file, durable, shared by the processes of one host.
//
//   registry.Use(marathon::SqliteBackend());
//   auto engine = marathon::Engine::Open("sqlite:app.db", registry);
//
// The URL is `sqlite:PATH` with any of these parameters (docs/sqlite.md says more):
//   namespace=NAME           runs of one namespace know nothing of another's; "default"
//   synchronous=full|normal  normal: after a power cut the last commits may be missing
//   check=auto|quick|none    PRAGMA quick_check at open: after an unclean end, always, never
//   busy_timeout=MS          how long to wait for another process's write; 5000
//   poll_interval=MS         how often to look for another process's writes; 20
//   resend=MS                how long work that was published waits to be taken before it is published
//                            again, at first; 60000
//   closed_keep=MS           how long a closed run is kept; a week
//   closed_bytes=N           closed runs are kept up to about so many bytes, the newest; 0, no limit
//   blob_keep=MS             how long a blob is kept that nobody puts or reads; a week
//   stream_keep=MS           how long a stream is kept that nobody writes to; a day
//   transaction_limit=MS     how long a transactional activity may hold the write lock; 2000
// Link marathon::sqlite.
#pragma once

#include <cstdint>
#include <string>

#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// What a URL does not say.
struct SqliteOptions {
  bool full_sync = true;  // synchronous=FULL: a commit survives a power cut
  enum class Check { kAuto, kQuick, kNone } check = Check::kAuto;
  Duration busy_timeout{5'000};
  // The most pages the file may grow to (4 KiB each); 0: as SQLite has it.
  int64_t max_pages = 0;
  // How often another process's writes are looked for, while somebody waits for them.
  Duration poll_interval{20};
  // How long work that was published waits to be taken before it is published again; each further time
  // twice as long. 1 ms to an hour; the same for all processes.
  Duration resend = limits::kResendFirst;
  // Closed runs are kept so long (at least a second), and up to about so many bytes of the file, if that is not 0:
  // beyond, the oldest are forgotten. The same for all processes.
  Duration closed_keep = limits::kRetention;
  int64_t closed_bytes = 0;
  // How long blobs and streams are kept that nobody uses; up to an eighth longer.
  Duration blob_keep = limits::kBlobKeep;
  Duration stream_keep = limits::kStreamKeep;
  // How long a transactional activity (adapters/sqlite_transaction.h) may hold the write lock: one that takes longer
  // fails. Shorter than busy_timeout, or other processes wait in vain.
  Duration transaction_limit{2'000};
  // Makes the tables of such activities, at each open: statements like CREATE TABLE IF NOT EXISTS, all in one transaction.
  std::string user_schema = {};
};

MARATHON_EXPORT Backend SqliteBackend(SqliteOptions defaults = {});

// Reads the whole file at `path`, which nobody is writing to, and says what is wrong with it first: pages,
// rows that cannot be decoded, histories and streams with gaps, blobs that do not match their names, indexes and
// counts that disagree with the rows.
MARATHON_EXPORT Status CheckSqliteFile(const std::string& path);

// How many steps SQLite has made in all to look at what is due: what the cost of an idle poll is made of.
// REQUIRES: `store` is an SQLite store that is at rest.
MARATHON_EXPORT int64_t SqliteDueSteps(const StateStore& store);

}  // namespace marathon::inline MARATHON_ABI
