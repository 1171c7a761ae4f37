// StoreProtocol: what falls due, sessions and their ends, and what the parts share. Included by
// store_protocol.h.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI {

// ---- Due ---------------------------------------------------------------------------------------

template <class Tables>
int StoreProtocol<Tables>::PollDue(const DueRequest& request, DueReply& reply) {
  const std::vector<DueEntry> entries = t_.ScanDue(now_, request.limit);
  for (const DueEntry& entry : entries) {
    switch (entry.what) {
      case DueEntry::What::kTimer:
        FireTimer(entry, request.session, reply);
        break;
      case DueEntry::What::kActivity:
        ActivityIsDue(entry, reply);
        break;
      case DueEntry::What::kRun:
      case DueEntry::What::kExcess:
        RunIsDue(entry, reply);
        break;
    }
  }
  reply.now = now_;
  reply.next_due = std::min(reply.next_due, t_.EarliestDue());
  return static_cast<int>(entries.size());
}

template <class Tables>
void StoreProtocol<Tables>::FireTimer(const DueEntry& entry, const SessionId& session,
                                      DueReply& reply) {
  Run* run = t_.FindRun(entry.run);
  if (run == nullptr) return;
  t_.EraseTimer(*run, entry.id);
  if (MARATHON_MUTANT("timer_not_deleted")) {
    t_.InsertTimer(*run, entry.id, AddSaturated(now_, limits::kDueAgain));
  }
  Message message;
  message.body = TimerFired{entry.id};
  Append(*run, std::move(message));
  if (MakeReady(*run, session)) reply.ready.push_back(run->key);
  Update(*run);
}

template <class Tables>
void StoreProtocol<Tables>::ActivityIsDue(const DueEntry& entry, DueReply& reply) {
  ActivityRow* row = t_.FindActivity(entry.run, entry.id);
  if (row == nullptr) return;
  ActivityDue due = NextDue(*row, times_.resend);
  if (due.at > now_) return Update(*row);  // it was put off, and has moved on meanwhile
  switch (due.what) {
    case ActivityDue::What::kRetry:
      MakeClaimable(*row);
      return Update(*row);
    case ActivityDue::What::kResend:
      do {
        ++row->resends;
        due = NextDue(*row, times_.resend);
      } while (due.what == ActivityDue::What::kResend && due.at <= now_);
      if (!MARATHON_MUTANT("no_resend")) HintActivity(*row);
      return Update(*row);
    case ActivityDue::What::kTimeout: {
      reply.expired_activities.push_back(*row);
      const Time again = AddSaturated(now_, limits::kDueAgain);
      t_.UpdateActivity(*row, again);
      return effects_.NoteDue(again);
    }
    case ActivityDue::What::kClaim: {
      reply.claimable.push_back({row->key, row->epoch});
      const Time again = AddSaturated(now_, limits::kDueAgain);
      t_.UpdateActivity(*row, again);
      return effects_.NoteDue(again);
    }
    case ActivityDue::What::kNothing:
      return Update(*row);
  }
}

template <class Tables>
void StoreProtocol<Tables>::RunIsDue(const DueEntry& entry, DueReply& reply) {
  Run* run = t_.FindRun(entry.run);
  if (run == nullptr) return;
  if (run->status != RunStatus::kRunning) {
    const Time forget_at = detail::ForgetAt(*run, times_.closed_keep);
    const bool excess = entry.what == DueEntry::What::kExcess && forget_at != kNever;
    if (excess || forget_at <= now_) return t_.EraseRun(*run);
    return Update(*run);
  }
  if (run->blocked && (*run->blocked).retry_at <= now_) {
    run->blocked.reset();
    MakeReady(*run, SessionId());
  }
  if (!detail::IsReady(*run) && detail::DelayedUntil(*run) != Time()) MakeReady(*run, SessionId());
  if (detail::IsReady(*run) && detail::ResendAt(*run, times_.resend) <= now_) {
    while (detail::ResendAt(*run, times_.resend) <= now_) ++run->resends;
    if (!MARATHON_MUTANT("no_resend")) HintTurn(*run, SessionId());
  }
  if (run->run_deadline > now_) return Update(*run);
  reply.expired_runs.push_back(t_.ToRow(*run));
  Time again = AddSaturated(now_, limits::kDueAgain);
  if (detail::IsReady(*run)) again = std::min(again, detail::ResendAt(*run, times_.resend));
  if (run->blocked) again = std::min(again, (*run->blocked).retry_at);
  t_.UpdateRun(*run, again);
  effects_.NoteDue(again);
}

// ---- Sessions ----------------------------------------------------------------------------------

