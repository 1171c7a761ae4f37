// StoreProtocol: starts, messages, turns and reading. Included by store_protocol.h.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI {

// ---- Starting ----------------------------------------------------------------------------------

template <class Tables>
StatusOr<StartReply> StoreProtocol<Tables>::Start(StartRequest&& request) {
  Run* newest = t_.FindNewestRun(request.run.workflow_id);
  if (!request.request_id.empty() && !MARATHON_MUTANT("duplicate_start_new_run")) {
    // Though the newest run may have been deleted.
    Run* same = t_.FindRunByRequest(request.run.workflow_id, request.request_id);
    if (same != nullptr) return StartedBySame(*same, std::move(request));
  }
  if (newest != nullptr && !MARATHON_MUTANT("duplicate_start_new_run")) {
    if (newest->status == RunStatus::kRunning) return StartedBefore(*newest, std::move(request));
    const bool allowed = request.reuse == IdReusePolicy::kAllowDuplicate ||
                         (request.reuse == IdReusePolicy::kAllowDuplicateFailedOnly &&
                          newest->status != RunStatus::kCompleted);
    if (!allowed || t_.FindRun(request.run) != nullptr) {
      return AlreadyExists(
          fmt::format("{} is there already and the id reuse policy forbids another",
                      detail::Name(newest->key)));
    }
  }
  // Nor an older one, where the newest has been deleted.
  if (Run* same = newest == nullptr ? t_.FindRun(request.run) : nullptr; same != nullptr) {
    if (same->request_id == request.request_id) return StartedBySame(*same, std::move(request));
    return AlreadyExists(fmt::format("{} is there already", detail::Name(same->key)));
  }
  if (request.first_turn.has_value()) {
    if (Status s = CheckTurn(*request.first_turn, 0); !s.ok()) return s;
  }

  RunRow row;
  row.key = std::move(request.run);
  row.workflow_type = std::move(request.workflow_type);
  row.task_queue = std::move(request.task_queue);
  row.request_id = std::move(request.request_id);
  detail::SetTimes(row, now_, request.delay, request.run_timeout);
  detail::SetParent(row, request.messages);
  RunLabels labels;
  detail::SetLabels(labels.memo, request.labels.memo);
  detail::SetLabels(labels.attributes, request.labels.attributes);
  if (!labels.empty()) row.labels = std::move(labels);
  Run& run = t_.InsertRun(std::move(row));
  if (request.first_turn.has_value()) {
    for (const Message& message :
         request.messages) {  // they are in the record; a repeat must not be
      if (!message.dedupe_key.empty()) t_.AddKey(run, message.dedupe_key, now_);
    }
    ApplyTurn(run, std::move(*request.first_turn));
    if (!request.inbox.empty()) {
      for (Message& message : request.inbox) Append(run, std::move(message));
      MakeReady(run, request.session);
      Update(run);
    }
  } else {
    for (Message& message : request.messages) Append(run, std::move(message));
    MakeReady(run, request.session);
    Update(run);
  }
  return Answer(run, request.session, true);
}

// An open run has the workflow id: it gets the signals, or the start is refused.
template <class Tables>
StatusOr<StartReply> StoreProtocol<Tables>::StartedBefore(Run& run, StartRequest&& request) {
  if (request.conflict == IdConflictPolicy::kFail) {
    return AlreadyExists(fmt::format("{} is open", detail::Name(run.key)));
  }
  if (run.inbox_size + static_cast<int64_t>(request.messages.size()) > limits::kMaxInboxMessages) {
    return ResourceExhausted(fmt::format("{}: its inbox is full (kMaxInboxMessages = {})",
                                         detail::Name(run.key), limits::kMaxInboxMessages));
  }
  for (size_t i = 1; i < request.messages.size(); ++i) {  // the first one is WorkflowStarted
    Message& message = request.messages[i];
    if (message.dedupe_key.empty() || !t_.HasKey(run, message.dedupe_key)) {
      Append(run, std::move(message));
    }
  }
  MakeReady(run, request.session);
  Update(run);
  return Answer(run, request.session, false);
}

