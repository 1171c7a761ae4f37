// NotedEnds: the runs of which this store is told the end though nobody here has asked for it yet, since it started them.
// Whoever awaits one of them need not ask the server. A store that may have missed a push forgets them all.
//
// An end is first removed here, and then told to those who await it; who awaits it adds himself first, and then looks
// here. So none slips between. Forgetting one is always right: whoever awaits it asks.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <cstddef>
#include <mutex>
#include <unordered_set>

#include "marathon/config.h"
#include "marathon/ids.h"

namespace marathon::inline MARATHON_ABI::detail {

class NotedEnds {
 public:
  static constexpr size_t kMost = 10'000;

  void Add(const RunKey& run) {
    const std::lock_guard lock(mutex_);
    if (runs_.size() >= kMost) runs_.erase(runs_.begin());
    runs_.insert(run);
  }
  void Remove(const RunKey& run) {
    const std::lock_guard lock(mutex_);
    runs_.erase(run);
  }
  void Clear() {
    const std::lock_guard lock(mutex_);
    runs_.clear();
  }
  bool Has(const RunKey& run) const {
    const std::lock_guard lock(mutex_);
    return runs_.contains(run);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_set<RunKey> runs_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
