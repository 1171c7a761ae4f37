// TurnRunner: turns that wait for local activities. Whoever brings an end goes on with the turn, unless
// another thread is in it: that one then takes this end, too.
#pragma once

#include "marathon/engine/turn_runner.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "marathon/engine/host.h"
#include "marathon/engine/local_activities.h"

namespace marathon::inline MARATHON_ABI::detail {

// What the code has done since the last call becomes a part of the turn.
MARATHON_INLINE TurnRunner::Ran TurnRunner::TakeOutput(RunSlot& slot, TurnOutput output) {
  if (slot.events.empty()) {
    slot.events = std::move(output.events);
  } else {
    for (Event& event : output.events) slot.events.push_back(std::move(event));
  }
  for (UpdateAnswer& answer : output.answers) slot.answers.push_back(std::move(answer));
  slot.closing = output.closed;
  slot.next = std::move(output.next);
  if (slot.closing && !slot.next) slot.news = NewsOf(slot, slot.events.back().id);
  return {output.unread_signals, std::move(output.mismatch), slot.own_build};
}

MARATHON_INLINE TurnRunner::Ran TurnRunner::GoOn(const SlotPtr& slot, PooledVector<EventBody> ends) {
  watchdog_.Begin(slot);
  const int64_t before = FrameBytesOfThisThread();
  TurnOutput output = slot->replayer->GoOn(std::move(ends));
  slot->bytes += FrameBytesOfThisThread() - before;
  watchdog_.End(slot);
  return TakeOutput(*slot, std::move(output));
}

// The code has run as far as it can. If the turn is over, commits it.
MARATHON_INLINE bool TurnRunner::IsOver(const SlotPtr& slot, const Ran& ran) {
  const bool waits = !ran.mismatch && slot->replayer->AwaitsLocals();
  if (waits) return false;
  host_.locals().End(*slot);
  if (ran.mismatch) {
    LeaveMismatched(slot, *ran.mismatch, ran.own);
  } else if (ran.unread_signals && !slot->signals_first) {
    Redo(slot);  // once more with the signals first; what is unread even then is recorded as such
  } else if (auto mismatch = Verify(slot)) {
    Block(slot, "nondeterminism, found by running the turn again: " + mismatch->ToString(),
          mismatch->event_id);
  } else {
    Commit(slot);
  }
  return true;
}

MARATHON_INLINE void TurnRunner::AwaitLocals(SlotPtr slot) {
  // The deadlines of what was handed over go on: it goes to the store first, and the turn is taken from there.
  if (!slot->taken.empty()) return Lost(std::move(slot));
  host_.locals().Wait(slot);
  DriveLocals(slot, slot->waiting);
}

// What was handed over while the turn waits.
MARATHON_INLINE void TurnRunner::StoreHanded(RunSlot& slot) {
  for (HandedOutcome& outcome : cache_.TakeHanded(slot)) SendHanded(slot, std::move(outcome));
}

MARATHON_INLINE void TurnRunner::DriveLocals(SlotPtr slot, std::shared_ptr<WaitingTurn> turn) {
  while (true) {
    for (const EventId id : slot->replayer->TakeCanceledLocals()) host_.locals().Cancel(*turn, id);
    std::vector<LocalTask> tasks = slot->replayer->TakeLocals();
    for (const LocalTask& task : tasks) {
      if (task.canceled || host_.registry().FindActivity(task.activity_type) != nullptr) continue;
      host_.locals().End(*slot);
      const std::string lacks =
          fmt::format("local activity \"{}\" is not registered in this worker", task.activity_type);
      return GiveBack(std::move(slot), lacks, task.id);
    }
    if (!tasks.empty() && host_.stopping()) return DropLocals(std::move(slot), WaitingTurn::Dropped::kStopping);
    for (LocalTask& task : tasks) host_.locals().Begin(slot, std::move(task));
    PooledVector<EventBody> ends;
    WaitingTurn::Dropped dropped;
    {
      std::lock_guard lock(turn->mutex);
      dropped = turn->dropped;
      if (dropped == WaitingTurn::Dropped::kNo && turn->ends.empty()) {
        turn->driven = false;
        return;
      }
      ends = std::exchange(turn->ends, {});
    }
    if (dropped != WaitingTurn::Dropped::kNo) return DropLocals(std::move(slot), dropped);
    if (IsOver(slot, GoOn(slot, std::move(ends)))) return;
  }
}

MARATHON_INLINE void TurnRunner::OnLocalEnd(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn,
                                            KnownLocal known) {
  {
    std::lock_guard lock(turn->mutex);
    if (turn->over) return;
    turn->ends.push_back(known.end);
    // What the code canceled it may not cancel the next time.
    const auto* failed = std::get_if<ActivityFailed>(&known.end);
    if (failed == nullptr || failed->failure.kind != FailureKind::kCanceled) {
      slot->known_locals.push_back(std::move(known));
    }
    if (std::exchange(turn->driven, true)) return;
  }
  DriveLocals(slot, turn);
}

MARATHON_INLINE void TurnRunner::DropWaiting(const SlotPtr& slot, const std::shared_ptr<WaitingTurn>& turn,
                                             WaitingTurn::Dropped why) {
  {
    std::lock_guard lock(turn->mutex);
    if (turn->over) return;
    turn->dropped = why;
    if (std::exchange(turn->driven, true)) return;
  }
  DropLocals(slot, why);
}

// The turn comes to nothing. At a shutdown others take it; else the store says how to go on.
MARATHON_INLINE void TurnRunner::DropLocals(SlotPtr slot, WaitingTurn::Dropped why) {
  host_.locals().End(*slot);
  why == WaitingTurn::Dropped::kLost ? Lost(std::move(slot)) : GiveUp(std::move(slot));
}

}  // namespace marathon::inline MARATHON_ABI::detail
