#pragma once

#include <algorithm>
#include <iterator>
#include <list>
#include <memory>
#include <set>
#include <utility>

#include "marathon/testing/faulty_task_queue.h"

namespace marathon::inline MARATHON_ABI::testing {

// A worker's connection to the queue. What it holds back is given to the next Receive that fits.
class FaultyTaskQueue::Link : public std::enable_shared_from_this<Link> {
 public:
  struct Waiter {
    ReceiveRequest request;
    Done<std::vector<Delivery>> done;  // empty: answered
  };

  Link(std::shared_ptr<TaskQueue> base, SimRuntime& caller, const FaultRates& given,
       FaultCounts* given_counts)
      : queue(std::move(base)),
        world(caller.world()),
        actor(caller.actor()),
        rates(given),
        counts(given_counts),
        random(world.Fork("hints of " + world.NameOf(actor))) {}

  bool IsAlive() const { return world.IsAlive(actor); }

  int64_t Latency() { return random.Between(0, rates.latency_micros_max); }

  // Applies the faults to a batch: what is to arrive now, and, through `late`, what arrives later.
  template <class T, class Late>
  std::vector<T> Disturb(std::vector<T> batch, Late late) {
    std::vector<T> now;
    for (T& one : batch) {
      if (random.Chance(rates.lost)) {
        ++counts->lost;
        continue;
      }
      if (random.Chance(rates.duplicated)) {
        ++counts->duplicated;
        late(T(one), random.Between(0, rates.late_micros_max));
      }
      if (random.Chance(rates.late)) {
        ++counts->late;
        late(std::move(one), random.Between(0, rates.late_micros_max));
      } else {
        now.push_back(std::move(one));
      }
    }
    if (rates.reordered) {
      for (size_t i = now.size(); i > 1; --i) std::swap(now[i - 1], now[random.Below(i)]);
    }
    return now;
  }

  // What the base answered to `waiter`, who may have been answered out of `held` meanwhile.
  void Arrive(const std::shared_ptr<Waiter>& waiter, StatusOr<std::vector<Delivery>> result) {
    if (result.ok()) {
      result = Disturb(*std::move(result), [this](Delivery delivery, int64_t micros) {
        world.After(actor, micros, "late hint",
                    [link = this->shared_from_this(), delivery = std::move(delivery)]() mutable {
                      link->held.push_back(std::move(delivery));
                      link->GiveHeld();
                    });
      });
    }
    if (waiter->done) {
      waiters.remove(waiter);
      Answer(*waiter, std::move(result));
    } else if (result.ok()) {
      std::move(result->begin(), result->end(), std::back_inserter(held));
      GiveHeld();
    }
  }

  void GiveHeld() {
    for (auto it = waiters.begin(); it != waiters.end();) {
      std::vector<Delivery> fitting = TakeHeld((*it)->request);
      if (fitting.empty()) {
        ++it;
        continue;
      }
      const std::shared_ptr<Waiter> waiter = *it;
      it = waiters.erase(it);
      Answer(*waiter, std::move(fitting));
    }
  }

  const std::shared_ptr<TaskQueue> queue;
  SimWorld& world;
  const ActorId actor;
  FaultRates rates;
  FaultCounts* const counts;
  SeededRandom random;
  std::set<SessionId> sessions;  // that have received
  std::list<std::shared_ptr<Waiter>> waiters;
  std::vector<Delivery> held;

 private:
  std::vector<Delivery> TakeHeld(const ReceiveRequest& request) {
    std::vector<Delivery> fitting;
    for (auto it = held.begin();
         it != held.end() && fitting.size() < static_cast<size_t>(request.max);) {
      const auto& queues = request.task_queues;
      const bool fits = it->hint.kind == request.kind &&
                        std::find(queues.begin(), queues.end(), it->hint.task_queue) != queues.end();
      if (fits) fitting.push_back(std::move(*it));
      it = fits ? held.erase(it) : it + 1;
    }
    return fitting;
  }

