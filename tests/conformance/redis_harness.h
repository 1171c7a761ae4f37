// Redis stores for the suites, with a clock that can be turned: over a server of its own, or over a cluster
// that all share, in a namespace of its own.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../redis_cluster.h"
#include "../redis_server.h"
#include "marathon/adapters/redis.h"
#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/testing/store_harness.h"
#include "pumped_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

class RedisHarness : public StoreHarness {
 public:
  explicit RedisHarness(std::string url) : url_(std::move(url)) { Reopen(); }

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
  bool ForgetsByItsClock() override { return false; }
  std::optional<int64_t> DueVisited() override { return RedisDueVisited(*ports_.store); }
  bool KeepClosed(Duration keep, int64_t bytes) override {
    options_.closed_keep = keep;
    options_.closed_bytes = bytes;
    return Reopen();
  }
  bool Reopen() override {
    ports_ = Ports();
    const auto url = ParseBackendUrl(url_);
    auto opened = RedisBackend(options_).open(*url, runtime_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) ports_ = *std::move(opened);
    return opened.ok();
  }

 private:
  const std::string url_;
  RedisOptions options_{.server_clock = false, .log = nullptr};
  PumpedRuntime runtime_;
  Ports ports_;
};

struct OwnRedisServer {
  tests::RedisServer server;
};

class RedisServerHarness final : private OwnRedisServer, public RedisHarness {
 public:
  RedisServerHarness() : RedisHarness("redis:" + server.socket()) {}

  // The keys that the server has, with the number of what is in each.
  std::map<std::string, int64_t> Sizes() {
    auto context = server.Connect();
    const auto call = [&](const char* format, const std::string& key) {
      return detail::RedisReply(
          static_cast<redisReply*>(redisCommand(context.get(), format, key.data(), key.size())));
    };
    const std::map<std::string_view, const char*> sizes = {
        {"hash", "HLEN %b"}, {"set", "SCARD %b"}, {"zset", "ZCARD %b"}, {"stream", "XLEN %b"}};
    std::map<std::string, int64_t> all;
    const detail::RedisReply keys = call("KEYS %b", "*");
    for (size_t i = 0; i < keys.size(); ++i) {
      const std::string key(keys[i].text());
      const auto size = sizes.find(call("TYPE %b", key).text());
      all[key] = size == sizes.end() ? 1 : call(size->second, key).number();
    }
    return all;
  }
};

class RedisClusterHarness final : public RedisHarness {
 public:
  RedisClusterHarness() : RedisHarness(Url()) {}

 private:
  static std::string Url() {
    static tests::RedisCluster cluster;
    static int number = 0;
    return cluster.Url("partitions=4&namespace=" + std::to_string(++number));
  }
};

}  // namespace marathon::inline MARATHON_ABI::testing
