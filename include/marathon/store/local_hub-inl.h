#pragma once

#include <algorithm>
#include <iterator>

#include "marathon/store/local_hub.h"

namespace marathon::inline MARATHON_ABI {

// ---- Spreading ---------------------------------------------------------------------------------

MARATHON_INLINE void LocalHub::Publish(Effects&& effects) {
  if (!effects.hints.empty() && outlet_ != nullptr) {
    outlet_->Send(std::move(effects.hints), [](const Status&) {});
  } else if (!effects.hints.empty()) {
    std::vector<Answer> answers;
    {
      const std::lock_guard lock(mutex_);
      for (TaskHint& hint : effects.hints) Deliver(std::move(hint), answers);
    }
    for (Answer& answer : answers) answer.done(std::move(answer.deliveries));
  }
  if (!effects.canceled.empty()) TellCanceled(std::move(effects.canceled));
  if (ToMicros(effects.due) < told_due_.load(std::memory_order_relaxed)) TellDue(effects.due);
}

// To the preferred session if it is here, or else to the first who can take it. A receiver is
// answered with one hint, however many there are: it comes back for the rest, or another is
// quicker.
MARATHON_INLINE void LocalHub::Deliver(TaskHint&& hint, std::vector<Answer>& answers) {
  if (!GiveToParked(hint, answers)) Keep(std::move(hint), /*first=*/false);
}

MARATHON_INLINE bool LocalHub::GiveToParked(TaskHint& hint, std::vector<Answer>& answers) {
  const SessionId session = PreferredHere(hint);
  const auto wants = [&](const Parked& parked) { return parked.Wants(hint, session); };
  const auto it = std::find_if(parked_.begin(), parked_.end(), wants);
  if (it == parked_.end()) return false;
  Answer& answer = answers.emplace_back();
  answer.done = std::move(it->done);
  answer.deliveries.push_back(Delivery{std::move(hint), std::string()});
  parked_.erase(it);
  return true;
}

MARATHON_INLINE void LocalHub::Keep(TaskHint&& hint, bool first) {
  Waiting& waiting = waiting_[Place{hint.kind, hint.task_queue, PreferredHere(hint), hint.priority}];
  if (!waiting.seen.emplace(ActivityKey{hint.run, hint.activity}, hint.epoch).second) return;
  waiting.hints.insert(first ? waiting.hints.begin() : waiting.hints.end(), std::move(hint));
}

MARATHON_INLINE void LocalHub::TellDue(Time due) {
  std::vector<std::shared_ptr<StoreWatcher>> watchers;
  {
    const std::lock_guard lock(mutex_);
    if (ToMicros(due) >= told_due_.load(std::memory_order_relaxed)) return;
    told_due_.store(ToMicros(due), std::memory_order_relaxed);
    watchers.reserve(watchers_.size());
    for (const auto& [session, weak] : watchers_) {
      if (auto watcher = weak.lock()) watchers.push_back(std::move(watcher));
    }
  }
  for (const auto& watcher : watchers) watcher->OnDue(due);
}

MARATHON_INLINE void LocalHub::TellCanceled(
    std::vector<std::pair<SessionId, ActivityKey>>&& canceled) {
  std::vector<std::pair<std::shared_ptr<StoreWatcher>, std::vector<ActivityKey>>> calls;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [session, weak] : watchers_) {
      std::vector<ActivityKey> keys;
      for (auto& [holder, key] : canceled) {
        if (holder == session) keys.push_back(std::move(key));
      }
      if (keys.empty()) continue;
      if (auto watcher = weak.lock()) calls.emplace_back(std::move(watcher), std::move(keys));
    }
  }
  for (const auto& [watcher, keys] : calls) watcher->OnActivitiesCanceled(keys);
}

MARATHON_INLINE Status LocalHub::SetOutlet(std::shared_ptr<TaskQueue> outlet) {
  if (outlet_ != nullptr) return FailedPrecondition("the store has an outlet for its hints already");
  outlet_ = std::move(outlet);
  return {};
}

// ---- Sessions ----------------------------------------------------------------------------------

MARATHON_INLINE void LocalHub::AddWatcher(const SessionId& session,
                                          std::weak_ptr<StoreWatcher> watcher) {
  const std::lock_guard lock(mutex_);
  watchers_.emplace_back(session, std::move(watcher));
}

MARATHON_INLINE void LocalHub::RemoveWatcher(const SessionId& session) {
  std::vector<Answer> answers;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(watchers_, [&](const auto& entry) { return entry.first == session; });
    GiveToAnyone(session, answers);
  }
  for (Answer& answer : answers) answer.done(std::move(answer.deliveries));
}

