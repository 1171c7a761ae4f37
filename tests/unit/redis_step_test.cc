// needs: redis
// scripts/step.lua against a real server, through the commands and replies of wire.h.
// program: stores
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../../src/adapters/redis/script.h"
#include "../../src/adapters/redis/step.h"
#include "../../src/adapters/redis/tables.h"
#include "../../src/adapters/redis/wire.h"
#include "../redis_server.h"
#include "redis_call.h"

namespace marathon::detail::redis_step_test {
namespace {

class RedisStepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(context_, nullptr) << "redis-server did not come up";
  }
  RedisReply Call(const RedisCommand& command) { return CallRedis(context_.get(), command); }
  // `parts`: of each check, read and write its name, the place of its key, how many arguments it has, and these.
  RedisReply Step(const std::vector<std::string>& keys, const std::string& now, int checks,
                  int reads, const std::vector<std::string>& parts) {
    const auto three = [](int number) { return std::string{'\0', static_cast<char>(number >> 8), static_cast<char>(number)}; };
    RedisCommand words;
    std::string plan;
    int count = 0;
    for (size_t i = 0; i < parts.size(); ++count) {
      const int arguments = std::stoi(parts[i + 2]);
      plan += three(std::stoi(parts[i + 1])) + three(arguments);
      words.Add(parts[i]);
      const size_t end = i + 3 + static_cast<size_t>(arguments);
      for (i += 3; i < end; ++i) words.Add(parts[i]);
    }
    RedisCommand command("EVAL", script_, keys.size());
    for (const std::string& key : keys) command.Add(key);
    command.Add(now).Add(three(0) + three(checks) + three(reads) + three(count - checks - reads) + plan).Add(words);
    const RedisReply reply = Call(command);
    EXPECT_FALSE(reply.is_error()) << reply.text();
    return reply;
  }
  std::string Get(const std::string& key, const std::string& field) {
    return std::string(Call(RedisCommand("HGET", key, field)).text());
  }

  tests::RedisServer server_;
  std::unique_ptr<redisContext, void (*)(redisContext*)> context_ = server_.Connect();
  const std::string script_{kRedisStepScript};
};

// The verbs that a part of the script defines.
std::multiset<std::string> VerbsOf(const std::string& part) {
  std::ifstream file("src/adapters/redis/scripts/" + part + ".lua");
  EXPECT_TRUE(file.is_open()) << part;
  std::multiset<std::string> verbs;
  const std::string_view start = "function verbs.";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(start)) verbs.insert(line.substr(start.size(), line.find('(') - start.size()));
  }
  return verbs;
}

// The verbs that the adapter names in its steps.
std::set<std::string> VerbsInUse() {
  const std::regex call(R"re((?:Write|Read|Change|Gather|Ask|tell)\("([a-z_]+)")re");
  std::set<std::string> verbs;
  for (const auto& entry : std::filesystem::directory_iterator("src/adapters/redis")) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it) verbs.insert((*it)[1]);
  }
  return verbs;
}

TEST_F(RedisStepTest, EachVerbInUseIsThereOnceAndNoOther) {
  std::multiset<std::string> all;
  for (const char* part : {"common", "others", "seldom", "limiter", "places"}) all.merge(VerbsOf(part));
  for (const std::string& verb : all) EXPECT_EQ(all.count(verb), 1u) << verb;
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()), VerbsInUse());
  EXPECT_GT(all.size(), 20u);
}

TEST_F(RedisStepTest, WritesWhenEveryCheckHolds) {
  const auto done = Step({"run"}, "", 1, 0, {"-", "1", "1", "s", "HSET", "1", "2", "s", "one"});
  EXPECT_GT(done.number(), 0);
  EXPECT_EQ(Get("run", "s"), "one");
  EXPECT_GT(Step({"run"}, "", 2, 0, {"=", "1", "2", "s", "one", "+", "1", "1", "s", "HSET", "1", "2", "s", "two"}).number(), 0);
  EXPECT_EQ(Get("run", "s"), "two");
}

