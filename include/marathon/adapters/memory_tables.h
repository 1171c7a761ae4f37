// MemoryShard: the rows of one sixteenth of all workflow ids, as StoreProtocol's Tables.
//
// A shard is used under its mutex.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "marathon/adapters/memory_held_blobs.h"
#include "marathon/adapters/memory_run.h"
#include "marathon/adapters/memory_run_index.h"
#include "marathon/adapters/memory_sessions.h"
#include "marathon/config.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI::detail {

// What all shards of a store share.
struct MemoryShared {
  explicit MemoryShared(const Clock& clock) : blobs(clock) {}

  StoreTimes times;
  size_t closed_bytes_max = 0;
  MemorySessions sessions;
  MemoryHeldBlobs blobs;
  std::atomic<size_t> closed_bytes{0};
  std::atomic<uint64_t> last_sequence{0};
  std::atomic<int64_t> due_visited{0};
};

class MemoryShard {
 public:
  using Run = MemoryRun;

  explicit MemoryShard(MemoryShared& shared) : shared_(shared) {}
  MemoryShard(const MemoryShard&) = delete;
  MemoryShard& operator=(const MemoryShard&) = delete;
  ~MemoryShard();

  std::mutex& mutex() const { return mutex_; }

  // ---- RunTables (store_protocol.h says what each does)
  Run* FindRun(const RunKey& key);
  Run* FindNewestRun(std::string_view workflow_id);
  Run* FindRunByRequest(std::string_view workflow_id, const Id& request_id);
  Run& InsertRun(RunRow&& row);
  void UpdateRun(Run& run, Time due);
  void EraseRun(Run& run);
  void SetOwner(Run& run, const SessionId& owner) { run.owner.Set(strings_, owner); }
  RunRow ToRow(const Run& run) const;
  std::vector<RunKey> ReadyRunsOf(const SessionId& owner);

  void AppendRecord(Run& run, EventId version, CommitId commit_id, std::string&& bytes);
  CommitId CommitAt(const Run& run, EventId version) const;
  bool ReadRecords(const Run& run, EventId after, size_t max_bytes,
                   std::vector<std::string>& out) const;
  std::string LastRecord(const Run& run) const;

  void HoldBlobs(Run& run, std::vector<NamedBlob>&& blobs);

  void AppendMessage(Run& run, Message&& message);
  void ReadInbox(const Run& run, uint64_t after, int max, std::vector<Message>& out) const;
  int64_t EraseMessages(Run& run, uint64_t up_to);

  bool HasKey(const Run& run, const std::string& key) const;
  void AddKey(Run& run, const std::string& key, Time now);
  void TrimKeys(Run& run, Time before, size_t max);
  void MoveKeys(Run& from, Run& to) { to.keys = std::move(from.keys); }
  void SetAnswer(Run& run, const std::string& key, std::string answer, Time seen);
  std::optional<std::string> AnswerTo(const Run& run, const std::string& key) const;
  void ReplaceAnswers(Run& run, const std::string& from, const std::string& to, Time seen);

  ActivityRow* FindActivity(const RunKey& key, EventId id);
  void InsertActivity(Run& run, ActivityRow&& row, Time due);
  void UpdateActivity(ActivityRow& row, Time due);
  void EraseActivity(ActivityRow& row);
  std::vector<EventId> ActivitiesOf(const Run& run) const;
  std::vector<ActivityKey> ActivitiesHeldBy(const SessionId& session);

  void InsertTimer(Run& run, EventId id, Time due);
  bool EraseTimer(Run& run, EventId id);
  void EraseTimers(Run& run);

  std::vector<DueEntry> ScanDue(Time now, int limit);
  Time EarliestDue() { return std::min(due_.Earliest(), EarliestRetired()); }

  bool HasSession(const SessionId& id);
  void AddCanceled(const SessionId& id, ActivityKey key) {
    shared_.sessions.AddCanceled(id, std::move(key));
  }

  // ---- For List: runs that `accept`s, newest start first, begun before `sequence`, up to `limit`.
  void Scan(uint64_t sequence, size_t limit, const std::function<bool(const Run&)>& accept,
            std::vector<std::pair<uint64_t, RunRow>>& out) const;
  int64_t Count(const std::function<bool(const Run&)>& accept) const;

 private:
  // Runs that are not the newest of their workflow id, by run id and by request id.
  struct ByRunId {
    using is_transparent = void;
    static std::string_view Key(std::string_view id) { return id; }
    static std::string_view Key(const Run* run) { return run->key.run_id; }
  };
  struct ByRequest {
    using is_transparent = void;
    static std::string_view Key(std::string_view id) { return id; }
    static std::string_view Key(const Run* run) { return run->request_id; }
  };
  // Not noexcept: libstdc++ then keeps the hash in the node, where it costs nothing, and a search
  // looks at no other run's key.
  template <class By>
  struct Hash : By {
    template <class T>
    size_t operator()(const T& value) const {
      return std::hash<std::string_view>()(By::Key(value));
    }
  };
  template <class By>
  struct Equal : By {
    template <class A, class B>
    bool operator()(const A& a, const B& b) const noexcept {
      return By::Key(a) == By::Key(b);
    }
  };
  template <class By>
  using MultiSet = std::unordered_multiset<Run*, Hash<By>, Equal<By>>;

  struct Started {
    uint64_t sequence;
    Run* run;  // nullptr: erased
  };

  void Destroy(Run* run);
  void Retain(Run& run);
  void ForgetRequest(const Run& run);
  static size_t BytesOf(const Run& run);
  // When the run that has been closed for longest has been kept for long enough.
  Time EarliestRetired();

  MemoryShared& shared_;
  mutable std::mutex mutex_;
  MemoryArena arena_;  // of runs and their records
  SharedString::Pool strings_;
  std::deque<Started> started_;  // owns the runs; by ascending sequence
  size_t erased_ = 0;            // of started_
  MemoryRunIndex newest_;    // of each workflow id
  MultiSet<ByRunId> older_;  // runs whose workflow id has a newer one
  MultiSet<ByRequest> older_by_request_;
  Run* last_found_ = nullptr;  // one of newest_: an operation asks for its run several times
  DueHeap due_;             // of all but closed runs: those fall due in the order of closed_
  LinkedList ready_;        // since longest first
  LinkedList closed_;       // since longest first
  LinkedList claimed_;      // activities, since longest first
  SessionId seen_session_;  // was there in seen_generation_
  uint64_t seen_generation_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/adapters/memory_tables-inl.h"
#endif
