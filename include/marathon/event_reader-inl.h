#pragma once

#include "marathon/event_reader.h"

#include <fmt/format.h>

#include <utility>

#include "marathon/engine.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE StatusOr<History> EventReader::Next(Duration patience) {
  if (ended_) {
    return OutOfRange(fmt::format("run {} of workflow \"{}\" has ended with event {}, which was given",
                                  run_.run_id, run_.workflow_id, after_));
  }
  if (run_.run_id.empty()) {  // the newest of now, whatever comes later
    StatusOr<RunDescription> newest = Run(engine_, run_).Describe();
    if (!newest.ok()) return newest.status();
    run_ = std::move(newest->run.key);
  }
  AwaitRequest request{run_};
  request.after = after_;
  StatusOr<RunEnd> told = engine_->Await(std::move(request), patience);
  // A wait for ever ends only where time is virtual: nothing more is to come.
  const bool is_over = told.status().code() == StatusCode::kDeadlineExceeded;
  if (is_over && patience != Duration::max()) return History();
  if (!told.ok()) return told.status();
  RunEvents& events = *told->events;
  run_ = std::move(events.run);
  if (!events.events.empty()) after_ = events.events.back().id;
  ended_ = events.ended;
  next_ = std::move(events.next);
  return std::move(events.events);
}

MARATHON_INLINE std::optional<Run> EventReader::next_run() const {
  if (!next_) return std::nullopt;
  return Run(engine_, *next_);
}

}  // namespace marathon::inline MARATHON_ABI
