// Host, third part: queries.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "marathon/engine/host.h"
#include "marathon/engine/replayer.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

struct Host::QueryState {
  RunKey run;
  std::string name;
  Payload input;
  Time deadline = kNever;  // for messages that wait
  Duration pause{1};       // before the next look
  int failures = 0;
  RunRow row;
  History history;
  Done<QueryReply> done;
};

MARATHON_INLINE void Host::Query(RunKey run, std::string name, Payload input, Duration patience,
                                 Done<QueryReply> done) {
  Status status = FirstError({CheckText("workflow id", run.workflow_id, limits::kMaxIdBytes),
                              CheckText("query name", name, limits::kMaxNameBytes),
                              CheckPayload("query's input", input)});
  if (stopping()) status = FailedPrecondition("the engine has been shut down");
  if (!status.ok()) return done(std::move(status));
  auto state = std::make_shared<QueryState>();
  state->run = std::move(run);
  state->name = std::move(name);
  state->input = std::move(input);
  state->deadline = AddSaturated(store_->Now(), patience);
  state->done = std::move(done);
  ReadForQuery(std::move(state));
}

// Reads the run, page by page, once nothing waits for it any more.
MARATHON_INLINE void Host::ReadForQuery(std::shared_ptr<QueryState> state) {
  ReadRequest read;
  read.run = state->run;
  read.records = true;
  read.after_version = state->history.empty() ? 0 : state->history.back().id;
  store_->Read(std::move(read), [self = Self(), state](StatusOr<RunSnapshot> page) {
    const auto again = [self, state] { self->ReadForQuery(state); };
    if (!page.ok()) {
      constexpr int kTries = 8;
      if (!IsTransient(page.status()) || ++state->failures >= kTries || self->stopping()) {
        return state->done(page.status());
      }
      return self->AfterBackoff(state->failures, again);
    }
    const RunRow& row = page->row;
    state->run = row.key;
    if (row.links && !row.links->next_run_id.empty()) {  // that one goes on
      state->run.run_id = row.links->next_run_id;
      state->history.clear();
      return again();
    }
    const bool waits = IsOpen(row) && !row.blocked && row.inbox_size > 0;
    if (state->history.empty() && waits && page->now < state->deadline && !self->stopping()) {
      if (self->registry().FindWorkflow(row.workflow_type) != nullptr) self->turns().Wake(row.key);
      constexpr Duration kLongest{50};
      const Duration pause = std::exchange(state->pause, std::min(2 * state->pause, kLongest));
      self->runtime().SetAlarm(pause, again);
      return;
    }
    for (const std::string& record : page->records) {
      if (Status s = AppendRecord(record, state->history); !s.ok()) return state->done(std::move(s));
    }
    state->row = row;
    page->more_records ? again() : self->AnswerQuery(state);
  });
}

MARATHON_INLINE void Host::AnswerQuery(const std::shared_ptr<QueryState>& state) {
  const RunRow& row = state->row;
  const std::string run = fmt::format("run {} of workflow \"{}\"", row.key.run_id, row.key.workflow_id);
  const detail::WorkflowFactory* factory = registry_->FindWorkflow(row.workflow_type);
  if (factory == nullptr) {
    return state->done(FailedPrecondition(fmt::format(
        "a query replays the run, and workflow type \"{}\" is not registered here; this registry has {}",
        row.workflow_type, registry_->WorkflowNames())));
  }
  if (state->history.empty()) {
    return state->done(FailedPrecondition(fmt::format(
        "{} has not taken its first turn: is there a worker of task queue \"{}\"?", run, row.task_queue)));
  }
  Replayer replayer(RunFacts{row.key, row.workflow_type, row.task_queue}, *factory);
  replayer.QueryAtEnd(state->name, state->input);
  if (auto mismatch = replayer.Replay(state->history)) {
    return state->done(FailedPrecondition(
        fmt::format("{} does not match this registry's code: {}", run, mismatch->ToString())));
  }
  StatusOr<Payload> answer = replayer.Query(state->name, state->input);
  if (!answer.ok()) return state->done(answer.status());
  const bool stale = IsOpen(row) && row.inbox_size > 0;
  state->done(QueryReply{*std::move(answer), replayer.version(), stale});
}

}  // namespace marathon::inline MARATHON_ABI
