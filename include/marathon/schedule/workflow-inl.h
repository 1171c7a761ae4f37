#pragma once

#include "marathon/schedule/workflow.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>

#include "marathon/detail/priority.h"
#include "marathon/detail/text.h"
#include "marathon/errors.h"
#include "marathon/schedule/json.h"
#include "marathon/schedule/plan.h"

namespace marathon::inline MARATHON_ABI::detail {

// Workers that only take turns receive no activities from the queue; they take what a turn of theirs asks for, as
// they commit it. What they could not take then, because their session had rested or the one who had it crashed,
// is asked for anew.
inline constexpr RetryPolicy kScheduleRetry{.maximum_interval = Duration(60'000)};
inline constexpr ActivityOptions kScheduleQuick{.start_to_close_timeout = Duration(60'000),
                                                .schedule_to_start_timeout = Duration(1'000),
                                                .retry = &kScheduleRetry};
// A new attempt each hour: a run of weeks outlives many workers, none of which is to be suspected for it.
inline constexpr ActivityOptions kSchedulePatient{.start_to_close_timeout = Duration(3'600'000),
                                                  .schedule_to_start_timeout = Duration(1'000),
                                                  .retry = &kScheduleRetry};

// The times of `state`'s spec that are due at `now`; a thousand at most, the rest at the next look.
inline ScheduleTimes LookAtClock(const ScheduleState& state, Time now) {
  constexpr size_t kBatch = 1'000;
  constexpr int64_t kCounted = 1'000;
  ScheduleTimes times;
  times.seen_until = state.seen_until;
  const StatusOr<SchedulePlan> plan = SchedulePlan::Make(state.config.spec);
  if (!plan.ok()) {
    times.error = MessageOf(plan.status());
    return times;
  }
  const uint64_t seed = ScheduleSeed(state.id);
  const Time oldest = AddSaturated(now, -state.config.options.catch_up_window);
  for (;;) {
    const Time nominal = plan->NextTime(times.seen_until);
    if (nominal == kNever) return times;
    const Time at = plan->Jittered(nominal, seed);
    if (at > now) {
      times.next = at;
      return times;
    }
    if (at >= oldest) {
      times.due.push_back(nominal);
    } else if (++times.missed == kCounted) {  // a long outage of a frequent schedule: not one by one
      times.seen_until = std::max(nominal, oldest - state.config.spec.jitter);
      continue;
    }
    times.seen_until = nominal;
    if (times.due.size() == kBatch) {
      times.next = now;
      return times;
    }
  }
}

class ScheduleLoop {
 public:
  ScheduleLoop(WorkflowContext& ctx, ScheduleState& state) : ctx_(ctx), state_(state) {}
  ScheduleLoop(const ScheduleLoop&) = delete;
  ScheduleLoop& operator=(const ScheduleLoop&) = delete;

  Workflow<void> Run() {
    const Handle<void> listening = ctx_.Spawn(Listen());
    if (state_.running) following_.emplace(ctx_.Spawn(Follow()));
    for (;;) {
      while (!commands_.empty()) {
        const ScheduleCommand command = std::move(commands_.front());
        commands_.pop_front();
        co_await Obey(command);
      }
      if (ended_) OnEnded();
      co_await TakeTimes();
      while (!state_.running && !state_.buffer.empty()) {
        const ScheduleStart start = std::move(state_.buffer.front());
        state_.buffer.erase(state_.buffer.begin());
        co_await Launch(start, true);
      }
      if (IsToldSomething()) continue;
      if (ctx_.ContinueAsNewSuggested()) co_await ctx_.ContinueAsNew(state_);
      const auto told = [this] { return IsToldSomething(); };
      if (*next_ == kNever) {
        co_await ctx_.WaitUntil(told);
      } else {
        const Duration wait = std::chrono::ceil<Duration>(*next_ - ctx_.Now());
        co_await ctx_.WaitUntil(told, std::max(wait, Duration(0)));
      }
    }
  }

 private:
  ScheduleOptions& options() { return state_.config.options; }
  bool IsToldSomething() const { return !commands_.empty() || ended_.has_value(); }

  // ---- Branches: what comes from outside

  Workflow<void> Listen() {
    for (;;) {
      try {
        ScheduleCommand command = co_await ctx_.Receive<ScheduleCommand>(kScheduleSignal);
        commands_.push_back(std::move(command));
      } catch (const ApplicationError& error) {
        ctx_.Log(LogLevel::kWarning, fmt::format("schedule \"{}\": {}", state_.id, error.what()));
      }
    }
  }

  Workflow<void> Follow() {
    const ScheduleRun run = *state_.running;
    for (;;) {
      const Outcome<ScheduleRun> end = co_await ctx_.TryRun(kScheduleFollow, run, kSchedulePatient);
      if (end.ok()) {
        ended_ = end.value();
        co_return;
      }
      constexpr Duration kPause = std::chrono::minutes(1);
      if (end.failure().timeout != TimeoutKind::kScheduleToStart) co_await ctx_.Sleep(kPause);
    }
  }

  // ---- Time

  Workflow<void> TakeTimes() {
    if (next_ && *next_ > ctx_.Now()) co_return;
    next_ = kNever;
    if (options().paused || options().remaining_actions == 0) co_return;
    const Time now = ctx_.Now();
    const ScheduleTimes times = co_await ctx_.SideEffect([this, now] { return LookAtClock(state_, now); });
    if (!times.error.empty()) {
      Pause(times.error);
      co_return;
    }
    next_ = times.next;
    state_.seen_until = times.seen_until;
    state_.counts.missed += times.missed;
    for (const Time nominal : times.due) {
      ScheduleStart start;
      start.nominal = nominal;
      start.workflow_id = fmt::format("{}/{}", state_.id, ScheduleTimeText(nominal));
      start.request_id = start.workflow_id;
      co_await Admit(start);
    }
  }

  // ---- Starts

  Workflow<void> Admit(const ScheduleStart& start) {
    if (ended_) OnEnded();
    const OverlapPolicy overlap = start.overlap.value_or(options().overlap);
    if (overlap == OverlapPolicy::kAllowAll || (!state_.running && state_.buffer.empty())) {
      co_await Launch(start, overlap != OverlapPolicy::kAllowAll);
      co_return;
    }
    switch (overlap) {
      case OverlapPolicy::kBufferAll:
        if (state_.buffer.size() < limits::kScheduleBuffer) {
          state_.buffer.push_back(start);
        } else {
          ++state_.counts.dropped;
        }
        break;
      case OverlapPolicy::kCancelOther:
      case OverlapPolicy::kTerminateOther:
        state_.counts.overlapped += static_cast<int64_t>(state_.buffer.size());
        state_.buffer.assign(1, start);
        co_await EndRunning(overlap == OverlapPolicy::kTerminateOther);
        break;
      default:
        if (overlap == OverlapPolicy::kBufferOne && state_.buffer.empty()) {
          state_.buffer.push_back(start);
        } else {
          ++state_.counts.overlapped;
        }
    }
  }

  Workflow<void> Launch(const ScheduleStart& start, bool follow) {
    if (!start.manual && (options().paused || options().remaining_actions == 0)) {
      ++state_.counts.dropped;
      co_return;
    }
    if (!start.manual && options().remaining_actions) --*options().remaining_actions;
    ScheduleTarget target;
    target.workflow_id = start.workflow_id;
    target.request_id = start.request_id;
    target.action = state_.config.action;
    ScheduleRun run;
    run.nominal = start.nominal;
    run.workflow_id = start.workflow_id;
    for (;;) {
      const Outcome<std::string> started = co_await ctx_.TryRun(kScheduleStart, target, kScheduleQuick);
      run.started = ctx_.Now();
      if (started.ok()) {
        run.run_id = started.value();
        break;
      }
      if (started.failure().kind != FailureKind::kTimeout) {
        run.state = ScheduleRunState::kNotStarted;
        run.failure = started.failure().message;
        break;
      }
    }
    constexpr size_t kRecent = 10;
    if (state_.recent.size() == kRecent) state_.recent.erase(state_.recent.begin());
    state_.recent.push_back(run);
    if (run.state == ScheduleRunState::kNotStarted) co_return;
    ++state_.counts.started;
    if (!follow) co_return;
    state_.running = run;
    following_.emplace(ctx_.Spawn(Follow()));
  }

  Workflow<void> EndRunning(bool terminate) {
    if (!state_.running || std::exchange(state_.ending, true)) co_return;
    ScheduleEnd end;
    end.workflow_id = state_.running->workflow_id;
    end.run_id = state_.running->run_id;
    end.terminate = terminate;
    const Outcome<void> told = co_await ctx_.TryRun(kScheduleEnd, end, kScheduleQuick);
    state_.ending = told.ok();  // if not, the next time to start tries again
  }

  void OnEnded() {
    const ScheduleRun end = *std::exchange(ended_, std::nullopt);
    for (ScheduleRun& run : state_.recent) {
      if (run.run_id == end.run_id) run = end;
    }
    state_.running.reset();
    state_.ending = false;
    const bool failed = end.state == ScheduleRunState::kFailed || end.state == ScheduleRunState::kTimedOut;
    if (failed && options().pause_on_failure && !options().paused) {
      Pause(fmt::format("\"{}\" failed: {}", end.workflow_id, end.failure));
    }
  }

  // ---- Commands

  Workflow<void> Obey(const ScheduleCommand& command) {
    switch (command.kind) {
      case ScheduleCommandKind::kPause:
        Pause(command.note);
        break;
      case ScheduleCommandKind::kResume:
        if (!options().paused) break;
        options().paused = false;
        options().note = command.note;
        BeginNow();
        break;
      case ScheduleCommandKind::kUpdate:
        if (!command.config) break;
        state_.config = *command.config;
        BeginNow();
        break;
      case ScheduleCommandKind::kTrigger: {
        ScheduleStart start = ManualStart(command, ctx_.Now());
        start.workflow_id = fmt::format("{}/trigger-{}", state_.id, ++state_.triggers);
        co_await Admit(start);
        break;
      }
      case ScheduleCommandKind::kBackfill:
        for (const Time nominal : command.times) {
          ScheduleStart start = ManualStart(command, nominal);
          start.workflow_id = fmt::format("{}/{}", state_.id, ScheduleTimeText(nominal));
          co_await Admit(start);
        }
        break;
    }
  }

  static ScheduleStart ManualStart(const ScheduleCommand& command, Time nominal) {
    ScheduleStart start;
    start.nominal = nominal;
    start.request_id = command.request_id;
    start.manual = true;
    start.overlap = command.overlap;
    return start;
  }

  void Pause(std::string note) {
    options().paused = true;
    options().note = std::move(note);
    next_ = kNever;
  }

  // The times until now were not this spec's, or nobody wanted them.
  void BeginNow() {
    state_.seen_until = ctx_.Now();
    next_.reset();
  }

  WorkflowContext& ctx_;
  ScheduleState& state_;
  std::optional<Time> next_;  // when to look at the clock again; none: now
  std::deque<ScheduleCommand> commands_;
  std::optional<ScheduleRun> ended_;  // the run that was followed
  std::optional<Handle<void>> following_;
};

MARATHON_INLINE Workflow<void> RunSchedule(WorkflowContext& ctx, ScheduleState state,
                                           ScheduleState* seen) {
  if (seen != nullptr) *seen = state;
  ScheduleLoop loop(ctx, seen != nullptr ? *seen : state);
  co_await loop.Run();
}

// ---- For the client

MARATHON_INLINE Status CheckSchedule(std::string_view id, const ScheduleConfig& config) {
  if (id.empty() || id.size() > limits::kMaxScheduleIdBytes || !IsCleanText(id)) {
    return InvalidArgument(
        fmt::format("a schedule's id must have 1 to {} bytes of UTF-8 without control characters",
                    limits::kMaxScheduleIdBytes));
  }
  const std::string& type = config.action.workflow_type;
  if (type.empty() || type.size() > limits::kMaxNameBytes || !IsCleanText(type)) {
    return InvalidArgument(fmt::format("schedule \"{}\": action.workflow_type must have 1 to {} bytes of UTF-8 "
                                       "without control characters",
                                       id, limits::kMaxNameBytes));
  }
  const std::string& queue = config.action.task_queue;
  if (queue.size() > limits::kMaxNameBytes || !IsCleanText(queue) || queue.find(kPinMark) != queue.npos) {
    return InvalidArgument(fmt::format("schedule \"{}\": action.task_queue must be UTF-8 of at most {} bytes, without "
                                       "control characters and {}",
                                       id, limits::kMaxNameBytes, kPinMark));
  }
  for (const auto& [what, labels] : {std::pair("memo", &config.action.memo),
                                     std::pair("attribute", &config.action.attributes)}) {
    if (Status s = CheckLabels(what, *labels); !s.ok()) return s;
  }
  if (Status s = detail::CheckPriority(config.action.priority); !s.ok()) return s;
  if (config.options.catch_up_window < limits::kCatchUpMin) {
    return InvalidArgument(
        fmt::format("schedule \"{}\": options.catch_up_window is {} ms; it is at least {} ms, so that a "
                    "worker's restart is not an outage",
                    id, config.options.catch_up_window.count(), limits::kCatchUpMin.count()));
  }
  if (config.options.remaining_actions && *config.options.remaining_actions < 0) {
    return InvalidArgument(fmt::format("schedule \"{}\": options.remaining_actions is negative", id));
  }
  const StatusOr<SchedulePlan> plan = SchedulePlan::Make(config.spec);
  if (plan.ok()) return {};
  return InvalidArgument(fmt::format("schedule \"{}\": {}", id, MessageOf(plan.status())));
}

MARATHON_INLINE std::string ScheduleWorkflowId(std::string_view schedule_id) {
  return fmt::format("{}/{}", kScheduleWorkflow, schedule_id);
}

MARATHON_INLINE StatusOr<Payload> EncodeSchedule(const ScheduleState& state) { return Encode(state); }
MARATHON_INLINE StatusOr<Payload> EncodeSchedule(const ScheduleCommand& command) {
  return Encode(command);
}

MARATHON_INLINE ScheduleDescription DescribeSchedule(const ScheduleState& state, Time now) {
  constexpr size_t kNext = 10;
  ScheduleDescription description;
  description.id = state.id;
  description.config = state.config;
  description.running = state.running;
  description.buffered = static_cast<int64_t>(state.buffer.size());
  description.recent = state.recent;
  description.counts = state.counts;
  const StatusOr<SchedulePlan> plan = SchedulePlan::Make(state.config.spec);
  const ScheduleOptions& options = state.config.options;
  if (!plan.ok() || options.paused || options.remaining_actions == 0) return description;
  for (Time next = plan->NextTime(std::max(now, state.seen_until));
       next != kNever && description.next_times.size() < kNext; next = plan->NextTime(next)) {
    description.next_times.push_back(next);
  }
  return description;
}

}  // namespace marathon::inline MARATHON_ABI::detail
