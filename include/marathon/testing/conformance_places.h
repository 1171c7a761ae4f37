// LimiterConformance: places.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/limits.h"
#include "marathon/testing/limiter_fixture.h"
#include "marathon/testing/seeded_random.h"

namespace marathon::inline MARATHON_ABI::testing {

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
  EXPECT_TRUE(entered.granted) << "it is here, and whoever is next might come too late again";
  EXPECT_EQ(entered.passed, Names());
  EXPECT_FALSE(Enter("b", 2));
  EXPECT_EQ(Leave("d", 2), Names{"c"});
  EXPECT_TRUE(Enter("c", 2));
  EXPECT_EQ(Leave("c", 2), Names{"b"});
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
