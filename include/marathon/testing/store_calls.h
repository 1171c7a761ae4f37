// The StateStore port, one call a line: answers are awaited.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/store_rows.h"
#include "marathon/task_queue.h"
#include "marathon/testing/store_harness.h"

namespace marathon::inline MARATHON_ABI::testing {

class StoreCalls {
 public:
  using Reply = StatusOr<CommitReply>;
  using Names = std::vector<std::string>;

  explicit StoreCalls(std::unique_ptr<StoreHarness> harness) : harness_(std::move(harness)) {}

  StateStore& store() { return *harness_->ports().store; }
  TaskQueue& queue() { return *harness_->ports().queue; }
  StoreHarness& harness() { return *harness_; }
  void Advance(std::chrono::microseconds by) { harness_->Advance(by); }

  Status Open(const SessionId& id, std::weak_ptr<StoreWatcher> watcher = {}) {
    SessionRow row;
    row.id = id;
    return Await<StatusOr<Time>>(
               *harness_, [&](auto done) { store().OpenSession(row, watcher, std::move(done)); })
        .status();
  }
  // Renews as the session's only caller does: under the next serial.
  StatusOr<std::vector<ActivityKey>> Renew(const SessionId& id, bool heard = true) {
    return SendRenewal({.session = id, .serial = ++renewals_, .heard = heard});
  }
  StatusOr<std::vector<ActivityKey>> SendRenewal(const RenewRequest& request) {
    return Await<StatusOr<std::vector<ActivityKey>>>(
        *harness_, [&](auto done) { store().RenewSession(request, std::move(done)); });
  }
  Status CloseSession(const SessionId& id) {
    return Await<Status>(*harness_, [&](auto done) { store().CloseSession(id, std::move(done)); });
  }
  Status Expire(const SessionId& id) {
    return Await<Status>(*harness_, [&](auto done) { store().ExpireSession(id, std::move(done)); });
  }
  StatusOr<StartReply> Start(const StartRequest& request) {
    return Await<StatusOr<StartReply>>(*harness_,
                                       [&](auto done) { store().Start(request, std::move(done)); });
  }
  StatusOr<PutReply> Put(const RunKey& run, Message message, const SessionId& session = "") {
    return Await<StatusOr<PutReply>>(*harness_, [&](auto done) {
      store().Put(PutRequest{run, std::move(message), session}, std::move(done));
    });
  }
  StatusOr<RunSnapshot> Take(const RunKey& run, const SessionId& session, EventId known = 0,
                             CommitId commit = 0) {
    return Await<StatusOr<RunSnapshot>>(*harness_, [&](auto done) {
      store().TakeTurn(TakeTurnRequest{run, session, known, commit}, std::move(done));
    });
  }
  StatusOr<RunSnapshot> TakeAs(const Id& build_id, const RunKey& run, const SessionId& session) {
    return Await<StatusOr<RunSnapshot>>(*harness_, [&](auto done) {
      store().TakeTurn(TakeTurnRequest{.run = run, .session = session, .build_id = build_id}, std::move(done));
    });
  }
  StatusOr<RunSnapshot> Keep(const RunKey& run, const SessionId& session) {
    return Await<StatusOr<RunSnapshot>>(*harness_, [&](auto done) {
      store().TakeTurn(TakeTurnRequest{run, session, 0, 0, /*keep=*/true}, std::move(done));
    });
  }
  Reply Commit(const TurnCommit& commit) {
    return Await<Reply>(*harness_, [&](auto done) { store().Commit(commit, std::move(done)); });
  }
  Status Block(const RunKey& run, EventId version, Time retry_at = kNever, const std::string& build = "build") {
    return Await<Status>(*harness_, [&](auto done) {
      store().Block(run, version, BlockInfo{build, "reason", 1, {}, retry_at}, std::move(done));
    });
  }
  Status Unblock(const RunKey& run) {
    return Await<Status>(*harness_, [&](auto done) { store().Unblock(run, std::move(done)); });
  }
  Status Pause(const RunKey& run, const std::string& reason = "why") {
    return Await<Status>(*harness_,
                         [&](auto done) { store().Pause(run, reason, std::move(done)); });
  }
  Status Resume(const RunKey& run) {
    return Await<Status>(*harness_, [&](auto done) { store().Resume(run, std::move(done)); });
  }
  Status Pin(const RunKey& run, const std::string& build_id) {
    return Await<Status>(*harness_, [&](auto done) { store().Pin(run, build_id, std::move(done)); });
  }
  Status RetryActivity(const ActivityKey& key) {
    return Await<Status>(*harness_, [&](auto done) { store().RetryActivity(key, std::move(done)); });
  }
  Status Delete(const RunKey& run) {
    return Await<Status>(*harness_, [&](auto done) { store().Delete(run, std::move(done)); });
  }
  StatusOr<std::vector<ActivityRow>> Claim(const SessionId& session,
                                           std::vector<ClaimRequest> requests) {
    return Await<StatusOr<std::vector<ActivityRow>>>(*harness_, [&](auto done) {
      store().ClaimActivities(session, std::move(requests), std::move(done));
    });
  }
  StatusOr<AttemptReply> EndAttempt(AttemptEnd end) {
    return Await<StatusOr<AttemptReply>>(
        *harness_, [&](auto done) { store().EndAttempt(std::move(end), std::move(done)); });
  }
  StatusOr<HeartbeatReply> Beat(const ActivityKey& key, Epoch epoch, Payload details = {}) {
    return Await<StatusOr<HeartbeatReply>>(*harness_, [&](auto done) {
      store().Heartbeat(HeartbeatRequest{key, epoch, std::move(details)}, std::move(done));
    });
  }
  DueReply Poll(const SessionId& session = "", int limit = 1000) {
    auto reply = Await<StatusOr<DueReply>>(*harness_, [&](auto done) {
      store().PollDue(DueRequest{session, limit}, std::move(done));
    });
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.ok() ? *std::move(reply) : DueReply();
  }
  StatusOr<RunSnapshot> Read(const ReadRequest& request) {
    return Await<StatusOr<RunSnapshot>>(*harness_,
                                        [&](auto done) { store().Read(request, std::move(done)); });
  }
  // The run with its records, inbox and activities, which must exist.
  RunSnapshot ReadAll(const RunKey& run) {
    auto snapshot = Read({.run = run, .records = true, .inbox = true, .activities = true});
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    return snapshot.ok() ? *std::move(snapshot) : RunSnapshot();
  }
  ListReply List(const ListRequest& request) {
    auto reply = Await<StatusOr<ListReply>>(
        *harness_, [&](auto done) { store().List(request, std::move(done)); });
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.ok() ? *std::move(reply) : ListReply();
  }

