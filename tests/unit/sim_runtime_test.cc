// The foundations of the simulator: dice, virtual time, and workers that die and freeze.
// needs: testing
// program: testing
#include "marathon/testing/sim_runtime.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "marathon/testing/seeded_random.h"
#include "marathon/testing/sim_world.h"

namespace marathon::testing::sim_runtime_test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(SeededRandomTest, ForksDependOnTheLabelAndNotOnDraws) {
  SeededRandom one(7);
  SeededRandom other(7);
  other.Next();
  SeededRandom a = one.Fork("faults");
  SeededRandom b = other.Fork("faults");
  SeededRandom c = one.Fork("workload");
  const uint64_t first = a.Next();
  EXPECT_EQ(first, b.Next());
  EXPECT_NE(first, c.Next());
  EXPECT_NE(SeededRandom(8).Fork("faults").Next(), first);
}

TEST(SeededRandomTest, GivesTheNumbersItGaveBefore) {
  SeededRandom random(1);
  EXPECT_EQ(random.Next(), 0xb3f2af6d0fc710c5u);  // xoshiro256** after splitmix64, from its author's code
}

TEST(SeededRandomTest, StaysWithinItsBounds) {
  SeededRandom random(3);
  std::vector<int> seen(4);
  for (int i = 0; i < 1000; ++i) ++seen.at(static_cast<size_t>(random.Between(2, 5) - 2));
  for (const int count : seen) EXPECT_GT(count, 150);
  EXPECT_EQ(random.Below(0), 0u);
  EXPECT_FALSE(random.Chance(0));
}

