#pragma once

#include <fmt/format.h>

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

MARATHON_INLINE Time Invariants::CanceledAt(const ActivityKey& key, Epoch epoch, const SessionId& session) const {
  const Run* run = Find(key.run);
  if (run == nullptr) return kNever;
  const auto claim = run->claims.find({key.id, epoch});
  if (claim == run->claims.end() || claim->second != session) return kNever;
  const auto canceled = run->canceled.find(key.id);
  return canceled == run->canceled.end() ? kNever : canceled->second;
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
    run->second.claims[{row.key.id, row.epoch}] = row.session;
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
#include "marathon/testing/invariants_turns-inl.h"
