// needs: sqs sqlite testing
// program: ports
// What only a real server tells: that it believes our signatures, and that engines which share a store find
// each other's work through SQS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../../src/adapters/sqs/client.h"
#include "../../src/net/http_loop.h"
#include "../sqs_server.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/adapters/sqs.h"
#include "marathon/engine.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::sqs_server_test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::HasSubstr;
using tests::SqsServer;

class SqsServerTest : public ::testing::Test {
 protected:
  static SqsServer& Server() {
    static SqsServer server;
    return server;
  }
  static SqsOptions Keys() {
    SqsOptions options;
    options.access_key_id = SqsServer::kKeyId;
    options.secret_access_key = SqsServer::kSecret;
    options.log = nullptr;
    return options;
  }
  // What sending one hint ends in.
  Status SendWith(const SqsOptions& options, const std::string& task_queue = "q") {
    BackendUrl url{.scheme = "sqs", .host = SqsServer::kRegion};
    url.path = std::string(SqsServer::kAccount) + "/signed";
    url.parameters = {{"create", "true"}, {"endpoint", Server().endpoint()}};
    auto ports = SqsBackend(options).open(url, runtime_);
    if (!ports.ok()) return ports.status();
    std::promise<Status> sent;
    ports->queue->Send({TaskHint{TaskKind::kTurn, task_queue, {"w", "r"}, 0, 0, ""}},
                       [&](Status status) { sent.set_value(std::move(status)); });
    return sent.get_future().get();
  }
  ~SqsServerTest() override { runtime_.Stop(); }

  ThreadRuntime runtime_{1, 1};
};

TEST_F(SqsServerTest, ItBelievesOurSignatures) {
  EXPECT_TRUE(SendWith(Keys()).ok());
  EXPECT_TRUE(SendWith(Keys(), "order \xc3\xa4 \"7\"").ok());
  SqsOptions tokened = Keys();
  tokened.access_key_id = "ASIAMARATHON";
  tokened.secret_access_key = "another/secret";
  tokened.session_token = "the session token";
  const Status status = SendWith(tokened);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(SqsServerTest, ItBelievesNoOthers) {
  SqsOptions wrong = Keys();
  wrong.secret_access_key += "x";
  EXPECT_EQ(SendWith(wrong).code(), StatusCode::kFailedPrecondition);
  wrong = Keys();
  wrong.access_key_id = "AKIDOTHER";
  EXPECT_THAT(SendWith(wrong).ToString(), HasSubstr("InvalidClientTokenId"));
  wrong = Keys();
  wrong.session_token = "of nobody";
  EXPECT_EQ(SendWith(wrong).code(), StatusCode::kFailedPrecondition);
}

class SkewedClock final : public Clock {
 public:
  explicit SkewedClock(Duration by) : by_(by) {}
  Time Now() const override { return detail::HttpLoop::WallClock().Now() + by_; }

 private:
  const Duration by_;
};

TEST_F(SqsServerTest, AClockThatIsTwentyMinutesOffIsCorrected) {
  for (const Duration by : {Duration(20min), Duration(-20min)}) {
    const SkewedClock clock(by);
    SqsOptions options = Keys();
    options.clock = &clock;
    const Status status = SendWith(options);
    EXPECT_TRUE(status.ok()) << status;
  }
  const SkewedClock clock(2h);
  SqsOptions options = Keys();
  options.clock = &clock;
  EXPECT_THAT(SendWith(options).ToString(), HasSubstr("RequestTimeTooSkewed"));
}

// The calls themselves, without a queue of ours before them.
class SqsCalls {
 public:
  explicit SqsCalls(const std::string& endpoint)
      : client_(loop_, {SqsServer::kRegion, endpoint},
                detail::FixedCredentials({SqsServer::kKeyId, SqsServer::kSecret, ""}),
                detail::HttpLoop::WallClock()) {
    loop_.Start(nullptr);
  }
  ~SqsCalls() { loop_.Stop(); }

  std::future<StatusOr<json>> Start(const std::string& operation, const json& input) {
    auto answer = std::make_shared<std::promise<StatusOr<json>>>();
    loop_.Post([this, operation, input, answer] {
      client_.Send(operation, input, 30s, [answer](StatusOr<json> reply) { answer->set_value(std::move(reply)); });
    });
    return answer->get_future();
  }
  StatusOr<json> Make(const std::string& operation, const json& input) { return Start(operation, input).get(); }

 private:
  detail::HttpLoop loop_;
  detail::SqsClient client_;
};

size_t CountMessages(const StatusOr<json>& reply) {
  EXPECT_TRUE(reply.ok()) << reply.status();
  return reply.ok() ? reply->value("Messages", json::array()).size() : 0;
}

// A server that answered at once, or only when its time is over, would prove nothing of what we do.
void ExpectLongPolls(const std::string& endpoint) {
  SqsCalls calls(endpoint);
  const json name{{"QueueName", "polled"}};
  const auto made = calls.Make("CreateQueue", name);
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string url = made->at("QueueUrl");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(CountMessages(calls.Make("ReceiveMessage", {{"QueueUrl", url}, {"WaitTimeSeconds", 1}})), 0u);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 900ms);
  auto woken = calls.Start("ReceiveMessage", {{"QueueUrl", url}, {"WaitTimeSeconds", 20}});
  ASSERT_TRUE(calls.Make("GetQueueUrl", name).ok());  // meanwhile it has arrived
  const auto sent = std::chrono::steady_clock::now();
  ASSERT_TRUE(calls.Make("SendMessage", {{"QueueUrl", url}, {"MessageBody", "hello"}}).ok());
  EXPECT_EQ(CountMessages(woken.get()), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - sent, 15s);
}

