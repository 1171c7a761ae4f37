// Schedule: starts runs of a workflow at given times, for as long as it is not deleted. Made by
// Engine::CreateSchedule.
//
//   auto nightly = engine->CreateSchedule("nightly", {.crons = {"0 3 * * *"}, .time_zone = "Europe/Berlin"},
//                                         kReport, Region{"north"}, {.overlap = marathon::OverlapPolicy::kBufferOne});
//
// A schedule is itself a run, of a workflow that the library brings, "marathon.schedule". Every engine whose
// registry has a workflow serves schedules of its task queues; one that has none, a client, may create and
// command them. Its times are kept if at least one such worker is there, and made up for if none was: see
// ScheduleOptions::catch_up_window.
//
// Thread rule: safe to call from any thread, as an Engine is. What a command says has happened once a worker has
// taken the schedule's next turn, in the order in which the commands were acknowledged.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/config.h"
#include "marathon/schedule/options.h"
#include "marathon/schedule/spec.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {
class EngineImpl;
struct ScheduleCommand;
}  // namespace detail

// Names a schedule in an engine. Copies name the same; usable as long as the engine lives. Every call answers
// kNotFound or kFailedPrecondition if there is no such schedule any more.
class Schedule {
 public:
  Schedule(std::shared_ptr<detail::EngineImpl> engine, std::string id)
      : engine_(std::move(engine)), id_(std::move(id)) {}

  const std::string& id() const { return id_; }

  // Passes over the times that come while it is paused. `note` is for people.
  Status Pause(std::string_view note = "") const;
  Status Resume(std::string_view note = "") const;

  // Starts a run now, beside the spec, also while paused. None: by the schedule's own overlap policy.
  Status Trigger(std::optional<OverlapPolicy> overlap = {}) const;

  // Starts the runs of the spec's times from `from` to `to`, both included, in order and at once, also those that
  // ran before. Gives how many they are: kInvalidArgument if over limits::kMaxBackfill. With kSkip, only the first
  // of them finds nothing running: kBufferAll is what one wants, or kAllowAll.
  StatusOr<int> Backfill(Time from, Time to, OverlapPolicy overlap = OverlapPolicy::kBufferAll) const;

  // Replaces all of it, from now on. What runs goes on, and is followed. kInvalidArgument as CreateSchedule.
  Status Update(const ScheduleConfig& config) const;

  // As of its last turn. kUnavailable: no worker has taken its first turn yet.
  StatusOr<ScheduleDescription> Describe() const;

  // Ends it at once. What it has started goes on.
  Status Delete() const;

 private:
  Status Send(detail::ScheduleCommand command) const;

  std::shared_ptr<detail::EngineImpl> engine_;
  std::string id_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine.h"  // which has the bodies: a schedule needs an engine
#endif
