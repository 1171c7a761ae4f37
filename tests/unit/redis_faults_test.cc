// needs: redis
// program: stores
// What a Redis server may do to a store that it is connected to: refuse, hang, hang up, send it elsewhere. Over doubles that
// do so at will, since real servers do it seldom; tests/workflow/redis_test.cc has those.
#include <gmock/gmock.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../src/adapters/redis/script.h"
#include "../../src/adapters/redis/socket.h"
#include "../answers.h"
#include "../redis_double.h"
#include "marathon/adapters/redis.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::tests::redis_faults_test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Lt;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = 120s;

// A number that a test waits for.
class Counter {
 public:
  void Add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  void WaitUntil(int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return count_ >= count; })) << count_ << " of " << count;
  }
  // How long it takes until it has grown by `more`.
  Clock::duration WaitFor(int more) {
    const auto start = Clock::now();
    WaitUntil(count() + more);
    return Clock::now() - start;
  }
  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

class Lines : public LogSink {
 public:
  void Log(LogLevel, std::string_view text) override {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(text);
  }
  std::vector<std::string> lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

class RedisFaultsTest : public ::testing::Test {
 protected:
  StatusOr<Ports> Open(const std::string& hosts, const std::string& parameters = "") {
    const auto url = ParseBackendUrl("redis://" + hosts + "/0" + parameters);
    EXPECT_TRUE(url.ok()) << url.status();
    return RedisBackend({.log = log_}).open(*url, runtime_);
  }
  static StatusOr<RunSnapshot> Read(Ports& ports) {
    return Await<StatusOr<RunSnapshot>>([&](auto done) { ports.store->Read({.run = {"w", "r"}}, done); });
  }
  static Status Start(Ports& ports) {
    StartRequest start;
    start.run = {"w", "r"};
    start.workflow_type = start.request_id = "w";
    start.messages.push_back({0, "", WorkflowStarted{.workflow_type = "w"}});
    return Await<StatusOr<StartReply>>([&](auto done) { ports.store->Start(start, done); }).status();
  }
  static StatusOr<DueReply> PollDue(Ports& ports) {
    return Await<StatusOr<DueReply>>([&](auto done) { ports.store->PollDue({}, done); });
  }
  // One that asks once for a turn of queue "q".
  static std::future<StatusOr<std::vector<Delivery>>> Receive(Ports& ports) {
    auto reply = std::make_shared<std::promise<StatusOr<std::vector<Delivery>>>>();
    ports.queue->Receive({.session = "s", .task_queues = {"q"}},
                         [reply](StatusOr<std::vector<Delivery>> given) { reply->set_value(std::move(given)); });
    return reply->get_future();
  }

