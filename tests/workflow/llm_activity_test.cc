// Models as activities of an engine: tool loops, retries by error class, cancels, and a thousand calls at a
// time on a handful of threads.
// needs: llm testing
// program: llm
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../stream_server.h"
#include "marathon/adapters/memory.h"
#include "marathon/llm/chat_activity.h"
#include "marathon/llm/client.h"
#include "marathon/llm/embed_activity.h"
#include "marathon/llm/router.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/testing/test_environment.h"

namespace marathon::llm::llm_activity_test {
namespace {

using namespace std::chrono_literals;
using tests::DoubleRequest;
using tests::StreamEnd;
using tests::StreamReply;
using tests::StreamServer;

constexpr Duration kPatience = 120s;
constexpr RetryPolicy kQuick{.initial_interval = 1ms, .maximum_attempts = 5, .jitter = 0};

ChatRequest Ask(std::string text) {
  ChatRequest request{.model = "m"};
  request.messages = {UserMessage(std::move(text))};
  return request;
}

struct BlobRefs {
  std::vector<std::string> sha256;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BlobRefs, sha256)

// One call; its text, or the class that it failed with.
Workflow<std::string> Chat(WorkflowContext& ctx, std::string text) {
  const ChatRequest request = Ask(text);
  try {
    const ChatResponse response = co_await ctx.Run(kChat, request, {.retry = &kQuick});
    co_return TextOf(response.blocks);
  } catch (const ActivityError& error) {
    const auto error_class = ClassOf(error.failure());
    const std::string name(error_class ? NameOf(*error_class) : "?");
    co_return name + " after " + std::to_string(error.attempt());
  }
}

Engine Open(const Registry& registry, int activity_threads = 2) {
  EngineOptions options;
  options.activity_threads = activity_threads;
  auto engine = Engine::Open("memory:", registry, std::move(options));
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

// What "Chat" comes to with this model.
std::string RunChat(std::shared_ptr<Model> model) {
  Registry registry;
  registry.Bind(kChat, ChatActivity(std::move(model)));
  registry.Bind("Chat", Chat);
  Engine engine = Open(registry);
  const auto run = engine.Start("Chat", std::string("hello"));
  return run->Result<std::string>(kPatience).value_or("no result");
}

TEST(LlmActivityTest, RetriesWhatMayPassAndNothingElse) {
  auto model = std::make_shared<ScriptedModel>();
  model->Fails(ErrorClass::kOverloaded).Fails(ErrorClass::kTruncated).Fails(ErrorClass::kTimeout).Says("hi");
  EXPECT_EQ(RunChat(model), "hi");
  EXPECT_EQ(model->requests().size(), 4u);
  for (const ErrorClass error_class :
       {ErrorClass::kQuota, ErrorClass::kAuth, ErrorClass::kBadRequest, ErrorClass::kTooLarge,
        ErrorClass::kRefused}) {
    auto failing = std::make_shared<ScriptedModel>();
    failing->Fails(error_class).Says("never");
    EXPECT_EQ(RunChat(failing), std::string(NameOf(error_class)) + " after 1");
    EXPECT_EQ(failing->left(), 1u);
  }
}

// A wait of hours is the engine's: nobody sits there.
TEST(LlmActivityTest, WaitsAsLongAsItIsTold) {
  Error error = MakeError(ErrorClass::kRateLimit, "slow down");
  error.retry_after = 3h;
  auto model = std::make_shared<ScriptedModel>();
  model->Answers(error).Says("hi");
  Registry registry;
  registry.Bind(kChat, ChatActivity(model));
  registry.Bind("Chat", Chat);
  marathon::testing::TestEnvironment env(registry);
  const auto run = env.engine().Start("Chat", std::string("x"));
  EXPECT_EQ(run->Result<std::string>().value_or(""), "hi");
  const auto calls = env.Calls(kChat);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_GE(calls[1].at - calls[0].at, 3h);
  EXPECT_LE(calls[1].at - calls[0].at, 4h);
}

// The history has their names, and the model gets their bytes.
TEST(LlmActivityTest, ImagesMayBeBlobs) {
  auto model = std::make_shared<ScriptedModel>();
  model->Says("a cat").Says("never");
  Registry registry;
  registry.Bind(kChat, ChatActivity(model));
  registry.Bind("Look", [](WorkflowContext& ctx, BlobRefs images) -> Workflow<std::string> {
    ChatRequest request = Ask("what is it?");
    ToolResult result{.call_id = "c"};
    for (const std::string& sha256 : images.sha256) {
      const Media media{.media_type = "image/png", .blob = BlobRef{sha256, 3}};
      request.messages[0].blocks.push_back(media);
      result.media.push_back(media);
    }
    request.messages[0].blocks.push_back(result);
    try {
      const ChatResponse response = co_await ctx.Run(kChat, request, {.retry = &kQuick});
      co_return TextOf(response.blocks);
    } catch (const ActivityError& error) {
      co_return error.failure().type + " after " + std::to_string(error.attempt()) + ": " + error.failure().message;
    }
  });
  Engine engine = Open(registry);
  std::vector<BlobRef> refs;
  engine.blobs().Put({"cat", "dog"}, [&](StatusOr<std::vector<BlobRef>> put) { refs = put.value(); });
  ASSERT_EQ(refs.size(), 2u);
  const auto run = engine.Start("Look", BlobRefs{{refs[0].sha256, refs[1].sha256}});
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "a cat");
  const std::vector<ChatRequest> requests = model->requests();
  ASSERT_EQ(requests.size(), 1u);
  const std::vector<Block>& blocks = requests[0].messages[0].blocks;
  ASSERT_EQ(blocks.size(), 4u);
  EXPECT_EQ(std::get<Media>(blocks[1]), (Media{.media_type = "image/png", .bytes = "cat"}));
  EXPECT_EQ(std::get<Media>(blocks[2]).bytes, "dog");
  EXPECT_EQ(std::get<ToolResult>(blocks[3]).media[1].bytes, "dog");
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  for (const Event& event : *history) {
    const auto* scheduled = std::get_if<ActivityScheduled>(&event.body);
    if (scheduled == nullptr) continue;
    EXPECT_EQ(scheduled->input.data.find("\"data\""), std::string::npos);
  }
  const auto lost = engine.Start("Look", BlobRefs{{std::string(64, 'f')}});
  const std::string said = lost->Result<std::string>(kPatience).value_or("");
  EXPECT_TRUE(said.starts_with("llm.BadRequest after 1: ")) << said;
  EXPECT_NE(said.find(std::string(64, 'f')), std::string::npos) << said;
  EXPECT_EQ(model->left(), 1u);
}

// The loop that agents are made of: every answer and every result of a tool is in the history.
TEST(LlmActivityTest, AToolLoop) {
  auto model = std::make_shared<ScriptedModel>();
  model->CallsTools({{.name = "add", .arguments = "1"}, {.name = "add", .arguments = "2"}})
      .CallsTool("add", "3")
      .Says("done");
  static constexpr ActivityDef<int(int)> kAdd{"Add"};
  Registry registry;
  registry.Bind(kChat, ChatActivity(model));
  registry.Bind(kAdd, [](int x) { return x * 10; });
  registry.Bind("Agent", [](WorkflowContext& ctx) -> Workflow<ChatRequest> {
    ChatRequest request = Ask("add");
    for (;;) {
      const ChatResponse response = co_await ctx.Run(kChat, request);
      request.messages.push_back(AsMessage(response));
      const std::vector<ToolCall> calls = ToolCallsOf(response.blocks);
      if (calls.empty()) co_return request;
      Message results{.role = Role::kUser};
      for (const ToolCall& call : calls) {
        const int sum = co_await ctx.Run(kAdd, std::stoi(call.arguments));
        ToolResult result{.call_id = call.id, .text = std::to_string(sum)};
        results.blocks.emplace_back(std::move(result));
      }
      request.messages.push_back(results);
    }
  });
  EngineOptions options;
  options.verify_determinism = true;
  auto engine = Engine::Open("memory:", registry, std::move(options));
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto transcript = engine->Start("Agent")->Result<ChatRequest>(kPatience);
  ASSERT_TRUE(transcript.ok()) << transcript.status();
  ASSERT_EQ(transcript->messages.size(), 6u);
  const auto& results = transcript->messages[2].blocks;
  EXPECT_EQ(results, (std::vector<Block>{ToolResult{.call_id = "call_1", .text = "10"},
                                         ToolResult{.call_id = "call_2", .text = "20"}}));
  EXPECT_EQ(transcript->messages[5], AssistantMessage("done"));
  EXPECT_EQ(model->requests().size(), 3u);
  EXPECT_EQ(model->requests()[2].messages.size(), 5u);
}

TEST(LlmActivityTest, ListenersHearEachPieceWithItsAttempt) {
  auto model = std::make_shared<ScriptedModel>();
  model->Fails(ErrorClass::kTruncated).Says("one two");
  std::mutex mutex;
  std::string heard;
  Registry registry;
  registry.Bind(kChat, ChatActivity(model, [&](const ActivityInfo& info, const Delta& delta) {
    const std::lock_guard lock(mutex);
    heard += std::to_string(info.attempt) + delta.text;
  }));
  registry.Bind("Chat", Chat);
  Engine engine = Open(registry);
  const auto run = engine.Start("Chat", std::string("x"));
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "one two");
  const std::lock_guard lock(mutex);
  EXPECT_EQ(heard, "2one 2two");
}

// ---- Over HTTP

StreamReply Says(const std::string& text) {
  return {.pieces = {R"(data: {"choices":[{"delta":{"content":")" + text + "\"}}]}\n\n",
                     "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
                     "data: [DONE]\n\n"}};
}

