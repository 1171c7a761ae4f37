// What every Limiter decides, wherever it keeps the state. Redis's script has it once more (scripts/limiter.lua).
//
// All of it is counted in the time that a bucket needs: its `span` is how long it takes to fill, `full` how long until it
// is full again. To take something moves `full` on; what reaches beyond `span` is the wait; time that passes brings it
// back. Whole microseconds, rounded so that too little is given rather than too much.
//
// Pure functions.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/limits.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

struct LimitBucket {
  int64_t size = 0;  // 0: there is none
  int64_t span = 0;  // microseconds in which all of it flows in
  int64_t full = 0;  // … until it is full again

  friend bool operator==(const LimitBucket&, const LimitBucket&) = default;
};

struct LimitUnitState {
  std::string name;
  LimitBucket own;   // as its callers limit it
  LimitBucket told;  // as the other side has reported

  friend bool operator==(const LimitUnitState&, const LimitUnitState&) = default;
};

struct LimitState {
  Time at{};            // of the buckets; ahead of now behind a pause, for those that queue
  Time paused_until{};  // permits for an earlier instant have been overtaken
  std::vector<LimitUnitState> units;

  friend bool operator==(const LimitState&, const LimitState&) = default;
};

// ---- What is refused

inline Status CheckLimitKey(const std::string& key) {
  if (!key.empty() && key.size() <= limits::kMaxIdBytes) return {};
  return InvalidArgument(
      fmt::format("the key of a limit has 1 to {} bytes, and not {}", limits::kMaxIdBytes, key.size()));
}

inline Status CheckLimitUnit(std::string_view name, std::initializer_list<int64_t> numbers) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (name.empty() || name.size() > limits::kLimitUnitBytes || !std::all_of(name.begin(), name.end(), fits)) {
    return InvalidArgument(fmt::format("a unit of a limit is named by 1 to {} of a-z, 0-9 and '_'; \"{}\" is not",
                                       limits::kLimitUnitBytes, name.substr(0, 80)));
  }
  for (const int64_t number : numbers) {
    if (number >= 0 && number <= limits::kLimitMaxAmount) continue;
    return InvalidArgument(fmt::format("unit \"{}\" of a limit: {} is not from 0 to {}", name, number,
                                       limits::kLimitMaxAmount));
  }
  return {};
}

inline Status CheckLimitUnits(size_t count) {
  if (count <= limits::kLimitUnits) return {};
  return InvalidArgument(fmt::format("a limit has up to {} units, and not {}", limits::kLimitUnits, count));
}

inline Status CheckAcquire(const AcquireLimit& request) {
  Status status = CheckLimitKey(request.key);
  if (status.ok()) status = CheckLimitUnits(request.units.size());
  for (const LimitUnit& unit : request.units) {
    if (status.ok()) status = CheckLimitUnit(unit.name, {unit.amount, unit.per_minute, unit.burst});
  }
  return status;
}

inline Status CheckSettle(const SettleLimit& request) {
  Status status = CheckLimitKey(request.key);
  if (status.ok()) status = CheckLimitUnits(std::max(request.unused.size(), request.reports.size()));
  for (const LimitAmount& unused : request.unused) {
    if (status.ok()) status = CheckLimitUnit(unused.unit, {std::abs(unused.amount)});
  }
  for (const LimitReport& report : request.reports) {
    if (status.ok()) status = CheckLimitUnit(report.unit, {report.limit, report.remaining});
    if (status.ok() && (report.remaining > report.limit || report.full_in < Duration(0))) {
      status = InvalidArgument(fmt::format("unit \"{}\" of a limit: {} of {}, full in {} ms, is no report", report.unit,
                                           report.remaining, report.limit, report.full_in.count()));
    }
  }
  if (status.ok() && request.pause < Duration(0)) {
    status = InvalidArgument(fmt::format("a pause of {} ms", request.pause.count()));
  }
  return status;
}

inline Status TooLongAWait(const AcquireLimit& request) {
  return ResourceExhausted(fmt::format("so much of limit \"{}\" is taken already that it would be {} days until this",
                                       request.key, limits::kLimitMaxWait / std::chrono::hours(24)));
}

// ---- Buckets

inline constexpr int64_t kMicrosPerMinute = 60'000'000;
inline constexpr int64_t kLimitMaxMicros = limits::kLimitMaxWait.count() * 1000;
inline constexpr double kLimitMaxSpan = 1e17;

// As its caller wants it from now on.
inline void Reshape(LimitBucket& own, const LimitUnit& unit) {
  own.size = unit.burst > 0 ? unit.burst : unit.per_minute;
  const double span = static_cast<double>(own.size) * kMicrosPerMinute / static_cast<double>(unit.per_minute);
  own.span = static_cast<int64_t>(std::ceil(span));
}

// `amount` of a bucket as time. REQUIRES: there is one.
inline int64_t FlowMicros(const LimitBucket& bucket, int64_t amount) {
  const double flow = static_cast<double>(amount) * static_cast<double>(bucket.span);
  return static_cast<int64_t>(std::ceil(flow / static_cast<double>(bucket.size)));
}

inline void Take(LimitBucket& bucket, int64_t amount, int64_t& wait) {
  if (MARATHON_MUTANT("limit_not_taken")) return;
  bucket.full += FlowMicros(bucket, amount);
  wait = std::max(wait, bucket.full - bucket.span);
}

