// MemorySessions: the sessions of a memory store, which all its shards share.
//
// It has a mutex of its own, taken inside a shard's.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/store_rows.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// The SessionTables operations (store_protocol.h) are called with `mutex()` held.
class MemorySessions {
 public:
  std::mutex& mutex() const { return mutex_; }

  SessionRow* FindSession(const SessionId& id);
  void InsertSession(SessionRow&& row);
  void UpdateSession(SessionRow& row, Time due);
  void EraseSession(SessionRow& row);
  std::vector<ActivityKey> Canceled(const SessionId& id, bool heard);
  std::vector<SessionId> ScanDueSessions(Time now, int limit) const;
  Time EarliestDueSession() const;

  // For the shards: these take the mutex themselves.
  bool Has(const SessionId& id) const;
  void AddCanceled(const SessionId& id, ActivityKey key);
  // Changes whenever a session goes: until then, one that was there is there.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

 private:
  struct Entry {
    SessionRow row;
    Time due = kNever;
    std::vector<ActivityKey> canceled;
    ptrdiff_t told = 0;  // of those
  };
  mutable std::mutex mutex_;
  std::map<SessionId, Entry> sessions_;
  std::atomic<uint64_t> generation_{1};
};

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/adapters/memory_sessions-inl.h"
#endif
