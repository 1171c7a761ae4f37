// Blobs, streams and limits in Redis: what its conformance suites do not ask. Other processes, the server's clock, damage, and a
// server that forgets.
// needs: redis
// program: stores
#include <gmock/gmock.h>
#include <hiredis/hiredis.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../redis_server.h"
#include "marathon/detail/sha256.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/adapters/redis.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::redis_beside_test {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Le;

class RedisBesideTest : public ::testing::Test {
 protected:
  Ports Open(const std::string& parameters = "") {
    const auto url = ParseBackendUrl("redis:" + server_.socket() + parameters);
    auto ports = RedisBackend({.log = nullptr}).open(*url, runtime_);
    EXPECT_TRUE(ports.ok()) << ports.status();
    return ports.ok() ? *std::move(ports) : Ports();
  }
  // Makes a call and waits for its answer.
  template <class T, class Call>
  StatusOr<T> Wait(Call call) {
    const auto answered = runtime_.NewOneShot();
    std::optional<StatusOr<T>> answer;
    call(Done<T>([&, answered](StatusOr<T> given) {
      answer.emplace(std::move(given));
      answered->Set();
    }));
    if (!answered->Wait(std::chrono::minutes(1))) return DeadlineExceeded("no answer");
    return *std::move(answer);
  }
  StatusOr<std::vector<BlobRef>> Put(Ports& ports, std::vector<std::string> blobs) {
    return Wait<std::vector<BlobRef>>([&](auto done) { ports.blobs->Put(std::move(blobs), std::move(done)); });
  }
  StatusOr<std::vector<std::string>> Get(Ports& ports, std::vector<BlobRef> refs) {
    return Wait<std::vector<std::string>>([&](auto done) { ports.blobs->Get(std::move(refs), std::move(done)); });
  }
  StatusOr<uint64_t> Append(Ports& ports, AppendFrames request) {
    return Wait<uint64_t>([&](auto done) { ports.streams->Append(std::move(request), std::move(done)); });
  }
  StatusOr<FramePage> Read(Ports& ports, ReadFrames request) {
    return Wait<FramePage>([&](auto done) { ports.streams->Read(std::move(request), std::move(done)); });
  }
  StatusOr<Permit> Acquire(Ports& ports, LimitUnit unit) {
    return Wait<Permit>([&](auto done) {
      ports.limiter->Acquire({.key = "k", .units = {std::move(unit)}}, std::move(done));
    });
  }
  void Settle(Ports& ports, SettleLimit request) {
    const auto settled = Wait<bool>([&](auto done) {
      ports.limiter->Settle(std::move(request), [done = std::move(done)](Status status) mutable {
        status.ok() ? done(true) : done(std::move(status));
      });
    });
    EXPECT_TRUE(settled.ok()) << settled.status();
  }
  // A command of an administrator's; what it answers, if that is a number.
  int64_t Command(const std::string& text) {
    const auto context = server_.Connect();
    auto* reply = static_cast<redisReply*>(redisCommand(context.get(), text.c_str()));
    const int64_t number = reply->integer;
    freeReplyObject(reply);
    return number;
  }
  int64_t TimeToLive(const std::string& key) { return Command("PTTL marathon:{default:0}:" + key); }

  tests::RedisServer server_;
  ThreadRuntime runtime_{2, 2};
};

// Of a run's large payloads; and when the last run that holds them has gone, the server forgets them.
TEST_F(RedisBesideTest, HeldBlobsExpireWhenNobodyHoldsThem) {
  Ports ports = Open();
  const std::string digest = detail::Sha256Hex("bytes");
  for (const std::string id : {"a", "b"}) {
    StartRequest request{.run = {id, id + "-run"}, .workflow_type = "Type", .task_queue = "queue", .request_id = id};
    TurnCommit& turn = request.first_turn.emplace();
    turn.run = request.run;
    turn.commit_id = 1;
    turn.new_version = 1;
    turn.record = EncodeRecord(1, {{1, WorkflowCompleted{}}});
    turn.blobs.push_back({{digest, 5}, "bytes"});
    turn.close = RunStatus::kCompleted;
    const auto started = Wait<StartReply>([&](auto done) { ports.store->Start(request, std::move(done)); });
    ASSERT_TRUE(started.ok()) << started.status();
  }
  const auto erase = [&](const std::string& id) {
    const auto erased = Wait<bool>([&](auto done) {
      ports.store->Delete({id, id + "-run"}, [done = std::move(done)](Status status) mutable {
        status.ok() ? done(true) : done(std::move(status));
      });
    });
    EXPECT_TRUE(erased.ok()) << erased.status();
  };
  const std::string prefix = "marathon:{default:0}:";
  EXPECT_EQ(TimeToLive("vb:" + digest), -1) << "it does not expire";
  EXPECT_EQ(Command("SCARD " + prefix + "vh:" + digest), 2);
  erase("a");
  EXPECT_EQ(TimeToLive("vb:" + digest), -1);
  EXPECT_EQ(Command("SCARD " + prefix + "vh:" + digest), 1);
  erase("b");
  EXPECT_THAT(TimeToLive("vb:" + digest), AllOf(Gt(0), Le(limits::kBlobGrace.count())));
  EXPECT_EQ(Command("EXISTS " + prefix + "vh:" + digest), 0);
  EXPECT_EQ(Command("EXISTS " + prefix + "v:1:aa-run " + prefix + "v:1:bb-run"), 0);
}

