// The conformance suite of the Limiter port. A test program includes this header in one file, brings a StoreHarness
// (of which only the limiter and the store's clock are used), and instantiates LimiterConformance.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/testing/store_harness.h"

namespace marathon::inline MARATHON_ABI::testing {

class LimiterConformance : public ::testing::TestWithParam<HarnessMaker> {
 protected:
  using Units = std::vector<LimitUnit>;

  static constexpr int64_t kSecond = 1'000;
  static constexpr int64_t kRefused = -1;

  LimiterConformance() : harness_(GetParam().make()) {}

  Limiter& limiter() { return *harness_->ports().limiter; }
  Time Now() { return harness_->ports().store->Now(); }

  StatusOr<Permit> TryAcquire(AcquireLimit request) {
    return Await<StatusOr<Permit>>(
        *harness_, [&](auto done) { limiter().Acquire(std::move(request), std::move(done)); });
  }
  Permit Acquire(Units units, Time permit = {}, const std::string& key = "k") {
    const auto got = TryAcquire({key, std::move(units), permit});
    EXPECT_TRUE(got.ok()) << got.status();
    if (!got.ok()) return {Now(), Duration(kRefused)};
    EXPECT_EQ(got->wait, std::chrono::ceil<Duration>(std::max(got->at - Now(), Time::duration(0))));
    return *got;
  }
  // The wait in milliseconds for `amount` of a bucket of 3 into which one flows each second.
  int64_t Wait(int64_t amount = 1, const std::string& key = "k") {
    return Acquire({{"tokens", amount, 60, 3}}, {}, key).wait.count();
  }
  // … of what only the other side limits.
  int64_t WaitUnlimited(int64_t amount = 1) { return Acquire({{"tokens", amount}}).wait.count(); }

  Status TrySettle(SettleLimit request) {
    return Await<Status>(*harness_,
                         [&](auto done) { limiter().Settle(std::move(request), std::move(done)); });
  }
  void Settle(SettleLimit request) {
    const Status settled = TrySettle(std::move(request));
    EXPECT_TRUE(settled.ok()) << settled;
  }
  void GiveBack(int64_t amount) { Settle({.key = "k", .unused = {{"tokens", amount}}}); }
  void Report(int64_t limit, int64_t remaining, Duration full_in) {
    Settle({.key = "k", .reports = {{"tokens", limit, remaining, full_in}}});
  }
  void Pause(Duration pause) { Settle({.key = "k", .pause = pause}); }
  Status Clear(const std::string& key) {
    return Await<Status>(*harness_, [&](auto done) { limiter().Clear(key, std::move(done)); });
  }
  void Pass(int64_t millis) { harness_->Advance(Duration(millis)); }

  // ---- Places of key "p"
  using Names = std::vector<std::string>;

  StatusOr<EnterReply> TryEnter(EnterPlace request) {
    return Await<StatusOr<EnterReply>>(
        *harness_, [&](auto done) { limiter().Enter(std::move(request), std::move(done)); });
  }
  StatusOr<LeaveReply> TryLeave(LeavePlace request) {
    return Await<StatusOr<LeaveReply>>(
        *harness_, [&](auto done) { limiter().Leave(std::move(request), std::move(done)); });
  }
  EnterReply Entered(EnterPlace request) {
    auto got = TryEnter(std::move(request));
    EXPECT_TRUE(got.ok()) << got.status();
    return got.ok() ? *std::move(got) : EnterReply();
  }
  bool Enter(const std::string& holder, int64_t epoch = 1, int32_t max = 1, uint8_t priority = 0) {
    const EnterReply entered = Entered({"p", holder, epoch, max, priority});
    EXPECT_EQ(entered.passed, Names()) << holder;
    return entered.granted;
  }
  // Those that were passed a place.
  Names Leave(const std::string& holder, int64_t epoch = 1) {
    auto left = TryLeave({"p", holder, epoch});
    EXPECT_TRUE(left.ok()) << left.status();
    return left.ok() ? left->passed : Names();
  }

