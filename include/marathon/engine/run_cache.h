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
#include <unordered_set>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/engine/replayer.h"
#include "marathon/engine/waiting_turn.h"
#include "marathon/ids.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI::detail {

// An activity's outcome, on its way from the worker thread into its run's next turn.
struct HandedOutcome {
  EventId activity = 0;
  Epoch epoch = 0;
  EventBody outcome;
};

struct RunSlot;
using IdleList = std::list<RunSlot*, PoolAllocator<RunSlot*>>;

struct RunSlot {
  RunSlot(RunKey run, size_t hash_of_key) : key(std::move(run)), hash(hash_of_key) {}

  const RunKey key;
  const size_t hash;

  // ---- Guarded by the cache.
  bool busy = false;
  bool woken = false;                  // there may be messages in the store
  PooledVector<HandedOutcome> handed;  // outcomes for the next turn
  IdleList::iterator place;            // in the LRU list, when idle
  int64_t bytes = 0;                   // of coroutine frames
  bool abandoned = false;              // its turn hangs
  bool forgotten = false;              // the cache no longer knows it

  // ---- The driver's.
  std::unique_ptr<Replayer> replayer;
  CommitId commit_id = 0;              // of the commit the replayer stands at
  PooledVector<HandedOutcome> taken;   // outcomes in the turn under way
  PooledVector<Event> events;          // of the turn under way
  uint64_t inbox_taken = 0;            // … and the messages it consumes
  EventId base_version = 0;            // … and where it started
  uint64_t incarnation = 0;            // … and of which store
  Time now{};                          // … and the store's time of it
  CommitId turn_commit = 0;            // … and its commit id
  PooledVector<EventId> claims;        // … and the activities it starts here
  bool claims_chosen = false;          // … once: a repeated commit must be the same
  SessionId session;                   // … whose session claims them
  bool closing = false;                // … and whether it ends the run
  std::unique_ptr<NextStart> next;     // … and what goes on then
  std::optional<NewActivity> news;     // … or what its parent is told
  std::vector<UpdateAnswer> answers;   // … and what it answers to updates
  std::shared_ptr<WaitingTurn> waiting;  // … and its wait for local activities
  std::vector<KnownLocal> known_locals;  // … and their ends; guarded by its mutex
  bool own_build = false;              // … and whether this build took the one before
  bool pinned = false;                 // … or is the only one to take any
  int64_t turn_bytes = 0;              // … and its record's size
  int64_t history_bytes = 0;
  bool in_doubt = false;               // … and whether a reply was lost: it may have been applied, or yet be
  bool refused = false;                // … and whether it has been refused since
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

  // Notes that the store may have messages for a run. The caller that gets a slot has made it busy and
  // must drive it, and ask the store.
  SlotPtr Wake(const RunKey& run) {
    return Note(run, std::hash<RunKey>()(run), [](RunSlot& slot) { slot.woken = slot.busy; });
  }
  // Hands over an outcome. The caller that gets a slot has made it busy and must drive it: the outcome is in
  // `taken`. `slot` is the run's, or was.
  SlotPtr HandOver(const SlotPtr& slot, HandedOutcome&& outcome) {
    const auto hand = [&](RunSlot& to) {
      (to.busy ? to.handed : to.taken).push_back(std::move(outcome));
    };
    {
      Shard& shard = ShardOf(slot->hash);
      std::lock_guard lock(shard.mutex);
      if (!slot->forgotten) {
        hand(*slot);
        return MakeBusy(shard, slot, false);
      }
    }
    return Note(slot->key, slot->hash, hand);
  }
  SlotPtr HandOver(const RunKey& run, HandedOutcome&& outcome) {
    return Note(run, std::hash<RunKey>()(run), [&](RunSlot& to) {
      (to.busy ? to.handed : to.taken).push_back(std::move(outcome));
    });
  }
  // What was handed over to a busy slot so far.
  PooledVector<HandedOutcome> TakeHanded(RunSlot& slot) {
    std::lock_guard lock(ShardOf(slot.hash).mutex);
    return std::exchange(slot.handed, {});
  }
  // A busy slot for a run that nobody knows yet.
  SlotPtr Create(const RunKey& run) {
    return Note(run, std::hash<RunKey>()(run), [](RunSlot&) {});
  }
  bool Contains(const RunKey& run) {
    const size_t hash = std::hash<RunKey>()(run);
    Shard& shard = ShardOf(hash);
    std::lock_guard lock(shard.mutex);
    return shard.slots.find(Name{run, hash}) != shard.slots.end();
  }

