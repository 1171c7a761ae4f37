// needs: sqs
// labels: threads
// The SQS queue against a server that answers as each test says: throttling, partial failures, stale
// receipts, nonsense, silence, wrong clocks.
// program: sqs
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../src/adapters/sqs/aws_environment.h"
#include "../http_double.h"
#include "marathon/adapters/memory.h"
#include "marathon/adapters/sqs.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/hint_outbox.h"

namespace marathon::sqs_queue_test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::DoubleReply;
using tests::DoubleRequest;
using tests::HttpDouble;

constexpr auto kPatience = std::chrono::seconds(60);

// Answers by operation, and remembers what it was asked.
class ScriptedSqs {
 public:
  using Answer = std::function<DoubleReply(const json& input, int call)>;  // calls count from 1

  ScriptedSqs() {
    Script("GetQueueUrl", [](const json& input, int) {
      return Ok({{"QueueUrl", "http://sqs/" + input.at("QueueName").get<std::string>()}});
    });
    Script("SendMessageBatch", [](const json&, int) { return Ok(json::object()); });
    Script("DeleteMessageBatch", [](const json&, int) { return Ok(json::object()); });
    Script("ChangeMessageVisibilityBatch", [](const json&, int) { return Ok(json::object()); });
    Script("ReceiveMessage", [](const json&, int) { return DoubleReply{.silent = true}; });
  }

  static DoubleReply Ok(const json& value) { return {.body = value.dump()}; }
  static DoubleReply Error(int status, const std::string& type, const std::string& message = "") {
    return {.status = status, .body = json{{"__type", type}, {"message", message}}.dump()};
  }
  // A message with this body, and "handle N".
  static json Message(const std::string& body, int number) {
    return {{"Body", body}, {"ReceiptHandle", "handle " + std::to_string(number)}};
  }
  static json Hint(const std::string& workflow, int number) {
    return Message(json{{"v", 1}, {"w", workflow}, {"r", "r"}}.dump(), number);
  }
  static DoubleReply Messages(std::vector<json> messages) { return Ok({{"Messages", messages}}); }

  void Script(const std::string& operation, Answer answer) {
    const std::lock_guard lock(mutex_);
    answers_[operation] = std::move(answer);
  }
  // The inputs of an operation, once there are so many.
  std::vector<json> Calls(const std::string& operation, size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return calls_[operation].size() >= count; }))
        << operation;
    return calls_[operation];
  }
  std::vector<std::string> dates() {
    const std::lock_guard lock(mutex_);
    return dates_;
  }
  // From one call of an operation to another one, counted from 1; both have come.
  Duration Between(const std::string& operation, size_t from, size_t to) {
    const std::lock_guard lock(mutex_);
    const auto& times = times_[operation];
    return std::chrono::duration_cast<Duration>(times.at(to - 1) - times.at(from - 1));
  }
  // … before a poll that goes on would end by itself, after 30 s.
  bool WaitForClosed(int count) { return server_.WaitForClosed(count, std::chrono::seconds(20)); }
  const std::string& endpoint() const { return endpoint_; }

 private:
  DoubleReply Handle(const DoubleRequest& request) {
    const std::string target = request.headers.at("x-amz-target");
    const std::string operation = target.substr(target.find('.') + 1);
    const json input = json::parse(request.body);
    Answer answer;
    int count = 0;
    {
      const std::lock_guard lock(mutex_);
      calls_[operation].push_back(input);
      times_[operation].push_back(std::chrono::steady_clock::now());
      count = static_cast<int>(calls_[operation].size());
      dates_.push_back(request.headers.at("x-amz-date"));
      answer = answers_.at(operation);
      changed_.notify_all();
    }
    return answer(input, count);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Answer> answers_;
  std::map<std::string, std::vector<json>> calls_;
  std::map<std::string, std::vector<std::chrono::steady_clock::time_point>> times_;
  std::vector<std::string> dates_;
  HttpDouble server_{[this](const DoubleRequest& request) { return Handle(request); }};
  const std::string endpoint_ = server_.url();
};

