// SqliteLimitTable: the limits of one namespace, in rows.
//
// One thread at a time; errors are the connection's to remember, as in tables.h.
#pragma once

#include <cstdint>
#include <string>

#include "connection.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/status.h"
#include "marathon/store/limit_rules.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class SqliteLimitTable {
 public:
  SqliteLimitTable(SqliteConnection& db, int64_t ns) : db_(db), ns_(ns) {}

  // REQUIRES: CheckAcquire(request) and CheckSettle(request) are OK.
  StatusOr<Permit> Acquire(const AcquireLimit& request, Time now);
  void Settle(const SettleLimit& request, Time now);
  void Clear(const std::string& key);
  // Forgets up to `limit` of those that say nothing any more.
  void Sweep(int limit, Time now);

 private:
  struct Limit {
    int64_t id = 0;  // 0: it has no row
    LimitState state;
  };
  Limit Find(const std::string& key, Time now);
  // Only what is not as in `before` is written.
  void Keep(const std::string& key, const Limit& before, const LimitState& state, Time now);
  void Erase(int64_t id);

  SqliteConnection& db_;
  const int64_t ns_;
  SqliteStatement find_{db_, "SELECT id, at, paused_until, kept_until FROM limits WHERE ns = ?1 AND key = ?2"};
  SqliteStatement find_units_{
      db_,
      "SELECT unit, own_size, own_span, own_full, told_size, told_span, told_full FROM limit_units "
      "WHERE limit_id = ?1 ORDER BY unit"};
  SqliteStatement insert_{
      db_, "INSERT INTO limits (ns, key, at, paused_until, kept_until) VALUES (?1, ?2, ?3, ?4, ?5)"};
  SqliteStatement update_{db_, "UPDATE limits SET at = ?2, paused_until = ?3, kept_until = ?4 WHERE id = ?1"};
  SqliteStatement set_unit_{
      db_, "INSERT OR REPLACE INTO limit_units VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
  SqliteStatement overdue_{
      db_, "SELECT id FROM limits WHERE ns = ?1 AND kept_until <= ?2 ORDER BY kept_until LIMIT ?3"};
  SqliteStatement erase_{db_, "DELETE FROM limits WHERE id = ?1"};
  SqliteStatement erase_units_{db_, "DELETE FROM limit_units WHERE limit_id = ?1"};
};

}  // namespace marathon::inline MARATHON_ABI::detail
