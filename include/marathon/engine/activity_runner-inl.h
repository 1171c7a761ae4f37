#pragma once

#include "marathon/engine/activity_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stop_token>
#include <utility>

#include "marathon/engine/attempt-inl.h"
#include "marathon/engine/host.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- The runner ------------------------------------------------------------------------------------

MARATHON_INLINE ActivityRunner::ActivityRunner(Host& host, const EngineOptions& options)
    : host_(host), ahead_(options.activity_threads) {
  blocking_.limit = options.activity_threads;
  async_.limit = options.max_async_activities;
}

MARATHON_INLINE bool ActivityRunner::Reserve(std::string_view activity_type,
                                             std::string_view task_queue) {
  if (host_.stopping()) return false;
  const auto& queues = host_.options().task_queues;
  if (std::ranges::find(queues, task_queue) == queues.end()) return false;
  const ActivityEntry* entry = host_.registry().FindActivity(activity_type);
  if (entry == nullptr) return false;
  Lanes& lanes = LanesOf(entry->asynchronous);
  const int used = lanes.used.fetch_add(1);
  const int limit = entry->asynchronous ? lanes.limit : ahead_.limit();
  if (used < limit && host_.session().Hold()) return true;
  lanes.used.fetch_sub(1);
  return false;
}

// ---- Those that were claimed ahead -----------------------------------------------------------------

MARATHON_INLINE void ActivityRunner::WatchWaiting() {
  constexpr Duration kPatience{50};
  if (watching_.exchange(true)) return;
  host_.runtime().SetAlarm(kPatience, [weak = host_.weak_from_this()] {
    if (auto self = weak.lock()) self->activities().GiveBackWaiting();
  });
}

// Activities turned out longer than they used to be: what has waited for a thread since the last look,
// anybody may begin.
MARATHON_INLINE void ActivityRunner::GiveBackWaiting() {
  std::vector<std::shared_ptr<Attempt>> given_back;
  bool waiting = false;
  watching_ = false;  // first: what starts from here on is seen below, or watched anew
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, attempt] : running_) {
      if (!attempt->own_turn() || attempt->begun()) continue;
      waiting = true;
      if (attempt->WaitedBefore() && attempt->Begin()) given_back.push_back(attempt);
    }
  }
  for (const auto& attempt : given_back) {
    AttemptEnd end;
    end.key = attempt->row().key;
    end.epoch = attempt->row().epoch;
    end.kind = AttemptEnd::Kind::kGiveBack;
    SendEnd(std::move(end));
    Forget(*attempt);
  }
  if (waiting) WatchWaiting();
}

MARATHON_INLINE void ActivityRunner::Unreserve(std::string_view activity_type) {
  const ActivityEntry* entry = host_.registry().FindActivity(activity_type);
  LanesOf(entry != nullptr && entry->asynchronous).used.fetch_sub(1);
  host_.session().Release();
  Pump();
}

MARATHON_INLINE void ActivityRunner::Start(ActivityRow row, bool reserved, bool own_turn) {
  const ActivityEntry* entry = host_.registry().FindActivity(row.activity_type);
  auto attempt = std::allocate_shared<Attempt>(PoolAllocator<Attempt>(), host_.Self(),
                                               std::move(row), entry, own_turn);
  if (!reserved) {
    LanesOf(attempt->asynchronous()).used.fetch_add(1);
    host_.session().HoldClaimed();
  }
  ++running_count_;
  bool canceled = attempt->row().cancel_requested;
  {
    std::lock_guard lock(mutex_);
    running_.emplace(attempt->row().key, attempt);
    canceled |= TakeEarlyCancel(attempt->row().key);
  }
  if (own_turn && blocking_.used.load() > blocking_.limit) WatchWaiting();
  if (canceled) attempt->RequestStop(true);
  // Whoever loses the session stops what runs, and what comes late is stopped here.
  if (host_.stopping() || host_.session().HasLost(attempt->row().session)) attempt->RequestStop(false);
  const int deaths = attempt->row().deliveries;
  if (deaths >= limits::kMaxDeliveries) {
    Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
    failure.type = failure_type::kDeadLetter;
    failure.message = fmt::format("its worker died {} times while it ran", deaths);
    return attempt->Finish(std::move(failure));
  }
  if (deaths >= limits::kSuspectDeliveries) return RunSuspect(std::move(attempt));
  Run(std::move(attempt));
}

MARATHON_INLINE void ActivityRunner::Run(std::shared_ptr<Attempt> attempt) {
  host_.runtime().Post(Lane::kActivity, [attempt = std::move(attempt)] { attempt->Run(); });
}

