#pragma once

#include "marathon/testing/faulty_state_store.h"

#include <memory>
#include <utility>
#include <vector>

#include "marathon/testing/faulty_store_link-inl.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

// Passes what the store tells to the worker's own watcher, after the way back.
class SimWatcher final : public StoreWatcher {
 public:
  SimWatcher(SimWorld& world, ActorId actor, std::weak_ptr<StoreWatcher> target)
      : world_(world), actor_(actor), target_(std::move(target)) {}

  void OnDue(Time at) override {
    world_.After(actor_, kMicros, "watcher: due", [target = target_, at] {
      if (const auto watcher = target.lock()) watcher->OnDue(at);
    });
  }
  void OnActivitiesCanceled(const std::vector<ActivityKey>& keys) override {
    world_.After(actor_, kMicros, "watcher: canceled", [target = target_, keys] {
      if (const auto watcher = target.lock()) watcher->OnActivitiesCanceled(keys);
    });
  }
  void OnReturned(std::vector<HeldActivity> held) override {
    world_.After(actor_, kMicros, "watcher: returned", [target = target_, held = std::move(held)] {
      if (const auto watcher = target.lock()) watcher->OnReturned(held);
    });
  }

 private:
  static constexpr int64_t kMicros = 100;

  SimWorld& world_;
  ActorId actor_;
  std::weak_ptr<StoreWatcher> target_;
};

}  // namespace internal

MARATHON_INLINE FaultyStateStore::FaultyStateStore(std::shared_ptr<StateStore> base,
                                                   SimRuntime& caller, Options options)
    : ForwardingStateStore(base),
      link_(std::make_shared<Link>(std::move(base), caller, std::move(options))) {}

MARATHON_INLINE FaultyStateStore::~FaultyStateStore() {
  for (auto& [name, wait] : link_->waits) base()->CancelAwait(wait.name_at_store);
  link_->waits.clear();
}

MARATHON_INLINE void FaultyStateStore::SetRates(const FaultRates& rates) {
  link_->options.rates = rates;
}

MARATHON_INLINE const FaultRates& FaultyStateStore::rates() const { return link_->options.rates; }

MARATHON_INLINE void FaultyStateStore::FailCall(uint64_t nth, CallFault fault, bool for_ever) {
  link_->ordered_at = link_->calls + nth;
  link_->ordered = fault;
  link_->for_ever = for_ever;
}

MARATHON_INLINE uint64_t FaultyStateStore::calls() const { return link_->calls; }

MARATHON_INLINE void FaultyStateStore::OpenSession(SessionRow row,
                                                   std::weak_ptr<StoreWatcher> watcher,
                                                   Done<Time> done) {
  auto between =
      std::make_shared<internal::SimWatcher>(link_->world, link_->actor, std::move(watcher));
  link_->watchers.push_back(between);
  link_->Forward("OpenSession", Link::Kind::kWrite, &StateStore::OpenSession, std::move(done), std::move(row),
                 std::move(between));
}

MARATHON_INLINE void FaultyStateStore::RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) {
  link_->Forward("RenewSession", Link::Kind::kRenewal, &StateStore::RenewSession, std::move(done),
                 std::move(request));
}

MARATHON_INLINE void FaultyStateStore::CloseSession(SessionId session, DoneStatus done) {
  link_->Forward("CloseSession", Link::Kind::kWrite, &StateStore::CloseSession, std::move(done), std::move(session));
}

MARATHON_INLINE void FaultyStateStore::ExpireSession(SessionId session, DoneStatus done) {
  link_->Forward("ExpireSession", Link::Kind::kWrite, &StateStore::ExpireSession, std::move(done),
                 std::move(session));
}

