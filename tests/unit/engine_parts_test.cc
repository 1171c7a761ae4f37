// The engine's small parts: the thread pools, the block pool, how far activities are claimed ahead, and the gate.
// labels: threads
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <cstring>
#include <latch>
#include <set>
#include <thread>
#include <vector>

#include "marathon/detail/block_pool.h"
#include "marathon/engine/activity_gate.h"
#include "marathon/engine/claim_ahead.h"
#include "marathon/limits.h"
#include "marathon/registry.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon {
namespace {

// ---- ThreadRuntime: work never waits for a thread that another piece of work holds.

TEST(ThreadRuntimeTest, WakesAThreadForEachPieceOfWorkThatBlocks) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 300;
  ThreadRuntime runtime(1, kThreads);
  for (int round = 0; round < kRounds; ++round) {
    std::latch all_run(kThreads);
    std::latch ended(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      runtime.Post(Lane::kActivity, [&] {
        all_run.arrive_and_wait();  // none goes on until all have their thread
        ended.count_down();
      });
    }
    ended.wait();
  }
}

TEST(ThreadRuntimeTest, RunsEverythingThatManyThreadsPost) {
  constexpr int kPosters = 4;
  constexpr int kPosts = 2'000;
  ThreadRuntime runtime(2, 3);
  std::atomic<int> run{0};
  std::latch ended(kPosters * kPosts);
  {
    std::vector<std::jthread> posters;
    for (int p = 0; p < kPosters; ++p) {
      posters.emplace_back([&, lane = p % 2 == 0 ? Lane::kTurn : Lane::kActivity] {
        for (int i = 0; i < kPosts; ++i) {
          runtime.Post(lane, [&] {
            ++run;
            ended.count_down();
          });
        }
      });
    }
  }
  ended.wait();
  EXPECT_EQ(run, kPosters * kPosts);
}

TEST(ThreadRuntimeTest, RunsWhatAPieceOfWorkPostsToItsOwnPool) {
  ThreadRuntime runtime(1, 2);
  for (int round = 0; round < 200; ++round) {
    std::latch ended(3);
    runtime.Post(Lane::kActivity, [&] {
      for (int i = 0; i < 3; ++i) runtime.Post(Lane::kActivity, [&] { ended.count_down(); });
    });
    ended.wait();
  }
}

// What it posts to its own pool it would run itself next: not if it waits for it.
TEST(ThreadRuntimeTest, APieceOfWorkMayWaitForWhatItPostsToItsOwnPool) {
  ThreadRuntime runtime(1, 3);
  for (int round = 0; round < 200; ++round) {
    std::latch ended(1);
    runtime.Post(Lane::kActivity, [&] {
      const auto done = runtime.NewOneShot();
      runtime.Post(Lane::kActivity, [done] { done->Set(); });
      done->Wait(OneShot::kForever);
      ended.count_down();
    });
    ended.wait();
  }
}

TEST(ThreadRuntimeTest, LetsMoreThreadsThanCoresGoIfTheyBlock) {
  constexpr int kThreads = 40;  // all of them at once, and those who only find work do not get in their way
  ThreadRuntime runtime(1, kThreads);
  for (int round = 0; round < 3; ++round) {
    std::latch all_run(kThreads);
    std::latch ended(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      runtime.Post(Lane::kActivity, [&] {
        all_run.arrive_and_wait();
        ended.count_down();
      });
      runtime.Post(Lane::kTurn, [] {});
    }
    ended.wait();
  }
}

