// StoreProtocol: what operators do to runs. Included by store_protocol.h.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI {

// Its activities say so themselves, so that a claim need not look at the run.
template <class Tables>
Status StoreProtocol<Tables>::Pause(const RunKey& key, std::string&& reason) {
  Run* run = FindInChain(key);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(key)));
  if (run->status != RunStatus::kRunning) {
    return FailedPrecondition(fmt::format("{} is closed", detail::Name(run->key)));
  }
  if (run->paused) return {};
  run->paused = PauseInfo{std::move(reason), now_};
  run->ready_since = kNever;
  for (const EventId id : ActivitiesOf(*run)) {
    ActivityRow* row = t_.FindActivity(run->key, id);
    if (IsBuiltIn(row->activity_type)) continue;
    row->paused = true;
    Update(*row);
  }
  Update(*run);
  return {};
}

template <class Tables>
Status StoreProtocol<Tables>::Resume(const RunKey& key) {
  Run* run = FindInChain(key);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(key)));
  if (!run->paused) return {};
  run->paused.reset();
  run->deliveries = 0;  // turns that the pause cut short did no harm
  for (const EventId id : ActivitiesOf(*run)) {
    ActivityRow* row = t_.FindActivity(run->key, id);
    if (!row->paused) continue;
    row->paused = false;
    if (row->state == ActivityState::kClaimable) {
      ++row->epoch;         // a claim that the pause refused stays refused, should it come once more
      MakeClaimable(*row);  // as of now
    }
    Update(*row);
  }
  MakeReady(*run, SessionId());
  Update(*run);
  return {};
}

template <class Tables>
Status StoreProtocol<Tables>::Pin(const RunKey& key, std::string&& build_id) {
  Run* run = FindInChain(key);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(key)));
  if (run->status != RunStatus::kRunning) {
    return FailedPrecondition(fmt::format("{} is closed", detail::Name(run->key)));
  }
  const bool is_so = run->pinned ? *run->pinned == build_id : build_id.empty();
  if (is_so) return {};
  run->pinned.reset();
  if (!build_id.empty()) run->pinned = std::move(build_id);
  t_.SetOwner(*run, SessionId());
  run->owner_until = now_;
  run->blocked.reset();  // this code has not tried yet
  run->deliveries = run->give_backs = 0;
  run->ready_since = kNever;
  MakeReady(*run, SessionId());
  Update(*run);
  return {};
}

template <class Tables>
std::vector<EventId> StoreProtocol<Tables>::ActivitiesOf(const Run& run) {
  return run.pending_activities == 0 ? std::vector<EventId>() : t_.ActivitiesOf(run);
}

template <class Tables>
Status StoreProtocol<Tables>::RetryActivity(const ActivityKey& key) {
  Run* run = FindRunOrNewest(key.run);
  ActivityRow* row = run == nullptr ? nullptr : t_.FindActivity(run->key, key.id);
  if (row == nullptr) {
    return NotFound(fmt::format("no activity {} is pending in {}", key.id, detail::Name(key.run)));
  }
  if (row->state == ActivityState::kDead) {
    row->deliveries = 0;
    --run->dead_letters;
    Update(*run);
  } else if (row->state != ActivityState::kBackoff) {
    return {};
  }
  MakeClaimable(*row);
  Update(*row);
  return {};
}

// What a run owes is told from its history, which therefore stays until that is done.
template <class Tables>
Status StoreProtocol<Tables>::Delete(const RunKey& key) {
  Run* run = FindRunOrNewest(key);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(key)));
  if (run->status == RunStatus::kRunning) {
    return FailedPrecondition(
        fmt::format("{} is open: terminate it before it is deleted", detail::Name(run->key)));
  }
  // Those who hold its key reach the run that goes on by way of it.
  if (const Run* last = FindInChain(run->key); last != run && last->status == RunStatus::kRunning) {
    return FailedPrecondition(
        fmt::format("{} goes on as {}, which is open", detail::Name(run->key), detail::Name(last->key)));
  }
  if (run->pending_activities == 0) {
    t_.EraseRun(*run);
  } else if (!run->deleted) {
    run->deleted = true;
    Update(*run);
  }
  return {};
}

}  // namespace marathon::inline MARATHON_ABI
