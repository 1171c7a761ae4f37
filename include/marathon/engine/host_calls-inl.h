// Host, second half: the client's calls.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/detail/block_pool.h"
#include "marathon/detail/priority.h"
#include "marathon/detail/text.h"
#include "marathon/engine/checks.h"
#include "marathon/engine/host.h"
#include "marathon/engine/run_messages.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI {

// ---- Start -----------------------------------------------------------------------------------------

struct Host::StartState {
  StartCall call;
  RunKey run;
  std::string request_id;
  std::string task_queue;
  std::vector<Message> messages;
  detail::SlotPtr slot;  // has taken the first turn
  int failures = 0;
  Done<StartReply> done;
};

MARATHON_INLINE Status Host::CheckStart(const StartState& state, const StartCall& call) {
  for (const Message& message : call.signals) {
    const auto* signal = std::get_if<SignalReceived>(&message.body);
    if (signal == nullptr) continue;
    if (Status status = CheckSignal(signal->name, signal->input, message.dedupe_key); !status.ok()) return status;
  }
  return FirstError({CheckText("workflow id", state.run.workflow_id, limits::kMaxIdBytes),
                     CheckText("request id", state.request_id, limits::kMaxIdBytes),
                     CheckText("workflow type", call.workflow_type, limits::kMaxNameBytes),
                     CheckTaskQueue(state.task_queue),
                     detail::CheckLabels("memo", call.options.memo),
                     detail::CheckLabels("attribute", call.options.attributes),
                     detail::CheckPriority(call.options.priority),
                     CheckPayload("input", call.input)});
}

MARATHON_INLINE WorkflowStarted Host::StartedOf(StartCall& call, const std::string& task_queue) const {
  if (call.fork) return call.fork->started;
  WorkflowStarted started;
  started.workflow_type = call.workflow_type;
  started.input = std::move(call.input);
  started.task_queue = task_queue;
  started.run_timeout = call.options.run_timeout;
  started.headers = std::move(call.options.headers);
  const StartOptions& options = call.options;
  detail::SetLabels(started.memo, options.memo);
  detail::SetLabels(started.attributes, options.attributes);
  if (options.priority != 0) started.priority = static_cast<uint8_t>(options.priority);
  if (!options.retry && options.start_delay <= Duration(0) && !call.child) return started;
  RunOrigin& origin = started.origin.emplace_back();
  origin.start_delay = std::max(options.start_delay, Duration(0));
  if (options.retry) origin.retry = StoredRetryPolicy(*options.retry);
  if (call.child) {
    origin.parent = call.child->parent;
    if (call.child->retry.maximum_attempts != 1) origin.retry = call.child->retry;
  }
  return started;
}

MARATHON_INLINE void Host::Start(StartCall call, Done<StartReply> done) {
  auto state = std::allocate_shared<StartState>(detail::PoolAllocator<StartState>());
  const StartOptions& options = call.options;
  state->request_id = NewId();
  state->run.run_id = call.child ? call.child->run_id : Id(state->request_id);
  state->run.workflow_id = options.workflow_id.empty() ? state->request_id : options.workflow_id;
  if (!options.request_id.empty()) state->request_id = options.request_id;
  state->task_queue = options.task_queue.empty() ? "default" : options.task_queue;
  Status status = CheckStart(*state, call);
  if (stopping()) status = FailedPrecondition("the engine has been shut down");
  const bool registered = registry_->FindWorkflow(call.workflow_type) != nullptr;
  if (status.ok() && registry_->has_workflows() && !registered && !call.any_type) {
    status = NotFound(fmt::format("workflow type \"{}\" is not registered; this registry has {}",
                                  call.workflow_type, registry_->WorkflowNames()));
  }
  if (!status.ok()) return done(std::move(status));

  WorkflowStarted started = StartedOf(call, state->task_queue);
  started.request_id = state->request_id;
  state->messages.reserve(1 + call.signals.size());
  state->messages.push_back({0, "", std::move(started)});
  for (Message& signal : call.signals) state->messages.push_back(std::move(signal));
  state->call = std::move(call);
  state->done = std::move(done);

  const bool again = state->call.child && state->call.child->again;
  const bool kept = state->call.fork && !state->call.fork->kept.empty();
  const bool at_once = state->call.options.start_delay <= Duration(0) && !again && !kept;
  if (at_once && Serves(state->call.workflow_type, state->task_queue) && !session_.id().empty()) {
    state->slot = turns_.FirstTurn(state->run, state->call.workflow_type, state->task_queue,
                                   state->messages);
  }
  SendStart(std::move(state));
}

