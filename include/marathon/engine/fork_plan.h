// ForkPlan: what a fork's start writes: the turns that are kept, and what is pending after them.
//
// A value; no thread rule.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/fork.h"
#include "marathon/ids.h"
#include "marathon/state_store.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

struct ForkPlan {
  WorkflowStarted started;  // with no request id
  History kept;             // from the first event on; empty: there is nothing to keep
  // What the kept turns have begun, and not ended.
  std::vector<NewActivity> activities;
  std::vector<NewTimer> timers;
  std::vector<Message> inbox;  // behind them: outcomes that are known, and signals
  std::optional<std::string> pinned;  // as the run was whose turns they are

  // The commit of the kept turns, if there are any.
  TurnCommit Turns(const RunKey& fork, const Id& request_id, CommitId commit_id) const;
};

// kInvalidArgument: `options` name what `history`, of `run`, does not have; kResourceExhausted: over
// limits::kForkMaxBytes are to be kept.
StatusOr<ForkPlan> PlanFork(const RunKey& run, const History& history, const ForkOptions& options);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/fork_plan-inl.h"
#endif
