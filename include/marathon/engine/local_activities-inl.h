#pragma once

#include "marathon/engine/local_activities.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "marathon/engine/host.h"
#include "marathon/engine/local_attempt.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- One attempt -----------------------------------------------------------------------------------

MARATHON_INLINE std::shared_ptr<LocalAttempt> LocalAttempt::Create(std::shared_ptr<Host> host, SlotPtr slot,
                                                                   std::shared_ptr<WaitingTurn> turn,
                                                                   LocalTask task) {
  const RunFacts& facts = turn->facts;
  ActivityInfo info;
  info.key = {facts.key, task.id};
  info.activity_type = task.activity_type;
  info.workflow_type = facts.workflow_type;
  info.task_queue = facts.task_queue;
  info.attempt = task.call.attempt;
  info.epoch = task.runs;
  info.local = task.call.number;
  Payload heartbeat = task.heartbeat;
  auto attempt = std::make_shared<LocalAttempt>(std::move(host), std::move(slot), std::move(turn), std::move(task));
  attempt->context_.emplace(std::move(info), std::move(heartbeat), attempt->stop_.get_token(), attempt,
                            attempt->host_->blobs(), attempt->host_->streams(), attempt->host_->limiter());
  return attempt;
}

MARATHON_INLINE void LocalAttempt::Run() {
  if (stopped()) {
    return Finish(Failure{.kind = FailureKind::kCanceled, .message = "stopped before it began"});
  }
  begun_micros_ = host_->runtime().MonotonicMicros();
  deadline_ = host_->runtime().SetAlarm(task_.call.start_to_close, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->TimeOut();
  });
  const ActivityEntry* const entry = host_->registry().FindActivity(task_.activity_type);  // DriveLocals has looked
  entry->run(*context_, task_.call.input, shared_from_this());
}

