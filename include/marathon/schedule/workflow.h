// The workflow behind a schedule. It sleeps to the next of its times, starts a run through an activity, follows
// it through another, and takes commands as signals. All it knows is one value, ScheduleState, which is its
// input: so it continues as new, and is what it was.
//
// What depends on the machine, the tz database, is asked in a side effect; so a replay repeats what was decided,
// whatever that database says by then.
//
// Thread rule: that of any workflow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/activity_def.h"
#include "marathon/config.h"
#include "marathon/schedule/options.h"
#include "marathon/status.h"
#include "marathon/workflow.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI::detail {

inline constexpr std::string_view kScheduleWorkflow = "marathon.schedule";
inline constexpr std::string_view kScheduleSignal = "marathon.schedule";

// A start that is due: for one of the schedule's times, or because somebody said so.
struct ScheduleStart {
  Time nominal{};
  std::string workflow_id{};
  std::string request_id{};
  bool manual = false;  // counts against no limit, and does not mind a pause
  std::optional<OverlapPolicy> overlap{};  // none: the schedule's

  friend bool operator==(const ScheduleStart&, const ScheduleStart&) = default;
};

struct ScheduleState {
  std::string id{};
  ScheduleConfig config{};
  Time seen_until{};                 // all times up to it have been dealt with: at first, its creation
  std::optional<ScheduleRun> running{};
  bool ending = false;               // `running` has been told to end
  std::vector<ScheduleStart> buffer{};
  std::vector<ScheduleRun> recent{};
  ScheduleCounts counts{};
  int64_t triggers = 0;

  friend bool operator==(const ScheduleState&, const ScheduleState&) = default;
};

// What a look at the spec and the clock found.
struct ScheduleTimes {
  std::vector<Time> due{};
  Time next = kNever;    // when to look again
  Time seen_until{};
  int64_t missed = 0;    // longer ago than the catch-up window
  std::string error{};   // the spec is not right on this machine

  friend bool operator==(const ScheduleTimes&, const ScheduleTimes&) = default;
};

// Persisted: never change the value of an existing entry.
enum class ScheduleCommandKind : uint8_t { kPause = 1, kResume = 2, kTrigger = 3, kBackfill = 4, kUpdate = 5 };

struct ScheduleCommand {
  ScheduleCommandKind kind = ScheduleCommandKind::kPause;
  std::string note{};        // kPause, kResume
  std::string request_id{};  // kTrigger, kBackfill: of the starts
  std::optional<OverlapPolicy> overlap{};
  std::vector<Time> times{};             // kBackfill
  std::optional<ScheduleConfig> config{};  // kUpdate

  friend bool operator==(const ScheduleCommand&, const ScheduleCommand&) = default;
};

// ---- Activities, which the engine brings (engine/schedules.h)

struct ScheduleTarget {
  std::string workflow_id{};
  std::string request_id{};
  ScheduleAction action{};

  friend bool operator==(const ScheduleTarget&, const ScheduleTarget&) = default;
};
struct ScheduleEnd {
  std::string workflow_id{};
  std::string run_id{};
  bool terminate = false;  // at once; else it is asked to cancel

  friend bool operator==(const ScheduleEnd&, const ScheduleEnd&) = default;
};

// Starts a run and gives its run id.
inline constexpr ActivityDef<std::string(ScheduleTarget)> kScheduleStart{"marathon.schedule.start"};
// Waits until a run has ended, and gives it with its state. Holds no thread.
inline constexpr ActivityDef<ScheduleRun(ScheduleRun)> kScheduleFollow{"marathon.schedule.follow"};
// Terminates or cancels a run. One that is over is no failure.
inline constexpr ActivityDef<void(ScheduleEnd)> kScheduleEnd{"marathon.schedule.end"};

// ---- The workflow

// `seen`, if not null, is where it keeps its state: for who replays it to look.
Workflow<void> RunSchedule(WorkflowContext& ctx, ScheduleState state, ScheduleState* seen = nullptr);

// What `config` gets wrong: kInvalidArgument.
Status CheckSchedule(std::string_view id, const ScheduleConfig& config);
// The workflow id of a schedule.
std::string ScheduleWorkflowId(std::string_view schedule_id);
// As the workflow takes them.
StatusOr<Payload> EncodeSchedule(const ScheduleState& state);
StatusOr<Payload> EncodeSchedule(const ScheduleCommand& command);
// What `state` shows of itself.
ScheduleDescription DescribeSchedule(const ScheduleState& state, Time now);

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/schedule/workflow-inl.h"
#endif
