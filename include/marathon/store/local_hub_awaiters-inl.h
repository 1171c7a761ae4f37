// LocalHub: who awaits the end of a run or of an update, or an event.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "marathon/store/local_hub.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE uint64_t LocalHub::AddAwaiter(AwaitRequest request, Done<RunSnapshot>&& done) {
  const std::lock_guard lock(mutex_);
  const uint64_t name = ++last_awaiter_;
  awaited_[request.run].push_back(name);
  if (request.after) event_awaiters_.fetch_add(1);
  awaiters_.emplace(name, std::pair(std::move(request), std::move(done)));
  awaiter_count_.fetch_add(1);
  return name;
}

MARATHON_INLINE void LocalHub::MoveAwaiter(uint64_t name, const RunKey& run) {
  const std::lock_guard lock(mutex_);
  const auto it = awaiters_.find(name);
  if (it == awaiters_.end()) return;
  const auto names = awaited_.find(it->second.first.run);
  std::erase(names->second, name);
  if (names->second.empty()) awaited_.erase(names);
  it->second.first.run = run;
  awaited_[run].push_back(name);
}

MARATHON_INLINE Done<RunSnapshot> LocalHub::TakeAwaiter(uint64_t name) {
  const std::lock_guard lock(mutex_);
  const auto it = awaiters_.find(name);
  if (it == awaiters_.end()) return nullptr;
  auto [request, done] = std::move(it->second);
  awaiters_.erase(it);
  const auto names = awaited_.find(request.run);
  std::erase(names->second, name);
  if (names->second.empty()) awaited_.erase(names);
  awaiter_count_.fetch_sub(1);
  if (request.after) event_awaiters_.fetch_sub(1);
  return std::move(done);
}

MARATHON_INLINE void LocalHub::AnswerAwaiters(const Awaited& awaited) {
  std::vector<Done<RunSnapshot>> taken;
  {
    const std::lock_guard lock(mutex_);
    const auto names = awaited_.find(awaited.request.run);
    if (names == awaited_.end()) return;
    std::erase_if(names->second, [&](uint64_t name) {
      const auto it = awaiters_.find(name);
      if (it->second.first != awaited.request) return false;
      taken.push_back(std::move(it->second.second));
      awaiters_.erase(it);
      return true;
    });
    if (names->second.empty()) awaited_.erase(names);
    awaiter_count_.fetch_sub(taken.size());
    if (awaited.request.after) event_awaiters_.fetch_sub(taken.size());
  }
  for (Done<RunSnapshot>& done : taken) done(awaited.answer);
}

MARATHON_INLINE std::vector<AwaitRequest> LocalHub::AwaitedOf(const RunKey& run) const {
  std::vector<AwaitRequest> requests;
  // An awaiter that is added later than this look finds its answer by itself.
  if (awaiter_count_.load() == 0) return requests;
  const std::lock_guard lock(mutex_);
  const auto names = awaited_.find(run);
  if (names == awaited_.end()) return requests;
  for (const uint64_t name : names->second) {
    const AwaitRequest& request = awaiters_.find(name)->second.first;
    if (std::find(requests.begin(), requests.end(), request) == requests.end()) {
      requests.push_back(request);
    }
  }
  return requests;
}

MARATHON_INLINE std::vector<RunKey> LocalHub::AwaitedRuns() const {
  const std::lock_guard lock(mutex_);
  std::vector<RunKey> runs;
  for (const auto& [run, names] : awaited_) runs.push_back(run);
  return runs;
}

MARATHON_INLINE std::vector<RunKey> LocalHub::RunsAwaitedOpen() const {
  std::vector<RunKey> runs;
  if (awaiter_count_.load() == 0) return runs;
  const std::lock_guard lock(mutex_);
  for (const auto& [run, names] : awaited_) {
    const bool open = std::any_of(names.begin(), names.end(), [&](uint64_t name) {
      const AwaitRequest& request = awaiters_.find(name)->second.first;
      return !request.update_id.empty() || request.after;
    });
    if (open) runs.push_back(run);
  }
  return runs;
}

}  // namespace marathon::inline MARATHON_ABI
