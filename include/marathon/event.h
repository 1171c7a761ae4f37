// The events of a run's history: one struct a kind, and Event, which gives one its place.
//
// A history is a sequence of turns. Each turn is a TurnStarted marker, then inbound events, each
// followed at once by the command events that the workflow's code issued because of it. Nothing else
// orders a run: replaying the inbound events must issue the same commands at the same places.
//
// Values; no thread rule. Bytes: docs/event_format.md and event_codec.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/config.h"
#include "marathon/failure.h"
#include "marathon/ids.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/payload.h"
#include "marathon/retry_policy.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// Persisted: never change the value of an existing entry.
enum class EventType : uint16_t {
  kTurnStarted = 1,
  // Inbound: what happened to the run.
  kWorkflowStarted = 10,
  kActivityCompleted = 11,
  kActivityFailed = 12,
  kTimerFired = 13,
  kSignalReceived = 14,
  kWorkflowCancelRequested = 15,
  kUpdateAccepted = 16,
  // Commands: what its code asked for.
  kActivityScheduled = 30,
  kActivityCancelRequested = 31,
  kTimerStarted = 32,
  kTimerCanceled = 33,
  kSideEffectRecorded = 34,
  kVersionRecorded = 35,
  kUpdateCompleted = 36,
  kLocalActivityStarted = 38,
  kAttributesSet = 39,
  // Closing: the last event of a run.
  kWorkflowCompleted = 50,
  kWorkflowFailed = 51,
  kWorkflowTerminated = 52,  // written without the run's code
  kWorkflowTimedOut = 53,    // written without the run's code
  kWorkflowCanceled = 54,
  kWorkflowContinuedAsNew = 55,
};

// The deadlines and the retry policy of one activity. A zero duration is "no such deadline";
// the engine sees to it that not all are zero.
struct ActivityPolicy {
  Duration start_to_close{0};     // one attempt, from its delivery
  Duration schedule_to_start{0};  // waiting for a worker; never retried
  Duration schedule_to_close{0};  // all attempts and waits together
  Duration heartbeat{0};          // between two heartbeats
  StoredRetryPolicy retry;
  bool hold_dead_letter = false;  // when its workers have died too often: held, not failed
  uint8_t priority = limits::kDefaultPriority;  // in its task queue, 1 first; of a child, its run's
  std::string concurrency_key{};  // of its task queue; empty: none
  int32_t max_per_key = 1;        // so many of those with the same key are at work at a time

  friend bool operator==(const ActivityPolicy&, const ActivityPolicy&) = default;
};

// TurnStarted::behavior_flags. Persisted: never change the value of an existing entry.
// The run's code did not take part: the run was closed from outside, or failed by the engine, and the events up
// to the next marker only record what was in the inbox then, and the end.
inline constexpr uint32_t kTurnWithoutCode = 1;
// History has come to the size at which ctx.ContinueAsNewSuggested() says yes.
inline constexpr uint32_t kContinueAsNewSuggested = 2;
// All that this build honours. A history with others is a newer build's, and blocks the run here.
inline constexpr uint32_t kBehaviorFlags = kTurnWithoutCode | kContinueAsNewSuggested;

// Opens a turn. `time` is what ctx.Now() answers until the next turn; never before the last turn's.
struct TurnStarted {
  Time time{};
  Id build_id;                 // of the worker; empty: as in the turn before
  uint32_t behavior_flags = 0;  // engine behaviours in force; a replay honours these, not its own
  friend bool operator==(const TurnStarted&, const TurnStarted&) = default;
};

// Where a run comes from and what follows it, if it is more than one plain run.
struct RunOrigin {
  std::string first_run_id;     // of its chain; empty: this one
  std::string previous_run_id;  // the run before it in the chain; empty: none
  std::optional<StoredRetryPolicy> retry;  // a run that fails or times out is followed by another
  int32_t attempt = 1;          // of that policy
  Duration start_delay{0};      // between its start and its first turn
  // The chain is a child: of that run, which waits for its end as for an activity's.
  std::optional<ActivityKey> parent{};
  friend bool operator==(const RunOrigin&, const RunOrigin&) = default;
};

struct WorkflowStarted {
  std::string workflow_type;
  Payload input;
  std::string task_queue;
  Id request_id;
  Duration run_timeout{0};  // 0: none
  Headers headers{};
  std::vector<RunOrigin> origin{};  // none or one
  Labels memo{};
  Labels attributes{};
  uint8_t priority = limits::kDefaultPriority;  // of its activities and children, unless they say otherwise
  friend bool operator==(const WorkflowStarted&, const WorkflowStarted&) = default;
};

