// ActivityRunner: ends of attempts, and how the store hears of them.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "marathon/engine/activity_runner.h"
#include "marathon/engine/attempt.h"
#include "marathon/engine/host.h"
#include "marathon/engine/place_keeper.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE void ActivityRunner::Ended(Attempt& attempt, AttemptResult result) {
  if (std::holds_alternative<CompletesLater>(result)) return Forget(attempt, true);
  if (auto* postponed = std::get_if<Postponed>(&result)) {
    AttemptEnd end = EndOf(attempt);
    end.kind = AttemptEnd::Kind::kGiveBack;
    end.delay = std::max(postponed->delay, Duration(0));
    end.heartbeat = std::move(postponed->heartbeat);
    SendEnd(std::move(end), attempt.place());
    return Forget(attempt, true);
  }
  const EventId id = attempt.key().id;
  EventBody outcome;
  if (auto* payload = std::get_if<Payload>(&result)) {
    outcome = ActivityCompleted{id, std::move(*payload), attempt.number()};
  } else {
    auto& failure = std::get<Failure>(result);
    if (std::optional<AttemptEnd> end = AnotherTry(attempt, failure)) {
      SendEnd(*std::move(end), attempt.place());
      return Forget(attempt, true);
    }
    outcome = ActivityFailed{id, std::move(failure), attempt.number()};
  }
  // Who has a place leaves it as soon as the store knows, and does not wait for a turn.
  const bool has_workflows = host_.registry().has_workflows() && !attempt.keyed();
  if (has_workflows && attempt.own_turn()) {
    host_.turns().HandOver(attempt.slot(), {id, attempt.epoch(), std::move(outcome)});
    return Forget(attempt, false);
  }
  if (has_workflows && host_.turns().IsCached(attempt.key().run)) {
    host_.turns().HandOver(attempt.key().run, {id, attempt.epoch(), std::move(outcome)});
    return Forget(attempt, false);
  }
  AttemptEnd end = EndOf(attempt);
  end.outcome = std::move(outcome);
  SendEnd(std::move(end), attempt.place());
  Forget(attempt, true);
}

MARATHON_INLINE void ActivityRunner::GiveBack(Attempt& attempt, Duration delay, std::optional<Failure> why) {
  AttemptEnd end = EndOf(attempt);
  end.kind = AttemptEnd::Kind::kGiveBack;
  end.failure = std::move(why);
  end.delay = delay;
  SendEnd(std::move(end), attempt.place());
  Forget(attempt, true);
}

MARATHON_INLINE AttemptEnd ActivityRunner::EndOf(const Attempt& attempt) {
  AttemptEnd end;
  end.key = attempt.key();
  end.epoch = attempt.epoch();
  end.attempt = attempt.number();
  if (host_.registry().has_workflows()) end.session = host_.session().id();
  return end;
}

// The end of an attempt that is not the last: it is tried again, or given back.
MARATHON_INLINE std::optional<AttemptEnd> ActivityRunner::AnotherTry(const Attempt& attempt,
                                                                     Failure& failure) {
  const StoredRetryPolicy& retry = attempt.policy().retry;
  const Duration delay = RetryDelay(retry, failure, attempt.number(), host_.runtime().Random());
  const Duration budget = attempt.policy().schedule_to_close;
  const bool in_time = budget.count() == 0 || AddSaturated(host_.store().Now(), delay) <
                                                  attempt.scheduled_at() + budget;
  AttemptEnd end = EndOf(attempt);
  const bool stopped = host_.stopping() && attempt.stop_source().stop_requested();
  if (stopped || attempt.canceled()) {
    // It gave up because we asked it to. If it is canceled, the store knows, and ends it.
    end.kind = AttemptEnd::Kind::kGiveBack;
    return end;
  }
  if (!in_time || !IsRetryable(retry, failure, attempt.number())) return std::nullopt;
  end.kind = AttemptEnd::Kind::kRetry;
  end.delay = delay;
  end.failure = std::move(failure);
  return end;
}

MARATHON_INLINE void ActivityRunner::Forget(Attempt& attempt, bool release) {
  std::shared_ptr<Attempt> keep;
  const size_t hash = HashOf(attempt);
  {
    std::lock_guard lock(mutex_);
    const auto [first, last] = running_.equal_range(hash);
    for (auto entry = first; entry != last; ++entry) {
      if (entry->second.get() != &attempt) continue;
      keep = std::move(entry->second);
      running_.erase(entry);
      break;
    }
    if (suspect_ == &attempt) suspect_ = nullptr;
  }
  if (release) host_.session().Release();
  LanesOf(attempt.asynchronous()).used.fetch_sub(1);
  // What has not begun has taken nothing of a rate.
  attempt.entering() ? gate_.GiveBack(attempt.activity_type()) : gate_.Release(attempt.activity_type());
  if (--running_count_ == 0 && host_.stopping()) host_.TryFinishShutdown();
  Pump();
}

MARATHON_INLINE void ActivityRunner::SendEnd(AttemptEnd end, std::string place) {
  std::shared_ptr<PlaceKeeper::Busy> busy;
  if (!place.empty()) busy = std::make_shared<PlaceKeeper::Busy>(host_.Self());
  SendEnd(std::move(end), std::move(place), 0, std::move(busy));
}

// Repeats until the store has answered: an end that is applied twice is applied once.
MARATHON_INLINE void ActivityRunner::SendEnd(AttemptEnd end, std::string place, int failures,
                                             std::shared_ptr<PlaceKeeper::Busy> busy) {
  if (failures == 0) host_.session().HoldClaimed();  // until the store has heard of it
  AttemptEnd copy = end;
  host_.store().EndAttempt(std::move(copy), [self = host_.Self(), end = std::move(end), place = std::move(place),
                                             failures, busy = std::move(busy)](StatusOr<AttemptReply> reply) mutable {
    constexpr int kPatience = 8;
    const bool transient = !reply.ok() && IsTransient(reply.status());
    if (transient && (failures <= kPatience || !self->stopping())) {
      self->AfterBackoff(failures + 1, [self, end = std::move(end), place = std::move(place), failures,
                                        busy = std::move(busy)]() mutable {
        self->activities().SendEnd(std::move(end), std::move(place), failures + 1, std::move(busy));
      });
      return;
    }
    self->session().Release();
    if (reply.ok() && reply->mine) self->turns().Wake(end.key.run);
    if (transient) return;
    // With an error it is somebody else's by now.
    if (place.empty() && reply.ok()) place = std::move(reply->place);
    // A dead one does not wait, either: to be told of its turn would bring it back.
    if (end.kind == AttemptEnd::Kind::kDead) self->places().Leave(place, end.key, 0);
    self->places().Leave(std::move(place), std::move(end.key), end.epoch);
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
