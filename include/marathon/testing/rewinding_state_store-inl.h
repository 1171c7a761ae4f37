#pragma once

#include <limits>
#include <string>
#include <utility>

#include "marathon/testing/forwarding_task_queue.h"
#include "marathon/testing/rewinding_state_store.h"

namespace marathon::inline MARATHON_ABI::testing {

// Between a base and the one who is told, who need not hear again what is made again.
class RewindingStateStore::Watcher final : public StoreWatcher {
 public:
  Watcher(const ReplayedClock& clock, std::weak_ptr<StoreWatcher> told)
      : clock_(clock), told_(std::move(told)) {}

  void OnDue(Time at) override {
    const auto told = told_.lock();
    if (told != nullptr && !clock_.replaying) told->OnDue(at);
  }
  void OnActivitiesCanceled(const std::vector<ActivityKey>& keys) override {
    const auto told = told_.lock();
    if (told != nullptr && !clock_.replaying) told->OnActivitiesCanceled(keys);
  }
  void OnReturned(std::vector<HeldActivity> held) override {
    if (const auto told = told_.lock()) told->OnReturned(std::move(held));
  }

 private:
  const ReplayedClock& clock_;
  const std::weak_ptr<StoreWatcher> told_;
};

class RewindingStateStore::Outlet final : public ForwardingTaskQueue {
 public:
  Outlet(const ReplayedClock& clock, std::shared_ptr<TaskQueue> base)
      : ForwardingTaskQueue(std::move(base)), clock_(clock) {}

  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    if (clock_.replaying) return done(Status());
    base()->Send(std::move(hints), std::move(done));
  }

 private:
  const ReplayedClock& clock_;
};

MARATHON_INLINE RewindingStateStore::RewindingStateStore(const Clock& clock, Maker make)
    : clock_(clock), make_(std::move(make)), base_(make_(clock_)) {}

template <class Method, class Answer, class... Request>
void RewindingStateStore::Note(Method method, Answer done, Request... request) {
  writes_.push_back({clock_.Now(), [method, request...](StateStore& store) {
                       (store.*method)(request..., [](const auto&) {});
                     }});
  (base_.get()->*method)(std::move(request)..., std::move(done));
}

MARATHON_INLINE size_t RewindingStateStore::Lose(std::chrono::microseconds by) {
  const Time until = clock_.Now() - by;
  size_t lost = 0;
  while (!writes_.empty() && writes_.back().at > until) {
    writes_.pop_back();
    ++lost;
  }
  ++incarnation_;
  clock_.replaying = true;
  base_ = make_(clock_);
  if (outlet_ != nullptr) base_->SetOutlet(outlet_).IgnoreError();  // it took one before
  for (const Write& write : writes_) {
    clock_.then = write.at;
    write.again(*base_);
  }
  clock_.replaying = false;
  TellWatchers();
  std::vector<uint64_t> names;
  for (const auto& [name, awaiter] : awaiters_) names.push_back(name);
  for (const uint64_t name : names) AwaitAtBase(name);
  return lost;
}

MARATHON_INLINE void RewindingStateStore::TellWatchers() {
  std::map<SessionId, std::vector<HeldActivity>> held;
  ListRequest every;  // the closed may owe something
  every.limit = std::numeric_limits<int>::max();
  base_->List(std::move(every), [&](const StatusOr<ListReply>& list) {
    for (const RunRow& run : list->runs) {
      ReadRequest request;
      request.run = run.key;
      request.activities = true;
      base_->Read(std::move(request), [&](const StatusOr<RunSnapshot>& read) {
        for (const ActivityRow& row : read->activities) {
          if (row.state == ActivityState::kClaimed) held[row.session].push_back({row.key, row.epoch});
        }
      });
    }
  });
  const auto watchers = watchers_;  // who is told may open a session
  for (const auto& [session, watcher] : watchers) {
    watcher->OnDue(clock_.Now());
    watcher->OnReturned(held[session]);
  }
}

MARATHON_INLINE Status RewindingStateStore::SetOutlet(std::shared_ptr<TaskQueue> outlet) {
  outlet_ = std::make_shared<Outlet>(clock_, std::move(outlet));
  return base_->SetOutlet(outlet_);
}

// ---- Writes

