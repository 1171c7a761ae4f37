#pragma once

#include "marathon/engine/due_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/engine/host.h"
#include "marathon/limits.h"
#include "marathon/retry_policy.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE void DueKeeper::Note(Time at) {
  std::lock_guard lock(mutex_);
  if (stopped_ || at == kNever) return;
  if (polling_) {  // the poll under way may not see it
    noted_ = std::min(noted_, at);
    return;
  }
  if (alarm_ != 0 && at >= due_) return;
  if (alarm_ != 0) host_.runtime().CancelAlarm(alarm_);
  due_ = at;
  // Rounded up: an alarm that rings a moment early would find nothing due.
  const auto wait = std::max<Time::duration>(at - host_.store().Now(), Time::duration(0));
  alarm_ = host_.runtime().SetAlarm(std::chrono::ceil<Duration>(wait),
                                    [weak = host_.weak_from_this()] {
                                      if (auto self = weak.lock()) self->due().Poll();
                                    });
}

MARATHON_INLINE void DueKeeper::Poll() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    again_ = true;
    if (std::exchange(polling_, true)) return;
    again_ = false;
    if (const AlarmId alarm = std::exchange(alarm_, 0); alarm != 0) host_.runtime().CancelAlarm(alarm);
  }
  DueRequest request;
  if (host_.registry().has_workflows()) request.session = host_.session().id();
  host_.store().PollDue(std::move(request), [self = host_.Self()](StatusOr<DueReply> reply) {
    self->turns().Enter();  // as Host::ReceiveTurns
    if (!self->stopping()) self->due().OnPolled(std::move(reply));
    self->turns().Exit();
  });
}

MARATHON_INLINE void DueKeeper::OnPolled(StatusOr<DueReply> reply) {
  Time next = kNever;
  if (reply.ok()) {
    next = reply->next_due;
    failures_ = 0;
  }
  bool again;
  {
    std::lock_guard lock(mutex_);
    polling_ = false;
    again = std::exchange(again_, false);
    next = std::min(next, std::exchange(noted_, kNever));
  }
  if (!reply.ok()) {
    host_.AfterBackoff(++failures_, [self = host_.Self()] { self->due().Poll(); });
    return;
  }
  for (const RunKey& run : reply->ready) host_.turns().Wake(run);
  for (const ActivityRow& row : reply->expired_activities) Expire(row, reply->now);
  for (const RunRow& row : reply->expired_runs) {
    // Not closed by this, it falls due again in a while.
    host_.TimeOut(row.key, [](const Status&) {});
  }
  if (!reply->claimable.empty()) host_.activities().ClaimBuiltIn(std::move(reply->claimable));
  for (const SessionId& session : reply->expired_sessions) {
    if (session == host_.session().id()) {
      host_.session().Renew();  // late, but nobody has ended it yet
    } else {
      host_.store().ExpireSession(session, [](const Status&) {});
    }
  }
  if (again || next <= reply->now) {
    host_.runtime().Post(Lane::kTurn, [weak = host_.weak_from_this()] {
      if (auto self = weak.lock()) self->due().Poll();
    });
  } else {
    Note(next);
  }
}

// A deadline of an activity has passed: the policy says whether it is tried again.
MARATHON_INLINE void DueKeeper::Expire(const ActivityRow& row, Time now) {
  // The store has its own interval of re-sends; with the longest, none comes before the deadline.
  const ActivityDue due = NextDue(row, limits::kResendMax);
  if (due.what != ActivityDue::What::kTimeout) return;
  static constexpr std::string_view kNames[] = {"", "start-to-close", "schedule-to-start",
                                                "schedule-to-close", "heartbeat", ""};
  Failure failure{.kind = FailureKind::kTimeout, .timeout = due.timeout};
  failure.type = failure_type::kTimeout;
  failure.message = fmt::format("activity \"{}\": its {} timeout passed at attempt {}",
                                row.activity_type, kNames[static_cast<int>(due.timeout)],
                                row.attempt);
  if (due.timeout == TimeoutKind::kHeartbeat) failure.details = row.heartbeat;
  AttemptEnd end;
  end.key = row.key;
  end.epoch = row.epoch;
  if (host_.registry().has_workflows()) end.session = host_.session().id();
  const Duration delay =
      RetryDelay(row.policy.retry, failure, row.attempt, host_.runtime().Random());
  const Duration budget = row.policy.schedule_to_close;
  const bool in_time = budget.count() == 0 || now + delay < row.scheduled_at + budget;
  if (!row.cancel_requested && in_time && IsRetryable(row.policy.retry, failure, row.attempt)) {
    end.kind = AttemptEnd::Kind::kRetry;
    end.attempt = row.attempt;
    end.delay = delay;
    end.failure = std::move(failure);
  } else {
    end.outcome = ActivityFailed{row.key.id, std::move(failure), row.attempt};
  }
  host_.activities().Stop(row.key, row.epoch);  // the attempt it overtook, if that runs here
  host_.activities().SendEnd(std::move(end), PlaceKeyOf(row.task_queue, row.policy));
}

MARATHON_INLINE void DueKeeper::Stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  if (const AlarmId alarm = std::exchange(alarm_, 0); alarm != 0) host_.runtime().CancelAlarm(alarm);
}

}  // namespace marathon::inline MARATHON_ABI::detail
