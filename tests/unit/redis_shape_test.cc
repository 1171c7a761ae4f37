// needs: redis
// Scripts made for steps of one shape, against scripts/step.lua, on a real server.
// program: stores
#include <gmock/gmock.h>

#include <memory>
#include <random>
#include <regex>
#include <string>

#include "../../src/adapters/redis/script.h"
#include "../../src/adapters/redis/shape.h"
#include "../../src/adapters/redis/step.h"
#include "../../src/adapters/redis/wire.h"
#include "../redis_server.h"
#include "redis_call.h"

namespace marathon::detail::redis_shape_test {
namespace {

class RedisShapesTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(context_, nullptr) << "redis-server did not come up"; }
  RedisReply Call(const RedisCommand& command) { return CallRedis(context_.get(), command); }
  std::string Get(const std::string& key) { return std::string(Call(RedisCommand("HGET", key, "s")).text()); }

  tests::RedisServer server_;
  std::unique_ptr<redisContext, void (*)(redisContext*)> context_ = server_.Connect();
};

// A reply as text.
std::string Shown(const RedisReply& reply) {
  if (!reply.is_array()) return reply.is_nil() ? "nil" : std::string(reply.text()) + std::to_string(reply.number());
  std::string all = "[";
  for (size_t i = 0; i < reply.size(); ++i) all += Shown(reply[i]) + " ";
  return all + "]";
}

// Any checks and writes, of which some checks do not hold.
class RandomSteps {
 public:
  explicit RandomSteps(unsigned seed) : random_(seed) {}

  RedisStep Next() {
    RedisStep step;
    for (int left = Below(4); left > 0; --left) AddCheck(step);
    for (int left = 1 + Below(5); left > 0; --left) AddWrite(step);
    return step;
  }

 private:
  int Below(int end) { return static_cast<int>(random_() % static_cast<unsigned>(end)); }
  std::string Hash() { return Below(2) == 0 ? "run" : "other"; }
  // Some are of the shape, others not.
  std::string Field() { return std::string("s").append(static_cast<size_t>(Below(2)), '7'); }
  std::string Value() {
    const std::string values[] = {"", "a", "7", "'", "]]", "two words", std::string("\r\n\0x", 4)};
    return values[Below(7)];
  }

  void AddCheck(RedisStep& step) {
    switch (Below(4)) {
      case 0:
        return step.Expect(RedisStep::Check::kEquals, Hash(), Field(), Value());
      case 1:
        return step.Expect(RedisStep::Check::kPresent, Hash(), Field());
      case 2:
        return step.Expect(RedisStep::Check::kAbsent, Hash(), Field());
      default:
        return step.Expect(RedisStep::Check::kCount, "set", "", std::to_string(Below(3)));
    }
  }
  void AddWrite(RedisStep& step) {
    switch (Below(8)) {
      case 0:
        return step.Write("enter", "index", step.Key("number"), Value());
      case 1:
        return step.Write("closed", "run", "store:", "name", "1");
      case 2:
        return step.Write("HDEL", Hash(), Field());
      case 3:
        return step.Write("HSET", "run", "w", " 1 2 ");
      case 4:
        return step.Gather("due", "due", RedisCommand("soon", "1"), 100 + Below(50), Value());
      case 5:
        return step.Gather(Below(3) == 0 ? "SREM" : "SADD", "set", {}, Value());
      default:
        return step.Gather("HSET", Hash(), {}, Field(), Value());
    }
  }

  std::mt19937 random_;
};