std::shared_ptr<Client> ClientOf(const StreamServer& server) {
  auto client = Client::Open({.base_url = server.url(), .api_key = "sk-12345678", .connect_timeout = 60s});
  EXPECT_TRUE(client.ok()) << client.status();
  return *client;
}

TEST(LlmActivityTest, ABrokenStreamIsAskedForAgain) {
  int calls = 0;
  StreamServer server([&](const DoubleRequest&) {
    StreamReply reply = Says("hi");
    switch (++calls) {
      case 1: return StreamReply{.status = 503};
      case 2: reply.end = StreamEnd::kReset; break;
      case 3: reply.pieces[1] = "data: {\"error\":{\"type\":\"overloaded_error\"}}\n\n"; break;
      default: return reply;
    }
    reply.pieces.resize(static_cast<size_t>(calls) - 1);
    return reply;
  });
  EXPECT_EQ(RunChat(ClientOf(server)), "hi");
  EXPECT_EQ(server.requests().size(), 4u);
}

TEST(LlmActivityTest, CancelEndsTheCall) {
  StreamServer server([](const DoubleRequest&) { return StreamReply{.end = StreamEnd::kStall}; });
  Registry registry;
  registry.Bind(kChat, ChatActivity(ClientOf(server)));
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const ChatRequest request = Ask("x");
    ActivityHandle<ChatResponse> call = ctx.Start(kChat, request);
    co_await ctx.Receive<bool>("enough");
    call.Cancel();
    co_return "stopped";
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(server.WaitForWaiting(1));
  ASSERT_TRUE(run->Signal("enough", true).ok());
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "stopped");
  EXPECT_TRUE(server.WaitForClosed(1));
}