  // The workflow ids that a list gives, page by page.
  Names Listed(ListRequest request) {
    Names ids;
    for (int pages = 0; pages < 100; ++pages) {
      const ListReply reply = List(request);
      for (const RunRow& row : reply.runs) ids.push_back(row.key.workflow_id.str());
      request.page_token = reply.next_page_token;
      if (request.page_token.empty()) return ids;
    }
    ADD_FAILURE() << "the pages have no end";
    return ids;
  }
  int64_t Count(ListRequest request) {
    request.count_only = true;
    const ListReply reply = List(request);
    EXPECT_TRUE(reply.runs.empty());
    EXPECT_EQ(reply.next_page_token, "");
    return reply.count;
  }
  StatusOr<std::vector<std::string>> Blobs(const std::string& id, std::vector<BlobRef> refs) {
    return Await<StatusOr<std::vector<std::string>>>(
        *harness_, [&](auto done) { store().ReadBlobs(id, std::move(refs), std::move(done)); });
  }

  // What Await tells; with `meanwhile`, not before that is committed.
  StatusOr<RunSnapshot> AwaitUpdate(const RunKey& run, const std::string& id,
                                    UpdateStage stage = UpdateStage::kCompleted,
                                    const TurnCommit* meanwhile = nullptr) {
    return AwaitWhile({run, id, stage}, meanwhile);
  }
  StatusOr<RunSnapshot> AwaitEvent(const RunKey& run, EventId after,
                                   const TurnCommit* meanwhile = nullptr) {
    AwaitRequest request{run};
    request.after = after;
    return AwaitWhile(request, meanwhile);
  }
  StatusOr<RunSnapshot> AwaitWhile(const AwaitRequest& request, const TurnCommit* meanwhile) {
    return Await<StatusOr<RunSnapshot>>(*harness_, [&](auto done) {
      auto told = std::make_shared<int>(0);
      store().Await(request, [told, done = std::move(done)](auto snapshot) mutable {
        ++*told;
        done(std::move(snapshot));
      });
      if (meanwhile == nullptr) return;
      EXPECT_EQ(*told, 0) << "it has not come so far";
      EXPECT_TRUE(Commit(*meanwhile).ok());
    });
  }

 private:
  std::unique_ptr<StoreHarness> harness_;
  uint64_t renewals_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::testing
