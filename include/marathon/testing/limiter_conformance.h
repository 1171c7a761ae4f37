// The conformance suite of the Limiter port. A test program includes this header in one file, brings a StoreHarness
// (of which only the limiter and the store's clock are used), and instantiates LimiterConformance.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/testing/limiter_fixture.h"
#include "marathon/testing/seeded_random.h"

namespace marathon::inline MARATHON_ABI::testing {

// ---- Buckets

TEST_P(LimiterConformance, GivesABurstAndThenOneByOne) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Wait(), 0);
  EXPECT_EQ(Wait(), 1 * kSecond);
  EXPECT_EQ(Wait(), 2 * kSecond) << "each has an instant of its own";
  Pass(1'500);
  EXPECT_EQ(Wait(), 1'500);
  Pass(60 * kSecond);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Wait(), 0);
  EXPECT_EQ(Wait(), 1 * kSecond) << "what does not fit in has not been saved";
}

TEST_P(LimiterConformance, AMinutesWorthIsTheBurstUnlessItIsSaid) {
  EXPECT_EQ(Acquire({{"tokens", 120, 120}}).wait.count(), 0);
  EXPECT_EQ(Acquire({{"tokens", 1, 120}}).wait.count(), 500);
}

TEST_P(LimiterConformance, MoreThanABurstWaitsTheLonger) {
  EXPECT_EQ(Wait(10), 7 * kSecond);
  Pass(7 * kSecond);
  EXPECT_EQ(Wait(), 1 * kSecond);
}