MARATHON_INLINE std::vector<std::pair<SessionId, std::weak_ptr<StoreWatcher>>> LocalHub::Watchers()
    const {
  const std::lock_guard lock(mutex_);
  return watchers_;
}

MARATHON_INLINE bool LocalHub::IsHere(const SessionId& session) const {
  if (session.empty() || stopped_.contains(session)) return false;
  return std::any_of(watchers_.begin(), watchers_.end(),
                     [&](const auto& entry) { return entry.first == session; }) ||
         std::any_of(parked_.begin(), parked_.end(),
                     [&](const Parked& parked) { return parked.request.session == session; });
}

// What waited for a session that no longer receives.
MARATHON_INLINE void LocalHub::GiveToAnyone(const SessionId& session,
                                            std::vector<Answer>& answers) {
  std::vector<TaskHint> hints;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->first.session != session) {
      ++it;
      continue;
    }
    std::move(it->second.hints.begin(), it->second.hints.end(), std::back_inserter(hints));
    it = waiting_.erase(it);
  }
  for (TaskHint& hint : hints) {
    hint.preferred.clear();
    Deliver(std::move(hint), answers);
  }
}

// ---- TaskQueue ---------------------------------------------------------------------------------

MARATHON_INLINE void LocalHub::Receive(ReceiveRequest&& request,
                                       Done<std::vector<Delivery>>&& done) {
  std::vector<Delivery> deliveries;
  bool stopped = false;
  {
    const std::lock_guard lock(mutex_);
    stopped = stopped_.contains(request.session);
    const size_t max = static_cast<size_t>(std::max(request.max, 1));
    for (const SessionId& place : {request.session, SessionId()}) {
      for (const std::string& queue : request.task_queues) {
        if (!stopped) Take(Place{request.kind, queue, place}, max, deliveries);
      }
    }
    if (deliveries.empty() && !stopped) {
      parked_.push_back(Parked{std::move(request), std::move(done)});
      return;
    }
  }
  if (stopped) return done(Cancelled("the session receives no more"));
  done(std::move(deliveries));
}

// An activity's hint keeps its place: it was the first that waited. A turn's goes behind the others, or one that nobody
// here can take would keep them waiting.
MARATHON_INLINE void LocalHub::Nack(std::vector<Delivery>&& deliveries) {
  std::vector<Answer> answers;
  {
    const std::lock_guard lock(mutex_);
    std::vector<TaskHint> first;
    for (Delivery& delivery : deliveries) {
      if (GiveToParked(delivery.hint, answers)) continue;
      if (delivery.hint.kind == TaskKind::kActivity) {
        first.push_back(std::move(delivery.hint));
      } else {
        Keep(std::move(delivery.hint), /*first=*/false);
      }
    }
    for (; !first.empty(); first.pop_back()) Keep(std::move(first.back()), /*first=*/true);
  }
  for (Answer& answer : answers) answer.done(std::move(answer.deliveries));
}

// Of all places beside `first`.
MARATHON_INLINE void LocalHub::Take(const Place& first, size_t max, std::vector<Delivery>& out) {
  auto it = waiting_.lower_bound(first);
  while (it != waiting_.end() && it->first.IsBeside(first) && out.size() < max) {
    Waiting& waiting = it->second;
    while (!waiting.hints.empty() && out.size() < max) {
      TaskHint& hint = waiting.hints.front();
      waiting.seen.erase({ActivityKey{hint.run, hint.activity}, hint.epoch});
      out.push_back(Delivery{std::move(hint), std::string()});
      waiting.hints.pop_front();
    }
    it = waiting.hints.empty() ? waiting_.erase(it) : std::next(it);
  }
}

MARATHON_INLINE void LocalHub::StopReceiving(const SessionId& session) {
  std::vector<Answer> answers;
  std::vector<Done<std::vector<Delivery>>> ended;
  {
    const std::lock_guard lock(mutex_);
    stopped_.insert(session);
    for (auto it = parked_.begin(); it != parked_.end();) {
      if (it->request.session == session) {
        ended.push_back(std::move(it->done));
        it = parked_.erase(it);
      } else {
        ++it;
      }
    }
    GiveToAnyone(session, answers);
  }
  for (auto& done : ended) done(Cancelled("the session receives no more"));
  for (Answer& answer : answers) answer.done(std::move(answer.deliveries));
}

MARATHON_INLINE bool LocalHub::IsAwaited() const {
  const std::lock_guard lock(mutex_);
  return !parked_.empty() || !awaiters_.empty();
}

MARATHON_INLINE size_t LocalHub::ParkedFor(const TaskHint& hint) const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(
      std::count_if(parked_.begin(), parked_.end(),
                    [&](const Parked& parked) { return parked.Wants(hint, hint.preferred); }));
}

