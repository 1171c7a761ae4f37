// RedisStore: sessions, and the release of what an ended one held.
#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "operation.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {

// The hub knows the watcher already.
void RedisStore::OpenSession(SessionRow row, std::weak_ptr<StoreWatcher>, Done<Time> done) {
  row.host.clear();
  const SessionId id = row.id;
  Enqueue<StatusOr<Time>>(
      RedisLanes::OfSession(id), Together::kNo,
      [this, row = std::move(row)](RedisTransaction& tx) {
        // Hints that prefer it wait for it from now on.
        tx.tables.writes().Write("SADD", keys_.receivers, row.id);
        return tx.sessions().Open(SessionRow(row));
      },
      [this, id, done = std::move(done)](StatusOr<Time> now) mutable {
        if (now.ok()) {
          // What a push does not tell, the next renewal does.
          Listen(keys_.CancelChannel(id), [this, id](std::optional<std::string_view> message) {
            auto activity = message ? ParseActivityName(*message) : std::nullopt;
            if (!activity) return;
            Effects effects;
            effects.canceled.emplace_back(id, *std::move(activity));
            Publish(std::move(effects));
          });
        }
        done(std::move(now));
      });
}

void RedisStore::RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) {
  Enqueue<StatusOr<std::vector<ActivityKey>>>(
      RedisLanes::OfSession(request.session), Together::kNo,
      [request](RedisTransaction& tx) { return tx.sessions().Renew(request); },
      [this, request, done = std::move(done)](StatusOr<std::vector<ActivityKey>> reply) mutable {
        if (reply.status().code() == StatusCode::kFailedPrecondition) Forget(request.session);
        done(std::move(reply));
      });
}

void RedisStore::CloseSession(SessionId session, DoneStatus done) {
  EndSession(std::move(session), /*died=*/false, std::move(done));
}

void RedisStore::ExpireSession(SessionId session, DoneStatus done) {
  EndSession(std::move(session), /*died=*/true, std::move(done));
}

// It has ended, or is about to.
void RedisStore::Forget(const SessionId& session) {
  hub_.RemoveWatcher(session);
  receiving_.erase(session);
  const std::string channel = keys_.CancelChannel(session);
  if (listeners_.erase(channel) > 0) {
    subscriber_.SendForPushes(RedisCommand("UNSUBSCRIBE", channel), 1);
  }
}

// Gives back what an ended session held: run by run, until the server lists nothing more. Should this
// process die over it, the session's entry among the due ones is still there, and another goes on.
class RedisStore::Release : public std::enable_shared_from_this<Release> {
 public:
  Release(RedisStore* store, SessionId session, bool died, DoneStatus done)
      : store_(store), session_(std::move(session)), died_(died), done_(std::move(done)) {}

  void Look() {
    RedisStep step;
    step.Read("SMEMBERS", store_->keys_.Held(session_));
    step.Read("SMEMBERS", store_->keys_.Ready(session_));
    store_->script_.Send(std::move(step), std::nullopt,
                         [self = shared_from_this()](const StatusOr<RedisStepReply>& reply) {
                           if (!reply.ok()) return self->done_(reply.status());
                           self->Start(reply->replies);
                         });
  }

 private:
  struct Held {
    std::vector<ActivityKey> activities;
    bool ready = false;
  };

  void Start(const RedisReply& replies) {
    std::map<RunKey, Held> runs;
    for (size_t i = 0; i < replies[0].size(); ++i) {
      if (auto key = ParseActivityName(replies[0][i].text())) {
        runs[key->run].activities.push_back(*key);
      }
    }
    for (size_t i = 0; i < replies[1].size(); ++i) {
      if (auto key = ParseRedisName(replies[1][i].text())) runs[*key].ready = true;
    }
    if (runs.empty()) return End();
    left_ = runs.size();
    for (auto& [run, held] : runs) {
      std::sort(held.activities.begin(), held.activities.end());
      ReleaseRun(run, std::move(held));
    }
  }

  void ReleaseRun(const RunKey& run, Held held) {
    store_->Enqueue<Status>(
        RedisLanes::OfWorkflow(run.workflow_id), Together::kNo,
        [self = shared_from_this(), run, held = std::move(held)](RedisTransaction& tx) {
          tx.tables.SetHeld(held.activities, held.ready ? std::optional(run) : std::nullopt);
          tx.protocol().ReleaseHeld(self->session_, self->died_);
          return Status();
        },
        [self = shared_from_this()](Status status) {
          if (!status.ok()) self->error_ = std::move(status);
          if (--self->left_ > 0) return;
          if (!self->error_.ok()) return self->done_(std::move(self->error_));
          self->Look();
        });
  }