// What a worker gives up because it shuts down, another one does.
TEST(LlmActivityTest, ShutdownGivesTheCallBack) {
  StreamServer server([&, calls = 0](const DoubleRequest&) mutable {
    return ++calls == 1 ? StreamReply{.end = StreamEnd::kStall} : Says("hi");
  });
  const auto client = ClientOf(server);
  ThreadRuntime runtime(1, 1);
  const Ports ports = NewMemoryPorts(runtime);
  Registry registry;
  registry.Bind(kChat, ChatActivity(client));
  registry.Bind("Chat", Chat);
  auto first = Engine::Open(ports, registry, {});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto run = first->Start("Chat", std::string("x"));
  const std::string id(run->workflow_id());
  ASSERT_TRUE(server.WaitForWaiting(1));
  EXPECT_TRUE(first->Shutdown(kPatience).ok());
  auto second = Engine::Open(ports, registry, {});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->Find(id).Result<std::string>(kPatience).value_or("no result"), "hi");
  runtime.Stop();
}

TEST(LlmActivityTest, AThousandCallsNeedNoThousandThreads) {
  constexpr int kCalls = 1'000;
  StreamServer server([](const DoubleRequest&) {
    StreamReply reply = Says("hi");
    reply.gate = 1;
    return reply;
  });
  Registry registry;
  registry.Bind(kChat, ChatActivity(ClientOf(server)));
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ActivityHandle<ChatResponse>> calls;
    for (int i = 0; i < kCalls; ++i) {
      const ChatRequest request = Ask(std::to_string(i));
      calls.push_back(ctx.Start(kChat, request));
    }
    int said = 0;
    for (const ChatResponse& response : co_await ctx.All(calls)) {
      said += TextOf(response.blocks) == "hi" ? 1 : 0;
    }
    co_return said;
  });
  Engine engine = Open(registry, 1);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(server.WaitForWaiting(kCalls)) << "not all are under way at once";
  server.OpenGate();
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), kCalls);
}

