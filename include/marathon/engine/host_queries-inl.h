// Host: queries.
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
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// A query's replay is no turn, but its code is as little to call the engine.
class InTurn {
 public:
  InTurn() : before_(std::exchange(InTurnOnThisThread(), true)) {}
  InTurn(const InTurn&) = delete;
  InTurn& operator=(const InTurn&) = delete;
  ~InTurn() { InTurnOnThisThread() = before_; }

 private:
  const bool before_;
};

}  // namespace detail

struct Host::QueryState {
  RunKey run;
  std::string name;
  Payload input;
  Time deadline = kNever;  // for messages that wait
  Duration pause{1};       // before the next look
  bool quiet = false;      // nothing waits, or for too long: it is to be read
  Id chain;                // once followed: of the run that was asked for
  Id next;                 // … and the run behind the one that was looked at
  bool by_links = false;
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

// Looks until nothing waits for the run any more, then reads it, page by page.
MARATHON_INLINE void Host::ReadForQuery(std::shared_ptr<QueryState> state) {
  ReadRequest read;
  read.run = state->run;
  read.records = state->quiet;
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
    if (FollowForQuery(*state, row)) return self->runtime().Post(Lane::kTurn, again);
    state->run = row.key;
    state->row = row;
    if (!state->quiet) {
      const bool waits = IsOpen(row) && !detail::Rests(row) && row.inbox_size > 0 &&
                         detail::DelayedUntil(row) <= page->now;
      state->quiet = !waits || page->now >= state->deadline || self->stopping();
      if (state->quiet) return again();
      if (self->Serves(row.workflow_type, row.task_queue) && self->IsOurs(row)) self->turns().Wake(row.key);
      constexpr Duration kLongest{50};
      const Duration pause = std::exchange(state->pause, std::min(2 * state->pause, kLongest));
      self->runtime().SetAlarm(pause, again);
      return;
    }
    for (const std::string& record : page->records) {
      if (Status s = AppendRecord(record, state->history); !s.ok()) return state->done(std::move(s));
    }
    if (page->more_records) return again();
    state->done(self->AskByReplay(*state));
  });
}

// Whether another run of the chain is to be asked: its newest. If the newest run of the workflow id is of another
// chain, the way leads there link by link.
MARATHON_INLINE bool Host::FollowForQuery(QueryState& state, const RunRow& row) {
  const Id& chain = detail::FirstRunId(row);
  if (row.links && !row.links->next_run_id.empty()) {
    state.run.run_id = state.by_links ? row.links->next_run_id : Id();
    state.chain = chain;
    state.next = row.links->next_run_id;
  } else if (!state.chain.empty() && state.chain != chain) {
    state.by_links = true;
    state.run.run_id = state.next;
  } else {
    return false;
  }
  state.history.clear();
  return true;
}

MARATHON_INLINE StatusOr<QueryReply> Host::AskByReplay(const QueryState& query) {
  const RunRow& row = query.row;
  const std::string run = fmt::format("run {} of workflow \"{}\"", row.key.run_id, row.key.workflow_id);
  const detail::WorkflowFactory* factory = registry_->FindWorkflow(row.workflow_type);
  if (factory == nullptr) {
    return FailedPrecondition(fmt::format(
        "a query replays the run, and workflow type \"{}\" is not registered here; this registry has {}",
        row.workflow_type, registry_->WorkflowNames()));
  }
  if (query.history.empty()) {
    return FailedPrecondition(fmt::format(
        "{} has not taken its first turn: is there a worker of task queue \"{}\", or is it delayed?", run,
        row.task_queue));
  }
  if (Status sealed = sealer_->CheckHistory(query.history, row.key.workflow_id); !sealed.ok()) {
    return MakeStatus(sealed.code(), fmt::format("{} cannot be opened: {}", run, MessageOf(sealed)));
  }
  const detail::InTurn in_turn;
  Replayer replayer(RunFacts{row.key, row.workflow_type, row.task_queue}, *factory);
  replayer.QueryAtEnd(query.name, query.input);
  if (auto mismatch = replayer.Replay(query.history)) {
    return FailedPrecondition(
        fmt::format("{} does not match this registry's code: {}", run, mismatch->ToString()));
  }
  StatusOr<Payload> answer = replayer.Query(query.name, query.input);
  if (!answer.ok()) return answer.status();
  return QueryReply{*std::move(answer), replayer.version(), IsOpen(row) && row.inbox_size > 0};
}

}  // namespace marathon::inline MARATHON_ABI