class LogText : public LogSink {
 public:
  void Log(LogLevel, std::string_view message) override {
    const std::lock_guard lock(mutex_);
    text_ += std::string(message) + "\n";
    changed_.notify_all();
  }
  std::string WaitFor(const std::string& part) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return text_.find(part) != text_.npos; }))
        << text_;
    return text_;
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
};

class FixedClock final : public Clock {
 public:
  explicit FixedClock(Time now) : now_(now) {}
  Time Now() const override { return now_; }

 private:
  const Time now_;
};

// Threads, and a monotonic clock that stands unless it is turned.
class TurnedRuntime final : public Runtime {
 public:
  void Advance(Duration by) { micros_ += std::chrono::microseconds(by).count(); }
  void Stop() { threads_.Stop(); }

  Time Now() const override { return threads_.Now(); }
  int64_t MonotonicMicros() const override { return micros_; }
  uint64_t Random() override { return threads_.Random(); }
  void Post(Lane lane, Callback<void()> work) override { threads_.Post(lane, std::move(work)); }
  void PostWhenIdle(Callback<void()> work) override { threads_.PostWhenIdle(std::move(work)); }
  AlarmId SetAlarm(Duration delay, Callback<void()> work) override {
    return threads_.SetAlarm(delay, std::move(work));
  }
  void CancelAlarm(AlarmId alarm) override { threads_.CancelAlarm(alarm); }
  std::shared_ptr<OneShot> NewOneShot() override { return threads_.NewOneShot(); }

 private:
  ThreadRuntime threads_{1, 1};
  std::atomic<int64_t> micros_{1};
};

// Variables of this process's environment, while it lives.
class ScopedVariables {
 public:
  explicit ScopedVariables(const std::map<std::string, std::string>& values) {
    for (const auto& [name, value] : values) {
      const char* const before = getenv(name.c_str());
      before_[name] = before != nullptr ? std::optional<std::string>(before) : std::nullopt;
      setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~ScopedVariables() {
    for (const auto& [name, value] : before_) {
      if (value.has_value()) {
        setenv(name.c_str(), value->c_str(), 1);
      } else {
        unsetenv(name.c_str());
      }
    }
  }
  ScopedVariables(const ScopedVariables&) = delete;
  ScopedVariables& operator=(const ScopedVariables&) = delete;

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

class QueueOverHttpTest : public ::testing::Test {
 protected:
  ~QueueOverHttpTest() override {
    queue_.reset();
    runtime_.Stop();
  }

  std::shared_ptr<TaskQueue> Open(SqsOptions options = {}, bool create = false) {
    if (keys_) {
      options.access_key_id = "AKID";
      options.secret_access_key = "THE SECRET";
      options.session_token = "THE TOKEN";
    }
    options.log = log_;
    BackendUrl url{.scheme = "sqs", .host = "eu-west-1", .path = "123456789012/app"};
    url.parameters = {{"endpoint", endpoint_}};
    if (create) url.parameters.emplace_back("create", "true");
    auto ports = SqsBackend(std::move(options)).open(url, runtime_);
    EXPECT_TRUE(ports.ok()) << ports.status();
    queue_ = ports->queue;
    return queue_;
  }
  static TaskHint Turn(const std::string& workflow) {
    return TaskHint{TaskKind::kTurn, "q", {workflow, "r"}, 0, 0, ""};
  }
  template <class T>
  static T Get(std::future<T> future) {
    if (future.wait_for(kPatience) == std::future_status::ready) return future.get();
    ADD_FAILURE() << "no answer";
    return T(DeadlineExceeded("no answer"));
  }
  std::future<StatusOr<std::vector<Delivery>>> Receive(const SessionId& session = "s", int max = 10) {
    auto promise = std::make_shared<std::promise<StatusOr<std::vector<Delivery>>>>();
    queue_->Receive({session, TaskKind::kTurn, {"q"}, max},
                    [promise](auto result) { promise->set_value(std::move(result)); });
    return promise->get_future();
  }
  std::vector<Delivery> Take(int max = 10) {
    auto result = Get(Receive("s", max));
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : std::vector<Delivery>();
  }
  Status Send(std::vector<TaskHint> hints) {
    std::promise<Status> promise;
    queue_->Send(std::move(hints), [&](Status status) { promise.set_value(std::move(status)); });
    return Get(promise.get_future());
  }
  Status Ack(std::vector<std::string> receipts) {
    std::promise<Status> promise;
    queue_->Ack(std::move(receipts), [&](Status status) { promise.set_value(std::move(status)); });
    return Get(promise.get_future());
  }

  std::shared_ptr<LogText> log_ = std::make_shared<LogText>();
  ScriptedSqs sqs_;
  std::string endpoint_ = sqs_.endpoint();
  bool keys_ = true;
  TurnedRuntime runtime_;
  std::shared_ptr<TaskQueue> queue_;
};

TEST_F(QueueOverHttpTest, AThrottledPollIsTriedAgain) {
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    if (call <= 2) return ScriptedSqs::Error(400, "ThrottlingException");
    if (call == 3) return ScriptedSqs::Error(403, "OverLimit");
    return ScriptedSqs::Messages({ScriptedSqs::Hint("w", 1)});
  });
  Open();
  const auto got = Take();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].hint, Turn("w"));
  EXPECT_EQ(log_->text(), "") << "a moment of it is nothing to tell";
  EXPECT_GE(sqs_.Between("ReceiveMessage", 1, 4), Duration(25 + 50 + 100)) << "and not at once";
}

