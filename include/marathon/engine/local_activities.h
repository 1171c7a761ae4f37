// LocalActivities: runs the local activities of turns that wait for them. Nothing of one is in the store until its
// turn is committed: what dies with this worker, the next one runs again.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/engine/run_cache.h"
#include "marathon/engine/waiting_turn.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

namespace marathon::inline MARATHON_ABI::detail {

class LocalAttempt;

class LocalActivities {
 public:
  explicit LocalActivities(Host& host) : host_(host) {}

  // `slot`'s turn waits from now on, until End.
  void Wait(const SlotPtr& slot);
  void End(RunSlot& slot);
  // By the thread that drives the waiting turn.
  void Begin(const SlotPtr& slot, LocalTask task);
  void Cancel(WaitingTurn& turn, EventId id);

  // A shutdown: attempts are told to stop, turns that wait for another attempt are dropped.
  void StopAll();
  // Forgets what runs, as a crash would.
  void Abandon();
  int running() const { return running_count_.load(); }

  // For LocalAttempt.
  void Ended(const LocalAttempt& attempt, AttemptResult result);
  void Forget(const std::shared_ptr<LocalAttempt>& attempt);

 private:
  void Run(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn, LocalTask task);
  void RunLater(const LocalAttempt& attempt, LocalTask task, Duration delay);
  static bool IsKnown(RunSlot& slot, const LocalTask& task);
  bool IsYoung(const WaitingTurn& turn) const;
  // While its turn waits, other workers leave the run alone.
  void KeepRunLater(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn);
  void KeepRun(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn);

  Host& host_;
  std::atomic<int> running_count_{0};
  std::mutex mutex_;
  std::set<std::shared_ptr<LocalAttempt>> running_;
  std::map<std::shared_ptr<WaitingTurn>, SlotPtr> waiting_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
