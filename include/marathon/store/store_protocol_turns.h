// StoreProtocol: turns, from the take to the commit or the block. Included by store_protocol.h.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI {

template <class Tables>
StatusOr<RunSnapshot> StoreProtocol<Tables>::TakeTurn(const TakeTurnRequest& request) {
  Run* run = t_.FindRun(request.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(request.run)));
  if (run->status != RunStatus::kRunning) {
    return FailedPrecondition(fmt::format("{} is closed", detail::Name(run->key)));
  }
  if (detail::Rests(*run)) {
    return FailedPrecondition(
        fmt::format("{} is {}", detail::Name(run->key), run->blocked ? "blocked" : "paused"));
  }
  if (!detail::IsFor(*run, request.build_id)) {
    return FailedPrecondition(
        fmt::format("{} is pinned to build {}", detail::Name(run->key), *run->pinned));
  }
  const bool own = run->owner == request.session;
  const bool wears_off = request.keep && run->owner_until < AddSaturated(now_, limits::kTurnClaim / 2);
  if ((!own || wears_off) && detail::IsReady(*run)) {
    if (!own && run->owner_until > now_ && !run->owner.empty() && t_.HasSession(run->owner)) {
      return Aborted(fmt::format("{} is session {}'s for now", detail::Name(run->key),
                                 static_cast<const std::string&>(run->owner)));
    }
    if (!own) t_.SetOwner(*run, request.session);
    run->owner_until = AddSaturated(now_, limits::kTurnClaim);
    run->resends = 0;
    if (!own) ++run->deliveries;
    Update(*run);
  }

  RunSnapshot snapshot;
  snapshot.now = now_;
  snapshot.row = t_.ToRow(*run);
  if (request.keep) return snapshot;
  const EventId known = request.known_version;
  const bool is_known =
      known > 0 && ((known == run->version && request.known_commit == run->commit_id) ||
                    request.known_commit == t_.CommitAt(*run, known));
  snapshot.more_records =
      t_.ReadRecords(*run, is_known ? known : 0, limits::kHistoryPageBytes, snapshot.records);
  if (detail::DelayedUntil(*run) <= now_) {
    t_.ReadInbox(*run, 0, limits::kTurnMaxMessages, snapshot.inbox);
  }
  return snapshot;
}

template <class Tables>
StatusOr<CommitReply> StoreProtocol<Tables>::Commit(TurnCommit&& commit) {
  Run* run = t_.FindRun(commit.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(commit.run)));
  if (run->status != RunStatus::kRunning) {
    return Aborted(fmt::format("{} is closed", detail::Name(run->key)));
  }
  if (detail::Rests(*run) && !commit.session.empty()) {  // a terminate needs no code: it may pass
    return Aborted(
        fmt::format("{} is {}", detail::Name(run->key), run->blocked ? "blocked" : "paused"));
  }
  if (!detail::IsFor(*run, commit.build_id) && !commit.session.empty()) {
    return Aborted(fmt::format("{} is pinned to build {}", detail::Name(run->key), *run->pinned));
  }
  if (run->version != commit.expected_version && !MARATHON_MUTANT("no_version_check")) {
    return Aborted(fmt::format("{} is at event {}, not at {}", detail::Name(run->key), run->version,
                               commit.expected_version));
  }
  if (commit.expected_commit != 0 && run->commit_id != commit.expected_commit &&
      !MARATHON_MUTANT("no_version_check")) {
    return Aborted(fmt::format("{} has had another commit at event {}", detail::Name(run->key),
                               run->version));
  }
  if (Status s = CheckTurn(commit, run->pending_activities); !s.ok()) return s;
  if (commit.close.has_value() && !commit.leave_signals && !commit.next.has_value() &&
      run->inbox_last_signal > commit.inbox_taken && run->inbox_size > 0 &&
      !MARATHON_MUTANT("close_ignores_late_signal")) {
    return FailedPrecondition(
        fmt::format("{}: a signal came before the close", detail::Name(run->key)));
  }
  ApplyTurn(*run, std::move(commit));
  return CommitReply{now_, run->inbox_size};
}

