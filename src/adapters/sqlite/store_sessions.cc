// SqliteStore: sessions with their file locks, the queue, and what other processes write.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "operation.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// Hints made by one look at what other processes left; more come with the next.
constexpr int kHintsAtOnce = 256;

// The same of a queue whose hints wait here already, for those that are to go before them.
constexpr int kOvertakingAtOnce = 16;

// The locks of other processes are tried at every so many looks.
constexpr int64_t kLooksPerLockTrial = 10;

}  // namespace

// ---- Sessions

std::string SqliteStore::LockName(const SessionId& session) const {
  return fmt::format("{}-{}", ns_, session);
}

void SqliteStore::OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher,
                              Done<Time> done) {
  if (Status status = CheckProcess(); !status.ok()) return done(std::move(status));
  row.host.clear();
  if (auto lock = SessionLock::Take(path_, LockName(row.id)); lock.ok()) {
    row.host = HostName();
    std::lock_guard guard(mutex_);
    locks_.emplace(row.id, *std::move(lock));
  } else if (lock.status().code() == StatusCode::kAlreadyExists) {
    return done(lock.status());
  }  // else this file system has no such locks, and the lease alone decides
  const SessionId id = row.id;
  Enqueue<StatusOr<Time>>(
      Access::kWrite,
      [this, row = std::move(row)](Transaction& tx) {
        ExpireDeadSessions(tx);
        const SessionRow* before = tx.tables.FindSession(row.id);
        if (before != nullptr && !before->host.empty() && !row.host.empty()) {
          Expire(tx, row.id);  // its lock was free to be taken
        }
        return tx.sessions().Open(SessionRow(row));
      },
      [this, id, watcher = std::move(watcher), done = std::move(done)](StatusOr<Time> now) mutable {
        if (now.ok()) {
          hub_.AddWatcher(id, std::move(watcher));
          KeepLooking();
        } else {
          ForgetSession(id);
        }
        done(std::move(now));
      });
}

void SqliteStore::RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) {
  Enqueue<StatusOr<std::vector<ActivityKey>>>(
      Access::kWrite, [request](Transaction& tx) { return tx.sessions().Renew(request); },
      [this, session = request.session, done = std::move(done)](StatusOr<std::vector<ActivityKey>> reply) mutable {
        if (reply.status().code() == StatusCode::kFailedPrecondition) ForgetSession(session);
        done(std::move(reply));
      });
}

void SqliteStore::CloseSession(SessionId session, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [session](Transaction& tx) {
        Status status = tx.sessions().Close(session);
        if (status.ok()) tx.protocol().ReleaseHeld(session, /*died=*/false);
        return status;
      },
      [this, session, done = std::move(done)](Status status) mutable {
        if (status.ok()) ForgetSession(session);
        done(std::move(status));
      });
}

void SqliteStore::ExpireSession(SessionId session, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [session](Transaction& tx) {
        Status status = tx.sessions().Expire(session);
        if (status.ok()) tx.protocol().ReleaseHeld(session, /*died=*/true);
        return status;
      },
      [this, session, done = std::move(done)](Status status) mutable {
        if (status.ok()) ForgetSession(session);
        done(std::move(status));
      });
}

// It has ended, or never began.
void SqliteStore::ForgetSession(const SessionId& session) {
  hub_.RemoveWatcher(session);
  std::lock_guard lock(mutex_);
  locks_.erase(session);
}

bool SqliteStore::IsDead(const SessionRow& session) {
  if (session.host.empty()) return false;
  {
    std::lock_guard lock(mutex_);
    if (locks_.contains(session.id)) return false;
  }
  return SessionLockIsFree(path_, LockName(session.id));
}

void SqliteStore::ExpireDeadSessions(Transaction& tx) {
  others_ = tx.tables.Sessions();
  std::erase_if(others_, [&](const SessionRow& session) {
    if (!IsDead(session)) return false;
    Expire(tx, session.id);
    return true;
  });
}

// Ends a session that is known to be dead.
void SqliteStore::Expire(Transaction& tx, const SessionId& session) {
  if (tx.sessions().Expire(session, /*force=*/true).ok()) {
    tx.protocol().ReleaseHeld(session, /*died=*/true);
  }
}

// ---- TaskQueue

void SqliteStore::Send(std::vector<TaskHint> hints, DoneStatus done) {
  Effects effects;
  effects.hints = std::move(hints);
  hub_.Publish(std::move(effects));
  done(Status());
}

void SqliteStore::Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) {
  if (Status status = CheckProcess(); !status.ok()) return done(std::move(status));
  hub_.Receive(std::move(request), std::move(done));
  KeepLooking();
}

// A delivered hint is off the queue at once: the store publishes again what nobody claims.
void SqliteStore::Ack(std::vector<std::string>, DoneStatus done) { done(Status()); }

void SqliteStore::Nack(std::vector<Delivery> deliveries, DoneStatus done) {
  hub_.Nack(std::move(deliveries));
  done(Status());
}

void SqliteStore::StopReceiving(const SessionId& session) { hub_.StopReceiving(session); }

// ---- Other processes

void SqliteStore::KeepLooking() {
  if (options_.poll_interval == Duration(0)) return Look();
  std::lock_guard lock(mutex_);
  if (std::exchange(alarm_set_, true)) return;
  alarm_ = runtime_.SetAlarm(options_.poll_interval, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      std::lock_guard guard(self->mutex_);
      self->alarm_set_ = false;
    }
    self->Look();
  });
}

