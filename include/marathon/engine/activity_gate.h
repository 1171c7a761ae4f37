// ActivityGate: which activities this worker may begin now, by the limits of their types and by its own rate; and
// the hints of those that it may not begin yet, or has no room for while it has room for the other kind. Such a hint is
// also offered to other workers: whoever claims first has the activity.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/options.h"
#include "marathon/registry.h"
#include "marathon/task_queue.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// At most so many a second, evenly spaced; after an idle or a late moment, up to a tenth of a second's worth at once.
class RateLimit {
 public:
  explicit RateLimit(double per_second);
  // Nanoseconds until one may begin; 0: now.
  int64_t Wait(int64_t now) const;
  void Take(int64_t now);
  void GiveBack() { next_ -= interval_; }

 private:
  int64_t interval_ = 0;  // 0: no limit
  int64_t slack_ = 0;
  int64_t next_ = 0;      // when the next one were due if they came evenly
};

// Room for activities, of each kind.
struct ActivityRoom {
  int blocking = 0;
  int asynchronous = 0;

  int& Of(bool is_asynchronous) { return is_asynchronous ? asynchronous : blocking; }
  int sum() const { return blocking + asynchronous; }
};

class ActivityGate {
 public:
  ActivityGate(const Registry& registry, const EngineOptions& options);

  // Takes what one activity of the type needs to begin; false: not now. `micros`: monotonic, as everywhere here.
  bool Take(std::string_view type, int64_t micros);
  // The same for one that is new: others of its type that wait go first.
  bool TakeNew(std::string_view type, int64_t micros);
  // It does not begin after all: as if it had not been taken.
  void GiveBack(std::string_view type);
  // It has ended.
  void Release(std::string_view type);

  // Keeps the hint of an activity that may not begin yet. False: it is here already, and only gets its receipt renewed;
  // or there are too many, none of which it overtakes. `asynchronous`: whether its type is.
  bool Keep(Delivery delivery, bool asynchronous);
  // Hints whose activities may begin now, by priority and then by age; what they need is taken, of `room` too.
  std::vector<Delivery> TakeReady(ActivityRoom& room, int64_t micros);
  std::vector<Delivery> TakeKept();
  // Those that are to be offered to other workers now: each at once, and then less and less often.
  std::vector<Delivery> Offers(int64_t micros);
  // An alarm to be set, and its name.
  struct Alarm {
    Duration wait{0};
    int64_t at = 0;
  };
  // When that is to be asked again; nothing: never, or that alarm is set.
  std::optional<Alarm> NextOffer(int64_t micros);
  bool holds() const { return kept_.load() > 0; }

  // Whether the worker has activities of both kinds, so that the next in a queue may be one that it has no room for.
  bool is_mixed() const { return is_mixed_; }
  // How many hints to ask the queues for: what this worker may not begin is left there, but for a few of the kind that it
  // has less room for, which may hide the others.
  int Wanted(ActivityRoom room, int64_t micros) const;
  // When a rate, and nothing else, next admits something; nothing: no rate is in the way, or that alarm is set.
  std::optional<Alarm> NextAlarm(int64_t micros);
  // False: a sooner one was set since, which has seen to the next. Were each to set another, there would be more and more.
  bool AlarmRang(int64_t at);
  bool OfferAlarmRang(int64_t at);

 private:
  struct Waiting {
    uint64_t order = 0;
    Delivery delivery;
    int offers = 0;
    int64_t offer_at = 0;

    bool GoesBefore(const Waiting& other) const {
      return std::pair(delivery.hint.priority, order) < std::pair(other.delivery.hint.priority, other.order);
    }
  };
  struct Type {
    explicit Type(const ActivityLimits& limits)
        : max(limits.max_concurrent), rate(limits.max_per_second) {}
    const int max;
    bool asynchronous = false;  // once one of them waits
    int running = 0;
    RateLimit rate;
    std::deque<Waiting> waiting;  // as they go
    std::set<std::pair<ActivityKey, Epoch>> known;  // of those

    bool HasRoom() const { return max == 0 || running < max; }
  };

  // With mutex_ held. Null: nothing limits it.
  Type* Find(std::string_view type);
  bool TakeFor(Type& type, int64_t now);

  const std::map<std::string, ActivityLimits, std::less<>> limits_;
  const bool worker_limited_;
  const bool is_mixed_;
  const bool limited_;
  mutable std::mutex mutex_;
  RateLimit worker_;
  std::map<std::string, Type, std::less<>> types_;
  uint64_t last_order_ = 0;
  int64_t alarm_at_ = 0;        // 0: none is set
  int64_t offer_alarm_at_ = 0;  // 0: none is set
  std::atomic<size_t> kept_{0};
};

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/engine/activity_gate-inl.h"
#endif
