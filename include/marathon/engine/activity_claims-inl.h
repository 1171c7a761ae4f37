// ActivityRunner, second half: activities that come from the task queue, and the claims of them.
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
  Hints(std::shared_ptr<Host> host, std::vector<Delivery> deliveries)
      : host_(std::move(host)), deliveries_(std::move(deliveries)) {}
  Hints(const Hints&) = delete;
  Hints& operator=(const Hints&) = delete;
  ~Hints() {
    if (deliveries_.empty() || !host_->stopping() || host_->abandoned()) return;
    for (Delivery& delivery : deliveries_) delivery.hint.preferred.clear();  // that would be this one
    host_->queue().Nack(std::move(deliveries_), [](const Status&) {});
  }
  // The store has said yes or no.
  void Settle() {
    std::vector<std::string> receipts;
    for (Delivery& delivery : std::exchange(deliveries_, {})) {
      if (!delivery.receipt.empty()) receipts.push_back(std::move(delivery.receipt));
    }
    if (!receipts.empty()) host_->queue().Ack(std::move(receipts), [](const Status&) {});
  }

 private:
  const std::shared_ptr<Host> host_;
  std::vector<Delivery> deliveries_;
};

MARATHON_INLINE void ActivityRunner::Pump() {
  if (host_.stopping() || !host_.registry().has_activities()) return;
  const int room = blocking_.limit - blocking_.used.load();
  if (room <= 0) return;
  if (receiving_.load()) return;
  const SessionId& session = host_.session().id();
  if (session.empty() || receiving_.exchange(true)) return;
  host_.queue().Receive({session, TaskKind::kActivity, host_.options().task_queues, room},
                        [self = host_.Self(), session](StatusOr<std::vector<Delivery>> hints) {
                          self->activities().OnHints(session, std::move(hints));
                        });
}

MARATHON_INLINE void ActivityRunner::OnHints(const SessionId& session,
                                             StatusOr<std::vector<Delivery>> hints) {
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
    const Hints back(host_.Self(), *std::move(hints));
    return;
  }
  // Turns of ours may have claimed activities since the queue was asked.
  const int places = TakePlaces(static_cast<int>(hints->size()));
  std::vector<Delivery> no_room(std::make_move_iterator(hints->begin() + places),
                                std::make_move_iterator(hints->end()));
  hints->resize(static_cast<size_t>(places));
  if (!no_room.empty()) host_.queue().Nack(std::move(no_room), [](const Status&) {});
  std::vector<ClaimRequest> requests;
  for (const Delivery& delivery : *hints) {
    requests.push_back({{delivery.hint.run, delivery.hint.activity}, delivery.hint.epoch});
  }
  if (requests.empty()) return Pump();
  Claim(std::move(requests), 0, /*doubtful=*/false,
        std::make_shared<Hints>(host_.Self(), *std::move(hints)));
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

MARATHON_INLINE void ActivityRunner::Claim(std::vector<ClaimRequest> requests, int failures,
                                           bool doubtful, std::shared_ptr<Hints> hints) {
  if (!host_.session().Hold()) {  // for as long as the claim is under way
    return host_.session().WhenAwake([self = host_.Self(), requests = std::move(requests), failures,
                                      doubtful, hints = std::move(hints)]() mutable {
      self->activities().Claim(std::move(requests), failures, doubtful, std::move(hints));
    });
  }
  const SessionId session = host_.session().id();
  const int places = static_cast<int>(requests.size());
  std::vector<ClaimRequest> copy = requests;
  auto claiming = std::make_shared<Claiming>(host_.Self(), requests);
  if (host_.finished()) {
    host_.session().Release();
    blocking_.used.fetch_sub(places);
    return;
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
          for (ActivityRow& row : *rows) runner.Start(std::move(row));
        }
        const StatusCode code = rows.status().code();
        // A pause past the lease, or a clock set forward: the next session claims, at once.
        const bool expired = code == StatusCode::kFailedPrecondition && failures < 8;
        const bool away = code == StatusCode::kUnavailable || code == StatusCode::kResourceExhausted;
        if (expired) self->session().Renew();
        if ((expired || away) && self->stopping()) return self->session().Release();
        if (expired || away) {
          self->AfterBackoff(failures + 1, [self, requests = std::move(requests), failures, doubtful,
                                            hints = std::move(hints)]() mutable {
            self->activities().Claim(std::move(requests), failures + 1, doubtful,
                                     std::move(hints));
          });
          return self->session().Release();
        }
        const bool in_doubt = rows.ok() ? doubtful && !requests.empty()
                                        : code == StatusCode::kUnknown;
        if (in_doubt) runner.OnClaimUnknown(std::move(requests));
        if (hints) hints->Settle();
        self->session().Release();
        runner.blocking_.used.fetch_sub(places);
        runner.Pump();
      });
}

// Those that are not claimed here come up again in a while.
MARATHON_INLINE void ActivityRunner::ClaimBuiltIn(std::vector<ClaimRequest> requests) {
  if (host_.stopping()) return;
  blocking_.used.fetch_add(static_cast<int>(requests.size()));
  Claim(std::move(requests), 0);
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
          runner.Start(std::move(row));
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
