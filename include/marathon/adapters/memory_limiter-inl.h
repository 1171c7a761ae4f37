#pragma once

#include "marathon/adapters/memory_limiter.h"

#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "marathon/store/limit_rules.h"
#include "marathon/store/place_rules.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// The places of one key.
class MemoryPlaces {
 public:
  PlaceHead& head() { return head_; }
  bool empty() const { return entries_.empty(); }

  std::optional<PlaceEntry> Find(const std::string& holder) const {
    const auto found = entries_.find(holder);
    return found == entries_.end() ? std::nullopt : std::optional(found->second);
  }
  void Put(const std::string& holder, const PlaceEntry& entry) {
    const auto [place, fresh] = entries_.try_emplace(holder, entry);
    if (!fresh) order_.erase(RankOf(place->second, holder));
    place->second = entry;
    order_.insert(RankOf(entry, holder));
  }
  void Erase(const std::string& holder) {
    const auto place = entries_.find(holder);
    order_.erase(RankOf(place->second, holder));
    entries_.erase(place);
  }
  std::optional<std::pair<std::string, PlaceEntry>> First(PlaceState state) const {
    const auto first = order_.lower_bound(Rank(state, 0, std::numeric_limits<int64_t>::min(), std::string()));
    if (first == order_.end() || std::get<0>(*first) != state) return std::nullopt;
    const std::string& holder = std::get<3>(*first);
    return std::pair(holder, entries_.at(holder));
  }

  Time kept_until{};

 private:
  using Rank = std::tuple<PlaceState, uint8_t, int64_t, std::string>;
  static Rank RankOf(const PlaceEntry& entry, const std::string& holder) {
    return {entry.state, entry.priority, entry.at, holder};
  }

  PlaceHead head_;
  std::unordered_map<std::string, PlaceEntry> entries_;
  std::set<Rank> order_;
};

class MemoryLimiter final : public Limiter {
 public:
  explicit MemoryLimiter(const Clock& clock) : clock_(clock) {}

  void Acquire(AcquireLimit request, Done<Permit> done) override { done(Take(request)); }

  void Settle(SettleLimit request, DoneStatus done) override {
    Status status = CheckSettle(request);
    if (status.ok()) {
      const std::lock_guard lock(mutex_);
      const Time now = clock_.Now();
      LimitState state = Find(request.key, now);
      ApplySettle(request, now, state);
      Keep(request.key, now, std::move(state));
    }
    done(std::move(status));
  }

  void Clear(std::string key, DoneStatus done) override {
    Status status = CheckLimitKey(key);
    if (status.ok()) {
      const std::lock_guard lock(mutex_);
      states_.erase(key);
    }
    done(std::move(status));
  }

  void Enter(EnterPlace request, Done<EnterReply> done) override {
    if (Status status = CheckEnter(request); !status.ok()) return done(std::move(status));
    done(OverPlaces(request, &PlaceRules<MemoryPlaces>::Enter));
  }

  void Leave(LeavePlace request, Done<LeaveReply> done) override {
    if (Status status = CheckLeave(request); !status.ok()) return done(std::move(status));
    done(OverPlaces(request, &PlaceRules<MemoryPlaces>::Leave));
  }

 private:
  static constexpr int kSweptByWrite = 2;

  using States = std::map<std::string, LimitState, std::less<>>;

  StatusOr<Permit> Take(const AcquireLimit& request) {
    if (Status status = CheckAcquire(request); !status.ok()) return status;
    const std::lock_guard lock(mutex_);
    const Time now = clock_.Now();
    LimitState state = Find(request.key, now);
    StatusOr<Permit> permit = TakePermit(request, now, state);
    if (permit.ok()) Keep(request.key, now, std::move(state));
    return permit;
  }

  // With mutex_ held.
  LimitState Find(const std::string& key, Time now) {
    const auto found = states_.find(key);
    const bool kept = found != states_.end() && LimitKeptUntil(found->second) > now;
    return kept ? found->second : LimitState();
  }
  void Keep(const std::string& key, Time now, LimitState state) {
    if (SaysNothing(state, now)) {
      states_.erase(key);
    } else {
      states_.insert_or_assign(key, std::move(state));
    }
    for (int i = 0; i < kSweptByWrite; ++i) Sweep(now);
  }
  // Looks at one state, at another one each time.
  void Sweep(Time now) {
    const auto looked_at = states_.upper_bound(swept_);
    if (looked_at == states_.end()) return swept_.clear();
    swept_ = looked_at->first;
    if (LimitKeptUntil(looked_at->second) <= now) states_.erase(looked_at);
  }

  template <class Request, class Reply>
  Reply OverPlaces(const Request& request, Reply (PlaceRules<MemoryPlaces>::*call)(const Request&)) {
    const std::lock_guard lock(mutex_);
    const Time now = clock_.Now();
    for (int i = 0; i < kSweptByWrite; ++i) SweepPlaces(now);
    MemoryPlaces& places = places_[request.key];
    PlaceRules<MemoryPlaces> rules(places, now);
    Reply reply = (rules.*call)(request);
    places.kept_until = now + PlacesKept(places.head());
    if (places.empty()) places_.erase(request.key);
    return reply;
  }
  void SweepPlaces(Time now) {
    const auto looked_at = places_.upper_bound(swept_places_);
    if (looked_at == places_.end()) return swept_places_.clear();
    swept_places_ = looked_at->first;
    if (looked_at->second.kept_until <= now) places_.erase(looked_at);
  }

  const Clock& clock_;
  std::mutex mutex_;
  States states_;
  std::string swept_;  // up to this key
  std::map<std::string, MemoryPlaces, std::less<>> places_;
  std::string swept_places_;
};

}  // namespace detail

MARATHON_INLINE std::shared_ptr<Limiter> NewMemoryLimiter(const Clock& clock) {
  return std::make_shared<detail::MemoryLimiter>(clock);
}

}  // namespace marathon::inline MARATHON_ABI
