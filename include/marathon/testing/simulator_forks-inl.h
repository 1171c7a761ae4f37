// Simulation: forks of jobs, which must come to what the job must come to.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "marathon/detail/forks.h"
#include "marathon/testing/simulation-inl.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

// Children would meet those of the other run, which have the same workflow ids; and what was canceled stays canceled.
MARATHON_INLINE bool Simulation::MayFork(const SimJob& job) const {
  return rewinding_ == nullptr && !job.cancel && !job.terminate && job.run_timeout == Duration(0) &&
         !job.program.HasChildren();
}

// Whatever event that is: if it is in the turn that ended the run, there is no fork.
MARATHON_INLINE void Simulation::ForkJob(SimJob& job) {
  if (!job.run.has_value()) return;
  SimJob& fork = jobs_.emplace_back();
  fork.id = ForkId(job);
  fork.is_fork = true;
  fork.program = job.program;
  fork.signals = fork.program.Receives();
  fork.updates = job.updates;
  fork.begun = true;
  const EventId keep = random_.Between(0, invariants_.Find(*job.run)->version);
  Ask(fmt::format("fork {} at event {}", job.id, keep), fork,
      [this, &fork, run = *job.run, keep](Host& host, Answered answered) {
        ForkOptions options;
        options.keep = keep;
        options.workflow_id = fork.id;
        options.request_id = fork.id + "/start";
        SimUses<"Run.Fork">();
        host.Fork(run, std::move(options), [this, &fork, answered](const StatusOr<StartReply>& forked) {
          if (answered(forked.status())) OnForked(fork, forked);
        });
      });
}

MARATHON_INLINE void Simulation::OnForked(SimJob& fork, const StatusOr<StartReply>& forked) {
  const StatusCode code = forked.status().code();
  if (code == StatusCode::kInvalidArgument || code == StatusCode::kFailedPrecondition) {
    fork.none = true;  // nothing could be kept, or nothing had begun
    return;
  }
  if (forked.ok()) {
    const Invariants::Run* run = invariants_.Find(forked->run);
    if (run == nullptr) return Violation("I3", fork, "a fork was acknowledged and is not there");
    // Who asks twice may be told when it has received more, and has gone on in another run.
    const Invariants::Run* first = invariants_.Find(run->chain);
    if (fork.sent == 0) fork.sent = static_cast<int64_t>(first->kept_signals);
    PlanInterruptions(fork, 30'000);
  }
  OnStarted(fork, forked.ok() ? StatusOr<RunKey>(forked->run) : forked.status());
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