  void Answer(Waiter& waiter, StatusOr<std::vector<Delivery>> result) {
    world.After(actor, Latency(), "hints",
                [done = std::exchange(waiter.done, {}), result = std::move(result)]() mutable {
                  done(std::move(result));
                });
  }
};

MARATHON_INLINE FaultyTaskQueue::FaultyTaskQueue(std::shared_ptr<TaskQueue> base,
                                                 SimRuntime& caller, const FaultRates& rates,
                                                 FaultCounts* counts)
    : ForwardingTaskQueue(base),
      link_(std::make_shared<Link>(std::move(base), caller, rates, counts)) {}

MARATHON_INLINE FaultyTaskQueue::~FaultyTaskQueue() = default;

MARATHON_INLINE void FaultyTaskQueue::SetRates(const FaultRates& rates) { link_->rates = rates; }

MARATHON_INLINE void FaultyTaskQueue::Disconnect() {
  for (const SessionId& session : link_->sessions) base()->StopReceiving(session);
  // Nobody is left to answer; what waits holds on to its caller, and so to this queue.
  const auto waiters = std::exchange(link_->waiters, {});
}

MARATHON_INLINE void FaultyTaskQueue::Send(std::vector<TaskHint> hints, DoneStatus done) {
  if (!link_->IsAlive()) return;
  const auto answer = [this, &done](Status status) {
    link_->world.After(link_->actor, link_->Latency(), "sent",
                       [done = std::move(done), status = std::move(status)]() mutable {
                         done(std::move(status));
                       });
  };
  if (link_->random.Chance(link_->rates.unavailable)) {
    ++link_->counts->unavailable;
    return answer(Unavailable("simulated: the queue is away"));
  }
  const auto send = [link = link_](std::vector<TaskHint> some, int64_t micros) {
    link->world.After(kWorldActor, micros, "send", [link, some = std::move(some)]() mutable {
      link->queue->Send(std::move(some), [](const Status&) {});
    });
  };
  hints = link_->Disturb(std::move(hints), [&send](TaskHint hint, int64_t micros) {
    send({std::move(hint)}, micros);
  });
  send(std::move(hints), link_->Latency());
  const bool doubtful = link_->random.Chance(link_->rates.ambiguous);  // and they will come twice
  answer(doubtful ? Unknown("simulated: no answer") : Status());
}

MARATHON_INLINE void FaultyTaskQueue::Receive(ReceiveRequest request,
                                              Done<std::vector<Delivery>> done) {
  if (!link_->IsAlive()) return;
  link_->sessions.insert(request.session);
  const auto waiter = std::make_shared<Link::Waiter>(Link::Waiter{request, std::move(done)});
  link_->waiters.push_back(waiter);
  link_->GiveHeld();
  if (!waiter->done) return;
  // The queue may keep this for long; it must not keep the link, which keeps the queue.
  const auto arrive = [weak = std::weak_ptr<Link>(link_), counts = link_->counts,
                       waiter](StatusOr<std::vector<Delivery>> result) {
    const std::shared_ptr<Link> link = weak.lock();
    if (link != nullptr && link->IsAlive()) {
      link->Arrive(waiter, std::move(result));
    } else if (result.ok()) {
      counts->lost += result->size();
    }
  };
  link_->queue->Receive(std::move(request), arrive);
}

MARATHON_INLINE void FaultyTaskQueue::Ack(std::vector<std::string> receipts, DoneStatus done) {
  Tell(
      [receipts = std::move(receipts)](TaskQueue& queue) mutable {
        queue.Ack(std::move(receipts), [](const Status&) {});
      },
      std::move(done));
}

MARATHON_INLINE void FaultyTaskQueue::Nack(std::vector<Delivery> deliveries, DoneStatus done) {
  Tell(
      [deliveries = std::move(deliveries)](TaskQueue& queue) mutable {
        queue.Nack(std::move(deliveries), [](const Status&) {});
      },
      std::move(done));
}

MARATHON_INLINE void FaultyTaskQueue::Tell(Callback<void(TaskQueue&)> what, DoneStatus done) {
  if (!link_->IsAlive()) return;
  link_->world.After(kWorldActor, link_->Latency(), "ack",
                     [link = link_, what = std::move(what)]() mutable { what(*link->queue); });
  link_->world.After(link_->actor, link_->Latency(), "acked",
                     [done = std::move(done)]() mutable { done(absl::OkStatus()); });
}

// Waiters that the base does not know of (they were answered out of `held`) need no ending.
MARATHON_INLINE void FaultyTaskQueue::StopReceiving(const SessionId& session) {
  base()->StopReceiving(session);
}

}  // namespace marathon::inline MARATHON_ABI::testing
