#pragma once

#include "marathon/schedule.h"

#include <fmt/format.h>

#include <utility>
#include <variant>
#include <vector>

#include "marathon/engine.h"
#include "marathon/engine/schedules.h"
#include "marathon/schedule/plan.h"
#include "marathon/schedule/workflow.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// The newest run of a schedule, and what it knows.
inline StatusOr<ScheduleState> ReadSchedule(const std::shared_ptr<EngineImpl>& engine,
                                            const std::string& id) {
  const RunKey key{ScheduleWorkflowId(id), ""};
  const StatusOr<History> history = Run(engine, key).History();
  if (!history.ok()) return history.status();
  if (history->empty()) {
    return Unavailable(fmt::format("no worker has taken schedule \"{}\" up yet: open an engine that has "
                                   "workflows, for the task queue of its action",
                                   id));
  }
  if (std::holds_alternative<WorkflowTerminated>(history->back().body)) {
    return NotFound(fmt::format("schedule \"{}\" was deleted", id));
  }
  if (Status sealed = engine->host->sealer().CheckHistory(*history, key.workflow_id); !sealed.ok()) return sealed;
  return ReplaySchedule(key, *history);
}

}  // namespace detail

MARATHON_INLINE Status Schedule::Send(detail::ScheduleCommand command) const {
  StatusOr<Payload> payload = detail::EncodeSchedule(command);
  if (!payload.ok()) return payload.status();
  return Run(engine_, RunKey{detail::ScheduleWorkflowId(id_), ""})
      .SignalPayload(detail::kScheduleSignal, *std::move(payload));
}

MARATHON_INLINE Status Schedule::Pause(std::string_view note) const {
  detail::ScheduleCommand command;
  command.kind = detail::ScheduleCommandKind::kPause;
  command.note = note;
  return Send(std::move(command));
}

MARATHON_INLINE Status Schedule::Resume(std::string_view note) const {
  detail::ScheduleCommand command;
  command.kind = detail::ScheduleCommandKind::kResume;
  command.note = note;
  return Send(std::move(command));
}

MARATHON_INLINE Status Schedule::Trigger(std::optional<OverlapPolicy> overlap) const {
  detail::ScheduleCommand command;
  command.kind = detail::ScheduleCommandKind::kTrigger;
  command.request_id = engine_->host->NewId();
  command.overlap = overlap;
  return Send(std::move(command));
}

MARATHON_INLINE StatusOr<int> Schedule::Backfill(Time from, Time to, OverlapPolicy overlap) const {
  const StatusOr<detail::ScheduleState> state = detail::ReadSchedule(engine_, id_);
  if (!state.ok()) return state.status();
  const StatusOr<SchedulePlan> plan = SchedulePlan::Make(state->config.spec);
  if (!plan.ok()) return plan.status();
  detail::ScheduleCommand command;
  command.kind = detail::ScheduleCommandKind::kBackfill;
  command.request_id = engine_->host->NewId();
  command.overlap = overlap;
  for (Time time = plan->NextTime(from == Time::min() ? from : from - std::chrono::microseconds(1));
       time <= to && time != kNever; time = plan->NextTime(time)) {
    if (command.times.size() == limits::kMaxBackfill) {
      return InvalidArgument(fmt::format(
          "schedule \"{}\" has more than {} times in that range, the last of them {}: ask for less at a time",
          id_, limits::kMaxBackfill, ScheduleTimeText(command.times.back())));
    }
    command.times.push_back(time);
  }
  const auto count = static_cast<int>(command.times.size());
  if (count == 0) return 0;
  if (Status status = Send(std::move(command)); !status.ok()) return status;
  return count;
}

MARATHON_INLINE Status Schedule::Update(const ScheduleConfig& config) const {
  if (Status status = detail::CheckSchedule(id_, config); !status.ok()) return status;
  detail::ScheduleCommand command;
  command.kind = detail::ScheduleCommandKind::kUpdate;
  command.config = config;
  return Send(std::move(command));
}

MARATHON_INLINE StatusOr<ScheduleDescription> Schedule::Describe() const {
  const StatusOr<detail::ScheduleState> state = detail::ReadSchedule(engine_, id_);
  if (!state.ok()) return state.status();
  return detail::DescribeSchedule(*state, engine_->host->store().Now());
}

MARATHON_INLINE Status Schedule::Delete() const {
  return Run(engine_, RunKey{detail::ScheduleWorkflowId(id_), ""}).Terminate("deleted");
}

// ---- Engine ----------------------------------------------------------------------------------------

MARATHON_INLINE StatusOr<Schedule> Engine::CreateSchedule(std::string_view id,
                                                          const ScheduleConfig& config) {
  if (Status status = detail::CheckSchedule(id, config); !status.ok()) return status;
  detail::ScheduleState state;
  state.id = id;
  state.config = config;
  state.seen_until = impl_->host->store().Now();
  StatusOr<Payload> payload = detail::EncodeSchedule(state);
  if (!payload.ok()) return payload.status();
  StartOptions options;
  options.workflow_id = detail::ScheduleWorkflowId(id);
  options.task_queue = config.action.task_queue;
  const StatusOr<Run> run =
      StartPayload(detail::kScheduleWorkflow, *std::move(payload), std::move(options));
  if (run.ok()) return FindSchedule(id);
  if (run.status().code() != StatusCode::kAlreadyExists) return run.status();
  return AlreadyExists(fmt::format("there is a schedule \"{}\": Update it, or Delete it first", id));
}

MARATHON_INLINE Schedule Engine::FindSchedule(std::string_view id) const {
  return Schedule(impl_, std::string(id));
}

MARATHON_INLINE StatusOr<std::vector<std::string>> Engine::ListSchedules() const {
  const size_t prefix = detail::ScheduleWorkflowId("").size();
  std::vector<std::string> ids;
  ListRequest request;
  request.workflow_type = detail::kScheduleWorkflow;
  request.status = RunStatus::kRunning;
  do {
    StatusOr<ListReply> page = List(request);
    if (!page.ok()) return page.status();
    for (const RunRow& run : page->runs) ids.emplace_back(run.key.workflow_id.view().substr(prefix));
    request.page_token = page->next_page_token;
  } while (!request.page_token.empty());
  return ids;
}

}  // namespace marathon::inline MARATHON_ABI