MARATHON_INLINE void FaultyStateStore::Start(StartRequest request, Done<StartReply> done) {
  link_->Forward("Start", Link::Kind::kWrite, &StateStore::Start, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::Put(PutRequest request, Done<PutReply> done) {
  link_->Forward("Put", Link::Kind::kWrite, &StateStore::Put, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  link_->Forward("TakeTurn", Link::Kind::kWrite, &StateStore::TakeTurn, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  link_->Call<StatusOr<CommitReply>>(
      "Commit", Link::Kind::kWrite, std::move(done),
      [store = base(), counts = link_->options.counts,
       commit = std::move(commit)](Done<CommitReply> d) mutable {
        store->Commit(std::move(commit),
                      [counts, d = std::move(d)](StatusOr<CommitReply> reply) mutable {
                        if (reply.ok()) ++counts->commits;
                        d(std::move(reply));
                      });
      });
}

MARATHON_INLINE void FaultyStateStore::Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) {
  link_->Forward("Block", Link::Kind::kWrite, &StateStore::Block, std::move(done),
                 std::move(run), version, std::move(info));
}

MARATHON_INLINE void FaultyStateStore::Unblock(RunKey run, DoneStatus done) {
  link_->Forward("Unblock", Link::Kind::kWrite, &StateStore::Unblock, std::move(done), std::move(run));
}

MARATHON_INLINE void FaultyStateStore::Pause(RunKey run, std::string reason, DoneStatus done) {
  link_->Forward("Pause", Link::Kind::kWrite, &StateStore::Pause, std::move(done), std::move(run), std::move(reason));
}

MARATHON_INLINE void FaultyStateStore::Resume(RunKey run, DoneStatus done) {
  link_->Forward("Resume", Link::Kind::kWrite, &StateStore::Resume, std::move(done), std::move(run));
}

MARATHON_INLINE void FaultyStateStore::Pin(RunKey run, std::string build_id, DoneStatus done) {
  link_->Forward("Pin", Link::Kind::kWrite, &StateStore::Pin, std::move(done), std::move(run), std::move(build_id));
}

MARATHON_INLINE void FaultyStateStore::RetryActivity(ActivityKey key, DoneStatus done) {
  link_->Forward("RetryActivity", Link::Kind::kWrite, &StateStore::RetryActivity, std::move(done), std::move(key));
}

MARATHON_INLINE void FaultyStateStore::Delete(RunKey run, DoneStatus done) {
  link_->Forward("Delete", Link::Kind::kWrite, &StateStore::Delete, std::move(done), std::move(run));
}

MARATHON_INLINE void FaultyStateStore::ClaimActivities(SessionId session,
                                                       std::vector<ClaimRequest> requests,
                                                       Done<std::vector<ActivityRow>> done) {
  link_->Forward("ClaimActivities", Link::Kind::kWrite, &StateStore::ClaimActivities, std::move(done),
                 std::move(session), std::move(requests));
}

MARATHON_INLINE void FaultyStateStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  link_->Forward("EndAttempt", Link::Kind::kWrite, &StateStore::EndAttempt, std::move(done), std::move(end));
}

MARATHON_INLINE void FaultyStateStore::Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) {
  link_->Forward("Heartbeat", Link::Kind::kWrite, &StateStore::Heartbeat, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::PollDue(DueRequest request, Done<DueReply> done) {
  link_->Forward("PollDue", Link::Kind::kWrite, &StateStore::PollDue, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs,
                                                 Done<std::vector<std::string>> done) {
  link_->Forward("ReadBlobs", Link::Kind::kRead, &StateStore::ReadBlobs, std::move(done),
                 std::move(workflow_id), std::move(refs));
}

MARATHON_INLINE void FaultyStateStore::Read(ReadRequest request, Done<RunSnapshot> done) {
  link_->Forward("Read", Link::Kind::kRead, &StateStore::Read, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::List(ListRequest request, Done<ListReply> done) {
  link_->Forward("List", Link::Kind::kRead, &StateStore::List, std::move(done), std::move(request));
}

MARATHON_INLINE uint64_t FaultyStateStore::Await(AwaitRequest request,
                                                 Done<RunSnapshot> done) {
  const uint64_t name = ++link_->last_wait;
  link_->waits[name].done = std::move(done);
  // Whoever answers takes the wait out of the map first, so that CancelAwait is the end of it.
  const std::weak_ptr<Link> weak = link_;
  Done<RunSnapshot> answer = [weak, name](StatusOr<RunSnapshot> result) {
    const std::shared_ptr<Link> link = weak.lock();
    if (link == nullptr) return;
    auto node = link->waits.extract(name);
    if (!node.empty()) node.mapped().done(std::move(result));
  };
  link_->Call<StatusOr<RunSnapshot>>(
      "Await", Link::Kind::kRead, std::move(answer),
      [weak, name, request = std::move(request)](Done<RunSnapshot> d) mutable {
        const std::shared_ptr<Link> link = weak.lock();
        if (link == nullptr || !link->waits.contains(name)) return;
        const uint64_t at_store = link->store->Await(std::move(request), std::move(d));
        const auto wait = link->waits.find(name);
        if (wait != link->waits.end()) wait->second.name_at_store = at_store;
      });
  return name;
}

MARATHON_INLINE void FaultyStateStore::CancelAwait(uint64_t name) {
  auto node = link_->waits.extract(name);
  if (!node.empty() && node.mapped().name_at_store != 0) {
    base()->CancelAwait(node.mapped().name_at_store);
  }
}

}  // namespace marathon::inline MARATHON_ABI::testing