  ThreadRuntime runtime_{1, 1};
  const std::shared_ptr<Lines> log_ = std::make_shared<Lines>();
};

// ---- A server that refuses

// READONLY and its like come from a server that greets well, and reads: the pauses grow all the same.
TEST_F(RedisFaultsTest, WhoIsTurnedAwayAgainAndAgainWaitsLongerAndLonger) {
  for (const std::string error : {"READONLY You can't write against a read only replica.", "MASTERDOWN Link is down",
                                  "CLUSTERDOWN The cluster is down", "LOADING Redis is loading"}) {
    const HealthyRedis healthy;
    Counter connections;
    RedisDouble server([&](const RedisWords& command) {
      if (command.empty()) return std::string();
      if (command[0] == "SCRIPT") connections.Add();
      return Has(command, "take") ? RedisError(error) : healthy.Answer(command);
    });
    auto ports = Open(server.place());
    ASSERT_TRUE(ports.ok()) << ports.status();
    auto receiving = Receive(*ports);
    // 20 ms, 40, 80, 160, 320, 640, and half of it by chance.
    EXPECT_GE(connections.WaitFor(6), 500ms) << error;
    ports->queue->StopReceiving("s");
    EXPECT_EQ(receiving.get().status().code(), StatusCode::kCancelled);
  }
}

// Asking again must not cost the connection: reads and turns of others go on.
TEST_F(RedisFaultsTest, WhoMayNotTakeNowAsksAgainOnTheSameConnection) {
  for (const std::string error : {"OOM command not allowed when used memory > 'maxmemory'.", "MISCONF Errors writing to the AOF",
                                  "BUSY Redis is busy running a script."}) {
    const HealthyRedis healthy;
    Counter connections;
    std::atomic<bool> refuses = true;
    Counter refused;
    RedisDouble server([&](const RedisWords& command) {
      if (command.empty()) return std::string();
      if (command[0] == "SCRIPT") connections.Add();
      if (!Has(command, "take")) return healthy.Answer(command);
      if (refuses) return refused.Add(), RedisError(error);
      return healthy.Done({RedisArray({RedisBulk("3:0:0:0:0:1:wr")}), ":1\r\n"});
    });
    auto ports = Open(server.place());
    ASSERT_TRUE(ports.ok()) << ports.status();
    auto receiving = Receive(*ports);
    refused.WaitUntil(1);
    EXPECT_EQ(Read(*ports).status().code(), StatusCode::kNotFound) << error;
    refuses = false;
    const auto received = receiving.get();
    ASSERT_TRUE(received.ok()) << received.status();
    ASSERT_EQ(received->size(), 1u);
    EXPECT_EQ(received->front().hint.run, (RunKey{"w", "r"}));
    EXPECT_EQ(connections.count(), 1) << error;
  }
}

TEST_F(RedisFaultsTest, AServerThatIsLoadingIsWaitedForOnceTheStoreIsOpen) {
  const HealthyRedis healthy;
  std::atomic<int> loading = 0;
  RedisDouble server([&](const RedisWords& command) {
    if (command.empty()) return std::string();
    if (loading > 0 && command[0] == "PING") --loading;
    return loading > 0 ? RedisError("LOADING Redis is loading the dataset in memory") : healthy.Answer(command);
  });
  loading = 1'000'000;
  EXPECT_THAT(Open(server.place()).status(), AllOf(::testing::Property(&Status::code, StatusCode::kUnavailable),
                                                   ::testing::Property(&Status::message, HasSubstr("LOADING"))));
  loading = 0;
  auto ports = Open(server.place());
  ASSERT_TRUE(ports.ok()) << ports.status();
  loading = 7;
  server.HangUp();
  StatusOr<RunSnapshot> read = Unavailable("");
  while (read.status().code() == StatusCode::kUnavailable) read = Read(*ports);
  EXPECT_EQ(read.status().code(), StatusCode::kNotFound) << read.status();
  EXPECT_EQ(loading, 0);
}

// It says so at once, and closes.
TEST_F(RedisFaultsTest, WhyNobodyIsLetInIsTold) {
  const auto opened = [&](const std::string& error) {
    RedisDouble server([&](const RedisWords&) { return RedisError(error) + std::string(RedisDouble::kHangUp); });
    return Open(server.place()).status();
  };
  const Status full = opened("ERR max number of clients reached");
  EXPECT_EQ(full.code(), StatusCode::kUnavailable) << full;
  EXPECT_THAT(std::string(full.message()), HasSubstr("max number of clients"));
  const Status guarded = opened("DENIED Redis is running in protected mode");
  EXPECT_EQ(guarded.code(), StatusCode::kFailedPrecondition) << guarded;
}

TEST_F(RedisFaultsTest, WhoMayNotAskInfoIsToldWhatIsNotKnown) {
  const HealthyRedis healthy;
  RedisDouble server([&](const RedisWords& command) {
    if (command.empty()) return std::string();
    return command[0] == "INFO" ? RedisError("NOPERM this user has no permissions to run 'info'") : healthy.Answer(command);
  });
  const auto ports = Open(server.place());
  EXPECT_TRUE(ports.ok()) << ports.status();
  EXPECT_THAT(log_->lines(), ::testing::ElementsAre(HasSubstr("INFO")));
}

TEST_F(RedisFaultsTest, AUserWithoutAPasswordIsATypedError) {
  const Status status = Open("user@127.0.0.1:1").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("USER:PASSWORD"));
}

