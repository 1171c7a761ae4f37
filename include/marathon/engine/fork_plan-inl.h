#pragma once

#include "marathon/engine/fork_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <variant>

#include "marathon/detail/forks.h"
#include "marathon/engine/to_schedule.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// Reads a history, up to the end of what is kept of it.
class ForkPlanner {
 public:
  ForkPlanner(const RunKey& run, const History& history, const ForkOptions& options)
      : run_(run), history_(history), options_(options) {}

  StatusOr<ForkPlan> Plan() {
    if (Status status = FindEnd(); !status.ok()) return status;
    if (Status status = CheckResults(); !status.ok()) return status;
    plan_.started = Start();
    plan_.kept.assign(history_.begin(), history_.begin() + static_cast<ptrdiff_t>(end_));
    for (Event& event : plan_.kept) Take(event);
    for (auto& [id, activity] : activities_) {
      if (!MARATHON_MUTANT("fork_forgets_pending")) plan_.activities.push_back(std::move(activity));
    }
    for (const auto& [id, due] : timers_) {
      plan_.timers.push_back({id, std::max(std::chrono::duration_cast<Duration>(due - now_), Duration(0))});
    }
    if (options_.signals) TakeSignals();
    const size_t bytes = EncodeRecord(0, plan_.kept).size();
    if (bytes > limits::kForkMaxBytes) {
      return ResourceExhausted(fmt::format(
          "the turns that are to be kept have {} bytes (kForkMaxBytes = {}); fork at an earlier event", bytes,
          limits::kForkMaxBytes));
    }
    return std::move(plan_);
  }

 private:
  // Sets end_, behind the last event to keep.
  Status FindEnd() {
    if (history_.size() < 2 || !std::holds_alternative<WorkflowStarted>(history_[1].body)) {
      return FailedPrecondition(fmt::format("{} has not begun: start another one instead", Name(run_)));
    }
    if (options_.keep < 0 || options_.keep > history_.back().id) {
      return InvalidArgument(fmt::format("{} has no event {}; the last one is {}", Name(run_), options_.keep,
                                         history_.back().id));
    }
    if (options_.keep == 0) return {};
    while (end_ < history_.size() &&
           (history_[end_].id <= options_.keep || !std::holds_alternative<TurnStarted>(history_[end_].body))) {
      ++end_;
    }
    if (!IsClosing(TypeOf(history_[end_ - 1].body))) return {};
    size_t marker = end_ - 1;
    while (!std::holds_alternative<TurnStarted>(history_[marker].body)) --marker;
    return InvalidArgument(fmt::format("event {} of {} is in the turn that ended it; the last one to keep is {}",
                                       options_.keep, Name(run_), history_[marker].id - 1));
  }

  Status CheckResults() const {
    for (const auto& [id, result] : options_.results) {
      const auto same = [wanted = id](const Event& event) { return event.id == wanted; };
      const auto end = history_.begin() + static_cast<ptrdiff_t>(end_);
      const auto found = std::find_if(history_.begin(), end, same);
      const bool activity = found != end && (std::holds_alternative<ActivityScheduled>(found->body) ||
                                             std::holds_alternative<LocalActivityStarted>(found->body));
      if (!activity) {
        return InvalidArgument(fmt::format(
            "a result is given for event {}, but what is kept of {} schedules no activity there", id, Name(run_)));
      }
      if (std::holds_alternative<LocalActivityStarted>(found->body) && !EndsHere(id)) {
        return InvalidArgument(fmt::format(
            "a result is given for event {}, but that local activity of {} was canceled, or ended in a later "
            "LocalActivityStarted, after a timer", id, Name(run_)));
      }
    }
    return {};
  }

  // Whether what is kept has the end of a local activity: another end than a timer would not fit the commands that follow.
  bool EndsHere(EventId local) const {
    for (size_t i = 0; i < end_; ++i) {
      const auto* completed = std::get_if<ActivityCompleted>(&history_[i].body);
      if (completed != nullptr && completed->scheduled == local) return true;
      const auto* failed = std::get_if<ActivityFailed>(&history_[i].body);
      if (failed != nullptr && failed->scheduled == local) return !failed->failure.next_retry_delay;
    }
    return false;
  }

