// The rows a StateStore keeps: what they mean, not how they are laid out. Values; no thread rule.
// Their bytes, for stores that keep bytes, are in store/row_codec.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// Persisted: never change the value of an existing entry.
enum class RunStatus : uint8_t {
  kRunning = 1,
  kCompleted = 2,
  kFailed = 3,
  kCanceled = 4,
  kTerminated = 5,
  kTimedOut = 6,
  kContinuedAsNew = 7,
};

// Why a run takes no turns until somebody acts: its code no longer matches its history, its history
// cannot be read, or its turns keep killing workers. Or, until `retry_at`: this worker does not have its
// code, but another one may.
struct BlockInfo {
  std::string build_id;  // of the worker that gave up
  std::string reason;    // what does not match, where; a sentence or several, for people
  EventId event_id = 0;  // where in history; 0: nowhere in particular
  Time since{};
  Time retry_at = kNever;  // then anyone may try again

  friend bool operator==(const BlockInfo&, const BlockInfo&) = default;
};

// Why a run rests: somebody paused it.
struct PauseInfo {
  std::string reason;  // for people
  Time since{};

  friend bool operator==(const PauseInfo&, const PauseInfo&) = default;
};

// A run's place among others, if it has one.
struct RunLinks {
  Id first_run_id;    // of its chain; empty: this one
  Id next_run_id;     // once closed: the run that goes on; empty: none
  Time not_before{};  // its first turn waits until then
  std::vector<ActivityKey> children;  // started by earlier runs of its chain, which have ended
  std::optional<ActivityKey> parent{};  // what waits for the end of its chain; none: it is no child

  friend bool operator==(const RunLinks&, const RunLinks&) = default;
};

// A run, but for its history and its open items.
struct RunRow {
  RunKey key;
  std::string workflow_type;
  std::string task_queue;
  Id request_id;           // of the start that made it
  RunStatus status = RunStatus::kRunning;

  EventId version = 0;       // id of the last event; 0: no turn yet
  CommitId commit_id = 0;    // of the last commit
  int64_t history_bytes = 0;
  int64_t pending_activities = 0;

  Time start_time{};
  Time close_time{};              // once closed
  Time run_deadline = kNever;     // the run timeout

  uint64_t inbox_last = 0;        // sequence number of the newest message ever put
  uint64_t inbox_last_signal = 0; // … and of the newest signal
  int64_t inbox_size = 0;         // messages waiting

  // Ready: open, not blocked, paused or delayed, and inbox_size > 0. Set by the write that makes it true.
  Time ready_since = kNever;      // kNever: not ready
  SessionId owner;                // who committed or claimed last: its cache is warm
  Time owner_until{};             // until then only the owner takes turns; afterwards anyone
  int32_t deliveries = 0;         // times claimed since the last commit: how often a turn died
  int32_t resends = 0;            // times published again since it became ready

  std::optional<BlockInfo> blocked;
  int32_t give_backs = 0;         // times blocked with a retry since the last commit
  std::optional<RunLinks> links;  // none: a run on its own
  std::optional<PauseInfo> paused;
  int32_t dead_letters = 0;       // of its activities, those in state kDead
  bool deleted = false;           // goes with the last of what it owes
  std::optional<RunLabels> labels;  // as they are now; none: there are none
  std::optional<std::string> pinned;  // the build whose workers alone take its turns; none: any do
  bool has_blobs = false;             // some of its payloads are blobs, which it holds

  friend bool operator==(const RunRow&, const RunRow&) = default;
};

inline bool IsOpen(const RunRow& run) { return run.status == RunStatus::kRunning; }

// A message in a run's inbox: an inbound event that history has not taken yet.
struct Message {
  uint64_t seq = 0;         // assigned by the store, growing
  std::string dedupe_key;   // empty: none. A second message with a remembered key is dropped
  EventBody body;

  friend bool operator==(const Message&, const Message&) = default;
};

