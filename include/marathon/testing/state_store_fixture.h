// The fixture of the StateStore suite: one call a line, answers awaited, hints collected.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/sha256.h"
#include "marathon/event_codec.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/store_rows.h"
#include "marathon/task_queue.h"
#include "marathon/testing/store_harness.h"

namespace marathon::inline MARATHON_ABI::testing {

// Remembers what it is told.
class RecordingWatcher final : public StoreWatcher {
 public:
  void OnDue(Time at) override {
    const std::lock_guard lock(mutex_);
    due_.push_back(at);
  }
  void OnActivitiesCanceled(const std::vector<ActivityKey>& keys) override {
    const std::lock_guard lock(mutex_);
    canceled_.insert(canceled_.end(), keys.begin(), keys.end());
  }
  std::vector<Time> due() const {
    const std::lock_guard lock(mutex_);
    return due_;
  }
  std::vector<ActivityKey> canceled() const {
    const std::lock_guard lock(mutex_);
    return canceled_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Time> due_;
  std::vector<ActivityKey> canceled_;
};

class StateStoreConformance : public ::testing::TestWithParam<HarnessMaker> {
 protected:
  using Reply = StatusOr<CommitReply>;
  using Names = std::vector<std::string>;

  StateStoreConformance() : harness_(GetParam().make()) {}
  ~StateStoreConformance() override { queue().StopReceiving(kObserver); }

  StateStore& store() { return *harness_->ports().store; }
  TaskQueue& queue() { return *harness_->ports().queue; }
  StoreHarness& harness() { return *harness_; }
  void Advance(std::chrono::microseconds by) { harness_->Advance(by); }

  // ---- What to send
  static RunKey Run(const std::string& id) { return RunKey{id, id + "-run"}; }
  static StartRequest NewStart(const std::string& id, const SessionId& session = "") {
    StartRequest request;
    request.run = Run(id);
    request.workflow_type = "Type";
    request.task_queue = "queue";
    request.request_id = id + "-request";
    request.messages.push_back(Message{0, "", WorkflowStarted{.workflow_type = "Type"}});
    request.session = session;
    return request;
  }
  // A turn of `to - from` events, which takes the messages up to `taken`.
  static TurnCommit Turn(const RunKey& run, EventId from, EventId to, const SessionId& session,
                         uint64_t taken = 0) {
    TurnCommit commit;
    commit.run = run;
    commit.expected_version = from;
    commit.new_version = to;
    commit.commit_id = 1000 + static_cast<CommitId>(to);
    commit.session = session;
    commit.inbox_taken = taken;
    if (to > from) commit.record = RecordOf(commit.commit_id, from, to);
    return commit;
  }
  static std::string RecordOf(CommitId commit_id, EventId from, EventId to, size_t bytes = 8) {
    History events;
    for (EventId id = from + 1; id <= to; ++id) {
      events.push_back(
          Event{id, SideEffectRecorded{Payload{std::string(bytes, 'x'), Encoding::kJson}}});
    }
    return EncodeRecord(commit_id, events);
  }
  static NewActivity Activity(EventId id, bool claim = false) {
    NewActivity activity;
    activity.id = id;
    activity.activity_type = "Work";
    activity.task_queue = "queue";
    activity.input = Payload{"1", Encoding::kJson};
    activity.policy.start_to_close = std::chrono::minutes(10);
    activity.claim = claim;
    return activity;
  }
  static Message Signal(const std::string& name, const std::string& key = "") {
    return Message{0, key, SignalReceived{.name = name}};
  }
  static AttemptEnd End(const ActivityKey& key, Epoch epoch, AttemptEnd::Kind kind) {
    AttemptEnd end;
    end.key = key;
    end.epoch = epoch;
    end.kind = kind;
    if (kind == AttemptEnd::Kind::kFinal) {
      end.outcome = ActivityCompleted{.scheduled = key.id, .result = {"2", Encoding::kJson}};
    }
    if (kind == AttemptEnd::Kind::kRetry || kind == AttemptEnd::Kind::kDead) end.failure.emplace().message = "failed";
    return end;
  }

  // ---- Calls, awaited
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

  // ---- Labels
  static StartRequest Labeled(const std::string& id, Labels attributes, Labels memo = {}) {
    StartRequest request = NewStart(id);
    request.labels = {std::move(memo), std::move(attributes)};
    return request;
  }
  static TurnCommit Setting(TurnCommit turn, Labels attributes) {
    turn.attributes = std::move(attributes);
    return turn;
  }
  RunLabels LabelsOf(const RunKey& run) { return ReadAll(run).row.labels.value_or(RunLabels()); }