TEST_F(RedisShapesTest, AScriptMadeForAShapeDoesTheSame) {
  const std::string digest(Call(RedisCommand("SCRIPT", "LOAD", kRedisStepScript)).text());
  EXPECT_EQ(RedisScriptDigest(kRedisStepScript), digest);
  RandomSteps steps(7);
  const auto in = [&](int database, const RedisCommand& command) {
    Call(RedisCommand("SELECT", database));
    const std::string reply = Shown(Call(command));
    const std::regex time("1[0-9]{15}");  // of today
    std::string all = std::regex_replace(reply, time, "time");
    for (const char* key : {"run", "other", "set", "index", "number", "due"}) all += Shown(Call(RedisCommand("DUMP", key)));
    return all;
  };
  int refused = 0;
  for (int i = 0; i < 700; ++i) {
    const RedisStep step = steps.Next();
    const RedisShapes::Script* own = nullptr;
    RedisCommand arguments;
    RedisShapes shapes;
    for (int times = 0; times < RedisShapes::kTimes; ++times) {
      EXPECT_EQ(own, nullptr) << "not before it has come " << times << " times";
      arguments = RedisCommand();
      own = shapes.For(step, arguments);
    }
    ASSERT_NE(own, nullptr);
    const std::string generally = in(0, step.Command("EVALSHA", digest, std::nullopt));
    EXPECT_EQ(in(1, step.Command("EVAL", own->text, std::nullopt, arguments)), generally)
        << own->text.substr(own->text.find("local K, A"));
    refused += generally.starts_with("[1 time") ? 1 : 0;
  }
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 600);
}

TEST_F(RedisShapesTest, StepsOfOneShapeHaveOneScript) {
  RedisShapes shapes;
  RedisCommand arguments;
  const auto script_for = [&](const RedisStep& step) {
    arguments = RedisCommand();
    return shapes.For(step, arguments);
  };
  const auto step_of = [](const std::string& key, const std::string& value) {
    RedisStep step;
    step.Expect(RedisStep::Check::kAbsent, key, "s");
    step.Write("HSET", key, "s", value);
    return step;
  };
  for (int i = 1; i < RedisShapes::kTimes; ++i) EXPECT_EQ(script_for(step_of("run", std::to_string(100 + i))), nullptr);
  const RedisStep first = step_of("run", "one"), second = step_of("other", "two"), third = step_of("third", "3");
  const RedisShapes::Script* const own = script_for(first);
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(Call(first.Command("EVAL", own->text, FromMicros(1), arguments))[0].number(), 2) << "not the server's time";
  EXPECT_EQ(Get("run"), "");
  EXPECT_GT(Call(first.Command("EVALSHA", own->digest, std::nullopt, arguments)).number(), 0);
  EXPECT_EQ(script_for(second), own);
  EXPECT_GT(Call(second.Command("EVALSHA", own->digest, std::nullopt, arguments)).number(), 0);
  EXPECT_EQ(Get("run") + Get("other"), "onetwo");
  EXPECT_EQ(script_for(third), nullptr) << "one letter or digit belongs to the shape";
}

TEST(RedisShapesLimitsTest, OnlySomeGetAScript) {
  RedisShapes shapes;
  const auto made = [&](const RedisStep& step) {
    bool one = false;
    for (int i = 0; i < 2 * RedisShapes::kTimes; ++i) {
      RedisCommand arguments;
      one = shapes.For(step, arguments) != nullptr;
    }
    return one;
  };
  RedisStep seldom;
  seldom.Write("await", "run", "1", "w");
  EXPECT_FALSE(made(seldom)) << "only step.lua knows that verb";
  RedisStep reading;
  reading.Read("HGET", "run", "s");
  EXPECT_FALSE(made(reading));
  RedisStep long_one;
  for (int i = 0; i < 60; ++i) long_one.Write("HDEL", "run", "s");
  EXPECT_FALSE(made(long_one));
  size_t scripts = 0;
  for (size_t fields = 1; fields <= RedisShapes::kMostScripts + 20; ++fields) {
    RedisStep step;
    for (size_t i = 0; i < fields; ++i) step.Gather("HSET", "run", {}, i < 7 ? "s" : "long", "value");
    if (made(step)) ++scripts;
  }
  EXPECT_EQ(scripts, 49u) << "those of no more than a hundred words";
  for (size_t i = 0; i < 26 * 26; ++i) {
    RedisStep step;
    const char fields[] = {static_cast<char>('a' + i % 26), static_cast<char>('a' + i / 26)};
    step.Write("HDEL", "run", std::string(1, fields[0]), std::string(1, fields[1]));
    if (made(step)) ++scripts;
  }
  EXPECT_EQ(scripts, RedisShapes::kMostScripts);
  RedisStep known;
  known.Gather("HSET", "run", {}, "s", "other");
  RedisCommand arguments;
  EXPECT_NE(shapes.For(known, arguments), nullptr) << "who has one keeps it";
}

}  // namespace
}  // namespace marathon::detail::redis_shape_test