// Persisted: never change the value of an existing entry.
enum class ActivityState : uint8_t {
  kClaimable = 1,  // waits for a worker
  kClaimed = 2,    // a worker's session holds it
  kBackoff = 3,    // waits for its next attempt
  kDetached = 4,   // completes later, from anywhere (CompleteLater)
  kDead = 5,       // a dead letter: held until RetryActivity, since its workers died
};

// Whether an activity is dropped with its run. Persisted: never change the value of an existing entry.
enum class Owed : uint8_t {
  kNo = 0,     // yes
  kAtEnd = 1,  // no: once its run has ended, and no other one goes on, it is claimable once more, as kNow
  kNow = 2,    // its run has ended; nobody hears how this ends
};

// A pending activity. Its row goes when its outcome is in the inbox or in history.
struct ActivityRow {
  ActivityKey key;
  std::string activity_type;
  std::string task_queue;
  std::string workflow_type;
  Payload input;
  Headers headers;
  ActivityPolicy policy;

  ActivityState state = ActivityState::kClaimable;
  int32_t attempt = 1;     // counts failures of user code, from 1: what the retry policy sees
  int32_t deliveries = 0;  // claims of this attempt that ended without a word: how often it died
  Epoch epoch = 0;         // raised by each claim
  SessionId session;       // who holds it, when claimed

  Time scheduled_at{};     // when its event was committed
  Time available_at{};     // when this attempt became, or becomes, claimable
  Time started_at{};       // when this delivery was claimed
  Time heartbeat_at{};     // last heartbeat of this delivery
  Payload heartbeat;       // last details, kept for the next attempt
  std::optional<Failure> last_failure;
  bool cancel_requested = false;
  int32_t resends = 0;     // times published again since it became claimable
  Owed owed = Owed::kNo;
  bool paused = false;     // no attempt begins, since its run is paused

  friend bool operator==(const ActivityRow&, const ActivityRow&) = default;
};

// The key of places (limiter.h) that an activity needs one of; empty: it needs none. A task queue's name has no line break.
inline std::string PlaceKeyOf(const std::string& task_queue, const ActivityPolicy& policy) {
  return policy.concurrency_key.empty() ? std::string() : task_queue + '\n' + policy.concurrency_key;
}

// Whether a worker may claim it.
inline bool IsClaimable(const ActivityRow& row) {
  return row.state == ActivityState::kClaimable && !row.paused;
}

// The next instant at which `row` needs attention, and for what: the end of a back-off, one of its four
// deadlines (only those that apply in its state), or, while claimable, its next re-send, or, if it is built in,
// a claim. kNever: none. `resend_first`: see NextResend.
struct ActivityDue {
  enum class What : uint8_t { kNothing, kRetry, kTimeout, kResend, kClaim };
  Time at = kNever;
  What what = What::kNothing;
  TimeoutKind timeout = TimeoutKind::kNone;  // for kTimeout
};
ActivityDue NextDue(const ActivityRow& row, Duration resend_first = limits::kResendFirst);

// When what was published at `since`, and `resends` times again, is published next: the first gap is
// `first`, the others double up to limits::kResendMax. `since` is an activity's available_at, a run's
// ready_since.
Time NextResend(Time since, int32_t resends, Duration first = limits::kResendFirst);

// A worker process: it holds activities and owns runs for as long as it renews.
struct SessionRow {
  SessionId id;
  std::string host;         // where its file lock can be looked at; empty: nowhere
  Duration lease{30'000};
  Time expires_at{};
  uint64_t renewals = 0;    // the serial of the last one

  friend bool operator==(const SessionRow&, const SessionRow&) = default;
};

// What a run's workflow id points to: its newest run.
struct IdRow {
  std::string workflow_id;
  std::string run_id;
  std::string request_id;
  RunStatus status = RunStatus::kRunning;

  friend bool operator==(const IdRow&, const IdRow&) = default;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/store_rows-inl.h"
#endif
