// SqliteStreamTable: the streams of one namespace, in rows.
//
// One thread at a time; errors are the connection's to remember, as in tables.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "connection.h"
#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/store/stream_rules.h"
#include "marathon/stream_log.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class SqliteStreamTable {
 public:
  SqliteStreamTable(SqliteConnection& db, int64_t ns, Duration keep) : db_(db), ns_(ns), keep_(keep) {}

  // REQUIRES: CheckAppend(request) is OK.
  StatusOr<uint64_t> Append(const AppendFrames& request, Time now);
  FramePage Read(const ReadFrames& request);
  void Trim(const std::string& name, uint64_t seq);
  int64_t Sweep(int limit, Time now);

 private:
  struct Stream {
    int64_t id = 0;
    uint64_t first = 0, last = 0;
    Time kept_until{};
  };
  std::optional<Stream> Find(const std::string& name);
  StepMark FindStep(const Stream& stream, const std::string& step);

  SqliteConnection& db_;
  const int64_t ns_;
  const Duration keep_;
  SqliteStatement find_{db_, "SELECT id, first, last, kept_until FROM streams WHERE ns = ?1 AND name = ?2"};
  SqliteStatement insert_{
      db_, "INSERT INTO streams (ns, name, first, last, kept_until) VALUES (?1, ?2, ?3, ?4, ?5)"};
  SqliteStatement update_{db_, "UPDATE streams SET first = ?2, last = ?3, kept_until = ?4 WHERE id = ?1"};
  SqliteStatement find_step_{
      db_, "SELECT fence, written, last FROM stream_steps WHERE stream = ?1 AND step = ?2"};
  SqliteStatement set_step_{db_, "INSERT OR REPLACE INTO stream_steps VALUES (?1, ?2, ?3, ?4, ?5)"};
  SqliteStatement append_{db_, "INSERT INTO frames VALUES (?1, ?2, ?3)"};
  SqliteStatement read_{db_, "SELECT seq, bytes FROM frames WHERE stream = ?1 AND seq > ?2 ORDER BY seq"};
  SqliteStatement replace_{db_, "DELETE FROM frames WHERE stream = ?1 AND seq >= ?2"};
  SqliteStatement trim_{db_, "DELETE FROM frames WHERE stream = ?1 AND seq <= ?2"};
  SqliteStatement overdue_{
      db_, "SELECT id FROM streams WHERE ns = ?1 AND kept_until <= ?2 ORDER BY kept_until LIMIT ?3"};
  SqliteStatement erase_{db_, "DELETE FROM streams WHERE id = ?1"};
  SqliteStatement erase_steps_{db_, "DELETE FROM stream_steps WHERE stream = ?1"};
  SqliteStatement erase_frames_{db_, "DELETE FROM frames WHERE stream = ?1"};
};

}  // namespace marathon::inline MARATHON_ABI::detail