TEST_F(SqsServerTest, ItReallyLongPolls) { ExpectLongPolls(Server().endpoint()); }

TEST_F(SqsServerTest, SoDoesTheSecondOne) { ExpectLongPolls(tests::FauxqsServer().endpoint()); }

TEST_F(SqsServerTest, EnginesOfOneStoreShareTheWork) {
  static constexpr ActivityDef<std::string(int)> kWhere{"Where"};
  std::string folder = "/tmp/marathon-sqs-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string url =
      "sqlite:" + folder + "/app.db?namespace=shared&queue=" + Server().Parameter("shared");
  const auto workflow = [](WorkflowContext& ctx, int number) -> Workflow<std::string> {
    ActivityOptions elsewhere;
    elsewhere.task_queue = "elsewhere";
    co_return co_await ctx.Run(kWhere, number, elsewhere);
  };
  {
    // Each has only one half of the code, and its own ports, as in processes of their own.
    Registry starts, works;
    for (Registry* registry : {&starts, &works}) {
      registry->Use(SqliteBackend());
      registry->Use(SqsBackend(Keys()));
    }
    starts.Bind("W", workflow);
    works.Bind(kWhere, [](ActivityContext&, const int& number) {
      return "here " + std::to_string(number);
    });
    EngineOptions options;
    auto starter = Engine::Open(url, starts, options);
    ASSERT_TRUE(starter.ok()) << starter.status();
    options.task_queues = {"elsewhere"};
    auto worker = Engine::Open(url, works, options);
    ASSERT_TRUE(worker.ok()) << worker.status();
    std::vector<marathon::Run> runs;
    for (int i = 0; i < 20; ++i) {
      auto run = starter->Start("W", i);
      ASSERT_TRUE(run.ok()) << run.status();
      runs.push_back(*std::move(run));
    }
    for (int i = 0; i < 20; ++i) {
      const auto result = runs[static_cast<size_t>(i)].Result<std::string>(50s);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(*result, "here " + std::to_string(i));
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

}  // namespace
}  // namespace marathon::sqs_server_test