TEST(SimWorldTest, RunsEntriesInTheOrderOfTheirTimes) {
  SimWorld world(1);
  std::vector<int> order;
  world.After(kWorldActor, 2'000'000, "late", [&] { order.push_back(2); });
  world.After(kWorldActor, 1'000, "early", [&] { order.push_back(1); });
  const Time begin = world.Now();
  EXPECT_TRUE(world.RunUntilIdle());
  EXPECT_EQ(order, (std::vector{1, 2}));
  EXPECT_EQ(world.Now() - begin, std::chrono::seconds(2));
  EXPECT_EQ(world.steps(), 2u);
}

TEST(SimWorldTest, DrawsTheOrderOfEqualTimesFromTheSeed) {
  const auto order = [](uint64_t seed) {
    SimWorld world(seed);
    std::string letters;
    for (const char c : std::string("abcdefgh")) {
      world.After(kWorldActor, 5, "letter", [&letters, c] { letters += c; });
    }
    world.RunUntilIdle();
    return letters;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

TEST(SimWorldTest, HashTellsExecutionsApart) {
  const auto hash = [](int64_t delay, std::string_view label, size_t trace_lines) {
    SimWorld world(1, {.trace_lines = trace_lines});
    world.After(kWorldActor, delay, label, [] {});
    world.RunUntilIdle();
    return world.hash();
  };
  EXPECT_EQ(hash(5, "a", 0), hash(5, "a", 100)) << "tracing changes nothing";
  EXPECT_NE(hash(5, "a", 0), hash(6, "a", 0));
  EXPECT_NE(hash(5, "a", 0), hash(5, "b", 0));
}

TEST(SimWorldTest, StopsAtATimeAndAtAPredicate) {
  SimWorld world(1);
  int runs = 0;
  for (int i = 1; i <= 10; ++i) world.After(kWorldActor, i * 1'000'000, "tick", [&] { ++runs; });
  const Time begin = world.Now();
  world.RunUntil(begin + milliseconds(2'500));
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(world.Now(), begin + milliseconds(2'500));
  EXPECT_TRUE(world.RunUntil([&] { return runs == 5; }));
  EXPECT_FALSE(world.RunUntil([&] { return runs == 8; }, begin + milliseconds(6'000)));
  EXPECT_EQ(runs, 6);
  EXPECT_FALSE(world.RunUntilIdle(2));
  EXPECT_TRUE(world.RunUntilIdle());
  EXPECT_FALSE(world.RunUntil([] { return false; }));
}

TEST(SimWorldTest, CancelDestroysTheWork) {
  SimWorld world(1);
  auto token = std::make_shared<int>(1);
  const SimEventId event = world.After(kWorldActor, 10, "never", [token] { FAIL(); });
  world.Cancel(event);
  EXPECT_EQ(token.use_count(), 1);
  world.Cancel(event);  // its slot may be another's by now
  EXPECT_TRUE(world.RunUntilIdle());
  EXPECT_EQ(world.steps(), 0u);
}

TEST(SimWorldTest, KeepsTheLatestTraceLines) {
  SimWorld world(1, {.trace_lines = 2});
  for (const char* text : {"one", "two", "three"}) world.Trace(kWorldActor, text);
  ASSERT_EQ(world.trace().size(), 2u);
  EXPECT_NE(world.trace().back().find("three"), std::string::npos);
}

TEST(SimRuntimeTest, KillDestroysWhatIsAndWhatComes) {
  SimWorld world(1);
  SimRuntime worker(world, "worker");
  auto token = std::make_shared<int>(1);
  int runs = 0;
  worker.Post(Lane::kTurn, [&, token] { ++runs; });
  worker.SetAlarm(hours(1), [&, token] { ++runs; });
  worker.Kill();
  EXPECT_EQ(token.use_count(), 1);
  worker.Post(Lane::kActivity, [&, token] { ++runs; });
  worker.PostWhenIdle([&, token] { ++runs; });
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_TRUE(world.RunUntilIdle());
  EXPECT_EQ(runs, 0);
  EXPECT_FALSE(worker.IsAlive());
}

TEST(SimRuntimeTest, WorkMayKillItsOwnWorker) {
  SimWorld world(1);
  SimRuntime worker(world, "worker");
  int runs = 0;
  worker.Post(Lane::kTurn, [&] {
    worker.SetAlarm(milliseconds(1), [&] { ++runs; });
    worker.Kill();
    ++runs;
  });
  EXPECT_TRUE(world.RunUntilIdle());
  EXPECT_EQ(runs, 1);
}

TEST(SimRuntimeTest, APauseDelaysWorkAndKeepsItsOrder) {
  SimWorld world(1);
  SimRuntime frozen(world, "frozen");
  SimRuntime other(world, "other");
  std::string order;
  frozen.SetAlarm(milliseconds(10), [&] { order += 'a'; });
  frozen.SetAlarm(milliseconds(20), [&] { order += 'b'; });
  other.SetAlarm(milliseconds(30), [&] { order += 'c'; });
  frozen.Pause(milliseconds(1'000));
  const Time begin = world.Now();
  EXPECT_TRUE(world.RunUntilIdle());
  EXPECT_EQ(order, "cab");
  EXPECT_EQ(world.Now() - begin, milliseconds(1'000));
}

TEST(SimRuntimeTest, IdleWorkComesAfterWhatWasPosted) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SimWorld world(seed);
    SimRuntime worker(world, "worker");
    int posted = 0;
    int seen = -1;
    for (int i = 0; i < 5; ++i) worker.Post(Lane::kTurn, [&] { ++posted; });
    worker.PostWhenIdle([&] { seen = posted; });
    if (seed % 2 == 0) worker.Pause(milliseconds(5));
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_EQ(seen, 5) << "seed " << seed;
  }
}

TEST(SimRuntimeTest, ItsClockIsItsOwnAndMayJump) {
  SimWorld world(1);
  SimRuntime worker(world, "worker");
  const int64_t begin = worker.MonotonicMicros();
  worker.SetSkew(milliseconds(-20'000));
  EXPECT_EQ(worker.Now(), world.Now() - milliseconds(20'000));
  EXPECT_EQ(worker.MonotonicMicros(), begin);
}

TEST(SimRuntimeTest, IncarnationsDrawDifferentNumbers) {
  SimWorld world(1);
  SimRuntime one(world, "w1#1");
  SimRuntime two(world, "w1#2");
  EXPECT_NE(one.Random(), two.Random());
}

TEST(SimRuntimeTest, CancelledAlarmsDoNotRing) {
  SimWorld world(1);
  SimRuntime worker(world, "worker");
  const AlarmId alarm = worker.SetAlarm(Duration::max(), [] { FAIL(); });
  EXPECT_NE(alarm, 0u);
  worker.CancelAlarm(alarm);
  EXPECT_TRUE(world.RunUntilIdle());
}

TEST(SimRuntimeTest, WaitingOutsideRunsTheWorld) {
  SimWorld world(1);
  SimRuntime worker(world, "worker");
  const std::shared_ptr<OneShot> set = worker.NewOneShot();
  worker.SetAlarm(hours(24), [set] { set->Set(); });
  const Time begin = world.Now();
  EXPECT_FALSE(set->Wait(hours(1)));
  EXPECT_EQ(world.Now(), begin + hours(1));
  EXPECT_TRUE(set->Wait(OneShot::kForever));
  EXPECT_GE(world.Now(), begin + hours(24));
}

TEST(SimRuntimeDeathTest, WaitingInsideAborts) {
  SimWorld world(1);
  SimRuntime worker(world, "worker");
  worker.Post(Lane::kTurn, [&] { worker.NewOneShot()->Wait(OneShot::kForever); });
  EXPECT_DEATH(world.RunUntilIdle(), "nothing may block");
}

}  // namespace
}  // namespace marathon::testing::sim_runtime_test