MARATHON_INLINE void RewindingStateStore::OpenSession(SessionRow row,
                                                      std::weak_ptr<StoreWatcher> watcher,
                                                      Done<Time> done) {
  auto told = std::make_shared<Watcher>(clock_, std::move(watcher));
  watchers_[row.id] = told;
  Note(&StateStore::OpenSession, std::move(done), std::move(row), std::weak_ptr<StoreWatcher>(told));
}
MARATHON_INLINE void RewindingStateStore::RenewSession(RenewRequest request,
                                                       Done<std::vector<ActivityKey>> done) {
  Note(&StateStore::RenewSession, std::move(done), std::move(request));
}
MARATHON_INLINE void RewindingStateStore::CloseSession(SessionId session, DoneStatus done) {
  Note(&StateStore::CloseSession, std::move(done), std::move(session));
}
MARATHON_INLINE void RewindingStateStore::ExpireSession(SessionId session, DoneStatus done) {
  Note(&StateStore::ExpireSession, std::move(done), std::move(session));
}
MARATHON_INLINE void RewindingStateStore::Start(StartRequest request, Done<StartReply> done) {
  Note(&StateStore::Start, Stamped(std::move(done)), std::move(request));
}
MARATHON_INLINE void RewindingStateStore::Put(PutRequest request, Done<PutReply> done) {
  Note(&StateStore::Put, Stamped(std::move(done)), std::move(request));
}
MARATHON_INLINE void RewindingStateStore::TakeTurn(TakeTurnRequest request,
                                                   Done<RunSnapshot> done) {
  Note(&StateStore::TakeTurn, Stamped(std::move(done)), std::move(request));
}
MARATHON_INLINE void RewindingStateStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  const bool lost = commit.incarnation != 0 && commit.incarnation != incarnation_;
  if (lost && !MARATHON_MUTANT("incarnation_unchecked")) {
    return done(Aborted("the store has lost its last writes since the turn began"));
  }
  Note(&StateStore::Commit, std::move(done), std::move(commit));
}
MARATHON_INLINE void RewindingStateStore::Block(RunKey run, EventId version, BlockInfo info,
                                                DoneStatus done) {
  Note(&StateStore::Block, std::move(done), std::move(run), version, std::move(info));
}
MARATHON_INLINE void RewindingStateStore::Unblock(RunKey run, DoneStatus done) {
  Note(&StateStore::Unblock, std::move(done), std::move(run));
}
MARATHON_INLINE void RewindingStateStore::Pause(RunKey run, std::string reason, DoneStatus done) {
  Note(&StateStore::Pause, std::move(done), std::move(run), std::move(reason));
}
MARATHON_INLINE void RewindingStateStore::Resume(RunKey run, DoneStatus done) {
  Note(&StateStore::Resume, std::move(done), std::move(run));
}
MARATHON_INLINE void RewindingStateStore::Pin(RunKey run, std::string build_id, DoneStatus done) {
  Note(&StateStore::Pin, std::move(done), std::move(run), std::move(build_id));
}
MARATHON_INLINE void RewindingStateStore::RetryActivity(ActivityKey key, DoneStatus done) {
  Note(&StateStore::RetryActivity, std::move(done), std::move(key));
}
MARATHON_INLINE void RewindingStateStore::Delete(RunKey run, DoneStatus done) {
  Note(&StateStore::Delete, std::move(done), std::move(run));
}
MARATHON_INLINE void RewindingStateStore::ClaimActivities(SessionId session,
                                                          std::vector<ClaimRequest> requests,
                                                          Done<std::vector<ActivityRow>> done) {
  Note(&StateStore::ClaimActivities, std::move(done), std::move(session), std::move(requests));
}
MARATHON_INLINE void RewindingStateStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  const bool lost = end.incarnation != 0 && end.incarnation != incarnation_;
  if (lost && !MARATHON_MUTANT("incarnation_unchecked")) {
    return done(FailedPrecondition("the store has lost its last writes since the attempt did its work"));
  }
  Note(&StateStore::EndAttempt, std::move(done), std::move(end));
}
MARATHON_INLINE void RewindingStateStore::Heartbeat(HeartbeatRequest request,
                                                    Done<HeartbeatReply> done) {
  Note(&StateStore::Heartbeat, std::move(done), std::move(request));
}
MARATHON_INLINE void RewindingStateStore::PollDue(DueRequest request, Done<DueReply> done) {
  Note(&StateStore::PollDue, std::move(done), std::move(request));
}

// ---- Reading

MARATHON_INLINE void RewindingStateStore::Read(ReadRequest request, Done<RunSnapshot> done) {
  base_->Read(std::move(request), Stamped(std::move(done)));
}
MARATHON_INLINE void RewindingStateStore::List(ListRequest request, Done<ListReply> done) {
  base_->List(std::move(request), std::move(done));
}

MARATHON_INLINE uint64_t RewindingStateStore::Await(AwaitRequest request,
                                                    Done<RunSnapshot> done) {
  const uint64_t name = ++last_awaiter_;
  awaiters_[name] = {std::move(request), std::move(done), 0};
  AwaitAtBase(name);
  return awaiters_.contains(name) ? name : 0;
}

MARATHON_INLINE void RewindingStateStore::AwaitAtBase(uint64_t name) {
  const auto awaiter = awaiters_.find(name);
  if (awaiter == awaiters_.end()) return;
  const uint64_t of_base =
      base_->Await(awaiter->second.request, [this, name](StatusOr<RunSnapshot> closed) {
        auto taken = awaiters_.extract(name);
        if (!taken.empty()) taken.mapped().done(std::move(closed));
      });
  if (const auto left = awaiters_.find(name); left != awaiters_.end()) left->second.name = of_base;
}

MARATHON_INLINE void RewindingStateStore::CancelAwait(uint64_t name) {
  const auto taken = awaiters_.extract(name);
  if (!taken.empty()) base_->CancelAwait(taken.mapped().name);
}

}  // namespace marathon::inline MARATHON_ABI::testing