MARATHON_INLINE bool LocalHub::IsParked(const ReceiveRequest& request) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(parked_.begin(), parked_.end(),
                     [&](const Parked& parked) { return parked.Is(request); });
}

MARATHON_INLINE void LocalHub::GiveTo(const ReceiveRequest& request,
                                      std::vector<TaskHint>&& hints) {
  if (hints.empty()) return;
  Effects rest;
  Answer answer;
  {
    const std::lock_guard lock(mutex_);
    const auto it = std::find_if(parked_.begin(), parked_.end(),
                                 [&](const Parked& parked) { return parked.Is(request); });
    size_t count = 0;
    if (it != parked_.end()) {
      count = std::min(hints.size(), static_cast<size_t>(std::max(it->request.max, 1)));
      answer.done = std::move(it->done);
      parked_.erase(it);
    }
    for (size_t i = 0; i < hints.size(); ++i) {
      if (i < count) {
        answer.deliveries.push_back(Delivery{std::move(hints[i]), std::string()});
      } else {
        rest.hints.push_back(std::move(hints[i]));
      }
    }
  }
  if (answer.done) answer.done(std::move(answer.deliveries));
  Publish(std::move(rest));
}

MARATHON_INLINE std::vector<ReceiveRequest> LocalHub::ParkedRequests() const {
  const std::lock_guard lock(mutex_);
  std::vector<ReceiveRequest> requests;
  for (const Parked& parked : parked_) requests.push_back(parked.request);
  return requests;
}

MARATHON_INLINE std::vector<TaskHint> LocalHub::TakeWaiting() {
  const std::lock_guard lock(mutex_);
  return TakeAllWaiting();
}

MARATHON_INLINE std::vector<TaskHint> LocalHub::TakeStranded() {
  const std::lock_guard lock(mutex_);
  const bool received = !parked_.empty() ||
                        std::any_of(watchers_.begin(), watchers_.end(), [&](const auto& entry) {
                          return !stopped_.contains(entry.first);
                        });
  return received ? std::vector<TaskHint>() : TakeAllWaiting();
}

MARATHON_INLINE std::vector<TaskHint> LocalHub::TakeAllWaiting() {
  std::vector<TaskHint> hints;
  for (auto& [place, waiting] : waiting_) {
    std::move(waiting.hints.begin(), waiting.hints.end(), std::back_inserter(hints));
  }
  waiting_.clear();
  return hints;
}

MARATHON_INLINE std::set<std::pair<TaskKind, std::string>> LocalHub::AwaitedQueues() const {
  const std::lock_guard lock(mutex_);
  std::set<std::pair<TaskKind, std::string>> queues;
  for (const Parked& parked : parked_) {
    for (const std::string& queue : parked.request.task_queues) {
      queues.emplace(parked.request.kind, queue);
    }
  }
  return queues;
}

MARATHON_INLINE std::set<std::string> LocalHub::WaitingActivityQueues() const {
  const std::lock_guard lock(mutex_);
  std::set<std::string> queues;
  for (const auto& [place, waiting] : waiting_) {
    if (place.kind == TaskKind::kActivity) queues.insert(place.task_queue);
  }
  return queues;
}

// ---- The queue ---------------------------------------------------------------------------------

namespace detail {

class LocalTaskQueue final : public TaskQueue {
 public:
  LocalTaskQueue(std::shared_ptr<LocalHub> hub, std::string domain)
      : hub_(std::move(hub)), domain_(std::move(domain)) {}

  std::string_view domain() const override { return domain_; }
  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    Effects effects;
    effects.hints = std::move(hints);
    hub_->Publish(std::move(effects));
    done(Status());
  }
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override {
    hub_->Receive(std::move(request), std::move(done));
  }
  // A delivered hint is off the queue at once: the store publishes again what nobody claims.
  void Ack(std::vector<std::string>, DoneStatus done) override { done(Status()); }
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override {
    hub_->Nack(std::move(deliveries));
    done(Status());
  }
  void StopReceiving(const SessionId& session) override { hub_->StopReceiving(session); }

 private:
  const std::shared_ptr<LocalHub> hub_;
  const std::string domain_;
};

}  // namespace detail

MARATHON_INLINE std::shared_ptr<TaskQueue> NewLocalTaskQueue(std::shared_ptr<LocalHub> hub,
                                                             std::string domain) {
  return std::make_shared<detail::LocalTaskQueue>(std::move(hub), std::move(domain));
}

}  // namespace marathon::inline MARATHON_ABI

#include "marathon/store/local_hub_awaiters-inl.h"
