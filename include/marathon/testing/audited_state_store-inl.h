#pragma once

#include "marathon/testing/audited_state_store.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <variant>

#include "marathon/engine/payload_store.h"
#include "marathon/event_codec.h"
#include "marathon/store/payload_refs.h"
#include "marathon/testing/sim_coverage.h"

namespace marathon::inline MARATHON_ABI::testing {

template <class T>
void AuditedStateStore::Open(const RunKey& run, T& value) {
  if (!sealer_->has_codecs()) return;
  marathon::detail::ForEachPayload(value, [&](Payload& payload) {
    if (payload.data.empty()) return;
    SimUses<"Payload(sealed)">();
    const bool sealed = payload.encoding == Encoding::kSealed;
    const Status opened = sealed ? sealer_->Open(payload, run.workflow_id) : DataLoss("it is not sealed");
    if (!opened.ok()) invariants_.Report("I21", run, fmt::format("a payload is stored, and {}", MessageOf(opened)));
  });
}

MARATHON_INLINE void AuditedStateStore::Open(const RunKey& run, std::vector<Message>& messages) {
  for (Message& message : messages) Open(run, message.body);
}

MARATHON_INLINE void AuditedStateStore::Open(TurnCommit& commit) {
  if (!commit.blobs.empty()) {
    SimUses<"Payload(large)">();
    MovePayloadsBack(commit);
  }
  if (!sealer_->has_codecs()) return;
  if (StatusOr<Record> record = DecodeRecord(commit.record); record.ok()) {
    for (Event& event : record->events) Open(commit.run, event.body);
    commit.record = EncodeRecord(record->commit_id, record->events);
  }
  commit.history_bytes = 0;
  for (NewActivity& activity : commit.activities) Open(commit.run, activity.input);
  for (UpdateAnswer& answer : commit.answers) Open(commit.run, answer.body);
  if (commit.next) Open(commit.run, commit.next->messages);
}

MARATHON_INLINE void AuditedStateStore::OpenSession(SessionRow row,
                                                    std::weak_ptr<StoreWatcher> watcher,
                                                    Done<Time> done) {
  auto heard = [this, id = row.id, lease = row.lease, done = std::move(done)](
                   StatusOr<Time> now) mutable {
    if (now.ok()) invariants_.SessionRenewed(id, *now, lease);
    done(std::move(now));
  };
  base()->OpenSession(std::move(row), std::move(watcher), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::RenewSession(RenewRequest request,
                                                     Done<std::vector<ActivityKey>> done) {
  auto heard = [this, session = request.session, lease = request.lease, done = std::move(done)](
                   StatusOr<std::vector<ActivityKey>> reply) mutable {
    if (reply.ok()) invariants_.SessionRenewed(session, base()->Now(), lease);
    done(std::move(reply));
  };
  base()->RenewSession(std::move(request), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::CloseSession(SessionId session, DoneStatus done) {
  auto heard = [this, session, done = std::move(done)](Status status) mutable {
    if (status.ok()) invariants_.SessionClosed(session);
    done(std::move(status));
  };
  base()->CloseSession(session, std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::ExpireSession(SessionId session, DoneStatus done) {
  auto heard = [this, session, done = std::move(done)](Status status) mutable {
    if (status.ok()) invariants_.SessionExpired(session, base()->Now());
    done(std::move(status));
  };
  base()->ExpireSession(session, std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Start(StartRequest request, Done<StartReply> done) {
  StartRequest copy = request;
  if (copy.first_turn) Open(*copy.first_turn);
  Open(copy.run, copy.messages);
  Open(copy.run, copy.inbox);
  auto heard = [this, copy = std::move(copy), done = std::move(done)](
                   StatusOr<StartReply> reply) mutable {
    if (reply.ok()) invariants_.Started(copy, *reply, base()->Now());
    done(std::move(reply));
  };
  base()->Start(std::move(request), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Put(PutRequest request, Done<PutReply> done) {
  PutRequest copy = request;
  Open(copy.run, copy.message.body);
  auto heard = [this, copy = std::move(copy), done = std::move(done)](
                   StatusOr<PutReply> reply) mutable {
    if (reply.ok()) invariants_.Put(copy, *reply);
    done(std::move(reply));
  };
  base()->Put(std::move(request), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  auto heard = [this, done = std::move(done)](StatusOr<RunSnapshot> taken) mutable {
    if (taken.ok() && sealer_->has_codecs()) {
      RunSnapshot opened = *taken;
      OpenPayloads(*sealer_, opened).IgnoreError();  // of what came sealed, or was reported
      invariants_.Taken(opened);
    } else if (taken.ok()) {
      invariants_.Taken(*taken);
    }
    done(std::move(taken));
  };
  base()->TakeTurn(std::move(request), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  TurnCommit copy = commit;
  Open(copy);
  const RunKey run = commit.run;
  std::vector<UpdateAnswer> answers = commit.answers;
  auto applied = std::make_shared<bool>(false);
  auto heard = [this, copy = std::move(copy), applied, done = std::move(done)](
                   StatusOr<CommitReply> reply) mutable {
    *applied = reply.ok();
    if (reply.ok()) invariants_.Committed(copy, reply->now);
    done(std::move(reply));
  };
  base()->Commit(std::move(commit), std::move(heard));
  if (*applied) CheckTold(run, answers);
}

MARATHON_INLINE void AuditedStateStore::CheckTold(const RunKey& run,
                                                  const std::vector<UpdateAnswer>& answers) {
  for (const UpdateAnswer& answer : answers) {
    const bool completed = !std::holds_alternative<UpdateAccepted>(answer.body);
    for (const auto& [name, request] : awaiting_) {
      const bool stage = completed || request.stage == UpdateStage::kAccepted;
      if (!stage || request.run != run || request.update_id != answer.update_id) continue;
      invariants_.Report("I11", run, fmt::format("who awaits update \"{}\" was not told", answer.update_id));
    }
  }
}

MARATHON_INLINE uint64_t AuditedStateStore::Await(AwaitRequest request, Done<RunSnapshot> done) {
  if (request.update_id.empty()) return base()->Await(std::move(request), std::move(done));
  const uint64_t awaiter = ++last_awaiter_;
  awaiting_.emplace(awaiter, request);
  const uint64_t name = base()->Await(
      std::move(request), [this, awaiter, done = std::move(done)](StatusOr<RunSnapshot> end) mutable {
        awaiting_.erase(awaiter);
        done(std::move(end));
      });
  awaiters_.emplace(name, awaiter);
  return name;
}

MARATHON_INLINE void AuditedStateStore::CancelAwait(uint64_t name) {
  if (const auto found = awaiters_.find(name); found != awaiters_.end()) awaiting_.erase(found->second);
  base()->CancelAwait(name);
}

MARATHON_INLINE void AuditedStateStore::Pause(RunKey run, std::string reason, DoneStatus done) {
  auto heard = [this, run, done = std::move(done)](Status status) mutable {
    if (status.ok()) invariants_.Paused(run, true);
    done(std::move(status));
  };
  base()->Pause(run, std::move(reason), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Resume(RunKey run, DoneStatus done) {
  auto heard = [this, run, done = std::move(done)](Status status) mutable {
    if (status.ok()) invariants_.Paused(run, false);
    done(std::move(status));
  };
  base()->Resume(run, std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Pin(RunKey run, std::string build_id, DoneStatus done) {
  auto heard = [this, run, build_id, done = std::move(done)](Status status) mutable {
    if (status.ok()) invariants_.Pinned(run, build_id);
    done(std::move(status));
  };
  base()->Pin(run, std::move(build_id), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Delete(RunKey run, DoneStatus done) {
  auto heard = [this, run, done = std::move(done)](Status status) mutable {
    if (status.ok()) invariants_.Deleted(run);
    done(std::move(status));
  };
  base()->Delete(run, std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::ClaimActivities(SessionId session,
                                                        std::vector<ClaimRequest> requests,
                                                        Done<std::vector<ActivityRow>> done) {
  auto heard = [this, done = std::move(done)](StatusOr<std::vector<ActivityRow>> rows) mutable {
    if (rows.ok()) invariants_.Claimed(*rows);
    done(std::move(rows));
  };
  base()->ClaimActivities(std::move(session), std::move(requests), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  AttemptEnd copy = end;
  Open(copy.key.run, copy.outcome);
  Open(copy.key.run, copy.failure);
  Open(copy.key.run, copy.heartbeat);
  auto heard = [this, copy = std::move(copy), done = std::move(done)](
                   StatusOr<AttemptReply> reply) mutable {
    if (reply.ok()) invariants_.Ended(copy, *reply);
    done(std::move(reply));
  };
  base()->EndAttempt(std::move(end), std::move(heard));
}

}  // namespace marathon::inline MARATHON_ABI::testing
