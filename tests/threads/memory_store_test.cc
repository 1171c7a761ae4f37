// The memory store under several threads at once: nothing is lost, nothing is done twice.
// program: stores
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/testing/manual_clock.h"

namespace marathon::testing::memory_store_test {
namespace {

constexpr int kThreads = 4;

void InThreads(const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(body, t);
  for (std::thread& thread : threads) thread.join();
}

RunKey Key(int i) { return RunKey{"w" + std::to_string(i), "run" + std::to_string(i)}; }

TurnCommit Turn(const RunKey& run, EventId from, EventId to, const SessionId& session) {
  TurnCommit commit;
  commit.run = run;
  commit.expected_version = from;
  commit.new_version = to;
  commit.commit_id = static_cast<CommitId>(to);
  commit.session = session;
  commit.record = "record";
  return commit;
}

class MemoryThreadsTest : public ::testing::Test {
 protected:
  StateStore& store() { return *ports_.store; }
  TaskQueue& queue() { return *ports_.queue; }

  void OpenSession(const SessionId& id) {
    SessionRow row;
    row.id = id;
    store().OpenSession(row, {}, [](const StatusOr<Time>& t) { EXPECT_TRUE(t.ok()); });
  }
  void StartRun(int i, const std::vector<NewActivity>& activities = {}) {
    StartRequest request;
    request.run = Key(i);
    request.workflow_type = "Type";
    request.task_queue = "queue";
    request.first_turn = Turn(Key(i), 0, 2, "");
    request.first_turn->activities = activities;
    store().Start(std::move(request), [](const StatusOr<StartReply>& r) { EXPECT_TRUE(r.ok()); });
  }

  ManualClock clock_;
  Ports ports_ = NewMemoryPorts(clock_);
};

TEST_F(MemoryThreadsTest, OfCommitsAtTheSameVersionOneWins) {
  constexpr int kVersions = 500;
  StartRun(0);
  std::atomic<int> won{0};
  InThreads([&](int t) {
    for (EventId v = 2; v < 2 + kVersions; ++v) {
      TurnCommit commit = Turn(Key(0), v, v + 1, "s" + std::to_string(t));
      while (true) {
        StatusCode code = StatusCode::kOk;
        store().Commit(commit, [&](const StatusOr<CommitReply>& r) { code = r.status().code(); });
        if (code == StatusCode::kOk) ++won;
        EventId version = 0;
        store().Read({.run = Key(0)},
                     [&](const StatusOr<RunSnapshot>& r) { version = r->row.version; });
        if (version > v) break;
      }
    }
  });
  EXPECT_EQ(won, kVersions);
}

TEST_F(MemoryThreadsTest, EveryAwaitIsAnsweredOnce) {
  constexpr int kRuns = 2000;
  for (int i = 0; i < kRuns; ++i) StartRun(i);
  std::atomic<int> answered{0};
  InThreads([&](int t) {
    for (int i = 0; i < kRuns; ++i) {
      if (t % 2 == 0) {
        store().AwaitClose(Key(i), [&](const StatusOr<RunSnapshot>& r) {
          EXPECT_TRUE(r.ok());
          ++answered;
        });
      } else if (i % 2 == t / 2) {
        TurnCommit commit = Turn(Key(i), 2, 3, "");
        commit.close = RunStatus::kCompleted;
        store().Commit(std::move(commit),
                       [](const StatusOr<CommitReply>& r) { EXPECT_TRUE(r.ok()); });
      }
    }
  });
  EXPECT_EQ(answered, kRuns * kThreads / 2);
}

TEST_F(MemoryThreadsTest, EveryActivityIsClaimedByOneAndFoundThroughItsHint) {
  constexpr int kRuns = 1000;
  std::atomic<int> won{0};
  std::atomic<bool> stop{false};
  InThreads([&](int t) {
    const SessionId session = "s" + std::to_string(t);
    OpenSession(session);
    if (t == 0) {
      NewActivity activity;
      activity.id = 2;
      activity.task_queue = "queue";
      activity.policy.start_to_close = std::chrono::minutes(1);
      for (int i = 0; i < kRuns; ++i) StartRun(i, {activity});
      while (won < kRuns) std::this_thread::yield();
      stop = true;
      for (int i = 1; i < kThreads; ++i) queue().StopReceiving("s" + std::to_string(i));
      return;
    }
    while (!stop) {
      std::atomic<bool> done{false};
      queue().Receive({session, TaskKind::kActivity, {"queue"}, 10},
                      [&](StatusOr<std::vector<Delivery>> deliveries) {
                        std::vector<ClaimRequest> requests;
                        if (deliveries.ok()) {
                          for (const Delivery& d : *deliveries) {
                            const ClaimRequest claim{{d.hint.run, d.hint.activity}, d.hint.epoch};
                            requests.insert(requests.end(), 2, claim);  // late doubles
                          }
                        }
                        store().ClaimActivities(
                            session, std::move(requests),
                            [&](const StatusOr<std::vector<ActivityRow>>& rows) {
                              won += static_cast<int>(rows->size());
                            });
                        done = true;
                      });
      while (!done) std::this_thread::yield();
    }
  });
  EXPECT_EQ(won, kRuns);
}

TEST_F(MemoryThreadsTest, AnEndedSessionHoldsNothing) {
  constexpr int kRuns = 400;
  NewActivity activity;
  activity.id = 2;
  activity.task_queue = "queue";
  activity.policy.start_to_close = std::chrono::minutes(1);
  for (int i = 0; i < kRuns; ++i) StartRun(i, {activity});
  OpenSession("s");
  std::atomic<int> refused{0};
  InThreads([&](int t) {
    for (int i = t; i < kRuns; i += kThreads) {
      if (i == kRuns / 2) store().CloseSession("s", [](const Status& s) { EXPECT_TRUE(s.ok()); });
      store().ClaimActivities(
          "s", {{{Key(i), 2}, 0}},
          [&](const StatusOr<std::vector<ActivityRow>>& r) { refused += !r.ok(); });
    }
  });
  EXPECT_GT(refused, 0);
  for (int i = 0; i < kRuns; ++i) {
    store().Read({.run = Key(i), .activities = true}, [](const StatusOr<RunSnapshot>& r) {
      EXPECT_EQ(r->activities.at(0).state, ActivityState::kClaimable);
    });
  }
}

TEST_F(MemoryThreadsTest, EveryTimerFiresOnceUnderManyPolls) {
  constexpr int kRuns = 2000;
  OpenSession("s");
  for (int i = 0; i < kRuns; ++i) {
    StartRequest request;
    request.run = Key(i);
    request.task_queue = "queue";
    request.first_turn = Turn(Key(i), 0, 2, "s");
    request.first_turn->timers.push_back({2, std::chrono::seconds(i % 20)});
    store().Start(std::move(request), [](const StatusOr<StartReply>& r) { EXPECT_TRUE(r.ok()); });
  }
  std::atomic<int> fired{0};
  clock_.Advance(std::chrono::seconds(20));
  InThreads([&](int) {
    for (Time next{}; next <= clock_.Now();) {
      store().PollDue({"s", 37}, [&](const StatusOr<DueReply>& r) {
        fired += static_cast<int>(r->ready.size());
        next = r->next_due;
      });
    }
  });
  EXPECT_EQ(fired, kRuns);
}

}  // namespace
}  // namespace marathon::testing::memory_store_test
