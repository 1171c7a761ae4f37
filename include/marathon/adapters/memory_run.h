// MemoryRun: a run in memory with all that belongs to it. Its fields have the names of RunRow's;
// what most runs have no need of costs them a pointer.
//
// Under the lock of its shard.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "marathon/adapters/memory_arena.h"
#include "marathon/adapters/memory_index.h"
#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/ids.h"
#include "marathon/store_rows.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

struct MemoryRun;

// What kind of thing a DueItem is part of.
enum class MemoryDueKind : uint8_t { kRun, kActivity, kTimer };
struct MemoryDueItem : DueItem {
  explicit MemoryDueItem(MemoryDueKind k) : kind(k) {}
  MemoryDueKind kind;
};

struct MemoryTimer : MemoryDueItem {
  MemoryTimer(MemoryRun* owner, EventId event)
      : MemoryDueItem(MemoryDueKind::kTimer), run(owner), id(event) {}
  MemoryRun* run;
  EventId id;
};

struct MemoryActivity : MemoryDueItem, ListLink, ActivityRow, PooledObject {
  MemoryActivity(MemoryRun* owner, ActivityRow&& row)
      : MemoryDueItem(MemoryDueKind::kActivity),
        ActivityRow(std::move(row)),
        run(owner),
        id(key.id) {}
  MemoryRun* run;
  EventId id;
  // As a ListLink it is in the shard's list of claimed activities.
};

// One record of history, with its bytes behind it.
struct MemoryRecord {
  MemoryRecord* next = nullptr;
  EventId version = 0;
  CommitId commit_id = 0;
  size_t size = 0;

  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), size}; }
};

// A run's history: records one after another, each in one piece of the shard's arena. REQUIRES: cleared before it goes.
class MemoryHistory {
 public:
  MemoryHistory() = default;
  MemoryHistory(const MemoryHistory&) = delete;
  MemoryHistory& operator=(const MemoryHistory&) = delete;

  void Append(MemoryArena& arena, EventId version, CommitId commit_id, std::string_view bytes) {
    void* memory = arena.Take(sizeof(MemoryRecord) + bytes.size());
    auto* record = new (memory) MemoryRecord{nullptr, version, commit_id, bytes.size()};
    std::memcpy(record->bytes(), bytes.data(), bytes.size());
    (last_ == nullptr ? first_ : last_->next) = record;
    last_ = record;
  }
  // The first record after `version`. Free for a caller that is up to date.
  const MemoryRecord* After(EventId version) const {
    if (last_ == nullptr || last_->version <= version) return nullptr;
    const MemoryRecord* r = first_;
    while (r->version <= version) r = r->next;
    return r;
  }
  const MemoryRecord* EndingAt(EventId version) const {
    if (last_ != nullptr && last_->version == version) return last_;
    const MemoryRecord* r = After(version - 1);
    return r != nullptr && r->version == version ? r : nullptr;
  }
  const MemoryRecord* last() const { return last_; }
  void Clear(MemoryArena& arena) {
    while (first_ != nullptr) {
      MemoryRecord* const record = std::exchange(first_, first_->next);
      arena.Give(record, sizeof(MemoryRecord) + record->size);
    }
    last_ = nullptr;
  }

 private:
  MemoryRecord* first_ = nullptr;
  MemoryRecord* last_ = nullptr;
};

// Messages in the order of their seq. Taking from the front is cheap however many wait.
struct MemoryInbox {
  std::vector<Message> messages;
  size_t taken = 0;  // of `messages`, at the front: gone, and empty
};

// Dedupe keys, those to be trimmed in the order they came; and what was answered to some.
struct MemoryKeys {
  std::unordered_set<std::string> set;
  std::deque<std::pair<Time, std::string>> order;
  struct Answer {
    std::string bytes;
    bool stays = false;  // and its key with it
  };
  std::unordered_map<std::string, Answer> answers;
};

// The request that made a run. One that was made for it has the run's own id, which is not kept twice.
class MemoryRequestId {
 public:
  explicit MemoryRequestId(const Id& run_id) : run_id_(run_id) {}

  void Set(Id&& id) {
    if (id != run_id_) other_ = std::move(id);
  }
  std::string_view view() const { return other_ ? (*other_).view() : run_id_.view(); }
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  friend bool operator==(const MemoryRequestId& a, std::string_view b) { return a.view() == b; }

 private:
  const Id& run_id_;
  Boxed<Id> other_;  // empty: it is the run's
};

// As a ListLink it is in the shard's list of ready runs, or of closed ones.
struct MemoryRun : MemoryDueItem, ListLink {
  MemoryRun() : MemoryDueItem(MemoryDueKind::kRun) {}

  RunStatus status = RunStatus::kRunning;
  bool retained = false;  // closed, and in the shard's list of closed runs
  RunKey key;
  SharedString workflow_type;
  SharedString task_queue;
  SharedString owner;
  MemoryRequestId request_id{key.run_id};

  EventId version = 0;
  CommitId commit_id = 0;
  int64_t history_bytes = 0;
  int32_t pending_activities = 0;
  int32_t inbox_size = 0;

  Time start_time{};
  Time close_time{};
  Time run_deadline = kNever;

  uint64_t inbox_last = 0;
  uint64_t inbox_last_signal = 0;

  Time ready_since = kNever;
  Time owner_until{};
  int32_t deliveries = 0;
  int32_t resends = 0;
  int32_t give_backs = 0;
  int32_t dead_letters = 0;
  bool deleted = false;
  bool has_blobs = false;
  Boxed<BlockInfo> blocked;
  Boxed<RunLinks> links;
  Boxed<PauseInfo> paused;
  Boxed<RunLabels> labels;
  Boxed<std::string> pinned;

  uint64_t sequence = 0;  // of its start, over all shards
  MemoryHistory history;
  PooledVector<std::unique_ptr<MemoryActivity>> activities;  // by ascending id
  std::vector<std::unique_ptr<MemoryTimer>> timers;         // by ascending id
  std::unique_ptr<MemoryInbox> inbox;
  std::unique_ptr<MemoryKeys> keys;
  std::unique_ptr<std::unordered_set<std::string>> held;  // digests of blobs
};

// Places in those vectors: of `id`, or where it would be.
template <class Vector>
auto FindById(Vector& items, EventId id) {
  return std::lower_bound(items.begin(), items.end(), id,
                          [](const auto& item, EventId wanted) { return item->id < wanted; });
}

}  // namespace marathon::inline MARATHON_ABI::detail
