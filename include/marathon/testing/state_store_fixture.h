// The fixture of the StateStore suite: scenes, of the requests in store_requests.h and the calls in store_calls.h; and
// hints, collected.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/store_rows.h"
#include "marathon/task_queue.h"
#include "marathon/testing/store_calls.h"
#include "marathon/testing/store_harness.h"
#include "marathon/testing/store_requests.h"

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

class StateStoreConformance : public ::testing::TestWithParam<HarnessMaker>,
                              protected StoreRequests,
                              protected StoreCalls {
 protected:
  using StoreRequests::Run;  // and not ::testing::Test's

  StateStoreConformance() : StoreCalls(GetParam().make()) {}
  ~StateStoreConformance() override { queue().StopReceiving(kObserver); }

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
  RunLabels LabelsOf(const RunKey& run) { return ReadAll(run).row.labels.value_or(RunLabels()); }
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
  // A run of session "s1" with an activity that is owed, 2, claimed.
  RunKey Parent(const std::string& id) {
    TurnCommit commit;
    commit.activities.push_back(Owes(2, true));
    return Started(id, "s1", std::move(commit));
  }
  // Claims what is due, as whoever polls would.
  std::vector<ActivityRow> ClaimDue(const SessionId& session) {
    auto rows = Claim(session, Poll().claimable);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? *std::move(rows) : std::vector<ActivityRow>();
  }

  // ---- Blobs that runs hold
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

  // ---- Hints for anyone, since the last call, in order. The observer receives all the time.
  std::vector<TaskHint> Hints() {
    if (!observing_) {
      observing_ = true;
      for (const TaskKind kind : {TaskKind::kTurn, TaskKind::kActivity}) {
        Observe(harness().ports().queue, kind, seen_);
      }
    }
    for (int i = 0; i < 20; ++i) harness().Pump();
    const std::lock_guard lock(seen_->mutex);
    return std::exchange(seen_->hints, {});
  }
  // What waits for `session` itself.
  StatusOr<std::vector<Delivery>> ReceiveAs(const SessionId& session, TaskKind kind,
                                            int max = 100) {
    return Await<StatusOr<std::vector<Delivery>>>(harness(), [&](auto done) {
      queue().Receive(ReceiveRequest{session, kind, {"queue"}, max}, std::move(done));
    });
  }
  // Whose turns wait in a task queue, for anyone or `session`. REQUIRES: some do.
  std::set<RunKey> TurnsIn(const std::string& task_queue, const SessionId& session) {
    auto deliveries = Await<StatusOr<std::vector<Delivery>>>(harness(), [&](auto done) {
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

  std::shared_ptr<Seen> seen_ = std::make_shared<Seen>();
  bool observing_ = false;
  int bystanders_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::testing
