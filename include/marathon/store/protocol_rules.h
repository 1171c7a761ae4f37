// The small rules that StoreProtocol's operations share: when a run is due, and how refusals read.
//
// Pure functions; `Run` is RunRow or a type with its fields.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "marathon/config.h"
#include "marathon/failure.h"
#include "marathon/ids.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/store/store_times.h"
#include "marathon/store_rows.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// When a ready run is published to anyone (again). While somebody owns it, that is first when his
// time is over; a run without an owner was published to anyone when it became ready.
template <class Run>
Time ResendAt(const Run& run, Duration resend_first) {
  if (run.owner.empty()) return NextResend(run.ready_since, run.resends, resend_first);
  if (run.resends == 0) return run.owner_until;
  return NextResend(run.owner_until, run.resends - 1, resend_first);
}

template <class Run>
bool IsReady(const Run& run) {
  return run.ready_since != kNever;
}

// Whether an open run takes no turns, whatever waits for it.
template <class Run>
bool Rests(const Run& run) {
  return run.blocked || (run.paused && !MARATHON_MUTANT("pause_ignored"));
}

// Whether only workers of one build take the run's turns; whether those of this build do.
template <class Run>
bool IsPinned(const Run& run) {
  return run.pinned && !MARATHON_MUTANT("pin_ignored");
}
template <class Run>
bool IsFor(const Run& run, std::string_view build_id) {
  return !IsPinned(run) || *run.pinned == build_id;
}

// The task queue that is told of the run's turns.
template <class Run>
std::string TurnQueue(const Run& run) {
  const std::string& task_queue = run.task_queue;
  return run.pinned ? PinnedQueue(task_queue, *run.pinned) : task_queue;
}

// What List may ask of runs, as bits. Persisted: never change the value of an existing entry.
inline constexpr uint32_t kIsBlocked = 1, kIsPaused = 2, kHasDeadLetters = 4;
template <class Run>
uint32_t Conditions(const Run& run) {
  return (run.blocked ? kIsBlocked : 0) | (run.paused ? kIsPaused : 0) |
         (run.dead_letters > 0 ? kHasDeadLetters : 0);
}
inline uint32_t Conditions(const ListRequest& request) {
  return (request.blocked_only ? kIsBlocked : 0) | (request.paused_only ? kIsPaused : 0) |
         (request.dead_letters_only ? kHasDeadLetters : 0);
}
inline bool Fits(const ListRequest& request, RunStatus status, std::string_view workflow_type,
                 uint32_t conditions) {
  return (request.workflow_type.empty() || workflow_type == request.workflow_type) &&
         (!request.status || status == *request.status) &&
         (conditions & Conditions(request)) == Conditions(request);
}
// What is in no column beside a row.
template <class Run>
bool FitsRow(const ListRequest& request, const Run& run) {
  if (run.start_time < request.started_from || run.start_time >= request.started_before) return false;
  if (!run.key.workflow_id.view().starts_with(request.workflow_id_prefix)) return false;
  if (!request.pinned_to.empty() && !(run.pinned && *run.pinned == request.pinned_to)) return false;
  if (request.ready_before != kNever && run.ready_since >= request.ready_before) return false;
  if (request.attributes.empty()) return true;
  return run.labels && HasLabels((*run.labels).attributes, request.attributes);
}
inline bool AsksForRows(const ListRequest& request) {
  return request.started_from != Time() || request.started_before != kNever ||
         !request.workflow_id_prefix.empty() || !request.attributes.empty() ||
         !request.pinned_to.empty() || request.ready_before != kNever;
}
template <class Run>
bool Fits(const ListRequest& request, const Run& run) {
  const std::string& type = run.workflow_type;
  return Fits(request, run.status, type, Conditions(run)) && FitsRow(request, run);
}

