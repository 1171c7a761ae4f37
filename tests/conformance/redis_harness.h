// A Redis store for the suites: a server of its own and a clock that can be turned.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <string>

#include "../redis_server.h"
#include "marathon/adapters/redis.h"
#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/testing/store_harness.h"
#include "pumped_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

class RedisHarness final : public StoreHarness {
 public:
  RedisHarness() { Reopen(); }

  Ports& ports() override { return ports_; }
  void Advance(std::chrono::microseconds by) override { runtime_.Advance(by); }
  void Pump() override {
    runtime_.Pump();
    std::promise<void> done;
    RedisSync(*ports_.store, [&](const Status& status) {
      EXPECT_TRUE(status.ok()) << status;
      done.set_value();
    });
    done.get_future().get();
  }
  std::optional<int64_t> DueVisited() override { return RedisDueVisited(*ports_.store); }
  bool Reopen() override {
    ports_ = Ports();
    const auto url = ParseBackendUrl("redis:" + server_.socket());
    auto opened = RedisBackend({.server_clock = false, .log = nullptr}).open(*url, runtime_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) ports_ = *std::move(opened);
    return opened.ok();
  }

 private:
  tests::RedisServer server_;
  PumpedRuntime runtime_;
  Ports ports_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
