// Invariants: what a commit may do, event by event.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <variant>

#include "marathon/detail/run_messages.h"
#include "marathon/event_codec.h"
#include "marathon/testing/invariants.h"

namespace marathon::inline MARATHON_ABI::testing {

MARATHON_INLINE void Invariants::Committed(const TurnCommit& commit, Time now) {
  const auto it = runs_.find(commit.run);
  if (it == runs_.end()) return Report("I2", commit.run, "a commit to a run unknown");
  Apply(it->second, commit, now);
}

MARATHON_INLINE void Invariants::Apply(Run& run, const TurnCommit& commit, Time now) {
  ++commits_;
  if (trace_) {
    trace_(fmt::format("{} commits {} from event {} to {}", commit.session, run.key.workflow_id,
                       commit.expected_version, commit.new_version));
  }
  if (run.closed) return Report("I1", run.key, "a commit after the end");
  if (run.paused && !commit.session.empty()) Report("I12", run.key, "a turn of a paused run");
  CheckBuild(run, commit);
  if (commit.expected_version != run.version) {
    return Report("I2", run.key, fmt::format("a commit at version {} of a run at version {}",
                                             commit.expected_version, run.version));
  }
  for (const HandedOver& handed : commit.handed_over) {
    const auto activity = run.activities.find(handed.id);
    if (activity == run.activities.end()) continue;  // canceled; nobody wants to know
    if (activity->second.resolved) {
      Report("I7", run.key, fmt::format("activity {} ended twice", handed.id));
    } else if (!activity->second.IsAt(handed.epoch)) {
      Report("I7", run.key, fmt::format("activity {} is at epoch {}; a result of epoch {} was taken",
                                        handed.id, activity->second.epoch, handed.epoch));
    }
  }
  Answered(run, commit);
  if (commit.record.empty()) return;
  StatusOr<Record> record = DecodeRecord(commit.record);
  if (!record.ok()) return Report("I9", run.key, MessageOf(record.status()));
  if (record->commit_id != commit.commit_id || record->events.empty() ||
      record->events.back().id != commit.new_version) {
    Report("I2", run.key, "the record is not what its commit says");
  }
  if (EncodeRecord(record->commit_id, record->events) != commit.record) {
    Report("I9", run.key, "a record does not survive decoding and encoding");
  }
  for (const Event& event : record->events) {
    if (trace_) trace_(fmt::format("  {} {}", event.id, Describe(event.body)));
    Apply(run, event, commit, now);
  }
  run.records.push_back(commit.record);
  if (run.closed != commit.close.has_value()) Report("I1", run.key, "a close without its event");
  if (run.closed) Closed(run, commit, record->events.back().body);
  const std::string_view next = run.closed ? NextRunId(run.end) : "";
  if (next.empty() != !commit.next.has_value() || (!next.empty() && commit.next->run_id != next)) {
    Report("I1", run.key, "the run that follows is not the one that its last event names");
  }
  if (!commit.next.has_value()) return;
  run.next = {run.key.workflow_id, commit.next->run_id};
  Continued(run, *commit.next);
}

MARATHON_INLINE void Invariants::CheckBuild(Run& run, const TurnCommit& commit) {
  const bool other = !run.pinned.empty() && run.pinned != commit.build_id;
  if (other && !commit.session.empty()) {
    Report("I14", run.key, fmt::format("build {} took a turn of a run pinned to {}", commit.build_id, run.pinned));
  }
  if (commit.pin) run.pinned = commit.build_id.str();
}

MARATHON_INLINE void Invariants::Apply(Run& run, const Event& event, const TurnCommit& commit,
                                       Time now) {
  if (run.closed) Report("I1", run.key, fmt::format("event {} follows the terminal one", event.id));
  if (event.id != ++run.version) {
    Report("I2", run.key, fmt::format("event {} is where {} should be", event.id, run.version));
  }
  const EventType type = TypeOf(event.body);
  if (IsInbound(type)) return Inbound(run, event, now);
  if (IsClosing(type)) {
    run.closed = true;
  } else if (const auto* turn = std::get_if<TurnStarted>(&event.body)) {
    if (turn->time < run.marker) Report("I5", run.key, "time runs backwards");
    if (turn->time > now) Report("I5", run.key, "a turn is from the future");
    const bool with_code = (turn->behavior_flags & kTurnWithoutCode) == 0;
    if (with_code && now < run.not_before) Report("I5", run.key, "a turn came before its time");
    run.marker = turn->time;
  } else if (const auto* scheduled = std::get_if<ActivityScheduled>(&event.body)) {
    const auto row = std::find_if(commit.activities.begin(), commit.activities.end(),
                                  [&](const NewActivity& a) { return a.id == event.id; });
    const bool begun = row != commit.activities.end();  // else it was canceled within its own turn
    if (begun && marathon::detail::IsChildRun(scheduled->activity_type)) {
      run.children[event.id] =
          marathon::detail::ChildKey({run.key, event.id},
                                     marathon::detail::HeaderOf(scheduled->headers,
                                                                marathon::detail::header::kWorkflowId))
              .workflow_id.str();
    }
    Activity& activity = run.activities[event.id];
    activity.policy = scheduled->policy;
    activity.epoch = UnclaimedEpoch(commit.commit_id);
    if (begun && row->claim) run.claims[{event.id, ++activity.epoch}] = commit.session;
    activity.resolved = !begun;
    activity.owed = begun && row->owed;
  } else if (std::holds_alternative<LocalActivityStarted>(event.body)) {
    run.locals.insert(event.id);
  } else if (const auto* cancel = std::get_if<ActivityCancelRequested>(&event.body)) {
    const auto activity = run.activities.find(cancel->scheduled);
    const bool owed = activity != run.activities.end() && activity->second.owed;
    run.canceled.emplace(cancel->scheduled, now);
    if (!cancel->wait && !owed) run.activities.erase(cancel->scheduled);
  } else if (const auto* timer = std::get_if<TimerStarted>(&event.body)) {
    run.timers[event.id] = AddSaturated(now, timer->duration);
  } else if (const auto* canceled = std::get_if<TimerCanceled>(&event.body)) {
    run.timers.erase(canceled->timer);
  } else if (const auto* completed = std::get_if<UpdateCompleted>(&event.body)) {
    const auto update = run.updates.find(completed->accepted);
    if (update == run.updates.end()) {
      return Report("I11", run.key, fmt::format("update {} was completed twice", completed->accepted));
    }
    const UpdateAnswer answer{update->second, *completed};
    if (std::find(commit.answers.begin(), commit.answers.end(), answer) == commit.answers.end()) {
      Report("I11", run.key, fmt::format("update \"{}\" is completed and not answered", answer.update_id));
    }
    run.updates.erase(update);
  }
}

MARATHON_INLINE void Invariants::Inbound(Run& run, const Event& event, Time now) {
  if (const auto* completed = std::get_if<ActivityCompleted>(&event.body)) {
    ActivityResolved(run, completed->scheduled, nullptr);
  } else if (const auto* failed = std::get_if<ActivityFailed>(&event.body)) {
    ActivityResolved(run, failed->scheduled, &failed->failure);
  } else if (const auto* fired = std::get_if<TimerFired>(&event.body)) {
    const auto timer = run.timers.find(fired->timer);
    if (timer == run.timers.end()) {
      Report("I5", run.key, fmt::format("timer {} fired twice, or was canceled", fired->timer));
    } else {
      if (timer->second > now) Report("I5", run.key, fmt::format("timer {} fired early", fired->timer));
      run.timers.erase(timer);
    }
  } else if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) {
    if (run.priority.value_or(started->priority) != started->priority) {
      Report("I18", run.key, fmt::format("has priority {}, and its chain {}", started->priority, *run.priority));
    }
    run.priority = started->priority;
  } else if (const auto* signal = std::get_if<SignalReceived>(&event.body)) {
    const size_t index = run.received.size();
    run.received.push_back(signal->input.data);
    if (index >= run.put.size() || run.put[index] != signal->input.data) {
      Report("I6", run.key, fmt::format("signal {} is not the one that was acknowledged as number {}",
                                        signal->input.data, index + 1));
    }
  } else if (const auto* update = std::get_if<UpdateAccepted>(&event.body)) {
    run.updates.emplace(event.id, update->update_id);
    if (!accepted_.emplace(run.chain, update->update_id).second) {
      Report("I11", run.key, fmt::format("update \"{}\" was accepted twice", update->update_id));
    }
  } else if (std::holds_alternative<WorkflowCancelRequested>(event.body)) {
    if (std::exchange(run.cancel_requested, true)) Report("I6", run.key, "was told to cancel twice");
  } else if (event.id != 2) {
    Report("I2", run.key, "started again in mid-history");
  }
}