struct ActivityCompleted {
  EventId scheduled = 0;  // the ActivityScheduled or LocalActivityStarted this answers
  Payload result;
  int32_t attempt = 1;
  friend bool operator==(const ActivityCompleted&, const ActivityCompleted&) = default;
};

// The last word on an activity that failed, timed out or was canceled: see failure.kind.
struct ActivityFailed {
  EventId scheduled = 0;
  Failure failure;
  int32_t attempt = 1;
  friend bool operator==(const ActivityFailed&, const ActivityFailed&) = default;
};

struct TimerFired {
  EventId timer = 0;  // the TimerStarted this answers
  friend bool operator==(const TimerFired&, const TimerFired&) = default;
};

struct SignalReceived {
  std::string name;
  Payload input;
  Headers headers;
  friend bool operator==(const SignalReceived&, const SignalReceived&) = default;
};

// Somebody asks the run to end. Its code sees it as CanceledErrors, and may clean up.
struct WorkflowCancelRequested {
  std::string reason;
  friend bool operator==(const WorkflowCancelRequested&, const WorkflowCancelRequested&) = default;
};

// Somebody asks the run's code to do something and to answer, and its validator has no objection. One that is
// rejected leaves no event.
struct UpdateAccepted {
  std::string update_id;
  std::string name;
  Payload input;
  Headers headers;
  friend bool operator==(const UpdateAccepted&, const UpdateAccepted&) = default;
};

struct ActivityScheduled {
  std::string activity_type;
  std::string task_queue;
  Payload input;
  ActivityPolicy policy;
  Headers headers;
  friend bool operator==(const ActivityScheduled&, const ActivityScheduled&) = default;
};

// `wait`: the code goes on only when the activity has ended, so that its end is told in any case.
struct ActivityCancelRequested {
  EventId scheduled = 0;
  bool wait = false;
  friend bool operator==(const ActivityCancelRequested&, const ActivityCancelRequested&) = default;
};

// The run sleeps for `duration` of the store's time, counted from the commit of this event.
struct TimerStarted {
  Duration duration{0};
  friend bool operator==(const TimerStarted&, const TimerStarted&) = default;
};

struct TimerCanceled {
  EventId timer = 0;
  friend bool operator==(const TimerCanceled&, const TimerCanceled&) = default;
};

struct SideEffectRecorded {
  Payload value;
  friend bool operator==(const SideEffectRecorded&, const SideEffectRecorded&) = default;
};

// Which of its versions the code took where it changed (ctx.Version, ctx.Patched).
inline constexpr int32_t kBeforeChange = -1;  // of runs that passed the place before it changed
struct VersionRecorded {
  std::string change;
  int32_t version = 0;
  friend bool operator==(const VersionRecorded&, const VersionRecorded&) = default;
};

// The end of an update's handler.
struct UpdateCompleted {
  EventId accepted = 0;  // the UpdateAccepted this answers
  Payload result;
  std::optional<Failure> failure{};  // instead of a result
  friend bool operator==(const UpdateCompleted&, const UpdateCompleted&) = default;
};

// The worker that took the turn has run an activity for it, at once and without a row in the store. Its outcome is an
// ActivityCompleted or ActivityFailed of the same turn; an ActivityFailed with a `next_retry_delay` is not its end: a
// timer follows, and another of these.
struct LocalActivityStarted {
  std::string activity_type;
  int32_t attempt = 1;  // of those that this worker made, the first
  friend bool operator==(const LocalActivityStarted&, const LocalActivityStarted&) = default;
};

// Each of these attributes of the run is changed; an empty text takes one away.
struct AttributesSet {
  Labels attributes;
  friend bool operator==(const AttributesSet&, const AttributesSet&) = default;
};

struct WorkflowCompleted {
  Payload result;
  friend bool operator==(const WorkflowCompleted&, const WorkflowCompleted&) = default;
};

struct WorkflowFailed {
  Failure failure;
  std::string next_run_id{};  // of the next attempt; empty: none
  friend bool operator==(const WorkflowFailed&, const WorkflowFailed&) = default;
};

struct WorkflowTerminated {
  std::string reason;
  friend bool operator==(const WorkflowTerminated&, const WorkflowTerminated&) = default;
};