// What has killed workers before runs while no other such does, so that the next death has one suspect.
// The others are given back for a moment: waiting here, they would be counted as killers, too.
MARATHON_INLINE void ActivityRunner::RunSuspect(std::shared_ptr<Attempt> attempt) {
  constexpr uint64_t kMomentMillis = 500;
  bool alone;
  {
    std::lock_guard lock(mutex_);
    alone = suspect_ == nullptr;
    if (alone) suspect_ = attempt.get();
  }
  if (alone) return Run(std::move(attempt));
  AttemptEnd end;
  end.key = attempt->row().key;
  end.epoch = attempt->row().epoch;
  end.kind = AttemptEnd::Kind::kGiveBack;
  end.delay = Duration(kMomentMillis / 2 + host_.runtime().Random() % kMomentMillis);
  SendEnd(std::move(end));
  Forget(*attempt);
}

MARATHON_INLINE bool ActivityRunner::IsRunning(const ActivityKey& key, Epoch epoch) {
  std::lock_guard lock(mutex_);
  const auto [first, last] = running_.equal_range(key);
  return std::any_of(first, last, [&](const auto& entry) { return entry.second->row().epoch == epoch; });
}

MARATHON_INLINE void ActivityRunner::Cancel(const ActivityKey& key) {
  std::vector<std::shared_ptr<Attempt>> attempts;
  {
    std::lock_guard lock(mutex_);
    const auto [first, last] = running_.equal_range(key);
    for (auto entry = first; entry != last; ++entry) attempts.push_back(entry->second);
    // What runs may be an older attempt than the one that is being claimed.
    if (attempts.empty() || claiming_.contains(key)) {
      // What is dropped here is told by its next heartbeat.
      constexpr size_t kRemembered = 1'000;
      if (early_cancels_.size() == kRemembered) early_cancels_.pop_front();
      early_cancels_.push_back(key);
    }
  }
  for (const auto& attempt : attempts) attempt->RequestStop(true);  // runs users' stop_callbacks
}

MARATHON_INLINE bool ActivityRunner::TakeEarlyCancel(const ActivityKey& key) {
  return std::erase(early_cancels_, key) > 0;
}

MARATHON_INLINE void ActivityRunner::Stop(const ActivityKey& key, Epoch epoch) {
  std::vector<std::shared_ptr<Attempt>> attempts;
  {
    std::lock_guard lock(mutex_);
    const auto [first, last] = running_.equal_range(key);
    for (auto entry = first; entry != last; ++entry) {
      if (entry->second->row().epoch == epoch) attempts.push_back(entry->second);
    }
  }
  for (const auto& attempt : attempts) attempt->Overtake();
}

MARATHON_INLINE void ActivityRunner::StopAll() {
  std::vector<std::shared_ptr<Attempt>> attempts;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, attempt] : running_) attempts.push_back(attempt);
  }
  for (const auto& attempt : attempts) attempt->RequestStop(false);
}

MARATHON_INLINE std::string ActivityRunner::DescribeRunning() {
  std::lock_guard lock(mutex_);
  std::string names;
  for (const auto& [key, attempt] : running_) {
    if (names.size() > 400) return names + " and more";
    names += fmt::format("{}\"{}\" of workflow \"{}\"", names.empty() ? "" : ", ",
                         attempt->row().activity_type, key.run.workflow_id);
  }
  return "shutting down: waiting for activities that ignore their stop_token: " + names;
}

MARATHON_INLINE void ActivityRunner::Abandon() {
  Running running;
  std::lock_guard lock(mutex_);
  running.swap(running_);
}

// ---- Ends ------------------------------------------------------------------------------------------

MARATHON_INLINE void ActivityRunner::Ended(Attempt& attempt, AttemptResult result) {
  const ActivityRow& row = attempt.row();
  AttemptEnd end;
  end.key = row.key;
  end.epoch = row.epoch;
  if (host_.registry().has_workflows()) end.session = host_.session().id();
  bool detached = false;
  if (auto* payload = std::get_if<Payload>(&result)) {
    end.outcome = ActivityCompleted{row.key.id, std::move(*payload), row.attempt};
  } else if (auto* failure = std::get_if<Failure>(&result)) {
    const Duration delay = RetryDelay(row.policy.retry, *failure, row.attempt,
                                      host_.runtime().Random());
    const Duration budget = row.policy.schedule_to_close;
    const bool in_time = budget.count() == 0 ||
                         AddSaturated(host_.store().Now(), delay) < row.scheduled_at + budget;
    if (host_.stopping() && attempt.stop_source().stop_requested() && !attempt.canceled()) {
      end.kind = AttemptEnd::Kind::kGiveBack;  // it gave up because we asked it to
    } else if (!attempt.canceled() && in_time && IsRetryable(row.policy.retry, *failure, row.attempt)) {
      end.kind = AttemptEnd::Kind::kRetry;
      end.delay = delay;
      end.failure = std::move(*failure);
    } else {
      end.outcome = ActivityFailed{row.key.id, std::move(*failure), row.attempt};
    }
  } else {
    detached = true;
  }
  const bool hand_over = end.kind == AttemptEnd::Kind::kFinal && !detached &&
                         (attempt.own_turn() || host_.turns().IsCached(row.key.run)) &&
                         host_.registry().has_workflows();
  if (hand_over) {
    host_.turns().HandOver({std::move(end.key), end.epoch, std::move(end.outcome)});
  } else if (!detached) {
    SendEnd(std::move(end));
  }
  Forget(attempt);
}

