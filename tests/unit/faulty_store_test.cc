// The fault-injecting ports, against a store and a queue that only remember what reached them.
// needs: testing
// program: testing
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "marathon/testing/fault_rates.h"
#include "marathon/testing/faulty_state_store.h"
#include "marathon/testing/faulty_task_queue.h"
#include "marathon/testing/sim_runtime.h"
#include "marathon/testing/sim_world.h"

namespace marathon::testing::faulty_store_test {
namespace {

// Remembers commits; the calls a test does not use have no base to go to.
class TinyStore final : public ForwardingStateStore {
 public:
  TinyStore() : ForwardingStateStore(nullptr) {}

  std::string_view domain() const override { return "tiny"; }
  void OpenSession(SessionRow, std::weak_ptr<StoreWatcher> given, Done<Time> done) override {
    watcher = std::move(given);
    done(Time{});
  }
  void Commit(TurnCommit commit, Done<CommitReply> done) override {
    commits.push_back(commit.new_version);
    done(CommitReply{});
  }
  void Read(ReadRequest, Done<RunSnapshot> done) override { done(RunSnapshot{}); }
  uint64_t Await(AwaitRequest, Done<RunSnapshot> done) override {
    closing = std::move(done);
    return 77;
  }
  void CancelAwait(uint64_t name) override { canceled = name; }

  std::weak_ptr<StoreWatcher> watcher;
  std::vector<EventId> commits;
  Done<RunSnapshot> closing;
  uint64_t canceled = 0;
};

class FaultyStoreTest : public ::testing::Test {
 protected:
  FaultyStateStore& Store(FaultRates rates = FaultRates::None()) {
    faulty = std::make_shared<FaultyStateStore>(
        base, worker,
        FaultyStateStore::Options{
            .rates = rates, .counts = &counts, .on_crash = [this] { worker.Kill(); }});
    return *faulty;
  }

  // Commits, runs the world dry and returns the answer, if there was one.
  std::optional<StatusCode> Commit(EventId version = 1) {
    std::optional<StatusCode> answer;
    TurnCommit commit;
    commit.new_version = version;
    faulty->Commit(std::move(commit),
                   [&](const StatusOr<CommitReply>& reply) { answer = reply.status().code(); });
    world.RunUntilIdle();
    return answer;
  }

