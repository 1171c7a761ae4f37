// ForwardingStateStore passes every call on to another store: derive from it and override the one call
// that is to be watched, changed, counted or broken.
//
// As thread-safe as its base.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI {

class ForwardingStateStore : public StateStore {
 public:
  explicit ForwardingStateStore(std::shared_ptr<StateStore> base) : base_(std::move(base)) {}

  std::string_view domain() const override { return base_->domain(); }
  Status SetOutlet(std::shared_ptr<TaskQueue> outlet) override {
    return base_->SetOutlet(std::move(outlet));
  }
  std::string_view hint_domain() const override { return base_->hint_domain(); }
  Time Now() const override { return base_->Now(); }

  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override {
    base_->OpenSession(std::move(row), std::move(watcher), std::move(done));
  }
  void RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) override {
    base_->RenewSession(std::move(request), std::move(done));
  }
  void CloseSession(SessionId session, DoneStatus done) override {
    base_->CloseSession(std::move(session), std::move(done));
  }
  void ExpireSession(SessionId session, DoneStatus done) override {
    base_->ExpireSession(std::move(session), std::move(done));
  }

  void Start(StartRequest request, Done<StartReply> done) override {
    base_->Start(std::move(request), std::move(done));
  }
  void Put(PutRequest request, Done<PutReply> done) override {
    base_->Put(std::move(request), std::move(done));
  }
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override {
    base_->TakeTurn(std::move(request), std::move(done));
  }
  void Commit(TurnCommit commit, Done<CommitReply> done) override {
    base_->Commit(std::move(commit), std::move(done));
  }
  void Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) override {
    base_->Block(std::move(run), version, std::move(info), std::move(done));
  }
  void Unblock(RunKey run, DoneStatus done) override {
    base_->Unblock(std::move(run), std::move(done));
  }
  void Pause(RunKey run, std::string reason, DoneStatus done) override {
    base_->Pause(std::move(run), std::move(reason), std::move(done));
  }
  void Resume(RunKey run, DoneStatus done) override {
    base_->Resume(std::move(run), std::move(done));
  }
  void Pin(RunKey run, std::string build_id, DoneStatus done) override {
    base_->Pin(std::move(run), std::move(build_id), std::move(done));
  }
  void RetryActivity(ActivityKey key, DoneStatus done) override {
    base_->RetryActivity(std::move(key), std::move(done));
  }
  void Delete(RunKey run, DoneStatus done) override {
    base_->Delete(std::move(run), std::move(done));
  }

  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    base_->ClaimActivities(std::move(session), std::move(requests), std::move(done));
  }
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override {
    base_->EndAttempt(std::move(end), std::move(done));
  }
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override {
    base_->Heartbeat(std::move(request), std::move(done));
  }

  void PollDue(DueRequest request, Done<DueReply> done) override {
    base_->PollDue(std::move(request), std::move(done));
  }

  bool keeps_blobs() const override { return base_->keeps_blobs(); }
  void ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override {
    base_->ReadBlobs(std::move(workflow_id), std::move(refs), std::move(done));
  }

  void Read(ReadRequest request, Done<RunSnapshot> done) override {
    base_->Read(std::move(request), std::move(done));
  }
  void List(ListRequest request, Done<ListReply> done) override {
    base_->List(std::move(request), std::move(done));
  }
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override {
    return base_->Await(std::move(request), std::move(done));
  }
  void CancelAwait(uint64_t name) override { base_->CancelAwait(name); }

 protected:
  const std::shared_ptr<StateStore>& base() const { return base_; }

 private:
  std::shared_ptr<StateStore> base_;
};

}  // namespace marathon::inline MARATHON_ABI
