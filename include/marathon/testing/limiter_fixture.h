// The fixture of the Limiter suite: one call a line, answers awaited.
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
#include "marathon/state_store.h"
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

}  // namespace marathon::inline MARATHON_ABI::testing
