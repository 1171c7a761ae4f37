// Host: what closes a run from outside, without its code: Terminate, and its run timeout.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "marathon/engine/host.h"
#include "marathon/engine/next_start.h"
#include "marathon/engine/run_messages.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI {

struct Host::CloseState {
  RunKey run;
  EventBody closing;
  RunStatus status;
  CommitId commit_id = 0;
  std::unique_ptr<NextStart> next;  // of the try under way
  Id chain;                         // by its first run; empty: a certain run
  int damage = 0;                   // 1: its inbox cannot be read; 2: its records cannot, either
  int tries = 0;
  DoneStatus done;
};

MARATHON_INLINE void Host::TimeOut(RunKey run, DoneStatus done) {
  CloseFromOutside(std::move(run), WorkflowTimedOut{}, RunStatus::kTimedOut, std::move(done));
}

MARATHON_INLINE void Host::Terminate(RunKey run, std::string reason, DoneStatus done) {
  if (Status status = CheckReason(reason); !status.ok()) return done(std::move(status));
  CloseFromOutside(std::move(run), WorkflowTerminated{std::move(reason)}, RunStatus::kTerminated,
                   std::move(done));
}

MARATHON_INLINE void Host::CloseFromOutside(RunKey run, EventBody closing, RunStatus status,
                                            DoneStatus done) {
  auto state = std::make_shared<CloseState>();
  state->run = std::move(run);
  state->closing = std::move(closing);
  state->status = status;
  state->commit_id = runtime_.Random();
  state->done = std::move(done);
  TryClose(std::move(state));
}

// How a run began: from its first record, or, before its first turn, its inbox. Null: nobody knows.
inline const WorkflowStarted* FindStart(const RunSnapshot& seen, Record& first) {
  if (!seen.records.empty()) {
    auto record = DecodeRecord(seen.records.front());
    if (!record.ok() || record->events.size() < 2) return nullptr;
    first = *std::move(record);
    return std::get_if<WorkflowStarted>(&first.events[1].body);
  }
  return seen.inbox.empty() ? nullptr : std::get_if<WorkflowStarted>(&seen.inbox.front().body);
}

// The commit that closes `seen`: after a turn without code for its unread signals, unless its chain goes on
// and they with it.
MARATHON_INLINE TurnCommit Host::ClosingCommit(const RunSnapshot& seen, CloseState& state) {
  History events{{seen.row.version + 1, state.closing}};
  Record first;
  const WorkflowStarted* started = FindStart(seen, first);
  const bool may_go_on = started != nullptr && state.status == RunStatus::kTimedOut;
  if (may_go_on) {
    const RunLabels labels = seen.row.labels.value_or(RunLabels());
    state.next = FollowEnd(seen.row.key.run_id, *started, labels, events.back());
  }
  if (!state.next) events.clear();
  EventId id = seen.row.version;
  for (const Message& message : seen.inbox) {
    if (state.next || !std::holds_alternative<SignalReceived>(message.body)) continue;
    if (events.empty()) events.push_back({++id, TurnStarted{seen.now, "", kTurnWithoutCode}});
    events.push_back({++id, message.body});
  }
  if (!state.next) events.push_back({++id, state.closing});
  TurnCommit commit;
  commit.run = seen.row.key;
  commit.expected_version = seen.row.version;
  commit.incarnation = seen.incarnation;
  commit.commit_id = state.commit_id;
  commit.new_version = events.back().id;
  commit.record = EncodeRecord(state.commit_id, events);
  commit.close = state.status;
  if (state.next) {
    commit.next = NextRunOf(*state.next);
    return commit;
  }
  // As its row says: its history may be damaged, and its parent is to be told all the same.
  if (seen.row.links && seen.row.links->parent) {
    commit.activities.push_back(detail::NewsForParent(*seen.row.links->parent, commit.new_version, seen.row.task_queue));
  }
  commit.inbox_taken = seen.inbox.empty() ? 0 : seen.inbox.back().seq;
  // Signals beyond one page of the inbox are given up: a flood must not keep its run alive, nor may one that is damaged.
  commit.leave_signals = state.damage > 0 || seen.inbox.size() >= limits::kTurnMaxMessages;
  return commit;
}

// Looks at the run and closes it at the version seen; a run that moved on meanwhile is looked at again.
MARATHON_INLINE void Host::TryClose(std::shared_ptr<CloseState> state) {
  constexpr int kTries = 100;
  ReadRequest read;
  read.run = state->run;
  read.inbox = state->damage < 1;
  read.records = state->damage < 2;  // the first tells of a retry policy
  read.max_record_bytes = 1;
  store_->Read(std::move(read), [self = Self(), state](StatusOr<RunSnapshot> seen) {
    const auto again = [self, state](const Status& status) {
      if (++state->tries >= kTries || self->stopping()) return state->done(status);
      self->AfterBackoff(std::min(state->tries, 4), [self, state] { self->TryClose(state); });
    };
    if (!seen.ok()) {
      if (seen.status().code() == StatusCode::kDataLoss && ++state->damage <= 2) return self->TryClose(state);
      return IsTransient(seen.status()) ? again(seen.status()) : state->done(seen.status());
    }
    state->run = seen->row.key;
    if (seen->row.commit_id == state->commit_id) return state->done(Status());
    const bool other_chain = !state->chain.empty() && detail::FirstRunId(seen->row) != state->chain;
    const bool followed = seen->row.links && !seen->row.links->next_run_id.empty();
    if (followed && !other_chain && state->status == RunStatus::kTerminated) {
      state->chain = detail::FirstRunId(seen->row);  // that is meant: its newest run
      state->run.run_id.clear();
      return self->TryClose(state);
    }
    if (other_chain || !IsOpen(seen->row)) {
      return state->done(FailedPrecondition(fmt::format("run {} of workflow \"{}\" is closed",
                                                        state->run.run_id, state->run.workflow_id)));
    }
    self->store_->Commit(self->ClosingCommit(*seen, *state),
                         [self, state, again](StatusOr<CommitReply> reply) {
                           if (!reply.ok()) return again(reply.status());
                           if (state->next) self->WakeNext(state->run.workflow_id, *state->next);
                           if (self->turns_.IsCached(state->run)) self->turns_.Wake(state->run);
                           state->done(Status());
                         });
  });
}

}  // namespace marathon::inline MARATHON_ABI
