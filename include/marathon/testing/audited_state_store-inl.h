#pragma once

#include "marathon/testing/audited_state_store.h"

namespace marathon::inline MARATHON_ABI::testing {

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
  auto heard = [this, copy = std::move(copy), done = std::move(done)](
                   StatusOr<CommitReply> reply) mutable {
    if (reply.ok()) invariants_.Committed(copy, reply->now);
    done(std::move(reply));
  };
  base()->Commit(std::move(commit), std::move(heard));
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