  // ---- Scenes
  // A run of session `session` at version 2 with an empty inbox; `commit` adds to its first turn.
  RunKey Started(const std::string& id, const SessionId& session, TurnCommit commit = {}) {
    EXPECT_TRUE(Start(NewStart(id, session)).ok());
    TurnCommit turn = Turn(Run(id), 0, 2, session, 1);
    turn.activities = std::move(commit.activities);
    turn.timers = std::move(commit.timers);
    turn.attributes = std::move(commit.attributes);
    turn.build_id = std::move(commit.build_id);
    turn.pin = commit.pin;
    const Reply reply = Commit(turn);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return Run(id);
  }
  RunKey StartedWithActivity(const std::string& id, const SessionId& session, bool claim) {
    TurnCommit commit;
    commit.activities.push_back(Activity(2, claim));
    return Started(id, session, std::move(commit));
  }
  // The same, of build `build_id`, to which it is pinned.
  RunKey StartedBy(const Id& build_id, const std::string& id, const SessionId& session, TurnCommit commit = {}) {
    commit.build_id = build_id;
    commit.pin = true;
    return Started(id, session, std::move(commit));
  }
  // Has session "s1" claim the run's only activity and give it up, so that it is dead.
  void LetDie(const RunKey& run) {
    const ActivityRow row = OnlyActivity(run);
    ASSERT_EQ(Claim("s1", {{row.key, row.epoch}})->size(), 1u);
    ASSERT_TRUE(EndAttempt(End(row.key, row.epoch + 1, AttemptEnd::Kind::kDead))->applied);
  }
  ActivityRow OnlyActivity(const RunKey& run) {
    RunSnapshot snapshot = ReadAll(run);
    EXPECT_EQ(snapshot.activities.size(), 1u);
    return snapshot.activities.empty() ? ActivityRow() : snapshot.activities[0];
  }

  // ---- Chains of runs
  static RunKey Next(const std::string& id) { return RunKey{id, id + "-next"}; }
  // A turn of two events that closes the run, after which Next(id) goes on.
  static TurnCommit Continuing(const std::string& id, uint64_t taken, EventId from = 0) {
    TurnCommit commit = Turn(Run(id), from, from + 2, "", taken);
    commit.close = RunStatus::kContinuedAsNew;
    commit.next.emplace();
    commit.next->run_id = Next(id).run_id;
    commit.next->workflow_type = "NextType";
    commit.next->task_queue = "queue";
    commit.next->messages.push_back({0, "", WorkflowStarted{.workflow_type = "NextType"}});
    return commit;
  }
  // The names of the signals that wait for a run, behind its WorkflowStarted.
  std::vector<std::string> SignalsOf(const RunKey& run) {
    std::vector<std::string> names;
    uint64_t seq = 0;
    for (const Message& message : ReadAll(run).inbox) {
      EXPECT_EQ(message.seq, ++seq);
      const auto* signal = std::get_if<SignalReceived>(&message.body);
      EXPECT_EQ(signal == nullptr, seq == 1);
      if (signal != nullptr) names.push_back(signal->name);
    }
    return names;
  }

  // ---- Activities that are owed: children
  static NewActivity Owes(EventId id, bool claim = false) {
    NewActivity activity = Activity(id, claim);
    activity.activity_type = "marathon.child/Type";
    activity.policy = ActivityPolicy();
    activity.owed = true;
    return activity;
  }
  // A run of session "s1" with such an activity, 2, claimed.
  RunKey Parent(const std::string& id) {
    TurnCommit commit;
    commit.activities.push_back(Owes(2, true));
    return Started(id, "s1", std::move(commit));
  }
  static AttemptEnd Detach(const ActivityRow& row, bool cancel_told = false) {
    AttemptEnd end = End(row.key, row.epoch, AttemptEnd::Kind::kDetach);
    end.cancel_told = cancel_told;
    return end;
  }
  static TurnCommit Closing(const RunKey& run, EventId from) {
    TurnCommit commit = Turn(run, from, from + 2, "s1", 100);
    commit.close = RunStatus::kCompleted;
    return commit;
  }
  // Claims what is due, as whoever polls would.
  std::vector<ActivityRow> ClaimDue(const SessionId& session) {
    auto rows = Claim(session, Poll().claimable);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? *std::move(rows) : std::vector<ActivityRow>();
  }