TEST_F(RedisStepTest, WritesNothingWhenOneDoesNot) {
  Call(RedisCommand("HSET", "run", "s", "one", "r", "row"));
  Call(RedisCommand("SADD", "held", "a", "b"));
  const std::vector<std::vector<std::string>> broken = {
      {"=", "1", "2", "s", "other"}, {"=", "1", "4", "s", "one", "r", "other"}, {"=", "1", "4", "t", "", "r", "row"},
      {"-", "1", "1", "s"}, {"-", "1", "2", "t", "s"}, {"+", "1", "1", "t"}, {"+", "1", "2", "s", "t"},
      {"n", "2", "1", "1"}};
  for (const auto& check : broken) {
    std::vector<std::string> rest = {"=", "1", "4", "r", "row", "s", "one"};
    rest.insert(rest.end(), check.begin(), check.end());
    rest.insert(rest.end(), {"HSET", "1", "2", "s", "two"});
    const auto refused = Step({"run", "held"}, "", 2, 0, rest);
    EXPECT_EQ(refused[0].number(), 1) << check[0];
    EXPECT_EQ(refused[2].number(), 2) << "the second check is the one";
    EXPECT_EQ(Get("run", "s"), "one");
  }
}

TEST_F(RedisStepTest, RefusesACallerWhoseTimeIsNotTheServers) {
  const RedisReply time = Call(RedisCommand("TIME"));
  const int64_t now = time[0].number() * 1'000'000 + time[1].number();
  const std::vector<std::string> write = {"HSET", "1", "2", "s", "one"};
  EXPECT_EQ(Step({"run"}, std::to_string(now + 60'000'000), 0, 0, write)[0].number(), 2);
  EXPECT_EQ(Step({"run"}, std::to_string(now - 60'000'000), 0, 0, write)[0].number(), 2);
  EXPECT_EQ(Get("run", "s"), "");
  EXPECT_GE(Step({"run"}, std::to_string(now), 0, 0, write).number(), now);
  EXPECT_EQ(Get("run", "s"), "one");
}

TEST_F(RedisStepTest, ReadsPagesOfAStream) {
  for (int i = 1; i <= 40; ++i) {
    Call(RedisCommand("XADD", "h", std::to_string(i) + "-0", "c", i * 7, "r", std::string(10, 'x')));
  }
  const auto page = [&](const std::string& after, const std::string& count,
                        const std::string& bytes) {
    return Step({"h"}, "", 0, 1, {"page", "1", "3", after, count, bytes})[2][0];
  };
  EXPECT_EQ(page("0-0", "100", "1000").size(), 1u + 40 * 3);
  EXPECT_EQ(page("0-0", "100", "1000")[0].number(), 0);
  const RedisReply some = page("5-0", "100", "25");
  ASSERT_EQ(some.size(), 1u + 2 * 3) << "two fit";
  EXPECT_EQ(some[0].number(), 1) << "there are more";
  EXPECT_EQ(some[1].text(), "6-0");
  EXPECT_EQ(some[2].number(), 42);
  EXPECT_EQ(page("0-0", "100", "1").size(), 1u + 3) << "at least one";
  EXPECT_EQ(page("0-0", "17", "1000").size(), 1u + 17 * 3);
  EXPECT_EQ(page("40-0", "100", "1000").size(), 1u);
}