MARATHON_INLINE void ActivityRunner::Forget(Attempt& attempt) {
  std::shared_ptr<Attempt> keep;
  {
    std::lock_guard lock(mutex_);
    const auto [first, last] = running_.equal_range(attempt.row().key);
    for (auto entry = first; entry != last; ++entry) {
      if (entry->second.get() != &attempt) continue;
      keep = std::move(entry->second);
      running_.erase(entry);
      break;
    }
    if (suspect_ == &attempt) suspect_ = nullptr;
  }
  host_.session().Release();
  LanesOf(attempt.asynchronous()).used.fetch_sub(1);
  if (--running_count_ == 0 && host_.stopping()) host_.TryFinishShutdown();
  Pump();
}

// Repeats until the store has answered: an end that is applied twice is applied once.
MARATHON_INLINE void ActivityRunner::SendEnd(AttemptEnd end, int failures) {
  if (failures == 0) host_.session().HoldClaimed();  // until the store has heard of it
  AttemptEnd copy = end;
  host_.store().EndAttempt(std::move(copy), [self = host_.Self(), end = std::move(end),
                                             failures](StatusOr<AttemptReply> reply) mutable {
    constexpr int kPatience = 8;
    const bool transient = !reply.ok() && IsTransient(reply.status());
    if (!transient || (failures > kPatience && self->stopping())) {
      self->session().Release();
      if (reply.ok() && reply->mine) self->turns().Wake(end.key.run);
      return;  // with an error: somebody else's by now
    }
    self->AfterBackoff(failures + 1, [self, end = std::move(end), failures]() mutable {
      self->activities().SendEnd(std::move(end), failures + 1);
    });
  });
}

// ---- From the queue --------------------------------------------------------------------------------

MARATHON_INLINE void ActivityRunner::Pump() {
  if (host_.stopping() || !host_.registry().has_activities()) return;
  const int room = blocking_.limit - blocking_.used.load();
  if (room <= 0) return;
  const SessionId session = host_.session().id();
  if (session.empty()) return;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(receiving_, true)) return;
  }
  host_.queue().Receive({session, TaskKind::kActivity, host_.options().task_queues, room},
                        [self = host_.Self(), session](StatusOr<std::vector<Delivery>> hints) {
                          self->activities().OnHints(session, std::move(hints));
                        });
}

MARATHON_INLINE void ActivityRunner::OnHints(const SessionId& session,
                                             StatusOr<std::vector<Delivery>> hints) {
  {
    std::lock_guard lock(mutex_);
    receiving_ = false;
  }
  if (!hints.ok()) {
    if (host_.stopping()) return;
    if (hints.status().code() == StatusCode::kCancelled) {
      if (session != host_.session().id()) Pump();  // a new one has begun meanwhile
      return;
    }
    host_.AfterBackoff(1, [self = host_.Self()] { self->activities().Pump(); });
    return;
  }
  // Turns of ours may have claimed activities since the queue was asked.
  const int places = TakePlaces(static_cast<int>(hints->size()));
  std::vector<Delivery> no_room(std::make_move_iterator(hints->begin() + places),
                                std::make_move_iterator(hints->end()));
  hints->resize(static_cast<size_t>(places));
  if (!no_room.empty()) host_.queue().Nack(std::move(no_room), [](const Status&) {});
  std::vector<ClaimRequest> requests;
  std::vector<std::string> receipts;
  for (Delivery& delivery : *hints) {
    requests.push_back({{std::move(delivery.hint.run), delivery.hint.activity}, delivery.hint.epoch});
    if (!delivery.receipt.empty()) receipts.push_back(std::move(delivery.receipt));
  }
  if (requests.empty()) return Pump();
  Claim(std::move(requests), 0, /*doubtful=*/false, std::move(receipts));
  Pump();
}

MARATHON_INLINE int ActivityRunner::TakePlaces(int wanted) {
  int used = blocking_.used.load();
  int places;
  do {
    places = std::clamp(blocking_.limit - used, 0, wanted);
  } while (!blocking_.used.compare_exchange_weak(used, used + places));
  return places;
}