TEST_P(LimiterConformance, AllUnitsAreTakenAndTheSlowestTells) {
  const Units units{{"requests", 1, 60, 2}, {"tokens", 100, 6'000, 150}};
  EXPECT_EQ(Acquire(units).wait.count(), 0);
  EXPECT_EQ(Acquire(units).wait.count(), 500) << "tokens";
  EXPECT_EQ(Acquire({{"requests", 3, 60, 2}}).wait.count(), 3 * kSecond) << "the second has taken a request";
  EXPECT_EQ(Acquire({{"tokens", 0, 6'000, 150}}).wait.count(), 500);
}

TEST_P(LimiterConformance, KeysAreApart) {
  EXPECT_EQ(Wait(10, "a"), 7 * kSecond);
  EXPECT_EQ(Wait(3, "b"), 0);
  const std::string longest(limits::kMaxIdBytes, '\xff');
  EXPECT_EQ(Wait(10, longest), 7 * kSecond);
  EXPECT_EQ(Wait(1, longest), 8 * kSecond);
}

TEST_P(LimiterConformance, WhatNobodyLimitsGoesAtOnce) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(WaitUnlimited(1'000'000), 0);
  EXPECT_EQ(Acquire({}).wait.count(), 0);
  EXPECT_EQ(Wait(3), 0);
  EXPECT_EQ(WaitUnlimited(1'000), 0) << "who has no limit takes from nobody's";
  EXPECT_EQ(Wait(), 1 * kSecond);
}

// Whatever is asked and whenever: by no instant has more been given than burst and what has flowed in.
TEST_P(LimiterConformance, NeverAboveTheRate) {
  SeededRandom random(7);
  const Time begin = Now();
  struct Given {
    Time at;
    int64_t amount;
  };
  std::vector<Given> given;
  for (int i = 0; i < 200; ++i) {
    const int64_t amount = random.Between(0, 4);
    given.push_back({Acquire({{"tokens", amount, 90, 5}}).at, amount});
    if (random.Between(0, 2) == 0) Pass(random.Between(0, 5'000));
  }
  int64_t sum = 0;
  for (size_t i = 0; i < given.size(); ++i) {
    EXPECT_GE(given[i].at, i == 0 ? begin : given[i - 1].at) << "first come, first served";
    sum += given[i].amount;
    const double seconds = std::chrono::duration<double>(given[i].at - begin).count();
    EXPECT_LE(static_cast<double>(sum), 5 + seconds * 1.5 + 1e-6);
  }
  EXPECT_GT(sum, 300);
}

TEST_P(LimiterConformance, WhatWouldTakeTooLongIsRefusedAndTakesNothing) {
  const auto code = [&](int64_t amount) {
    return TryAcquire({"k", {{"other", 1, 1}, {"tokens", amount, 60, 3}}}).status().code();
  };
  EXPECT_EQ(code(100'000'000), StatusCode::kResourceExhausted);
  EXPECT_EQ(Wait(3), 0);
  EXPECT_EQ(Acquire({{"other", 1, 1}}).wait.count(), 0);
}

// ---- Permits

TEST_P(LimiterConformance, APermitThatIsShownCostsNothing) {
  Wait(3);
  const Permit permit = Acquire({{"tokens", 1, 60, 3}});
  ASSERT_EQ(permit.wait.count(), 1 * kSecond);
  Pass(400);
  EXPECT_EQ(Acquire({{"tokens", 1, 60, 3}}, permit.at).wait.count(), 600);
  Pass(600);
  const Permit shown = Acquire({{"tokens", 1, 60, 3}}, permit.at);
  EXPECT_EQ(shown.wait.count(), 0);
  EXPECT_EQ(shown.at, permit.at);
  EXPECT_EQ(Wait(), 1 * kSecond) << "only that one had been taken";
}

TEST_P(LimiterConformance, APermitLapses) {
  Wait(3);
  const Permit permit = Acquire({{"tokens", 1, 60, 3}});
  Pass(permit.wait.count() + limits::kLimitGrace.count());
  EXPECT_EQ(Acquire({{"tokens", 9, 60, 3}}, permit.at).wait.count(), 0);
  Pass(1);
  EXPECT_EQ(Acquire({{"tokens", 9, 60, 3}}, permit.at).wait.count(), 6 * kSecond) << "taken anew";
}

// ---- Giving back

TEST_P(LimiterConformance, WhatWasNotUsedIsThereAgain) {
  Wait(3);
  GiveBack(2);
  EXPECT_EQ(Wait(2), 0);
  EXPECT_EQ(Wait(), 1 * kSecond);
  GiveBack(100);
  EXPECT_EQ(Wait(4), 1 * kSecond) << "no more than fits in";
}

TEST_P(LimiterConformance, MoreThanWasTakenIsTakenAfterwards) {
  Wait(3);
  GiveBack(-10);
  EXPECT_EQ(Wait(), 11 * kSecond);
  Settle({.key = "k", .unused = {{"unknown", 5}}});
  EXPECT_EQ(Wait(), 12 * kSecond);
}

// ---- Pauses

TEST_P(LimiterConformance, APauseHoldsEverybody) {
  Pause(Duration(20 * kSecond));
  EXPECT_EQ(WaitUnlimited(), 20 * kSecond);
  EXPECT_EQ(WaitUnlimited(), 20 * kSecond + limits::kLimitSpacing.count()) << "and no crowd behind it";
  Pass(10 * kSecond);
  EXPECT_EQ(WaitUnlimited(), 10 * kSecond + 2 * limits::kLimitSpacing.count());
  Pass(10 * kSecond + 3 * limits::kLimitSpacing.count());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(WaitUnlimited(), 0);
}

// Whoever comes while others queue is behind them, which must come to an end whatever the load is.
TEST_P(LimiterConformance, TheQueueBehindAPauseEnds) {
  Pause(Duration(1 * kSecond));
  int64_t wait = 0;
  for (int i = 0; i < 900; ++i) {
    wait = WaitUnlimited();
    if (i % 3 == 2) Pass(100);  // 30 a second
  }
  EXPECT_LT(wait, 5 * kSecond);
}

TEST_P(LimiterConformance, BehindAPauseTheRateCounts) {
  Pause(Duration(20 * kSecond));
  for (int i = 0; i < 20; ++i) {
    const int64_t wait = Wait() - 20 * kSecond + i * kSecond;
    EXPECT_EQ(wait, i < 3 ? i * limits::kLimitSpacing.count() : (i - 2) * kSecond);
    Pass(1 * kSecond);  // as they come while it lasts
  }
}

TEST_P(LimiterConformance, TheLongestPauseCounts) {
  Pause(Duration(20 * kSecond));
  Pause(Duration(5 * kSecond));
  Pass(15 * kSecond);
  EXPECT_EQ(WaitUnlimited(), 5 * kSecond);
  Pause(Duration(10 * kSecond));
  EXPECT_EQ(WaitUnlimited(), 10 * kSecond);
}

TEST_P(LimiterConformance, APauseOvertakesPermits) {
  Wait(3);
  const Permit before = Acquire({{"tokens", 1, 60, 3}});
  const Permit behind = Acquire({{"tokens", 29, 60, 3}});
  ASSERT_EQ(behind.wait.count(), 30 * kSecond);
  Pause(Duration(20 * kSecond));
  EXPECT_EQ(Acquire({{"tokens", 1, 60, 3}}, behind.at).at, behind.at) << "it holds that one up no longer";
  const Permit anew = Acquire({{"tokens", 1, 60, 3}}, before.at);
  EXPECT_EQ(anew.wait.count(), 31 * kSecond);
  Pass(31 * kSecond);
  EXPECT_EQ(Acquire({{"tokens", 1, 60, 3}}, anew.at).wait.count(), 0);
}

// Those that queue behind a pause have instants ahead of its end, which their own queue must not overtake.
TEST_P(LimiterConformance, PermitsOfThoseThatQueueAreGood) {
  Pause(Duration(1 * kSecond));
  const Permit first = Acquire({{"tokens", 1}});
  const Permit second = Acquire({{"tokens", 1}});
  Pass(1 * kSecond);
  EXPECT_EQ(Acquire({{"tokens", 1}}, first.at).wait.count(), 0);
  EXPECT_EQ(Acquire({{"tokens", 1}}, second.at).wait, limits::kLimitSpacing);
}

TEST_P(LimiterConformance, AnEndlessPauseHasAnEnd) {
  Pause(Duration::max());
  EXPECT_EQ(WaitUnlimited(), limits::kLimitMaxWait.count());
  EXPECT_EQ(TryAcquire({"k", {{"tokens", 1}}}).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(Clear("k").ok());
  EXPECT_EQ(WaitUnlimited(), 0);
}

// ---- Reports

TEST_P(LimiterConformance, AReportLimitsWhatNobodyElseDoes) {
  Report(10, 4, Duration(12 * kSecond));  // six are missing: one comes each two seconds
  EXPECT_EQ(WaitUnlimited(4), 0);
  EXPECT_EQ(WaitUnlimited(), 2 * kSecond);
  Pass(4 * kSecond);
  EXPECT_EQ(WaitUnlimited(), 0);
  Pass(60 * kSecond);
  EXPECT_EQ(WaitUnlimited(10), 0);
  EXPECT_EQ(WaitUnlimited(), 2 * kSecond);
}

TEST_P(LimiterConformance, AReportNeverGivesMore) {
  Wait(3);
  Report(1'000, 999, Duration(60));
  EXPECT_EQ(Wait(), 1 * kSecond);
  Report(10, 0, Duration(20 * kSecond));
  EXPECT_EQ(Wait(), 2 * kSecond) << "the slower one counts: it has seen four and this";
  Report(10, 5, Duration(10 * kSecond));
  EXPECT_EQ(Wait(), 4 * kSecond) << "what was taken here it may not have seen yet";
}

TEST_P(LimiterConformance, TheNewestReportIsRightAboutTheSpeed) {
  Report(10, 0, Duration(100 * kSecond));
  EXPECT_EQ(WaitUnlimited(), 10 * kSecond);
  Report(10, 5, Duration(5 * kSecond));
  EXPECT_EQ(WaitUnlimited(), 2 * kSecond) << "eleven are taken and one; one comes each second";
  Report(20, 20, Duration(0));
  EXPECT_EQ(WaitUnlimited(8), 0) << "there is room for more";
  EXPECT_EQ(WaitUnlimited(), 1 * kSecond);
}

TEST_P(LimiterConformance, AReportThatLimitsNothingIsNone) {
  Report(10, 10, Duration(0));
  Report(10, 3, Duration(0));
  Report(0, 0, Duration(5 * kSecond));
  EXPECT_EQ(WaitUnlimited(1'000), 0);
}

TEST_P(LimiterConformance, AllOfASettlementIsDone) {
  Acquire({{"requests", 2, 60, 2}, {"tokens", 3, 60, 3}});
  Settle({.key = "k",
          .unused = {{"tokens", 3}},
          .reports = {{"requests", 4, 0, Duration(8 * kSecond)}},
          .pause = Duration(5 * kSecond)});
  EXPECT_EQ(Acquire({{"tokens", 3, 60, 3}}).wait.count(), 5 * kSecond);
  EXPECT_EQ(Acquire({{"requests", 3, 60, 3}}).wait.count(), 6 * kSecond) << "two have come by then, and one is missing";
}

// ---- The rest

TEST_P(LimiterConformance, WhatIsWrongIsRefused) {
  constexpr auto kInvalid = StatusCode::kInvalidArgument;
  const std::string too_long(limits::kMaxIdBytes + 1, 'k');
  const auto acquire = [&](const std::string& key, Units units) {
    return TryAcquire({key, std::move(units)}).status().code();
  };
  EXPECT_EQ(acquire("", {}), kInvalid);
  EXPECT_EQ(acquire(too_long, {}), kInvalid);
  EXPECT_EQ(acquire("k", {{"", 1}}), kInvalid);
  EXPECT_EQ(acquire("k", {{"two words", 1}}), kInvalid);
  EXPECT_EQ(acquire("k", {{std::string(limits::kLimitUnitBytes + 1, 'u'), 1}}), kInvalid);
  EXPECT_EQ(acquire("k", {{"tokens", -1, 60}}), kInvalid);
  EXPECT_EQ(acquire("k", {{"tokens", 1, -60}}), kInvalid);
  EXPECT_EQ(acquire("k", {{"tokens", 1, 60, -1}}), kInvalid);
  EXPECT_EQ(acquire("k", {{"tokens", limits::kLimitMaxAmount + 1, 60}}), kInvalid);
  EXPECT_EQ(acquire("k", Units(limits::kLimitUnits + 1, {"tokens", 1})), kInvalid);
  const auto settle = [&](SettleLimit request) { return TrySettle(std::move(request)).code(); };
  EXPECT_EQ(settle({.key = ""}), kInvalid);
  EXPECT_EQ(settle({.key = "k", .unused = {{"!", 1}}}), kInvalid);
  EXPECT_EQ(settle({.key = "k", .unused = {{"tokens", -limits::kLimitMaxAmount - 1}}}), kInvalid);
  EXPECT_EQ(settle({.key = "k", .reports = {{"tokens", 10, 11, Duration(1)}}}), kInvalid);
  EXPECT_EQ(settle({.key = "k", .reports = {{"tokens", 10, -1, Duration(1)}}}), kInvalid);
  EXPECT_EQ(settle({.key = "k", .reports = {{"tokens", 10, 5, Duration(-1)}}}), kInvalid);
  EXPECT_EQ(settle({.key = "k", .pause = Duration(-1)}), kInvalid);
  EXPECT_EQ(Clear(too_long).code(), kInvalid);
  EXPECT_EQ(Wait(3), 0);
}

TEST_P(LimiterConformance, ClearForgetsAllOfAKey) {
  Wait(10);
  Wait(10, "other");
  Report(10, 0, Duration(1'000 * kSecond));
  Pause(Duration(1'000 * kSecond));
  const Permit permit = Acquire({{"tokens", 1, 60, 3}});
  EXPECT_TRUE(Clear("k").ok());
  EXPECT_EQ(Acquire({}, permit.at).wait.count(), 0) << "permits too";
  EXPECT_EQ(Wait(3), 0);
  EXPECT_EQ(WaitUnlimited(100), 0);
  EXPECT_EQ(Wait(1, "other"), 8 * kSecond);
  EXPECT_TRUE(Clear("never used").ok());
}

TEST_P(LimiterConformance, WhatSaysNothingAnyMoreIsForgotten) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  Report(10, 0, Duration(20 * kSecond));
  Pass(20 * kSecond + limits::kLimitKeep.count() - 1);
  EXPECT_EQ(WaitUnlimited(11), 2 * kSecond);
  Pass(22 * kSecond + limits::kLimitKeep.count());
  EXPECT_EQ(WaitUnlimited(11), 0);
  Pause(Duration(5 * limits::kLimitKeep));
  Pass(4 * limits::kLimitKeep.count());
  EXPECT_EQ(WaitUnlimited(), limits::kLimitKeep.count()) << "not while it says something";
}

TEST_P(LimiterConformance, LimitsOutliveTheProcess) {
  Wait(3);
  Report(10, 4, Duration(12 * kSecond));
  Pause(Duration(7 * kSecond));
  const Permit permit = Acquire({{"tokens", 3, 60, 3}});
  if (!harness_->Reopen()) GTEST_SKIP() << "not a durable store";
  EXPECT_EQ(Acquire({{"tokens", 3, 60, 3}}, permit.at).at, permit.at);
  const int64_t wait = WaitUnlimited(10);
  EXPECT_GT(wait, 7 * kSecond);
  EXPECT_LT(wait, 20 * kSecond);
}

}  // namespace marathon::inline MARATHON_ABI::testing

#include "marathon/testing/conformance_places.h"  // IWYU pragma: export