TEST_F(RedisStepTest, HintsGoToTheirSessionWhileItReceivesAndAreTakenInOrderOnce) {
  const std::vector<std::string> keys = {"q", "own", "number", "receivers", "index"};
  const auto hint = [&](const std::string& text, const std::string& session, const std::string& priority = "3",
                        const std::string& place = "last") {
    Step(keys, "", 0, 0, {"hint", "1", "9", "wake", "3", place, session, "4", "2", "5", priority, text});
  };
  const auto take = [&](const std::string& max) {
    std::string all;
    const RedisReply taken = Step(keys, "", 0, 1, {"take", "2", "2", max, "1"})[2][0];
    for (size_t i = 0; i < taken.size(); ++i) all += taken[i].text();
    return all;
  };
  Step(keys, "", 0, 0, {"hint", "1", "13", "wake", "3", "last", "", "0", "0", "0", "3", "c", "3", "b", "3", "b"});
  for (const char* text : {"a", "b"}) hint(text, "");
  EXPECT_EQ(take("2"), "cb");
  EXPECT_EQ(take("9"), "a") << "the same hint waits once";
  Call(RedisCommand("SADD", "receivers", "s1"));
  hint("x", "s1");
  hint("y", "gone");
  EXPECT_EQ(Call(RedisCommand("ZCARD", "own")).number(), 1);
  EXPECT_EQ(take("9"), "xy") << "its own first";
  // As far as numbers go, each is told apart, and none comes into the next priority.
  Call(RedisCommand("SET", "number", (int64_t{1} << 49) - 100));
  for (const char* priority : {"5", "1", "4"}) {
    for (const char* text : {"b", "a"}) hint(std::string(text) + priority, "", priority);
    hint(std::string("c") + priority, "", priority, "first");
  }
  EXPECT_EQ(take("9"), "c1b1a1c4b4a4c5b5a5");
  hint("z", "s1");
  hint("y", "s1", "1");
  hint("x", "");
  Step(keys, "", 0, 0, {"give_back", "5", "3", "wake", "2", "1"});
  EXPECT_EQ(Call(RedisCommand("ZCARD", "own")).number(), 0);
  EXPECT_EQ(take("9"), "yzx") << "each in its place";
}

TEST_F(RedisStepTest, ARunsTimersLeaveTheDueIndexTogether) {
  const std::vector<std::string> keys = {"timers", "due"};
  for (const char* id : {"3", "5"}) {
    Step(keys, "", 0, 0,
         {"HSET", "1", "2", id, "1", "due", "2", "4", "soon", "me", "1", std::string("t") + id + ":run"});
  }
  Step(keys, "", 0, 0, {"due", "2", "4", "soon", "me", "2", "t3:other"});
  EXPECT_EQ(Call(RedisCommand("ZCARD", "due")).number(), 3);
  Step(keys, "", 0, 0, {"timers", "1", "2", "2", "run"});
  EXPECT_EQ(Call(RedisCommand("EXISTS", "timers")).number(), 0);
  const RedisReply left = Call(RedisCommand("ZRANGE", "due", 0, -1));
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].text(), "t3:other");
}

TEST_F(RedisStepTest, OthersAreToldWhatIsDueSoonerAndWhichAwaitedRunsEnd) {
  auto subscriber = server_.Connect();
  ASSERT_NE(subscriber, nullptr);
  std::swap(context_, subscriber);
  Call(RedisCommand("PSUBSCRIBE", "*"));
  std::swap(context_, subscriber);
  const auto next = [&] {
    void* reply = nullptr;
    EXPECT_EQ(redisGetReply(subscriber.get(), &reply), REDIS_OK) << subscriber->errstr;
    const RedisReply message(static_cast<redisReply*>(reply));
    return std::string(message[2].text()) + "=" + std::string(message[3].text());
  };
  const auto due = [&](const std::string& at, const std::string& member) {
    Step({"due"}, "", 0, 0, {"due", "1", "4", "soon", "me", at, member});
  };
  due("50", "a");
  due("70", "b");
  due("20", "c");
  EXPECT_EQ(next(), "soon=me 50");
  EXPECT_EQ(next(), "soon=me 20") << "70 was news to nobody";
  Step({"due"}, "", 0, 0, {"due", "1", "8", "soon", "me", "90", "d", "9", "e", "15", "f"});
  EXPECT_EQ(next(), "soon=me 9") << "the soonest of all that come together";

  Step({"none"}, "", 0, 0, {"await", "1", "2", "7", "w"});
  EXPECT_EQ(Call(RedisCommand("EXISTS", "none")).number(), 0);
  Call(RedisCommand("HSET", "run", "s", "one"));
  for (const char* id : {"7", "17", "7"}) Step({"run"}, "", 0, 0, {"await", "1", "2", id, "w"});
  for (const char* id : {"7", "27"}) Step({"run"}, "", 0, 0, {"await", "1", "2", id, "e"});
  Step({"run"}, "", 0, 0, {"answered", "1", "3", "store:", "run", "7"});
  Step({"run"}, "", 0, 0, {"closed", "1", "3", "store:", "run", "7"});
  Step({"run"}, "", 0, 0, {"closed", "1", "3", "store:", "run", "7"});
  Step({"run"}, "", 0, 0, {"tell", "1", "2", "end", "of test"});
  EXPECT_EQ(next(), "store:27=run") << "an answer is nothing to those who await the end";
  EXPECT_EQ(next(), "store:17=run") << "once, and not to who closed it";
  EXPECT_EQ(Call(RedisCommand("HEXISTS", "run", "e")).number(), 0);
  EXPECT_EQ(next(), "end=of test");
}