class ActivityRunner::Claiming {
 public:
  Claiming(std::shared_ptr<Host> host, const std::vector<ClaimRequest>& requests)
      : host_(std::move(host)) {
    ActivityRunner& runner = host_->activities();
    std::lock_guard lock(runner.mutex_);
    for (const ClaimRequest& request : requests) keys_.push_back(runner.claiming_.insert(request.key));
  }
  Claiming(const Claiming&) = delete;
  Claiming& operator=(const Claiming&) = delete;
  ~Claiming() {
    ActivityRunner& runner = host_->activities();
    std::lock_guard lock(runner.mutex_);
    for (const auto& key : keys_) runner.claiming_.erase(key);
  }

 private:
  const std::shared_ptr<Host> host_;
  std::vector<std::multiset<ActivityKey>::iterator> keys_;
};

MARATHON_INLINE void ActivityRunner::Claim(std::vector<ClaimRequest> requests, int failures,
                                           bool doubtful, std::vector<std::string> receipts) {
  if (!host_.session().Hold()) {  // for as long as the claim is under way
    return host_.session().WhenAwake([self = host_.Self(), requests = std::move(requests), failures,
                                      doubtful, receipts = std::move(receipts)]() mutable {
      self->activities().Claim(std::move(requests), failures, doubtful, std::move(receipts));
    });
  }
  const SessionId session = host_.session().id();
  const int places = static_cast<int>(requests.size());
  std::vector<ClaimRequest> copy = requests;
  auto claiming = std::make_shared<Claiming>(host_.Self(), requests);
  host_.store().ClaimActivities(
      session, std::move(copy),
      [self = host_.Self(), session, places, requests = std::move(requests), failures, doubtful,
       receipts = std::move(receipts),
       claiming = std::move(claiming)](StatusOr<std::vector<ActivityRow>> rows) mutable {
        ActivityRunner& runner = self->activities();
        if (rows.ok()) {
          std::erase_if(requests, [&rows](const ClaimRequest& request) {
            return std::ranges::find(*rows, request.key, &ActivityRow::key) != rows->end();
          });
          for (ActivityRow& row : *rows) runner.Start(std::move(row), false, false);
        }
        const StatusCode code = rows.status().code();
        // A pause past the lease, or a clock set forward: the next session claims, at once.
        const bool expired = code == StatusCode::kFailedPrecondition && failures < 8;
        const bool away = code == StatusCode::kUnavailable || code == StatusCode::kResourceExhausted;
        if (expired) self->session().Renew();
        if (expired || away) {
          self->AfterBackoff(failures + 1, [self, requests = std::move(requests), failures, doubtful,
                                            receipts = std::move(receipts)]() mutable {
            self->activities().Claim(std::move(requests), failures + 1, doubtful,
                                     std::move(receipts));
          });
          return self->session().Release();
        }
        const bool in_doubt = rows.ok() ? doubtful && !requests.empty()
                                        : code == StatusCode::kUnknown;
        if (in_doubt) runner.OnClaimUnknown(std::move(requests));
        if (!receipts.empty()) self->queue().Ack(std::move(receipts), [](const Status&) {});
        self->session().Release();
        runner.blocking_.used.fetch_sub(places);
        runner.Pump();
      });
}

// Perhaps we hold them: what is in our session's hands at the next epoch, we claimed.
MARATHON_INLINE void ActivityRunner::OnClaimUnknown(std::vector<ClaimRequest> requests) {
  for (ClaimRequest& request : requests) {
    host_.session().HoldClaimed();  // as long as it may be so
    ReadRequest read;
    read.run = request.key.run;
    read.activities = true;
    auto claiming = std::make_shared<Claiming>(host_.Self(), std::vector{request});
    host_.store().Read(std::move(read), [self = host_.Self(), request,
                                         claiming = std::move(claiming)](StatusOr<RunSnapshot> found) {
      ActivityRunner& runner = self->activities();
      if (!found.ok() && found.status().code() != StatusCode::kNotFound) {
        self->AfterBackoff(1, [self, request] {
          self->activities().OnClaimUnknown({request});
          self->session().Release();
        });
        return;
      }
      if (!found.ok()) return self->session().Release();
      for (ActivityRow& row : found->activities) {
        if (row.key != request.key) continue;
        if (row.state == ActivityState::kClaimed && row.session == self->session().id() &&
            row.epoch == request.epoch + 1 && !runner.IsRunning(row.key, row.epoch)) {
          runner.Start(std::move(row), false, false);
        } else if (row.state == ActivityState::kClaimable && row.epoch == request.epoch) {
          runner.blocking_.used.fetch_add(1);
          runner.Claim({request}, 0, /*doubtful=*/true);
        }
        break;
      }
      self->session().Release();
    });
  }
}

}  // namespace marathon::inline MARATHON_ABI::detail