TEST_F(QueueOverHttpTest, APollAsksAsItShould) {
  Open();
  auto receive = Receive("s", 3);
  const json input = sqs_.Calls("ReceiveMessage", 1).at(0);
  EXPECT_EQ(input, json({{"QueueUrl", "http://sqs/app-default-turn-q"},
                         {"MaxNumberOfMessages", 3},
                         {"WaitTimeSeconds", 20},
                         {"VisibilityTimeout", 30}}));
}

TEST_F(QueueOverHttpTest, StopReceivingEndsALongPollAtOnce) {
  Open();
  auto receive = Receive();
  sqs_.Calls("ReceiveMessage", 1);
  queue_->StopReceiving("s");
  EXPECT_EQ(Get(std::move(receive)).status().code(), StatusCode::kCancelled);
  EXPECT_TRUE(sqs_.WaitForClosed(1)) << "or it would take a message that nobody gets";
  EXPECT_EQ(Get(Receive()).status().code(), StatusCode::kCancelled);
}

TEST_F(QueueOverHttpTest, EmptyAnswersThatComeEarlyAreAskedAgain) {
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    if (call <= 6) return ScriptedSqs::Ok(json::object());
    return ScriptedSqs::Messages({ScriptedSqs::Hint("w", 1)});
  });
  Open();
  EXPECT_EQ(Take().size(), 1u);
  EXPECT_GE(sqs_.Between("ReceiveMessage", 1, 7), Duration(40 + 80 + 160 + 250)) << "the third and later ones after a pause";
}

TEST_F(QueueOverHttpTest, NonsenseIsSurvived) {
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    switch (call) {
      case 1: return DoubleReply{.body = "<html>"};
      case 2: return DoubleReply{.body = "[1]"};
      case 3: return ScriptedSqs::Ok({{"Messages", 7}});
      case 4: return DoubleReply{.status = 500, .body = "{"};
      default: break;
    }
    return ScriptedSqs::Messages({ScriptedSqs::Message("rubbish", 1), json("no message"),
                                  ScriptedSqs::Message(R"({"v":99})", 2), ScriptedSqs::Hint("w", 3)});
  });
  Open();
  const auto got = Take();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].hint, Turn("w"));
  // What is no hint goes; what a newer worker wrote stays.
  const json deleted = sqs_.Calls("DeleteMessageBatch", 1).at(0);
  ASSERT_EQ(deleted.at("Entries").size(), 1u);
  EXPECT_EQ(deleted.at("Entries").at(0).at("ReceiptHandle"), "handle 1");
  log_->WaitFor("no hints of Marathon");
}

