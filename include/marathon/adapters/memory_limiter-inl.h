#pragma once

#include "marathon/adapters/memory_limiter.h"

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "marathon/store/limit_rules.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

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

  const Clock& clock_;
  std::mutex mutex_;
  States states_;
  std::string swept_;  // up to this key
};

}  // namespace detail

MARATHON_INLINE std::shared_ptr<Limiter> NewMemoryLimiter(const Clock& clock) {
  return std::make_shared<detail::MemoryLimiter>(clock);
}

}  // namespace marathon::inline MARATHON_ABI
