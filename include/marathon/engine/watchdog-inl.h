#pragma once

#include "marathon/engine/watchdog.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/engine/host.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE Watchdog::List& Watchdog::ListOfThisThread() {
  static std::atomic<size_t> threads{0};
  thread_local const size_t kNumber = threads.fetch_add(1, std::memory_order_relaxed);
  return lists_[kNumber % kLists];
}

MARATHON_INLINE void Watchdog::Begin(const SlotPtr& slot) {
  InTurnOnThisThread() = true;
  if (host_.options().watchdog == Duration(0)) return;
  const int64_t now = host_.runtime().MonotonicMicros();
  List& list = ListOfThisThread();
  {
    std::lock_guard lock(list.mutex);
    list.watched.push_back({slot, slot->base_version, now});
  }
  if (!alarm_set_.load() && !alarm_set_.exchange(true)) SetAlarm();
}

MARATHON_INLINE void Watchdog::End(const SlotPtr& slot) {
  InTurnOnThisThread() = false;
  if (host_.options().watchdog == Duration(0)) return;
  List& list = ListOfThisThread();
  std::lock_guard lock(list.mutex);
  const auto found = std::ranges::find(list.watched, slot, &Watched::slot);
  if (found != list.watched.end() - 1) *found = std::move(list.watched.back());
  list.watched.pop_back();
}

MARATHON_INLINE void Watchdog::SetAlarm() {
  host_.runtime().SetAlarm(host_.options().watchdog, [weak = host_.weak_from_this()] {
    if (auto self = weak.lock()) self->turns().watchdog().OnAlarm();
  });
}

MARATHON_INLINE std::vector<Watchdog::Watched> Watchdog::Strike(int64_t now, bool& any) {
  const int64_t period = host_.options().watchdog.count() * 1000;
  std::vector<Watched> struck;
  for (List& list : lists_) {
    std::lock_guard lock(list.mutex);
    any |= !list.watched.empty();
    for (Watched& watched : list.watched) {
      const int64_t strikes = (now - watched.since) / period;
      if (strikes <= watched.strikes) continue;
      watched.strikes = static_cast<int>(strikes);
      watched.workflow_type = watched.slot->replayer->facts().workflow_type;
      struck.push_back(watched);
    }
  }
  return struck;
}

// The alarm goes on while there are turns under way.
MARATHON_INLINE void Watchdog::OnAlarm() {
  const int64_t now = host_.runtime().MonotonicMicros();
  alarm_set_ = false;  // first: a turn that begins from here on is seen below, or sets one itself
  bool any = false;
  const std::vector<Watched> struck = Strike(now, any);
  for (const Watched& watched : struck) {
    const RunKey& key = watched.slot->key;
    if (watched.strikes == 1) {
      host_.turns().Distrust(watched.workflow_type);
      host_.runtime().ReplaceStuckThread();
    }
    host_.Log(LogLevel::kError,
              fmt::format("a turn of run {} of workflow \"{}\" has not yielded for {} ms: workflow "
                          "code must not block or loop without co_await",
                          key.run_id, key.workflow_id, (now - watched.since) / 1000));
    if (watched.strikes < limits::kMaxDeliveries) continue;
    cache_.Abandon(*watched.slot);
    host_.store().Block(key, watched.version,
                        BlockInfo{host_.options().build_id, "its turn hangs", 0, {}},
                        [](const Status&) {});
  }
  if (any && !alarm_set_.exchange(true)) SetAlarm();
}

}  // namespace marathon::inline MARATHON_ABI::detail