TEST_F(QueueOverHttpTest, WhatNobodyTakesGoesBack) {
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    if (call > 1) return DoubleReply{.silent = true};
    return ScriptedSqs::Messages({ScriptedSqs::Hint("a", 1), ScriptedSqs::Hint("b", 2)});
  });
  Open();
  EXPECT_EQ(Take(1).size(), 1u);
  const json input = sqs_.Calls("ChangeMessageVisibilityBatch", 1).at(0);
  ASSERT_EQ(input.at("Entries").size(), 1u);
  EXPECT_EQ(input.at("Entries").at(0).at("ReceiptHandle"), "handle 2");
  EXPECT_EQ(input.at("Entries").at(0).at("VisibilityTimeout"), 0);
}

TEST_F(QueueOverHttpTest, APartlyFailedSendIsAnError) {
  sqs_.Script("SendMessageBatch", [](const json&, int call) {
    if (call > 1) return ScriptedSqs::Ok(json::object());
    return ScriptedSqs::Ok(
        {{"Successful", {{{"Id", "0"}}}},
         {"Failed", {{{"Id", "1"}, {"Code", "InternalError"}, {"SenderFault", false}}}}});
  });
  Open();
  EXPECT_EQ(Send({Turn("a"), Turn("b")}).code(), StatusCode::kUnavailable);
  EXPECT_TRUE(Send({Turn("a"), Turn("b")}).ok());
}

TEST_F(QueueOverHttpTest, WhatSqsWillNeverTakeIsToldAndDropped) {
  sqs_.Script("SendMessageBatch", [](const json&, int) {
    return ScriptedSqs::Ok({{"Failed", {{{"Id", "0"}, {"Code", "InvalidMessageContents"},
                                         {"SenderFault", true}}}}});
  });
  Open();
  EXPECT_TRUE(Send({Turn("a")}).ok());
  log_->WaitFor("InvalidMessageContents");
}

TEST_F(QueueOverHttpTest, BatchesHoldTenEntries) {
  Open();
  std::vector<TaskHint> hints;
  for (int i = 0; i < 25; ++i) hints.push_back(Turn(std::to_string(i)));
  EXPECT_TRUE(Send(std::move(hints)).ok());
  std::vector<size_t> sizes;
  for (const json& call : sqs_.Calls("SendMessageBatch", 3)) {
    sizes.push_back(call.at("Entries").size());
  }
  EXPECT_THAT(sizes, ::testing::UnorderedElementsAre(10u, 10u, 5u));
}

TEST_F(QueueOverHttpTest, AnOutboxSendsAgainUntilItIsDone) {
  sqs_.Script("SendMessageBatch", [](const json&, int call) {
    return call <= 3 ? ScriptedSqs::Error(503, "ServiceUnavailable") : ScriptedSqs::Ok(json::object());
  });
  const auto outbox = HintOutbox::Create(Open(), runtime_);
  outbox->Send({Turn("a")}, [](const Status& status) { EXPECT_TRUE(status.ok()); });
  EXPECT_EQ(sqs_.Calls("SendMessageBatch", 4).size(), 4u);
}

TEST_F(QueueOverHttpTest, StaleReceiptsAreNoError) {
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    if (call > 1) return DoubleReply{.silent = true};
    return ScriptedSqs::Messages({ScriptedSqs::Hint("a", 1), ScriptedSqs::Hint("b", 2)});
  });
  sqs_.Script("DeleteMessageBatch", [](const json&, int call) {
    if (call > 1) return ScriptedSqs::Ok(json::object());
    return ScriptedSqs::Ok(
        {{"Failed",
          {{{"Id", "0"}, {"Code", "ReceiptHandleIsInvalid"}, {"SenderFault", true}},
           {{"Id", "1"}, {"Code", "InternalError"}, {"SenderFault", false}}}}});
  });
  Open();
  std::vector<std::string> receipts;
  for (const Delivery& delivery : Take()) receipts.push_back(delivery.receipt);
  ASSERT_EQ(receipts.size(), 2u);
  receipts.push_back("");
  receipts.push_back("none of ours");
  EXPECT_TRUE(Ack(receipts).ok());
  const auto calls = sqs_.Calls("DeleteMessageBatch", 2);
  ASSERT_EQ(calls[1].at("Entries").size(), 1u) << "only the one that may still be done";
  EXPECT_EQ(calls[1].at("Entries").at(0).at("ReceiptHandle"), "handle 2");
}