  SimWorld world{1};
  SimRuntime worker{world, "worker"};
  std::shared_ptr<TinyStore> base = std::make_shared<TinyStore>();
  FaultCounts counts;
  std::shared_ptr<FaultyStateStore> faulty;
};

TEST_F(FaultyStoreTest, ACallTakesTimeBothWays) {
  Store();
  bool answered = false;
  faulty->Commit({}, [&](const StatusOr<CommitReply>&) { answered = true; });
  EXPECT_TRUE(base->commits.empty());
  ASSERT_TRUE(world.Step());
  EXPECT_EQ(base->commits.size(), 1u);
  EXPECT_FALSE(answered);
  world.RunUntilIdle();
  EXPECT_TRUE(answered);
  EXPECT_EQ(counts.commits, 1u);
}

TEST_F(FaultyStoreTest, EachFaultDoesWhatItSays) {
  struct Case {
    CallFault fault;
    std::optional<StatusCode> answer;
    size_t commits;
    bool alive;
  };
  const Case cases[] = {
      {CallFault::kNone, StatusCode::kOk, 1, true},
      {CallFault::kUnavailable, StatusCode::kUnavailable, 0, true},
      {CallFault::kUnknownNotDone, StatusCode::kUnknown, 0, true},
      {CallFault::kUnknownDone, StatusCode::kUnknown, 1, true},
      {CallFault::kUnknownLate, StatusCode::kUnknown, 1, true},
      {CallFault::kRepeated, StatusCode::kOk, 2, true},
      {CallFault::kCrashBefore, std::nullopt, 0, false},
      {CallFault::kCrashAfter, std::nullopt, 1, false},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(static_cast<int>(one.fault));
    SimRuntime caller(world, "caller");
    base->commits.clear();
    faulty = std::make_shared<FaultyStateStore>(
        base, caller,
        FaultyStateStore::Options{
            .rates = {}, .counts = &counts, .on_crash = [&caller] { caller.Kill(); }});
    faulty->FailCall(1, one.fault);
    EXPECT_EQ(Commit(), one.answer);
    EXPECT_EQ(base->commits.size(), one.commits);
    EXPECT_EQ(caller.IsAlive(), one.alive);
  }
  EXPECT_EQ(counts.ambiguous, 3u);
  EXPECT_EQ(counts.ambiguous_done, 2u);
  EXPECT_EQ(counts.duplicated, 1u);
  EXPECT_EQ(counts.unavailable, 1u);
  EXPECT_EQ(counts.crashes_after_write, 1u);
}

TEST_F(FaultyStoreTest, FailsTheNthCallOnceOrForEver) {
  Store().FailCall(2, CallFault::kUnavailable);
  EXPECT_EQ(Commit(), StatusCode::kOk);
  EXPECT_EQ(Commit(), StatusCode::kUnavailable);
  EXPECT_EQ(Commit(), StatusCode::kOk);
  faulty->FailCall(2, CallFault::kUnavailable, true);
  EXPECT_EQ(Commit(), StatusCode::kOk);
  EXPECT_EQ(Commit(), StatusCode::kUnavailable);
  EXPECT_EQ(Commit(), StatusCode::kUnavailable);
  EXPECT_EQ(faulty->calls(), 6u);
}

TEST_F(FaultyStoreTest, ReadsAreNeverAmbiguous) {
  FaultRates rates;
  rates.ambiguous = 1;
  Store(rates);
  std::optional<StatusCode> answer;
  const auto read = [&] {
    faulty->Read({}, [&](const StatusOr<RunSnapshot>& r) { answer = r.status().code(); });
    world.RunUntilIdle();
  };
  read();
  EXPECT_EQ(answer, StatusCode::kOk);
  faulty->FailCall(1, CallFault::kUnknownDone);
  read();
  EXPECT_EQ(answer, StatusCode::kUnavailable);
}

TEST_F(FaultyStoreTest, TheDeadHearNothingAndAreHeardSometimes) {
  size_t arrived = 0;
  for (int i = 0; i < 100; ++i) {
    SimRuntime caller(world, "caller " + std::to_string(i));
    base->commits.clear();
    faulty = std::make_shared<FaultyStateStore>(
        base, caller, FaultyStateStore::Options{.rates = {}, .counts = &counts, .on_crash = {}});
    faulty->Commit({}, [](const StatusOr<CommitReply>&) { FAIL(); });
    caller.Kill();
    faulty->Commit({}, [](const StatusOr<CommitReply>&) { FAIL(); });  // never leaves
    faulty.reset();
    world.RunUntilIdle();
    EXPECT_LE(base->commits.size(), 1u);
    arrived += base->commits.size();
  }
  EXPECT_GT(arrived, 25u);
  EXPECT_LT(arrived, 75u);
}

TEST_F(FaultyStoreTest, DirectCallsAnswerBeforeTheyReturn) {
  FaultRates rates;
  rates.direct = 1;
  Store(rates);
  bool answered = false;
  faulty->Commit({}, [&](const StatusOr<CommitReply>&) { answered = true; });
  EXPECT_TRUE(answered);
}

struct Recorder final : StoreWatcher {
  void OnDue(Time) override { ++due; }
  void OnActivitiesCanceled(const std::vector<ActivityKey>& keys) override { canceled += keys.size(); }
  int due = 0;
  size_t canceled = 0;
};

TEST_F(FaultyStoreTest, WatchersAreToldThroughTheWorldUntilDeath) {
  const auto recorder = std::make_shared<Recorder>();
  Store().OpenSession({}, recorder, [](const StatusOr<Time>&) {});
  world.RunUntilIdle();
  const auto told = base->watcher.lock();
  ASSERT_NE(told, nullptr);
  told->OnDue(Time{});
  told->OnActivitiesCanceled({ActivityKey{}, ActivityKey{}});
  EXPECT_EQ(recorder->due, 0) << "not within the store's own call";
  world.RunUntilIdle();
  EXPECT_EQ(recorder->due, 1);
  EXPECT_EQ(recorder->canceled, 2u);
  worker.Kill();
  told->OnDue(Time{});
  world.RunUntilIdle();
  EXPECT_EQ(recorder->due, 1);
}

TEST_F(FaultyStoreTest, AwaitCloseAnswersOnceOrIsCancelled) {
  int answers = 0;
  Store().AwaitClose({}, [&](const StatusOr<RunSnapshot>&) { ++answers; });
  world.RunUntilIdle();
  base->closing(RunSnapshot{});
  world.RunUntilIdle();
  EXPECT_EQ(answers, 1);

  const auto token = std::make_shared<int>();
  const uint64_t name = faulty->AwaitClose({}, [token](const StatusOr<RunSnapshot>&) { FAIL(); });
  world.RunUntilIdle();
  faulty->CancelAwait(name);
  EXPECT_EQ(base->canceled, 77u);
  EXPECT_EQ(token.use_count(), 1);
  base->closing(RunSnapshot{});
  world.RunUntilIdle();
}

TEST(FaultyStoreSeedTest, TheSameSeedMeetsTheSameFaults) {
  const auto run = [] {
    SimWorld world(42);
    SimRuntime worker(world, "worker");
    FaultCounts counts;
    auto base = std::make_shared<TinyStore>();
    FaultyStateStore store(base, worker,
                           {.rates = FaultRates::Plain(), .counts = &counts, .on_crash = [] {}});
    for (int i = 0; i < 500; ++i) store.Commit({}, [](const StatusOr<CommitReply>&) {});
    world.RunUntilIdle();
    EXPECT_GT(counts.ambiguous, 10u);
    EXPECT_GT(counts.unavailable, 2u);
    return world.hash();
  };
  EXPECT_EQ(run(), run());
}

TEST(FaultRatesTest, TheSwarmLeavesEachClassOutInThirtyPercentOfSeeds) {
  int without_ambiguous = 0;
  int without_crashes = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    SeededRandom random(seed);
    const FaultRates rates = FaultRates::Draw(random);
    without_ambiguous += rates.ambiguous == 0;
    without_crashes += rates.crash_mean_s == 0;
    EXPECT_LE(rates.duplicated, 0.6);
  }
  EXPECT_NEAR(without_ambiguous, 300, 60);
  EXPECT_NEAR(without_crashes, 300, 60);
}

// Gives what it was sent, one Receive at a time.
class TinyQueue final : public TaskQueue {
 public:
  std::string_view domain() const override { return "tiny"; }
  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    for (TaskHint& hint : hints) sent.push_back(std::move(hint));
    done(absl::OkStatus());
    if (receiver && !sent.empty()) std::exchange(receiver, {})(Take());
  }
  void Receive(ReceiveRequest, Done<std::vector<Delivery>> done) override {
    if (sent.empty()) {
      receiver = std::move(done);
    } else {
      done(Take());
    }
  }
  void Ack(std::vector<std::string> receipts, DoneStatus done) override {
    acked += receipts.size();
    done(absl::OkStatus());
  }
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override {
    for (Delivery& delivery : deliveries) sent.push_back(std::move(delivery.hint));
    done(absl::OkStatus());
  }
  void StopReceiving(const SessionId&) override {}

