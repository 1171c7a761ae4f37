#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing {

MARATHON_INLINE bool SimWorld::Entry::operator>(const Entry& other) const {
  if (at != other.at) return at > other.at;
  if (tie != other.tie) return tie > other.tie;
  return seq > other.seq;
}

MARATHON_INLINE SimWorld::SimWorld(uint64_t seed, Options options)
    : options_(options), random_(seed), schedule_(random_.Fork("schedule")) {
  AddActor("world");
}

// Work may hold the last reference to something that schedules or cancels when it goes.
MARATHON_INLINE SimWorld::~SimWorld() {
  for (Actor& actor : actors_) actor.alive = false;
  Clear();
}

MARATHON_INLINE SimEventId SimWorld::After(ActorId actor, int64_t delay_micros,
                                           std::string_view label, Callback<void()> work) {
  if (!actors_[actor].alive) return 0;
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.work = std::move(work);
  slot.label = label;
  slot.actor = actor;
  ++slot.generation;
  const SimEventId event = (uint64_t{slot.generation} << 32) | index;
  const int64_t room = INT64_MAX - now_;
  Push(now_ + std::clamp<int64_t>(delay_micros, 0, room), schedule_.Next() | 1, event);
  return event;
}

MARATHON_INLINE void SimWorld::Cancel(SimEventId event) {
  if (Slot* slot = Find(event)) Release(*slot);
}

MARATHON_INLINE ActorId SimWorld::AddActor(std::string name) {
  actors_.push_back({std::move(name)});
  return static_cast<ActorId>(actors_.size() - 1);
}

MARATHON_INLINE void SimWorld::Kill(ActorId actor) {
  if (!actors_[actor].alive) return;
  actors_[actor].alive = false;
  if (tracing()) Trace(actor, "killed");
  Drop([actor](ActorId owner) { return owner == actor; });
}

MARATHON_INLINE void SimWorld::Clear() {
  Drop([](ActorId) { return true; });
}

MARATHON_INLINE void SimWorld::Drop(const std::function<bool(ActorId)>& whose) {
  std::vector<Callback<void()>> dropped;  // destroyed last: what they hold may come back in here
  for (Slot& slot : slots_) {
    if (slot.generation % 2 == 1 && whose(slot.actor)) dropped.push_back(Release(slot));
  }
}

MARATHON_INLINE void SimWorld::Pause(ActorId actor, Duration duration) {
  if (tracing()) Trace(actor, fmt::format("frozen for {} ms", duration.count()));
  int64_t& until = actors_[actor].frozen_until;
  until = std::max(until, now_ + duration.count() * 1000);
}

MARATHON_INLINE bool SimWorld::Step() {
  DropStale();
  if (heap_.empty()) return false;
  const Entry entry = Pop();
  now_ = std::max(now_, entry.at);
  Slot& slot = *Find(entry.event);
  const int64_t frozen_until = actors_[slot.actor].frozen_until;
  if (frozen_until > now_) {
    Push(frozen_until, 0, entry.event);  // ties of 0 keep the order in which they were frozen
  } else {
    Run(slot);
  }
  return true;
}

MARATHON_INLINE void SimWorld::Run(Slot& slot) {
  const ActorId actor = slot.actor;
  ++steps_;
  Mix(static_cast<uint64_t>(now_));
  Mix(actor ^ (std::hash<std::string_view>()(slot.label) << 8));
  if (tracing()) Trace(actor, slot.label);
  Callback<void()> work = Release(slot);
  const bool outer = std::exchange(running_, true);
  work();
  running_ = outer;
}

MARATHON_INLINE bool SimWorld::RunUntilIdle(uint64_t max_steps) {
  const uint64_t end = max_steps > UINT64_MAX - steps_ ? UINT64_MAX : steps_ + max_steps;
  while (steps_ < end) {
    if (!Step()) return true;
  }
  DropStale();
  return heap_.empty();
}

MARATHON_INLINE void SimWorld::RunUntil(Time time) {
  RunUntil([] { return false; }, time);
  now_ = std::max(now_, (time - options_.start).count());
}

MARATHON_INLINE bool SimWorld::RunUntil(const std::function<bool()>& done, Time limit) {
  while (!done()) {
    DropStale();
    if (heap_.empty()) return false;
    if (limit != kNever && heap_.front().at > (limit - options_.start).count()) return false;
    Step();
  }
  return true;
}

MARATHON_INLINE void SimWorld::Trace(ActorId actor, std::string_view text) {
  if (!tracing()) return;
  if (trace_.size() == options_.trace_lines) trace_.pop_front();
  trace_.push_back(fmt::format("{:>16.6f} {:<12} {}", static_cast<double>(now_) / 1e6,
                               actors_[actor].name, text));
}

MARATHON_INLINE SimWorld::Slot* SimWorld::Find(SimEventId event) {
  if (event == 0) return nullptr;
  Slot& slot = slots_[static_cast<uint32_t>(event)];
  return slot.generation == event >> 32 ? &slot : nullptr;
}

MARATHON_INLINE Callback<void()> SimWorld::Release(Slot& slot) {
  ++slot.generation;
  free_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
  return std::move(slot.work);
}

MARATHON_INLINE void SimWorld::Push(int64_t at, uint64_t tie, SimEventId event) {
  heap_.push_back({at, tie, ++seq_, event});
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

MARATHON_INLINE SimWorld::Entry SimWorld::Pop() {
  std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
  const Entry entry = heap_.back();
  heap_.pop_back();
  return entry;
}

MARATHON_INLINE void SimWorld::DropStale() {
  while (!heap_.empty() && Find(heap_.front().event) == nullptr) Pop();
}

}  // namespace marathon::inline MARATHON_ABI::testing