TEST(ThreadRuntimeTest, AOneShotIsSeenByWhoeverWaits) {
  ThreadRuntime runtime(1, 2);
  for (int round = 0; round < 500; ++round) {
    const auto done = runtime.NewOneShot();
    runtime.Post(Lane::kActivity, [done] { done->Set(); });
    EXPECT_TRUE(done->Wait(round % 2 == 0 ? OneShot::kForever : Duration(60'000)));
  }
  EXPECT_FALSE(runtime.NewOneShot()->Wait(Duration(1)));
}

TEST(ThreadRuntimeTest, TheLongestWaitIsNotOver) {
  ThreadRuntime runtime(1, 1);
  const std::shared_ptr<OneShot> later = runtime.NewOneShot();
  runtime.SetAlarm(std::chrono::milliseconds(30), [later] { later->Set(); });
  EXPECT_TRUE(later->Wait(Duration::max() - std::chrono::milliseconds(1)));
}

// ---- BlockPool

TEST(BlockPoolTest, GivesEachBlockToOneTakerAtATime) {
  constexpr int kBlocks = 500;
  constexpr size_t kSizes[] = {1, 64, 65, 700, 2048, 5000};
  std::barrier turn(2);
  std::vector<std::pair<char*, size_t>> blocks;
  bool intact = true;
  const auto take = [&] {
    for (int round = 0; round < 20; ++round) {
      std::set<void*> distinct;
      for (int i = 0; i < kBlocks; ++i) {
        const size_t size = kSizes[i % std::size(kSizes)];
        blocks.emplace_back(static_cast<char*>(detail::BlockPool::Take(size)), size);
        std::memset(blocks.back().first, i % 100, size);
        distinct.insert(blocks.back().first);
      }
      intact &= distinct.size() == kBlocks;
      turn.arrive_and_wait();  // the other thread checks and gives back
      turn.arrive_and_wait();
    }
  };
  const auto give = [&] {
    for (int round = 0; round < 20; ++round) {
      turn.arrive_and_wait();
      for (int i = 0; i < kBlocks; ++i) {
        const auto [memory, size] = blocks[static_cast<size_t>(i)];
        intact &= memory[0] == i % 100 && memory[size - 1] == i % 100;
        detail::BlockPool::Give(memory, size);
      }
      blocks.clear();
      turn.arrive_and_wait();
    }
  };
  {
    std::jthread taker(take);
    std::jthread giver(give);
  }
  EXPECT_TRUE(intact);
}

// ---- ClaimAhead

TEST(ClaimAheadTest, ClaimsAheadOnlyOnceActivitiesAreKnownToBeShort) {
  detail::ClaimAhead ahead(16);
  EXPECT_EQ(ahead.limit(), 16);
  for (int i = 0; i < 1'000; ++i) ahead.Measured(10);
  EXPECT_EQ(ahead.limit(), 16 * 65);
}

TEST(ClaimAheadTest, KeepsTheWaitingWorkOfAThreadUnderFiftyMilliseconds) {
  detail::ClaimAhead ahead(16);
  for (int i = 0; i < 1'000; ++i) ahead.Measured(10'000);
  EXPECT_EQ(ahead.limit(), 16 * (1 + 5));
}

TEST(ClaimAheadTest, StopsAtOnceAfterALongActivityAndBeginsAgainSlowly) {
  detail::ClaimAhead ahead(16);
  for (int i = 0; i < 1'000; ++i) ahead.Measured(10);
  ahead.Measured(60'000'000);
  EXPECT_EQ(ahead.limit(), 16);
  for (int i = 0; i < 50; ++i) ahead.Measured(10);
  EXPECT_EQ(ahead.limit(), 16);
}

TEST(ClaimAheadTest, StopsWhenSomethingHasWaitedTooLong) {
  detail::ClaimAhead ahead(16);
  for (int i = 0; i < 1'000; ++i) ahead.Measured(10);
  ahead.WaitedTooLong();
  EXPECT_EQ(ahead.limit(), 16);
}

// ---- ActivityGate

Delivery HintOf(EventId activity, uint8_t priority) {
  TaskHint hint{TaskKind::kActivity, "queue", {"w", "r"}, activity, 0, "", "Work"};
  hint.priority = priority;
  return {hint, ""};
}

// Method: more hints than it keeps, and behind them some that go sooner.
TEST(ActivityGateTest, WhatGoesSoonerHasThePlaceOfTheLast) {
  Registry registry;
  registry.Bind(ActivityDef<int(int)>{"Work"}, [](int x) { return x; }, {.max_concurrent = 3});
  detail::ActivityGate gate(registry, EngineOptions());
  const auto count = static_cast<EventId>(limits::kMaxKeptHints);
  for (EventId id = 1; id <= count; ++id) EXPECT_TRUE(gate.Keep(HintOf(id, 3), false));
  EXPECT_FALSE(gate.Keep(HintOf(count + 1, 3), false));
  EXPECT_FALSE(gate.Keep(HintOf(count + 2, 5), false));
  EXPECT_TRUE(gate.Keep(HintOf(count + 3, 2), false));
  EXPECT_TRUE(gate.Keep(HintOf(count + 4, 1), false));
  EXPECT_FALSE(gate.Keep(HintOf(count + 4, 1), false)) << "it is here";
  std::vector<EventId> ready;
  detail::ActivityRoom room{.blocking = 9, .asynchronous = 9};
  for (const Delivery& delivery : gate.TakeReady(room, 0)) ready.push_back(delivery.hint.activity);
  EXPECT_EQ(ready, (std::vector<EventId>{count + 4, count + 3, 1}));
  EXPECT_EQ(room.blocking, 6);
  EXPECT_EQ(gate.TakeKept().size(), limits::kMaxKeptHints - 3);
  EXPECT_FALSE(gate.holds());
}

// Method: a worker with activities of both kinds, and no room for one of them.
TEST(ActivityGateTest, OfTheKindThatHasNoRoomItLooksAtAFewOnly) {
  Registry registry;
  registry.Bind(ActivityDef<int(int)>{"Work"}, [](int x) { return x; });
  registry.Bind(ActivityDef<int(int)>{"Ask"},
                [](ActivityContext&, const int&, ActivityCompletion<int> done) { done.Complete(1); });
  detail::ActivityGate gate(registry, EngineOptions());
  ASSERT_TRUE(gate.is_mixed());
  EXPECT_EQ(gate.Wanted({.blocking = 3, .asynchronous = 5}, 0), 5);
  EXPECT_EQ(gate.Wanted({.blocking = 0, .asynchronous = 64}, 0), 16);
  for (EventId id = 1; id <= 16; ++id) {
    EXPECT_EQ(gate.Wanted({.blocking = 0, .asynchronous = 64}, 0), 17 - static_cast<int>(id));
    EXPECT_TRUE(gate.Keep(HintOf(id, 3), false));
  }
  EXPECT_EQ(gate.Wanted({.blocking = 0, .asynchronous = 64}, 0), 0);
  EXPECT_EQ(gate.Wanted({.blocking = 2, .asynchronous = 64}, 0), 2);
  EXPECT_EQ(gate.Wanted({.blocking = 2, .asynchronous = 0}, 0), 2) << "what is kept is of the other kind";
  detail::ActivityRoom none{.blocking = 0, .asynchronous = 64};
  EXPECT_TRUE(gate.TakeReady(none, 0).empty());
  EXPECT_FALSE(gate.NextAlarm(0).has_value()) << "they wait for room, which no clock brings";
}

}  // namespace
}  // namespace marathon