  std::vector<Delivery> Take() {
    Delivery one{sent.front(), "receipt"};
    sent.pop_front();
    return {one};
  }
  std::deque<TaskHint> sent;
  Done<std::vector<Delivery>> receiver;
  size_t acked = 0;
};

class FaultyQueueTest : public ::testing::Test {
 protected:
  void Use(const FaultRates& rates) {
    faulty = std::make_shared<FaultyTaskQueue>(base, worker, rates, &counts);
  }
  // Receives and acknowledges for ever.
  void Listen() {
    faulty->Receive({.task_queues = {"q"}, .max = 10},
                    [this](StatusOr<std::vector<Delivery>> result) {
                      ASSERT_TRUE(result.ok());
                      for (const Delivery& delivery : *result) {
                        received.push_back(delivery.hint.activity);
                        faulty->Ack({delivery.receipt}, [](const Status&) {});
                      }
                      Listen();
                    });
  }
  void PutInBase(int count) {
    for (int i = 0; i < count; ++i) {
      base->Send({TaskHint{.task_queue = "q", .activity = i}}, [](const Status&) {});
    }
  }

  SimWorld world{1};
  SimRuntime worker{world, "worker"};
  std::shared_ptr<TinyQueue> base = std::make_shared<TinyQueue>();
  FaultCounts counts;
  std::shared_ptr<FaultyTaskQueue> faulty;
  std::vector<EventId> received;
};

