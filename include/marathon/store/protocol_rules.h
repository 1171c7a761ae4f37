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

#include "marathon/config.h"
#include "marathon/failure.h"
#include "marathon/ids.h"
#include "marathon/limits.h"
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

// When a closed run has been kept long enough: not while it owes something.
template <class Run>
Time ForgetAt(const Run& run) {
  if (run.pending_activities > 0) return kNever;
  return AddSaturated(run.close_time, limits::kRetention);
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
Time RunDue(const Run& run, Duration resend_first) {
  if (run.status != RunStatus::kRunning) return ForgetAt(run);
  if (run.blocked) return std::min<Time>(run.run_deadline, (*run.blocked).retry_at);
  if (!IsReady(run)) {
    const Time delayed = DelayedUntil(run);
    return delayed == Time() ? run.run_deadline : std::min<Time>(run.run_deadline, delayed);
  }
  return std::min<Time>(run.run_deadline, ResendAt(run, resend_first));
}

// A new run's start, its delay and its deadline, which counts from the end of the delay.
inline void SetTimes(RunRow& row, Time now, Duration delay, Duration run_timeout) {
  row.start_time = now;
  Time first_turn = now;
  if (delay > Duration(0)) first_turn = row.links.emplace().not_before = AddSaturated(now, delay);
  if (run_timeout > Duration(0)) row.run_deadline = AddSaturated(first_turn, run_timeout);
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
