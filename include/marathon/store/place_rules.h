// What every Limiter decides of places, wherever it keeps them. Redis's script has it once more (scripts/places.lua).
//
// Of a key there are entries, one a holder: it has a place, or was passed one and has not entered yet, or waits. What is
// free when a call ends has been passed on, so that places are free only while nobody waits. Each call costs a few
// look-ups in ordered tables, however many wait.
//
// Not thread-safe: whoever calls has the key to itself.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/limits.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// Persisted: never change the value of an existing entry.
enum class PlaceState : uint8_t { kHolds = 1, kPassed = 2, kWaits = 3 };

struct PlaceEntry {
  PlaceState state = PlaceState::kWaits;
  int64_t epoch = 0;     // kHolds: of the attempt
  uint8_t priority = 0;  // kWaits
  int64_t at = 0;        // kHolds: from when on it is a suspect; kPassed: until when; both in microseconds. kWaits: its number

  friend bool operator==(const PlaceEntry&, const PlaceEntry&) = default;
};

struct PlaceHead {
  int32_t max = 0;
  int64_t arrivals = 0;  // numbers given to those that wait
  int64_t taken = 0;     // entries that hold or were passed a place
};

// ---- What is refused

inline Status CheckPlace(const std::string& key, const std::string& holder) {
  if (key.empty() || key.size() > limits::kPlaceKeyBytes) {
    return InvalidArgument(
        fmt::format("the key of places has 1 to {} bytes, and not {}", limits::kPlaceKeyBytes, key.size()));
  }
  if (!holder.empty() && holder.size() <= limits::kPlaceHolderBytes) return {};
  return InvalidArgument(
      fmt::format("the holder of a place has 1 to {} bytes, and not {}", limits::kPlaceHolderBytes, holder.size()));
}

inline constexpr int64_t kMaxPlaceEpoch = int64_t{1} << 53;  // as far as a double, Lua's number, tells them apart

inline Status CheckEnter(const EnterPlace& request) {
  if (Status status = CheckPlace(request.key, request.holder); !status.ok()) return status;
  if (request.epoch < 1 || request.epoch > kMaxPlaceEpoch) {
    return InvalidArgument(fmt::format("the epoch of whoever enters is positive, and not {}", request.epoch));
  }
  if (request.max >= 1 && request.max <= limits::kMaxPlaces) return {};
  return InvalidArgument(fmt::format("a key has 1 to {} places, and not {}", limits::kMaxPlaces, request.max));
}

inline Status CheckLeave(const LeavePlace& request) {
  if (Status status = CheckPlace(request.key, request.holder); !status.ok()) return status;
  if (request.epoch >= 0 && request.epoch <= kMaxPlaceEpoch) return {};
  return InvalidArgument(fmt::format("the epoch of whoever leaves is not negative, and not {}", request.epoch));
}

// ---- The rules

// `Table` has the entries of one key:
//   PlaceHead& head();
//   std::optional<PlaceEntry> Find(holder);
//   void Put(holder, entry);  // new, or instead of what it had
//   void Erase(holder);       // REQUIRES: it has one
//   std::optional<std::pair<std::string, PlaceEntry>> First(state);  // the smallest priority, and of that the smallest `at`
template <class Table>
class PlaceRules {
 public:
  PlaceRules(Table& table, Time now) : table_(table), now_(ToMicros(now)) { DropOverdue(); }

