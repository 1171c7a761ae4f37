// RewindingStateStore is a store that can lose its last writes, as a server does that is killed before its
// log is on disk, or that fails over to a replica which has not got all of it. What is left is a state that
// once was. It keeps a list of all writes, and goes back by making the first of them again, in a new store.
//
// As thread-safe as its base, and Lose while nothing else is called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

class RewindingStateStore final : public StateStore {
 public:
  // Makes an empty store that goes by `clock`. The same calls at the same times give the same store.
  using Maker = std::function<std::shared_ptr<StateStore>(const Clock& clock)>;

  // `clock` outlives it. Its hints go nowhere until SetOutlet.
  RewindingStateStore(const Clock& clock, Maker make);

  // Forgets what was written in the last `by`, and begins a new incarnation. Whoever awaits the end of a run
  // awaits it in what is left; watchers are told that something is due, and what their sessions hold: all that
  // is what a connection does that comes back. Answers how many writes it were.
  size_t Lose(std::chrono::microseconds by);

  const std::shared_ptr<StateStore>& base() const { return base_; }

  std::string_view domain() const override { return "rewinding"; }
  Status SetOutlet(std::shared_ptr<TaskQueue> outlet) override;
  std::string_view hint_domain() const override { return base_->hint_domain(); }
  Time Now() const override { return clock_.Now(); }

  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override;
  void RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) override;
  void CloseSession(SessionId session, DoneStatus done) override;
  void ExpireSession(SessionId session, DoneStatus done) override;
  void Start(StartRequest request, Done<StartReply> done) override;
  void Put(PutRequest request, Done<PutReply> done) override;
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override;
  void Commit(TurnCommit commit, Done<CommitReply> done) override;
  void Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) override;
  void Unblock(RunKey run, DoneStatus done) override;
  void Pause(RunKey run, std::string reason, DoneStatus done) override;
  void Resume(RunKey run, DoneStatus done) override;
  void Pin(RunKey run, std::string build_id, DoneStatus done) override;
  void RetryActivity(ActivityKey key, DoneStatus done) override;
  void Delete(RunKey run, DoneStatus done) override;
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override;
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override;
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override;
  void PollDue(DueRequest request, Done<DueReply> done) override;
  bool keeps_blobs() const override { return base_->keeps_blobs(); }
  void ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override {
    base_->ReadBlobs(std::move(workflow_id), std::move(refs), std::move(done));
  }
  void Read(ReadRequest request, Done<RunSnapshot> done) override;
  void List(ListRequest request, Done<ListReply> done) override;
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override;
  void CancelAwait(uint64_t name) override;

 private:
  struct ReplayedClock final : Clock {
    explicit ReplayedClock(const Clock& given) : real(given) {}
    Time Now() const override { return replaying ? then : real.Now(); }
    const Clock& real;
    bool replaying = false;
    Time then{};
  };
  class Watcher;
  class Outlet;
  struct Write {
    Time at;
    std::function<void(StateStore&)> again;
  };
  struct Awaiter {
    AwaitRequest request;
    Done<RunSnapshot> done;
    uint64_t name = 0;  // of the base
  };

  // Notes the call, and makes it.
  template <class Method, class Answer, class... Request>
  void Note(Method method, Answer done, Request... request);
  void AwaitAtBase(uint64_t name);
  // With this incarnation in the reply.
  template <class Reply>
  Done<Reply> Stamped(Done<Reply> done) {
    return [this, done = std::move(done)](StatusOr<Reply> reply) mutable {
      if (reply.ok()) reply->incarnation = incarnation_;
      done(std::move(reply));
    };
  }
  void TellWatchers();

  ReplayedClock clock_;
  const Maker make_;
  std::shared_ptr<StateStore> base_;
  std::shared_ptr<Outlet> outlet_;
  std::vector<Write> writes_;
  std::map<SessionId, std::shared_ptr<Watcher>> watchers_;
  uint64_t incarnation_ = 1;
  std::map<uint64_t, Awaiter> awaiters_;
  uint64_t last_awaiter_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/rewinding_state_store-inl.h"
#endif