TEST_F(QueueOverHttpTest, ADeletionThatNeverSucceedsEnds) {
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    if (call > 1) return DoubleReply{.silent = true};
    return ScriptedSqs::Messages({ScriptedSqs::Hint("a", 1)});
  });
  sqs_.Script("DeleteMessageBatch",
              [](const json&, int) { return ScriptedSqs::Error(500, "InternalError"); });
  Open();
  EXPECT_EQ(Ack({Take().at(0).receipt}).code(), StatusCode::kUnavailable);
}

TEST_F(QueueOverHttpTest, ADeletionThatFailsAgainAndAgainInItsBatchIsAnError) {
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    if (call > 1) return DoubleReply{.silent = true};
    return ScriptedSqs::Messages({ScriptedSqs::Hint("a", 1), ScriptedSqs::Hint("b", 2)});
  });
  sqs_.Script("DeleteMessageBatch", [](const json& input, int) {
    const std::string last = std::to_string(input.at("Entries").size() - 1);
    return ScriptedSqs::Ok(
        {{"Failed", {{{"Id", last}, {"Code", "InternalError"}, {"SenderFault", false}}}}});
  });
  Open();
  std::vector<std::string> receipts;
  for (const Delivery& delivery : Take()) receipts.push_back(delivery.receipt);
  const Status status = Ack(receipts);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), HasSubstr("InternalError"));
  EXPECT_EQ(sqs_.Calls("DeleteMessageBatch", 4).size(), 4u);
}

// ---- What the log says

TEST_F(QueueOverHttpTest, AClientThatOnlySendsSaysWhenItCannot) {
  endpoint_ = "https://127.0.0.1:99999";  // which nobody can call, ever
  const auto outbox = HintOutbox::Create(Open(), runtime_);
  EXPECT_EQ(Send({Turn("a")}).code(), StatusCode::kFailedPrecondition);
  const auto count = [this] {
    const std::string text = log_->WaitFor("127.0.0.1:99999");
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(count(), 1);
  outbox->Send({Turn("a")}, [](const Status&) {});
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Send({Turn("b")}).ok());
  EXPECT_EQ(count(), 1) << "once is enough";
}

TEST_F(QueueOverHttpTest, AClientWithoutKeysSaysSo) {
  const ScopedVariables variables({{"HOME", "/nowhere"},
                                   {"AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1"}});
  keys_ = false;
  Open();
  EXPECT_EQ(Send({Turn("a")}).code(), StatusCode::kFailedPrecondition);
  log_->WaitFor("no AWS credentials");
}

TEST_F(QueueOverHttpTest, SendsThatFailForAWhileAreTold) {
  sqs_.Script("SendMessageBatch", [](const json&, int call) {
    return call <= 3 ? ScriptedSqs::Error(503, "ServiceUnavailable", "nobody is here")
                     : ScriptedSqs::Ok(json::object());
  });
  Open();
  EXPECT_FALSE(Send({Turn("a")}).ok());
  EXPECT_EQ(log_->text(), "") << "a moment of it is nothing to tell";
  runtime_.Advance(std::chrono::seconds(3));
  EXPECT_FALSE(Send({Turn("a")}).ok());
  EXPECT_FALSE(Send({Turn("a")}).ok());
  const std::string text = log_->WaitFor("nobody is here");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_TRUE(Send({Turn("a")}).ok());
}

