// The statements of SqliteTables, prepared once.
#pragma once

#include "connection.h"
#include "marathon/config.h"
#include "tables.h"

namespace marathon::inline MARATHON_ABI::detail {

struct SqliteTables::Statements {
  explicit Statements(SqliteConnection& connection) : db(connection) {}

  SqliteConnection& db;
  SqliteStatement data_version{db, "PRAGMA data_version"};

  // ---- Runs
  SqliteStatement find_name{
      db, "SELECT run FROM names WHERE ns = ?1 AND workflow_id = ?2 AND kind = ?3 AND name = ?4"};
  SqliteStatement add_names{
      db,
      "INSERT INTO names VALUES (?1, ?2, 0, '', ?4), (?1, ?2, 1, ?3, ?4) "
      "ON CONFLICT DO UPDATE SET run = excluded.run"};
  SqliteStatement add_names_and_request{
      db,
      "INSERT INTO names VALUES (?1, ?2, 0, '', ?4), (?1, ?2, 1, ?3, ?4), (?1, ?2, 2, ?5, ?4) "
      "ON CONFLICT DO UPDATE SET run = excluded.run"};
  SqliteStatement erase_names{
      db, "DELETE FROM names WHERE ns = ?1 AND workflow_id = ?2 AND run = ?3"};
  SqliteStatement last_run{db, "SELECT max(id) FROM runs"};
  SqliteStatement load_run{db, "SELECT row, due FROM runs WHERE id = ?1"};
  SqliteStatement insert_run{db,
                             "INSERT INTO runs (id, status, conditions, ready, due, closed, row, queue, "
                             "ns, workflow_type) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"};
  SqliteStatement update_run{db,
                             "UPDATE runs SET status = ?2, conditions = ?3, ready = ?4, due = ?5, "
                             "closed = ?6, row = ?7, queue = ?8 WHERE id = ?1"};
  SqliteStatement erase_run{db, "DELETE FROM runs WHERE id = ?1"};
  SqliteStatement count_erased{db, "UPDATE meta SET value = value + 1 WHERE name = 'erased'"};
  SqliteStatement closed_bytes{db, "SELECT bytes FROM marathon_closed WHERE ns = ?1"};
  SqliteStatement add_closed_bytes{
      db, "INSERT INTO marathon_closed VALUES (?1, ?2) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes"};
  SqliteStatement oldest_closed{db,
                                "SELECT id FROM runs INDEXED BY marathon_runs_closed WHERE ns = ?1 AND "
                                "closed IS NOT NULL ORDER BY closed LIMIT ?2"};
  SqliteStatement erased{db, "SELECT value FROM meta WHERE name = 'erased'"};
  // The last row stays, as nobody's, until it is not the last: no other gets its number then.
  SqliteStatement keep_last_log{db,
                                "UPDATE log SET run = 0, version = 0, commit_id = 0, record = '' "
                                "WHERE run = ?1 AND id = (SELECT max(id) FROM log)"};
  SqliteStatement erase_log{db,
                            "DELETE FROM log WHERE run = ?1 OR "
                            "(run = 0 AND id < (SELECT max(id) FROM log))"};
  SqliteStatement erase_activities{db, "DELETE FROM activities WHERE run = ?1"};
  SqliteStatement all_ready_runs{
      db, "SELECT id FROM runs WHERE ns = ?1 AND ready IS NOT NULL ORDER BY ready, id"};
  SqliteStatement ready_runs{db,
                             "SELECT id FROM runs WHERE ns = ?1 AND queue = ?2 AND "
                             "ready IS NOT NULL AND id <= ?3 ORDER BY ready LIMIT ?4"};
  SqliteStatement list_runs{db,
                            "SELECT id, ns, status, conditions, workflow_type, row FROM runs "
                            "WHERE id < ?1 ORDER BY id DESC LIMIT ?2"};
  SqliteStatement list_runs_with{
      db,
      "SELECT runs.id, runs.ns, status, conditions, workflow_type, row FROM attributes JOIN runs ON runs.id = run "
      "WHERE attributes.ns = ?1 AND name = ?2 AND value = ?3 AND run < ?4 ORDER BY run DESC LIMIT ?5"};
  SqliteStatement add_attribute{db, "INSERT OR IGNORE INTO attributes VALUES (?1, ?2, ?3, ?4)"};
  SqliteStatement erase_attribute{
      db, "DELETE FROM attributes WHERE ns = ?1 AND name = ?2 AND value = ?3 AND run = ?4"};
  SqliteStatement set_aside_run{db, "UPDATE runs SET ready = NULL, due = NULL, closed = NULL WHERE id = ?1"};
  SqliteStatement set_aside_activities{
      db, "UPDATE activities SET claimable = NULL, due = NULL WHERE run = ?1"};
  SqliteStatement set_aside_timers{db, "DELETE FROM timers WHERE run = ?1"};