MARATHON_INLINE bool Host::Serves(std::string_view workflow_type,
                                  std::string_view task_queue) const {
  return registry_->FindWorkflow(workflow_type) != nullptr &&
         std::ranges::find(options_.task_queues, task_queue) != options_.task_queues.end();
}

MARATHON_INLINE void Host::SendStart(std::shared_ptr<StartState> state) {
  StartRequest request;
  request.run = state->run;
  request.workflow_type = state->call.workflow_type;
  request.task_queue = state->task_queue;
  request.request_id = state->request_id;
  request.reuse = state->call.options.id_reuse;
  request.conflict = state->call.options.id_conflict;
  request.run_timeout = state->call.options.run_timeout;
  request.delay = state->call.options.start_delay;
  request.messages = state->messages;
  const auto& started = std::get<WorkflowStarted>(state->messages.front().body);
  request.labels = {started.memo, started.attributes};
  if (Serves(request.workflow_type, request.task_queue)) request.session = session_.id();
  if (state->slot) request.first_turn = turns_.BuildCommit(*state->slot);
  if (const ForkPlan* fork = state->call.fork.get(); fork != nullptr && !fork->kept.empty()) {
    request.first_turn = fork->Turns(state->run, state->request_id, runtime_.Random());
    request.inbox = fork->inbox;
  }
  store_->Start(std::move(request), [self = Self(), state](StatusOr<StartReply> reply) {
    self->OnStarted(state, std::move(reply));
  });
}

MARATHON_INLINE void Host::OnStarted(std::shared_ptr<StartState> state, StatusOr<StartReply> reply) {
  constexpr int kTries = 8;
  const StatusCode code = reply.status().code();
  const bool transient = code == StatusCode::kUnavailable || code == StatusCode::kUnknown;
  if (transient && ++state->failures < kTries && !stopping()) {
    return AfterBackoff(state->failures, [self = Self(), state] { self->SendStart(state); });
  }
  if (code == StatusCode::kAborted && state->slot) {  // our session has expired: it can claim nothing
    turns_.Discard(std::exchange(state->slot, nullptr));
    session_.Renew();
    return SendStart(std::move(state));
  }
  // The run is ours if its id is, even if the reply to the first try was lost; but a child's id says nothing of who
  // has started it.
  const bool found = reply.ok() && reply->run.run_id == state->run.run_id;
  const bool ours = found && (reply->started || !state->call.child);
  // What an earlier try did, is still to be found out, even if another run answers: the chain has gone on to it, perhaps.
  const bool in_doubt = found || code == StatusCode::kUnknown || state->failures > 0;
  const bool taken_again = state->slot && found;
  if (state->slot && ours) {
    turns_.Applied(std::exchange(state->slot, nullptr), reply->mine ? 1 : 0);
  } else if (state->slot && in_doubt) {
    turns_.Lost(std::exchange(state->slot, nullptr));
  } else if (state->slot) {
    turns_.Discard(std::exchange(state->slot, nullptr));
  }
  if (reply.ok() && reply->mine && !taken_again) {  // not on this thread, which may be the caller's
    runtime_.Post(Lane::kTurn, [self = Self(), run = reply->run] { self->turns_.Wake(run); });
  }
  state->done(std::move(reply));
}

// ---- Messages --------------------------------------------------------------------------------------

struct Host::PutState {
  RunKey run;
  Message message;
  int failures = 0;
  Done<PutReply> done;
};

// For calls that do not ask which run it was.
inline Done<PutReply> OnlyStatus(DoneStatus done) {
  return [done = std::move(done)](const StatusOr<PutReply>& put) mutable { done(put.status()); };
}

MARATHON_INLINE void Host::Signal(RunKey run, std::string name, Payload input, SignalOptions options,
                                  DoneStatus done) {
  if (options.request_id.empty()) options.request_id = NewId();
  if (Status status = CheckSignal(name, input, options.request_id); !status.ok()) return done(std::move(status));
  Message message{0, std::move(options.request_id),
                  SignalReceived{std::move(name), std::move(input), std::move(options.headers)}};
  PutMessage(std::move(run), std::move(message), OnlyStatus(std::move(done)));
}

MARATHON_INLINE Status Host::CheckReason(std::string_view reason) {
  if (detail::IsCleanText(reason) && reason.size() <= limits::kMaxReasonBytes) return {};
  return InvalidArgument(fmt::format("a reason must be UTF-8 without control characters, of at most {} bytes",
                                     limits::kMaxReasonBytes));
}

