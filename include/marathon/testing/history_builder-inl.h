#pragma once

#include "marathon/testing/history_builder.h"

#include <fmt/format.h>

namespace marathon::inline MARATHON_ABI::testing {

MARATHON_INLINE HistoryBuilder& HistoryBuilder::Add(EventBody body) {
  const EventType type = TypeOf(body);
  if (!history_.empty() && IsClosing(TypeOf(history_.back().body))) {
    Mistake(Describe(body) + " follows the end of the run");
  } else if (type != EventType::kTurnStarted && history_.empty()) {
    Mistake(Describe(body) + " comes before Started");
  } else if (IsCommand(type) && TypeOf(history_.back().body) == EventType::kTurnStarted) {
    Mistake(Describe(body) + " has no event of this turn to follow: code runs because something happened");
  }
  history_.push_back({last_id() + 1, std::move(body)});
  return *this;
}

MARATHON_INLINE void HistoryBuilder::Mistake(std::string_view what) {
  if (mistake_.empty()) mistake_ = fmt::format("HistoryBuilder: event {}: {}", last_id() + 1, what);
}

MARATHON_INLINE Payload HistoryBuilder::Take(StatusOr<Payload> value) {
  if (value.ok()) return *std::move(value);
  Mistake(MessageOf(value.status()));
  return {};
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::NextTurn(Duration elapsed) {
  now_ = AddSaturated(now_, elapsed);
  return Add(TurnStarted{now_, history_.empty() ? "built" : ""});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::StartedWith(std::string_view workflow_type,
                                                            StatusOr<Payload> input) {
  if (!history_.empty()) Mistake("the run is started already");
  WorkflowStarted started;
  started.workflow_type = workflow_type;
  started.input = Take(std::move(input));
  started.task_queue = "default";
  started.request_id = "built";
  return NextTurn().Add(std::move(started));
}

// ---- Activities

MARATHON_INLINE HistoryBuilder& HistoryBuilder::ScheduledWith(std::string_view activity_type,
                                                              StatusOr<Payload> input) {
  marathon::ActivityScheduled scheduled;
  scheduled.activity_type = activity_type;
  scheduled.task_queue = "default";
  scheduled.input = Take(std::move(input));
  Add(std::move(scheduled));
  activities_[std::string(activity_type)].push_back(last_id());
  return *this;
}

MARATHON_INLINE EventId HistoryBuilder::TakeActivity(std::string_view activity_type) {
  const auto pending = activities_.find(activity_type);
  if (pending == activities_.end() || pending->second.empty()) {
    Mistake(fmt::format("no activity \"{}\" waits for an answer", activity_type));
    return 0;
  }
  const EventId id = pending->second.front();
  pending->second.pop_front();
  return id;
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::CompletedWith(std::string_view activity_type,
                                                              StatusOr<Payload> result) {
  const EventId scheduled = TakeActivity(activity_type);
  return Add(marathon::ActivityCompleted{scheduled, Take(std::move(result)), 1});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::ActivityFailed(std::string_view activity_type,
                                                               Failure failure, int attempt) {
  return Add(marathon::ActivityFailed{TakeActivity(activity_type), std::move(failure), attempt});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::LocalActivityStarted(std::string_view activity_type) {
  Add(marathon::LocalActivityStarted{std::string(activity_type)});
  activities_[std::string(activity_type)].push_back(last_id());
  return *this;
}

// ---- Timers

MARATHON_INLINE HistoryBuilder& HistoryBuilder::TimerStarted(Duration duration) {
  Add(marathon::TimerStarted{duration});
  timers_.push_back(last_id());
  return *this;
}

MARATHON_INLINE EventId HistoryBuilder::TakeTimer() {
  if (timers_.empty()) {
    Mistake("no timer runs");
    return 0;
  }
  const EventId id = timers_.front();
  timers_.pop_front();
  return id;
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::TimerFired() {
  return Add(marathon::TimerFired{TakeTimer()});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::TimerCanceled() {
  return Add(marathon::TimerCanceled{TakeTimer()});
}

// ---- Updates

MARATHON_INLINE HistoryBuilder& HistoryBuilder::UpdateWith(std::string_view name,
                                                           StatusOr<Payload> input) {
  Updates& updates = updates_[std::string(name)];
  Add(marathon::UpdateAccepted{fmt::format("{}-{}", name, ++updates.count), std::string(name),
                               Take(std::move(input)), {}});
  updates.pending.push_back(last_id());
  return *this;
}

MARATHON_INLINE EventId HistoryBuilder::TakeUpdate(std::string_view name) {
  const auto updates = updates_.find(name);
  if (updates == updates_.end() || updates->second.pending.empty()) {
    Mistake(fmt::format("no update \"{}\" waits for an answer", name));
    return 0;
  }
  const EventId id = updates->second.pending.front();
  updates->second.pending.pop_front();
  return id;
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::UpdatedWith(std::string_view name,
                                                            StatusOr<Payload> result) {
  const EventId accepted = TakeUpdate(name);
  return Add(marathon::UpdateCompleted{accepted, Take(std::move(result)), {}});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::UpdateFailed(std::string_view name, Failure failure) {
  return Add(marathon::UpdateCompleted{TakeUpdate(name), {}, std::move(failure)});
}

// ---- The rest

MARATHON_INLINE HistoryBuilder& HistoryBuilder::SignalWith(std::string_view name,
                                                           StatusOr<Payload> value) {
  marathon::SignalReceived signal;
  signal.name = name;
  signal.input = Take(std::move(value));
  return Add(std::move(signal));
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::SideEffectWith(StatusOr<Payload> value) {
  return Add(SideEffectRecorded{Take(std::move(value))});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::EndedWith(StatusOr<Payload> result) {
  return Add(WorkflowCompleted{Take(std::move(result))});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::Failed(Failure failure) {
  return Add(WorkflowFailed{std::move(failure)});
}

MARATHON_INLINE HistoryBuilder& HistoryBuilder::Terminated(std::string_view reason) {
  return Add(WorkflowTerminated{std::string(reason)});
}

MARATHON_INLINE StatusOr<History> HistoryBuilder::Build() const {
  if (!mistake_.empty()) return InvalidArgument(mistake_);
  if (history_.empty()) return InvalidArgument("HistoryBuilder: a history begins with Started");
  return history_;
}

}  // namespace marathon::inline MARATHON_ABI::testing