inline void GiveBack(LimitBucket& bucket, int64_t amount) {
  if (bucket.size == 0) return;
  bucket.full = std::max<int64_t>(0, bucket.full + FlowMicros(bucket, -amount));
}

// The newest report is right about the size and the speed. What was taken here and it has not seen yet, stays taken.
inline void Tell(LimitBucket& told, const LimitReport& report) {
  if (report.limit == 0) return;
  const auto size = static_cast<double>(report.limit);
  const double taken = told.size == 0 ? 0 : static_cast<double>(told.full) * static_cast<double>(told.size) /
                                                static_cast<double>(told.span);
  const auto missing = static_cast<double>(report.limit - report.remaining);
  const auto full_in = static_cast<double>(std::min(report.full_in, limits::kLimitMaxWait).count() * 1000);
  double span = 0;
  if (missing > 0 && full_in > 0) {
    span = full_in * size / missing;
  } else if (told.size > 0) {  // as fast as before
    span = static_cast<double>(told.span) * size / static_cast<double>(told.size);
  } else {
    return;
  }
  told.size = report.limit;
  span = std::min(std::ceil(span), kLimitMaxSpan);
  told.span = static_cast<int64_t>(span);
  told.full = static_cast<int64_t>(std::ceil(std::max(taken, missing) * span / size));
}

// ---- The state of a key

inline LimitUnitState& UnitOf(LimitState& state, std::string_view name) {
  for (LimitUnitState& unit : state.units) {
    if (unit.name == name) return unit;
  }
  state.units.emplace_back().name = name;
  return state.units.back();
}

inline void DropEmptyUnits(LimitState& state) {
  std::erase_if(state.units, [](const LimitUnitState& unit) { return unit.own.size == 0 && unit.told.size == 0; });
}

inline void PassUntil(LimitState& state, Time until) {
  if (until <= state.at) return;
  const int64_t passed = ToMicros(until) - ToMicros(state.at);
  for (LimitUnitState& unit : state.units) {
    unit.own.full = std::max<int64_t>(0, unit.own.full - passed);
    unit.told.full = std::max<int64_t>(0, unit.told.full - passed);
  }
  state.at = until;
}

inline Permit PermitFor(Time at, Time now) {
  return {at, std::chrono::ceil<Duration>(std::max(at - now, Time::duration(0)))};
}

// A state that is as good as none.
inline bool SaysNothing(const LimitState& state, Time now) { return state.units.empty() && state.at <= now; }

// The longer the queue behind a pause has become, the quicker it goes, or it would never end.
inline std::chrono::microseconds SpacingOf(const LimitState& state) {
  const int64_t behind = std::max<int64_t>(0, (ToMicros(state.at) - ToMicros(state.paused_until)) / 1'000'000);
  return std::max(std::chrono::microseconds(1), std::chrono::microseconds(limits::kLimitSpacing) / (1 + behind));
}

// REQUIRES: CheckAcquire(request) is OK. On an error `state` is of no use any more.
inline StatusOr<Permit> TakePermit(const AcquireLimit& request, Time now, LimitState& state) {
  const bool overtaken = request.permit < state.paused_until;
  const bool has_waited = request.permit != Time() && !overtaken &&
                          now <= AddSaturated(request.permit, limits::kLimitGrace) && !SaysNothing(state, now);
  if (has_waited) return PermitFor(request.permit, now);
  const bool queues = state.at > now;
  PassUntil(state, now);
  int64_t wait = 0;
  for (const LimitUnit& asked : request.units) {
    LimitUnitState& unit = UnitOf(state, asked.name);
    if (asked.per_minute > 0) {
      Reshape(unit.own, asked);
      Take(unit.own, asked.amount, wait);
    }
    if (unit.told.size > 0) Take(unit.told, asked.amount, wait);
  }
  DropEmptyUnits(state);
  const Time at = state.at + std::chrono::microseconds(wait);
  if (ToMicros(at) - ToMicros(now) > kLimitMaxMicros) return TooLongAWait(request);
  if (queues) PassUntil(state, state.at + SpacingOf(state));
  return PermitFor(at, now);
}

// REQUIRES: CheckSettle(request) is OK.
inline void ApplySettle(const SettleLimit& request, Time now, LimitState& state) {
  PassUntil(state, now);
  for (const LimitAmount& unused : request.unused) {
    LimitUnitState& unit = UnitOf(state, unused.unit);
    GiveBack(unit.own, unused.amount);
    GiveBack(unit.told, unused.amount);
  }
  for (const LimitReport& report : request.reports) Tell(UnitOf(state, report.unit).told, report);
  DropEmptyUnits(state);
  if (request.pause == Duration(0)) return;
  const Time until = now + std::min(request.pause, limits::kLimitMaxWait);
  state.paused_until = std::max(state.paused_until, until);
  PassUntil(state, until);
}

// When it may be forgotten. REQUIRES: nobody uses it until then.
inline Time LimitKeptUntil(const LimitState& state) {
  int64_t full = 0;
  for (const LimitUnitState& unit : state.units) full = std::max({full, unit.own.full, unit.told.full});
  return state.at + std::chrono::microseconds(full) + limits::kLimitKeep;
}

}  // namespace marathon::inline MARATHON_ABI::detail
