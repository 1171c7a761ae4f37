// The simulator on the production engine: a few dozen seeds, each class of faults alone, and that a
// seed repeats itself exactly. The long runs are tests/sim/run.sh.
// needs: testing
// program: sim
#include <gtest/gtest.h>

#include <string>

#include "../sanitized.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/simulator.h"

namespace marathon::testing::sim_test {
namespace {

constexpr uint64_t kSeeds = kSanitized ? 20 : 40;

void ExpectNoViolation(const SimOptions& options) {
  const SimReport report = Simulate(options);
  EXPECT_EQ(report.violation, "") << "tests/sim/run.sh --seed " << options.seed;
}

void ExpectNoViolationWith(const FaultRates& rates) {
  for (uint64_t seed = 1; seed <= kSeeds / 10; ++seed) {
    ExpectNoViolation({.seed = seed, .rates = rates});
  }
}

TEST(SimulatorTest, KeepsItsPromisesUnderManySeeds) {
  FaultCounts counts;
  uint64_t runs = 0, split = 0, lost_tails = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const SimReport report = Simulate({.seed = seed});
    split += report.split_domains && report.lost_tails == 0;  // those that lose their tail always are
    lost_tails += report.lost_tails;
    ASSERT_EQ(report.violation, "") << "tests/sim/run.sh --seed " << seed;
    counts += report.counts;
    runs += report.runs;
  }
  EXPECT_GT(split, kSeeds / 5);
  EXPECT_LT(split, kSeeds / 2);
  EXPECT_GT(lost_tails, kSeeds / 8);
  EXPECT_GT(runs, kSeeds * 5);
  EXPECT_GT(counts.commits, kSeeds * 50);
  EXPECT_GT(counts.crashes, kSeeds * 3);
  EXPECT_GT(counts.ambiguous, kSeeds * 8);
  EXPECT_GT(counts.duplicated, kSeeds * 8);
}

TEST(SimulatorTest, ASeedRepeatsItselfStepByStep) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const SimReport once = Simulate({.seed = seed, .trace_lines = 100'000});
    const SimReport again = Simulate({.seed = seed, .trace_lines = 100'000});
    const SimReport untraced = Simulate({.seed = seed});
    EXPECT_EQ(once.trace, again.trace);
    EXPECT_EQ(once.hash, again.hash);
    EXPECT_EQ(once.hash, untraced.hash) << "a trace must not change what it shows";
    EXPECT_EQ(once.steps, untraced.steps);
    EXPECT_EQ(once.coverage.Covered(), untraced.coverage.Covered());
  }
  EXPECT_NE(Simulate({.seed = 1}).hash, Simulate({.seed = 2}).hash);
}

TEST(SimulatorTest, WithoutFaultsNothingIsDoneTwice) {
  for (uint64_t seed = 1; seed <= kSeeds / 10; ++seed) {
    const SimReport report = Simulate({.seed = seed, .rates = FaultRates::None()});
    EXPECT_EQ(report.violation, "");
    EXPECT_EQ(report.late_starts, 0u);
    EXPECT_EQ(report.counts.crashes + report.counts.ambiguous + report.counts.lost, 0u);
  }
}

// A store of one domain and a queue of another: what is lost between them is only hints.
TEST(SimulatorTest, SurvivesAQueueOfAnotherDomain) {
  for (uint64_t seed = 1; seed <= kSeeds / 5; ++seed) {
    ExpectNoViolation({.seed = seed, .split_domains = true});
  }
}
TEST(SimulatorTest, SurvivesAQueueOfAnotherDomainThatGetsNothing) {
  for (uint64_t seed = 1; seed <= kSeeds / 10; ++seed) {
    ExpectNoViolation({.seed = seed, .rates = FaultRates{.lost = 1}, .split_domains = true});
    ExpectNoViolation({.seed = seed, .rates = FaultRates{.unavailable = 0.7}, .split_domains = true});
  }
}
TEST(SimulatorTest, SplitDomainsRepeatThemselvesToo) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const SimOptions split{.seed = seed, .split_domains = true, .loses_tail = false};
    const SimReport once = Simulate(split);
    const SimReport again = Simulate(split);
    const SimReport one_domain =
        Simulate({.seed = seed, .split_domains = false, .loses_tail = false});
    EXPECT_EQ(once.hash, again.hash);
    EXPECT_NE(once.hash, one_domain.hash);
  }
}

// What is promised then, simulator.h says.
TEST(SimulatorTest, SurvivesAStoreThatLosesItsTail) {
  uint64_t lost_writes = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const SimReport report = Simulate({.seed = seed, .loses_tail = true});
    EXPECT_EQ(report.violation, "") << seed;
    EXPECT_GT(report.lost_tails, 0u);
    lost_writes += report.lost_writes;
  }
  EXPECT_GT(lost_writes, kSeeds * 2);
}
TEST(SimulatorTest, LossesRepeatThemselvesToo) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const SimReport once = Simulate({.seed = seed, .loses_tail = true});
    const SimReport again = Simulate({.seed = seed, .loses_tail = true});
    EXPECT_EQ(once.hash, again.hash);
    EXPECT_EQ(once.lost_writes, again.lost_writes);
  }
}

TEST(SimulatorTest, SurvivesCrashes) {
  ExpectNoViolationWith({.crash_after_write = 0.05, .crash_mean_s = 4});
}
TEST(SimulatorTest, SurvivesAnUnavailableStore) { ExpectNoViolationWith({.unavailable = 0.3}); }
TEST(SimulatorTest, SurvivesAmbiguousWrites) { ExpectNoViolationWith({.ambiguous = 0.4}); }
TEST(SimulatorTest, SurvivesLateWrites) { ExpectNoViolationWith({.late_effect = 0.3}); }
TEST(SimulatorTest, SurvivesRepeatedWrites) { ExpectNoViolationWith({.repeated = 0.5}); }
TEST(SimulatorTest, SurvivesStoresThatAnswerAtOnce) { ExpectNoViolationWith({.direct = 1}); }
TEST(SimulatorTest, SurvivesASlowStore) { ExpectNoViolationWith({.slow = 0.7}); }
TEST(SimulatorTest, SurvivesLostHints) { ExpectNoViolationWith({.lost = 1}); }
TEST(SimulatorTest, SurvivesDoubledHints) { ExpectNoViolationWith({.duplicated = 1}); }
TEST(SimulatorTest, SurvivesLateHintsInAnyOrder) {
  ExpectNoViolationWith({.late = 0.8, .reordered = true});
}
TEST(SimulatorTest, SurvivesPausesPastTheLease) { ExpectNoViolationWith({.pause_mean_s = 3}); }
TEST(SimulatorTest, SurvivesClocksThatAreWrong) {
  ExpectNoViolationWith({.skew_max = std::chrono::hours(24 * 365), .clock_jump_mean_s = 2});
}
TEST(SimulatorTest, SurvivesActivitiesThatStartLate) { ExpectNoViolationWith({.slow_activity = 0.5}); }

}  // namespace
}  // namespace marathon::testing::sim_test
