// The names by which everything durable is known. Values: copy, compare, hash.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/id.h"

namespace marathon::inline MARATHON_ABI {

// Position of an event in its run's history: 1, 2, 3 … without gaps. 0 is "none" and "empty history".
// A run's version is the id of its last event.
using EventId = int64_t;

// Counts the claims of one activity. Only a newer epoch refuses an older one's result.
using Epoch = int64_t;

// Names one commit of one run, drawn at random by the committer, so that a commit whose reply was
// lost can be recognised after a reload. 0: none.
using CommitId = uint64_t;

// The epoch of an activity that nobody has claimed yet. It comes from the commit that scheduled it: where a
// store has lost its last commits and others came instead, no attempt of then passes for one of now.
constexpr Epoch UnclaimedEpoch(CommitId commit) { return static_cast<Epoch>(commit >> 40); }

// Where an outcome counts whoever has claimed what it ends: that of a child.
inline constexpr Epoch kAnyEpoch = std::numeric_limits<Epoch>::max();

// A worker process as the store knows it. Empty: nobody.
using SessionId = std::string;

// One execution of a workflow. `workflow_id` is the user's name for it; `run_id` is unique for ever.
struct RunKey {
  Id workflow_id;
  Id run_id;

  friend bool operator==(const RunKey&, const RunKey&) = default;
  friend auto operator<=>(const RunKey&, const RunKey&) = default;
};

// One pending activity: the run that wants it and the event that scheduled it.
struct ActivityKey {
  RunKey run;
  EventId id = 0;

  friend bool operator==(const ActivityKey&, const ActivityKey&) = default;
  friend auto operator<=>(const ActivityKey&, const ActivityKey&) = default;
};

// Activities with types that begin like this are the library's own, which any worker runs: what runs do to other
// runs, and what schedules do. No queue is told of them: while claimable they are due, and whoever polls claims.
inline constexpr std::string_view kReservedNames = "marathon.";
inline bool IsBuiltIn(std::string_view activity_type) {
  return activity_type.starts_with(kReservedNames);
}

// The task queue of the turns of a pinned run, to which only workers of its build listen. No name of a user's has the mark.
inline constexpr char kPinMark = '@';
inline std::string PinnedQueue(std::string_view task_queue, std::string_view build_id) {
  return std::string(task_queue).append(1, kPinMark).append(build_id);
}

// Small strings that travel with a start, a signal or an activity: trace context and the like.
using Headers = std::vector<std::pair<std::string, std::string>>;

}  // namespace marathon::inline MARATHON_ABI

template <>
struct std::hash<marathon::RunKey> {
  size_t operator()(const marathon::RunKey& key) const noexcept {
    return std::hash<marathon::Id>()(key.run_id);
  }
};

template <>
struct std::hash<marathon::ActivityKey> {
  size_t operator()(const marathon::ActivityKey& key) const noexcept {
    return std::hash<marathon::RunKey>()(key.run) * 31 + std::hash<marathon::EventId>()(key.id);
  }
};