// The start's own request made this run. What came with it is known by its dedupe key; a message that is not, such as
// another signal-with-start's, is put as if by itself.
template <class Tables>
StatusOr<StartReply> StoreProtocol<Tables>::StartedBySame(Run& run, StartRequest&& request) {
  std::erase_if(request.messages, [&](const Message& message) {
    return message.dedupe_key.empty() ? !std::holds_alternative<WorkflowStarted>(message.body)
                                      : t_.HasKey(run, message.dedupe_key);
  });
  if (request.messages.size() <= 1) return Answer(run, request.session, false);
  if (run.status != RunStatus::kRunning) {
    return FailedPrecondition(fmt::format("{} is closed", detail::Name(run.key)));
  }
  request.conflict = IdConflictPolicy::kUseExisting;
  return StartedBefore(run, std::move(request));
}

template <class Tables>
StartReply StoreProtocol<Tables>::Answer(const Run& run, const SessionId& session,
                                         bool started) const {
  const bool mine = detail::IsReady(run) && !session.empty() && run.owner == session;
  return StartReply{run.key, started, mine, now_};
}

// ---- Messages ----------------------------------------------------------------------------------

template <class Tables>
StatusOr<PutReply> StoreProtocol<Tables>::Put(PutRequest&& request) {
  Run* run = FindInChain(request.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(request.run)));
  if (const std::string& key = request.message.dedupe_key; !key.empty()) {
    t_.TrimKeys(*run, now_ - limits::kDedupeWindow, limits::kDedupeKeys);
    if (t_.HasKey(*run, key) && !MARATHON_MUTANT("no_signal_dedupe")) {
      const bool mine =
          detail::IsReady(*run) && !request.session.empty() && run->owner == request.session;
      return PutReply{run->key, mine, /*duplicate=*/true};
    }
  }
  if (run->status != RunStatus::kRunning) {
    return FailedPrecondition(fmt::format("{} is closed", detail::Name(run->key)));
  }
  if (run->inbox_size >= limits::kMaxInboxMessages) {
    return ResourceExhausted(fmt::format("{}: its inbox is full (kMaxInboxMessages = {})",
                                         detail::Name(run->key), limits::kMaxInboxMessages));
  }
  Append(*run, std::move(request.message));
  const bool mine = !MARATHON_MUTANT("ready_not_set_on_put") && MakeReady(*run, request.session);
  Update(*run);
  return PutReply{run->key, mine, false};
}

template <class Tables>
auto StoreProtocol<Tables>::FindRunOrNewest(const RunKey& key) -> Run* {
  return key.run_id.empty() ? t_.FindNewestRun(key.workflow_id) : t_.FindRun(key);
}

template <class Tables>
auto StoreProtocol<Tables>::FindInChain(const RunKey& key) -> Run* {
  if (Run* run = Follow(FindRunOrNewest(key)); run != nullptr) return run;
  Run* newest = t_.FindNewestRun(key.workflow_id);
  return newest != nullptr && detail::FirstRunId(*newest) == key.run_id ? newest : nullptr;
}

template <class Tables>
void StoreProtocol<Tables>::Append(Run& run, Message&& message) {
  message.seq = ++run.inbox_last;
  ++run.inbox_size;
  if (std::holds_alternative<SignalReceived>(message.body)) run.inbox_last_signal = message.seq;
  if (!message.dedupe_key.empty()) t_.AddKey(run, message.dedupe_key, now_);
  t_.AppendMessage(run, std::move(message));
}

template <class Tables>
bool StoreProtocol<Tables>::MakeReady(Run& run, const SessionId& offered) {
  if (run.status != RunStatus::kRunning || detail::Rests(run) || run.inbox_size == 0) return false;
  if (detail::DelayedUntil(run) > now_) return false;
  // Of which build a session is, its turns tell: a pinned run is its owner's or anyone's who asks for it.
  static const SessionId kNobody;
  const SessionId& session = detail::IsPinned(run) && !(run.owner == offered) ? kNobody : offered;
  if (!detail::IsReady(run)) {
    run.ready_since = now_;
    run.resends = 0;
    const bool owned = !run.owner.empty() && t_.HasSession(run.owner);
    if (!owned && run.owner != session) t_.SetOwner(run, session);
    run.owner_until = run.owner.empty() ? now_ : AddSaturated(now_, limits::kOwnerPreference);
    if (run.owner.empty() || run.owner != session) HintTurn(run, run.owner);
  }
  return !session.empty() && run.owner == session;
}

