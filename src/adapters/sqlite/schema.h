// The tables, as numbered steps: step N brings user_version from N-1 to N. A step that has been released
// is never changed; a new one is added.
//
// Rows are blobs (store/row_codec.h: versioned, checksummed) beside the few columns that are looked for.
// A run is known by a small integer everywhere but in `names`. `log` takes one row a commit, at its end,
// and is hardly ever changed: that is what makes a commit cheap. The partial indexes hold only what waits, so
// finding it costs the same however much sleeps or is finished.
#pragma once

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

inline constexpr const char* kSqliteMigrations[] = {
    // 1
    R"sql(
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('settled', 0);
INSERT INTO meta VALUES ('erased', 0);  -- how many runs
CREATE TABLE namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- How a run is found. kind 0: the newest run of the workflow id (name ''); 1: by run id; 2: by request.
CREATE TABLE names (
  ns INTEGER NOT NULL, workflow_id TEXT NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
  run INTEGER NOT NULL, PRIMARY KEY (ns, workflow_id, kind, name)) WITHOUT ROWID;

CREATE TABLE runs (
  id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, status INTEGER NOT NULL,
  conditions INTEGER NOT NULL,  -- blocked, paused, dead letters: Conditions of protocol_rules.h
  workflow_type TEXT NOT NULL, queue TEXT NOT NULL,
  ready INTEGER,  -- ready_since; NULL: not ready
  due INTEGER,    -- NULL: nothing
  row BLOB NOT NULL);
CREATE INDEX runs_ready ON runs (ns, queue, ready) WHERE ready IS NOT NULL;
CREATE INDEX runs_due ON runs (ns, due) WHERE due IS NOT NULL;

CREATE TABLE log (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, version INTEGER NOT NULL,
  commit_id INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX log_run ON log (run, version);

CREATE TABLE inbox (
  run INTEGER NOT NULL, seq INTEGER NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (run, seq)) WITHOUT ROWID;

-- Dedupe keys of a run, numbered as they came, and what was answered to some. seen: the largest, while a
-- key is not to be trimmed.
CREATE TABLE seen_keys (
  run INTEGER NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, seen INTEGER NOT NULL,
  answer BLOB, PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE INDEX seen_keys_number ON seen_keys (run, number, seen);

CREATE TABLE activities (
  run INTEGER NOT NULL, event INTEGER NOT NULL, ns INTEGER NOT NULL, queue TEXT NOT NULL,
  claimable INTEGER,  -- since when; NULL: not
  session TEXT,       -- who holds it; NULL: nobody
  due INTEGER, row BLOB NOT NULL,
  PRIMARY KEY (run, event)) WITHOUT ROWID;
CREATE INDEX activities_claimable ON activities (ns, queue, claimable) WHERE claimable IS NOT NULL;
CREATE INDEX activities_held ON activities (ns, session) WHERE session IS NOT NULL;
CREATE INDEX activities_due ON activities (ns, due) WHERE due IS NOT NULL;

CREATE TABLE timers (
  run INTEGER NOT NULL, event INTEGER NOT NULL, ns INTEGER NOT NULL, due INTEGER NOT NULL,
  PRIMARY KEY (run, event)) WITHOUT ROWID;
CREATE INDEX timers_due ON timers (ns, due);

CREATE TABLE sessions (
  ns INTEGER NOT NULL, id TEXT NOT NULL, due INTEGER, row BLOB NOT NULL,
  PRIMARY KEY (ns, id)) WITHOUT ROWID;
-- Activities to be told of at the session's next renewal, and again until it has heard.
CREATE TABLE canceled (
  ns INTEGER NOT NULL, session TEXT NOT NULL, workflow_id TEXT NOT NULL, run_id TEXT NOT NULL,
  event INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (ns, session, workflow_id, run_id, event)) WITHOUT ROWID;
)sql",
    // 2: what stands beside the runs. Bytes are apart from what changes with each use of them.
    R"sql(
CREATE TABLE blobs (
  id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
  kept_until INTEGER NOT NULL, UNIQUE (ns, sha256));
CREATE INDEX blobs_kept ON blobs (ns, kept_until);
CREATE TABLE blob_bytes (blob INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

CREATE TABLE streams (
  id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, name BLOB NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL,  -- of the frames that are kept; first > last: none
  kept_until INTEGER NOT NULL, UNIQUE (ns, name));
CREATE INDEX streams_kept ON streams (ns, kept_until);
CREATE TABLE stream_steps (
  stream INTEGER NOT NULL, step BLOB NOT NULL, fence INTEGER NOT NULL, written INTEGER NOT NULL,
  last INTEGER NOT NULL, PRIMARY KEY (stream, step)) WITHOUT ROWID;
CREATE TABLE frames (
  stream INTEGER NOT NULL, seq INTEGER NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY (stream, seq)) WITHOUT ROWID;
)sql",
    // 3: limits, their buckets in microseconds: LimitBucket of limit_rules.h.
    R"sql(
CREATE TABLE limits (
  id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, key BLOB NOT NULL, at INTEGER NOT NULL,
  paused_until INTEGER NOT NULL, kept_until INTEGER NOT NULL, UNIQUE (ns, key));
CREATE INDEX limits_kept ON limits (ns, kept_until);
CREATE TABLE limit_units (
  limit_id INTEGER NOT NULL, unit TEXT NOT NULL,
  own_size INTEGER NOT NULL, own_span INTEGER NOT NULL, own_full INTEGER NOT NULL,
  told_size INTEGER NOT NULL, told_span INTEGER NOT NULL, told_full INTEGER NOT NULL,
  PRIMARY KEY (limit_id, unit)) WITHOUT ROWID;
)sql",
    // 4: which runs have an attribute.
    R"sql(
CREATE TABLE attributes (
  ns INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, run INTEGER NOT NULL,
  PRIMARY KEY (ns, name, value, run)) WITHOUT ROWID;
)sql",
    // 5: which closed runs may be forgotten, and how many bytes those of a namespace take, as SqliteTables::ClosedSize counts
    // them. Until then all were kept for a week.
    R"sql(