// ---- A server that hangs

TEST_F(RedisFaultsTest, AServerThatDoesNotAnswerIsGivenUp) {
  const HealthyRedis healthy;
  std::atomic<bool> hangs = false;
  RedisDouble server([&](const RedisWords& command) {
    if (command.empty()) return std::string();
    return hangs && IsStep(command) ? std::string() : healthy.Answer(command);
  });
  auto ports = Open(server.place(), "?reply_timeout=200");
  ASSERT_TRUE(ports.ok()) << ports.status();
  hangs = true;
  const Status read = Read(*ports).status();
  EXPECT_EQ(read.code(), StatusCode::kUnavailable) << read;
  EXPECT_THAT(std::string(read.message()), HasSubstr("does not answer"));
  hangs = false;
  Status again = read;
  while (again.code() == StatusCode::kUnavailable) again = Read(*ports).status();
  EXPECT_EQ(again.code(), StatusCode::kNotFound) << again;
  hangs = true;
  const Status start = Start(*ports);
  EXPECT_EQ(start.code(), StatusCode::kUnknown) << start << ": it may have been written";
}

TEST_F(RedisFaultsTest, AConnectionThatDoesNotComeUpIsGivenUp) {
  RedisDouble silent([](const RedisWords&) { return std::string(); });
  const auto url = ParseBackendUrl("rediss://" + silent.place() + "/0?connect_timeout=100");
  const auto opened = RedisTlsBackend({.log = nullptr}).open(*url, runtime_);
  EXPECT_EQ(opened.status().code(), StatusCode::kUnavailable) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("does not answer"));
}

// ---- Pushes

TEST_F(RedisFaultsTest, AStoreThatWouldNotHearIsNotOpened) {
  const HealthyRedis healthy;
  RedisDouble server([&](const RedisWords& command) {
    if (command.empty()) return std::string();
    return command[0] == "SUBSCRIBE" ? RedisError("NOPERM no permissions to access a channel") : healthy.Answer(command);
  });
  const Status status = Open(server.place()).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("channel"));
}

TEST_F(RedisFaultsTest, AStoreThatHearsNoMoreLooksByItselfAndSaysSoOnce) {
  const HealthyRedis healthy;
  std::atomic<bool> deaf = false;
  Counter takes;
  RedisDouble server([&](const RedisWords& command) {
    if (command.empty()) return std::string();
    if (Has(command, "take")) takes.Add();
    return deaf && command[0] == "SUBSCRIBE" ? RedisError("NOPERM no permissions to access a channel")
                                             : healthy.Answer(command);
  });
  auto ports = Open(server.place());
  ASSERT_TRUE(ports.ok()) << ports.status();
  auto receiving = Receive(*ports);  // its queue is a channel more
  takes.WaitUntil(1);
  deaf = true;
  server.HangUp();
  EXPECT_GE(takes.WaitFor(5), 3s) << "not too often, either";
  EXPECT_THAT(log_->lines(), ::testing::ElementsAre(AllOf(HasSubstr(server.place()), HasSubstr("NOPERM"))));
  ports->queue->StopReceiving("s");
}

// ---- More than one server

TEST_F(RedisFaultsTest, EverySeedIsTried) {
  std::string dead;
  for (int i = 0; i < 2; ++i) {  // ports that nobody has any more
    const RedisDouble gone([](const RedisWords&) { return std::string(); });
    dead += gone.place() + ",";
  }
  const HealthyRedis healthy;
  RedisDouble server([&](const RedisWords& command) {
    return command.empty() ? std::string() : healthy.Answer(command);
  });
  const auto ports = Open(dead + server.place());
  EXPECT_TRUE(ports.ok()) << ports.status();
  EXPECT_EQ(Open(dead.substr(0, dead.size() - 1)).status().code(), StatusCode::kUnavailable);
}

