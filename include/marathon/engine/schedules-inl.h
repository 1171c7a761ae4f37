#pragma once

#include "marathon/engine/schedules.h"

#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>
#include <variant>

#include "marathon/engine/host.h"
#include "marathon/engine/replayer.h"
#include "marathon/schedule/json.h"

namespace marathon::inline MARATHON_ABI::detail {

// What the store or the host said to an activity. Final: what the same call would be told again.
inline Failure ScheduleFailure(const Status& status) {
  Failure failure = FailureOfStatus(status);
  failure.non_retryable = status.code() == StatusCode::kInvalidArgument ||
                          status.code() == StatusCode::kAlreadyExists ||
                          status.code() == StatusCode::kNotFound;
  return failure;
}

inline void StartTarget(Host& host, const ScheduleTarget& target,
                        ActivityCompletion<std::string> done) {
  StartCall call;
  call.workflow_type = target.action.workflow_type;
  call.input = target.action.input;
  call.options.workflow_id = target.workflow_id;
  call.options.request_id = target.request_id;
  call.options.task_queue = target.action.task_queue;
  call.options.run_timeout = target.action.run_timeout;
  call.options.memo = target.action.memo;
  call.options.attributes = target.action.attributes;
  call.options.priority = target.action.priority;
  call.any_type = true;
  host.Start(std::move(call), [done = std::move(done)](const StatusOr<StartReply>& started) mutable {
    if (!started.ok()) return done.Fail(ScheduleFailure(started.status()));
    done.Complete(started->run.run_id.str());
  });
}

inline void EndTarget(Host& host, const ScheduleEnd& end, ActivityCompletion<void> done) {
  const RunKey run{end.workflow_id, end.run_id};
  auto told = [done = std::move(done)](const Status& status) mutable {
    const bool is_over = status.code() == StatusCode::kFailedPrecondition ||
                         status.code() == StatusCode::kNotFound;
    if (!status.ok() && !is_over) return done.Fail(ScheduleFailure(status));
    done.Complete();
  };
  constexpr const char* kReason = "the next run of its schedule is due";
  end.terminate ? host.Terminate(run, kReason, std::move(told))
                : host.Cancel(run, kReason, std::move(told));
}

// One wait for a run's end: it ends by itself, or because its activity is to stop.
class ScheduleFollower : public std::enable_shared_from_this<ScheduleFollower> {
 public:
  ScheduleFollower(std::shared_ptr<Host> host, ScheduleRun run, ActivityCompletion<ScheduleRun> done)
      : host_(std::move(host)), run_(std::move(run)), done_(std::move(done)) {}

  void Begin(const std::stop_token& stop) {
    Ask({run_.workflow_id, run_.run_id});
    on_stop_.emplace(stop, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      const uint64_t asked = self->Finish([](ActivityCompletion<ScheduleRun>& done) {
        done.Fail(Failure{.message = "told to stop"});
      });
      self->host_->CancelAwait(asked);
    });
  }

 private:
  void Ask(RunKey run) {
    int ask;
    {
      std::lock_guard lock(mutex_);
      ask = ++asks_;
    }
    const uint64_t name = host_->AwaitEnd(run, [self = shared_from_this(), run](StatusOr<RunEnd> end) {
      if (end.status().code() != StatusCode::kNotFound) return self->Follow(std::move(end));
      self->host_->FindChainOf(run, std::move(end).status(),
                               [self](StatusOr<RunEnd> chain) { self->Follow(std::move(chain)); });
    });
    bool is_over;
    {
      std::lock_guard lock(mutex_);
      if (ask == asks_) name_ = name;
      is_over = !done_;
    }
    if (is_over) host_->CancelAwait(name);
  }

  void Follow(StatusOr<RunEnd> end) {
    if (!end.ok() || !end->next) return OnEnd(end);
    // Its chain goes on. Posted, for it may be a long one.
    host_->runtime().Post(Lane::kTurn, [self = shared_from_this(), next = *std::move(end->next)] { self->Ask(next); });
  }

