// CheckSqliteFile: reads everything and believes nothing.
#include <fmt/format.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "connection.h"
#include "database.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/event_codec.h"
#include "marathon/store/row_codec.h"

namespace marathon::inline MARATHON_ABI {
namespace {

using detail::SqliteConnection;
using detail::SqliteCursor;
using detail::SqliteStatement;

// The first row of `sql`, which names what is wrong, or OK if there is none.
Status ExpectNothing(SqliteConnection& db, std::string_view what, const std::string& sql) {
  SqliteStatement statement(db, sql.c_str());
  std::string found;
  {
    SqliteCursor cursor = statement.Query();
    if (cursor.Next()) found = fmt::format("{}: {}", what, cursor.String(0));
  }
  if (Status error = db.TakeError(); !error.ok()) return error;
  return found.empty() ? Status() : DataLoss(found);
}

// Calls `check(cursor)` for each row of `sql` until it is not OK.
template <class Check>
Status ForEach(SqliteConnection& db, const char* sql, Check check) {
  SqliteStatement statement(db, sql);
  Status status;
  {
    SqliteCursor cursor = statement.Query();
    while (status.ok() && cursor.Next()) status = check(cursor);
  }
  if (Status error = db.TakeError(); !error.ok()) return error;
  return status;
}

Status CheckReferences(SqliteConnection& db) {
  for (const char* table : {"names", "log", "inbox", "seen_keys", "activities", "timers"}) {
    Status status = ExpectNothing(
        db, fmt::format("{} has rows of a run that is not there", table),
        fmt::format("SELECT run FROM {} WHERE run NOT IN (SELECT id FROM runs) LIMIT 1", table));
    if (!status.ok()) return status;
  }
  return ExpectNothing(db, "a run that cannot be found by its name",
                       "SELECT id FROM runs EXCEPT SELECT run FROM names WHERE kind = 1 LIMIT 1");
}

// Columns say what rows say.
Status CheckRuns(SqliteConnection& db) {
  return ForEach(
      db,
      "SELECT id, status, blocked, workflow_type, queue, ready, row, "
      "(SELECT count(*) FROM inbox WHERE run = runs.id), "
      "(SELECT count(*) FROM activities WHERE run = runs.id), "
      "coalesce((SELECT max(version) FROM log WHERE run = runs.id), 0) FROM runs",
      [](const SqliteCursor& at) {
        const StatusOr<RunRow> row = DecodeRow<RunRow>(at.Bytes(6));
        if (!row.ok()) return row.status();
        const bool same = at.Int(1) == static_cast<int64_t>(row->status) &&
                          (at.Int(2) != 0) == row->blocked.has_value() &&
                          at.Bytes(3) == row->workflow_type && at.Bytes(4) == row->task_queue &&
                          (at.IsNull(5) ? kNever : FromMicros(at.Int(5))) == row->ready_since &&
                          at.Int(7) == row->inbox_size && at.Int(8) == row->pending_activities &&
                          at.Int(9) == row->version;
        return same ? Status()
                    : DataLoss(fmt::format("run {} does not agree with its columns or counts",
                                           row->key.run_id));
      });
}

Status CheckHistories(SqliteConnection& db) {
  int64_t run = 0;
  EventId last = 0;
  return ForEach(db, "SELECT run, version, commit_id, record FROM log ORDER BY run, version",
                 [&](const SqliteCursor& at) {
                   if (std::exchange(run, at.Int(0)) != at.Int(0)) last = 0;
                   const StatusOr<Record> record = DecodeRecord(at.Bytes(3));
                   if (!record.ok()) return record.status();
                   const bool follows = !record->events.empty() &&
                                        record->events.front().id == last + 1 &&
                                        record->events.back().id == at.Int(1) &&
                                        record->commit_id == static_cast<CommitId>(at.Int(2));
                   last = at.Int(1);
                   return follows ? Status()
                                  : DataLoss(fmt::format("run number {}: the record that ends at "
                                                         "event {} does not follow",
                                                         run, last));
                 });
}

Status CheckActivities(SqliteConnection& db) {
  return ForEach(
      db, "SELECT event, queue, claimable, session, row FROM activities",
      [](const SqliteCursor& at) {
        const StatusOr<ActivityRow> row = DecodeRow<ActivityRow>(at.Bytes(4));
        if (!row.ok()) return row.status();
        const bool same = at.Int(0) == row->key.id && at.Bytes(1) == row->task_queue &&
                          at.IsNull(2) == (row->state != ActivityState::kClaimable) &&
                          at.IsNull(3) == (row->state != ActivityState::kClaimed) &&
                          (at.IsNull(3) || at.Bytes(3) == row->session);
        return same ? Status()
                    : DataLoss(fmt::format("activity {} of run {} does not agree with its columns",
                                           row->key.id, row->key.run.run_id));
      });
}

Status CheckOthers(SqliteConnection& db) {
  Status status = ForEach(db, "SELECT row FROM sessions", [](const SqliteCursor& at) {
    return DecodeRow<SessionRow>(at.Bytes(0)).status();
  });
  if (!status.ok()) return status;
  return ForEach(db, "SELECT body FROM inbox", [](const SqliteCursor& at) {
    return DecodeBody(at.Bytes(0)).status();
  });
}

}  // namespace

Status CheckSqliteFile(const std::string& path) {
  if (access(path.c_str(), F_OK) != 0) return NotFound(fmt::format("there is no file {}", path));
  SqliteOptions options;
  options.check = SqliteOptions::Check::kNone;
  const auto opened = detail::OpenSqliteDatabase(path, options);
  if (!opened.ok()) return opened.status();
  SqliteConnection& db = **opened;
  Status status = ExpectNothing(
      db, "a page or an index", "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'");
  for (const auto& check :
       {CheckReferences, CheckRuns, CheckHistories, CheckActivities, CheckOthers}) {
    if (status.ok()) status = check(db);
  }
  return status;
}

}  // namespace marathon::inline MARATHON_ABI