// What one queue is told of does not depend on how another does.
TEST_F(QueueOverHttpTest, TroubleIsToldOnceWhileOtherQueuesAreWell) {
  sqs_.Script("SendMessageBatch", [](const json& input, int) {
    const bool bad = input.at("QueueUrl").get<std::string>().ends_with("activity-q");
    return bad ? ScriptedSqs::Error(403, "AccessDenied") : ScriptedSqs::Ok(json::object());
  });
  sqs_.Script("ReceiveMessage", [](const json&, int call) {
    return ScriptedSqs::Messages({ScriptedSqs::Hint("w", call)});
  });
  Open();
  const TaskHint refused{TaskKind::kActivity, "q", {"a", "r"}, 7, 1, ""};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Send({refused}).code(), StatusCode::kFailedPrecondition);
    EXPECT_TRUE(Send({Turn("a")}).ok());
    EXPECT_EQ(Take(1).size(), 1u);
  }
  const std::string text = log_->WaitFor("AccessDenied");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

// ---- Queues

TEST_F(QueueOverHttpTest, AQueueThatIsNotThereIsTold) {
  sqs_.Script("GetQueueUrl", [](const json&, int) {
    return ScriptedSqs::Error(400, "com.amazonaws.sqs#QueueDoesNotExist");
  });
  Open();
  const Status status = Send({Turn("a")});
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.ToString(), HasSubstr("app-default-turn-q"));
  EXPECT_THAT(status.ToString(), HasSubstr("create=true"));
  log_->WaitFor("create=true");
}

TEST_F(QueueOverHttpTest, AQueueIsMadeIfThatIsWanted) {
  sqs_.Script("GetQueueUrl", [](const json&, int) {
    return ScriptedSqs::Error(400, "com.amazonaws.sqs#QueueDoesNotExist");
  });
  sqs_.Script("CreateQueue",
              [](const json&, int) { return ScriptedSqs::Ok({{"QueueUrl", "http://new"}}); });
  Open({}, /*create=*/true);
  EXPECT_TRUE(Send({Turn("a")}).ok());
  EXPECT_EQ(sqs_.Calls("CreateQueue", 1).at(0),
            json({{"QueueName", "app-default-turn-q"},
                  {"Attributes", {{"MessageRetentionPeriod", "3600"},
                                  {"ReceiveMessageWaitTimeSeconds", "20"},
                                  {"VisibilityTimeout", "30"}}}}));
  EXPECT_EQ(sqs_.Calls("SendMessageBatch", 1).at(0).at("QueueUrl"), "http://new");
}

TEST_F(QueueOverHttpTest, ADeletedQueueIsLookedForAgain) {
  sqs_.Script("SendMessageBatch", [](const json&, int call) {
    return call == 1 ? ScriptedSqs::Error(400, "QueueDoesNotExist") : ScriptedSqs::Ok(json::object());
  });
  Open();
  EXPECT_EQ(Send({Turn("a")}).code(), StatusCode::kNotFound);
  EXPECT_TRUE(Send({Turn("a")}).ok());
  EXPECT_EQ(sqs_.Calls("GetQueueUrl", 2).size(), 2u);
}

// ---- Clocks and secrets

TEST_F(QueueOverHttpTest, AClockThatIsOffIsCorrected) {
  const FixedClock clock(*detail::ParseAwsTime("2026-01-01T12:00:00Z"));
  sqs_.Script("SendMessageBatch", [](const json&, int call) {
    if (call > 1) return ScriptedSqs::Ok(json::object());
    DoubleReply reply = ScriptedSqs::Error(403, "SignatureDoesNotMatch", "Signature expired");
    reply.headers["Date"] = "Thu, 01 Jan 2026 12:20:00 GMT";
    return reply;
  });
  SqsOptions options;
  options.clock = &clock;
  Open(options);
  EXPECT_TRUE(Send({Turn("a")}).ok());
  EXPECT_TRUE(Send({Turn("b")}).ok());
  EXPECT_THAT(sqs_.dates(), ::testing::ElementsAre("20260101T120000Z", "20260101T120000Z",
                                                   "20260101T122000Z", "20260101T122000Z"));
}

