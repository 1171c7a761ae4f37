// CheckSqliteFile: reads everything and believes nothing.
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <string>
#include <utility>

#include "connection.h"
#include "database.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/event_codec.h"
#include "marathon/store/blob_rules.h"
#include "marathon/store/payload_refs.h"
#include "marathon/store/protocol_rules.h"
#include "marathon/store/row_codec.h"
#include "tables.h"

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

// Run 0 is nobody: it may have the last record of one that is gone.
Status CheckReferences(SqliteConnection& db) {
  for (const char* table : {"names", "log", "inbox", "seen_keys", "activities", "timers", "attributes"}) {
    Status status = ExpectNothing(
        db, fmt::format("{} has rows of a run that is not there", table),
        fmt::format("SELECT run FROM {} WHERE run <> 0 AND run NOT IN (SELECT id FROM runs) LIMIT 1", table));
    if (!status.ok()) return status;
  }
  return ExpectNothing(db, "a run that cannot be found by its name",
                       "SELECT id FROM runs EXCEPT SELECT run FROM names WHERE kind = 1 LIMIT 1");
}

// Columns say what rows say.
Status CheckRuns(SqliteConnection& db) {
  return ForEach(
      db,
      "SELECT id, status, conditions, workflow_type, queue, ready, row, "
      "(SELECT count(*) FROM inbox WHERE run = runs.id), "
      "(SELECT count(*) FROM activities WHERE run = runs.id), "
      "coalesce((SELECT max(version) FROM log WHERE run = runs.id), 0) FROM runs",
      [](const SqliteCursor& at) {
        const StatusOr<RunRow> row = DecodeRow<RunRow>(at.Bytes(6));
        if (!row.ok()) return row.status();
        const bool same = at.Int(1) == static_cast<int64_t>(row->status) &&
                          at.Int(2) == static_cast<int64_t>(detail::Conditions(*row)) &&
                          at.Bytes(3) == row->workflow_type && at.Bytes(4) == detail::TurnQueue(*row) &&
                          (at.IsNull(5) ? kNever : FromMicros(at.Int(5))) == row->ready_since &&
                          at.Int(7) == row->inbox_size && at.Int(8) == row->pending_activities &&
                          at.Int(9) == row->version;
        return same ? Status()
                    : DataLoss(fmt::format("run {} does not agree with its columns or counts",
                                           row->key.run_id));
      });
}

// What the closed runs take that may be forgotten, of each namespace.
Status CheckClosedBytes(SqliteConnection& db) {
  std::map<int64_t, int64_t> wrong;  // by namespace: how far the count is off
  Status status = ForEach(db, "SELECT ns, row, closed FROM runs WHERE closed IS NOT NULL", [&](const SqliteCursor& at) {
    const StatusOr<RunRow> row = DecodeRow<RunRow>(at.Bytes(1));
    if (!row.ok()) return row.status();
    wrong[at.Int(0)] += detail::SqliteTables::ClosedSize(*row);
    const bool same = !IsOpen(*row) && row->pending_activities == 0 && FromMicros(at.Int(2)) == row->close_time;
    return same ? Status() : DataLoss(fmt::format("run {} is not as closed as it is found", row->key.run_id));
  });
  if (!status.ok()) return status;
  status = ForEach(db, "SELECT ns, bytes FROM marathon_closed", [&](const SqliteCursor& at) {
    wrong[at.Int(0)] -= at.Int(1);
    return Status();
  });
  for (const auto& [ns, bytes] : wrong) {
    if (!status.ok() || bytes == 0) continue;
    status = DataLoss(fmt::format("the bytes of closed runs and their count, in namespace number {}, differ by {}", ns, bytes));
  }
  return status;
}