TEST_F(RedisBesideTest, AReaderHearsWhatAnotherProcessWrites) {
  Ports one = Open(), two = Open();
  uint64_t known = 0;
  for (uint64_t i = 0; i < 3; ++i) {
    const auto heard = runtime_.NewOneShot();
    std::optional<StatusOr<FramePage>> page;
    two.streams->Read({.stream = "s", .after = known, .wait = true}, [&, heard](StatusOr<FramePage> given) {
      page.emplace(std::move(given));
      heard->Set();
    });
    const auto written = Append(one, {"s", "step", 1, i, {"x"}});
    ASSERT_TRUE(written.ok()) << written.status();
    ASSERT_TRUE(heard->Wait(std::chrono::minutes(1)));
    ASSERT_TRUE(page->ok()) << page->status();
    EXPECT_EQ((*page)->last, *written);
    known = *written;
  }
}

TEST_F(RedisBesideTest, TheServerForgetsWhatNobodyUses) {
  Ports ports = Open("?blob_keep=100000&stream_keep=50000");
  const auto refs = Put(ports, {"blob"});
  ASSERT_TRUE(refs.ok()) << refs.status();
  const std::string blob = "b:" + refs->at(0).sha256;
  EXPECT_THAT(TimeToLive(blob), AllOf(Gt(50'000), Le(100'000)));
  for (const bool put : {true, false}) {
    Command("PEXPIRE marathon:{default:0}:" + blob + " 20000");
    EXPECT_TRUE(put ? Put(ports, {"blob"}).ok() : Get(ports, *refs).ok());
    EXPECT_GT(TimeToLive(blob), 50'000) << (put ? "put" : "get");
  }
  ASSERT_TRUE(Append(ports, {"s", "step", 1, 0, {"x"}}).ok());
  for (const char* key : {"s:s", "f:s"}) {
    EXPECT_THAT(TimeToLive(key), AllOf(Gt(25'000), Le(50'000))) << key;
    Command(std::string("PEXPIRE marathon:{default:0}:") + key + " 10000");
  }
  ASSERT_TRUE(Append(ports, {"s", "step", 1, 1, {"y"}}).ok());
  EXPECT_GT(TimeToLive("s:s"), 25'000);
  EXPECT_GT(TimeToLive("f:s"), 25'000);
}

TEST_F(RedisBesideTest, DamageIsFoundAndNamed) {
  Ports ports = Open();
  const auto refs = Put(ports, {"blob"});
  ASSERT_TRUE(refs.ok()) << refs.status();
  Command("SET marathon:{default:0}:b:" + refs->at(0).sha256 + " plob");
  const Status status = Get(ports, *refs).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.ToString(), HasSubstr(refs->at(0).sha256));
}

// Whoever knew it sees that something was between, and gets all of what came then.
TEST_F(RedisBesideTest, AStreamThatTheServerForgotUsesNoNumberAgain) {
  Ports ports = Open();
  const auto known = Append(ports, {"s", "step", 5, 0, {"a", "b", "c"}});
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_LT(*known, uint64_t{1} << 53);
  Command("PEXPIRE marathon:{default:0}:s:s 0");  // and not yet f:s
  ASSERT_TRUE(Append(ports, {"s", "step", 1, 0, {"d"}}).ok());
  for (const uint64_t after : {*known - 2, *known}) {
    const auto page = Read(ports, {.stream = "s", .after = after, .wait = true});
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_EQ(page->frames.size(), 1u);
    EXPECT_EQ(page->frames[0].bytes, "d");
    EXPECT_GT(page->first, *known + 1);
    EXPECT_EQ(page->first, page->last);
  }
}

// The server keeps nothing when it is killed: readers and writers hear so, and begin again.
TEST_F(RedisBesideTest, AServerThatForgetsIsNoticed) {
  Ports ports = Open();
  const auto known = Append(ports, {"s", "step", 5, 0, {"a", "b", "c"}});
  ASSERT_TRUE(known.ok()) << known.status();
  const auto again = [&](auto call) {
    auto reply = call();
    while (!reply.ok() && IsTransient(reply.status())) reply = call();
    return reply;
  };
  server_.Kill();
  server_.Start();
  const auto page = again([&] { return Read(ports, {.stream = "s", .after = *known, .wait = true}); });
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->last, 0u);
  EXPECT_EQ(again([&] { return Append(ports, {"s", "step", 5, 3, {"d"}}); }).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_GT(again([&] { return Append(ports, {"s", "step", 6, 0, {"a"}}); }).value(), *known);
}

TEST_F(RedisBesideTest, ManyStreamsAreFollowedOneAfterTheOther) {
  Ports ports = Open();
  constexpr int kStreams = 2'500;  // more than are listened to for nobody
  for (int i = 0; i < kStreams; ++i) {
    const std::string stream = std::to_string(i);
    const auto heard = runtime_.NewOneShot();
    ports.streams->Read({.stream = stream, .wait = true}, [heard](const StatusOr<FramePage>& page) {
      EXPECT_TRUE(page.ok()) << page.status();
      heard->Set();
    });
    ports.streams->Append({stream, "", 1, 0, {"x"}}, [](const auto&) {});
    ASSERT_TRUE(heard->Wait(std::chrono::minutes(1)));
  }
  const auto context = server_.Connect();
  auto* reply = static_cast<redisReply*>(redisCommand(context.get(), "PUBSUB CHANNELS"));
  EXPECT_LT(reply->elements, 2'100u);
  freeReplyObject(reply);
}

// By the server's own clock, whose time the permits tell.
TEST_F(RedisBesideTest, ProcessesAreUnderOneLimit) {
  constexpr int kTakes = 50;
  Ports ports[] = {Open(), Open(), Open()};
  const Time begin = ports[0].store->Now();
  std::mutex mutex;
  std::vector<Time> given;
  std::vector<std::thread> threads;
  for (Ports& one : ports) {
    threads.emplace_back([&] {
      for (int i = 0; i < kTakes; ++i) {
        const auto permit = Acquire(one, {"requests", 1, 600, 10});
        ASSERT_TRUE(permit.ok()) << permit.status();
        const std::lock_guard lock(mutex);
        given.push_back(permit->at);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(given.size(), 3u * kTakes);
  std::sort(given.begin(), given.end());
  for (size_t i = 0; i < given.size(); ++i) {
    const double seconds = std::chrono::duration<double>(given[i] - begin).count();
    EXPECT_LE(static_cast<double>(i + 1), 10 + (seconds + 0.1) * 10) << "our idea of its time may be a little late";
  }
  Settle(ports[0], {.key = "k", .pause = std::chrono::minutes(5)});
  const auto held = Acquire(ports[1], {"other", 1});
  ASSERT_TRUE(held.ok()) << held.status();
  EXPECT_THAT(held->wait.count(), AllOf(Gt(290'000), Le(300'000)));
}

TEST_F(RedisBesideTest, TheServerForgetsALimitThatSaysNothing) {
  Ports ports = Open();
  ASSERT_TRUE(Acquire(ports, {"requests", 1'000'000}).ok());
  EXPECT_EQ(Command("EXISTS marathon:{default:0}:l:k"), 0) << "nobody limits it";
  ASSERT_TRUE(Acquire(ports, {"requests", 100, 60, 10}).ok());
  const int64_t keep = limits::kLimitKeep.count();
  EXPECT_THAT(TimeToLive("l:k"), AllOf(Gt(keep + 90'000), Le(keep + 100'000)));
  Settle(ports, {.key = "k", .unused = {{"requests", 100}}});
  EXPECT_THAT(TimeToLive("l:k"), AllOf(Gt(keep - 10'000), Le(keep)));
  Settle(ports, {.key = "k", .pause = std::chrono::hours(5)});
  EXPECT_THAT(TimeToLive("l:k"), AllOf(Gt(keep + 5 * 3'590'000), Le(keep + 5 * 3'600'000)));
}

}  // namespace
}  // namespace marathon::redis_beside_test