TEST_F(FaultyQueueTest, WithoutFaultsEachHintArrivesOnce) {
  Use(FaultRates::None());
  PutInBase(20);
  Listen();
  world.RunUntilIdle();
  EXPECT_EQ(received.size(), 20u);
  EXPECT_EQ(base->acked, 20u);
}

TEST_F(FaultyQueueTest, LosesDoublesAndDelaysWhatItReceives) {
  Use({.lost = 0.2, .duplicated = 0.3, .late = 0.3});
  PutInBase(500);
  Listen();
  world.RunUntilIdle();
  EXPECT_EQ(received.size(), 500 - counts.lost + counts.duplicated);
  EXPECT_NEAR(static_cast<double>(counts.lost), 100, 40);
  EXPECT_NEAR(static_cast<double>(counts.duplicated), 120, 40);
  EXPECT_NEAR(static_cast<double>(counts.late), 120, 40);
  EXPECT_FALSE(std::is_sorted(received.begin(), received.end()));
}

TEST_F(FaultyQueueTest, DisturbsWhatItSends) {
  Use({.lost = 0.2, .duplicated = 0.3, .late = 0.3});
  int sent = 0;
  for (int i = 0; i < 300; ++i) {
    faulty->Send({TaskHint{.task_queue = "q", .activity = i}}, [&](const Status& s) {
      EXPECT_TRUE(s.ok());
      ++sent;
    });
  }
  world.RunUntilIdle();
  EXPECT_EQ(sent, 300);
  EXPECT_EQ(base->sent.size(), 300 - counts.lost + counts.duplicated);
}

TEST_F(FaultyQueueTest, WhatReachesTheDeadIsLost) {
  Use(FaultRates::None());
  Listen();
  worker.Kill();
  PutInBase(1);
  world.RunUntilIdle();
  EXPECT_TRUE(received.empty());
  EXPECT_EQ(counts.lost, 1u);
}

TEST_F(FaultyQueueTest, WhatIsHeldBackGoesToAReceiveThatFits) {
  Use({.late = 1});
  PutInBase(1);
  const auto receive = [this](TaskKind kind) {
    auto count = std::make_shared<size_t>(99);
    faulty->Receive({.kind = kind, .task_queues = {"q"}},
                    [count](StatusOr<std::vector<Delivery>> result) { *count = result->size(); });
    return count;
  };
  const auto first = receive(TaskKind::kTurn);
  const auto other = receive(TaskKind::kActivity);
  world.RunUntilIdle();
  EXPECT_EQ(*first, 0u) << "its hint is late, and an empty answer is one";
  EXPECT_EQ(*other, 99u);
  const auto second = receive(TaskKind::kTurn);
  world.RunUntilIdle();
  EXPECT_EQ(*second, 1u);
  EXPECT_EQ(*other, 99u);
}

}  // namespace
}  // namespace marathon::testing::faulty_store_test