Status CheckAttributes(SqliteConnection& db) {
  SqliteStatement find(db, "SELECT count(*) FROM attributes WHERE ns = ?1 AND name = ?2 AND value = ?3 AND run = ?4");
  return ForEach(db, "SELECT id, ns, row, coalesce(n, 0) FROM runs LEFT JOIN "
                     "(SELECT run, count(*) AS n FROM attributes GROUP BY run) ON run = id",
                 [&](const SqliteCursor& at) {
                   const StatusOr<RunRow> row = DecodeRow<RunRow>(at.Bytes(2));
                   if (!row.ok()) return row.status();
                   const Labels attributes = row->labels ? row->labels->attributes : Labels();
                   bool same = at.Int(3) == static_cast<int64_t>(attributes.size());
                   for (const auto& [name, text] : attributes) {
                     SqliteCursor found = find.Query(at.Int(1), name, text, at.Int(0));
                     same = same && found.Next() && found.Int(0) == 1;
                   }
                   return same ? Status()
                               : DataLoss(fmt::format("run {} is found by other attributes than it has",
                                                      row->key.run_id));
                 });
}

Status CheckHistories(SqliteConnection& db) {
  int64_t run = 0;
  EventId last = 0;
  return ForEach(db, "SELECT run, version, commit_id, record FROM log WHERE run <> 0 ORDER BY run, version",
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
      db, "SELECT event, queue, claimable, session, row, priority FROM activities",
      [](const SqliteCursor& at) {
        const StatusOr<ActivityRow> row = DecodeRow<ActivityRow>(at.Bytes(4));
        if (!row.ok()) return row.status();
        const bool same = at.Int(0) == row->key.id && at.Bytes(1) == row->task_queue &&
                          at.IsNull(2) == !IsClaimable(*row) &&
                          at.IsNull(3) == (row->state != ActivityState::kClaimed) &&
                          (at.IsNull(3) || at.Bytes(3) == row->session) &&
                          at.Int(5) == row->policy.priority;
        return same ? Status()
                    : DataLoss(fmt::format("activity {} of run {} does not agree with its columns",
                                           row->key.id, row->key.run.run_id));
      });
}

Status CheckBlobs(SqliteConnection& db) {
  Status status = ExpectNothing(
      db, "a blob's name and bytes are not both there",
      "SELECT id FROM blobs WHERE id NOT IN (SELECT blob FROM blob_bytes) UNION ALL "
      "SELECT blob FROM blob_bytes WHERE blob NOT IN (SELECT id FROM blobs) LIMIT 1");
  if (!status.ok()) return status;
  return ForEach(db, "SELECT sha256, bytes FROM blobs JOIN blob_bytes ON blobs.id = blob",
                 [](const SqliteCursor& at) {
                   const std::string_view bytes = at.Bytes(1);
                   return detail::CheckBlob({at.String(0), bytes.size()}, bytes);
                 });
}

