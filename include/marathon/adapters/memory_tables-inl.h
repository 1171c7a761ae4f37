#pragma once

#include <algorithm>
#include <iterator>

#include "marathon/adapters/memory_tables.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE MemoryShard::~MemoryShard() {
  for (const Started& started : started_) {
    if (started.run != nullptr) Destroy(started.run);
  }
}

MARATHON_INLINE void MemoryShard::Destroy(Run* run) {
  run->history.Clear(arena_);
  run->~Run();
  arena_.Give(run, sizeof(Run));
}

// ---- Runs --------------------------------------------------------------------------------------

MARATHON_INLINE MemoryRun* MemoryShard::FindRun(const RunKey& key) {
  Run* newest = FindNewestRun(key.workflow_id);
  if (newest != nullptr && newest->key.run_id == key.run_id) return newest;
  for (auto [it, end] = older_.equal_range(std::string_view(key.run_id)); it != end; ++it) {
    if ((*it)->key.workflow_id == key.workflow_id) return *it;
  }
  return nullptr;
}

MARATHON_INLINE MemoryRun* MemoryShard::FindNewestRun(std::string_view workflow_id) {
  if (last_found_ != nullptr && last_found_->key.workflow_id == workflow_id) return last_found_;
  Run* const found = newest_.Find(workflow_id);
  if (found != nullptr) last_found_ = found;
  return found;
}

MARATHON_INLINE MemoryRun* MemoryShard::FindRunByRequest(std::string_view workflow_id,
                                                         const Id& request_id) {
  Run* found = FindNewestRun(workflow_id);
  if (found != nullptr && found->request_id == request_id) return found;
  found = nullptr;
  for (auto [it, end] = older_by_request_.equal_range(std::string_view(request_id)); it != end;
       ++it) {
    Run* run = *it;
    if (run->key.workflow_id != workflow_id) continue;
    if (found == nullptr || run->sequence > found->sequence) found = run;
  }
  return found;
}

MARATHON_INLINE MemoryRun& MemoryShard::InsertRun(RunRow&& row) {
  Run* const run = new (arena_.Take(sizeof(Run))) Run;
  run->key = std::move(row.key);
  run->workflow_type.Set(strings_, row.workflow_type);
  run->task_queue.Set(strings_, row.task_queue);
  run->owner.Set(strings_, row.owner);
  run->request_id.Set(std::move(row.request_id));
  run->start_time = row.start_time;
  run->run_deadline = row.run_deadline;
  if (row.links) run->links = *std::move(row.links);
  if (row.paused) run->paused = *std::move(row.paused);
  if (row.labels) run->labels = *std::move(row.labels);
  if (row.pinned) run->pinned = *std::move(row.pinned);
  run->sequence = shared_.last_sequence.fetch_add(1, std::memory_order_relaxed) + 1;
  if (Run* const before = newest_.Put(*run); before != nullptr) {
    older_.insert(before);
    older_by_request_.insert(before);
  }
  last_found_ = run;
  started_.push_back(Started{run->sequence, run});
  return *run;
}

MARATHON_INLINE void MemoryShard::UpdateRun(Run& run, Time due) {
  const bool open = run.status == RunStatus::kRunning;
  due_.Set(run, open ? due : kNever);
  if (!open) {
    if (run.retained) return;
    if (run.linked()) ready_.Remove(run);
    if (run.pending_activities == 0) Retain(run);  // else it owes something
  } else if (IsReady(run) != run.linked()) {
    IsReady(run) ? ready_.PushBack(run) : ready_.Remove(run);
  }
}

// A closed run keeps only what can be asked for, and as many are kept as fit.
MARATHON_INLINE void MemoryShard::Retain(Run& run) {
  closed_.PushBack(run);
  run.retained = true;
  decltype(run.activities)().swap(run.activities);
  std::vector<std::unique_ptr<MemoryTimer>>().swap(run.timers);
  shared_.closed_bytes.fetch_add(BytesOf(run), std::memory_order_relaxed);
  while (closed_.size() > 1 &&
         shared_.closed_bytes.load(std::memory_order_relaxed) > shared_.closed_bytes_max) {
    EraseRun(static_cast<Run&>(*closed_.front()));
  }
}

MARATHON_INLINE size_t MemoryShard::BytesOf(const Run& run) {
  constexpr size_t kIndexes = 128;  // its places in hash tables, heap and list
  size_t labels = 0;
  if (run.labels) {
    for (const Labels* some : {&(*run.labels).memo, &(*run.labels).attributes}) {
      for (const auto& label : *some) labels += sizeof(label) + label.first.size() + label.second.size();
    }
  }
  return sizeof(Run) + kIndexes + labels + run.request_id.view().size() + static_cast<size_t>(run.history_bytes);
}

