#pragma once

#include <algorithm>
#include <iterator>
#include <utility>

#include "marathon/adapters/memory_sessions.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE SessionRow* MemorySessions::FindSession(const SessionId& id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : &it->second.row;
}

MARATHON_INLINE void MemorySessions::InsertSession(SessionRow&& row) {
  Entry& entry = sessions_[row.id];
  entry.row = std::move(row);
  entry.due = entry.row.expires_at;
}

MARATHON_INLINE void MemorySessions::UpdateSession(SessionRow& row, Time due) {
  sessions_.find(row.id)->second.due = due;
}

MARATHON_INLINE void MemorySessions::EraseSession(SessionRow& row) {
  sessions_.erase(sessions_.find(row.id));
  generation_.fetch_add(1, std::memory_order_release);
}

MARATHON_INLINE std::vector<ActivityKey> MemorySessions::Canceled(const SessionId& id, bool heard) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return {};
  Entry& entry = it->second;
  if (heard) entry.canceled.erase(entry.canceled.begin(), entry.canceled.begin() + entry.told);
  entry.told = std::ssize(entry.canceled);
  return entry.canceled;
}

// Sessions are few: one a process.
MARATHON_INLINE std::vector<SessionId> MemorySessions::ScanDueSessions(Time now, int limit) const {
  std::vector<std::pair<Time, SessionId>> due;
  for (const auto& [id, entry] : sessions_) {
    if (entry.due <= now) due.emplace_back(entry.due, id);
  }
  std::sort(due.begin(), due.end());
  std::vector<SessionId> ids;
  for (auto& [at, id] : due) {
    if (ids.size() < static_cast<size_t>(limit)) ids.push_back(std::move(id));
  }
  return ids;
}

MARATHON_INLINE Time MemorySessions::EarliestDueSession() const {
  Time earliest = kNever;
  for (const auto& [id, entry] : sessions_) earliest = std::min(earliest, entry.due);
  return earliest;
}

MARATHON_INLINE bool MemorySessions::Has(const SessionId& id) const {
  const std::lock_guard lock(mutex_);
  return sessions_.contains(id);
}

MARATHON_INLINE void MemorySessions::AddCanceled(const SessionId& id, ActivityKey key) {
  const std::lock_guard lock(mutex_);
  const auto it = sessions_.find(id);
  if (it != sessions_.end()) it->second.canceled.push_back(std::move(key));
}

}  // namespace marathon::inline MARATHON_ABI::detail