  // ---- Records
  SqliteStatement append_record{
      db, "INSERT INTO log (run, version, commit_id, record) VALUES (?1, ?2, ?3, ?4)"};
  SqliteStatement commit_at{db, "SELECT commit_id FROM log WHERE run = ?1 AND version = ?2"};
  SqliteStatement read_records{
      db, "SELECT record FROM log WHERE run = ?1 AND version > ?2 ORDER BY version"};
  SqliteStatement last_record{
      db, "SELECT record FROM log WHERE run = ?1 ORDER BY version DESC LIMIT 1"};

  SqliteStatement last_log{db, "SELECT max(id) FROM log"};
  SqliteStatement closed_since{db,
                               "SELECT DISTINCT log.run FROM log NOT INDEXED JOIN runs ON runs.id = log.run "
                               "WHERE log.id > ?1 AND runs.status <> ?2 AND runs.ns = ?3"};

  // ---- Blobs that runs hold
  SqliteStatement find_blob{db, "SELECT id FROM marathon_blobs WHERE ns = ?1 AND sha256 = ?2"};
  SqliteStatement insert_blob{db, "INSERT INTO marathon_blobs (ns, sha256, holders) VALUES (?1, ?2, 0)"};
  SqliteStatement insert_blob_bytes{db, "INSERT INTO marathon_blob_bytes VALUES (?1, ?2)"};
  SqliteStatement add_holder{db, "INSERT OR IGNORE INTO marathon_blob_holders VALUES (?1, ?2)"};
  SqliteStatement count_holder{
      db, "UPDATE marathon_blobs SET holders = holders + 1, kept_until = NULL WHERE id = ?1"};
  SqliteStatement release_blobs{
      db,
      "UPDATE marathon_blobs SET holders = holders - 1, kept_until = CASE holders WHEN 1 THEN ?2 END "
      "WHERE id IN (SELECT blob FROM marathon_blob_holders WHERE run = ?1)"};
  SqliteStatement erase_holders{db, "DELETE FROM marathon_blob_holders WHERE run = ?1"};
  SqliteStatement read_blob{
      db,
      "SELECT bytes FROM marathon_blobs JOIN marathon_blob_bytes ON blob = id WHERE ns = ?1 AND sha256 = ?2"};
  SqliteStatement free_blobs{
      db,
      "SELECT id FROM marathon_blobs WHERE ns = ?1 AND kept_until <= ?2 ORDER BY kept_until LIMIT ?3"};
  SqliteStatement erase_blob{db, "DELETE FROM marathon_blobs WHERE id = ?1"};
  SqliteStatement erase_blob_bytes{db, "DELETE FROM marathon_blob_bytes WHERE blob = ?1"};

  // ---- Inbox and dedupe keys
  SqliteStatement append_message{db, "INSERT INTO inbox VALUES (?1, ?2, ?3, ?4)"};
  SqliteStatement read_inbox{
      db, "SELECT seq, key, body FROM inbox WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"};
  SqliteStatement erase_messages{db, "DELETE FROM inbox WHERE run = ?1 AND seq <= ?2"};
  SqliteStatement has_key{db, "SELECT 1 FROM seen_keys WHERE run = ?1 AND key = ?2"};
  SqliteStatement add_key{db,
                          "INSERT OR REPLACE INTO seen_keys VALUES (?1, ?2, 1 + coalesce((SELECT "
                          "max(number) FROM seen_keys WHERE run = ?1), 0), ?3, ?4)"};
  SqliteStatement trim_old_keys{
      db,
      "DELETE FROM seen_keys WHERE run = ?1 AND number < coalesce((SELECT number FROM seen_keys "
      "WHERE run = ?1 AND seen >= ?2 ORDER BY number LIMIT 1), 9223372036854775807)"};
  SqliteStatement trim_many_keys{db,
                                 "DELETE FROM seen_keys WHERE run = ?1 AND number <= (SELECT number "
                                 "FROM seen_keys WHERE run = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2) "
                                 "AND seen < 9223372036854775807"};
  SqliteStatement answer_to{db, "SELECT answer FROM seen_keys WHERE run = ?1 AND key = ?2"};
  SqliteStatement replace_answers{
      db, "UPDATE seen_keys SET answer = ?3, seen = ?4 WHERE run = ?1 AND answer = ?2"};
  SqliteStatement move_keys{db, "UPDATE seen_keys SET run = ?2 WHERE run = ?1"};
  SqliteStatement erase_keys{db, "DELETE FROM seen_keys WHERE run = ?1"};