TEST_F(RedisStepTest, AStepIsBuiltOfItsPartsAndCalledByItsDigest) {
  const std::string digest(Call(RedisCommand("SCRIPT", "LOAD", script_)).text());
  RedisStep first;
  first.Expect(RedisStep::Check::kAbsent, "run", "s");
  first.Write("HSET", "run", "s", "one", "r", "row");
  first.Write("SADD", "held", "a");
  EXPECT_EQ(first.Key("held"), 2);
  EXPECT_EQ(first.Key("run"), 1) << "each key once";
  const RedisCommand command = first.Command("EVALSHA", digest, std::nullopt);
  EXPECT_GT(Call(command).number(), 0) << "the time";
  EXPECT_EQ(Call(command)[0].number(), 1) << "it is there now";

  const RedisReply time = Call(RedisCommand("TIME"));
  RedisStep second;
  second.Expect(RedisStep::Check::kEquals, "run", "s", "one");
  second.Expect(RedisStep::Check::kPresent, "run", "r");
  second.Expect(RedisStep::Check::kCount, "held", "", "1");
  second.Read("HMGET", "run", "r", "none", "s");
  second.Read("SMEMBERS", "held");
  second.Write("HSET", "run", "s", "two");
  const RedisReply reply = Call(second.Command(
      "EVALSHA", digest, FromMicros(time[0].number() * 1'000'000 + time[1].number())));
  ASSERT_EQ(reply[0].number(), 0);
  EXPECT_EQ(reply[2][0][0].text(), "row");
  EXPECT_TRUE(reply[2][0][1].is_nil());
  EXPECT_EQ(reply[2][0][2].text(), "one") << "reads come before writes";
  EXPECT_EQ(reply[2][1][0].text(), "a");
  EXPECT_EQ(Get("run", "s"), "two");
}

TEST_F(RedisStepTest, AStepDoesTheSameWhenRedisIsToldOfOneKeyOnly) {
  RedisStep step;
  step.Expect(RedisStep::Check::kAbsent, "run", "s");
  step.Read("move_keys", "keys", step.Key("heir"));
  step.Write("HSET", "run", "s", "one");
  step.Write("SADD", "held", "a");
  Call(RedisCommand("ZADD", "keys", 7, "k"));
  const RedisCommand command = step.Command("EVAL", script_, std::nullopt, "absent");
  EXPECT_THAT(command.Bytes(), ::testing::HasSubstr("\r\n$1\r\n1\r\n$6\r\nabsent\r\n"));
  const RedisReply done = Call(command);
  ASSERT_EQ(done[0].number(), 0) << done.text();
  EXPECT_EQ(Get("run", "s"), "one");
  EXPECT_EQ(Call(RedisCommand("SMEMBERS", "held"))[0].text(), "a");
  EXPECT_EQ(Call(RedisCommand("ZSCORE", "heir", "k")).number(), 7);
  EXPECT_EQ(Call(RedisCommand("EXISTS", "absent", "keys")).number(), 0);
  EXPECT_EQ(Call(command)[0].number(), 1) << "it is there now";
}

