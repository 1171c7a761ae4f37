// What the tests of Redis walk through: a run that waits at every step, so that something may befall its server between two.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "../../src/adapters/redis/wire.h"
#include "../redis_server.h"
#include "fixture.h"
#include "marathon/adapters/redis.h"

namespace marathon::tests::redis_test {

inline constexpr int kSteps = 5;

inline constexpr ActivityDef<int(int)> kDouble{"Double"};

// Every step waits for a signal before it runs.
inline Workflow<int> Steps(WorkflowContext& ctx, int x) {
  for (int i = 0; i < kSteps; ++i) {
    x += co_await ctx.Receive<int>("go");
    x = co_await ctx.Run(kDouble, x, {.retry = &kThreeTries});
  }
  co_return x;
}
inline constexpr int kStepsFromOne = 94;  // of 1 and five signals of 1: 4, 10, 22, 46, 94

inline Registry Workflows() {
  Registry registry;
  registry.Use(RedisBackend({.log = nullptr}));
  registry.Use(RedisTlsBackend({.log = nullptr}));
  registry.Bind(kDouble, [](ActivityContext&, int x) { return 2 * x; });
  registry.Bind("Steps", Steps);
  return registry;
}

inline StatusOr<Engine> OpenAt(const std::string& url) {
  return Engine::Open(
      url, Workflows(),
      {.turn_threads = 2, .verify_determinism = true, .log = std::make_shared<CollectingLog>()});
}

// Until the store takes it: a server that is away comes back.
inline Status SignalUntilTaken(const Run& run, const std::string& request_id) {
  Status status;
  EXPECT_TRUE(Eventually([&] {
    status = run.Signal("go", 1, {.request_id = request_id});
    return status.code() != StatusCode::kUnavailable && status.code() != StatusCode::kUnknown;
  }));
  return status;
}

// What has become of a run, for messages.
inline std::string HistoryOf(const Run& run) {
  std::string text;
  const auto history = run.History();
  if (!history.ok()) return history.status().ToString();
  for (const Event& event : *history) text += std::to_string(event.id) + " " + Describe(event.body) + "\n";
  const auto now = run.Describe();
  if (!now.ok()) return text + now.status().ToString();
  return text + std::to_string(now->run.inbox_size) + " messages wait, and " + std::to_string(now->activities.size()) +
         " activities";
}

// Signals a run step by step, with `between` after each signal; the result is right.
template <class Between>
void WalkThrough(const Run& run, Between between) {
  for (int i = 0; i < kSteps; ++i) {
    const Status signaled = SignalUntilTaken(run, std::to_string(i));
    ASSERT_TRUE(signaled.ok()) << signaled;
    between(i);
  }
  const auto result = run.Result<int>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status() << "\n" << HistoryOf(run);
  EXPECT_EQ(*result, kStepsFromOne);
}

inline void WalkThrough(const std::string& url) {
  auto engine = OpenAt(url);
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Steps", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  WalkThrough(*run, [](int) {});
}

inline std::string Ask(RedisServer& server, const char* command) {
  auto context = server.Connect();
  if (context == nullptr) return "no connection";
  const detail::RedisReply reply(static_cast<redisReply*>(redisCommand(context.get(), command)));
  return std::string(reply.text());
}

}  // namespace marathon::tests::redis_test