TEST_F(QueueOverHttpTest, AClockThatIsFarOffIsReported) {
  const FixedClock clock(*detail::ParseAwsTime("2026-01-01T12:00:00Z"));
  sqs_.Script("SendMessageBatch", [](const json&, int) {
    DoubleReply reply = ScriptedSqs::Error(403, "RequestTimeTooSkewed");
    reply.headers["Date"] = "Thu, 01 Jan 2026 14:00:00 GMT";
    return reply;
  });
  SqsOptions options;
  options.clock = &clock;
  Open(options);
  EXPECT_EQ(Send({Turn("a")}).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(sqs_.Calls("SendMessageBatch", 1).size(), 1u);
}

TEST_F(QueueOverHttpTest, SecretsAreNeverShown) {
  sqs_.Script("SendMessageBatch", [](const json&, int) {
    return ScriptedSqs::Error(403, "SignatureDoesNotMatch",
                              "the canonical string was x-amz-security-token:THE TOKEN THE SECRET");
  });
  Open();
  const Status status = Send({Turn("a")});
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  const std::string all = status.ToString() + log_->WaitFor("SignatureDoesNotMatch");
  EXPECT_THAT(all, Not(HasSubstr("THE TOKEN")));
  EXPECT_THAT(all, Not(HasSubstr("THE SECRET")));
}

// ---- The URL

TEST_F(QueueOverHttpTest, AWrongUrlIsExplained) {
  const auto refusal = [&](const std::string& text) -> std::string {
    const auto url = ParseBackendUrl(text);
    if (!url.ok()) return url.status().ToString();
    SqsOptions options;
    options.access_key_id = "a";
    options.secret_access_key = "b";
    const auto ports = SqsBackend(options).open(*url, runtime_);
    return ports.ok() ? "" : ports.status().ToString();
  };
  EXPECT_EQ(refusal("sqs://eu-west-1/123456789012/app"), "");
  EXPECT_EQ(refusal("sqs://eu-west-1/123456789012/app?endpoint=http%3A%2F%2Flocalhost%3A1"), "");
  EXPECT_EQ(refusal("sqs://eu-west-1/123456789012/app?insecure=true&endpoint=http%3A%2F%2Fsqs"), "");
  EXPECT_THAT(refusal("sqs://eu-west-1/123456789012/app?endpoint=http%3A%2F%2Fsqs"),
              HasSubstr("not https"));
  EXPECT_THAT(refusal("sqs://eu-west-1/123456789012/app?endpoint=https%3A%2F%2Fa%2Fb"),
              HasSubstr("nothing behind"));
  EXPECT_THAT(refusal("sqs://eu-west-1/123456789012"), HasSubstr("sqs://REGION/ACCOUNT/PREFIX"));
  EXPECT_THAT(refusal("sqs://eu-west-1/12345/app"), HasSubstr("12 digits"));
  EXPECT_THAT(refusal("sqs://eu-west-1/123456789012/a.b"), HasSubstr("PREFIX"));
  EXPECT_THAT(refusal("sqs://eu_west/123456789012/app"), HasSubstr("region"));
  EXPECT_THAT(refusal("sqs://eu-west-1/123456789012/app?visibility=1"), HasSubstr("visibility"));
  EXPECT_THAT(refusal("sqs://eu-west-1/123456789012/app?create=1"), HasSubstr("true or false"));
  EXPECT_THAT(refusal("sqs://eu-west-1/123456789012/app?what=1"), HasSubstr("what"));
  for (const Duration visibility : {Duration(0), Duration(999), Duration(std::chrono::hours(13))}) {
    SqsOptions options;
    options.visibility = visibility;
    const auto url = ParseBackendUrl("sqs://eu-west-1/123456789012/app");
    ASSERT_TRUE(url.ok());
    EXPECT_THAT(SqsBackend(options).open(*url, runtime_).status().ToString(), HasSubstr("visibility"));
  }
  EXPECT_THAT(refusal("sqs://u:secret@eu-west-1/123456789012/app"), Not(HasSubstr("secret@")));
}

}  // namespace
}  // namespace marathon::sqs_queue_test