std::string SlotsOf(const std::vector<std::string>& ports) {
  std::vector<std::string> ranges;
  for (size_t i = 0; i < ports.size(); ++i) {
    const size_t first = 16384 * i / ports.size(), last = 16384 * (i + 1) / ports.size() - 1;
    ranges.push_back(RedisArray({":" + std::to_string(first) + "\r\n", ":" + std::to_string(last) + "\r\n",
                                 RedisArray({RedisBulk("127.0.0.1"), ":" + ports[i] + "\r\n"})}));
  }
  return RedisArray(ranges);
}

TEST_F(RedisFaultsTest, ServersThatSendEachOtherAreAskedNoMoreThanOthersThatFail) {
  HealthyRedis healthy[2];
  Counter connections;
  const auto answer = [&](int i) {
    return [&, i](const RedisWords& command) {
      if (command.empty()) return std::string();
      if (command[0] == "CLUSTER") connections.Add();
      return healthy[i].Answer(command);
    };
  };
  RedisDouble first(answer(0)), second(answer(1));
  healthy[0].slots = SlotsOf({second.port()});
  healthy[1].slots = SlotsOf({first.port()});
  const Status status = Open(first.place() + "," + second.place()).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not have slot"));
  EXPECT_LT(connections.count(), 20);
}

// Two partitions, each on a server of its own.
class TwoRedisTest : public RedisFaultsTest {
 protected:
  // `heads`: what a poll answers of the due indexes.
  static std::string AnswerPoll(const HealthyRedis& healthy, const std::string& head) {
    return healthy.Done({RedisArray({}), RedisArray({}), head, RedisArray({})});
  }
  static bool IsPoll(const RedisWords& command) { return Has(command, "ZRANGE") && Has(command, "BYSCORE"); }
  RedisDouble::Handler Handler(int i) {
    return [this, i](const RedisWords& command) {
      if (command.empty()) return std::string();
      if (!IsPoll(command)) return healthy_[i].Answer(command);
      polls_[i].Add();
      const int64_t due = healthy_[i].Now() + due_in_[i];
      return AnswerPoll(healthy_[i], RedisArray({RedisBulk("r1:wr"), RedisBulk(std::to_string(due))}));
    };
  }
  void SetUp() override {
    for (const size_t i : {size_t{0}, size_t{1}}) servers_[i] = std::make_unique<RedisDouble>(Handler(static_cast<int>(i)));
    for (size_t i = 0; i < 2; ++i) {
      servers_[i]->With([&] {
        healthy_[i].partitions = 2;
        const std::string ports[] = {servers_[0]->port(), servers_[1]->port()};
        healthy_[i].slots = SlotsOf({ports[0], ports[1], ports[0], ports[1]});
      });
    }
  }
  std::string Hosts() const { return servers_[0]->place() + "," + servers_[1]->place(); }
  // Of which partition 0 is on the first server, and partition 1 on the second one.
  static std::string Namespace() {
    const auto server = [](const std::string& name, const char* partition) {
      return detail::RedisNodes::SlotOf("{" + name + ":" + partition + "}") / 4096 % 2;
    };
    std::string name = "n";
    while (server(name, "0") != 0 || server(name, "1") != 1) name += 'n';
    return name;
  }

  HealthyRedis healthy_[2];
  Counter polls_[2];
  int64_t due_in_[2] = {3'600'000'000, 3'600'000'000};  // microseconds
  std::unique_ptr<RedisDouble> servers_[2];
};

TEST_F(TwoRedisTest, WhatIsDueGoesByOneClockThoughEachServerHasItsOwn) {
  for (const auto ahead : {-3600s, 3600s}) {
    servers_[1]->With([&] {
      healthy_[1].ahead = ahead;
      due_in_[1] = 10'000'000;
    });
    auto ports = Open(Hosts(), "?namespace=" + Namespace());
    ASSERT_TRUE(ports.ok()) << ports.status();
    const auto reply = PollDue(*ports);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_THAT(reply->next_due - ports->store->Now(), AllOf(Ge(1s), Lt(11s))) << "ten seconds, less what the test took";
    EXPECT_LT(reply->now - ports->store->Now(), 1s);
  }
}