// The key is in the endpoint, and nowhere that anybody reads.
TEST(LlmActivityTest, NoHistoryHasTheKey) {
  StreamServer server([](const DoubleRequest&) {
    return StreamReply{.status = 401, .pieces = {R"({"error":{"message":"no such key: sk-12345678"}})"}};
  });
  Registry registry;
  registry.Bind(kChat, ChatActivity(ClientOf(server)));
  registry.Bind("Chat", Chat);
  Engine engine = Open(registry);
  const auto run = engine.Start("Chat", std::string("x"));
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "Auth after 1");
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  bool failed = false;
  for (const Event& event : *history) {
    const auto* failure = std::get_if<ActivityFailed>(&event.body);
    if (failure == nullptr) continue;
    failed = true;
    EXPECT_EQ(failure->failure.message, "no such key: [secret] (HTTP 401)");
  }
  EXPECT_TRUE(failed);
}

// One vector a text; fails once.
class FakeEmbedder final : public Embedder {
 public:
  void Embed(EmbedRequest request, std::stop_token, OnVectors done) override {
    if (calls_++ == 0) return done(MakeError(ErrorClass::kOverloaded, "busy"));
    EmbedResponse response{.model = request.model};
    for (const std::string& text : request.texts) {
      response.vectors.push_back({static_cast<float>(text.size()), 0.1F});
    }
    done(std::move(response));
  }

 private:
  std::atomic<int> calls_ = 0;
};

Workflow<EmbedResponse> Vectors(WorkflowContext& ctx, std::vector<std::string> texts) {
  EmbedRequest request{.model = "m"};
  request.texts = std::move(texts);
  co_return co_await ctx.Run(kEmbed, request, {.retry = &kQuick});
}

TEST(LlmActivity, EmbeddingsAreRetriedAndExact) {
  Registry registry;
  registry.Bind("Vectors", Vectors);
  registry.Bind(kEmbed, EmbedActivity(std::make_shared<FakeEmbedder>()));
  Engine engine = Open(registry);
  auto run = engine.Start("Vectors", std::vector<std::string>{"a", "bcd"});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto response = run->Result<EmbedResponse>();
  ASSERT_TRUE(response.ok()) << response.status();
  const std::vector<std::vector<float>> expected = {{1, 0.1F}, {3, 0.1F}};
  EXPECT_EQ(response->vectors, expected);
}

TEST(LlmActivity, WhichRouteAnsweredIsInTheHistory) {
  auto main = std::make_shared<ScriptedModel>();
  auto spare = std::make_shared<ScriptedModel>();
  main->Fails(ErrorClass::kOverloaded);
  spare->Says("Hello");
  auto router = Router::Make({{.name = "main", .model = main}, {.name = "spare", .model = spare}});
  ASSERT_TRUE(router.ok()) << router.status();
  Registry registry;
  registry.Bind("Chat", Chat);
  registry.Bind(kChat, ChatActivity(*router));
  Engine engine = Open(registry);
  auto run = engine.Start("Chat", std::string("Hi"));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Result<std::string>().value_or(""), "Hello");
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  bool found = false;
  for (const Event& event : *history) {
    const auto* completed = std::get_if<ActivityCompleted>(&event.body);
    if (completed == nullptr) continue;
    found = completed->result.data.find(R"("route":"spare")") != std::string::npos;
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace marathon::llm::llm_activity_test
