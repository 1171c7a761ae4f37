// needs: testing
// HintOutbox before a queue that is away, slow or refuses, in virtual time; engines that shut down over it; and pairs
// of two domains.
// program: testing
#include "marathon/store/hint_outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/engine.h"
#include "marathon/limits.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/local_hub.h"
#include "marathon/store/open_ports.h"
#include "marathon/testing/forwarding_task_queue.h"
#include "marathon/testing/sim_runtime.h"

namespace marathon::testing::hint_outbox_test {
namespace {

using ::testing::HasSubstr;

TaskHint Hint(int number) {
  return TaskHint{TaskKind::kTurn, "queue", {"w" + std::to_string(number), "run"}, 0, 0, ""};
}

std::vector<TaskHint> Hints(int count) {
  std::vector<TaskHint> hints;
  for (int i = 0; i < count; ++i) hints.push_back(Hint(i));
  return hints;
}

std::shared_ptr<TaskQueue> OtherQueue(std::string domain = "other") {
  return NewLocalTaskQueue(std::make_shared<LocalHub>(), std::move(domain));
}

// Answers each Send as it is told.
class MoodyQueue final : public ForwardingTaskQueue {
 public:
  MoodyQueue() : ForwardingTaskQueue(OtherQueue()) {}
  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    ++calls;
    largest = std::max(largest, hints.size());
    if (keep) return kept.push_back(std::move(done));
    if (away) return done(Unavailable("away"));
    for (TaskHint& hint : hints) sent.push_back(std::move(hint));
    done(Status());
  }
  void Flush(DoneStatus done) override { flushes.push_back(std::move(done)); }
  bool away = false;
  bool keep = false;
  int calls = 0;
  size_t largest = 0;
  std::vector<TaskHint> sent;
  std::vector<DoneStatus> kept, flushes;
};

class HintOutboxTest : public ::testing::Test {
 protected:
  void Send(std::vector<TaskHint> hints) {
    bool taken = false;
    outbox_->Send(std::move(hints), [&](const Status& status) { taken = status.ok(); });
    EXPECT_TRUE(taken) << "whoever sends does not wait";
  }
  void Wait(Duration duration) { world_.RunUntil(world_.Now() + duration); }

