// Watchdog: notices turns that hang. A turn gets a strike each EngineOptions::watchdog; at the first it is
// reported and its thread replaced, at the last its run is blocked, so that what it may still commit is
// refused. A first turn runs on the thread that calls Start, which nothing can take back from user code: later
// starts of that workflow leave theirs to the turn lane.
//
// Thread rule: safe to call from any thread; Begin and End of one turn on the same thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/engine/run_cache.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

namespace marathon::inline MARATHON_ABI::detail {

// Whether this thread is inside workflow code, from which the engine must not be called.
inline bool& InTurnOnThisThread() {
  thread_local bool in_turn = false;
  return in_turn;
}

class Watchdog {
 public:
  Watchdog(Host& host, RunCache& cache) : host_(host), cache_(cache) {}

  void Begin(const SlotPtr& slot);
  void End(const SlotPtr& slot);

 private:
  struct Watched {
    SlotPtr slot;
    EventId version = 0;  // where its turn began
    int64_t since = 0;    // monotonic microseconds
    int strikes = 0;
    std::string workflow_type = {};  // once it is struck
  };
  void SetAlarm();
  void OnAlarm();
  // Those that have one more period behind them. `any`: whether there are turns under way.
  std::vector<Watched> Strike(int64_t now, bool& any);

  // Each thread begins and ends its turns in one of several lists, so that few meet at a lock.
  struct alignas(64) List {
    std::mutex mutex;
    std::vector<Watched> watched;
  };
  static constexpr size_t kLists = 16;
  List& ListOfThisThread();

  Host& host_;
  RunCache& cache_;
  std::array<List, kLists> lists_;
  std::atomic<bool> alarm_set_{false};
};

}  // namespace marathon::inline MARATHON_ABI::detail
