// TurnRunner: takes the turns of runs. A turn reads the run's messages, runs its code over them, and commits
// what came of it in one write. Between turns the run's coroutines stay in the cache.
//
// How a turn fails: an unavailable store is asked again with the same commit; an unknown or refused
// commit is looked up by its id; a lost one is dropped, with the coroutines, and redone from history;
// nondeterminism and unreadable histories block the run.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/engine/run_cache.h"
#include "marathon/engine/waiting_turn.h"
#include "marathon/engine/watchdog.h"
#include "marathon/options.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

namespace marathon::inline MARATHON_ABI::detail {

class TurnRunner {
 public:
  TurnRunner(Host& host, const EngineOptions& options);

  // A run may have messages and is ours to serve.
  void Wake(const RunKey& run);
  // An activity that this process ran has its outcome. `slot`: of its run, as it was when it began. What the
  // session holds for the activity it goes on holding until the turn is committed.
  void HandOver(const SlotPtr& slot, HandedOutcome outcome);
  void HandOver(const RunKey& run, HandedOutcome outcome);
  bool IsCached(const RunKey& run) { return cache_.Contains(run); }

  // The first turn of a new run, not yet committed: null if the start must go through the inbox.
  SlotPtr FirstTurn(const RunKey& run, std::string_view workflow_type, std::string_view task_queue,
                    const std::vector<Message>& messages);
  TurnCommit BuildCommit(RunSlot& slot);
  // The commit of `slot`'s turn is in the store.
  void Applied(SlotPtr slot, int64_t inbox_left);
  // It is not, and will not be: forget it.
  void Discard(SlotPtr slot);
  // Nobody knows: look, and go on from what the store has.
  void Lost(SlotPtr slot);

  // For LocalActivities: a local activity of a turn that waits has ended; the turn can come to nothing.
  void OnLocalEnd(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn, KnownLocal known);
  void DropWaiting(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn, WaitingTurn::Dropped why);
  void StoreHanded(RunSlot& slot);

  int busy() const { return busy_.load(); }
  // Counts as busy from Enter to Exit: a shutdown waits.
  void Enter() { ++busy_; }
  void Exit();
  Watchdog& watchdog() { return watchdog_; }
  // A turn of such a workflow hangs. Whoever starts another is not to run into the same: from now on first
  // turns of it are taken on the turn lane.
  void Distrust(const std::string& workflow_type);

 private:
  void Drive(SlotPtr slot, bool ask);
  void Take(SlotPtr slot);
  void OnTaken(SlotPtr slot, StatusOr<RunSnapshot> taken);
  void BlockUnreadable(SlotPtr slot, const Status& damage);
  void ReadRest(SlotPtr slot, std::shared_ptr<RunSnapshot> snapshot);
  void Load(SlotPtr slot, RunSnapshot snapshot);
  Status CheckOpen(const RunKey& run, const History& history, const std::vector<Message>& inbox,
                   EventId& event_id) const;
  // Whether something in them cannot be opened, and the run was left for that.
  bool LeftSealed(const SlotPtr& slot, const History& history, const std::vector<Message>& inbox);
  void RunTurn(SlotPtr slot, std::vector<Message> inbox, Time now);
  struct Ran {
    bool unread_signals = false;  // the run ended without having read all
    std::optional<Mismatch> mismatch;
    bool own = false;  // between what this very build has done
  };
  Ran TakeOutput(RunSlot& slot, TurnOutput output);
  bool IsOver(const SlotPtr& slot, const Ran& ran);
  void AwaitLocals(SlotPtr slot);
  void DriveLocals(SlotPtr slot, std::shared_ptr<WaitingTurn> turn);
  void DropLocals(SlotPtr slot, WaitingTurn::Dropped why);
  Ran GoOn(const SlotPtr& slot, PooledVector<EventBody> ends);
  Ran RunCode(const SlotPtr& slot, Time now, PooledVector<EventBody> inbound);
  void LeaveMismatched(SlotPtr slot, const Mismatch& mismatch, bool own);
  std::optional<Mismatch> Verify(const SlotPtr& slot);
  void Undo(RunSlot& slot);
  void Redo(SlotPtr slot);
  void Commit(SlotPtr slot);
  void OnCommitted(SlotPtr slot, StatusOr<CommitReply> reply);
  void LookUpCommit(SlotPtr slot);
  void GoOnInDoubt(SlotPtr slot, bool rests);
  void FailRun(SlotPtr slot, Failure failure);
  void WarnOfSize(const RunSlot& slot);
  void Block(SlotPtr slot, std::string reason, EventId event_id);
  // The same, until another worker may try: one that has the code.
  void GiveBack(SlotPtr slot, std::string reason, EventId event_id);
  void Leave(SlotPtr slot, BlockInfo info);
  void ReturnOutcomes(RunSlot& slot);
  void SendHanded(const RunSlot& slot, HandedOutcome outcome);
  void GiveUp(SlotPtr slot);
  // Asks the store again in a while; gives up when the engine is shutting down and it stays away.
  void TryAgain(SlotPtr slot, void (TurnRunner::*step)(SlotPtr));
  void Finish(SlotPtr slot, bool keep);
  std::unique_ptr<Replayer> NewReplayer(const RunKey& run, std::string_view type,
                                        std::string_view task_queue);
  bool IsDistrusted(std::string_view workflow_type);
  TurnStarted Marker(const RunSlot& slot, Time now) const;
  static std::optional<NewActivity> NewsOf(const RunSlot& slot, EventId closing);
  void StartOwed(const RunSlot& slot, ActivityRow row);
  void Choose(RunSlot& slot, NewActivity& activity, bool first_build);

  Host& host_;
  RunCache cache_;
  std::atomic<int> busy_{0};
  std::mutex distrusted_mutex_;
  std::set<std::string, std::less<>> distrusted_;
  std::atomic<bool> any_distrusted_{false};
  Watchdog watchdog_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