  void NoteWoken(RunSlot& slot) {
    std::lock_guard lock(ShardOf(slot.hash).mutex);
    slot.woken = true;
  }

  enum class Left { kIdle, kWork, kMessages };
  // The driver lets go. kWork: there are new outcomes, in `slot->taken`: drive on. kMessages: the same, and
  // the store is to be asked. `keep`: the coroutines are good; else the slot goes. Evicted coroutines are
  // destroyed here, on this thread.
  Left Release(const SlotPtr& slot, bool keep) {
    std::unique_ptr<Replayer> gone;  // destroyed after the lock is released, as the evicted are
    std::vector<std::unique_ptr<Replayer>> evicted;
    Shard& shard = ShardOf(slot->hash);
    std::lock_guard lock(shard.mutex);
    if (slot->woken || !slot->handed.empty()) {
      for (HandedOutcome& outcome : slot->handed) slot->taken.push_back(std::move(outcome));
      slot->handed.clear();
      return std::exchange(slot->woken, false) ? Left::kMessages : Left::kWork;
    }
    slot->busy = false;
    if (slot->abandoned) {
      gone = std::move(slot->replayer);
    } else if (!keep || !slot->replayer || max_runs_ == 0) {
      gone = std::move(slot->replayer);
      Forget(shard, *slot);
    } else {
      shard.bytes += slot->bytes;
      slot->place = shard.idle.insert(shard.idle.end(), slot.get());
      while (shard.idle.size() > max_runs_ || (shard.bytes > max_bytes_ && shard.idle.size() > 1)) {
        RunSlot* oldest = shard.idle.front();
        shard.idle.pop_front();
        shard.bytes -= oldest->bytes;
        evicted.push_back(std::move(oldest->replayer));
        Forget(shard, *oldest);
      }
    }
    return Left::kIdle;
  }

  // Forgets a slot that its driver is stuck in: the next wake makes a new one.
  void Abandon(RunSlot& slot) {
    Shard& shard = ShardOf(slot.hash);
    std::lock_guard lock(shard.mutex);
    if (!std::exchange(slot.abandoned, true)) Forget(shard, slot);
  }

 private:
  static constexpr size_t kShards = 16;
  struct Name {
    const RunKey& run;
    size_t hash;
  };
  // Not noexcept: libstdc++ then keeps the hash in the node, and a search looks at no other run.
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Name& name) const { return name.hash; }
    size_t operator()(const SlotPtr& slot) const { return slot->hash; }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const SlotPtr& a, const SlotPtr& b) const { return a == b; }
    bool operator()(const Name& a, const SlotPtr& b) const { return a.run == b->key; }
    bool operator()(const SlotPtr& a, const Name& b) const { return a->key == b.run; }
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_set<SlotPtr, Hash, Equal, PoolAllocator<SlotPtr>> slots;
    IdleList idle;             // oldest use first
    int64_t bytes = 0;         // of idle slots
  };

  Shard& ShardOf(size_t hash) { return shards_[hash % kShards]; }

  // `slot` may go with this.
  static void Forget(Shard& shard, RunSlot& slot) {
    if (std::exchange(slot.forgotten, true)) return;
    shard.slots.erase(shard.slots.find(Name{slot.key, slot.hash}));
  }
  static SlotPtr MakeBusy(Shard& shard, const SlotPtr& slot, bool is_new) {
    if (slot->busy) return nullptr;
    if (!is_new) {
      shard.idle.erase(slot->place);
      shard.bytes -= slot->bytes;
    }
    slot->busy = true;
    return slot;
  }

  template <class Change>
  SlotPtr Note(const RunKey& run, size_t hash, Change&& change) {
    Shard& shard = ShardOf(hash);
    std::lock_guard lock(shard.mutex);
    auto place = shard.slots.find(Name{run, hash});
    const bool is_new = place == shard.slots.end();
    if (is_new) {
      place = shard.slots.insert(
          std::allocate_shared<RunSlot>(PoolAllocator<RunSlot>(), run, hash)).first;
    }
    change(**place);
    return MakeBusy(shard, *place, is_new);
  }

  const size_t max_runs_;  // a shard
  const int64_t max_bytes_;
  std::array<Shard, kShards> shards_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
