#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "marathon/detail/forks.h"
#include "marathon/detail/run_messages.h"
#include "marathon/event_codec.h"
#include "marathon/testing/invariants.h"

namespace marathon::inline MARATHON_ABI::testing {

MARATHON_INLINE void Invariants::Report(std::string_view which, const RunKey& run,
                                        std::string_view what) {
  if (!violation_.empty()) return;  // the first one is the cause
  culprit_ = run;
  violation_ = fmt::format("{}: workflow \"{}\", run {}: {}", which, run.workflow_id, run.run_id, what);
}

MARATHON_INLINE void Invariants::Forget() {
  runs_.clear();
  starts_.clear();
  sessions_.clear();
  accepted_.clear();
  commits_ = dead_letters_ = 0;
}

MARATHON_INLINE const Invariants::Run* Invariants::Find(const RunKey& key) const {
  const auto it = runs_.find(key);
  return it == runs_.end() ? nullptr : &it->second;
}

MARATHON_INLINE const Invariants::Run* Invariants::FindLast(const RunKey& key) const {
  const Run* run = Find(key);
  while (run != nullptr && !run->next.run_id.empty()) run = Find(run->next);
  return run;
}

MARATHON_INLINE bool Invariants::IsOrphan(const Run& run) const {
  if (!run.parent) return false;
  const Run* parent = Find(run.parent->run);
  if (parent == nullptr) return true;
  const auto child = parent->children.find(run.parent->id);
  return child == parent->children.end() || child->second != run.key.workflow_id.view();
}

MARATHON_INLINE const Invariants::Run* Invariants::FindUnsettled(bool orphans) const {
  for (const auto& [key, run] : runs_) {
    if (!orphans && IsOrphan(run)) continue;
    if (!run.closed) return &run;
    for (const auto& [id, activity] : run.activities) {
      if (activity.owed && !activity.resolved) return &run;
    }
  }
  return nullptr;
}

MARATHON_INLINE bool Invariants::IsResolved(const ActivityKey& key) const {
  const Run* run = Find(key.run);
  if (run == nullptr) return false;
  const auto it = run->activities.find(key.id);
  return it == run->activities.end() || it->second.resolved;
}

MARATHON_INLINE Time Invariants::CanceledAt(const ActivityKey& key) const {
  const Run* run = Find(key.run);
  if (run == nullptr) return kNever;
  const auto it = run->canceled.find(key.id);
  return it == run->canceled.end() ? kNever : it->second;
}

MARATHON_INLINE void Invariants::Taken(const RunSnapshot& taken) {
  const auto run = runs_.find(taken.row.key);
  if (run == runs_.end()) return;
  for (const Message& message : taken.inbox) {
    const auto* fired = std::get_if<TimerFired>(&message.body);
    if (fired == nullptr) continue;
    const auto [it, first] = run->second.fired.try_emplace(fired->timer, message.seq);
    if (first || it->second == message.seq) continue;
    Report("I5", run->first, fmt::format("timer {} fired twice", fired->timer));
  }
}

// To the run, or to the one of its chain that goes on.
MARATHON_INLINE void Invariants::Paused(const RunKey& key, bool paused) {
  const Run* run = FindLast(key);
  if (run == nullptr) return Report("I12", key, "was paused, or resumed, and is unknown");
  if (trace_) trace_(fmt::format("{} is {}", key.workflow_id, paused ? "paused" : "resumed"));
  if (paused && run->closed) Report("I12", key, "was paused after its end");
  Run& known = runs_[run->key];
  if (known.paused && !paused) {
    for (auto& [id, activity] : known.activities) ++activity.resumes;
  }
  known.paused = paused;
}

MARATHON_INLINE void Invariants::Pinned(const RunKey& key, const std::string& build_id) {
  const Run* run = FindLast(key);
  if (run == nullptr || run->closed) return Report("I14", key, "was pinned, and is unknown or closed");
  if (trace_) trace_(fmt::format("{} is pinned to \"{}\"", key.workflow_id, build_id));
  runs_[run->key].pinned = build_id;
}

MARATHON_INLINE void Invariants::CheckBuild(Run& run, const TurnCommit& commit) {
  const bool other = !run.pinned.empty() && run.pinned != commit.build_id;
  if (other && !commit.session.empty()) {
    Report("I14", run.key, fmt::format("build {} took a turn of a run pinned to {}", commit.build_id, run.pinned));
  }
  if (commit.pin) run.pinned = commit.build_id.str();
}

MARATHON_INLINE void Invariants::Deleted(const RunKey& key) {
  const auto run = runs_.find(key);
  if (run == runs_.end() || !run->second.closed) return Report("I12", key, "was deleted before its end");
  run->second.deleted = true;
}

MARATHON_INLINE void Invariants::Started(const StartRequest& request, const StartReply& reply,
                                         Time now) {
  const auto [it, first] =
      starts_.try_emplace({request.run.workflow_id, request.request_id}, reply.run.run_id);
  const Run* answer = Find(reply.run);
  const Id& chain = answer != nullptr ? answer->chain.run_id : reply.run.run_id;
  if (!request.request_id.empty() && it->second != chain) {
    Report("I1", reply.run, fmt::format("request {} was answered with run {} before",
                                        request.request_id, it->second));
  }
  if (!reply.started) return;
  Run& run = runs_[reply.run];
  if (!run.key.run_id.empty()) return Report("I1", reply.run, "was started twice");
  run.key = run.chain = reply.run;
  run.not_before = AddSaturated(now, request.delay);
  for (const Message& message : request.messages) {
    const auto* start = std::get_if<WorkflowStarted>(&message.body);
    if (start != nullptr && !start->origin.empty()) run.parent = start->origin.front().parent;
    const auto* signal = std::get_if<SignalReceived>(&message.body);
    if (signal != nullptr) run.put.push_back(signal->input.data);
  }
  const auto* started = request.messages.empty() ? nullptr
                                                  : std::get_if<WorkflowStarted>(&request.messages.front().body);
  if (started != nullptr && !marathon::detail::ForksOf(started->headers).empty()) {
    Keep(run, request, now);
  } else if (request.first_turn.has_value()) {
    Apply(run, *request.first_turn, now);
  }
  for (const Message& message : request.inbox) {
    const auto* signal = std::get_if<SignalReceived>(&message.body);
    if (signal != nullptr) run.put.push_back(signal->input.data);
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

MARATHON_INLINE void Invariants::Put(const PutRequest& request, const PutReply& reply) {
  const auto it = runs_.find(reply.run);
  if (it == runs_.end()) return Report("I6", reply.run, "a message was put to a run unknown");
  if (reply.duplicate) return;
  Run& run = it->second;
  if (trace_) trace_(fmt::format("{} gets {}", run.key.workflow_id, Describe(request.message.body)));
  if (run.closed) return Report("I6", run.key, "a message was acknowledged after the end");
  const auto* signal = std::get_if<SignalReceived>(&request.message.body);
  if (signal != nullptr) run.put.push_back(signal->input.data);
}

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
    if (begun && row->claim) ++activity.epoch;
    activity.resolved = !begun;
    activity.owed = begun && row->owed;
  } else if (std::holds_alternative<LocalActivityStarted>(event.body)) {
    run.locals.insert(event.id);
  } else if (const auto* cancel = std::get_if<ActivityCancelRequested>(&event.body)) {
    const auto activity = run.activities.find(cancel->scheduled);
    const bool owed = activity != run.activities.end() && activity->second.owed;
    if (!cancel->wait && !owed) run.activities.erase(cancel->scheduled);
    run.canceled.emplace(cancel->scheduled, now);
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

MARATHON_INLINE void Invariants::Closed(Run& run, const TurnCommit& commit, const EventBody& end) {
  run.status = *commit.close;
  run.end = end;
  for (const NewActivity& news : commit.activities) {
    Activity& activity = run.activities[news.id];
    activity.epoch = UnclaimedEpoch(commit.commit_id) + (news.claim ? 1 : 0);
    activity.owed = true;
  }
  const bool from_outside =
      std::holds_alternative<WorkflowTerminated>(end) || std::holds_alternative<WorkflowTimedOut>(end);
  if (!from_outside && !commit.next.has_value() && run.received.size() != run.put.size()) {
    Report("I6", run.key, fmt::format("closed with {} of {} acknowledged signals in its history",
                                      run.received.size(), run.put.size()));
  }
}

MARATHON_INLINE void Invariants::Claimed(const std::vector<ActivityRow>& rows) {
  for (const ActivityRow& row : rows) {
    if (trace_) {
      trace_(fmt::format("{} claims activity {} of {} at epoch {}", row.session, row.key.id,
                         row.key.run.workflow_id, row.epoch));
    }
    const auto run = runs_.find(row.key.run);
    if (run == runs_.end()) return Report("I7", row.key.run, "a claim of a run unknown");
    const auto it = run->second.activities.find(row.key.id);
    if (it == run->second.activities.end() || it->second.resolved) {
      return Report("I7", row.key.run,
                    fmt::format("activity {} was claimed after its end", row.key.id));
    }
    if (run->second.paused && !IsBuiltIn(row.activity_type)) {
      Report("I12", row.key.run, fmt::format("activity {} of a paused run was claimed", row.key.id));
    }
    if (row.epoch <= it->second.epoch) {
      Report("I7", row.key.run, fmt::format("activity {} was claimed twice at epoch {}", row.key.id,
                                            row.epoch));
    }
    it->second.epoch = row.epoch;
    it->second.resumes = 0;
    const int most = it->second.policy.retry.maximum_attempts;
    if (most > 0 && row.attempt > most) {
      Report("I7", row.key.run,
             fmt::format("activity {} has attempt {} of {}", row.key.id, row.attempt, most));
    }
  }
}

MARATHON_INLINE void Invariants::Ended(const AttemptEnd& end, const AttemptReply& reply) {
  if (!reply.applied) return;
  if (trace_) {
    static constexpr std::string_view kKinds[] = {"ends", "retries", "gives back", "detaches",
                                                   "gives up"};
    trace_(fmt::format("{} activity {} of {} at epoch {}", kKinds[static_cast<size_t>(end.kind)],
                       end.key.id, end.key.run.workflow_id, end.epoch));
  }
  const auto run = runs_.find(end.key.run);
  if (run == runs_.end()) return Report("I7", end.key.run, "an attempt of a run unknown");
  const auto it = run->second.activities.find(end.key.id);
  if (it == run->second.activities.end()) return;  // canceled; nobody wants to know
  if (end.kind == AttemptEnd::Kind::kDead && on_held_) on_held_(end.key);
  if (it->second.resolved) {
    return Report("I7", end.key.run, fmt::format("activity {} ended twice", end.key.id));
  }
  if (!it->second.IsAt(end.epoch) && end.epoch != kAnyEpoch) {
    Report("I7", end.key.run, fmt::format("activity {} is at epoch {}; an end of epoch {} was taken",
                                          end.key.id, it->second.epoch, end.epoch));
  }
  it->second.resolved = end.kind == AttemptEnd::Kind::kFinal;
}

MARATHON_INLINE void Invariants::SessionRenewed(const SessionId& session, Time now,
                                                Duration lease) {
  sessions_[session] = AddSaturated(now, lease);
  if (trace_) trace_(fmt::format("session {} lasts for {} ms", session, lease.count()));
}

MARATHON_INLINE void Invariants::SessionExpired(const SessionId& session, Time now) {
  if (trace_) trace_(fmt::format("session {} is expired", session));
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  if (it->second > now) Report("I7", {}, fmt::format("session {} was expired while live", session));
  sessions_.erase(it);
}

MARATHON_INLINE void Invariants::Compare(const RunSnapshot& stored) {
  const Run* run = Find(stored.row.key);
  if (run == nullptr) return Report("I3", stored.row.key, "is in the store and was never started");
  if (stored.row.pinned.value_or("") != run->pinned) Report("I14", run->key, "is stored as pinned to another build");
  if (stored.row.version != run->version || stored.row.status != run->status) {
    Report("I3", run->key, fmt::format("is stored at version {}, and was acknowledged at {}",
                                       stored.row.version, run->version));
  }
  if (stored.records != run->records) {
    Report("I3", run->key, "its history is not what was acknowledged");
  }
  RunLabels labels;
  bool begun = false;  // one that was ended before its first turn has no such event
  for (const std::string& bytes : run->records) {
    const StatusOr<Record> record = DecodeRecord(bytes);
    for (const Event& event : record.ok() ? record->events : History()) {
      if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) {
        begun = true;
        labels = {started->memo, started->attributes};
      } else if (const auto* set = std::get_if<AttributesSet>(&event.body)) {
        marathon::detail::SetLabels(labels.attributes, set->attributes);
      }
    }
  }
  if (begun && stored.row.labels.value_or(RunLabels()) != labels) {
    Report("I13", run->key, "has other labels than its history says");
  }
}

}  // namespace marathon::inline MARATHON_ABI::testing

#include "marathon/testing/invariants_forks-inl.h"
