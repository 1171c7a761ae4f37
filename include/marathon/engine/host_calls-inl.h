// Host: the client's calls to a run that is there, and to an activity. Starts: host_start-inl.h.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "marathon/detail/block_pool.h"
#include "marathon/detail/text.h"
#include "marathon/engine/checks.h"
#include "marathon/engine/host.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI {

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

// ---- Activities that are completed later -----------------------------------------------------------

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