MARATHON_INLINE Duration LocalAttempt::Elapsed() const {
  return Duration((host_->runtime().MonotonicMicros() - begun_micros_) / 1'000);
}

// Its code may go on, unheard, until it looks at its stop token.
MARATHON_INLINE void LocalAttempt::TimeOut() {
  if (told_.exchange(true)) return;
  stop_.request_stop();
  Failure failure{.kind = FailureKind::kTimeout, .timeout = TimeoutKind::kStartToClose};
  failure.type = failure_type::kTimeout;
  failure.message = fmt::format("it did not end within {} ms", task_.call.start_to_close.count());
  host_->locals().Ended(*this, std::move(failure));
}

MARATHON_INLINE void LocalAttempt::Finish(AttemptResult result) {
  if (finished_.exchange(true)) return;
  if (const AlarmId deadline = deadline_.exchange(0)) host_->runtime().CancelAlarm(deadline);
  if (!told_.exchange(true)) host_->locals().Ended(*this, std::move(result));
  host_->locals().Forget(shared_from_this());
}

// ---- Turns that wait -------------------------------------------------------------------------------

MARATHON_INLINE void LocalActivities::Wait(const SlotPtr& slot) {
  host_.session().HoldClaimed();  // who runs something renews his lease
  slot->waiting = std::make_shared<WaitingTurn>(slot->replayer->facts(), host_.runtime().MonotonicMicros(),
                                                slot->base_version, slot->events.size());
  {
    std::lock_guard lock(mutex_);
    waiting_.emplace(slot->waiting, slot);
  }
  KeepRunLater(slot, slot->waiting);
}

MARATHON_INLINE void LocalActivities::End(RunSlot& slot) {
  const std::shared_ptr<WaitingTurn> turn = std::exchange(slot.waiting, nullptr);
  if (turn == nullptr) return;
  std::vector<std::shared_ptr<LocalAttempt>> unheard;
  {
    std::lock_guard lock(turn->mutex);
    turn->over = true;
    for (const auto& [id, weak] : turn->running) {
      if (auto attempt = weak.lock()) unheard.push_back(std::move(attempt));
    }
  }
  for (const auto& attempt : unheard) attempt->RequestStop(false);
  SlotPtr keep;
  {
    std::lock_guard lock(mutex_);
    const auto found = waiting_.find(turn);
    if (found != waiting_.end()) {
      keep = std::move(found->second);
      waiting_.erase(found);
    }
  }
  host_.session().Release();
}

MARATHON_INLINE bool LocalActivities::IsYoung(const WaitingTurn& turn) const {
  const int64_t age = host_.runtime().MonotonicMicros() - turn.since;
  return age < std::chrono::microseconds(limits::kLocalTurnTime).count();
}

MARATHON_INLINE void LocalActivities::Begin(const SlotPtr& slot, LocalTask task) {
  WaitingTurn& turn = *slot->waiting;
  std::optional<ActivityFailed> end;
  if (task.canceled) {
    end = ActivityFailed{task.id, CanceledFailure(), task.call.attempt};
  } else if (!IsYoung(turn) ||
             slot->events.size() >= turn.first_events + static_cast<size_t>(limits::kTurnMaxMessages)) {
    Failure failure{.kind = FailureKind::kEngine, .message = "put off: its turn has gone on for long enough"};
    failure.next_retry_delay = Duration(0);
    end = ActivityFailed{task.id, std::move(failure), task.call.attempt - 1};
  }
  if (!end && !IsKnown(*slot, task)) return Run(slot, slot->waiting, std::move(task));
  if (!end) return;
  std::lock_guard lock(turn.mutex);
  turn.ends.push_back(*std::move(end));
}

// Whether the turn was taken before, and has run it then: it ends as it did.
MARATHON_INLINE bool LocalActivities::IsKnown(RunSlot& slot, const LocalTask& task) {
  std::lock_guard lock(slot.waiting->mutex);
  const auto known = std::ranges::find_if(slot.known_locals, [&](const KnownLocal& one) {
    return one.task.call.number == task.call.number && one.task.first_attempt == task.first_attempt &&
           one.task.activity_type == task.activity_type && one.task.call.input == task.call.input;
  });
  if (known == slot.known_locals.end()) return false;
  EventBody end = known->end;
  if (auto* completed = std::get_if<ActivityCompleted>(&end)) completed->scheduled = task.id;
  if (auto* failed = std::get_if<ActivityFailed>(&end)) failed->scheduled = task.id;
  slot.waiting->ends.push_back(std::move(end));
  return true;
}

MARATHON_INLINE void LocalActivities::Run(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn,
                                          LocalTask task) {
  const EventId id = task.id;
  const auto attempt = LocalAttempt::Create(host_.Self(), slot, turn, std::move(task));
  ++running_count_;
  {
    std::lock_guard lock(mutex_);
    running_.insert(attempt);
  }
  if (host_.stopping()) attempt->RequestStop(false);
  {
    std::lock_guard lock(turn->mutex);
    turn->running[id] = attempt;
    if (turn->canceled.contains(id)) attempt->RequestStop(true);
    if (turn->over) attempt->RequestStop(false);  // it came to its end meanwhile; nobody else stops this one
  }
  host_.runtime().Post(Lane::kActivity, [attempt] { attempt->Run(); });
}

MARATHON_INLINE void LocalActivities::Cancel(WaitingTurn& turn, EventId id) {
  std::shared_ptr<LocalAttempt> attempt;
  {
    std::lock_guard lock(turn.mutex);
    turn.canceled.insert(id);
    if (turn.backing_off.erase(id) > 0) {
      turn.ends.push_back(ActivityFailed{id, CanceledFailure(), 1});
      return;
    }
    const auto found = turn.running.find(id);
    if (found != turn.running.end()) attempt = found->second.lock();
  }
  if (attempt) attempt->RequestStop(true);
}

// ---- Ends ------------------------------------------------------------------------------------------

MARATHON_INLINE void LocalActivities::Ended(const LocalAttempt& attempt, AttemptResult result) {
  const LocalTask& task = attempt.task();
  const auto tell = [&](EventBody end) {
    host_.turns().OnLocalEnd(attempt.slot(), attempt.turn(), KnownLocal{task, std::move(end)});
  };
  {
    std::lock_guard lock(attempt.turn()->mutex);
    attempt.turn()->running.erase(task.id);
  }
  if (auto* payload = std::get_if<Payload>(&result)) {
    return tell(ActivityCompleted{task.id, std::move(*payload), task.call.attempt});
  }
  if (attempt.canceled()) return tell(ActivityFailed{task.id, CanceledFailure(), task.call.attempt});
  if (host_.stopping() && attempt.stopped()) {  // it gave up because it was asked to: another worker runs it
    return host_.turns().DropWaiting(attempt.slot(), attempt.turn(), WaitingTurn::Dropped::kStopping);
  }
  // The next attempt, or this one once more: soon in this worker, or later in a turn of its own.
  LocalTask next = task;
  Failure failure;
  std::optional<Duration> delay;
  if (auto* postponed = std::get_if<Postponed>(&result)) {
    failure.kind = FailureKind::kEngine;
    failure.message = "postponed itself";
    next.heartbeat = std::move(postponed->heartbeat);
    delay = postponed->delay;
  } else {
    failure = std::get<Failure>(std::move(result));
    const Duration wait = RetryDelay(task.call.retry, failure, task.call.attempt, host_.runtime().Random());
    ++next.call.attempt;
    if (IsRetryable(task.call.retry, failure, task.call.attempt)) delay = wait;
  }
  if (delay && *delay <= limits::kLocalRetryInWorker && IsYoung(*attempt.turn())) {
    return RunLater(attempt, std::move(next), *delay);
  }
  failure.next_retry_delay = delay;
  tell(ActivityFailed{task.id, std::move(failure), delay ? next.call.attempt - 1 : task.call.attempt});
}

MARATHON_INLINE void LocalActivities::RunLater(const LocalAttempt& attempt, LocalTask task, Duration delay) {
  const std::shared_ptr<WaitingTurn> turn = attempt.turn();
  bool canceled;
  {
    std::lock_guard lock(turn->mutex);
    if (turn->over) return;
    canceled = turn->canceled.contains(task.id);
    if (!canceled) turn->backing_off.insert(task.id);
  }
  if (canceled) {
    EventBody end = ActivityFailed{task.id, CanceledFailure(), attempt.task().call.attempt};
    return host_.turns().OnLocalEnd(attempt.slot(), turn, KnownLocal{attempt.task(), std::move(end)});
  }
  ++task.runs;
  if (host_.stopping()) {
    return host_.turns().DropWaiting(attempt.slot(), turn, WaitingTurn::Dropped::kStopping);
  }
  host_.runtime().SetAlarm(delay, [weak = host_.weak_from_this(), slot = attempt.slot(), turn,
                                     task = std::move(task)] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      std::lock_guard lock(turn->mutex);
      if (turn->over || turn->backing_off.erase(task.id) == 0) return;
    }
    self->locals().Run(slot, turn, task);
  });
}

