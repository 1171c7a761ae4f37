// WalCheckpointer: keeps the write-ahead log short without keeping commits waiting.
//
// A checkpoint copies pages from the log into the database file. Done by the committing thread it stops
// everybody for tens of milliseconds, so it is done beside it, by a second connection, on the runtime's
// blocking lane. Commits go on meanwhile; the few pages they add are then copied by the leader, so that
// the log is copied to its end and SQLite starts it anew.
//
// All calls by the leader of the group commit, but for the destructor.
#pragma once

#include <memory>
#include <string>

#include "connection.h"
#include "marathon/config.h"
#include "marathon/runtime.h"

namespace marathon::inline MARATHON_ABI::detail {

class WalCheckpointer {
 public:
  WalCheckpointer(Runtime* runtime, SqliteConnection* leader, std::string path, bool full_sync);
  // Waits for a checkpoint in progress.
  ~WalCheckpointer();

  // Between transactions: does, or has done, what there is to do.
  void OnIdle();

 private:
  struct Helper;

  Runtime* const runtime_;
  SqliteConnection* const leader_;
  int log_pages_ = 0;  // in the log, as of the last commit
  std::shared_ptr<Helper> helper_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