void SqliteStore::Look() {
  look_.store(true);
  commits_->Wake();
  if (options_.poll_interval == Duration(0)) return;
  bool keep = hub_.IsAwaited() || !readers_.empty();
  if (!keep) {
    std::lock_guard lock(mutex_);
    keep = !locks_.empty();
  }
  if (keep) KeepLooking();
}

void SqliteStore::OnIdle() {
  checkpointer_->OnIdle();
  if (!look_.exchange(false)) return;
  const bool changed = tables_->LooksChanged() || tables_->foreign_writes() != scanned_.writes;
  static_cast<void>(connection_->TakeError());  // the next transaction will tell
  if (changed || HasUnscannedQueue()) {
    Enqueue<StatusOr<Scan>>(
        Access::kRead, [this](Transaction& tx) { return ScanForeignWork(tx); },
        [this, changed](const StatusOr<Scan>& scan) {
          // Behind the scan: what is written from now on, the next look finds.
          if (changed) {
            for (const auto& reader : readers_.All()) LookForFrames(reader);
          }
          if (scan.ok()) {
            scanned_ = *scan;
          } else {  // the next look tries again
            scanned_.writes = -1;
            queue_scans_.clear();
          }
        });
  }
  if (++looks_ % kLooksPerLockTrial != 0) return;
  if (std::none_of(others_.begin(), others_.end(), [&](const auto& one) { return IsDead(one); })) {
    return;
  }
  Enqueue<Status>(
      Access::kWrite,
      [this](Transaction& tx) {
        ExpireDeadSessions(tx);
        return Status();
      },
      [](const Status&) {});
}

bool SqliteStore::HasUnscannedQueue() {
  for (const auto& queue : hub_.AwaitedQueues()) {
    const auto found = queue_scans_.find(queue);
    if (found == queue_scans_.end() || found->second.unfinished ||
        found->second.writes != tables_->foreign_writes()) {
      return true;
    }
  }
  return std::ranges::any_of(hub_.WaitingActivityQueues(), [this](const std::string& name) {
    const auto found = queue_scans_.find({TaskKind::kActivity, name});
    return found == queue_scans_.end() || found->second.writes != tables_->foreign_writes();
  });
}

StatusOr<SqliteStore::Scan> SqliteStore::ScanForeignWork(Transaction& tx) {
  const Scan scan{tx.tables.foreign_writes(), tx.tables.LastLogRow(), tx.tables.RunsErased()};
  const auto awaited = hub_.AwaitedQueues();
  for (const auto& queue : awaited) {
    QueueScan& state = queue_scans_[queue];
    if (state.unfinished || state.writes != scan.writes) ScanQueue(tx, queue, kHintsAtOnce, state);
  }
  for (const std::string& name : hub_.WaitingActivityQueues()) {
    const std::pair queue(TaskKind::kActivity, name);
    QueueScan& state = queue_scans_[queue];
    if (!awaited.contains(queue) && state.writes != scan.writes) ScanQueue(tx, queue, kOvertakingAtOnce, state);
  }
  if (scan.writes == scanned_.writes) return scan;
  tx.effects.closed = tx.tables.RunsClosedSince(scanned_.log);
  // Perhaps: a rejection is not in the log, nor is a run that has been erased since it was closed.
  tx.effects.answered =
      scan.erased == scanned_.erased ? hub_.RunsAwaitedOpen() : hub_.AwaitedRuns();
  tx.effects.NoteDue(tx.tables.EarliestDue());
  tx.effects.NoteDue(tx.tables.EarliestDueSession());
  others_ = tx.tables.Sessions();
  return scan;
}

bool SqliteStore::IsOurs(const SessionId& session) {
  std::lock_guard lock(mutex_);
  return locks_.contains(session);
}

// Hints at what waits in a queue of which others have written, or which nobody here awaited before. Each
// thing is hinted at once for as long as it waits; should that be lost, the store publishes it again.
void SqliteStore::ScanQueue(Transaction& tx, const std::pair<TaskKind, std::string>& queue, int limit,
                            QueueScan& state) {
  const auto& [kind, name] = queue;
  const int64_t writes = tx.tables.foreign_writes();
  // While nobody else writes, only runs from before this store was opened were not told to the hub.
  const int64_t last = writes == 0 ? opened_runs_ : std::numeric_limits<int64_t>::max();
  const auto before = std::exchange(state.hinted, {});
  int found = 0;
  bool held_back = false;
  const auto give = [&](int64_t run, TaskHint hint, int64_t since) {
    const auto [it, fresh] = state.hinted.emplace(run, hint.activity, since);
    if (fresh && !before.contains(*it)) tx.effects.hints.push_back(std::move(hint));
  };
  if (kind == TaskKind::kTurn) {
    for (const SqliteRun* run : tx.tables.ReadyRuns(name, last, limit)) {
      ++found;
      const bool others = run->owner_until > tx.now && !run->owner.empty() && !IsOurs(run->owner);
      held_back |= others;  // its owner comes first
      if (!others) {
        give(run->id, {kind, name, run->key, 0, 0, run->owner}, ToMicros(run->ready_since));
      }
    }
  } else {
    for (const auto& [run, row] : tx.tables.ClaimableActivities(name, last, limit)) {
      ++found;
      give(run,
           {kind, name, row->key.run, row->key.id, row->epoch, SessionId(), row->activity_type, row->policy.priority},
           static_cast<int64_t>(static_cast<uint64_t>(row->epoch) +
                                static_cast<uint64_t>(ToMicros(row->available_at))));  // both grow
    }
  }
  state.unfinished = held_back || found == limit;
  state.writes = writes;
}

}  // namespace marathon::inline MARATHON_ABI::detail
