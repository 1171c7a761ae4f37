#pragma once

#include "marathon/testing/audited_state_store.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <variant>

#include "marathon/engine/payload_store.h"
#include "marathon/testing/sim_coverage.h"

namespace marathon::inline MARATHON_ABI::testing {

// Invariants speak of payloads, and not of where they are kept.
inline void MakeWhole(TurnCommit& commit) {
  if (commit.blobs.empty()) return;
  SimUses<"Payload(large)">();
  MovePayloadsBack(commit);
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
  if (copy.first_turn) MakeWhole(*copy.first_turn);
  auto heard = [this, copy = std::move(copy), done = std::move(done)](
                   StatusOr<StartReply> reply) mutable {
    if (reply.ok()) invariants_.Started(copy, *reply, base()->Now());
    done(std::move(reply));
  };
  base()->Start(std::move(request), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Put(PutRequest request, Done<PutReply> done) {
  PutRequest copy = request;
  auto heard = [this, copy = std::move(copy), done = std::move(done)](
                   StatusOr<PutReply> reply) mutable {
    if (reply.ok()) invariants_.Put(copy, *reply);
    done(std::move(reply));
  };
  base()->Put(std::move(request), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  auto heard = [this, done = std::move(done)](StatusOr<RunSnapshot> taken) mutable {
    if (taken.ok()) invariants_.Taken(*taken);
    done(std::move(taken));
  };
  base()->TakeTurn(std::move(request), std::move(heard));
}

MARATHON_INLINE void AuditedStateStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  TurnCommit copy = commit;
  MakeWhole(copy);
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
  auto heard = [this, copy = std::move(copy), done = std::move(done)](
                   StatusOr<AttemptReply> reply) mutable {
    if (reply.ok()) invariants_.Ended(copy, *reply);
    done(std::move(reply));
  };
  base()->EndAttempt(std::move(end), std::move(heard));
}

}  // namespace marathon::inline MARATHON_ABI::testing