// The request names the newest of its runs, and those before it no more.
MARATHON_INLINE void MemoryShard::ForgetRequest(const Run& run) {
  auto [it, end] = older_by_request_.equal_range(run.request_id.view());
  while (it != end) {
    const bool before =
        (*it)->key.workflow_id == run.key.workflow_id && (*it)->sequence < run.sequence;
    it = before ? older_by_request_.erase(it) : std::next(it);
  }
}

MARATHON_INLINE void MemoryShard::EraseRun(Run& run) {
  const auto remove = [&](auto& set, std::string_view id) {
    for (auto [it, end] = set.equal_range(id); it != end; ++it) {
      if (*it != &run) continue;
      set.erase(it);
      return;
    }
  };
  if (run.held && !MARATHON_MUTANT("blobs_held_for_ever")) {
    for (const std::string& sha256 : *run.held) shared_.blobs.Release(sha256);
  }
  while (!run.activities.empty()) EraseActivity(*run.activities.back());
  EraseTimers(run);
  due_.Remove(run);
  if (run.linked()) (run.retained ? closed_ : ready_).Remove(run);
  if (run.retained) shared_.closed_bytes.fetch_sub(BytesOf(run), std::memory_order_relaxed);
  newest_.Remove(run);
  remove(older_, run.key.run_id);
  remove(older_by_request_, run.request_id);
  ForgetRequest(run);
  if (last_found_ == &run) last_found_ = nullptr;
  run.workflow_type.Clear(strings_);
  run.task_queue.Clear(strings_);
  run.owner.Clear(strings_);

  const auto place = std::lower_bound(started_.begin(), started_.end(), run.sequence,
                                      [](const Started& s, uint64_t n) { return s.sequence < n; });
  place->run = nullptr;
  Destroy(&run);
  constexpr size_t kWorthIt = 64;
  if (++erased_ > kWorthIt && erased_ * 2 > started_.size()) {
    std::erase_if(started_, [](const Started& s) { return s.run == nullptr; });
    erased_ = 0;
  }
}

MARATHON_INLINE RunRow MemoryShard::ToRow(const Run& run) const {
  RunRow row;
  row.key = run.key;
  row.workflow_type = run.workflow_type;
  row.task_queue = run.task_queue;
  row.request_id = run.request_id;
  row.status = run.status;
  row.version = run.version;
  row.commit_id = run.commit_id;
  row.history_bytes = run.history_bytes;
  row.pending_activities = run.pending_activities;
  row.start_time = run.start_time;
  row.close_time = run.close_time;
  row.run_deadline = run.run_deadline;
  row.inbox_last = run.inbox_last;
  row.inbox_last_signal = run.inbox_last_signal;
  row.inbox_size = run.inbox_size;
  row.ready_since = run.ready_since;
  row.owner = run.owner;
  row.owner_until = run.owner_until;
  row.deliveries = run.deliveries;
  row.resends = run.resends;
  if (run.blocked) row.blocked = *run.blocked;
  row.give_backs = run.give_backs;
  if (run.links) row.links = *run.links;
  if (run.paused) row.paused = *run.paused;
  row.dead_letters = run.dead_letters;
  row.deleted = run.deleted;
  if (run.labels) row.labels = *run.labels;
  if (run.pinned) row.pinned = *run.pinned;
  row.has_blobs = run.has_blobs;
  return row;
}

MARATHON_INLINE std::vector<RunKey> MemoryShard::ReadyRunsOf(const SessionId& owner) {
  std::vector<RunKey> keys;
  for (ListLink* link = ready_.front(); link != ready_.end(); link = link->next) {
    const Run& run = static_cast<Run&>(*link);
    if (run.owner == owner) keys.push_back(run.key);
  }
  return keys;
}

MARATHON_INLINE void MemoryShard::Scan(uint64_t sequence, size_t limit,
                                       const std::function<bool(const Run&)>& accept,
                                       std::vector<std::pair<uint64_t, RunRow>>& out) const {
  auto it = std::lower_bound(started_.begin(), started_.end(), sequence,
                             [](const Started& s, uint64_t n) { return s.sequence < n; });
  for (size_t found = 0; it != started_.begin() && found < limit;) {
    const Run* run = (--it)->run;
    if (run == nullptr || !accept(*run)) continue;
    out.emplace_back(run->sequence, ToRow(*run));
    ++found;
  }
}

MARATHON_INLINE int64_t MemoryShard::Count(const std::function<bool(const Run&)>& accept) const {
  return std::count_if(started_.begin(), started_.end(),
                       [&](const Started& s) { return s.run != nullptr && accept(*s.run); });
}

MARATHON_INLINE void MemoryShard::HoldBlobs(Run& run, std::vector<NamedBlob>&& blobs) {
  if (!run.held) run.held = std::make_unique<std::unordered_set<std::string>>();
  for (NamedBlob& blob : blobs) {
    if (run.held->insert(blob.ref.sha256).second) shared_.blobs.Hold(std::move(blob));
  }
}

// ---- Activities --------------------------------------------------------------------------------