  // Nothing is held, and nobody can take anything in the session's name.
  void End() {
    const RedisKeys& keys = store_->keys_;
    RedisStep step;
    step.Expect(RedisStep::Check::kAbsent, keys.sessions, session_);
    step.Expect(RedisStep::Check::kCount, keys.Held(session_), "", "0");
    step.Expect(RedisStep::Check::kCount, keys.Ready(session_), "", "0");
    step.Write("ZREM", keys.due_sessions, session_);
    step.Write("DEL", keys.Canceled(session_));
    store_->ReturnOwnQueues(session_);
    store_->script_.Send(std::move(step), std::nullopt,
                         [self = shared_from_this()](const StatusOr<RedisStepReply>& reply) {
                           if (!reply.ok()) return self->done_(reply.status());
                           if (reply->outcome == RedisStepReply::Outcome::kDone) {
                             return self->done_(Status());
                           }
                           self->Look();
                         });
  }

  RedisStore* const store_;
  const SessionId session_;
  const bool died_;
  DoneStatus done_;
  size_t left_ = 0;
  Status error_;
};

// Reads what a session of this process holds, and tells its watcher. Should the connection break over it, the
// next one begins anew.
class RedisStore::Recall : public std::enable_shared_from_this<Recall> {
 public:
  Recall(RedisStore* store, SessionId session, std::weak_ptr<StoreWatcher> watcher)
      : store_(store), session_(std::move(session)), watcher_(std::move(watcher)) {}

  void Begin() {
    RedisStep step;
    step.Read("SMEMBERS", store_->keys_.Held(session_));
    store_->script_.Send(std::move(step), std::nullopt,
                         [self = shared_from_this()](const StatusOr<RedisStepReply>& reply) {
                           if (reply.ok()) self->ReadRows(reply->replies[0]);
                         });
  }

 private:
  void ReadRows(const RedisReply& names) {
    std::map<RunKey, std::vector<ActivityKey>> runs;
    for (size_t i = 0; i < names.size(); ++i) {
      if (auto key = ParseActivityName(names[i].text())) runs[key->run].push_back(*key);
    }
    left_ = runs.size();
    if (left_ == 0) return Tell();
    for (auto& [run, keys] : runs) ReadRun(run, std::move(keys));
  }

  void ReadRun(const RunKey& run, std::vector<ActivityKey> keys) {
    using Found = StatusOr<std::vector<HeldActivity>>;
    store_->Enqueue<Found>(
        RedisLanes::OfWorkflow(run.workflow_id), Together::kNo,
        [session = session_, keys = std::move(keys)](RedisTransaction& tx) -> Found {
          std::vector<HeldActivity> held;
          for (const ActivityKey& key : keys) {
            const ActivityRow* row = tx.tables.FindActivity(key.run, key.id);
            if (row == nullptr || row->session != session) continue;
            held.push_back({key, row->epoch});
          }
          return held;
        },
        [self = shared_from_this()](Found found) {
          if (found.ok()) self->held_.insert(self->held_.end(), found->begin(), found->end());
          if (--self->left_ == 0) self->Tell();
        });
  }

  void Tell() {
    if (const auto watcher = watcher_.lock()) watcher->OnReturned(std::move(held_));
  }

  RedisStore* const store_;
  const SessionId session_;
  const std::weak_ptr<StoreWatcher> watcher_;
  std::vector<HeldActivity> held_;
  size_t left_ = 0;
};

void RedisStore::RecallSessions() {
  for (auto& [session, watcher] : hub_.Watchers()) {
    std::make_shared<Recall>(this, session, std::move(watcher))->Begin();
  }
}

void RedisStore::EndSession(SessionId session, bool died, DoneStatus done) {
  Enqueue<Status>(
      RedisLanes::OfSession(session), Together::kNo,
      [session, died](RedisTransaction& tx) {
        return died ? tx.sessions().Expire(session) : tx.sessions().Close(session);
      },
      [this, session, died, done = std::move(done)](Status status) mutable {
        if (!status.ok()) return done(std::move(status));
        Forget(session);
        std::make_shared<Release>(this, session, died, std::move(done))->Look();
      });
}

}  // namespace marathon::inline MARATHON_ABI::detail
