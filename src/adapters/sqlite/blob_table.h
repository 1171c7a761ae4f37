// SqliteBlobTable: the blobs of one namespace, in rows.
//
// One thread at a time; errors are the connection's to remember, as in tables.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "connection.h"
#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class SqliteBlobTable {
 public:
  SqliteBlobTable(SqliteConnection& db, int64_t ns, Duration keep) : db_(db), ns_(ns), keep_(keep) {}

  void Put(const std::vector<BlobRef>& refs, const std::vector<std::string>& blobs, Time now);
  // Does not compare bytes with names.
  StatusOr<std::vector<std::string>> Get(const std::vector<BlobRef>& refs, Time now);
  int64_t Sweep(int limit, Time now);

 private:
  // Begins a new life, if there is such a blob; its number, or 0.
  int64_t Use(const BlobRef& ref, Time now);

  SqliteConnection& db_;
  const int64_t ns_;
  const Duration keep_;
  SqliteStatement find_{db_, "SELECT id, kept_until FROM blobs WHERE ns = ?1 AND sha256 = ?2"};
  SqliteStatement read_{db_, "SELECT bytes FROM blob_bytes WHERE blob = ?1"};
  SqliteStatement insert_{db_, "INSERT INTO blobs (ns, sha256, kept_until) VALUES (?1, ?2, ?3)"};
  SqliteStatement insert_bytes_{db_, "INSERT INTO blob_bytes VALUES (?1, ?2)"};
  SqliteStatement keep_longer_{db_, "UPDATE blobs SET kept_until = ?2 WHERE id = ?1"};
  SqliteStatement overdue_{
      db_, "SELECT id FROM blobs WHERE ns = ?1 AND kept_until <= ?2 ORDER BY kept_until LIMIT ?3"};
  SqliteStatement erase_{db_, "DELETE FROM blobs WHERE id = ?1"};
  SqliteStatement erase_bytes_{db_, "DELETE FROM blob_bytes WHERE blob = ?1"};
};

}  // namespace marathon::inline MARATHON_ABI::detail