// ---- Turns -------------------------------------------------------------------------------------

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
void StoreProtocol<Tables>::ScheduleActivity(Run& run, NewActivity&& activity,
                                             const SessionId& session) {
  ActivityRow row;
  row.key = ActivityKey{run.key, activity.id};
  row.activity_type = std::move(activity.activity_type);
  row.task_queue = std::move(activity.task_queue);
  row.workflow_type = run.workflow_type;
  row.input = std::move(activity.input);
  row.headers = std::move(activity.headers);
  row.policy = std::move(activity.policy);
  row.scheduled_at = row.available_at = now_;
  row.epoch = UnclaimedEpoch(run.commit_id);
  if (activity.owed) row.owed = Owed::kAtEnd;
  if (activity.claim) {
    row.state = ActivityState::kClaimed;
    ++row.epoch;
    row.session = session;
    row.started_at = row.heartbeat_at = now_;
  } else {
    HintActivity(row);
  }
  ++run.pending_activities;
  const Time due = NextDue(row, times_.resend).at;
  effects_.NoteDue(due);
  t_.InsertActivity(run, std::move(row), due);
}

template <class Tables>
void StoreProtocol<Tables>::CancelActivity(Run& run, const CanceledActivity& canceled) {
  ActivityRow* row = t_.FindActivity(run.key, canceled.id);
  if (row == nullptr) return;  // its outcome is on the way, or was handed over
  if (row->owed != Owed::kNo) {
    row->cancel_requested = true;
    if (row->state == ActivityState::kDetached) MakeClaimable(*row);
    TellCanceled(*row);
    return Update(*row);
  }
  if (row->state != ActivityState::kClaimed && row->state != ActivityState::kDetached) {
    if (canceled.answer) {
      Append(run, {0, "", ActivityFailed{canceled.id, detail::CanceledFailure(), row->attempt}});
    }
    return Drop(run, *row);
  }
  row->cancel_requested = true;
  TellCanceled(*row);
  Update(*row);
}

template <class Tables>
void StoreProtocol<Tables>::Drop(Run& run, ActivityRow& row) {
  if (row.state == ActivityState::kDead) --run.dead_letters;
  --run.pending_activities;
  t_.EraseActivity(row);
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

// The run of an activity that is owed has ended: whoever has it, or claims it next, does what is left to do.
template <class Tables>
void StoreProtocol<Tables>::Owe(ActivityRow& row) {
  row.owed = Owed::kNow;
  if (row.state != ActivityState::kClaimed) MakeClaimable(row);
  Update(row);
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

// ---- Reading -----------------------------------------------------------------------------------

template <class Tables>
StatusOr<RunSnapshot> StoreProtocol<Tables>::Read(const ReadRequest& request) {
  const Run* run = FindRunOrNewest(request.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(request.run)));
  RunSnapshot snapshot;
  snapshot.now = now_;
  snapshot.row = t_.ToRow(*run);
  if (request.records) {
    snapshot.more_records =
        t_.ReadRecords(*run, request.after_version, request.max_record_bytes, snapshot.records);
  }
  if (request.inbox) t_.ReadInbox(*run, 0, limits::kTurnMaxMessages, snapshot.inbox);
  if (request.activities) {
    for (EventId id : t_.ActivitiesOf(*run)) {
      snapshot.activities.push_back(*t_.FindActivity(run->key, id));
    }
  }
  return snapshot;
}

template <class Tables>
StatusOr<std::optional<RunSnapshot>> StoreProtocol<Tables>::ReadAwaited(
    const AwaitRequest& request) {
  const Run* run = FindRunOrNewest(request.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(request.run)));
  if (request.after) return ReadEvents(*run, *request.after);
  StatusOr<std::optional<UpdateAnswer>> answer = ReadAnswer(*run, request);
  if (!answer.ok()) return answer.status();
  if (run->status == RunStatus::kRunning && !answer->has_value()) return std::optional<RunSnapshot>();
  std::optional<RunSnapshot> snapshot(std::in_place);
  snapshot->answer = *std::move(answer);
  snapshot->now = now_;
  snapshot->row = t_.ToRow(*run);
  std::string end = run->status == RunStatus::kRunning ? std::string() : t_.LastRecord(*run);
  if (!end.empty()) snapshot->records.push_back(std::move(end));
  return snapshot;
}

template <class Tables>
std::optional<RunSnapshot> StoreProtocol<Tables>::ReadEvents(const Run& run, EventId after) {
  if (run.status == RunStatus::kRunning && run.version <= after) return std::nullopt;
  RunSnapshot snapshot;
  snapshot.now = now_;
  snapshot.row = t_.ToRow(run);
  snapshot.more_records = t_.ReadRecords(run, after, limits::kHistoryPageBytes, snapshot.records);
  return snapshot;
}

}  // namespace marathon::inline MARATHON_ABI
