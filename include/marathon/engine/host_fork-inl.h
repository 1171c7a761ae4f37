// Host: forks, runs that begin with turns of another.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "marathon/engine/fork_plan.h"
#include "marathon/engine/host.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

struct Host::ForkState {
  RunKey run;
  ForkOptions options;
  History history;
  std::optional<std::string> pinned;
  int failures = 0;
  Done<StartReply> done;
};

MARATHON_INLINE void Host::Fork(RunKey run, ForkOptions options, Done<StartReply> done) {
  Status status = CheckText("workflow id", run.workflow_id, limits::kMaxIdBytes);
  for (const auto& [id, result] : options.results) {
    if (status.ok()) status = CheckPayload("result", result);
  }
  if (stopping()) status = FailedPrecondition("the engine has been shut down");
  if (!status.ok()) return done(std::move(status));
  auto state = std::make_shared<ForkState>();
  state->run = std::move(run);
  state->options = std::move(options);
  state->done = std::move(done);
  ReadToFork(std::move(state));
}

// Reads the run's history, page by page.
MARATHON_INLINE void Host::ReadToFork(std::shared_ptr<ForkState> state) {
  ReadRequest read;
  read.run = state->run;
  read.records = true;
  read.after_version = state->history.empty() ? 0 : state->history.back().id;
  store_->Read(std::move(read), [self = Self(), state](StatusOr<RunSnapshot> page) {
    if (!page.ok()) {
      constexpr int kTries = 8;
      if (!IsTransient(page.status()) || ++state->failures >= kTries || self->stopping()) {
        return state->done(page.status());
      }
      return self->AfterBackoff(state->failures, [self, state] { self->ReadToFork(state); });
    }
    state->run = page->row.key;
    state->pinned = page->row.pinned;
    for (const std::string& record : page->records) {
      if (Status s = AppendRecord(record, state->history); !s.ok()) return state->done(std::move(s));
    }
    if (page->more_records) return self->ReadToFork(state);
    self->StartFork(*state);
  });
}

MARATHON_INLINE void Host::StartFork(ForkState& state) {
  // What is sealed for one workflow may not be opened for another.
  if (Status sealed = sealer_->CheckHistory(state.history, state.run.workflow_id); !sealed.ok()) {
    return state.done(std::move(sealed));
  }
  StatusOr<ForkPlan> plan = PlanFork(state.run, state.history, state.options);
  if (!plan.ok()) return state.done(plan.status());
  plan->pinned = std::move(state.pinned);
  StartCall call;
  call.workflow_type = plan->started.workflow_type;
  call.input = plan->started.input;  // to be checked, like any
  call.options.workflow_id = std::move(state.options.workflow_id);
  call.options.request_id = std::move(state.options.request_id);
  call.options.task_queue = plan->started.task_queue;
  call.options.id_reuse = state.options.id_reuse;
  call.options.run_timeout = plan->started.run_timeout;
  if (plan->kept.empty()) call.signals = std::move(plan->inbox);
  call.fork = std::make_shared<const ForkPlan>(*std::move(plan));
  Start(std::move(call), std::move(state.done));
}

}  // namespace marathon::inline MARATHON_ABI
