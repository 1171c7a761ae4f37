#pragma once

#include "marathon/engine/activity_gate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "marathon/limits.h"
#include "marathon/store_rows.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE RateLimit::RateLimit(double per_second) {
  constexpr int64_t kAtOnce = 100'000'000;  // of a second's worth
  if (per_second <= 0) return;
  interval_ = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(1e9 / per_second)));
  slack_ = std::max<int64_t>(0, kAtOnce - interval_);
}

MARATHON_INLINE int64_t RateLimit::Wait(int64_t now) const {
  return interval_ == 0 ? 0 : std::max<int64_t>(0, next_ - slack_ - now);
}

MARATHON_INLINE void RateLimit::Take(int64_t now) { next_ = std::max(next_, now) + interval_; }

MARATHON_INLINE ActivityGate::ActivityGate(const Registry& registry, const EngineOptions& options)
    : limits_(registry.activity_limits()),
      worker_limited_(options.max_activities_per_second > 0),
      is_mixed_(registry.has_activities(true) && registry.has_activities(false)),
      limited_(worker_limited_ || is_mixed_ || !limits_.empty()),
      worker_(options.max_activities_per_second) {}

MARATHON_INLINE ActivityGate::Type* ActivityGate::Find(std::string_view name) {
  if (IsBuiltIn(name)) return nullptr;
  const auto found = types_.find(name);
  if (found != types_.end()) return &found->second;
  const auto limits = limits_.find(name);
  if (limits == limits_.end() && !worker_limited_ && !is_mixed_) return nullptr;
  const ActivityLimits own = limits == limits_.end() ? ActivityLimits() : limits->second;
  return &types_.try_emplace(std::string(name), own).first->second;
}

MARATHON_INLINE bool ActivityGate::TakeFor(Type& type, int64_t now) {
  if (!type.HasRoom() || type.rate.Wait(now) > 0 || worker_.Wait(now) > 0) return false;
  ++type.running;
  type.rate.Take(now);
  worker_.Take(now);
  return true;
}