TEST(RedisClockTest, AnInstantIsTurnedIntoAnotherClocks) {
  EXPECT_EQ(detail::InClock(FromMicros(70), FromMicros(50), FromMicros(1000)), FromMicros(1020));
  EXPECT_EQ(detail::InClock(FromMicros(1020), FromMicros(1000), FromMicros(50)), FromMicros(70));
  EXPECT_EQ(detail::InClock(kNever, FromMicros(1000), FromMicros(50)), kNever);
  EXPECT_EQ(detail::InClock(kNever - 9us, FromMicros(50), FromMicros(1000)), kNever);
}

// What is due where nobody answers is asked for in a while, not without a pause.
TEST_F(TwoRedisTest, WhileOneServerIsAwayTheOtherIsPolledWithPauses) {
  auto ports = Open(Hosts(), "?namespace=" + Namespace());
  ASSERT_TRUE(ports.ok()) << ports.status();
  servers_[1].reset();
  StatusOr<DueReply> reply = PollDue(*ports);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_GE(reply->next_due, reply->now + 500ms);
  EXPECT_LE(reply->next_due, reply->now + 5s);

  // … and what an engine makes of it.
  Registry registry;
  registry.Use(RedisBackend({.log = nullptr}));
  registry.Bind("Nothing", [](WorkflowContext&) -> Workflow<int> { co_return 1; });
  SetUp();
  servers_[0]->With([&] { due_in_[0] = 300'000; });
  auto engine = Engine::Open("redis://" + Hosts() + "/0?namespace=" + Namespace(), registry, {.log = log_});
  ASSERT_TRUE(engine.ok()) << engine.status();
  servers_[1].reset();
  polls_[0].WaitFor(8);  // while the connection breaks it may look more than once
  EXPECT_GE(polls_[0].WaitFor(8), 900ms);
}

// ---- Addresses

// Connects, or gives the first endpoint up as the connection does when its time is over.
TEST(RedisSocketTest, AnAddressThatDoesNotAnswerIsGivenUpForTheNext) {
  RedisDouble first([](const RedisWords&) { return std::string(); });
  RedisDouble second([](const RedisWords&) { return "+hello\r\n"; });
  detail::RedisAddress address;
  address.host = "127.0.0.1";
  std::vector<detail::RedisEndpoint> endpoints;
  for (const auto* server : {&first, &second}) {
    address.port = server->port();
    const auto found = detail::RedisSocket::Lookup(address);
    ASSERT_TRUE(found.ok()) << found.status();
    endpoints.push_back(found->front());
  }
  const auto greeting = [&](detail::RedisSocket& socket) {
    std::string text;
    while (text.empty()) {
      pollfd state{socket.fd(), socket.Events(false), 0};
      poll(&state, 1, 1000);
      const auto done = socket.Finish();
      if (!done.ok()) return done.status().ToString();
      char bytes[64];
      if (const auto count = *done ? socket.Read(bytes, sizeof bytes) : size_t{0}; count.ok()) text.assign(bytes, *count);
    }
    return text;
  };
  auto socket = detail::RedisSocket::Connect(address, endpoints, 0);
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_EQ((*socket)->endpoint(), 0u);
  ASSERT_TRUE((*socket)->BeginNext());
  EXPECT_EQ(greeting(**socket), "+hello\r\n");
  EXPECT_EQ((*socket)->endpoint(), 1u);
  EXPECT_FALSE((*socket)->BeginNext()) << "there are two";
  // What has answered is where the next connection begins; the other one is its last resort.
  auto next = detail::RedisSocket::Connect(address, endpoints, 1);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(greeting(**next), "+hello\r\n");
  EXPECT_TRUE((*next)->BeginNext());
  EXPECT_EQ((*next)->endpoint(), 0u);
}

}  // namespace
}  // namespace marathon::tests::redis_faults_test
