// StoreProtocol: activities, from the schedule to the claims, attempts and heartbeats. Included by store_protocol.h.
#pragma once

#include <fmt/format.h>

#include <utility>
#include <variant>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI {

// ---- What turns do to them ---------------------------------------------------------------------

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

// The run of an activity that is owed has ended: whoever has it, or claims it next, does what is left to do.
template <class Tables>
void StoreProtocol<Tables>::Owe(ActivityRow& row) {
  row.owed = Owed::kNow;
  if (row.state != ActivityState::kClaimed) MakeClaimable(row);
  Update(row);
}

// ---- What workers do to them -------------------------------------------------------------------

template <class Tables>
Status StoreProtocol<Tables>::SessionKnown(const SessionId& session) {
  if (t_.HasSession(session)) return {};
  return FailedPrecondition(fmt::format("session {} has expired", session));
}

template <class Tables>
std::optional<ActivityRow> StoreProtocol<Tables>::Claim(const SessionId& session,
                                                        const ClaimRequest& request) {
  ActivityRow* row = t_.FindActivity(request.key.run, request.key.id);
  const bool claimable =
      row != nullptr && ((IsClaimable(*row) && row->epoch == request.epoch) ||
                         MARATHON_MUTANT("claim_unchecked"));
  if (!claimable) return std::nullopt;
  row->state = ActivityState::kClaimed;
  ++row->epoch;
  row->session = session;
  row->started_at = row->heartbeat_at = now_;
  row->resends = 0;
  Update(*row);
  return *row;
}

template <class Tables>
StatusOr<AttemptReply> StoreProtocol<Tables>::EndAttempt(AttemptEnd&& end) {
  ActivityRow* row = t_.FindActivity(end.key.run, end.key.id);
  if (row == nullptr) return AttemptReply{};
  const bool skip_check =
      MARATHON_MUTANT("no_epoch_check") ||
      (end.kind == AttemptEnd::Kind::kRetry && MARATHON_MUTANT("retry_without_epoch"));
  const bool any = end.epoch == kAnyEpoch && end.kind == AttemptEnd::Kind::kFinal;
  // Where the turn that asked for the child is lost, another activity may have its number.
  if (any && row->owed == Owed::kNo) return AttemptReply{};
  if (row->epoch != end.epoch && !any && !skip_check) {
    return Aborted(fmt::format("activity {} of {} is at epoch {}, not at {}", end.key.id,
                               detail::Name(end.key.run), row->epoch, end.epoch));
  }
  const bool final = end.kind == AttemptEnd::Kind::kFinal;
  if (final && !std::holds_alternative<ActivityCompleted>(end.outcome) &&
      !std::holds_alternative<ActivityFailed>(end.outcome)) {
    return InvalidArgument("an activity ends as ActivityCompleted or ActivityFailed");
  }
  if (end.kind == AttemptEnd::Kind::kDead && row->owed != Owed::kNo) {
    return InvalidArgument(fmt::format("activity {} of {} is owed: it cannot be held as a dead letter", end.key.id,
                                       detail::Name(end.key.run)));
  }
  // A result counts whatever became of its lease, as long as nobody claimed anew. The other ends
  // are of use only to who still holds the activity: repeated, or late, they change nothing.
  const bool held = row->state == ActivityState::kClaimed || row->state == ActivityState::kDetached;
  std::string place;
  if (end.kind != AttemptEnd::Kind::kDetach) place = PlaceKeyOf(row->task_queue, row->policy);
  if (!final && !held && !skip_check) return AttemptReply{false, false, std::move(place)};
  if (end.kind == AttemptEnd::Kind::kRetry && end.attempt != 0 && end.attempt != row->attempt) {
    return Aborted(fmt::format("activity {} of {} is at attempt {}, not at {}", end.key.id, detail::Name(end.key.run),
                               row->attempt, end.attempt));
  }

  const bool again = !final && end.kind != AttemptEnd::Kind::kDetach;
  if (again && row->cancel_requested && row->owed == Owed::kNo) {  // nobody runs it any more: that is its end
    end.outcome = ActivityFailed{end.key.id, detail::CanceledFailure(), row->attempt};
  } else if (!final) {
    return AttemptReply{Rearm(*row, std::move(end)), false, std::move(place)};
  }
  if (auto* completed = std::get_if<ActivityCompleted>(&end.outcome)) {
    if (completed->attempt == 0) completed->attempt = row->attempt;
  } else if (auto* failed = std::get_if<ActivityFailed>(&end.outcome)) {
    if (failed->attempt == 0) failed->attempt = row->attempt;
  }
  Run* run = t_.FindRun(end.key.run);
  return AttemptReply{true, Resolve(*run, *row, std::move(end.outcome), end.session), std::move(place)};
}