template <class Tables>
Status StoreProtocol<Tables>::CheckTurn(const TurnCommit& commit, int64_t pending_activities) {
  if (commit.new_version < commit.expected_version ||
      (commit.new_version == commit.expected_version) != commit.record.empty()) {
    return InvalidArgument(fmt::format("a commit of {} bytes from event {} to {}",
                                       commit.record.size(), commit.expected_version,
                                       commit.new_version));
  }
  if (commit.next.has_value() && !commit.close.has_value()) {
    return InvalidArgument("a run goes on in another one only when it closes");
  }
  const bool all_owed = std::ranges::all_of(commit.activities, &NewActivity::owed);
  if (commit.close.has_value() && !all_owed) {
    return InvalidArgument("a run that closes schedules only what it owes");
  }
  for (const HandedOver& handed : commit.handed_over) {
    const ActivityRow* row = t_.FindActivity(commit.run, handed.id);
    const bool held = row != nullptr && row->epoch == handed.epoch;
    if (!held && !MARATHON_MUTANT("handover_unchecked")) {
      return Aborted(fmt::format("activity {} of {} is no longer the caller's", handed.id,
                                 detail::Name(commit.run)));
    }
  }
  pending_activities += static_cast<int64_t>(commit.activities.size()) -
                        static_cast<int64_t>(commit.handed_over.size());
  const bool adds = !commit.activities.empty() && !commit.close.has_value();
  if (adds && pending_activities > limits::kMaxPendingActivities) {
    return OutOfRange(fmt::format("{}: too many pending activities (kMaxPendingActivities = {})",
                                  detail::Name(commit.run), limits::kMaxPendingActivities));
  }
  for (const NewActivity& activity : commit.activities) {
    if (!activity.claim) continue;
    if (t_.HasSession(commit.session)) break;
    return Aborted(fmt::format("session {} has expired and can claim nothing", commit.session));
  }
  return {};
}

template <class Tables>
void StoreProtocol<Tables>::ApplyTurn(Run& run, TurnCommit&& commit) {
  for (const HandedOver& handed : commit.handed_over) {
    ActivityRow* row = t_.FindActivity(run.key, handed.id);
    if (row == nullptr) continue;  // only where CheckTurn is broken on purpose
    Drop(run, *row);
  }
  run.version = commit.new_version;
  run.commit_id = commit.commit_id;
  if (commit.pin) run.pinned = commit.build_id.str();
  if (!commit.record.empty()) {
    const auto stored = static_cast<int64_t>(commit.record.size());
    run.history_bytes += std::max(stored, commit.history_bytes);
    if (!commit.blobs.empty() && !MARATHON_MUTANT("blobs_not_held")) {
      run.has_blobs = true;
      t_.HoldBlobs(run, std::move(commit.blobs));
    }
    t_.AppendRecord(run, commit.new_version, commit.commit_id, std::move(commit.record));
    if (effects_.events_awaited) effects_.answered.push_back(run.key);
  }
  if (!commit.answers.empty()) SetAnswers(run, commit.answers);
  if (!commit.attributes.empty()) SetAttributes(run, commit.attributes);
  if (commit.close.has_value()) {
    for (NewActivity& owed : commit.activities) ScheduleActivity(run, std::move(owed), commit.session);
    for (const CanceledActivity& canceled : commit.cancel_activities) {
      const ActivityRow* row = t_.FindActivity(run.key, canceled.id);
      if (row != nullptr && row->owed != Owed::kNo) CancelActivity(run, canceled);
    }
    const bool goes_on = commit.next.has_value();
    if (goes_on) Continue(run, *std::move(commit.next), commit.inbox_taken);
    return Close(run, *commit.close, goes_on);
  }

  if (run.inbox_size > 0) {
    constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
    run.inbox_size -=
        t_.EraseMessages(run, MARATHON_MUTANT("commit_takes_all") ? kAll : commit.inbox_taken);
  }
  for (NewActivity& activity : commit.activities) {
    ScheduleActivity(run, std::move(activity), commit.session);
  }
  for (const CanceledActivity& canceled : commit.cancel_activities) CancelActivity(run, canceled);
  for (const NewTimer& timer : commit.timers) {
    const Time due = AddSaturated(now_, timer.duration);
    t_.InsertTimer(run, timer.id, due);
    effects_.NoteDue(due);
  }
  for (EventId id : commit.cancel_timers) t_.EraseTimer(run, id);

  run.deliveries = run.give_backs = 0;
  run.ready_since = kNever;
  if (!commit.session.empty() && run.owner != commit.session) t_.SetOwner(run, commit.session);
  if (!MARATHON_MUTANT("commit_forgets_the_rest")) MakeReady(run, commit.session);
  Update(run);
}