  // ---- Activities
  SqliteStatement load_activity{db, "SELECT row FROM activities WHERE run = ?1 AND event = ?2"};
  SqliteStatement insert_activity{db,
                                  "INSERT INTO activities (run, event, claimable, session, due, "
                                  "row, ns, queue, priority) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"};
  SqliteStatement update_activity{db,
                                  "UPDATE activities SET claimable = ?3, session = ?4, due = ?5, "
                                  "row = ?6 WHERE run = ?1 AND event = ?2"};
  SqliteStatement erase_activity{db, "DELETE FROM activities WHERE run = ?1 AND event = ?2"};
  SqliteStatement activities_of{
      db, "SELECT event FROM activities WHERE run = ?1 ORDER BY event"};
  SqliteStatement activities_held{
      db, "SELECT run, event FROM activities WHERE ns = ?1 AND session = ?2 ORDER BY run, event"};
  SqliteStatement claimable_activities{db,
                                       "SELECT run, event FROM activities WHERE ns = ?1 AND "
                                       "queue = ?2 AND claimable IS NOT NULL AND run <= ?3 "
                                       "ORDER BY priority, claimable LIMIT ?4"};
  SqliteStatement set_aside_activity{
      db, "UPDATE activities SET claimable = NULL, due = NULL WHERE run = ?1 AND event = ?2"};

  // ---- Timers
  SqliteStatement insert_timer{db,
                               "INSERT INTO timers (run, event, ns, due) VALUES (?1, ?2, ?3, ?4)"};
  SqliteStatement erase_timer{db, "DELETE FROM timers WHERE run = ?1 AND event = ?2"};
  SqliteStatement erase_timers{db, "DELETE FROM timers WHERE run = ?1"};

  // ---- Due
  SqliteStatement due_runs{db,
                           "SELECT due, id, 0 FROM runs WHERE ns = ?1 AND due <= ?2 "
                           "ORDER BY due, id LIMIT ?3"};
  SqliteStatement due_activities{db,
                                 "SELECT due, run, event FROM activities WHERE ns = ?1 AND "
                                 "due <= ?2 ORDER BY due, run, event LIMIT ?3"};
  SqliteStatement due_timers{db,
                             "SELECT due, run, event FROM timers WHERE ns = ?1 AND due <= ?2 "
                             "ORDER BY due, run, event LIMIT ?3"};
  SqliteStatement first_due_run{
      db, "SELECT due FROM runs WHERE ns = ?1 AND due IS NOT NULL ORDER BY due LIMIT 1"};
  SqliteStatement first_due_activity{
      db, "SELECT due FROM activities WHERE ns = ?1 AND due IS NOT NULL ORDER BY due LIMIT 1"};
  SqliteStatement first_due_timer{db, "SELECT due FROM timers WHERE ns = ?1 ORDER BY due LIMIT 1"};

  // ---- Sessions
  SqliteStatement load_session{db, "SELECT row FROM sessions WHERE ns = ?1 AND id = ?2"};
  SqliteStatement store_session{db, "INSERT OR REPLACE INTO sessions VALUES (?1, ?2, ?3, ?4)"};
  SqliteStatement erase_session{db, "DELETE FROM sessions WHERE ns = ?1 AND id = ?2"};
  SqliteStatement all_sessions{db, "SELECT id FROM sessions WHERE ns = ?1 ORDER BY id"};
  SqliteStatement due_sessions{
      db, "SELECT id FROM sessions WHERE ns = ?1 AND due <= ?2 ORDER BY due, id LIMIT ?3"};
  SqliteStatement first_due_session{db, "SELECT min(due) FROM sessions WHERE ns = ?1"};
  SqliteStatement add_canceled{db, "INSERT OR IGNORE INTO canceled VALUES (?1, ?2, ?3, ?4, ?5, 0)"};
  SqliteStatement read_canceled{db,
                                "SELECT workflow_id, run_id, event FROM canceled WHERE ns = ?1 "
                                "AND session = ?2 ORDER BY workflow_id, run_id, event"};
  SqliteStatement mark_told{
      db, "UPDATE canceled SET told = 1 WHERE ns = ?1 AND session = ?2 AND told = 0"};
  SqliteStatement erase_told{db, "DELETE FROM canceled WHERE ns = ?1 AND session = ?2 AND told = 1"};
  SqliteStatement erase_canceled{db, "DELETE FROM canceled WHERE ns = ?1 AND session = ?2"};
};

}  // namespace marathon::inline MARATHON_ABI::detail
