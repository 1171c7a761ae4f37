// Simulation: its operators, who pause, move and retry, and whoever has the token of an activity.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "marathon/testing/simulation-inl.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

MARATHON_INLINE void Simulation::PauseJob(SimJob& job, bool pause) {
  if (!job.run.has_value() || job.end.has_value()) return;
  const auto ask = [this, &job, pause, run = *job.run](Host& host, Answered answered) {
    auto done = [this, &job, pause, answered](const Status& status) {
      if (!answered(status) || status.ok()) return;
      if (pause && HasEnded(job) && status.code() == StatusCode::kFailedPrecondition) return;
      Violation("I12", job, fmt::format("{} got: {}", pause ? "pause" : "resume", MessageOf(status)));
    };
    if (pause) {
      SimUses<"Run.Pause">();
      return host.Pause(run, "the user thinks", std::move(done));
    }
    SimUses<"Run.Resume">();
    const auto resume = [](StateStore& store, const RunKey& key, DoneStatus one) {
      store.Resume(key, std::move(one));
    };
    host.Operate(run, resume, std::move(done));
  };
  Ask((pause ? "pause " : "resume ") + job.id, job, ask);
}

MARATHON_INLINE void Simulation::MoveJob(SimJob& job) {
  if (!job.run.has_value() || job.end.has_value()) return;
  static constexpr std::string_view kBuilds[] = {"", "simulated0", "simulated1"};
  const std::string build(kBuilds[random_.Below(3)]);
  Ask(fmt::format("move {} to \"{}\"", job.id, build), job, [this, &job, build, run = *job.run](
                                                                Host& host, Answered answered) {
    if (build.empty()) {
      SimUses<"Run.Unpin">();
    } else {
      SimUses<"Run.Pin">();
    }
    host.Pin(run, build, [this, &job, answered](const Status& status) {
      if (!answered(status) || status.ok()) return;
      if (HasEnded(job) && status.code() == StatusCode::kFailedPrecondition) return;
      Violation("I14", job, fmt::format("a move got: {}", MessageOf(status)));
    });
  });
}

// Whatever event that is: of an activity that waits for its next attempt, now and then.
MARATHON_INLINE void Simulation::RetryActivity(SimJob& job) {
  if (!job.run.has_value() || job.end.has_value()) return;
  const ActivityKey key{*job.run, random_.Between(3, 30)};
  Ask(fmt::format("retry {} {}", job.id, key.id), job, [this, &job, key](Host& host, Answered answered) {
    const auto retry = [id = key.id](StateStore& store, const RunKey& run, DoneStatus one) {
      store.RetryActivity({run, id}, std::move(one));
    };
    SimUses<"Run.RetryActivity">();
    host.Operate(key.run, retry, [this, &job, answered](const Status& status) {
      if (!answered(status) || status.ok() || status.code() == StatusCode::kNotFound) return;
      Violation("I7", job, fmt::format("a retry got: {}", MessageOf(status)));
    });
  });
}

// Somebody in another process has the token of an activity.
MARATHON_INLINE void Simulation::CompleteLater(const RunKey& run, const std::string& token, const SimWork& work) {
  const auto job = std::find_if(jobs_.begin(), jobs_.end(),
                                [&](const SimJob& one) { return run.workflow_id == one.id; });
  if (job == jobs_.end()) return invariants_.Report("I7", run, "has an activity that completes later, and is nobody's");
  AfterInThisLife(0, 3'000, "user: complete", [this, job = &*job, token, work] { SendOutcome(*job, token, work); });
}

// If the store goes back, there is nobody any more who asks: the activity passes its deadline, and has another token.
MARATHON_INLINE void Simulation::SendOutcome(const SimJob& job, const std::string& token, const SimWork& work) {
  EventBody outcome = ActivityCompleted{0, *Encode(work.Result()), 1};
  if (!work.Succeeds()) outcome = ActivityFailed{0, Failure{.message = "refused elsewhere"}, 1};
  Ask("complete " + token, job, [this, &job, token, outcome](Host& host, Answered answered) {
    if (std::holds_alternative<ActivityCompleted>(outcome)) {
      SimUses<"Engine.CompleteActivity">();
    } else {
      SimUses<"Engine.FailActivity">();
    }
    host.CompleteActivity(token, outcome, [this, &job, answered](const Status& status) {
      if (!answered(status) || status.ok()) return;
      const bool late = status.code() == StatusCode::kNotFound || status.code() == StatusCode::kAborted;
      if (!late) Violation("I7", job, fmt::format("an outcome from elsewhere got: {}", MessageOf(status)));
    });
  }, true);
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