  // The fork is nobody's child, and the first of its chain.
  WorkflowStarted Start() const {
    WorkflowStarted started = std::get<WorkflowStarted>(history_[1].body);
    started.request_id.clear();
    if (options_.input) started.input = *options_.input;
    for (RunOrigin& origin : started.origin) {
      RunOrigin kept;
      kept.retry = std::move(origin.retry);
      kept.attempt = origin.attempt;
      origin = std::move(kept);
    }
    if (options_.keep == 0) RemoveForks(started.headers);
    if (options_.keep > 0) AddFork(started.headers, run_.run_id.str(), history_[end_ - 1].id);
    return started;
  }

  void Take(Event& event) {
    if (const auto* marker = std::get_if<TurnStarted>(&event.body)) {
      now_ = marker->time;
    } else if (std::holds_alternative<WorkflowStarted>(event.body)) {
      event.body = plan_.started;
    } else if (const auto* scheduled = std::get_if<ActivityScheduled>(&event.body)) {
      Schedule(event.id, *scheduled);
    } else if (const auto* completed = std::get_if<ActivityCompleted>(&event.body)) {
      TakeOutcome(event, completed->scheduled, completed->attempt);
    } else if (const auto* failed = std::get_if<ActivityFailed>(&event.body)) {
      TakeOutcome(event, failed->scheduled, failed->attempt);
    } else if (const auto* canceled = std::get_if<ActivityCancelRequested>(&event.body)) {
      // It ran in the other run; here it never has.
      if (activities_.erase(canceled->scheduled) > 0 && canceled->wait) {
        plan_.inbox.push_back({0, "", ActivityFailed{canceled->scheduled, CanceledFailure()}});
      }
    } else if (const auto* timer = std::get_if<TimerStarted>(&event.body)) {
      timers_[event.id] = AddSaturated(now_, timer->duration);
    } else if (const auto* fired = std::get_if<TimerFired>(&event.body)) {
      timers_.erase(fired->timer);
    } else if (const auto* no_timer = std::get_if<TimerCanceled>(&event.body)) {
      timers_.erase(no_timer->timer);
    }
  }

  void Schedule(EventId id, const ActivityScheduled& scheduled) {
    const auto result = options_.results.find(id);
    if (result == options_.results.end()) {
      activities_.emplace(id, ToSchedule(id, scheduled));
    } else {
      plan_.inbox.push_back({0, "", ActivityCompleted{id, result->second}});
    }
  }

  void TakeOutcome(Event& event, EventId scheduled, int32_t attempt) {
    activities_.erase(scheduled);
    const auto is_of = [scheduled](const Message& message) {
      const auto* completed = std::get_if<ActivityCompleted>(&message.body);
      const auto* failed = std::get_if<ActivityFailed>(&message.body);
      return (completed != nullptr && completed->scheduled == scheduled) ||
             (failed != nullptr && failed->scheduled == scheduled);
    };
    std::erase_if(plan_.inbox, is_of);
    const auto result = options_.results.find(scheduled);
    if (result != options_.results.end()) {
      event.body = ActivityCompleted{scheduled, result->second, attempt};
    }
  }

  void TakeSignals() {
    for (size_t i = end_; i < history_.size(); ++i) {
      if (std::holds_alternative<SignalReceived>(history_[i].body)) {
        plan_.inbox.push_back({0, "", history_[i].body});
      }
    }
  }

  const RunKey& run_;
  const History& history_;
  const ForkOptions& options_;
  size_t end_ = 0;
  ForkPlan plan_;
  Time now_{};
  std::map<EventId, NewActivity> activities_;
  std::map<EventId, Time> timers_;
};

}  // namespace detail

MARATHON_INLINE StatusOr<ForkPlan> PlanFork(const RunKey& run, const History& history,
                                            const ForkOptions& options) {
  return detail::ForkPlanner(run, history, options).Plan();
}

MARATHON_INLINE TurnCommit ForkPlan::Turns(const RunKey& fork, const Id& request_id,
                                           CommitId commit_id) const {
  TurnCommit commit;
  commit.run = fork;
  commit.commit_id = commit_id;
  commit.new_version = kept.back().id;
  History events = kept;
  std::get<WorkflowStarted>(events[1].body).request_id = request_id;
  commit.record = EncodeRecord(commit_id, events);
  commit.activities = activities;
  commit.timers = timers;
  commit.pin = pinned.has_value();
  if (commit.pin) commit.build_id = *pinned;
  for (const Event& event : kept) {
    const auto* set = std::get_if<AttributesSet>(&event.body);
    if (set != nullptr) commit.attributes.insert(commit.attributes.end(), set->attributes.begin(), set->attributes.end());
  }
  return commit;
}

}  // namespace marathon::inline MARATHON_ABI