struct WorkflowTimedOut {
  std::string next_run_id{};  // of the next attempt; empty: none
  friend bool operator==(const WorkflowTimedOut&, const WorkflowTimedOut&) = default;
};

// Its code let a requested cancel end it.
struct WorkflowCanceled {
  std::string reason;
  friend bool operator==(const WorkflowCanceled&, const WorkflowCanceled&) = default;
};

// The run ends, and the next one of its chain goes on under the same workflow id.
struct WorkflowContinuedAsNew {
  std::string run_id;  // of the next run
  std::string workflow_type;
  std::string task_queue;
  Payload input;
  Duration run_timeout{0};
  bool upgrade = false;  // whatever build this run is pinned to, the next one is not
  friend bool operator==(const WorkflowContinuedAsNew&, const WorkflowContinuedAsNew&) = default;
};

namespace detail {
using AnyEvent =
    std::variant<TurnStarted, WorkflowStarted, ActivityCompleted, ActivityFailed, TimerFired,
                 SignalReceived, ActivityScheduled, ActivityCancelRequested, TimerStarted,
                 TimerCanceled, SideEffectRecorded, WorkflowCompleted, WorkflowFailed,
                 WorkflowTerminated, WorkflowTimedOut, WorkflowCancelRequested, VersionRecorded,
                 WorkflowCanceled, WorkflowContinuedAsNew, UpdateAccepted, UpdateCompleted,
                 LocalActivityStarted, AttributesSet>;

template <class T, class Variant>
inline constexpr bool kIsOneOf = false;
template <class T, class... Types>
inline constexpr bool kIsOneOf<T, std::variant<Types...>> = (std::is_same_v<T, Types> || ...);
}  // namespace detail

// One of the structs above: a std::variant, whose copies, moves and comparison are compiled once, in the library. Of so
// many types they would be most of what a file that includes this costs.
class EventBody : public detail::AnyEvent {
 public:
  EventBody() : EventBody(TurnStarted()) {}
  template <class T>
    requires detail::kIsOneOf<std::remove_cvref_t<T>, detail::AnyEvent>
  EventBody(T&& event)  // NOLINT(google-explicit-constructor)
      : detail::AnyEvent(std::in_place_type<std::remove_cvref_t<T>>, std::forward<T>(event)) {}
  EventBody(const EventBody& other);
  EventBody(EventBody&& other) noexcept;
  EventBody& operator=(const EventBody& other);
  EventBody& operator=(EventBody&& other) noexcept;
  ~EventBody();

  friend bool operator==(const EventBody& a, const EventBody& b) { return a.Equals(b); }

 private:
  bool Equals(const EventBody& other) const;
};

struct Event {
  EventId id = 0;
  EventBody body;

  friend bool operator==(const Event&, const Event&) = default;
};

using History = std::vector<Event>;

// What whoever waits for an update is told: that it was accepted (UpdateAccepted, without the input), or its end. An
// UpdateCompleted of no event is a rejection.
struct UpdateAnswer {
  std::string update_id;
  EventBody body;

  friend bool operator==(const UpdateAnswer&, const UpdateAnswer&) = default;
};

EventType TypeOf(const EventBody& body);

// "ActivityScheduled"; "unknown event 77" for a value of a newer version.
std::string ToString(EventType type);

// One line for people: `ActivityScheduled "Charge"`, `TimerFired (timer 7)`. Never payload bytes.
std::string Describe(const EventBody& body);

// The run that goes on where this event closes one: empty, none.
std::string_view NextRunId(const EventBody& closing);

// Whether a message is for the workflow, whichever run of its chain gets it, and not about something that one
// run has pending.
inline bool IsForWorkflow(const EventBody& message) {
  return std::holds_alternative<SignalReceived>(message) ||
         std::holds_alternative<WorkflowCancelRequested>(message) ||
         std::holds_alternative<UpdateAccepted>(message);
}

inline constexpr bool IsInbound(EventType type) {
  return type >= EventType::kWorkflowStarted && type < EventType::kActivityScheduled;
}
inline constexpr bool IsCommand(EventType type) {
  return type >= EventType::kActivityScheduled && type < EventType::kWorkflowCompleted;
}
inline constexpr bool IsClosing(EventType type) { return type >= EventType::kWorkflowCompleted; }

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/event-inl.h"
#endif