  SimWorld world_{1};
  SimRuntime runtime_{world_, "process"};
  std::shared_ptr<MoodyQueue> queue_ = std::make_shared<MoodyQueue>();
  std::shared_ptr<HintOutbox> outbox_ = HintOutbox::Create(queue_, runtime_);
};

TEST_F(HintOutboxTest, SendsInOrderAFewAtATime) {
  Send(Hints(1'000));
  EXPECT_EQ(queue_->sent, Hints(1'000));
  EXPECT_LE(queue_->largest, 10u);
  EXPECT_EQ(outbox_->waiting(), 0u);
}

TEST_F(HintOutboxTest, TriesAgainUntilTheQueueIsBack) {
  queue_->away = true;
  Send(Hints(25));
  Wait(std::chrono::seconds(10));
  EXPECT_GE(queue_->calls, 5);
  EXPECT_LE(queue_->calls, 20) << "with a wait that grows";
  queue_->away = false;
  Wait(std::chrono::seconds(6));
  EXPECT_THAT(queue_->sent, ::testing::UnorderedElementsAreArray(Hints(25)));
  EXPECT_EQ(outbox_->dropped(), 0u);
}

TEST_F(HintOutboxTest, DropsWhatTheStorePublishesAgainAnyway) {
  queue_->away = true;
  Send(Hints(3));
  Wait(limits::kOutboxPatience);
  Send({Hint(7)});
  Wait(std::chrono::seconds(10));
  queue_->away = false;
  Wait(std::chrono::seconds(10));
  EXPECT_EQ(queue_->sent, std::vector<TaskHint>{Hint(7)});
  EXPECT_EQ(outbox_->dropped(), 3u);
}

TEST_F(HintOutboxTest, HoldsABoundedNumber) {
  queue_->keep = true;
  Send(Hints(static_cast<int>(limits::kOutboxHints) + 5));
  EXPECT_EQ(outbox_->waiting(), limits::kOutboxHints);
  EXPECT_EQ(outbox_->dropped(), 5u);
  const int at_a_time = queue_->calls;
  EXPECT_LE(at_a_time, 16);
  Send({Hint(1)});
  EXPECT_EQ(outbox_->dropped(), 6u);
  EXPECT_EQ(queue_->calls, at_a_time) << "none is answered yet";
  std::move(queue_->kept.front())(Status());
  EXPECT_EQ(queue_->calls, at_a_time + 1);
}

TEST_F(HintOutboxTest, AnswersMayComeAfterItsEnd) {
  queue_->keep = true;
  Send(Hints(1));
  outbox_.reset();
  queue_->kept.front()(Unavailable("away"));
  EXPECT_TRUE(world_.IsIdle());
}

TEST_F(HintOutboxTest, AFlushWaitsForAllThatWasSent) {
  queue_->keep = true;
  Send(Hints(200));
  std::optional<Status> flushed;
  outbox_->Flush([&](const Status& status) { flushed = status; });
  while (!queue_->kept.empty()) {
    EXPECT_FALSE(flushed.has_value());
    DoneStatus answer = std::move(queue_->kept.front());
    queue_->kept.erase(queue_->kept.begin());
    answer(Status());
  }
  EXPECT_EQ(outbox_->waiting(), 0u);
  EXPECT_FALSE(flushed.has_value()) << "and for the queue's own";
  ASSERT_EQ(queue_->flushes.size(), 1u);
  queue_->flushes.front()(Status());
  EXPECT_EQ(flushed, Status());
}

TEST_F(HintOutboxTest, AFlushSaysWhatWasDropped) {
  queue_->away = true;
  Send(Hints(3));
  std::vector<Status> flushed;
  const auto flush = [&] {
    outbox_->Flush([&](const Status& status) { flushed.push_back(status); });
    for (DoneStatus& one : std::exchange(queue_->flushes, {})) one(Status());
  };
  flush();
  Wait(limits::kOutboxPatience - std::chrono::seconds(6));
  EXPECT_TRUE(flushed.empty());
  Wait(std::chrono::seconds(12));
  for (DoneStatus& one : std::exchange(queue_->flushes, {})) one(Status());
  ASSERT_EQ(flushed.size(), 1u);
  EXPECT_EQ(flushed[0].code(), StatusCode::kUnavailable);
  EXPECT_THAT(flushed[0].ToString(), HasSubstr("3 hints were dropped"));
  flush();
  ASSERT_EQ(flushed.size(), 2u);
  EXPECT_EQ(flushed[1], Status()) << "what was told is told";
}

// ---- Shutting down

// Takes each call as long as a round trip.
class SlowQueue final : public ForwardingTaskQueue {
 public:
  SlowQueue(Runtime& runtime, Duration delay) : ForwardingTaskQueue(OtherQueue()), runtime_(runtime), delay_(delay) {}
  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    runtime_.SetAlarm(delay_, [this, hints = std::move(hints), done = std::move(done)]() mutable {
      for (const TaskHint& hint : hints) sent.insert(hint.run.workflow_id);
      done(Status());
    });
  }
  std::set<std::string> sent;

 private:
  Runtime& runtime_;
  const Duration delay_;
};

class ShutdownTest : public ::testing::Test {
 protected:
  // Starts so many runs beside an engine that is only a client, and shuts it down. Gives of how many the queue has then
  // been told; each call takes it `delay`.
  size_t ShutDown(int count, Duration delay, Duration patience) {
    auto queue = std::make_shared<SlowQueue>(*runtime_, delay);
    auto ports = JoinPorts(NewMemoryPorts(*runtime_).store, queue, *runtime_);
    EXPECT_TRUE(ports.ok()) << ports.status();
    EngineOptions options;
    options.log = log_;
    auto engine = Engine::Open(*ports, Registry(), options, runtime_);
    EXPECT_TRUE(engine.ok()) << engine.status();
    for (int i = 0; i < count; ++i) {
      StartRequest start;
      start.run = {"w" + std::to_string(i), "r"};
      start.task_queue = "default";
      start.messages.push_back({0, "", WorkflowStarted{}});
      ports->store->Start(std::move(start), [](const StatusOr<StartReply>& reply) {
        EXPECT_TRUE(reply.ok()) << reply.status();
      });
    }
    EXPECT_EQ(engine->Shutdown(patience), Status());
    return queue->sent.size();
  }

  class LogText final : public LogSink {
   public:
    void Log(LogLevel, std::string_view message) override { text += message; }
    std::string text;
  };

  SimWorld world_{1};
  std::shared_ptr<SimRuntime> runtime_ = std::make_shared<SimRuntime>(world_, "process");
  std::shared_ptr<LogText> log_ = std::make_shared<LogText>();
};

TEST_F(ShutdownTest, WaitsUntilTheQueueHasTakenTheHints) {
  EXPECT_EQ(ShutDown(300, std::chrono::milliseconds(100), std::chrono::seconds(10)), 300u);
  EXPECT_EQ(log_->text, "");
}

TEST_F(ShutdownTest, DoesNotWaitForAQueueThatIsAway) {
  const int64_t before = world_.ElapsedMicros();
  EXPECT_LT(ShutDown(300, std::chrono::seconds(7), std::chrono::seconds(10)), 300u);
  EXPECT_LE(world_.ElapsedMicros() - before, 11'000'000);
  EXPECT_THAT(log_->text, HasSubstr("has not taken all hints within 10000 ms"));
}

// ---- Pairs

class OpenPortsTest : public ::testing::Test {
 protected:
  // A queue only, which keeps the URL it was opened by.
  Backend QueueBackend() {
    return Backend{"other", [this](const BackendUrl& url, Runtime&) -> StatusOr<Ports> {
                     opened_ = ToString(url);
                     return Ports{nullptr, OtherQueue()};
                   }};
  }
  // "memory:" that takes a namespace.
  static Backend NamedBackend() {
    return Backend{"named", [](const BackendUrl& url, Runtime& runtime) -> StatusOr<Ports> {
                     if (Status s = url.CheckParameters({"namespace"}); !s.ok()) return s;
                     return NewMemoryPorts(runtime);
                   }};
  }
  StatusOr<Ports> Open(std::string_view url) {
    return OpenPorts(url,
                     {std::make_shared<const Backend>(MemoryBackend()),
                      std::make_shared<const Backend>(NamedBackend()),
                      std::make_shared<const Backend>(QueueBackend())},
                     runtime_);
  }
  std::string Refusal(std::string_view url) {
    const StatusOr<Ports> ports = Open(url);
    return ports.ok() ? "" : std::string(MessageOf(ports.status()));
  }

  SimWorld world_{1};
  SimRuntime runtime_{world_, "process"};
  std::string opened_;
};

TEST_F(OpenPortsTest, AQueueOfAnotherDomainGetsTheHints) {
  const StatusOr<Ports> ports = Open("memory:?queue=other%3A%2F%2Fplace%2Fname%3Fa%3D1%2525");
  ASSERT_TRUE(ports.ok()) << ports.status();
  EXPECT_EQ(opened_, "other://place/name?a=1%");
  EXPECT_NE(ports->store->domain(), "other");
  EXPECT_EQ(ports->store->hint_domain(), "other");
  EXPECT_EQ(ports->queue->domain(), "other");
  std::vector<Delivery> got;
  ports->queue->Receive({"s", TaskKind::kTurn, {"default"}, 1},
                        [&](StatusOr<std::vector<Delivery>> some) { got = *std::move(some); });
  StartRequest start;
  start.run = {"w", "r"};
  start.task_queue = "default";
  start.messages.push_back({0, "", WorkflowStarted{}});
  ports->store->Start(std::move(start), [](const StatusOr<StartReply>& reply) {
    EXPECT_TRUE(reply.ok()) << reply.status();
  });
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].hint.run, (RunKey{"w", "r"}));
}

TEST_F(OpenPortsTest, TheQueueIsInTheNamespaceOfTheStore) {
  ASSERT_TRUE(Open("named:?namespace=n&queue=other%3Ax").ok());
  EXPECT_EQ(opened_, "other:x?namespace=n");
  ASSERT_TRUE(Open("named:?namespace=n&queue=other%3Ax%3Fnamespace%3Dm").ok());
  EXPECT_EQ(opened_, "other:x?namespace=m");
}

TEST_F(OpenPortsTest, SaysWhatIsWrong) {
  EXPECT_THAT(Refusal("other:x"), HasSubstr("keeps no runs"));
  EXPECT_THAT(Refusal("other:x?queue=memory%3A"), HasSubstr("keeps no runs"));
  EXPECT_THAT(Refusal("memory:?queue=nothing"), HasSubstr("queue=: a backend URL begins"));
  EXPECT_THAT(Refusal("memory:?queue=sqs%3Ax"), HasSubstr("SqsBackend"));
  EXPECT_THAT(Refusal("memory:?queue=sqs%3Ax"), HasSubstr("\"memory:\", \"named:\", \"other:\""));
}

TEST_F(OpenPortsTest, WhatIsBesideTheStoreStaysWithIt) {
  const StatusOr<Ports> ports = Open("memory:?queue=other%3Ax");
  ASSERT_TRUE(ports.ok());
  EXPECT_NE(ports->blobs, nullptr);
  EXPECT_NE(ports->streams, nullptr);
  EXPECT_NE(ports->limiter, nullptr);
}

TEST_F(OpenPortsTest, AStoreHasOneOutlet) {
  StatusOr<Ports> ports = Open("memory:?queue=other%3Ax");
  ASSERT_TRUE(ports.ok());
  const auto again = JoinPorts(ports->store, OtherQueue("third"), runtime_);
  EXPECT_EQ(again.status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(OpenPortsTest, AnEngineRefusesAQueueThatGetsNoHints) {
  ThreadRuntime runtime(1, 1);
  Ports ports = NewMemoryPorts(runtime);
  ports.queue = OtherQueue();
  const auto engine = Engine::Open(ports, Registry());
  ASSERT_EQ(engine.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(engine.status())), HasSubstr("JoinPorts"));
}

}  // namespace
}  // namespace marathon::testing::hint_outbox_test
