// SimWorld: one thread, virtual time and a heap of things to come. Whole clusters run inside it: what
// would be a thread, a timer or a network there is an entry of the heap here, and its place among
// entries of the same instant is drawn from the seed. Nothing waits: time jumps to the next entry.
//
// As a Clock it tells the true time, the one stores go by. Workers have clocks of their own: SimRuntime.
//
// Not safe from several threads, on purpose.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

// Something that can die or freeze on its own, such as one incarnation of a worker process.
using ActorId = uint32_t;

// The network, the store's machine, the test: never dies, never freezes.
inline constexpr ActorId kWorldActor = 0;

// Names an entry of the heap. 0: none.
using SimEventId = uint64_t;

class SimWorld final : public Clock {
 public:
  struct Options {
    Time start = FromMicros(1'893'456'000'000'000);  // 2030-01-01
    size_t trace_lines = 0;                          // how many of the latest to keep; 0: no tracing
  };

  explicit SimWorld(uint64_t seed) : SimWorld(seed, Options{}) {}
  SimWorld(uint64_t seed, Options options);
  ~SimWorld() override;

  // ---- Time and entries
  Time Now() const override { return options_.start + std::chrono::microseconds(now_); }
  int64_t ElapsedMicros() const { return now_; }

  // Runs `work` after `delay_micros`, unless `actor` is dead by then; later if it is frozen then.
  // `label` says what it is, in traces and in the hash; it must outlive the world (a literal).
  SimEventId After(ActorId actor, int64_t delay_micros, std::string_view label,
                   Callback<void()> work);
  // Destroys the work of an entry that has not begun.
  void Cancel(SimEventId event);

  // ---- Actors
  ActorId AddActor(std::string name);
  // As SIGKILL: what `actor` had to come, now or later, is destroyed without being run.
  void Kill(ActorId actor);
  // Destroys everything that is to come.
  void Clear();
  bool IsAlive(ActorId actor) const { return actors_[actor].alive; }
  // As SIGSTOP and SIGCONT, or a long garbage collection: what comes due meanwhile runs afterwards.
  void Pause(ActorId actor, Duration duration);
  const std::string& NameOf(ActorId actor) const { return actors_[actor].name; }

  // ---- Running
  // Runs the next entry. False: there is none.
  bool Step();
  // Until nothing is left, or `max_steps` were made: then false.
  bool RunUntilIdle(uint64_t max_steps = UINT64_MAX);
  // All entries up to `time`, and leaves the clock there.
  void RunUntil(Time time);
  // Until `done()`, asked after every step. False: nothing is left, or the next entry is past `limit`.
  bool RunUntil(const std::function<bool()>& done, Time limit = kNever);
  // Nothing is to come.
  bool IsIdle() {
    DropStale();
    return heap_.empty();
  }
  bool running() const { return running_; }

  // ---- Randomness and the record
  // A stream of its own, the same for the same seed and label.
  SeededRandom Fork(std::string_view label) const { return random_.Fork(label); }

  uint64_t steps() const { return steps_; }
  // Of every (time, actor, label) so far, and of what was mixed in: equal for equal executions.
  uint64_t hash() const { return hash_; }
  void Mix(uint64_t value) { hash_ = SeededRandom::Mix(hash_ ^ value) + 0x9e3779b97f4a7c15u; }

  bool tracing() const { return options_.trace_lines > 0; }
  // Adds a line. Format it only if tracing().
  void Trace(ActorId actor, std::string_view text);
  const std::deque<std::string>& trace() const { return trace_; }

 private:
  struct Entry {
    int64_t at;
    uint64_t tie;  // drawn, so that equal times have no order that code could rely on
    uint64_t seq;
    SimEventId event;
    bool operator>(const Entry& other) const;
  };
  struct Slot {
    Callback<void()> work;
    std::string_view label;
    ActorId actor = kWorldActor;
    uint32_t generation = 0;  // even: free
  };
  struct Actor {
    std::string name;
    bool alive = true;
    int64_t frozen_until = 0;
  };

  Slot* Find(SimEventId event);
  Callback<void()> Release(Slot& slot);
  void Push(int64_t at, uint64_t tie, SimEventId event);
  Entry Pop();
  void DropStale();  // entries on top of the heap whose slot was released
  void Run(Slot& slot);
  void Drop(const std::function<bool(ActorId)>& whose);

  Options options_;
  SeededRandom random_;
  SeededRandom schedule_;
  int64_t now_ = 0;
  uint64_t seq_ = 0;
  uint64_t steps_ = 0;
  uint64_t hash_ = 0;
  bool running_ = false;
  std::vector<Entry> heap_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<Actor> actors_;
  std::deque<std::string> trace_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/sim_world-inl.h"
#endif