MARATHON_INLINE void LocalActivities::Forget(const std::shared_ptr<LocalAttempt>& attempt) {
  {
    std::lock_guard lock(mutex_);
    running_.erase(attempt);
  }
  if (--running_count_ == 0 && host_.stopping()) host_.TryFinishShutdown();
}

MARATHON_INLINE void LocalActivities::StopAll() {
  std::vector<std::shared_ptr<LocalAttempt>> attempts;
  std::map<std::shared_ptr<WaitingTurn>, SlotPtr> waiting;
  {
    std::lock_guard lock(mutex_);
    attempts.assign(running_.begin(), running_.end());
    waiting = waiting_;
  }
  for (const auto& attempt : attempts) attempt->RequestStop(false);
  for (const auto& [turn, slot] : waiting) {
    bool backs_off;
    {
      std::lock_guard lock(turn->mutex);
      backs_off = !turn->backing_off.empty();
    }
    if (backs_off) host_.turns().DropWaiting(slot, turn, WaitingTurn::Dropped::kStopping);
  }
}

MARATHON_INLINE void LocalActivities::Abandon() {
  std::set<std::shared_ptr<LocalAttempt>> running;
  std::map<std::shared_ptr<WaitingTurn>, SlotPtr> waiting;
  std::lock_guard lock(mutex_);
  running.swap(running_);
  waiting.swap(waiting_);
}

// ---- The run is ours meanwhile ---------------------------------------------------------------------

MARATHON_INLINE void LocalActivities::KeepRunLater(const SlotPtr& slot,
                                                   const std::shared_ptr<WaitingTurn>& turn) {
  constexpr Duration kPeriod = limits::kOwnerPreference / 2;  // then a message that came has no other taker yet
  host_.runtime().SetAlarm(kPeriod, [weak = host_.weak_from_this(), slot, turn] {
    if (const auto self = weak.lock()) self->locals().KeepRun(slot, turn);
  });
}

MARATHON_INLINE void LocalActivities::KeepRun(const SlotPtr& slot,
                                              const std::shared_ptr<WaitingTurn>& turn) {
  {
    std::lock_guard lock(turn->mutex);
    if (turn->over) return;
  }
  TakeTurnRequest request;
  request.run = slot->key;
  request.session = host_.session().id();
  request.keep = true;
  request.build_id = host_.options().build_id;
  host_.turns().Enter();  // a shutdown waits for the answer
  host_.turns().StoreHanded(*slot);
  host_.store().TakeTurn(std::move(request), [self = host_.Self(), slot,
                                              turn](StatusOr<RunSnapshot> kept) {
    const bool ahead = kept.ok() && kept->row.version != turn->version;
    if (ahead || (!kept.ok() && !IsTransient(kept.status()))) {  // another has taken it, or nobody may
      self->turns().DropWaiting(slot, turn, WaitingTurn::Dropped::kLost);
    } else {
      self->locals().KeepRunLater(slot, turn);
    }
    self->turns().Exit();
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
