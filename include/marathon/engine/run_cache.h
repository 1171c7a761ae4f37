// RunCache: the runs this process is busy with or keeps live coroutines of, least recently used first out.
//
// A slot is driven by one thread at a time: whoever finds it idle and makes it busy. What arrives
// meanwhile is noted in the slot, and its driver takes it before letting go.
//
// Thread rule: safe to call from any thread; a slot's driver-only fields belong to its driver.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/engine/replayer.h"
#include "marathon/ids.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI::detail {

// An activity's outcome, on its way from the worker thread into its run's next turn.
struct HandedOutcome {
  ActivityKey key;
  Epoch epoch = 0;
  EventBody outcome;
};

struct RunSlot;
using IdleList = std::list<RunSlot*, PoolAllocator<RunSlot*>>;

struct RunSlot {
  explicit RunSlot(RunKey run) : key(std::move(run)) {}

  const RunKey key;

  // ---- Guarded by the cache.
  bool busy = false;
  bool woken = false;                  // there may be messages in the store
  std::vector<HandedOutcome> handed;   // outcomes for the next turn
  IdleList::iterator place;            // in the LRU list, when idle
  int64_t bytes = 0;                   // of coroutine frames
  bool abandoned = false;              // its turn hangs; the cache no longer knows it

  // ---- The driver's.
  std::unique_ptr<Replayer> replayer;
  CommitId commit_id = 0;              // of the commit the replayer stands at
  std::vector<HandedOutcome> taken;    // outcomes in the turn under way
  History events;                      // of the turn under way
  uint64_t inbox_taken = 0;            // … and the messages it consumes
  EventId base_version = 0;            // … and where it started
  Time now{};                          // … and the store's time of it
  CommitId turn_commit = 0;            // … and its commit id
  std::vector<EventId> claims;         // … and the activities it starts here
  bool claims_chosen = false;          // … once: a repeated commit must be the same
  SessionId session;                   // … whose session claims them
  bool closing = false;                // … and whether it ends the run
  int64_t history_bytes = 0;
  bool in_doubt = false;               // … and whether its reply was lost
  int close_refusals = 0;
  bool signals_first = false;          // redo after a refused close
  int failures = 0;                    // of the store, in a row
  int inline_turns = 0;                // without giving the thread back
  History verified;                    // whole history, only for verify_determinism
};

using SlotPtr = std::shared_ptr<RunSlot>;

class RunCache {
 public:
  RunCache(size_t max_runs, size_t max_bytes)
      : max_runs_(max_runs / kShards + (max_runs % kShards != 0)),
        max_bytes_(static_cast<int64_t>(max_bytes / kShards)) {}

  // Notes work for a run. The caller that gets a slot has made it busy and must drive it.
  SlotPtr Wake(const RunKey& run) {
    return Note(run, [](RunSlot& slot) { slot.woken = true; });
  }
  SlotPtr HandOver(HandedOutcome outcome) {
    const RunKey run = outcome.key.run;
    return Note(run, [&](RunSlot& slot) { slot.handed.push_back(std::move(outcome)); });
  }
  // A busy slot for a run that nobody knows yet.
  SlotPtr Create(const RunKey& run) {
    return Note(run, [](RunSlot&) {});
  }
  bool Contains(const RunKey& run) {
    Shard& shard = ShardOf(run);
    std::lock_guard lock(shard.mutex);
    return shard.slots.contains(run);
  }

  // For the driver: moves what has arrived into `slot.taken`; answers whether the store is to be asked.
  bool TakeWork(RunSlot& slot) {
    std::lock_guard lock(ShardOf(slot.key).mutex);
    for (auto& outcome : slot.handed) slot.taken.push_back(std::move(outcome));
    slot.handed.clear();
    return std::exchange(slot.woken, false);
  }
  void NoteWoken(RunSlot& slot) {
    std::lock_guard lock(ShardOf(slot.key).mutex);
    slot.woken = true;
  }

  // The driver lets go. True: there is new work, drive on. `keep`: the coroutines are good; else the
  // slot goes. Evicted coroutines are destroyed here, on this thread.
  bool Release(const SlotPtr& slot, bool keep) {
    std::vector<std::unique_ptr<Replayer>> evicted;  // destroyed after the lock is released
    Shard& shard = ShardOf(slot->key);
    std::lock_guard lock(shard.mutex);
    if (slot->woken || !slot->handed.empty()) return true;
    slot->busy = false;
    if (slot->abandoned) {
      evicted.push_back(std::move(slot->replayer));
    } else if (!keep || !slot->replayer || max_runs_ == 0) {
      evicted.push_back(std::move(slot->replayer));
      shard.slots.erase(slot->key);
    } else {
      shard.bytes += slot->bytes;
      slot->place = shard.idle.insert(shard.idle.end(), slot.get());
      while (shard.idle.size() > max_runs_ || (shard.bytes > max_bytes_ && shard.idle.size() > 1)) {
        RunSlot* oldest = shard.idle.front();
        shard.idle.pop_front();
        shard.bytes -= oldest->bytes;
        evicted.push_back(std::move(oldest->replayer));
        shard.slots.erase(RunKey(oldest->key));
      }
    }
    return false;
  }

  // Forgets a slot that its driver is stuck in: the next wake makes a new one.
  void Abandon(RunSlot& slot) {
    Shard& shard = ShardOf(slot.key);
    std::lock_guard lock(shard.mutex);
    if (!std::exchange(slot.abandoned, true)) shard.slots.erase(RunKey(slot.key));
  }

 private:
  static constexpr size_t kShards = 16;
  struct Shard {
    std::mutex mutex;
    PooledMap<RunKey, SlotPtr> slots;
    IdleList idle;             // oldest use first
    int64_t bytes = 0;         // of idle slots
  };

  Shard& ShardOf(const RunKey& run) { return shards_[std::hash<RunKey>()(run) % kShards]; }

  template <class Change>
  SlotPtr Note(const RunKey& run, Change&& change) {
    Shard& shard = ShardOf(run);
    std::lock_guard lock(shard.mutex);
    SlotPtr& slot = shard.slots[run];
    const bool is_new = slot == nullptr;
    if (is_new) slot = std::allocate_shared<RunSlot>(PoolAllocator<RunSlot>(), run);
    change(*slot);
    if (slot->busy) return nullptr;
    if (!is_new) {
      shard.idle.erase(slot->place);
      shard.bytes -= slot->bytes;
    }
    slot->busy = true;
    return slot;
  }

  const size_t max_runs_;  // a shard
  const int64_t max_bytes_;
  std::array<Shard, kShards> shards_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