  std::unique_ptr<StoreHarness> harness_;
};

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

// ---- Places

TEST_P(LimiterConformance, NoMoreThanItsPlacesAndThenOneByOne) {
  EXPECT_TRUE(Enter("a", 1, 2));
  EXPECT_TRUE(Enter("b", 1, 2));
  EXPECT_FALSE(Enter("c", 1, 2));
  EXPECT_FALSE(Enter("d", 1, 2));
  EXPECT_EQ(Leave("b"), Names{"c"});
  EXPECT_FALSE(Enter("d", 1, 2)) << "the place is c's, which has not come yet";
  EXPECT_TRUE(Enter("c", 2, 2));
  EXPECT_EQ(Leave("a"), Names{"d"});
  EXPECT_TRUE(Enter("d", 2, 2));
  EXPECT_EQ(Leave("c", 2), Names());
  EXPECT_EQ(Leave("d", 2), Names());
  EXPECT_TRUE(Enter("e", 1, 1)) << "all have left";
  EXPECT_FALSE(Enter("f", 1, 1));
}

TEST_P(LimiterConformance, PlacesOfOtherKeysAndLimitsAreApart) {
  EXPECT_TRUE(Entered({"p", "a", 1}).granted);
  EXPECT_TRUE(Entered({"q", "a", 1}).granted);
  EXPECT_FALSE(Entered({"q", "b", 1}).granted);
  EXPECT_EQ(Wait(3, "p"), 0);
  EXPECT_TRUE(Clear("p").ok());
  EXPECT_FALSE(Entered({"p", "b", 1}).granted) << "a limit was cleared, and no place";
  const std::string key(limits::kPlaceKeyBytes, '\xff'), holder(limits::kPlaceHolderBytes, '\n');
  EXPECT_TRUE(Entered({key, holder, 1}).granted);
  EXPECT_FALSE(Entered({key, "b", 1}).granted);
}

TEST_P(LimiterConformance, EnteringAndLeavingTwiceIsDoneOnce) {
  EXPECT_TRUE(Enter("a"));
  EXPECT_TRUE(Enter("a"));
  EXPECT_FALSE(Enter("b"));
  EXPECT_FALSE(Enter("b"));
  EXPECT_FALSE(Enter("c"));
  EXPECT_EQ(Leave("a"), Names{"b"});
  EXPECT_EQ(Leave("a"), Names());
  EXPECT_TRUE(Enter("b", 2));
  EXPECT_TRUE(Enter("b", 2));
  EXPECT_EQ(Leave("b", 2), Names{"c"});
  EXPECT_EQ(Leave("nobody"), Names());
}

TEST_P(LimiterConformance, APlaceIsTheLatestAttempts) {
  EXPECT_TRUE(Enter("a", 5));
  EXPECT_TRUE(Enter("a", 6)) << "its worker died, and it is tried again";
  EXPECT_EQ(Leave("a", 5), Names());
  EXPECT_FALSE(Enter("b")) << "the earlier attempt's word is not the later one's";
  const EnterReply stale = Entered({"p", "a", 5});
  EXPECT_FALSE(stale.granted);
  EXPECT_EQ(stale.suspect, (PlaceHolder{"a", 6}));
  EXPECT_EQ(Leave("a", 6), Names{"b"}) << "the stale one does not wait";
}

TEST_P(LimiterConformance, ALaterAttemptLeavesForAnEarlierOne) {
  EXPECT_TRUE(Enter("a", 5));
  EXPECT_FALSE(Enter("b"));
  EXPECT_EQ(Leave("a", 7), Names{"b"});
}

TEST_P(LimiterConformance, WaitersComeByPriorityAndKeepTheirTurn) {
  EXPECT_TRUE(Enter("a"));
  EXPECT_FALSE(Enter("b", 1, 1, 3));
  EXPECT_FALSE(Enter("c", 1, 1, 3));
  EXPECT_FALSE(Enter("d", 1, 1, 1));
  EXPECT_FALSE(Enter("e", 1, 1, 255));
  EXPECT_FALSE(Enter("f", 1, 1, 1));
  EXPECT_FALSE(Enter("b", 2, 1, 3)) << "asks again";
  Names order;
  std::string last = "a";
  for (int64_t epoch = 1; order.size() < 5; epoch = 9) {
    const Names passed = Leave(last, epoch);
    ASSERT_EQ(passed.size(), 1u);
    EXPECT_TRUE(Enter(passed[0], 9));
    order.push_back(last = passed[0]);
  }
  EXPECT_EQ(order, (Names{"d", "f", "b", "c", "e"}));
}

// Those that were passed a place have ten seconds. Who comes later is as any other.
TEST_P(LimiterConformance, APassedPlaceIsNotKeptForEver) {
  EXPECT_TRUE(Enter("a"));
  EXPECT_FALSE(Enter("b"));
  EXPECT_FALSE(Enter("c"));
  EXPECT_EQ(Leave("a"), Names{"b"});
  Pass(limits::kPlacePassed.count() / 2);
  EXPECT_FALSE(Enter("d"));
  Pass(limits::kPlacePassed.count() / 2);
  const EnterReply entered = Entered({"p", "d", 2});
  EXPECT_FALSE(entered.granted);
  EXPECT_EQ(entered.passed, Names{"c"}) << "who asks passes on what is free";
  EXPECT_TRUE(Enter("c", 2));
  EXPECT_FALSE(Enter("b", 2));
  EXPECT_EQ(Leave("c", 2), Names{"d"});
}

TEST_P(LimiterConformance, WhoDoesNotWantItsPlacePassesItOn) {
  EXPECT_TRUE(Enter("a"));
  for (const char* const waiter : {"b", "c", "d"}) EXPECT_FALSE(Enter(waiter));
  EXPECT_EQ(Leave("c", 0), Names()) << "it no longer waits";
  EXPECT_EQ(Leave("a", 0), Names()) << "who has entered says at which epoch";
  EXPECT_EQ(Leave("a"), Names{"b"});
  EXPECT_EQ(Leave("b", 0), Names{"d"});
  EXPECT_TRUE(Enter("d", 2));
}

// A refused attempt ends after the place was passed to it: whoever told it then found it at work.
TEST_P(LimiterConformance, WhoLeavesIsToldThatItWasPassedAPlace) {
  EXPECT_TRUE(Enter("a"));
  EXPECT_FALSE(Enter("b", 4));
  EXPECT_EQ(Leave("b", 4), Names()) << "it goes on waiting";
  EXPECT_EQ(Leave("a"), Names{"b"});
  EXPECT_EQ(Leave("b", 4), Names{"b"});
  EXPECT_FALSE(Enter("c"));
  EXPECT_TRUE(Enter("b", 5));
}

TEST_P(LimiterConformance, WhoeverComesFindsNoPlaceUnused) {
  EXPECT_TRUE(Enter("a"));
  for (const char* const waiter : {"b", "c", "d"}) EXPECT_FALSE(Enter(waiter));
  const EnterReply entered = Entered({"p", "d", 2, 3});
  EXPECT_FALSE(entered.granted);
  EXPECT_EQ(entered.passed, (Names{"b", "c"})) << "there are more places now";
  EXPECT_EQ(Leave("a"), Names{"d"});
  EXPECT_TRUE(Enter("b", 2, 1)) << "what was passed stays so, though there are fewer";
  EXPECT_TRUE(Enter("c", 2, 1));
  EXPECT_FALSE(Enter("e", 1, 1));
  EXPECT_EQ(Leave("b", 2), Names());
  EXPECT_EQ(Leave("c", 2), Names());
  EXPECT_EQ(Leave("d", 0), Names{"e"});
}

TEST_P(LimiterConformance, WhoHasAPlaceForLongIsASuspectOnceInAWhile) {
  EXPECT_TRUE(Enter("a", 3, 2));
  Pass(limits::kPlaceLease.count() / 2);
  EXPECT_TRUE(Enter("b", 4, 2));
  EXPECT_EQ(Entered({"p", "c", 1, 2}).suspect, std::nullopt);
  Pass(limits::kPlaceLease.count() / 2);
  EXPECT_EQ(Entered({"p", "c", 1, 2}).suspect, (PlaceHolder{"a", 3}));
  EXPECT_EQ(Entered({"p", "d", 1, 2}).suspect, std::nullopt);
  Pass(limits::kPlaceLease.count() / 2);
  EXPECT_EQ(Entered({"p", "d", 1, 2}).suspect, (PlaceHolder{"b", 4}));
  Pass(limits::kPlaceLease.count() / 2);
  EXPECT_TRUE(Enter("b", 5, 2)) << "it is new";
  EXPECT_EQ(Entered({"p", "c", 1, 2}).suspect, (PlaceHolder{"a", 3}));
  EXPECT_EQ(Leave("a", 3), Names{"c"});
}

// Of 64 that enter and leave as they like, those that do what they are told: no more have a place than may, and nobody
// waits while there are places.
TEST_P(LimiterConformance, NoPlaceIsGivenTwiceOrLost) {
  SeededRandom random(11);
  std::set<std::string> in, passed, waiting;
  int64_t epoch = 1;
  const auto tell = [&](const Names& names) {
    for (const std::string& name : names) {
      EXPECT_EQ(waiting.erase(name), 1u) << name;
      passed.insert(name);
    }
  };
  for (int i = 0; i < 600; ++i) {
    const std::string one = std::to_string(random.Between(0, 63));
    if (in.contains(one)) {
      in.erase(one);
      tell(Leave(one, epoch));
    } else {
      const EnterReply entered = Entered({"p", one, ++epoch, 5});
      tell(entered.passed);
      EXPECT_TRUE(entered.granted || !passed.contains(one));
      passed.erase(one);
      waiting.erase(one);
      (entered.granted ? in : waiting).insert(one);
    }
    ASSERT_LE(in.size() + passed.size(), 5u);
    ASSERT_TRUE(waiting.empty() || in.size() + passed.size() == 5u) << i;
  }
}

TEST_P(LimiterConformance, ThousandsMayWait) {
  constexpr int kWaiters = 3'000;
  EXPECT_TRUE(Enter("first"));
  for (int i = 0; i < kWaiters; ++i) ASSERT_FALSE(Enter(std::to_string(i)));
  const EnterReply entered = Entered({"p", "last", 1, 1'000});
  EXPECT_FALSE(entered.granted);
  EXPECT_EQ(entered.passed.size(), static_cast<size_t>(limits::kPlacesPassedOn));
  EXPECT_EQ(entered.passed.front(), "0");
  EXPECT_EQ(Leave("first").front(), std::to_string(limits::kPlacesPassedOn)) << "the rest by and by";
}

TEST_P(LimiterConformance, RefusesPlacesThatCannotBe) {
  const std::string long_key(limits::kPlaceKeyBytes + 1, 'k'), long_holder(limits::kPlaceHolderBytes + 1, 'h');
  for (const EnterPlace& wrong : {EnterPlace{"", "a", 1}, EnterPlace{long_key, "a", 1}, EnterPlace{"p", "", 1},
                                  EnterPlace{"p", long_holder, 1}, EnterPlace{"p", "a", 0}, EnterPlace{"p", "a", 1, 0},
                                  EnterPlace{"p", "a", 1, limits::kMaxPlaces + 1}}) {
    EXPECT_EQ(TryEnter(wrong).status().code(), StatusCode::kInvalidArgument);
  }
  for (const LeavePlace& wrong : {LeavePlace{"", "a", 1}, LeavePlace{"p", "", 1}, LeavePlace{"p", "a", -1}}) {
    EXPECT_EQ(TryLeave(wrong).status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(Enter("a")) << "nothing was changed";
}

TEST_P(LimiterConformance, PlacesThatNobodyUsesAreForgotten) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  EXPECT_TRUE(Enter("a"));
  EXPECT_FALSE(Enter("b"));
  Pass(2 * limits::kPlaceKeep.count());
  EXPECT_FALSE(Entered({"p", "c", 1}).granted) << "not while one has a place";
  EXPECT_EQ(Leave("a"), Names{"b"});
  Pass(limits::kTakenPlaceKeep.count() + limits::kPlaceKeep.count());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Entered({"other" + std::to_string(i), "x", 1}).granted);
  EXPECT_TRUE(Enter("d")) << "neither b nor c came";
}

TEST_P(LimiterConformance, PlacesOutliveTheProcess) {
  EXPECT_TRUE(Enter("a"));
  EXPECT_FALSE(Enter("b"));
  EXPECT_FALSE(Enter("c", 1, 1, 1));
  if (!harness_->Reopen()) GTEST_SKIP() << "not a durable store";
  EXPECT_FALSE(Enter("d"));
  EXPECT_EQ(Leave("a"), Names{"b"}) << "priority 0";
}

}  // namespace marathon::inline MARATHON_ABI::testing