MARATHON_INLINE ActivityRow* MemoryShard::FindActivity(const RunKey& key, EventId id) {
  Run* run = FindRun(key);
  if (run == nullptr) return nullptr;
  const auto it = FindById(run->activities, id);
  return it != run->activities.end() && (*it)->id == id ? it->get() : nullptr;
}

MARATHON_INLINE void MemoryShard::InsertActivity(Run& run, ActivityRow&& row, Time due) {
  auto activity = std::make_unique<MemoryActivity>(&run, std::move(row));
  const auto place = FindById(run.activities, activity->id);
  UpdateActivity(**run.activities.insert(place, std::move(activity)), due);
}

MARATHON_INLINE void MemoryShard::UpdateActivity(ActivityRow& row, Time due) {
  auto& activity = static_cast<MemoryActivity&>(row);
  due_.Set(activity, due);
  const bool is_claimed = row.state == ActivityState::kClaimed;
  if (is_claimed != activity.linked()) {
    is_claimed ? claimed_.PushBack(activity) : claimed_.Remove(activity);
  }
}

MARATHON_INLINE void MemoryShard::EraseActivity(ActivityRow& row) {
  auto& activity = static_cast<MemoryActivity&>(row);
  due_.Remove(activity);
  if (activity.linked()) claimed_.Remove(activity);
  Run& run = *activity.run;
  run.activities.erase(FindById(run.activities, activity.id));
}

MARATHON_INLINE std::vector<EventId> MemoryShard::ActivitiesOf(const Run& run) const {
  std::vector<EventId> ids;
  for (const auto& activity : run.activities) ids.push_back(activity->id);
  return ids;
}

MARATHON_INLINE std::vector<ActivityKey> MemoryShard::ActivitiesHeldBy(const SessionId& session) {
  std::vector<ActivityKey> keys;
  for (ListLink* link = claimed_.front(); link != claimed_.end(); link = link->next) {
    const auto& activity = static_cast<MemoryActivity&>(*link);
    if (activity.session == session) keys.push_back(activity.key);
  }
  return keys;
}

// ---- Timers and the due index ------------------------------------------------------------------

MARATHON_INLINE void MemoryShard::InsertTimer(Run& run, EventId id, Time due) {
  const auto place = FindById(run.timers, id);
  due_.Set(**run.timers.insert(place, std::make_unique<MemoryTimer>(&run, id)), due);
}

MARATHON_INLINE bool MemoryShard::EraseTimer(Run& run, EventId id) {
  const auto it = FindById(run.timers, id);
  if (it == run.timers.end() || (*it)->id != id) return false;
  due_.Remove(**it);
  run.timers.erase(it);
  return true;
}

MARATHON_INLINE void MemoryShard::EraseTimers(Run& run) {
  for (const auto& timer : run.timers) due_.Remove(*timer);
  run.timers.clear();
}

MARATHON_INLINE Time MemoryShard::EarliestRetired() {
  return closed_.size() == 0 ? kNever : ForgetAt(static_cast<Run&>(*closed_.front()), shared_.times.closed_keep);
}

MARATHON_INLINE std::vector<DueEntry> MemoryShard::ScanDue(Time now, int limit) {
  std::vector<DueEntry> entries;
  const auto most = static_cast<size_t>(std::max(limit, 0));
  for (DueItem* item : due_.Scan(now, most)) {
    const auto* due = static_cast<MemoryDueItem*>(item);
    switch (due->kind) {
      case MemoryDueKind::kRun:
        entries.push_back({DueEntry::What::kRun, static_cast<const Run*>(due)->key, 0});
        break;
      case MemoryDueKind::kActivity: {
        const auto* activity = static_cast<const MemoryActivity*>(due);
        entries.push_back({DueEntry::What::kActivity, activity->key.run, activity->id});
        break;
      }
      case MemoryDueKind::kTimer: {
        const auto* timer = static_cast<const MemoryTimer*>(due);
        entries.push_back({DueEntry::What::kTimer, timer->run->key, timer->id});
        break;
      }
    }
  }
  for (ListLink* link = closed_.front(); link != closed_.end(); link = link->next) {
    const Run& run = static_cast<Run&>(*link);
    if (entries.size() >= most || ForgetAt(run, shared_.times.closed_keep) > now) break;
    entries.push_back({DueEntry::What::kRun, run.key, 0});
  }
  shared_.due_visited.fetch_add(static_cast<int64_t>(entries.size()), std::memory_order_relaxed);
  return entries;
}

MARATHON_INLINE bool MemoryShard::HasSession(const SessionId& id) {
  const uint64_t generation = shared_.sessions.generation();
  if (generation == seen_generation_ && id == seen_session_) return true;
  if (!shared_.sessions.Has(id)) return false;
  seen_session_ = id;
  seen_generation_ = generation;
  return true;
}

}  // namespace marathon::inline MARATHON_ABI::detail

#include "marathon/adapters/memory_tables_records-inl.h"
