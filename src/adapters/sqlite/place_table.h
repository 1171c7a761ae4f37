// SqlitePlaceTable: the places of concurrency keys of one namespace, in rows.
//
// One thread at a time; errors are the connection's to remember, as in tables.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "connection.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/store/place_rules.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class SqlitePlaceTable {
 public:
  SqlitePlaceTable(SqliteConnection& db, int64_t ns) : db_(db), ns_(ns) {}

  // REQUIRES: CheckEnter(request) and CheckLeave(request) are OK.
  EnterReply Enter(const EnterPlace& request, Time now);
  LeaveReply Leave(const LeavePlace& request, Time now);
  // Forgets up to `limit` keys that nobody has used for long enough.
  void Sweep(int limit, Time now);

 private:
  // The entries of one key, as PlaceRules wants them.
  class Entries;

  template <class Request, class Reply>
  Reply Over(const Request& request, Time now, Reply (PlaceRules<Entries>::*call)(const Request&));
  void Erase(int64_t id);

  SqliteConnection& db_;
  const int64_t ns_;
  SqliteStatement find_key_{db_, "SELECT id, max, arrivals, taken FROM marathon_places WHERE ns = ?1 AND key = ?2"};
  SqliteStatement insert_key_{
      db_, "INSERT INTO marathon_places (ns, key, max, arrivals, taken, kept_until) VALUES (?1, ?2, 0, 0, 0, ?3)"};
  SqliteStatement update_key_{
      db_, "UPDATE marathon_places SET max = ?2, arrivals = ?3, taken = ?4, kept_until = ?5 WHERE id = ?1"};
  SqliteStatement erase_key_{db_, "DELETE FROM marathon_places WHERE id = ?1"};
  SqliteStatement overdue_{
      db_, "SELECT id FROM marathon_places WHERE ns = ?1 AND kept_until <= ?2 ORDER BY kept_until LIMIT ?3"};
  SqliteStatement find_{
      db_, "SELECT state, epoch, priority, at FROM marathon_place_holders WHERE place = ?1 AND holder = ?2"};
  SqliteStatement put_{
      db_,
      "INSERT INTO marathon_place_holders (place, holder, state, epoch, priority, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
      "ON CONFLICT DO UPDATE SET state = excluded.state, epoch = excluded.epoch, priority = excluded.priority, "
      "at = excluded.at"};
  SqliteStatement erase_{db_, "DELETE FROM marathon_place_holders WHERE place = ?1 AND holder = ?2"};
  SqliteStatement erase_all_{db_, "DELETE FROM marathon_place_holders WHERE place = ?1"};
  SqliteStatement first_{
      db_,
      "SELECT holder, epoch, priority, at FROM marathon_place_holders WHERE place = ?1 AND state = ?2 "
      "ORDER BY priority, at LIMIT 1"};
  SqliteStatement any_{db_, "SELECT 1 FROM marathon_place_holders WHERE place = ?1 LIMIT 1"};
};

}  // namespace marathon::inline MARATHON_ABI::detail
