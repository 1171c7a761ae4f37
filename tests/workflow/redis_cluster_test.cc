// needs: redis
// program: histories
// A Redis cluster whose slots move and whose servers die. tests/workflow/redis_move_test.cc has slots that are on their way.
#include <gmock/gmock.h>

#include <set>
#include <string>
#include <vector>

#include "../../src/adapters/redis/nodes.h"
#include "../redis_cluster.h"
#include "redis_steps.h"

namespace marathon::tests::redis_test {
namespace {

using ::testing::HasSubstr;

TEST(RedisNodesTest, SlotsAreThoseOfTheSpecification) {
  EXPECT_EQ(detail::RedisNodes::SlotOf("123456789"), 0x31c3);  // its check value
  EXPECT_EQ(detail::RedisNodes::SlotOf("a{123456789}b"), 0x31c3);
  EXPECT_EQ(detail::RedisNodes::SlotOf("{}a"), detail::RedisNodes::SlotOf("{}a"));
  EXPECT_NE(detail::RedisNodes::SlotOf("{}a"), detail::RedisNodes::SlotOf("{}b")) << "no tag";
}

using Runs = std::vector<Run>;

class RedisClusterTest : public ::testing::Test {
 protected:
  static RedisCluster& cluster() {
    static RedisCluster cluster;
    return cluster;
  }
  static int SlotOf(const std::string& name_space, int partition) {
    return detail::RedisNodes::SlotOf("{" + name_space + ":" + std::to_string(partition) + "}");
  }
};

TEST_F(RedisClusterTest, RunsAreSpreadOverPartitionsWhoseNumberStays) {
  const std::string url = cluster().Url("namespace=spread", /*without=*/1);
  {
    auto engine = OpenAt(url);
    ASSERT_TRUE(engine.ok()) << engine.status();
    Runs runs;
    for (int i = 0; i < 40; ++i) {
      auto run = engine->Start("Steps", 1);
      ASSERT_TRUE(run.ok()) << run.status();
      runs.push_back(*std::move(run));
    }
    for (const auto& run : runs) WalkThrough(run, [](int) {});
    std::set<std::string> listed;
    ListRequest request{.limit = 7};
    do {
      const auto page = engine->List(request);
      ASSERT_TRUE(page.ok()) << page.status();
      EXPECT_LE(page->runs.size(), 7u);
      for (const RunRow& row : page->runs) EXPECT_TRUE(listed.insert(row.key.run_id).second);
      request.page_token = page->next_page_token;
    } while (!request.page_token.empty());
    EXPECT_EQ(listed.size(), runs.size()) << "each once";
  }
  std::set<std::string> used;
  for (size_t server = 0; server < RedisCluster::kServers; ++server) {
    std::string keys = cluster().Call(server, {"KEYS", "marathon:{spread:*}:runs"});
    for (size_t at = 0; at < keys.size(); at = keys.find('\n', at) + 1) {
      used.insert(keys.substr(at, keys.find('\n', at) - at));
    }
  }
  EXPECT_GT(used.size(), 10u) << "of 16";
  const auto other = OpenAt(url + "&partitions=4");
  EXPECT_EQ(other.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("16 partitions"));
  EXPECT_TRUE(OpenAt(url + "&partitions=16").ok());
}

// With +cluster|slots as the manual has it, and without: then only redirects tell who has which slots.
TEST_F(RedisClusterTest, AUserWithOnlyTheRightsOfTheManualIsEnough) {
  for (const std::string more : {"+cluster|slots", "-cluster|slots"}) {
    const std::string name = more[0] == '+' ? "with" : "without";
    for (size_t i = 0; i < RedisCluster::kServers; ++i) {
      ASSERT_EQ(cluster().Call(i, {"ACL", "SETUSER", name, "on", ">sesame", "~marathon:*", "&marathon:*", "-@all", "+@read",
                                   "+@write", "+@transaction", "+@connection", "+@pubsub", "+eval", "+evalsha",
                                   "+script|load", "+time", "-@dangerous", "-keys", "+info", more}),
                "OK");
    }
    std::string url = cluster().Url("namespace=" + name);
    WalkThrough(url.insert(url.find("//") + 2, name + ":sesame@"));
    const std::string meta = "marathon:{" + name + ":0}:meta";
    EXPECT_EQ(cluster().Call(cluster().OwnerOf(SlotOf(name, 0)), {"HGET", meta, "partitions"}), "16");
  }
}

TEST_F(RedisClusterTest, SeedsThatAreGoneArePassedOver) {
  std::string url = cluster().Url("namespace=seeds&partitions=2");
  for (int i = 0; i < 2; ++i) url.insert(url.find("//") + 2, "127.0.0.1:" + std::to_string(FreePort()) + ",");
  WalkThrough(url);
}

// A server that has given its slots away may leave, and those who listen to it would hear nothing.
TEST_F(RedisClusterTest, WhoListensGoesWithTheSlot) {
  auto engine = OpenAt(cluster().Url("namespace=heard&partitions=1"));
  ASSERT_TRUE(engine.ok()) << engine.status();
  const int slot = SlotOf("heard", 0);
  const size_t from = cluster().OwnerOf(slot), to = (from + 1) % RedisCluster::kServers;
  const auto channels = [&](size_t server) { return cluster().Call(server, {"PUBSUB", "CHANNELS", "marathon:{heard:*"}); };
  EXPECT_THAT(channels(from), HasSubstr(":soon"));
  cluster().Move(slot, from, to);
  ASSERT_TRUE(engine->Start("Steps", 1, {.request_id = "1"}).ok() || Eventually([&] {
    return engine->Start("Steps", 1, {.request_id = "1"}).ok();
  }));
  EXPECT_TRUE(Eventually([&] { return channels(to).find(":soon") != std::string::npos && channels(from).empty(); }));
}

TEST_F(RedisClusterTest, SlotsThatMoveAreFollowed) {
  auto engine = OpenAt(cluster().Url("namespace=moving&partitions=1"));
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Steps", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  const int slot = SlotOf("moving", 0);
  size_t at = cluster().OwnerOf(slot);
  WalkThrough(*run, [&](int) {
    const size_t to = (at + 1) % RedisCluster::kServers;
    cluster().Move(slot, at, to);
    at = to;
  });
}

TEST_F(RedisClusterTest, AServerThatDiesIsWaitedFor) {
  ASSERT_EQ(cluster().Call(1, {"CONFIG", "SET", "appendfsync", "always"}), "OK");  // nothing is to be lost
  auto engine = OpenAt(cluster().Url("namespace=dying&partitions=6"));
  ASSERT_TRUE(engine.ok()) << engine.status();
  Runs runs;
  for (int i = 0; i < 12; ++i) {
    auto run = engine->Start("Steps", 1);
    ASSERT_TRUE(run.ok()) << run.status();
    runs.push_back(*std::move(run));
  }
  cluster().server(1).Kill();
  std::thread back([&] {
    cluster().server(1).Start();
    for (size_t i = 0; i < RedisCluster::kServers; ++i) cluster().WaitUntilWhole(i);
  });
  for (const auto& run : runs) WalkThrough(run, [](int) {});
  back.join();
}

}  // namespace
}  // namespace marathon::tests::redis_test
