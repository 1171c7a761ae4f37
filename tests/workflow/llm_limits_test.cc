// Models under limits that workers share, through engines: calls that wait on the store's time and not in a worker, and
// one worker's 429 that holds all others.
// needs: llm testing
// program: llm
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../stream_server.h"
#include "marathon/adapters/memory.h"
#include "marathon/llm/chat_activity.h"
#include "marathon/llm/client.h"
#include "marathon/llm/router.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/testing/forwarding_limiter.h"
#include "marathon/testing/test_environment.h"
#include "src/llm/paced_call.h"

namespace marathon::llm::llm_limits_test {
namespace {

using namespace std::chrono_literals;
using tests::DoubleRequest;
using tests::StreamReply;
using tests::StreamServer;

constexpr Duration kPatience = 120s;
constexpr RetryPolicy kOnce{.initial_interval = 1ms, .maximum_attempts = 1, .jitter = 0};
constexpr RetryPolicy kQuick{.initial_interval = 1ms, .maximum_attempts = 3, .jitter = 0};

// A scripted model under the limits of an endpoint, as a Client is.
class LimitedModel final : public Model {
 public:
  LimitedModel(std::shared_ptr<Model> script, Endpoint endpoint)
      : script_(std::move(script)), endpoint_(std::move(endpoint)) {}

  void Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override {
    script_->Chat(std::move(request), std::move(stop), std::move(on_delta), std::move(done));
  }
  // Of a memory store, which answers within the call.
  void ChatWithin(Pace pace, ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override {
    internal::PacedCall call(pace, endpoint_, request.model, internal::EstimateTokens(request));
    std::optional<StatusOr<Permit>> permit;
    call.Ask([&](StatusOr<Permit> given) { permit = std::move(given); });
    auto next = call.Take(*permit);
    if (auto* error = std::get_if<Error>(&next)) return done(std::move(*error));
    Chat(std::move(request), std::move(stop), std::move(on_delta), std::move(done));
  }

 private:
  const std::shared_ptr<Model> script_;
  const Endpoint endpoint_;
};

Workflow<std::string> Chat(WorkflowContext& ctx, std::string text) {
  ChatRequest request{.model = "m"};
  request.messages = {UserMessage(text)};
  const ChatResponse response = co_await ctx.Run(kChat, request, {.retry = &kOnce});
  co_return TextOf(response.blocks);
}
Workflow<std::string> PatientChat(WorkflowContext& ctx, std::string text) {
  ChatRequest request{.model = "m"};
  request.messages = {UserMessage(text)};
  const ChatResponse response = co_await ctx.Run(kChat, request, {.retry = &kQuick});
  co_return TextOf(response.blocks);
}

Registry Code(std::shared_ptr<Model> model) {
  Registry registry;
  registry.Bind(kChat, ChatActivity(std::move(model)));
  registry.Bind("Chat", Chat);
  registry.Bind("PatientChat", PatientChat);
  return registry;
}

std::shared_ptr<ScriptedModel> Says(const std::string& text) {
  return std::make_shared<ScriptedModel>([text](const ChatRequest&) {
    ChatResponse response;
    response.blocks.emplace_back(Text{text});
    return response;
  });
}

// Each of a crowd has its turn, one a minute, of one attempt and two deliveries at most: nobody asks in vain.
TEST(LlmLimitsTest, ACrowdGoesOneByOne) {
  constexpr int kCrowd = 6;
  constexpr int kAtOnce = 2;
  const auto script = Says("hi");
  testing::TestEnvironment env(Code(std::make_shared<LimitedModel>(script, Endpoint{.requests_per_minute = kAtOnce})));
  std::vector<marathon::Run> runs;
  for (int i = 0; i < kCrowd; ++i) runs.push_back(*env.engine().Start("Chat", std::to_string(i)));
  for (const marathon::Run& run : runs) EXPECT_EQ(run.Result<std::string>().value_or("no result"), "hi");
  EXPECT_EQ(script->requests().size(), static_cast<size_t>(kCrowd));
  const auto calls = env.Calls(kChat);
  ASSERT_EQ(calls.size(), static_cast<size_t>(2 * kCrowd - kAtOnce));
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i].info.attempt, 1);
    const int turn = std::max(static_cast<int>(i) - kCrowd + 1, 0);
    EXPECT_GE(calls[i].at - calls[0].at, 30s * turn);
  }
  EXPECT_LT(calls.back().at - calls[0].at, 30s * (kCrowd - kAtOnce) + 1s);
}

TEST(LlmLimitsTest, APauseIsWaitedOutAndThePlaceKept) {
  const auto script = Says("hi");
  testing::TestEnvironment env(Code(std::make_shared<LimitedModel>(script, Endpoint{})));
  env.engine().limiter().Settle({.key = LimitKey({}, "m"), .pause = 3h}, [](const Status&) {});
  const auto run = env.engine().Start("Chat", std::string("x"));
  EXPECT_EQ(run->Result<std::string>().value_or("no result"), "hi");
  const auto calls = env.Calls(kChat);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_GE(calls[1].at - calls[0].at, 3h);
  EXPECT_LT(calls[1].at - calls[0].at, 3h + 1s);
}