  void OnEnd(const StatusOr<RunEnd>& end) {
    const bool is_gone = end.status().code() == StatusCode::kNotFound;
    Finish([&](ActivityCompletion<ScheduleRun>& done) {
      if (!end.ok() && !is_gone) return done.Fail(ScheduleFailure(end.status()));
      if (is_gone) {
        run_.state = ScheduleRunState::kTerminated;
        run_.failure = "the run is no longer in the store";
      } else {
        std::visit([this](const auto& closing) { Note(closing); }, end->closing);
      }
      done.Complete(run_);
    });
  }

  void Note(const WorkflowCompleted&) { run_.state = ScheduleRunState::kCompleted; }
  void Note(const WorkflowFailed& failed) {
    run_.state = ScheduleRunState::kFailed;
    run_.failure = ReadableText(ToString(failed.failure), limits::kMaxReasonBytes);  // the schedule keeps ten
  }
  void Note(const WorkflowCanceled& canceled) {
    run_.state = ScheduleRunState::kCanceled;
    run_.failure = canceled.reason;
  }
  void Note(const WorkflowTerminated& terminated) {
    run_.state = ScheduleRunState::kTerminated;
    run_.failure = terminated.reason;
  }
  void Note(const WorkflowTimedOut&) {
    run_.state = ScheduleRunState::kTimedOut;
    run_.failure = "its run timeout passed";
  }
  template <class Other>
  void Note(const Other&) {}

  // Calls `how`, if nobody else has finished; gives the name of what was asked last.
  template <class How>
  uint64_t Finish(How&& how) {
    std::optional<ActivityCompletion<ScheduleRun>> done;
    uint64_t name;
    {
      std::lock_guard lock(mutex_);
      name = name_;
      if (!done_) return name;
      done.emplace(*std::move(done_));
      done_.reset();
    }
    how(*done);
    return name;
  }

  const std::shared_ptr<Host> host_;
  ScheduleRun run_;  // changed by whoever finishes
  std::mutex mutex_;
  std::optional<ActivityCompletion<ScheduleRun>> done_;
  int asks_ = 0;
  uint64_t name_ = 0;  // of the last
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
};

MARATHON_INLINE void AddSchedules(Registry& registry, const std::weak_ptr<Host>& host) {
  if (registry.has_workflows()) {
    registry.AddBuiltIn(kScheduleWorkflow,
                    MakeWorkflow<void(ScheduleState)>([](WorkflowContext& ctx, ScheduleState state) {
                      return RunSchedule(ctx, std::move(state));
                    }));
  }
  // A running activity holds its host.
  registry.AddBuiltIn(kScheduleStart.name,
                  MakeActivity<std::string(ScheduleTarget)>(
                      [host](ActivityContext&, const ScheduleTarget& target,
                             ActivityCompletion<std::string> done) {
                        StartTarget(*host.lock(), target, std::move(done));
                      }));
  registry.AddBuiltIn(kScheduleEnd.name,
                  MakeActivity<void(ScheduleEnd)>([host](ActivityContext&, const ScheduleEnd& end,
                                                         ActivityCompletion<void> done) {
                    EndTarget(*host.lock(), end, std::move(done));
                  }));
  registry.AddBuiltIn(
      kScheduleFollow.name,
      MakeActivity<ScheduleRun(ScheduleRun)>([host](ActivityContext& ctx, const ScheduleRun& run,
                                                    ActivityCompletion<ScheduleRun> done) {
        const std::stop_token stop = ctx.stop_token();
        std::make_shared<ScheduleFollower>(host.lock(), run, std::move(done))->Begin(stop);
      }));
}

MARATHON_INLINE StatusOr<ScheduleState> ReplaySchedule(const RunKey& run, const History& history) {
  ScheduleState state;
  const WorkflowFactory factory = MakeWorkflow<void(ScheduleState)>(
      [&state](WorkflowContext& ctx, ScheduleState input) {
        return RunSchedule(ctx, std::move(input), &state);
      });
  Replayer replayer({run, std::string(kScheduleWorkflow), ""}, factory);
  if (const auto mismatch = replayer.Replay(history)) {
    return FailedPrecondition("another version of Marathon runs this schedule: " + mismatch->ToString());
  }
  return state;
}

}  // namespace marathon::inline MARATHON_ABI::detail