MARATHON_INLINE void Host::Cancel(RunKey run, std::string reason, DoneStatus done) {
  if (Status status = CheckReason(reason); !status.ok()) return done(std::move(status));
  PutMessage(std::move(run), {0, NewId(), WorkflowCancelRequested{std::move(reason)}},
             OnlyStatus(std::move(done)));
}

MARATHON_INLINE Status Host::CheckUpdate(const std::string& name, const Payload& input,
                                         const UpdateOptions& options) {
  return FirstError({CheckText("update name", name, limits::kMaxNameBytes),
                     CheckText("update id", options.update_id, limits::kMaxIdBytes),
                     CheckPayload("update's input", input)});
}

MARATHON_INLINE Message Host::UpdateMessage(std::string name, Payload input, UpdateOptions options) {
  std::string key = UpdateKey(options.update_id);
  return {0, std::move(key),
          UpdateAccepted{std::move(options.update_id), std::move(name), std::move(input),
                         std::move(options.headers)}};
}

MARATHON_INLINE void Host::Update(RunKey run, std::string name, Payload input, UpdateOptions options,
                                  Done<RunKey> done) {
  if (Status status = CheckUpdate(name, input, options); !status.ok()) return done(std::move(status));
  PutMessage(std::move(run), UpdateMessage(std::move(name), std::move(input), std::move(options)),
             [done = std::move(done)](StatusOr<PutReply> put) mutable {
               if (!put.ok()) return done(put.status());
               done(std::move(put->run));
             });
}

MARATHON_INLINE void Host::PutMessage(RunKey run, Message message, Done<PutReply> done) {
  if (message.dedupe_key.empty()) message.dedupe_key = NewId();
  Status status = CheckText("workflow id", run.workflow_id, limits::kMaxIdBytes);
  if (stopping()) status = FailedPrecondition("the engine has been shut down");
  if (!status.ok()) return done(std::move(status));
  auto state = std::allocate_shared<PutState>(detail::PoolAllocator<PutState>());
  state->run = std::move(run);
  state->message = std::move(message);
  state->done = std::move(done);
  SendPut(std::move(state));
}

// Repeated with the same dedupe key, so that it is delivered once.
MARATHON_INLINE void Host::SendPut(std::shared_ptr<PutState> state) {
  PutRequest request{state->run, state->message, {}};
  if (registry_->has_workflows()) request.session = session_.id();
  store_->Put(std::move(request), [self = Self(), state](StatusOr<PutReply> reply) {
    constexpr int kTries = 8;
    const StatusCode code = reply.status().code();
    const bool transient = code == StatusCode::kUnavailable || code == StatusCode::kUnknown;
    if (transient && ++state->failures < kTries && !self->stopping()) {
      return self->AfterBackoff(state->failures, [self, state] { self->SendPut(state); });
    }
    if (reply.ok() && reply->mine) self->turns_.Wake(reply->run);
    state->done(std::move(reply));
  });
}

// ---- Closing from outside --------------------------------------------------------------------------

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

MARATHON_INLINE NextRun Host::NextRunOf(const NextStart& next) {
  NextRun run;
  run.run_id = next.run_id;
  run.workflow_type = next.started.workflow_type;
  run.task_queue = next.started.task_queue;
  run.run_timeout = next.started.run_timeout;
  run.delay = next.delay;
  run.keeps_pin = next.keeps_pin;
  run.messages.reserve(1 + next.unread.size());
  run.messages.push_back({0, "", next.started});
  for (const EventBody& body : next.unread) run.messages.push_back({0, "", body});
  if (Serves(run.workflow_type, run.task_queue)) run.session = session_.id();
  return run;
}

// On the turn lane: a chain of runs that continue at once must not grow the stack.
MARATHON_INLINE void Host::WakeNext(const Id& workflow_id, const NextStart& next) {
  if (next.delay > Duration(0)) return;
  if (!Serves(next.started.workflow_type, next.started.task_queue)) return;
  runtime_.Post(Lane::kTurn, [self = Self(), run = RunKey{workflow_id, next.run_id}] {
    if (!self->stopping()) self->turns_.Wake(run);
  });
}

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

// ---- Ends ------------------------------------------------------------------------------------------

