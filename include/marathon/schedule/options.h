// What a schedule starts, how, and what can be seen of it. Values; no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/payload.h"
#include "marathon/schedule/spec.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// What happens at a time while the run that was started for an earlier one is still open.
// Persisted: never change the value of an existing entry.
enum class OverlapPolicy : uint8_t {
  kSkip = 1,            // nothing: the time is passed over
  kBufferOne = 2,       // one start waits until that run has ended; further times are passed over
  kBufferAll = 3,       // all wait, one after another; limits::kScheduleBuffer at most
  kCancelOther = 4,     // that run is asked to cancel (Run::Cancel), and this one waits until it has ended
  kTerminateOther = 5,  // that run is terminated first
  kAllowAll = 6,        // runs beside it, and is not followed: see ScheduleRun
};

// The run that a schedule starts. Its workflow id is the schedule's with the time, "nightly/2027-01-15T03:00:00Z",
// so that a repeated start finds it. A repeat for that time by Backfill has the same id, and is refused while it
// is open. Triggered ones are numbered, "nightly/trigger-1".
struct ScheduleAction {
  std::string workflow_type;
  Payload input{};
  std::string task_queue{};  // empty: "default". The schedule itself, a workflow, is at home there, too
  Duration run_timeout{0};   // 0: none
  Labels memo{};             // of the runs, not of the schedule, as in StartOptions
  Labels attributes{};
  int priority = 0;          // as in StartOptions

  friend bool operator==(const ScheduleAction&, const ScheduleAction&) = default;
};

struct ScheduleOptions {
  OverlapPolicy overlap = OverlapPolicy::kSkip;
  // A time that nobody could act on, because no worker was there, is made up for if it is no longer ago than
  // this, and passed over otherwise. At least limits::kCatchUpMin.
  Duration catch_up_window = limits::kCatchUpWindow;
  bool pause_on_failure = false;  // when a run that it follows fails or times out
  std::optional<int64_t> remaining_actions{};  // starts at its times until it stops by itself; none: no end
  bool paused = false;            // passes its times over; triggers and backfills go on
  std::string note{};             // for people: why it is paused, say

  friend bool operator==(const ScheduleOptions&, const ScheduleOptions&) = default;
};

struct ScheduleConfig {
  ScheduleSpec spec{};
  ScheduleAction action{};
  ScheduleOptions options{};

  friend bool operator==(const ScheduleConfig&, const ScheduleConfig&) = default;
};

// Persisted: never change the value of an existing entry.
enum class ScheduleRunState : uint8_t {
  kStarted = 1,  // open, or not followed: with kAllowAll a schedule does not look at how a run ends
  kCompleted = 2,
  kFailed = 3,
  kCanceled = 4,
  kTerminated = 5,
  kTimedOut = 6,
  kNotStarted = 7,  // `failure` says why
};

// One run of a schedule.
struct ScheduleRun {
  Time nominal{};  // the time it was for
  Time started{};
  std::string workflow_id{};
  std::string run_id{};
  ScheduleRunState state = ScheduleRunState::kStarted;
  std::string failure{};  // why it failed, for people

  friend bool operator==(const ScheduleRun&, const ScheduleRun&) = default;
};

struct ScheduleCounts {
  int64_t started = 0;
  int64_t overlapped = 0;  // times passed over because of the overlap policy
  int64_t missed = 0;      // … or because they were longer ago than the catch-up window
  int64_t dropped = 0;     // starts that found the buffer full, or a schedule that was paused meanwhile

  friend bool operator==(const ScheduleCounts&, const ScheduleCounts&) = default;
};

struct ScheduleDescription {
  std::string id;
  ScheduleConfig config;             // as it is now: paused, remaining_actions
  std::vector<Time> next_times;      // the next ten, without jitter; none while it is paused
  std::optional<ScheduleRun> running;  // the one that it follows
  int64_t buffered = 0;              // starts that wait for it to end
  std::vector<ScheduleRun> recent;   // the last ten, newest last
  ScheduleCounts counts;
};

}  // namespace marathon::inline MARATHON_ABI
