#pragma once

#include "marathon/engine/watchdog.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/engine/host.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE void Watchdog::Begin(const SlotPtr& slot) {
  InTurnOnThisThread() = true;
  const int64_t now = host_.runtime().MonotonicMicros();
  {
    std::lock_guard lock(mutex_);
    watched_.push_back({slot, slot->base_version, now});
    if (std::exchange(alarm_set_, true)) return;
  }
  SetAlarm();
}

MARATHON_INLINE void Watchdog::End(const SlotPtr& slot) {
  InTurnOnThisThread() = false;
  std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(watched_, slot, &Watched::slot);
  *found = std::move(watched_.back());
  watched_.pop_back();
}

MARATHON_INLINE void Watchdog::SetAlarm() {
  host_.runtime().SetAlarm(host_.options().watchdog, [weak = host_.weak_from_this()] {
    if (auto self = weak.lock()) self->turns().watchdog().OnAlarm();
  });
}

// Those that have one more period behind them.
MARATHON_INLINE std::vector<Watchdog::Watched> Watchdog::Strike(int64_t now) {
  const int64_t period = host_.options().watchdog.count() * 1000;
  std::vector<Watched> struck;
  for (Watched& watched : watched_) {
    const int64_t strikes = (now - watched.since) / period;
    if (strikes <= watched.strikes) continue;
    watched.strikes = static_cast<int>(strikes);
    struck.push_back(watched);
  }
  return struck;
}

// The alarm goes on while there are turns under way.
MARATHON_INLINE void Watchdog::OnAlarm() {
  const int64_t now = host_.runtime().MonotonicMicros();
  std::vector<Watched> struck;
  bool again;
  {
    std::lock_guard lock(mutex_);
    struck = Strike(now);
    again = alarm_set_ = !watched_.empty();
  }
  for (const Watched& watched : struck) {
    const RunKey& key = watched.slot->key;
    host_.Log(LogLevel::kError,
              fmt::format("a turn of run {} of workflow \"{}\" has not yielded for {} ms: workflow "
                          "code must not block or loop without co_await",
                          key.run_id, key.workflow_id, (now - watched.since) / 1000));
    if (watched.strikes == 1) host_.runtime().ReplaceStuckThread();
    if (watched.strikes < limits::kMaxDeliveries) continue;
    cache_.Abandon(*watched.slot);
    host_.store().Block(key, watched.version,
                        BlockInfo{host_.options().build_id, "its turn hangs", 0, {}},
                        [](const Status&) {});
  }
  if (again) SetAlarm();
}

}  // namespace marathon::inline MARATHON_ABI::detail
