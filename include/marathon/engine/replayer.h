// Replayer: one run as a pure function of its history. Replay() brings its code to where history ends and
// checks on the way that the code still asks for what history records; Turn() goes on from there with new
// inbound events and gives the events to append. The coroutines live inside until it is destroyed.
//
// Knows no port, thread, clock or I/O. Thread rule: one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/callables.h"
#include "marathon/detail/workflow_core.h"
#include "marathon/engine/next_start.h"
#include "marathon/event.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI {

using detail::Mismatch;
using detail::RunFacts;

struct TurnOutput {
  detail::PooledVector<Event> events;  // the marker, then inbound events and commands; empty: nothing happened
  bool closed = false;          // the last event ends the run
  bool unread_signals = false;  // it ended before it saw every signal it was given
  std::optional<Mismatch> mismatch;
  std::unique_ptr<NextStart> next;  // the run that goes on where this one closed
  std::vector<UpdateAnswer> answers;  // also where there are no events: a rejected update leaves none
};

class Replayer : public detail::PooledObject {
 public:
  // `factory` must outlive the replayer.
  Replayer(RunFacts facts, const detail::WorkflowFactory& factory);

  // Takes events that follow the last one taken; whole turns. A mismatch ends the replayer's use.
  std::optional<Mismatch> Replay(std::span<const Event> events);

  // Runs one turn. Inbound events that answer nothing pending are left out.
  TurnOutput Turn(TurnStarted marker, detail::PooledVector<EventBody> inbound) {
    return Take(&marker, std::move(inbound));
  }

  // Goes on with the turn that Turn began: its local activities have come to these ends. Gives what is new.
  TurnOutput GoOn(detail::PooledVector<EventBody> inbound) { return Take(nullptr, std::move(inbound)); }
  // Whether the turn is to go on so.
  bool AwaitsLocals() const { return !core_.closed() && core_.locals_running() > 0; }
  std::vector<detail::LocalTask> TakeLocals() { return core_.TakeLocals(); }
  std::vector<EventId> TakeCanceledLocals() { return core_.TakeCanceledLocals(); }

  // Asks a query handler of the run as it stands. If its code has returned, it must have been asked by
  // QueryAtEnd before the replay; if it has thrown, its state is gone: kFailedPrecondition.
  StatusOr<Payload> Query(std::string_view name, const Payload& input);
  void QueryAtEnd(std::string name, Payload input) {
    core_.QueryAtEnd(std::move(name), std::move(input));
  }

  const RunFacts& facts() const { return core_.facts(); }
  EventId version() const { return version_; }
  Time last_turn() const { return last_turn_; }
  const Id& build_id() const { return build_id_; }  // of the last marker that named one
  bool closed() const { return core_.closed(); }
  // The child that the run is, or is the continuation of.
  const std::optional<ActivityKey>& parent() const { return core_.parent(); }
  void SetLog(Callback<void(LogLevel, std::string_view)> log) { core_.SetLog(std::move(log)); }

 private:
  TurnOutput Take(TurnStarted* marker, detail::PooledVector<EventBody> inbound);
  void Apply(EventId id, const EventBody& inbound);
  void Begin(EventId id, const TurnStarted& marker);
  // Keeps what a run that follows this one will need.
  void Remember(const WorkflowStarted& started);
  // Compares what the code issued with the events after an inbound one; answers how many there were.
  size_t Match(EventId after, std::span<const Event> recorded, std::optional<Mismatch>& mismatch);

  const detail::WorkflowFactory& factory_;
  EventId version_ = 0;
  Time last_turn_{};
  Id build_id_;
  std::unique_ptr<WorkflowStarted> started_;  // where there is more to it: headers, origin, a priority
  detail::WorkflowCore core_;
  WorkflowContext context_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/replayer-inl.h"
#endif