MARATHON_INLINE void Invariants::ActivityResolved(Run& run, EventId scheduled,
                                                  const Failure* failure) {
  if (run.locals.erase(scheduled) > 0) return;
  const auto it = run.activities.find(scheduled);
  if (it == run.activities.end()) {
    return Report("I7", run.key, fmt::format("activity {} has a second outcome", scheduled));
  }
  if (failure != nullptr && failure->type == failure_type::kDeadLetter) {
    ++dead_letters_;
    run.dead_letter = true;
  }
  run.activities.erase(it);
}

// A rejected update is none that was accepted.
MARATHON_INLINE void Invariants::Answered(const Run& run, const TurnCommit& commit) {
  for (const UpdateAnswer& answer : commit.answers) {
    const auto* completed = std::get_if<UpdateCompleted>(&answer.body);
    if (completed == nullptr || completed->accepted != 0) continue;
    if (accepted_.contains({run.chain, answer.update_id})) {
      Report("I11", run.key, fmt::format("update \"{}\" was rejected and accepted", answer.update_id));
    }
  }
}

MARATHON_INLINE void Invariants::Closed(Run& run, const TurnCommit& commit, const EventBody& end) {
  run.status = *commit.close;
  run.end = end;
  for (const NewActivity& news : commit.activities) {
    Activity& activity = run.activities[news.id];
    activity.epoch = UnclaimedEpoch(commit.commit_id);
    if (news.claim) run.claims[{news.id, ++activity.epoch}] = commit.session;
    activity.owed = true;
  }
  const bool from_outside =
      std::holds_alternative<WorkflowTerminated>(end) || std::holds_alternative<WorkflowTimedOut>(end);
  if (!from_outside && !commit.next.has_value() && run.received.size() != run.put.size()) {
    Report("I6", run.key, fmt::format("closed with {} of {} acknowledged signals in its history",
                                      run.received.size(), run.put.size()));
  }
}