template <class Tables>
void StoreProtocol<Tables>::SetAttributes(Run& run, const Labels& changes) {
  RunLabels labels;
  if (run.labels) labels = *run.labels;
  detail::SetLabels(labels.attributes, changes);
  run.labels.reset();
  if (!labels.empty()) run.labels = std::move(labels);
}

template <class Tables>
void StoreProtocol<Tables>::Close(Run& run, RunStatus status, bool goes_on) {
  int32_t owed = 0;
  if (run.pending_activities > 0) {
    for (EventId id : t_.ActivitiesOf(run)) {
      ActivityRow* row = t_.FindActivity(run.key, id);
      if (row->owed != Owed::kNo && !MARATHON_MUTANT("close_drops_owed")) {
        ++owed;
        if (!goes_on) Owe(*row);
        continue;
      }
      TellCanceled(*row);
      t_.EraseActivity(*row);
    }
  }
  if (!goes_on && run.links) {
    for (const ActivityKey& child : (*run.links).children) {
      if (ActivityRow* row = t_.FindActivity(child.run, child.id); row != nullptr) Owe(*row);
    }
  }
  t_.EraseTimers(run);
  if (run.inbox_size > 0) t_.EraseMessages(run, std::numeric_limits<uint64_t>::max());
  run.status = status;
  run.close_time = now_;
  run.pending_activities = owed;
  run.dead_letters = 0;
  run.inbox_size = 0;
  run.ready_since = kNever;
  run.blocked.reset();
  run.paused.reset();
  effects_.closed.push_back(run.key);
  Update(run);
}

template <class Tables>
Status StoreProtocol<Tables>::Block(const RunKey& key, EventId version, BlockInfo&& info) {
  Run* run = t_.FindRun(key);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(key)));
  if (run->status != RunStatus::kRunning || run->version != version) {
    return Aborted(fmt::format("{} is {} at event {}", detail::Name(key),
                               run->status == RunStatus::kRunning ? "open" : "closed",
                               run->version));
  }
  if (!detail::IsFor(*run, info.build_id)) {  // it was moved: what did not fit is the build that it left
    return Aborted(fmt::format("{} is pinned to build {}", detail::Name(run->key), *run->pinned));
  }
  info.since = now_;
  if (info.retry_at != kNever) {
    info.retry_at = AddSaturated(now_, detail::GiveBackPause(run->give_backs++));
    run->deliveries = std::max(run->deliveries - 1, 0);  // this was none
    t_.SetOwner(*run, SessionId());
  }
  run->blocked = std::move(info);
  run->ready_since = kNever;
  Update(*run);
  return {};
}

template <class Tables>
Status StoreProtocol<Tables>::Unblock(const RunKey& key) {
  Run* run = FindRunOrNewest(key);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(key)));
  if (!run->blocked) return {};
  run->blocked.reset();
  run->deliveries = run->give_backs = 0;
  MakeReady(*run, SessionId());
  Update(*run);
  return {};
}

}  // namespace marathon::inline MARATHON_ABI