  // ---- Blobs that runs hold
  using Bytes = std::vector<std::string>;
  static NamedBlob Blob(const std::string& bytes) {
    return {{marathon::detail::Sha256Hex(bytes), bytes.size()}, bytes};
  }
  static TurnCommit With(TurnCommit commit, const Bytes& blobs) {
    for (const std::string& bytes : blobs) commit.blobs.push_back(Blob(bytes));
    return commit;
  }
  StatusOr<Bytes> Blobs(const std::string& id, std::vector<BlobRef> refs) {
    return Await<StatusOr<Bytes>>(*harness_,
                                  [&](auto done) { store().ReadBlobs(id, std::move(refs), std::move(done)); });
  }
  bool HasBlob(const std::string& id, const std::string& bytes) {
    const StatusOr<Bytes> read = Blobs(id, {Blob(bytes).ref});
    if (read.ok()) return *read == Bytes{bytes};
    EXPECT_EQ(read.status().code(), StatusCode::kNotFound) << read.status();
    return false;
  }
  // A run that has closed with these.
  RunKey ClosedWith(const std::string& id, const Bytes& blobs) {
    EXPECT_TRUE(Start(NewStart(id)).ok());
    TurnCommit turn = With(Turn(Run(id), 0, 2, "", 1), blobs);
    turn.close = RunStatus::kCompleted;
    const Reply reply = Commit(turn);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return Run(id);
  }
  // What nobody holds is gone now: another run's blobs come meanwhile, as in any store that is in use.
  void PassGrace() {
    Advance(limits::kBlobGrace + Duration(1));
    ClosedWith("bystander" + std::to_string(++bystanders_), {"of another"});
  }

  // ---- Updates
  static Message Update(const std::string& id) {
    return Message{0, UpdateKey(id), UpdateAccepted{.update_id = id, .name = "Add"}};
  }
  static UpdateAnswer Accepted(const std::string& id) { return {id, UpdateAccepted{}}; }
  static UpdateAnswer Completed(const std::string& id) {
    return {id, UpdateCompleted{3, Payload{"7", Encoding::kJson}, {}}};
  }
  static UpdateAnswer Rejected(const std::string& id) {
    UpdateCompleted rejected;
    rejected.failure.emplace().message = "no";
    return {id, std::move(rejected)};
  }
  static TurnCommit Answering(TurnCommit turn, std::vector<UpdateAnswer> answers) {
    turn.answers = std::move(answers);
    return turn;
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

  // ---- Hints for anyone, since the last call, in order. The observer receives all the time.
  std::vector<TaskHint> Hints() {
    if (!observing_) {
      observing_ = true;
      for (const TaskKind kind : {TaskKind::kTurn, TaskKind::kActivity}) {
        Observe(harness_->ports().queue, kind, seen_);
      }
    }
    for (int i = 0; i < 20; ++i) harness_->Pump();
    const std::lock_guard lock(seen_->mutex);
    return std::exchange(seen_->hints, {});
  }
  // What waits for `session` itself.
  StatusOr<std::vector<Delivery>> ReceiveAs(const SessionId& session, TaskKind kind,
                                            int max = 100) {
    return Await<StatusOr<std::vector<Delivery>>>(*harness_, [&](auto done) {
      queue().Receive(ReceiveRequest{session, kind, {"queue"}, max}, std::move(done));
    });
  }
  // Whose turns wait in a task queue, for anyone or `session`. REQUIRES: some do.
  std::set<RunKey> TurnsIn(const std::string& task_queue, const SessionId& session) {
    auto deliveries = Await<StatusOr<std::vector<Delivery>>>(*harness_, [&](auto done) {
      queue().Receive(ReceiveRequest{session, TaskKind::kTurn, {task_queue}, 100}, std::move(done));
    });
    std::set<RunKey> runs;
    for (const Delivery& delivery : deliveries.value_or(std::vector<Delivery>())) runs.insert(delivery.hint.run);
    return runs;
  }

 private:
  static constexpr const char* kObserver = "observer";
  struct Seen {
    std::mutex mutex;
    std::vector<TaskHint> hints;
  };

  // Goes on, on any thread, until the queue ends it; and that may be after the test.
  static void Observe(const std::shared_ptr<TaskQueue>& queue, TaskKind kind, std::shared_ptr<Seen> seen) {
    queue->Receive(ReceiveRequest{kObserver, kind, {"queue"}, 100},
                   [weak = std::weak_ptr(queue), kind, seen](StatusOr<std::vector<Delivery>> deliveries) {
                     if (!deliveries.ok()) return;
                     {
                       const std::lock_guard lock(seen->mutex);
                       for (Delivery& d : *deliveries) seen->hints.push_back(std::move(d.hint));
                     }
                     if (const auto same = weak.lock()) Observe(same, kind, seen);
                   });
  }

  std::unique_ptr<StoreHarness> harness_;
  std::shared_ptr<Seen> seen_ = std::make_shared<Seen>();
  bool observing_ = false;
  uint64_t renewals_ = 0;
  int bystanders_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::testing