template <class Tables>
Status StoreProtocol<Tables>::CheckHeld(const ActivityKey& key, Epoch epoch) {
  const ActivityRow* row = t_.FindActivity(key.run, key.id);
  if (row == nullptr || row->epoch != epoch || row->state != ActivityState::kClaimed) {
    return Aborted(fmt::format("activity {} of {} is no longer at epoch {}, at work", key.id, detail::Name(key.run), epoch));
  }
  if (row->cancel_requested) return Cancelled(fmt::format("activity {} of {} is canceled", key.id, detail::Name(key.run)));
  return {};
}

template <class Tables>
bool StoreProtocol<Tables>::Rearm(ActivityRow& row, AttemptEnd&& end) {
  row.session.clear();
  if (end.kind == AttemptEnd::Kind::kDetach) {
    const bool canceled = row.owed == Owed::kAtEnd && row.cancel_requested && !end.cancel_told;
    const bool ended = row.owed == Owed::kNow && !MARATHON_MUTANT("detach_forgets_the_end");
    if (canceled || ended) {
      MakeClaimable(row);
    } else {
      row.state = ActivityState::kDetached;
    }
  } else if (end.kind == AttemptEnd::Kind::kDead) {
    row.state = ActivityState::kDead;
    row.last_failure = std::move(end.failure);
    Run* run = t_.FindRun(row.key.run);
    ++run->dead_letters;
    Update(*run);
  } else {
    if (end.kind == AttemptEnd::Kind::kRetry) {
      ++row.attempt;
      row.deliveries = 0;
      row.last_failure = std::move(end.failure);
    }
    if (end.kind == AttemptEnd::Kind::kGiveBack && end.heartbeat.encoding != Encoding::kNone) {
      row.heartbeat = std::move(end.heartbeat);
    }
    if (end.kind == AttemptEnd::Kind::kGiveBack && end.failure) row.last_failure = std::move(end.failure);
    if (end.delay > Duration(0)) {
      row.state = ActivityState::kBackoff;
      row.available_at = AddSaturated(now_, end.delay);
    } else {
      MakeClaimable(row);
    }
  }
  Update(row);
  return true;
}

template <class Tables>
void StoreProtocol<Tables>::MakeClaimable(ActivityRow& row) {
  row.state = ActivityState::kClaimable;
  row.session.clear();
  row.available_at = now_;
  row.resends = 0;
  HintActivity(row);
}

template <class Tables>
bool StoreProtocol<Tables>::Resolve(Run& run, ActivityRow& row, EventBody&& outcome,
                                    const SessionId& session) {
  Drop(run, row);
  if (run.status != RunStatus::kRunning) {
    run.deleted && run.pending_activities == 0 ? t_.EraseRun(run) : Update(run);
    return false;
  }
  Message message;
  message.body = std::move(outcome);
  Append(run, std::move(message));
  const bool mine = MakeReady(run, session);
  Update(run);
  return mine;
}

template <class Tables>
StatusOr<HeartbeatReply> StoreProtocol<Tables>::Heartbeat(HeartbeatRequest&& request) {
  ActivityRow* row = t_.FindActivity(request.key.run, request.key.id);
  if (row == nullptr) {
    return NotFound(fmt::format("activity {} of {} is resolved", request.key.id,
                                detail::Name(request.key.run)));
  }
  const bool held = row->state == ActivityState::kClaimed || row->state == ActivityState::kDetached;
  if (row->epoch != request.epoch || !held) {
    return Aborted(fmt::format("activity {} of {} is no longer the caller's", request.key.id,
                               detail::Name(request.key.run)));
  }
  row->heartbeat_at = now_;
  if (request.details.encoding != Encoding::kNone && request.details != row->heartbeat) {
    row->heartbeat = std::move(request.details);
    row->deliveries = 0;  // it makes progress: what killed it before is behind it
  }
  Update(*row);
  return HeartbeatReply{row->cancel_requested};
}

}  // namespace marathon::inline MARATHON_ABI
