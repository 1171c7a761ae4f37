// The layouts of the events: see layout.h. Each also has its persisted type number and its name.
// Persisted: the order of the members is the order of their bytes; a new member goes last.
#pragma once

#include <cstddef>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>

#include "marathon/config.h"
#include "marathon/detail/layout.h"
#include "marathon/detail/value_fields.h"
#include "marathon/event.h"

namespace marathon::inline MARATHON_ABI::detail {

template <>
struct Layout<ActivityPolicy> {
  static constexpr bool sparse = true;
  static constexpr auto fields = std::tuple{
      Field{"start_to_close_ms", &ActivityPolicy::start_to_close},
      Field{"schedule_to_start_ms", &ActivityPolicy::schedule_to_start},
      Field{"schedule_to_close_ms", &ActivityPolicy::schedule_to_close},
      Field{"heartbeat_ms", &ActivityPolicy::heartbeat},
      Field{"retry", &ActivityPolicy::retry},
      Field{"hold_dead_letter", &ActivityPolicy::hold_dead_letter},
      Field{"priority", &ActivityPolicy::priority},
      Field{"concurrency_key", &ActivityPolicy::concurrency_key},
      Field{"max_per_key", &ActivityPolicy::max_per_key},
  };
};

template <>
struct Layout<TurnStarted> {
  static constexpr EventType type = EventType::kTurnStarted;
  static constexpr std::string_view name = "TurnStarted";
  static constexpr auto fields = std::tuple{
      Field{"time", &TurnStarted::time},
      Field{"build_id", &TurnStarted::build_id},
      Field{"behavior_flags", &TurnStarted::behavior_flags},
  };
};

template <>
struct Layout<RunOrigin> {
  static constexpr bool sparse = true;
  static constexpr auto fields = std::tuple{
      Field{"first_run_id", &RunOrigin::first_run_id},
      Field{"previous_run_id", &RunOrigin::previous_run_id},
      Field{"retry", &RunOrigin::retry},
      Field{"attempt", &RunOrigin::attempt},
      Field{"start_delay_ms", &RunOrigin::start_delay},
      Field{"parent", &RunOrigin::parent},
  };
};

template <>
struct Layout<WorkflowStarted> {
  static constexpr EventType type = EventType::kWorkflowStarted;
  static constexpr std::string_view name = "WorkflowStarted";
  static constexpr auto fields = std::tuple{
      Field{"workflow_type", &WorkflowStarted::workflow_type},
      Field{"input", &WorkflowStarted::input},
      Field{"task_queue", &WorkflowStarted::task_queue},
      Field{"request_id", &WorkflowStarted::request_id},
      Field{"run_timeout_ms", &WorkflowStarted::run_timeout},
      Field{"headers", &WorkflowStarted::headers},
      Field{"origin", &WorkflowStarted::origin},
      AddedField{"memo", &WorkflowStarted::memo},
      AddedField{"attributes", &WorkflowStarted::attributes},
      AddedField{"priority", &WorkflowStarted::priority},
  };
};

template <>
struct Layout<ActivityCompleted> {
  static constexpr EventType type = EventType::kActivityCompleted;
  static constexpr std::string_view name = "ActivityCompleted";
  static constexpr auto fields = std::tuple{
      Field{"scheduled", &ActivityCompleted::scheduled},
      Field{"result", &ActivityCompleted::result},
      Field{"attempt", &ActivityCompleted::attempt},
  };
};

template <>
struct Layout<ActivityFailed> {
  static constexpr EventType type = EventType::kActivityFailed;
  static constexpr std::string_view name = "ActivityFailed";
  static constexpr auto fields = std::tuple{
      Field{"scheduled", &ActivityFailed::scheduled},
      Field{"failure", &ActivityFailed::failure},
      Field{"attempt", &ActivityFailed::attempt},
  };
};

template <>
struct Layout<TimerFired> {
  static constexpr EventType type = EventType::kTimerFired;
  static constexpr std::string_view name = "TimerFired";
  static constexpr auto fields = std::tuple{
      Field{"timer", &TimerFired::timer},
  };
};

template <>
struct Layout<SignalReceived> {
  static constexpr EventType type = EventType::kSignalReceived;
  static constexpr std::string_view name = "SignalReceived";
  static constexpr auto fields = std::tuple{
      Field{"name", &SignalReceived::name},
      Field{"input", &SignalReceived::input},
      Field{"headers", &SignalReceived::headers},
  };
};

template <>
struct Layout<ActivityScheduled> {
  static constexpr EventType type = EventType::kActivityScheduled;
  static constexpr std::string_view name = "ActivityScheduled";
  static constexpr auto fields = std::tuple{
      Field{"activity_type", &ActivityScheduled::activity_type},
      Field{"task_queue", &ActivityScheduled::task_queue},
      Field{"input", &ActivityScheduled::input},
      Field{"policy", &ActivityScheduled::policy},
      Field{"headers", &ActivityScheduled::headers},
  };
};

template <>
struct Layout<ActivityCancelRequested> {
  static constexpr EventType type = EventType::kActivityCancelRequested;
  static constexpr std::string_view name = "ActivityCancelRequested";
  static constexpr auto fields = std::tuple{
      Field{"scheduled", &ActivityCancelRequested::scheduled},
      Field{"wait", &ActivityCancelRequested::wait},
  };
};

template <>
struct Layout<TimerStarted> {
  static constexpr EventType type = EventType::kTimerStarted;
  static constexpr std::string_view name = "TimerStarted";
  static constexpr auto fields = std::tuple{
      Field{"duration_ms", &TimerStarted::duration},
  };
};

template <>
struct Layout<TimerCanceled> {
  static constexpr EventType type = EventType::kTimerCanceled;
  static constexpr std::string_view name = "TimerCanceled";
  static constexpr auto fields = std::tuple{
      Field{"timer", &TimerCanceled::timer},
  };
};

template <>
struct Layout<SideEffectRecorded> {
  static constexpr EventType type = EventType::kSideEffectRecorded;
  static constexpr std::string_view name = "SideEffectRecorded";
  static constexpr auto fields = std::tuple{
      Field{"value", &SideEffectRecorded::value},
  };
};

template <>
struct Layout<WorkflowCompleted> {
  static constexpr EventType type = EventType::kWorkflowCompleted;
  static constexpr std::string_view name = "WorkflowCompleted";
  static constexpr auto fields = std::tuple{
      Field{"result", &WorkflowCompleted::result},
  };
};

template <>
struct Layout<WorkflowFailed> {
  static constexpr EventType type = EventType::kWorkflowFailed;
  static constexpr std::string_view name = "WorkflowFailed";
  static constexpr auto fields = std::tuple{
      Field{"failure", &WorkflowFailed::failure},
      Field{"next_run_id", &WorkflowFailed::next_run_id},
  };
};

template <>
struct Layout<WorkflowTerminated> {
  static constexpr EventType type = EventType::kWorkflowTerminated;
  static constexpr std::string_view name = "WorkflowTerminated";
  static constexpr auto fields = std::tuple{
      Field{"reason", &WorkflowTerminated::reason},
  };
};

template <>
struct Layout<WorkflowTimedOut> {
  static constexpr EventType type = EventType::kWorkflowTimedOut;
  static constexpr std::string_view name = "WorkflowTimedOut";
  static constexpr auto fields = std::tuple{
      Field{"next_run_id", &WorkflowTimedOut::next_run_id},
  };
};

template <>
struct Layout<WorkflowContinuedAsNew> {
  static constexpr EventType type = EventType::kWorkflowContinuedAsNew;
  static constexpr std::string_view name = "WorkflowContinuedAsNew";
  static constexpr auto fields = std::tuple{
      Field{"run_id", &WorkflowContinuedAsNew::run_id},
      Field{"workflow_type", &WorkflowContinuedAsNew::workflow_type},
      Field{"task_queue", &WorkflowContinuedAsNew::task_queue},
      Field{"input", &WorkflowContinuedAsNew::input},
      Field{"run_timeout_ms", &WorkflowContinuedAsNew::run_timeout},
      AddedField{"upgrade", &WorkflowContinuedAsNew::upgrade},
  };
};

template <>
struct Layout<WorkflowCancelRequested> {
  static constexpr EventType type = EventType::kWorkflowCancelRequested;
  static constexpr std::string_view name = "WorkflowCancelRequested";
  static constexpr auto fields = std::tuple{
      Field{"reason", &WorkflowCancelRequested::reason},
  };
};

template <>
struct Layout<VersionRecorded> {
  static constexpr EventType type = EventType::kVersionRecorded;
  static constexpr std::string_view name = "VersionRecorded";
  static constexpr auto fields = std::tuple{
      Field{"change", &VersionRecorded::change},
      Field{"version", &VersionRecorded::version},
  };
};

template <>
struct Layout<WorkflowCanceled> {
  static constexpr EventType type = EventType::kWorkflowCanceled;
  static constexpr std::string_view name = "WorkflowCanceled";
  static constexpr auto fields = std::tuple{
      Field{"reason", &WorkflowCanceled::reason},
  };
};

template <>
struct Layout<UpdateAccepted> {
  static constexpr EventType type = EventType::kUpdateAccepted;
  static constexpr std::string_view name = "UpdateAccepted";
  static constexpr auto fields = std::tuple{
      Field{"update_id", &UpdateAccepted::update_id},
      Field{"name", &UpdateAccepted::name},
      Field{"input", &UpdateAccepted::input},
      Field{"headers", &UpdateAccepted::headers},
  };
};

template <>
struct Layout<UpdateCompleted> {
  static constexpr EventType type = EventType::kUpdateCompleted;
  static constexpr std::string_view name = "UpdateCompleted";
  static constexpr auto fields = std::tuple{
      Field{"accepted", &UpdateCompleted::accepted},
      Field{"result", &UpdateCompleted::result},
      Field{"failure", &UpdateCompleted::failure},
  };
};

template <>
struct Layout<LocalActivityStarted> {
  static constexpr EventType type = EventType::kLocalActivityStarted;
  static constexpr std::string_view name = "LocalActivityStarted";
  static constexpr auto fields = std::tuple{
      Field{"activity_type", &LocalActivityStarted::activity_type},
      Field{"attempt", &LocalActivityStarted::attempt},
  };
};

template <>
struct Layout<AttributesSet> {
  static constexpr EventType type = EventType::kAttributesSet;
  static constexpr std::string_view name = "AttributesSet";
  static constexpr auto fields = std::tuple{
      Field{"attributes", &AttributesSet::attributes},
  };
};

// Calls visit(std::in_place_type<T>) for each event struct T until it answers true; says whether
// one did.
template <class Visit>
bool AnyEventType(Visit&& visit) {
  return [&]<size_t... i>(std::index_sequence<i...>) {
    return (visit(std::in_place_type<std::variant_alternative_t<i, AnyEvent>>) || ...);
  }(std::make_index_sequence<std::variant_size_v<AnyEvent>>());
}

}  // namespace marathon::inline MARATHON_ABI::detail