MARATHON_INLINE bool ActivityGate::Take(std::string_view name, int64_t micros) {
  if (!limited_) return true;
  std::lock_guard lock(mutex_);
  Type* const type = Find(name);
  return type == nullptr || TakeFor(*type, micros * 1'000);
}

MARATHON_INLINE bool ActivityGate::TakeNew(std::string_view name, int64_t micros) {
  if (!limited_) return true;
  std::lock_guard lock(mutex_);
  Type* const type = Find(name);
  return type == nullptr || (type->waiting.empty() && TakeFor(*type, micros * 1'000));
}

MARATHON_INLINE void ActivityGate::GiveBack(std::string_view name) {
  if (!limited_) return;
  std::lock_guard lock(mutex_);
  Type* const type = Find(name);
  if (type == nullptr) return;
  --type->running;
  type->rate.GiveBack();
  worker_.GiveBack();
}

MARATHON_INLINE void ActivityGate::Release(std::string_view name) {
  if (!limited_) return;
  std::lock_guard lock(mutex_);
  if (Type* const type = Find(name)) --type->running;
}

// What does not fit, the last, is dropped: the store tells of it again.
MARATHON_INLINE bool ActivityGate::Keep(Delivery delivery, bool asynchronous) {
  const ActivityKey key{delivery.hint.run, delivery.hint.activity};
  std::lock_guard lock(mutex_);
  Type& type = *Find(delivery.hint.activity_type);
  type.asynchronous = asynchronous;
  if (!type.known.contains({key, delivery.hint.epoch})) {
    Waiting fresh{last_order_ + 1, std::move(delivery)};
    if (type.waiting.size() >= limits::kMaxKeptHints) {
      if (!fresh.GoesBefore(type.waiting.back())) return false;
      const TaskHint& last = type.waiting.back().delivery.hint;
      type.known.erase({{last.run, last.activity}, last.epoch});
      type.waiting.pop_back();
      --kept_;
    }
    ++last_order_;
    type.known.emplace(key, fresh.delivery.hint.epoch);
    const auto goes_before = [](const Waiting& a, const Waiting& b) { return a.GoesBefore(b); };
    type.waiting.insert(std::ranges::upper_bound(type.waiting, fresh, goes_before), std::move(fresh));
    ++kept_;
    return true;
  }
  if (!delivery.receipt.empty()) {
    const auto hint_of = [](const Waiting& waiting) -> const TaskHint& { return waiting.delivery.hint; };
    const auto kept = std::ranges::find(type.waiting, delivery.hint, hint_of);
    if (kept != type.waiting.end()) kept->delivery.receipt = std::move(delivery.receipt);
  }
  return false;
}

MARATHON_INLINE std::vector<Delivery> ActivityGate::TakeReady(ActivityRoom& room, int64_t micros) {
  std::vector<Delivery> ready;
  const int64_t now = micros * 1'000;
  std::lock_guard lock(mutex_);
  while (room.sum() > 0 && worker_.Wait(now) == 0) {
    Type* first = nullptr;
    for (auto& [name, type] : types_) {
      if (type.waiting.empty() || !type.HasRoom() || type.rate.Wait(now) > 0) continue;
      if (room.Of(type.asynchronous) <= 0) continue;
      if (first == nullptr || type.waiting.front().GoesBefore(first->waiting.front())) first = &type;
    }
    if (first == nullptr || !TakeFor(*first, now)) break;
    Delivery delivery = std::move(first->waiting.front().delivery);
    first->waiting.pop_front();
    first->known.erase({{delivery.hint.run, delivery.hint.activity}, delivery.hint.epoch});
    --kept_;
    --room.Of(first->asynchronous);
    ready.push_back(std::move(delivery));
  }
  return ready;
}

MARATHON_INLINE std::vector<Delivery> ActivityGate::TakeKept() {
  std::vector<Delivery> kept;
  std::lock_guard lock(mutex_);
  for (auto& [name, type] : types_) {
    for (Waiting& waiting : type.waiting) kept.push_back(std::move(waiting.delivery));
    type.waiting.clear();
    type.known.clear();
  }
  kept_ = 0;
  return kept;
}

// One that comes back was not wanted at that moment; perhaps it is in the next, and later now and then, when
// there are more workers.
MARATHON_INLINE std::vector<Delivery> ActivityGate::Offers(int64_t micros) {
  constexpr int64_t kFirst = 20'000, kLast = std::chrono::microseconds(limits::kOfferAgain).count();
  std::vector<Delivery> offers;
  std::lock_guard lock(mutex_);
  for (auto& [name, type] : types_) {
    for (Waiting& waiting : type.waiting) {
      if (waiting.offer_at > micros) continue;
      waiting.offer_at = micros + std::min(kFirst << std::min(waiting.offers++, 16), kLast);
      offers.push_back(waiting.delivery);
    }
  }
  return offers;
}

MARATHON_INLINE std::optional<ActivityGate::Alarm> ActivityGate::NextOffer(int64_t micros) {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  int64_t next = kNever;
  std::lock_guard lock(mutex_);
  for (const auto& [name, type] : types_) {
    for (const Waiting& waiting : type.waiting) next = std::min(next, waiting.offer_at);
  }
  if (next == kNever || (offer_alarm_at_ != 0 && offer_alarm_at_ <= next)) return std::nullopt;
  offer_alarm_at_ = next;
  return Alarm{Duration(std::max<int64_t>(0, next - micros + 999) / 1'000), next};
}

MARATHON_INLINE bool ActivityGate::OfferAlarmRang(int64_t at) {
  std::lock_guard lock(mutex_);
  if (at != offer_alarm_at_) return false;
  offer_alarm_at_ = 0;
  return true;
}

MARATHON_INLINE int ActivityGate::Wanted(ActivityRoom room, int64_t micros) const {
  constexpr int kLookAhead = 16;
  const int64_t now = micros * 1'000;
  if (!worker_limited_ && !is_mixed_) return room.sum();
  std::lock_guard lock(mutex_);
  if (worker_limited_ && worker_.Wait(now) > 0) return 0;
  int wanted = room.sum();
  if (is_mixed_) {
    const auto [less, more] = std::minmax(room.blocking, room.asynchronous);
    int kept = 0;  // for want of room
    for (const auto& [name, type] : types_) {
      if (type.asynchronous != (room.asynchronous < room.blocking)) continue;
      if (type.HasRoom() && type.rate.Wait(now) == 0) kept += static_cast<int>(type.waiting.size());
    }
    wanted = less + std::clamp(kLookAhead - kept, 0, more - less);
  }
  return worker_limited_ ? std::min(wanted, 1) : wanted;
}

MARATHON_INLINE std::optional<ActivityGate::Alarm> ActivityGate::NextAlarm(int64_t micros) {
  constexpr int64_t kNanosAMilli = 1'000'000;
  if (!limited_) return std::nullopt;
  const int64_t now = micros * 1'000;
  std::lock_guard lock(mutex_);
  const int64_t worker = worker_.Wait(now);
  int64_t wait = worker;  // then this worker asks its queues again
  bool waits = worker > 0;
  for (const auto& [name, type] : types_) {
    if (type.waiting.empty() || !type.HasRoom()) continue;
    const int64_t until = std::max(worker, type.rate.Wait(now));
    if (until == 0) continue;  // it waits for room
    wait = waits ? std::min(wait, until) : until;
    waits = true;
  }
  if (!waits || wait == 0) return std::nullopt;
  if (alarm_at_ != 0 && alarm_at_ <= now + wait) return std::nullopt;
  alarm_at_ = now + wait;
  return Alarm{Duration((wait + kNanosAMilli - 1) / kNanosAMilli), alarm_at_};
}

MARATHON_INLINE bool ActivityGate::AlarmRang(int64_t at) {
  std::lock_guard lock(mutex_);
  if (at != alarm_at_) return false;
  alarm_at_ = 0;
  return true;
}

}  // namespace marathon::inline MARATHON_ABI::detail
