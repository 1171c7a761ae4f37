// Invariants: what a fork begins with.
#pragma once

#include <fmt/format.h>

#include "marathon/event_codec.h"
#include "marathon/testing/invariants.h"

namespace marathon::inline MARATHON_ABI::testing {

// Turns of another run were checked when that took them.
MARATHON_INLINE void Invariants::Keep(Run& run, const StartRequest& request, Time now) {
  const TurnCommit& commit = *request.first_turn;
  ++commits_;
  CheckBuild(run, commit);
  if (trace_) trace_(fmt::format("{} begins as a fork, at event {}", run.key.workflow_id, commit.new_version));
  StatusOr<Record> record = DecodeRecord(commit.record);
  if (!record.ok()) return Report("I9", run.key, MessageOf(record.status()));
  for (const Event& event : record->events) {
    if (event.id != ++run.version) Report("I2", run.key, "a fork with gaps");
    if (IsClosing(TypeOf(event.body))) Report("I1", run.key, "a fork that has ended");
    if (const auto* turn = std::get_if<TurnStarted>(&event.body)) {
      run.marker = turn->time;
    } else if (const auto* signal = std::get_if<SignalReceived>(&event.body)) {
      run.put.push_back(signal->input.data);
      run.received.push_back(signal->input.data);
      ++run.kept_signals;
    } else if (const auto* update = std::get_if<UpdateAccepted>(&event.body)) {
      run.updates.emplace(event.id, update->update_id);
      accepted_.emplace(run.chain, update->update_id);
    } else if (const auto* updated = std::get_if<UpdateCompleted>(&event.body)) {
      run.updates.erase(updated->accepted);
    } else if (const auto* scheduled = std::get_if<ActivityScheduled>(&event.body)) {
      run.activities[event.id] = {UnclaimedEpoch(commit.commit_id), 0, true, false, scheduled->policy};
    } else if (const auto* completed = std::get_if<ActivityCompleted>(&event.body)) {
      run.activities.erase(completed->scheduled);
    } else if (const auto* failed = std::get_if<ActivityFailed>(&event.body)) {
      run.activities.erase(failed->scheduled);
      run.dead_letter |= failed->failure.type == failure_type::kDeadLetter;
    } else if (const auto* canceled = std::get_if<ActivityCancelRequested>(&event.body)) {
      if (!canceled->wait) run.activities.erase(canceled->scheduled);
    } else if (std::holds_alternative<WorkflowCancelRequested>(event.body)) {
      run.cancel_requested = true;
    }
  }
  for (const NewActivity& activity : commit.activities) {
    const auto it = run.activities.find(activity.id);
    if (it == run.activities.end()) {
      Report("I7", run.key, fmt::format("activity {} has ended and is begun again", activity.id));
    } else {
      it->second.resolved = false;
      it->second.owed = activity.owed;
    }
  }
  for (const NewTimer& timer : commit.timers) run.timers[timer.id] = AddSaturated(now, timer.duration);
  run.records.push_back(commit.record);
}

}  // namespace marathon::inline MARATHON_ABI::testing
