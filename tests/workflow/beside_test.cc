// Blobs and streams as users reach them: from activities of all kinds, from the engine, from tests of activities;
// and what a backend without them says.
// needs: testing
// program: testing
#include <gmock/gmock.h>

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/state_store.h"
#include "marathon/testing/activity_tester.h"
#include "marathon/testing/test_environment.h"

namespace marathon::testing::beside_test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

inline constexpr ActivityDef<std::string(std::string)> kTalk{"Talk"};
inline constexpr RetryPolicy kAtOnce{.initial_interval = 1ms, .maximum_attempts = 3, .jitter = 0};

// Of memory stores, which answer before the call returns.
StatusOr<uint64_t> Append(StreamLog& streams, AppendFrames request) {
  std::optional<StatusOr<uint64_t>> answer;
  streams.Append(std::move(request), [&](StatusOr<uint64_t> last) { answer = std::move(last); });
  return *answer;
}
std::vector<std::string> ReadAll(StreamLog& streams, const std::string& stream) {
  std::vector<std::string> frames;
  streams.Read({.stream = stream}, [&](const StatusOr<FramePage>& page) {
    for (const StreamFrame& frame : page.value().frames) frames.push_back(frame.bytes);
  });
  return frames;
}

// Keeps what it is to say as a blob, says it on the stream of its run, and fails the first time.
std::string Talk(ActivityContext& ctx, const std::string& text) {
  std::vector<BlobRef> refs;
  ctx.blobs().Put({text}, [&](StatusOr<std::vector<BlobRef>> put) { refs = *std::move(put); });
  const auto said = Append(ctx.streams(), {ctx.info().key.run.run_id.str(), "talk",
                                           static_cast<uint64_t>(ctx.info().epoch), 0, {text}});
  if (!said.ok() || ctx.attempt() == 1) throw ApplicationError("again");
  return refs.at(0).sha256;
}

Workflow<std::string> Talker(WorkflowContext& ctx, std::string text) {
  co_return co_await ctx.Run(kTalk, text, {.retry = &kAtOnce});
}

template <class Fn>
Registry Code(Fn talk) {
  Registry registry;
  registry.Bind(kTalk, std::move(talk));
  registry.Bind("Talker", Talker);
  return registry;
}

TEST(BesideTest, EachAttemptFencesTheOneBefore) {
  TestEnvironment test(Code(Talk));
  const auto run = test.engine().Start("Talker", std::string("hello"));
  ASSERT_TRUE(run.ok()) << run.status();
  const auto digest = run->Result<std::string>();
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_THAT(ReadAll(test.engine().streams(), run->run_id().str()), ElementsAre("hello", "hello"));
  test.engine().blobs().Get({{*digest, 5}}, [](const StatusOr<std::vector<std::string>>& bytes) {
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_THAT(*bytes, ElementsAre("hello"));
  });
  const auto calls = test.Calls(kTalk);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_GT(calls[1].info.epoch, calls[0].info.epoch);
  const auto late = Append(test.engine().streams(),
                           {run->run_id().str(), "talk", static_cast<uint64_t>(calls[0].info.epoch), 1, {"late"}});
  EXPECT_EQ(late.status().code(), StatusCode::kAborted);
}

// The context is the completion's for as long as that is not used.
TEST(BesideTest, AnAsynchronousActivityWritesFromAnotherThread) {
  std::thread thread;
  std::promise<void> kept;  // the test joins the thread as soon as it has completed the activity
  const auto talk = [&](ActivityContext& ctx, const std::string& text, ActivityCompletion<std::string> done) {
    thread = std::thread([&, text, done = std::move(done)]() mutable {
      kept.get_future().wait();
      const uint64_t fence = static_cast<uint64_t>(ctx.info().epoch);
      for (uint64_t i = 0; i < text.size(); ++i) {
        EXPECT_TRUE(Append(ctx.streams(), {"s", "talk", fence, i, {text.substr(i, 1)}}).ok());
      }
      done.Complete(text);
    });
    kept.set_value();
  };
  auto engine = Engine::Open("memory:", Code(talk));
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto run = engine->Start("Talker", std::string("abc"));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Result<std::string>().value(), "abc");
  thread.join();
  EXPECT_THAT(ReadAll(engine->streams(), "s"), ElementsAre("a", "b", "c"));
}

TEST(BesideTest, ActivityTesterHasThemToo) {
  ActivityTester tester({.attempt = 2, .key = {{"w", "r"}, 3}});
  EXPECT_TRUE(tester.Run(kTalk, Talk, "hello").ok());
  EXPECT_THAT(ReadAll(tester.streams(), "r"), ElementsAre("hello"));
  EXPECT_TRUE(tester.Run(kTalk, Talk, "hello").ok());
  EXPECT_THAT(ReadAll(tester.streams(), "r"), ElementsAre("hello")) << "the same attempt, delivered again";
}

TEST(BesideTest, ABackendWithoutThemSaysSo) {
  ThreadRuntime runtime(1, 1);
  Ports ports = NewMemoryPorts(runtime);
  const std::string domain(ports.store->domain());
  ports.blobs = nullptr;
  ports.streams = nullptr;
  auto engine = Engine::Open(ports, Code([](ActivityContext& ctx, const std::string& text) -> StatusOr<std::string> {
    const auto said = Append(ctx.streams(), {"s", "talk", 1, 0, {text}});
    if (!said.ok()) return said.status();
    return text;
  }));
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto run = engine->Start("Talker", std::string("abc"));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_THAT(run->Result<std::string>().status().ToString(), HasSubstr(domain + " has no stream log"));
  engine->blobs().Put({"abc"}, [&](const StatusOr<std::vector<BlobRef>>& refs) {
    EXPECT_EQ(refs.status().code(), StatusCode::kUnimplemented);
    EXPECT_THAT(refs.status().ToString(), HasSubstr(domain + " has no blob store"));
  });
}

}  // namespace
}  // namespace marathon::testing::beside_test
