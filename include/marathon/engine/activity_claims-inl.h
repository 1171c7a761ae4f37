// Activities that come from the task queue, and the claims of them.
#pragma once

#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "marathon/engine/activity_runner.h"
#include "marathon/engine/host.h"

namespace marathon::inline MARATHON_ABI::detail {

// Hints that were received and are not settled yet. If whatever was to claim them is dropped because the engine
// shuts down, they go back to the queue: others may have them at once.
class ActivityRunner::Hints {
 public:
  // `admitted`: the gate has counted their activities, and is told of those that do not begin.
  Hints(std::shared_ptr<Host> host, ActivityGate& gate, std::vector<Delivery> deliveries, bool admitted = false)
      : host_(std::move(host)), gate_(gate), deliveries_(std::move(deliveries)) {
    if (!admitted) return;
    for (const Delivery& delivery : deliveries_) {
      const TaskHint& hint = delivery.hint;
      admitted_.emplace_back(ActivityKey{hint.run, hint.activity}, hint.activity_type);
    }
  }
  Hints(const Hints&) = delete;
  Hints& operator=(const Hints&) = delete;
  ~Hints() {
    for (const auto& [key, type] : admitted_) gate_.GiveBack(type);
    if (deliveries_.empty() || !host_->stopping() || host_->abandoned()) return;
    for (Delivery& delivery : deliveries_) delivery.hint.preferred.clear();  // that would be this one
    host_->queue().Nack(std::move(deliveries_), [](const Status&) {});
  }
  // The activity begins. False: the gate has not counted it.
  bool PassOn(const ActivityRow& row) {
    const std::lock_guard lock(mutex_);  // those that are in doubt are answered one by one
    return std::erase(admitted_, std::pair(row.key, row.activity_type)) > 0;
  }
  // The store has said yes or no.
  void Settle() {
    std::vector<std::string> receipts;
    std::vector<Delivery> deliveries;
    {
      const std::lock_guard lock(mutex_);
      deliveries = std::exchange(deliveries_, {});
    }
    for (Delivery& delivery : deliveries) {
      if (!delivery.receipt.empty()) receipts.push_back(std::move(delivery.receipt));
    }
    if (!receipts.empty()) host_->queue().Ack(std::move(receipts), [](const Status&) {});
  }