ALTER TABLE runs ADD COLUMN closed INTEGER;  -- when it closed; NULL: it is open, or owes something
UPDATE runs SET closed = due - 604800000000 WHERE status <> 1 AND due IS NOT NULL;
CREATE INDEX marathon_runs_closed ON runs (ns, closed) WHERE closed IS NOT NULL;
CREATE TABLE marathon_closed (ns INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
INSERT INTO marathon_closed SELECT ns, sum(512 + coalesce(
  (SELECT sum(length(record)) FROM log WHERE log.run = runs.id), 0)) FROM runs WHERE closed IS NOT NULL GROUP BY ns;
)sql",
    // 6: activities wait by their priority first, of which all had the same until then. Places of concurrency keys:
    // PlaceEntry of place_rules.h.
    R"sql(
ALTER TABLE activities ADD COLUMN priority INTEGER NOT NULL DEFAULT 3;
DROP INDEX activities_claimable;
CREATE INDEX marathon_activities_claimable ON activities (ns, queue, priority, claimable) WHERE claimable IS NOT NULL;
CREATE TABLE marathon_places (
  id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, key BLOB NOT NULL, max INTEGER NOT NULL, arrivals INTEGER NOT NULL,
  taken INTEGER NOT NULL, kept_until INTEGER NOT NULL, UNIQUE (ns, key));
CREATE INDEX marathon_places_kept ON marathon_places (ns, kept_until);
CREATE TABLE marathon_place_holders (
  place INTEGER NOT NULL, holder BLOB NOT NULL, state INTEGER NOT NULL, epoch INTEGER NOT NULL,
  priority INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (place, holder)) WITHOUT ROWID;
CREATE INDEX marathon_place_order ON marathon_place_holders (place, state, priority, at);
)sql",
    // 7: large payloads beside the histories that name them, and which runs hold them.
    R"sql(
CREATE TABLE marathon_blobs (
  id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, sha256 TEXT NOT NULL, holders INTEGER NOT NULL,
  kept_until INTEGER,  -- NULL: it is held
  UNIQUE (ns, sha256));
CREATE INDEX marathon_blobs_kept ON marathon_blobs (ns, kept_until) WHERE kept_until IS NOT NULL;
CREATE TABLE marathon_blob_bytes (blob INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE marathon_blob_holders (run INTEGER NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY (run, blob)) WITHOUT ROWID;
)sql",
};

// All tables that these make. In the same file are users' own, so later steps make only such as begin with marathon_, and
// so do their indexes.
inline constexpr const char* kSqliteTables[] = {
    "meta", "namespaces", "names", "runs", "log", "inbox", "seen_keys",
    "activities", "timers", "sessions", "canceled", "blobs", "blob_bytes", "streams",
    "stream_steps", "frames", "limits", "limit_units", "attributes",
    "marathon_closed", "marathon_places", "marathon_place_holders", "marathon_blobs", "marathon_blob_bytes",
    "marathon_blob_holders"};

}  // namespace marathon::inline MARATHON_ABI::detail