  // REQUIRES: CheckEnter(request) is OK.
  EnterReply Enter(const EnterPlace& request) {
    EnterReply reply;
    table_.head().max = request.max;
    const std::optional<PlaceEntry> entry = table_.Find(request.holder);
    const bool waits = entry && entry->state == PlaceState::kWaits;
    if (entry && !waits && entry->epoch > request.epoch) {
      reply.suspect = PlaceHolder{request.holder, entry->epoch};  // stale, or the store has lost what the other was told
      PassOn(nullptr, reply.passed);
      return reply;
    }
    const bool has = entry && !waits;
    // A place that lapsed is for who is here: whoever it would be passed to next might come too late again.
    const bool free = IsFree() && !has && (lapsed_ || (!entry && !table_.First(PlaceState::kWaits)));
    if (has || free || MARATHON_MUTANT("enter_unchecked")) {
      if (!has || entry->epoch != request.epoch) Hold(request, entry);
      reply.granted = true;
      PassOn(nullptr, reply.passed);
      return reply;
    }
    if (!entry) Set(request.holder, entry, {PlaceState::kWaits, 0, request.priority, ++table_.head().arrivals});
    reply.granted = PassOn(&request, reply.passed);
    if (!reply.granted) reply.suspect = NextSuspect();
    return reply;
  }

  // REQUIRES: CheckLeave(request) is OK.
  LeaveReply Leave(const LeavePlace& request) {
    LeaveReply reply;
    const std::optional<PlaceEntry> entry = table_.Find(request.holder);
    if (entry && entry->state == PlaceState::kHolds) {
      if (entry->epoch <= request.epoch) Remove(request.holder, *entry);
    } else if (entry && request.epoch == 0) {
      Remove(request.holder, *entry);
    } else if (entry && entry->state == PlaceState::kPassed) {
      reply.passed.push_back(request.holder);  // whoever told it did so while its attempt still was at work
    }
    PassOn(nullptr, reply.passed);
    return reply;
  }

 private:
  static constexpr int64_t Micros(Duration time) { return time.count() * 1'000; }

  bool IsFree() { return table_.head().taken < table_.head().max; }

  void Set(const std::string& holder, const std::optional<PlaceEntry>& before, const PlaceEntry& entry) {
    table_.head().taken += (entry.state != PlaceState::kWaits) - (before && before->state != PlaceState::kWaits);
    table_.Put(holder, entry);
  }
  void Remove(const std::string& holder, const PlaceEntry& entry) {
    if (entry.state != PlaceState::kWaits) --table_.head().taken;
    table_.Erase(holder);
  }
  void Hold(const EnterPlace& request, const std::optional<PlaceEntry>& before) {
    Set(request.holder, before, {PlaceState::kHolds, request.epoch, 0, now_ + Micros(limits::kPlaceLease)});
  }

  // Those who were passed a place and have not come.
  void DropOverdue() {
    for (auto first = table_.First(PlaceState::kPassed); first && first->second.at <= now_;
         first = table_.First(PlaceState::kPassed)) {
      Remove(first->first, first->second);
      lapsed_ = true;
    }
  }

  // Whether it came to `asker`, whose place need not be kept for it: it is here.
  bool PassOn(const EnterPlace* asker, std::vector<std::string>& passed) {
    bool granted = false;
    for (int left = limits::kPlacesPassedOn; left > 0 && IsFree(); --left) {
      const auto first = table_.First(PlaceState::kWaits);
      if (!first) break;
      if (asker != nullptr && first->first == asker->holder) {
        Hold(*asker, first->second);
        granted = true;
      } else {
        Set(first->first, first->second, {PlaceState::kPassed, 0, 0, now_ + Micros(limits::kPlacePassed)});
        passed.push_back(first->first);
      }
    }
    return granted;
  }

  // Named once in a lease.
  std::optional<PlaceHolder> NextSuspect() {
    auto first = table_.First(PlaceState::kHolds);
    if (!first || first->second.at > now_) return std::nullopt;
    auto& [holder, entry] = *first;
    entry.at = now_ + Micros(limits::kPlaceLease);
    table_.Put(holder, entry);
    return PlaceHolder{std::move(holder), entry.epoch};
  }

  Table& table_;
  const int64_t now_;
  bool lapsed_ = false;  // a place, since the last call: it was passed to somebody who has not come
};

// How long a key is kept that nobody uses. What has places taken may be of attempts that last long.
inline Duration PlacesKept(const PlaceHead& head) {
  return head.taken > 0 ? limits::kTakenPlaceKeep : limits::kPlaceKeep;
}

}  // namespace marathon::inline MARATHON_ABI::detail