// The blobs that a run holds are those that its history and its activities name, and each is as it was.
Status CheckHeldBlobs(SqliteConnection& db) {
  Status status = ExpectNothing(
      db, "a blob that runs hold, or who holds it, is not right",
      "SELECT id FROM marathon_blobs WHERE holders <> (SELECT count(*) FROM marathon_blob_holders WHERE blob = id) OR "
      "(holders = 0) <> (kept_until IS NOT NULL) OR id NOT IN (SELECT blob FROM marathon_blob_bytes) UNION ALL "
      "SELECT blob FROM marathon_blob_bytes WHERE blob NOT IN (SELECT id FROM marathon_blobs) UNION ALL "
      "SELECT run FROM marathon_blob_holders WHERE run NOT IN (SELECT id FROM runs) OR "
      "blob NOT IN (SELECT id FROM marathon_blobs) LIMIT 1");
  if (!status.ok()) return status;
  status = ForEach(db, "SELECT sha256, bytes FROM marathon_blobs JOIN marathon_blob_bytes ON id = blob",
                   [](const SqliteCursor& at) {
                     const std::string_view bytes = at.Bytes(1);
                     return detail::CheckBlob({at.String(0), bytes.size()}, bytes);
                   });
  SqliteStatement find(db, "SELECT count(*) FROM marathon_blob_holders JOIN marathon_blobs ON id = blob "
                           "WHERE run = ?1 AND sha256 = ?2");
  const auto check_named = [&](int64_t run, const auto& value) {
    detail::ForEachPayload(value, [&](const Payload& payload) {
      if (!status.ok() || payload.encoding != Encoding::kBlob) return;
      const StatusOr<detail::PayloadRef> ref = detail::RefOf(payload);
      if (!ref.ok()) return void(status = ref.status());
      SqliteCursor found = find.Query(run, ref->blob.sha256);
      if (found.Next() && found.Int(0) == 1) return;
      status = DataLoss(fmt::format("run number {} names the blob {}, and does not hold it", run, ref->blob.sha256));
    });
    return status;
  };
  if (!status.ok()) return status;
  status = ForEach(db, "SELECT run, record FROM log WHERE run IN (SELECT run FROM marathon_blob_holders)",
                   [&](const SqliteCursor& at) {
                     const StatusOr<Record> record = DecodeRecord(at.Bytes(1));
                     for (const Event& event : record.ok() ? record->events : History()) {
                       if (Status named = check_named(at.Int(0), event.body); !named.ok()) return named;
                     }
                     return record.status();
                   });
  if (!status.ok()) return status;
  return ForEach(db, "SELECT run, row FROM activities", [&](const SqliteCursor& at) {
    const StatusOr<ActivityRow> row = DecodeRow<ActivityRow>(at.Bytes(1));
    return row.ok() ? check_named(at.Int(0), row->input) : row.status();
  });
}

Status CheckStreams(SqliteConnection& db) {
  for (const char* table : {"stream_steps", "frames"}) {
    Status status = ExpectNothing(
        db, fmt::format("{} has rows of a stream that is not there", table),
        fmt::format("SELECT stream FROM {} WHERE stream NOT IN (SELECT id FROM streams) LIMIT 1", table));
    if (!status.ok()) return status;
  }
  // Frames that were replaced are missing, but those that came in their place are behind them.
  return ExpectNothing(
      db, "a stream does not have the frames that it says",
      "SELECT id FROM streams LEFT JOIN (SELECT stream, min(seq) AS low, max(seq) AS high "
      "FROM frames GROUP BY stream) ON stream = id WHERE last < first - 1 OR "
      "(last >= first AND (high IS NULL OR high <> last OR low < first)) OR (last < first AND high IS NOT NULL) LIMIT 1");
}

Status CheckLimits(SqliteConnection& db) {
  return ExpectNothing(
      db, "a limit or a bucket of one is not right",
      "SELECT limit_id FROM limit_units WHERE limit_id NOT IN (SELECT id FROM limits) OR "
      "min(own_size, own_span, own_full, told_size, told_span, told_full) < 0 OR "
      "(own_size > 0 AND own_span = 0) OR (told_size > 0 AND told_span = 0) UNION ALL "
      "SELECT id FROM limits WHERE kept_until < at OR paused_until > at LIMIT 1");
}

Status CheckPlaces(SqliteConnection& db) {
  return ExpectNothing(
      db, "the places of a key, or a holder of one, are not right",
      "SELECT place FROM marathon_place_holders WHERE place NOT IN (SELECT id FROM marathon_places) OR "
      "state NOT BETWEEN 1 AND 3 OR (state = 1) <> (epoch > 0) UNION ALL "
      "SELECT id FROM marathon_places WHERE taken <> (SELECT count(*) FROM marathon_place_holders WHERE place = id AND "
      "state <> 3) LIMIT 1");
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
       {CheckReferences, CheckRuns, CheckClosedBytes, CheckAttributes, CheckHistories, CheckActivities, CheckBlobs, CheckHeldBlobs,
        CheckStreams, CheckLimits, CheckPlaces, CheckOthers}) {
    if (status.ok()) status = check(db);
  }
  return status;
}

}  // namespace marathon::inline MARATHON_ABI