// The next run gets the signals that history has and nobody received, and then those that it has not.
MARATHON_INLINE void Invariants::Continued(const Run& run, const NextRun& next) {
  const RunKey key{run.key.workflow_id, next.run_id};
  Run& after = runs_[key];
  if (!after.key.run_id.empty()) return Report("I1", key, "was started twice");
  after.key = key;
  after.chain = run.chain;
  after.parent = run.parent;
  after.priority = run.priority;
  after.dead_letter = run.dead_letter;
  after.paused = run.paused;
  if (next.keeps_pin) after.pinned = run.pinned;
  after.not_before = AddSaturated(run.marker, next.delay);
  size_t unread = run.received.size();
  size_t received = 0;
  for (const Message& message : next.messages) {
    const auto* signal = std::get_if<SignalReceived>(&message.body);
    if (signal == nullptr) continue;
    const std::string& data = signal->input.data;
    after.put.push_back(data);
    const auto from = run.received.begin() + static_cast<ptrdiff_t>(received);
    const auto it = std::find(from, run.received.end(), data);
    if (it != run.received.end()) {
      received = static_cast<size_t>(it - run.received.begin()) + 1;
    } else if (unread < run.put.size() && run.put[unread] == data) {
      ++unread;
    } else {
      Report("I6", key, fmt::format("gets signal {} out of order, or twice", data));
    }
  }
  for (; unread < run.put.size(); ++unread) after.put.push_back(run.put[unread]);
}

}  // namespace marathon::inline MARATHON_ABI::testing