 private:
  const std::shared_ptr<Host> host_;
  ActivityGate& gate_;
  std::mutex mutex_;
  std::vector<Delivery> deliveries_;
  std::vector<std::pair<ActivityKey, std::string>> admitted_;
};

MARATHON_INLINE void ActivityRunner::Pump() {
  if (host_.stopping() || !host_.registry().has_activities()) return;
  constexpr int kAtOnce = 64;  // asynchronous ones
  ClaimKept();
  ActivityRoom free;
  if (host_.registry().has_activities(false)) free.blocking = RoomForBlocking();
  if (host_.registry().has_activities(true)) free.asynchronous = std::clamp(async_.limit - async_.used.load(), 0, kAtOnce);
  const int room = gate_.Wanted(free, host_.runtime().MonotonicMicros());
  if (room <= 0) return;
  if (receiving_.load()) return;
  const SessionId& session = host_.session().id();
  if (session.empty() || receiving_.exchange(true)) return;
  claimed_ahead_ = 0;
  host_.queue().Receive({session, TaskKind::kActivity, host_.options().task_queues, room},
                        [self = host_.Self(), session, room](StatusOr<std::vector<Delivery>> hints) {
                          self->turns().Enter();  // as Host::ReceiveTurns
                          // They came in order: if there are more, those are to go behind the last.
                          const bool more = hints.ok() && hints->size() == static_cast<size_t>(room);
                          self->activities().waiting_priority_ = more ? hints->back().hint.priority : kNoneWaits;
                          self->activities().OnHints(session, std::move(hints));
                          self->turns().Exit();
                        });
}

// Short ones are fetched before a thread is free, too, and many at a time, since a claim is a write: so not before half
// of what may wait here has begun.
MARATHON_INLINE int ActivityRunner::RoomForBlocking() const {
  constexpr int kAtOnce = 256;
  const int used = blocking_.used.load();
  const int limit = ahead_.limit();
  return used < blocking_.limit || used <= limit / 2 ? std::clamp(limit - used, 0, kAtOnce) : 0;
}

MARATHON_INLINE void ActivityRunner::OnHints(const SessionId& session,
                                             StatusOr<std::vector<Delivery>> hints) {
  std::vector<Delivery> no_room;
  if (hints.ok() && !host_.stopping()) no_room = HoldBack(*hints);  // before this worker asks again: others come first
  receiving_ = false;
  if (!hints.ok()) {
    if (host_.stopping()) return;
    if (hints.status().code() == StatusCode::kCancelled) {
      if (session != host_.session().id()) Pump();  // a new one has begun meanwhile
      return;
    }
    host_.AfterBackoff(1, [self = host_.Self()] { self->activities().Pump(); });
    return;
  }
  if (host_.stopping()) {
    std::ranges::move(no_room, std::back_inserter(*hints));
    const Hints back(host_.Self(), gate_, *std::move(hints));
    return;
  }
  if (!no_room.empty()) waiting_priority_ = no_room.front().hint.priority;
  if (!no_room.empty()) host_.queue().Nack(std::move(no_room), [](const Status&) {});
  if (!hints->empty()) ClaimHinted(*std::move(hints));
  Pump();
}

// They have a place each, and the gate has counted them.
MARATHON_INLINE void ActivityRunner::ClaimHinted(std::vector<Delivery> hints) {
  std::vector<ClaimRequest> requests;
  ActivityRoom places;
  for (const Delivery& delivery : hints) {
    requests.push_back({{delivery.hint.run, delivery.hint.activity}, delivery.hint.epoch});
    ++places.Of(IsAsynchronous(delivery.hint.activity_type));
  }
  Claim(std::move(requests), places, 0, /*doubtful=*/false,
        std::make_shared<Hints>(host_.Self(), gate_, std::move(hints), /*admitted=*/true));
}

// ---- Those that may not begin yet -------------------------------------------------------------------

MARATHON_INLINE std::vector<Delivery> ActivityRunner::HoldBack(std::vector<Delivery>& hints) {
  const int64_t now = host_.runtime().MonotonicMicros();
  std::vector<Delivery> begin, no_room;
  bool fresh = false;
  for (Delivery& delivery : hints) {
    const std::string& type = delivery.hint.activity_type;
    const bool asynchronous = IsAsynchronous(type);
    if (IsBuiltIn(type)) {  // there is always room
      ++LanesOf(asynchronous).used;
      begin.push_back(std::move(delivery));
    } else if (!gate_.TakeNew(type, now)) {
      fresh |= gate_.Keep(std::move(delivery), asynchronous);
    } else if (TakePlaces(asynchronous, 1) == 1) {
      begin.push_back(std::move(delivery));
    } else {
      gate_.GiveBack(type);  // turns of ours may have claimed activities since the queue was asked
      if (gate_.is_mixed()) {
        fresh |= gate_.Keep(std::move(delivery), asynchronous);
      } else {
        no_room.push_back(std::move(delivery));
      }
    }
  }
  hints = std::move(begin);
  if (fresh) OfferKept();
  if (host_.stopping()) {  // StopAll may have been before
    const Hints back(host_.Self(), gate_, gate_.TakeKept());
  }
  return no_room;
}

MARATHON_INLINE void ActivityRunner::ClaimKept() {
  const int64_t now = host_.runtime().MonotonicMicros();
  if (gate_.holds()) {
    ActivityRoom places{.blocking = TakePlaces(false, blocking_.limit), .asynchronous = TakePlaces(true, async_.limit)};
    std::vector<Delivery> ready = gate_.TakeReady(places, now);
    GiveBackPlaces(places);  // what is left of them
    if (!ready.empty()) ClaimHinted(std::move(ready));
  }
  if (const auto alarm = gate_.NextAlarm(now)) {
    host_.runtime().SetAlarm(alarm->wait, [weak = host_.weak_from_this(), at = alarm->at] {
      const auto self = weak.lock();
      if (self != nullptr && self->activities().gate_.AlarmRang(at)) self->activities().Pump();
    });
  }
}

MARATHON_INLINE void ActivityRunner::OfferKept() {
  if (!gate_.holds()) return;
  const int64_t now = host_.runtime().MonotonicMicros();
  std::vector<Delivery> offers = gate_.Offers(now);
  if (!offers.empty()) host_.queue().Nack(std::move(offers), [](const Status&) {});
  if (const auto alarm = gate_.NextOffer(now)) {
    host_.runtime().SetAlarm(alarm->wait, [weak = host_.weak_from_this(), at = alarm->at] {
      const auto self = weak.lock();
      if (self == nullptr || self->stopping()) return;
      if (self->activities().gate_.OfferAlarmRang(at)) self->activities().OfferKept();
    });
  }
}

MARATHON_INLINE bool ActivityRunner::IsAsynchronous(std::string_view activity_type) const {
  const ActivityEntry* entry = host_.registry().FindActivity(activity_type);
  return entry != nullptr && entry->asynchronous;
}

MARATHON_INLINE int ActivityRunner::TakePlaces(bool asynchronous, int wanted) {
  Lanes& lanes = LanesOf(asynchronous);
  const int limit = asynchronous ? lanes.limit : ahead_.limit();
  int used = lanes.used.load();
  int places;
  do {
    places = std::clamp(limit - used, 0, wanted);
  } while (!lanes.used.compare_exchange_weak(used, used + places));
  return places;
}

MARATHON_INLINE void ActivityRunner::GiveBackPlaces(const ActivityRoom& places) {
  blocking_.used.fetch_sub(places.blocking);
  async_.used.fetch_sub(places.asynchronous);
}

class ActivityRunner::Claiming {
 public:
  Claiming(std::shared_ptr<Host> host, const std::vector<ClaimRequest>& requests)
      : host_(std::move(host)) {
    host_->turns().Enter();  // a shutdown waits for the answer, since what is claimed begins
    ActivityRunner& runner = host_->activities();
    std::lock_guard lock(runner.mutex_);
    for (const ClaimRequest& request : requests) keys_.push_back(runner.claiming_.insert(request.key));
  }
  Claiming(const Claiming&) = delete;
  Claiming& operator=(const Claiming&) = delete;
  ~Claiming() {
    {
      ActivityRunner& runner = host_->activities();
      std::lock_guard lock(runner.mutex_);
      for (const auto& key : keys_) runner.claiming_.erase(key);
    }
    host_->turns().Exit();
  }