// `after` may be within a record.
inline StatusOr<RunEnd> EventsAfter(EventId after, const RunSnapshot& told) {
  RunEvents events{.run = told.row.key};
  for (const std::string& bytes : told.records) {
    StatusOr<Record> record = DecodeRecord(bytes);
    if (!record.ok()) return record.status();
    for (Event& event : record->events) {
      if (event.id > after) events.events.push_back(std::move(event));
    }
  }
  events.ended = !IsOpen(told.row) && !told.more_records;
  const auto& links = told.row.links;
  if (events.ended && links && !links->next_run_id.empty()) {
    events.next = RunKey{told.row.key.workflow_id, links->next_run_id};
  }
  return RunEnd{.closing = {}, .events = std::move(events)};
}

MARATHON_INLINE uint64_t Host::Await(AwaitRequest request, Done<RunEnd> done) {
  const std::optional<EventId> after = request.after;
  return store_->Await(std::move(request), [after, done = std::move(done)](StatusOr<RunSnapshot>&& closed) mutable {
    if (!closed.ok()) return done(std::move(closed).status());
    if (after) return done(EventsAfter(*after, *closed));
    if (closed->answer) return done(RunEnd{.closing = {}, .answer = std::move(closed->answer->body)});
    if (closed->records.empty()) return done(DataLoss("a closed run has no history"));
    auto record = DecodeRecord(closed->records.back());
    if (!record.ok()) return done(record.status());
    RunEnd end{std::move(record->events.back().body)};
    if (const std::string_view next = NextRunId(end.closing); !next.empty()) {
      end.next = RunKey{closed->row.key.workflow_id, next};
    }
    done(std::move(end));
  });
}

MARATHON_INLINE void Host::FindChainOf(RunKey first, Status missing, Done<RunEnd> done) {
  ReadRequest request{.run = {first.workflow_id, ""}};
  store_->Read(std::move(request), [first = std::move(first), missing = std::move(missing),
                                    done = std::move(done)](const StatusOr<RunSnapshot>& newest) mutable {
    if (IsTransient(newest.status())) return done(newest.status());  // whoever asked asks again
    const bool goes_on = newest.ok() && newest->row.key != first && detail::FirstRunId(newest->row) == first.run_id;
    if (!goes_on) return done(std::move(missing));
    done(RunEnd{.closing = {}, .next = newest->row.key});
  });
}

MARATHON_INLINE void Host::CompleteActivity(std::string_view token, EventBody outcome,
                                            DoneStatus done) {
  // epoch/activity/run id/workflow id, as Attempt::Detach writes it.
  AttemptEnd end;
  const char* const last = token.data() + token.size();
  const auto epoch = std::from_chars(token.data(), last, end.epoch);
  const auto id = epoch.ptr == last ? epoch : std::from_chars(epoch.ptr + 1, last, end.key.id);
  const std::string_view rest(id.ptr, static_cast<size_t>(last - id.ptr));
  const size_t slash = rest.find('/', 1);
  if (epoch.ec != std::errc() || id.ec != std::errc() || rest.empty() || slash == rest.npos) {
    return done(InvalidArgument("this is not a token that CompleteLater() gave"));
  }
  end.key.run.run_id = rest.substr(1, slash - 1);
  end.key.run.workflow_id = rest.substr(slash + 1);
  end.session = registry_->has_workflows() ? session_.id() : SessionId();
  if (auto* completed = std::get_if<ActivityCompleted>(&outcome)) completed->scheduled = end.key.id;
  if (auto* failed = std::get_if<ActivityFailed>(&outcome)) failed->scheduled = end.key.id;
  if (auto* failed = std::get_if<ActivityFailed>(&outcome)) detail::MakeFit(failed->failure);
  end.outcome = std::move(outcome);
  const RunKey run = end.key.run;
  const auto send = [self = Self(), end = std::move(end)](StateStore& store, const RunKey& key, DoneStatus one) {
    AttemptEnd copy = end;
    store.EndAttempt(std::move(copy), [self, id = ActivityKey{key, end.key.id}, epoch = end.epoch,
                                       one = std::move(one)](StatusOr<AttemptReply> reply) mutable {
      if (reply.ok() && reply->mine) self->turns_.Wake(id.run);
      if (reply.ok()) self->places_.Leave(std::move(reply->place), id, epoch);
      if (reply.ok() && !reply->applied) return one(NotFound("the activity is resolved already"));
      one(reply.status());
    });
  };
  Operate(run, send, std::move(done), /*may_be_gone=*/true);
}

}  // namespace marathon::inline MARATHON_ABI