TEST_F(RedisStepTest, MembersOfAKeyGoTogetherAndMoreThanACallTakesInSome) {
  const std::string digest(Call(RedisCommand("SCRIPT", "LOAD", script_)).text());
  constexpr int kMany = 20'000;  // Lua's stack takes 8,000
  RedisStep write, read;
  for (int i = 0; i < kMany; ++i) {
    write.Gather("HSET", "rows", {}, i, i + 1);
    write.Gather("SADD", i % 2 == 0 ? "even" : "odd", {}, i);
    write.Gather("due", "due", RedisCommand("soon", "me"), kMany - i, i);
    read.Expect(RedisStep::Check::kEquals, "rows", std::to_string(i), std::to_string(i + 1));
    read.Expect(RedisStep::Check::kPresent, "rows", std::to_string(i));
    read.Expect(RedisStep::Check::kAbsent, "rows", std::to_string(i + kMany));
  }
  EXPECT_EQ(write.writes(), 3 * kMany);
  EXPECT_LT(write.Command("EVALSHA", digest, std::nullopt).count(), 5 * kMany + 3'000);
  ASSERT_GT(Call(write.Command("EVALSHA", digest, std::nullopt)).number(), 0);
  EXPECT_EQ(Call(RedisCommand("HLEN", "rows")).number(), kMany);
  EXPECT_EQ(Call(RedisCommand("SCARD", "even")).number(), kMany / 2);
  EXPECT_EQ(Call(RedisCommand("SCARD", "odd")).number(), kMany / 2);
  EXPECT_EQ(Call(RedisCommand("ZRANGE", "due", 0, 0))[0].number(), kMany - 1);
  const RedisCommand check = read.Command("EVALSHA", digest, std::nullopt);
  EXPECT_GT(Call(check).number(), 0);
  Call(RedisCommand("HSET", "rows", kMany - 1, "other"));
  EXPECT_EQ(Call(check)[0].number(), 1) << "the last of them counts, too";
}

// A step whose time is not the server's has checked nothing: what it would have checked is still open.
TEST(RedisTablesTest, OnlyAStepThatWasDoneConfirmsWhatIsKnown) {
  const RunKey key{"w", "r"};
  const RedisKeys keys("n", 0);
  RedisRows known;
  known.runs["r"].row.key = key;
  known.runs["r"].stamp = "stamp";
  RedisWriter writer;
  RedisTables tables(keys, known, writer);
  for (int i = 0; i < 2; ++i) {
    tables.Begin();
    ASSERT_NE(tables.FindRun(key), nullptr);
    EXPECT_TRUE(tables.End().has_value()) << "attempt " << i;
  }
  tables.AddAnswers(RedisReply());
  tables.Begin();
  ASSERT_NE(tables.FindRun(key), nullptr);
  EXPECT_FALSE(tables.End().has_value()) << "that has been checked";
}

TEST(RedisErrorTest, SaysWhatIsCertain) {
  EXPECT_EQ(StatusOfError("LOADING Redis is loading").code(), StatusCode::kUnavailable);
  EXPECT_EQ(StatusOfError("NOSCRIPT No matching script").code(), StatusCode::kUnavailable);
  EXPECT_EQ(StatusOfError("MOVED 7 h:1").code(), StatusCode::kUnavailable);
  EXPECT_EQ(StatusOfError("OOM command not allowed").code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(StatusOfError("WRONGPASS invalid").code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(StatusOfError("ERR something").code(), StatusCode::kUnknown);
  EXPECT_EQ(StatusOfError("BUSYKEY exists").code(), StatusCode::kUnknown) << "another word";
  EXPECT_TRUE(AsksToReconnect("READONLY You can't write"));
  EXPECT_FALSE(AsksToReconnect("BUSY script"));
  EXPECT_EQ(StatusOfError("DENIED Redis is running in protected mode").code(), StatusCode::kFailedPrecondition);
  // As Redis 6.2 says what a command of a script has met.
  const std::string place = "ERR Error running script (call to f_9d3e): @user_script:412: @user_script: 412: ";
  EXPECT_EQ(StatusOfError(place + "-OOM command not allowed when used memory > 'maxmemory'.").code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(StatusOfError(place + "-READONLY You can't write").code(), StatusCode::kUnavailable);
  EXPECT_TRUE(AsksToReconnect(place + "-READONLY You can't write"));
  EXPECT_EQ(StatusOfError(place + "attempt to index a nil value").code(), StatusCode::kUnknown);
}

}  // namespace
}  // namespace marathon::detail::redis_step_test