// When a closed run has been kept for long enough: not while it owes something.
template <class Run>
Time ForgetAt(const Run& run, Duration closed_keep) {
  if (run.pending_activities > 0) return kNever;
  return AddSaturated(run.close_time, closed_keep);
}

// Until when the first turn of a run waits, if it has had none.
template <class Run>
Time DelayedUntil(const Run& run) {
  const bool waits = run.links && run.version == 0 && !MARATHON_MUTANT("delay_ignored");
  return waits ? (*run.links).not_before : Time();
}

// The first run of the chain that a run is in: itself, if it is alone.
template <class Run>
const Id& FirstRunId(const Run& run) {
  return run.links && !(*run.links).first_run_id.empty() ? (*run.links).first_run_id : run.key.run_id;
}

// The instant of a run in the due index.
template <class Run>
Time RunDue(const Run& run, const StoreTimes& times) {
  if (run.status != RunStatus::kRunning) return ForgetAt(run, times.closed_keep);
  if (run.blocked) return std::min<Time>(run.run_deadline, (*run.blocked).retry_at);
  if (run.paused) return run.run_deadline;
  if (!IsReady(run)) {
    const Time delayed = DelayedUntil(run);
    return delayed == Time() ? run.run_deadline : std::min<Time>(run.run_deadline, delayed);
  }
  return std::min<Time>(run.run_deadline, ResendAt(run, times.resend));
}

// A new run's start, its delay and its deadline, which counts from the end of the delay.
inline void SetTimes(RunRow& row, Time now, Duration delay, Duration run_timeout) {
  row.start_time = now;
  Time first_turn = now;
  if (delay > Duration(0)) first_turn = row.links.emplace().not_before = AddSaturated(now, delay);
  if (run_timeout > Duration(0)) row.run_deadline = AddSaturated(first_turn, run_timeout);
}

// Whose child a new run is, by its first message: where its history cannot be read, its row tells.
inline void SetParent(RunRow& row, const std::vector<Message>& messages) {
  const auto* started = messages.empty() ? nullptr : std::get_if<WorkflowStarted>(&messages.front().body);
  if (started == nullptr || started->origin.empty() || !started->origin.front().parent) return;
  if (!row.links) row.links.emplace();
  row.links->parent = started->origin.front().parent;
}

// How long a run rests that has been given back so many times before.
inline Duration GiveBackPause(int32_t times) {
  const int doublings = std::min(times, 10);
  return std::min(limits::kGiveBackFirst * (1 << doublings), limits::kGiveBackMax);
}

// About what a message weighs in a turn.
inline size_t MessageBytes(const Message& message) {
  constexpr size_t kEnvelope = 64;
  if (const auto* e = std::get_if<SignalReceived>(&message.body))
    return kEnvelope + e->input.data.size();
  if (const auto* e = std::get_if<UpdateAccepted>(&message.body)) {
    return kEnvelope + e->input.data.size();
  }
  if (const auto* e = std::get_if<ActivityCompleted>(&message.body)) {
    return kEnvelope + e->result.data.size();
  }
  if (const auto* e = std::get_if<ActivityFailed>(&message.body)) {
    return kEnvelope + e->failure.message.size() + e->failure.details.data.size();
  }
  if (const auto* e = std::get_if<WorkflowStarted>(&message.body)) {
    return kEnvelope + e->input.data.size();
  }
  return kEnvelope;
}

inline Failure CanceledFailure() {
  Failure failure;
  failure.kind = FailureKind::kCanceled;
  failure.type = failure_type::kCanceled;
  failure.message = "canceled before its outcome was known";
  failure.non_retryable = true;
  return failure;
}

// "run 0198… of workflow \"order-7\"", for messages.
inline std::string Name(const RunKey& key) {
  if (key.run_id.empty()) return fmt::format("workflow \"{}\"", key.workflow_id);
  return fmt::format("run {} of workflow \"{}\"", key.run_id, key.workflow_id);
}

}  // namespace marathon::inline MARATHON_ABI::detail
