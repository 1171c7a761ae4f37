// EventReader: the history of a run, event by event, as it grows. It is pushed, not polled: whoever waits is told by the
// commit that writes the event, in whatever process that is.
//
//   marathon::EventReader reader = run.Subscribe(last_seen);
//   while (!reader.ended()) {
//     auto events = reader.Next(10s);
//     if (!events.ok()) return Complain(events.status());
//     for (const marathon::Event& event : *events) Show(event);   // event.id: what to come back with
//   }
//
// A reader that comes back with the id of the last event it has seen, to any process, misses nothing and sees nothing
// twice. It ends with its run; a chain goes on in next_run(), with events from 1.
//
// A reader is one thread's; usable as long as the engine lives.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {
class EngineImpl;
}
class Run;

class EventReader {
 public:
  EventReader(std::shared_ptr<detail::EngineImpl> engine, RunKey run, EventId after)
      : engine_(std::move(engine)), run_(std::move(run)), after_(after) {}

  // The events that follow, in order, a page of some MiB at most; waits for one up to `patience`, and gives none after
  // that. kOutOfRange: the reader has ended; kNotFound: there is no such run, or it has been deleted; kDataLoss: its
  // history is damaged; kCancelled: the engine shuts down.
  StatusOr<History> Next(Duration patience = Duration::max());

  // Of the last event that it has given.
  EventId after() const { return after_; }
  // The run has closed, and its last event has been given.
  bool ended() const { return ended_; }
  // Once it has: the run that goes on, after continue-as-new or for a retry, if one does.
  std::optional<Run> next_run() const;

 private:
  std::shared_ptr<detail::EngineImpl> engine_;
  RunKey run_;
  EventId after_;
  bool ended_ = false;
  std::optional<RunKey> next_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine.h"  // which has the bodies: a reader needs an engine
#endif