template <class Tables>
void StoreProtocol<Tables>::ReleaseHeld(const SessionId& session, bool died) {
  for (const ActivityKey& key : t_.ActivitiesHeldBy(session)) {
    ActivityRow* row = t_.FindActivity(key.run, key.id);
    if (died && MARATHON_MUTANT("expire_loses_claims")) continue;
    if (row->cancel_requested && row->owed == Owed::kNo) {  // nobody runs it any more: that is its end
      ActivityFailed outcome{key.id, detail::CanceledFailure(), row->attempt};
      Resolve(*t_.FindRun(key.run), *row, std::move(outcome), SessionId());
      continue;
    }
    if (died) ++row->deliveries;
    MakeClaimable(*row);
    Update(*row);
  }
  for (const RunKey& key : t_.ReadyRunsOf(session)) {
    Run* run = t_.FindRun(key);
    t_.SetOwner(*run, SessionId());
    run->owner_until = now_;
    run->ready_since = now_;
    run->resends = 0;
    if (!died && run->deliveries > 0) --run->deliveries;
    HintTurn(*run, SessionId());
    Update(*run);
  }
}

template <class Tables>
StatusOr<Time> SessionProtocol<Tables>::Open(SessionRow&& row) {
  if (row.id.empty()) return InvalidArgument("a session needs an id");
  if (t_.FindSession(row.id) != nullptr) {
    return AlreadyExists(fmt::format("session {} is open already", row.id));
  }
  row.expires_at = AddSaturated(now_, row.lease);
  effects_.NoteDue(row.expires_at);
  t_.InsertSession(std::move(row));
  return now_;
}

template <class Tables>
StatusOr<std::vector<ActivityKey>> SessionProtocol<Tables>::Renew(const RenewRequest& request) {
  SessionRow* row = t_.FindSession(request.session);
  if (row == nullptr) {
    return FailedPrecondition(fmt::format("session {} has expired", request.session));
  }
  if (request.serial <= row->renewals) {
    return Aborted(fmt::format("renewal {} of session {} comes behind renewal {}", request.serial,
                               request.session, row->renewals));
  }
  row->renewals = request.serial;
  row->expires_at = AddSaturated(now_, request.lease);
  t_.UpdateSession(*row, row->expires_at);
  effects_.NoteDue(row->expires_at);
  return t_.Canceled(request.session, request.heard);
}

template <class Tables>
Status SessionProtocol<Tables>::Close(const SessionId& id) {
  if (SessionRow* row = t_.FindSession(id); row != nullptr) t_.EraseSession(*row);
  return {};
}

template <class Tables>
Status SessionProtocol<Tables>::Expire(const SessionId& id, bool force) {
  SessionRow* row = t_.FindSession(id);
  if (row == nullptr) return {};
  if (row->expires_at > now_ && !force) {
    return Aborted(fmt::format("session {} has been renewed", id));
  }
  t_.EraseSession(*row);
  return {};
}

template <class Tables>
void SessionProtocol<Tables>::PollDue(const DueRequest& request, DueReply& reply) {
  for (const SessionId& id : t_.ScanDueSessions(now_, request.limit)) {
    SessionRow* row = t_.FindSession(id);
    const Time again = AddSaturated(now_, limits::kDueAgain);
    const bool expired = row->expires_at <= now_;  // else it was put off, and renewed meanwhile
    if (expired) reply.expired_sessions.push_back(id);
    t_.UpdateSession(*row, expired ? again : row->expires_at);
    effects_.NoteDue(expired ? again : row->expires_at);
  }
  reply.now = now_;
  reply.next_due = std::min(reply.next_due, t_.EarliestDueSession());
}

// ---- Shared ------------------------------------------------------------------------------------

template <class Tables>
void StoreProtocol<Tables>::Update(Run& run) {
  const Time due = detail::RunDue(run, times_);
  t_.UpdateRun(run, due);
  effects_.NoteDue(due);
}

template <class Tables>
void StoreProtocol<Tables>::Update(ActivityRow& row) {
  const Time due = NextDue(row, times_.resend).at;
  t_.UpdateActivity(row, due);
  effects_.NoteDue(due);
}

template <class Tables>
void StoreProtocol<Tables>::HintTurn(const Run& run, const SessionId& preferred) {
  effects_.hints.push_back(TaskHint{TaskKind::kTurn, detail::TurnQueue(run), run.key, 0, 0, preferred});
}

template <class Tables>
void StoreProtocol<Tables>::HintActivity(const ActivityRow& row) {
  if (IsBuiltIn(row.activity_type)) return;  // due at once
  if (row.paused) return;
  effects_.hints.push_back(TaskHint{TaskKind::kActivity, row.task_queue, row.key.run, row.key.id,
                                    row.epoch, SessionId(), row.activity_type, row.policy.priority});
}

template <class Tables>
void StoreProtocol<Tables>::TellCanceled(const ActivityRow& row) {
  if (row.state != ActivityState::kClaimed || MARATHON_MUTANT("cancel_not_told")) return;
  t_.AddCanceled(row.session, row.key);
  effects_.canceled.emplace_back(row.session, row.key);
}

}  // namespace marathon::inline MARATHON_ABI