 private:
  const std::shared_ptr<Host> host_;
  std::vector<std::multiset<ActivityKey>::iterator> keys_;
};

MARATHON_INLINE void ActivityRunner::Claim(std::vector<ClaimRequest> requests, ActivityRoom places, int failures,
                                           bool doubtful, std::shared_ptr<Hints> hints) {
  if (!host_.session().Hold()) {  // for as long as the claim is under way
    return host_.session().WhenAwake([self = host_.Self(), requests = std::move(requests), places, failures,
                                      doubtful, hints = std::move(hints)]() mutable {
      self->activities().Claim(std::move(requests), places, failures, doubtful, std::move(hints));
    });
  }
  const SessionId session = host_.session().id();
  std::vector<ClaimRequest> copy = requests;
  auto claiming = std::make_shared<Claiming>(host_.Self(), requests);
  if (host_.finished()) {
    host_.session().Release();
    return GiveBackPlaces(places);
  }
  host_.store().ClaimActivities(
      session, std::move(copy),
      [self = host_.Self(), session, places, requests = std::move(requests), failures, doubtful,
       hints = std::move(hints),
       claiming = std::move(claiming)](StatusOr<std::vector<ActivityRow>> rows) mutable {
        ActivityRunner& runner = self->activities();
        if (rows.ok()) {
          std::erase_if(requests, [&rows](const ClaimRequest& request) {
            return std::ranges::find(*rows, request.key, &ActivityRow::key) != rows->end();
          });
          for (ActivityRow& row : *rows) {
            const bool admitted = hints && hints->PassOn(row);
            runner.Start(std::move(row), nullptr, admitted);
          }
        }
        const StatusCode code = rows.status().code();
        // A pause past the lease, or a clock set forward: the next session claims, at once.
        const bool expired = code == StatusCode::kFailedPrecondition && failures < 8;
        const bool away = code == StatusCode::kUnavailable || code == StatusCode::kResourceExhausted;
        if (expired) self->session().Renew();
        if ((expired || away) && self->stopping()) return self->session().Release();
        if (expired || away) {
          self->AfterBackoff(failures + 1, [self, requests = std::move(requests), places, failures, doubtful,
                                            hints = std::move(hints)]() mutable {
            self->activities().Claim(std::move(requests), places, failures + 1, doubtful,
                                     std::move(hints));
          });
          return self->session().Release();
        }
        const bool in_doubt = rows.ok() ? doubtful && !requests.empty()
                                        : code == StatusCode::kUnknown;
        if (hints) hints->Settle();
        if (in_doubt) runner.OnClaimUnknown(std::move(requests), std::move(hints));
        hints.reset();
        self->session().Release();
        runner.GiveBackPlaces(places);
        runner.Pump();
      });
}

// Those that are not claimed here come up again in a while.
MARATHON_INLINE void ActivityRunner::ClaimBuiltIn(std::vector<ClaimRequest> requests) {
  if (host_.stopping()) return;
  const ActivityRoom places{.blocking = static_cast<int>(requests.size())};
  blocking_.used.fetch_add(places.blocking);
  Claim(std::move(requests), places, 0);
}

// Perhaps we hold them: what is in our session's hands at the next epoch, we claimed.
MARATHON_INLINE void ActivityRunner::OnClaimUnknown(std::vector<ClaimRequest> requests,
                                                    std::shared_ptr<Hints> hints) {
  for (ClaimRequest& request : requests) {
    host_.session().HoldClaimed();  // as long as it may be so
    ReadRequest read;
    read.run = request.key.run;
    read.activities = true;
    auto claiming = std::make_shared<Claiming>(host_.Self(), std::vector{request});
    host_.store().Read(std::move(read), [self = host_.Self(), request, hints,
                                         claiming = std::move(claiming)](StatusOr<RunSnapshot> found) mutable {
      ActivityRunner& runner = self->activities();
      if (!found.ok() && found.status().code() != StatusCode::kNotFound) {
        self->AfterBackoff(1, [self, request, hints] {
          self->activities().OnClaimUnknown({request}, hints);
          self->session().Release();
        });
        return;
      }
      if (!found.ok()) return self->session().Release();
      for (ActivityRow& row : found->activities) {
        if (row.key != request.key) continue;
        if (row.state == ActivityState::kClaimed && row.session == self->session().id() &&
            row.epoch == request.epoch + 1 && runner.MayBegin(row.key, row.epoch)) {
          const bool admitted = hints && hints->PassOn(row);
          runner.Start(std::move(row), nullptr, admitted);
        } else if (IsClaimable(row) && row.epoch == request.epoch) {
          ActivityRoom places;
          const bool asynchronous = runner.IsAsynchronous(row.activity_type);
          places.Of(asynchronous) = 1;
          runner.LanesOf(asynchronous).used.fetch_add(1);
          runner.Claim({request}, places, 0, /*doubtful=*/true, hints);
        }
        break;
      }
      hints.reset();
      self->session().Release();
      runner.Pump();
    });
  }
}

}  // namespace marathon::inline MARATHON_ABI::detail