// A permit is used once: whoever fails takes another one.
TEST(LlmLimitsTest, ARetryHasToAskAgain) {
  auto script = std::make_shared<ScriptedModel>();
  script->Says("first").Fails(ErrorClass::kTransient).Says("second");
  testing::TestEnvironment env(Code(std::make_shared<LimitedModel>(script, Endpoint{.requests_per_minute = 1})));
  EXPECT_EQ(env.engine().Start("Chat", std::string("x"))->Result<std::string>().value_or(""), "first");
  EXPECT_EQ(env.engine().Start("PatientChat", std::string("x"))->Result<std::string>().value_or(""), "second");
  const auto calls = env.Calls(kChat);
  ASSERT_EQ(calls.size(), 5u) << "held, made, failed and held, made";
  EXPECT_EQ(calls[2].info.attempt, 1);
  EXPECT_EQ(calls[3].info.attempt, 2);
  EXPECT_EQ(calls[4].info.attempt, 2);
  EXPECT_GE(calls[4].at - calls[2].at, 59s);
}

TEST(LlmLimitsTest, ARouteThatIsHeldIsWaitedFor) {
  const auto main = Says("main");
  const auto spare = Says("spare");
  auto router = Router::Make(
      {{.name = "main", .model = std::make_shared<LimitedModel>(main, Endpoint{.requests_per_minute = 1})},
       {.name = "spare", .model = spare}});
  ASSERT_TRUE(router.ok()) << router.status();
  testing::TestEnvironment env(Code(*router));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(env.engine().Start("Chat", std::string("x"))->Result<std::string>().value_or(""), "main");
  }
  EXPECT_EQ(spare->requests().size(), 0u);
}

TEST(LlmLimitsTest, ACallThatWaitsCanBeCanceled) {
  testing::TestEnvironment env(Code(std::make_shared<LimitedModel>(Says("hi"), Endpoint{})));
  env.engine().limiter().Settle({.key = LimitKey({}, "m"), .pause = 3h}, [](const Status&) {});
  const auto run = env.engine().Start("Chat", std::string("x"));
  env.RunUntilIdle();
  ASSERT_TRUE(run->Cancel("enough").ok());
  EXPECT_FALSE(run->Result<std::string>().ok());
  EXPECT_EQ(env.Calls(kChat).size(), 1u);
}

// ---- Several workers, over HTTP

// Tells of the calls that are put off.
class WatchedLimiter final : public marathon::testing::ForwardingLimiter {
 public:
  using ForwardingLimiter::ForwardingLimiter;

  void Acquire(AcquireLimit request, Done<Permit> done) override {
    base().Acquire(std::move(request), [this, done = std::move(done)](StatusOr<Permit> permit) mutable {
      const bool held = permit.ok() && permit->wait > 0ms;
      done(std::move(permit));
      if (!held) return;
      const std::lock_guard lock(mutex_);
      ++held_;
      changed_.notify_all();
    });
  }

  bool WaitForHeld(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return held_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int held_ = 0;
};

// Tries the only activity of a run again, as soon as it rests.
Status RetryNow(const marathon::Run& run) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto description = run.Describe();
    if (!description.ok()) return description.status();
    for (const ActivityRow& row : description->activities) {
      if (row.state == ActivityState::kBackoff) return run.RetryActivity(row.key.id);
    }
  }
  return DeadlineExceeded("it does not rest");
}

TEST(LlmLimitsTest, OneWorkersTooManyHoldsAllWorkers) {
  StreamServer server([calls = 0](const DoubleRequest&) mutable {
    if (++calls == 1) return StreamReply{.status = 429, .headers = {{"Retry-After", "3600"}}, .pieces = {"{}"}};
    return StreamReply{.pieces = {"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n",
                                  "data: [DONE]\n\n"}};
  });
  const Endpoint endpoint{.base_url = server.url(), .api_key = "sk-12345678", .connect_timeout = 60s};
  ThreadRuntime runtime(1, 1);
  Ports ports = NewMemoryPorts(runtime);
  const auto limiter = std::make_shared<WatchedLimiter>(ports.limiter);
  ports.limiter = limiter;
  std::optional<Engine> engines[2];
  std::vector<marathon::Run> runs;
  for (int i = 0; i < 2; ++i) {  // a client of its own, as another process would have
    auto client = Client::Open(endpoint);
    ASSERT_TRUE(client.ok()) << client.status();
    EngineOptions options;
    options.task_queues = {std::to_string(i)};
    auto engine = Engine::Open(ports, Code(*client), std::move(options));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engines[i].emplace(*std::move(engine));
  }
  const auto start = [&](int i) {
    const auto run = engines[i]->Start("PatientChat", std::string("x"), {.task_queue = std::to_string(i)});
    EXPECT_TRUE(run.ok()) << run.status();
    runs.push_back(*run);
  };
  start(0);
  for (bool rests = false; !rests;) {
    const auto description = runs[0].Describe();
    ASSERT_TRUE(description.ok()) << description.status();
    rests = !description->activities.empty() && description->activities[0].state == ActivityState::kBackoff;
  }
  start(1);
  start(1);
  ASSERT_TRUE(limiter->WaitForHeld(2));
  EXPECT_EQ(server.requests().size(), 1u) << "the other worker's calls have not been made";

  limiter->Clear(LimitKey(endpoint, "m"), [](const Status& status) { EXPECT_TRUE(status.ok()) << status; });
  for (const marathon::Run& run : runs) {
    const Status retried = RetryNow(run);
    EXPECT_TRUE(retried.ok()) << retried;
  }
  for (const marathon::Run& run : runs) EXPECT_EQ(run.Result<std::string>(kPatience).value_or("no result"), "hi");
  EXPECT_EQ(server.requests().size(), 4u);
  for (auto& engine : engines) engine.reset();
  runtime.Stop();
}

}  // namespace
}  // namespace marathon::llm::llm_limits_test
