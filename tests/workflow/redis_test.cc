// needs: redis
// program: histories
// What is Redis's own: who is let in and who is refused, and servers that restart, forget their scripts or go back in time.
// tests/workflow/redis_cluster_test.cc has clusters.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <future>

#include "../answers.h"
#include "../redis_cluster.h"
#include "marathon/event_codec.h"
#include "redis_steps.h"

namespace marathon::tests::redis_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// ---- Who is let in

TEST(RedisDoorTest, AUserWithOnlyTheRightsOfTheManualIsEnough) {
  const std::string place = "127.0.0.1:" + std::to_string(FreePort());
  RedisServer server({"--port", place.substr(place.find(':') + 1)});
  ASSERT_EQ(
      Ask(server,
          "ACL SETUSER wf on >sesame ~marathon:* &marathon:* -@all +@read +@write +@transaction "
          "+@connection +@pubsub +eval +evalsha +script|load +time -@dangerous -keys +info"),
      "OK");
  WalkThrough("redis://wf:sesame@" + place);
  const auto refused = OpenAt("redis://wf:guess@" + place);
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), Not(HasSubstr("guess")));
}

TEST(RedisDoorTest, AUserWhoMayNotDoAllIsRefusedAtTheDoor) {
  const std::string place = "127.0.0.1:" + std::to_string(FreePort());
  RedisServer server({"--port", place.substr(place.find(':') + 1)});
  ASSERT_EQ(Ask(server, "ACL SETUSER wf on >sesame ~* &* +@all -xtrim"), "OK");
  const auto engine = OpenAt("redis://wf:sesame@" + place);
  EXPECT_EQ(engine.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("XTRIM"));
}

// What INFO tells is not known then, so nobody is refused for it.
TEST(RedisDoorTest, AUserWhoMayNotAskInfoIsLetIn) {
  const std::string place = "127.0.0.1:" + std::to_string(FreePort());
  RedisServer server({"--port", place.substr(place.find(':') + 1)});
  ASSERT_EQ(Ask(server, "ACL SETUSER wf on >sesame ~* &* +@all -info"), "OK");
  WalkThrough("redis://wf:sesame@" + place);
}

TEST(RedisDoorTest, AServerThatMayEvictIsRefused) {
  RedisServer server({"--maxmemory-policy", "allkeys-lru"});
  const auto engine = OpenAt("redis:" + server.socket());
  EXPECT_EQ(engine.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("noeviction"));
}

TEST(RedisDoorTest, SettingsThatCanLoseWritesAreNamed) {
  const auto warnings = [](std::vector<std::string> settings) {
    RedisServer server(std::move(settings));
    auto log = std::make_shared<CollectingLog>();
    ThreadRuntime runtime{1, 1};
    auto ports =
        RedisBackend({.log = log}).open(*ParseBackendUrl("redis:" + server.socket()), runtime);
    EXPECT_TRUE(ports.ok()) << ports.status();
    return std::pair(log->Count("append-only file"), log->Count("appendfsync"));
  };
  EXPECT_EQ(warnings({}), std::pair(1, 1));
  EXPECT_EQ(warnings({"--appendonly", "yes", "--appendfsync", "everysec"}), std::pair(0, 1));
  EXPECT_EQ(warnings({"--appendonly", "yes", "--appendfsync", "always"}), std::pair(0, 0));
}

TEST(RedisDoorTest, NobodyThereIsSaidWithTheAddress) {
  const std::string place = "127.0.0.1:" + std::to_string(FreePort());
  const auto engine = OpenAt("redis://user:secret@" + place);
  EXPECT_EQ(engine.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr(place));
  EXPECT_THAT(std::string(engine.status().message()), Not(HasSubstr("secret")));
}

// Two servers with certificates for localhost, each of which only its own file vouches for.
class RedisTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    for (const char* name : {"good", "other"}) {
      const std::string file = folder_ + "/" + name;
      const std::string command =
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
          "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout " +
          file + ".key -out " + file + ".pem 2>/dev/null";
      ASSERT_EQ(std::system(command.c_str()), 0) << "openssl is not installed: cmake/setup.sh";
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::vector<std::string> Settings(const std::string& auth_clients) const {
    return {"--tls-port", port_, "--bind", "127.0.0.1", "--tls-cert-file", File("good.pem"), "--tls-key-file",
            File("good.key"), "--tls-ca-cert-file", File("good.pem"), "--tls-auth-clients", auth_clients};
  }
  std::string File(const std::string& name) const { return folder_ + "/" + name; }
  std::string Url(const std::string& ca, const std::string& more = "") const {
    return "rediss://localhost:" + port_ + "?ca=" + File(ca) + more;
  }
  // What trying again does not change, and says so.
  void ExpectRefused(const std::string& url, const std::string& why) {
    const Status status = OpenAt(url).status();
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
  }

  std::string folder_ = "/tmp/marathon-tls-XXXXXX";
  const std::string port_ = std::to_string(FreePort());
};

TEST_F(RedisTlsTest, TheServerIsVerified) {
  RedisServer server(Settings("no"));
  WalkThrough(Url("good.pem"));
  ExpectRefused(Url("other.pem"), "certificate");
  ExpectRefused("rediss://127.0.0.1:" + port_ + "?ca=" + File("good.pem"), "certificate");  // it is for another name
  ExpectRefused(Url("none.pem"), "none.pem");
}

// As Redis is set up where nothing is said of it.
TEST_F(RedisTlsTest, AServerThatWantsACertificateGetsOne) {
  RedisServer server(Settings("yes"));
  const auto with = [&](const std::string& cert, const std::string& key) {
    return Url("good.pem", "&cert=" + File(cert) + "&key=" + File(key));
  };
  WalkThrough(with("good.pem", "good.key"));
  ExpectRefused(Url("good.pem"), "cert=FILE");
  ExpectRefused(with("other.pem", "other.key"), "cert=FILE");
  ExpectRefused(with("none.pem", "good.key"), "none.pem");
  ExpectRefused(with("good.pem", "other.key"), "other.key");
  EXPECT_EQ(OpenAt(Url("good.pem", "&cert=" + File("good.pem"))).status().code(), StatusCode::kInvalidArgument);
}

// ---- What a server forgets

TEST(RedisServerTest, AScriptThatWasFlushedIsSentAgain) {
  RedisServer server;
  auto engine = OpenAt("redis:" + server.socket());
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Steps", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  WalkThrough(*run, [&](int) { EXPECT_EQ(Ask(server, "SCRIPT FLUSH"), "OK"); });
}

TEST(RedisServerTest, AServerThatIsKilledAndComesBackIsGoneOnWith) {
  RedisServer server({"--appendonly", "yes", "--appendfsync", "always"});
  auto engine = OpenAt("redis:" + server.socket());
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Steps", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  WalkThrough(*run, [&](int i) {
    if (i % 2 == 0) return;
    server.Kill();
    server.Start();
  });
}

// What it has can be read, and nothing is lost; what was refused is done when there is room.
TEST(RedisServerTest, AServerWithoutMemoryRefusesWritesAndServesReads) {
  RedisServer server;
  auto engine = OpenAt("redis:" + server.socket());
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Steps", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  WalkThrough(*run, [&](int i) {
    if (i != 1) return;
    ASSERT_TRUE(Eventually([&] { return run->History()->size() >= 3; }));
    ASSERT_EQ(Ask(server, "CONFIG SET maxmemory 1"), "OK");
    const auto started = engine->Start("Steps", 1);
    EXPECT_EQ(started.status().code(), StatusCode::kResourceExhausted) << started.status();
    for (int reads = 0; reads < 50; ++reads) {
      const auto history = run->History();
      ASSERT_TRUE(history.ok()) << history.status();
      EXPECT_GE(history->size(), 3u);
    }
    ASSERT_EQ(Ask(server, "CONFIG SET maxmemory 0"), "OK");
  });
}

TEST(RedisServerTest, AMasterThatWasMadeAReplicaIsWaitedForUntilItIsOneAgain) {
  RedisServer server;
  auto engine = OpenAt("redis:" + server.socket());
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Steps", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  WalkThrough(*run, [&](int i) {
    if (i != 1) return;
    ASSERT_EQ(Ask(server, "REPLICAOF 127.0.0.1 1"), "OK");
    const Status refused = run->Signal("go", 1, {.request_id = "2"});
    EXPECT_EQ(refused.code(), StatusCode::kUnavailable) << refused;
    ASSERT_EQ(Ask(server, "REPLICAOF NO ONE"), "OK");
  });
}

// Nobody tells it, so it looks by itself.
TEST(RedisServerTest, AnEndIsFoundByWhoMayNotHearOfItAnyMore) {
  const std::string place = "127.0.0.1:" + std::to_string(FreePort());
  RedisServer server({"--port", place.substr(place.find(':') + 1)});
  ASSERT_EQ(Ask(server, "ACL SETUSER wf on >sesame ~* &* +@all"), "OK");
  Registry client;
  client.Use(RedisBackend({.log = nullptr}));
  auto deaf = Engine::Open("redis://wf:sesame@" + place, client, {.log = std::make_shared<CollectingLog>()});
  ASSERT_TRUE(deaf.ok()) << deaf.status();
  auto worker = OpenAt("redis:" + server.socket());
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto run = worker->Start("Steps", 1, {.workflow_id = "w"});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto described = run->Describe();
  ASSERT_TRUE(described.ok()) << described.status();
  const std::string await = "HGET marathon:{default:0}:r:1:w" + described->run.key.run_id + " w";
  const std::string of_starter = Ask(server, await.c_str());
  EXPECT_NE(of_starter, "");
  auto result = std::async(std::launch::async, [&] { return deaf->Find("w").Result<int>(kPatience); });
  ASSERT_TRUE(Eventually([&] { return Ask(server, await.c_str()) != of_starter; }));
  ASSERT_EQ(Ask(server, "ACL SETUSER wf resetchannels"), "OK");  // which ends connections that listen
  WalkThrough(*run, [](int) {});
  const auto found = result.get();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, kStepsFromOne);
}

// What a server is to be made to be again.
class Snapshot {
 public:
  explicit Snapshot(RedisServer& server) : server_(server) {
    EXPECT_EQ(Ask(server, "SAVE"), "OK");
    std::filesystem::rename(dump_, dump_ + ".old");
  }
  void Restore() {
    server_.Kill();
    std::filesystem::rename(dump_ + ".old", dump_);
    server_.Start();
  }

 private:
  RedisServer& server_;
  const std::string dump_ = server_.folder() + "/dump.rdb";
};

// The steps that it has carried out.
int64_t StepsOf(RedisServer& server) {
  const std::string stats = Ask(server, "INFO commandstats");
  const std::string_view name = "cmdstat_evalsha:calls=";
  const size_t at = stats.find(name);
  return at == std::string::npos ? -1 : std::atoll(stats.c_str() + at + name.size());
}

// Ten engines that all watch what is due, one that awaits the end of a run and one that follows it: as long as it sleeps
// nobody asks, and when its timer is due they do not ask much.
void RestWith(RedisServer& server, const std::string& queue) {
  Registry registry = Workflows();
#ifdef MARATHON_HAS_SQS
  SqsOptions keys;
  keys.access_key_id = SqsServer::kKeyId;
  keys.secret_access_key = SqsServer::kSecret;
  registry.Use(SqsBackend(keys));
#endif
  registry.Bind("Nap", [](WorkflowContext& ctx) -> Workflow<int> {
    co_await ctx.Sleep(3s);
    co_return 7;
  });
  std::vector<Engine> engines;
  for (int i = 0; i < 10; ++i) {
    auto engine = Engine::Open("redis:" + server.socket() + "?partitions=1" + queue, registry,
                               {.turn_threads = 1, .activity_threads = 1, .lease = 10min});
    ASSERT_TRUE(engine.ok()) << engine.status();
    engines.push_back(*std::move(engine));
  }
  const auto run = engines[0].Start("Nap");
  ASSERT_TRUE(run.ok()) << run.status();
  EventReader reader = engines[2].Find(run->workflow_id()).Subscribe();
  const auto begin = reader.Next(kPatience);
  ASSERT_TRUE(begin.ok()) << begin.status();
  auto end = std::async(std::launch::async, [&] { return engines[1].Find(run->workflow_id()).Result<int>(kPatience); });
  auto next = std::async(std::launch::async, [&] { return reader.Next(kPatience); });
  const int64_t before = StepsOf(server);
  EXPECT_GT(before, 0);
  EXPECT_EQ(end.get().value_or(0), 7);
  const auto events = next.get();
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ(TypeOf(events->back().body), EventType::kWorkflowCompleted);
  // Eight or so for each of them, most when the timer is due. One that asked every 100 ms would take 30 alone.
  EXPECT_LT(StepsOf(server) - before, 250);
}

TEST(RedisServerTest, AFleetAtRestAsksForLittle) {
  RedisServer server;
  RestWith(server, "");
}

#ifdef MARATHON_HAS_SQS
TEST(RedisServerTest, AFleetAtRestAsksForLittleWithSqs) {
  RedisServer server;
  const SqsServer sqs;
  RestWith(server, "&queue=" + sqs.Parameter("rest"));
}
#endif

// The run that a cache knows is ahead of the one that the server has: the commit ids tell.
TEST(RedisServerTest, AServerThatGoesBackInTimeIsFollowed) {
  RedisServer server;
  auto engine = OpenAt("redis:" + server.socket());
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Steps", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(SignalUntilTaken(*run, "0").ok());
  const auto events = [&] {
    const auto history = run->History();
    return history.ok() ? history->size() : 0;
  };
  const size_t one_step = 7;  // a turn with the start, one with the signal, one with the result
  ASSERT_TRUE(Eventually([&] { return events() == one_step; }));
  Snapshot snapshot(server);
  ASSERT_TRUE(SignalUntilTaken(*run, "1").ok());
  ASSERT_TRUE(Eventually([&] { return events() > one_step; }));
  snapshot.Restore();
  WalkThrough(*run, [](int) {});  // the signals once more: the first is known, the second is not
}

// The server says that this process is at work, which has long ended it.
TEST(RedisServerTest, AnActivityOfWhichTheEndIsLostIsDoneAgain) {
  RedisServer server;
  Mailbox<int> began, go;
  Registry registry = Workflows();
  registry.Bind("Take", [&](ActivityContext& ctx) {
    began.Put(ctx.attempt());
    return go.Take();
  });
  registry.Bind("Once", [](WorkflowContext& ctx) -> Workflow<int> {
    static constexpr ActivityDef<int()> kTake{"Take"};
    co_return co_await ctx.Run(kTake, {.start_to_close_timeout = std::chrono::hours(10)});
  });
  auto engine = Engine::Open("redis:" + server.socket(), registry,
                             {.lease = Duration(600), .log = std::make_shared<CollectingLog>()});
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("Once");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(began.Take(), 1);
  Snapshot snapshot(server);
  go.Put(10);
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 10);
  snapshot.Restore();
  EXPECT_EQ(began.Take(), 1) << "not a retry";
  go.Put(20);
  StatusOr<int> result = 0;
  ASSERT_TRUE(Eventually([&] {  // until the server is back
    result = run->Result<int>(kPatience);
    return result.ok();
  }));
  EXPECT_EQ(*result, 20);
}

// A run that one store starts and another one ends.
class EndElsewhereTest : public ::testing::Test {
 protected:
  EndElsewhereTest() {
    EXPECT_EQ(Ask(server_, "ACL SETUSER starter on >sesame ~* &* +@all"), "OK");
    starter_ = Open("redis://starter:sesame@" + place_ + "?partitions=1");
    other_ = Open("redis:" + server_.socket() + "?partitions=1");
  }
  std::shared_ptr<StateStore> Open(const std::string& url) {
    auto ports = RedisBackend({.log = nullptr}).open(*ParseBackendUrl(url), runtime_);
    EXPECT_TRUE(ports.ok()) << ports.status();
    return ports->store;
  }
  void Start(const RunKey& run) {
    StartRequest start{.run = run, .workflow_type = "w", .request_id = "w"};
    start.messages.push_back({0, "", WorkflowStarted{.workflow_type = "w"}});
    ASSERT_TRUE(Await<StatusOr<StartReply>>([&](auto done) { starter_->Start(start, done); }).ok());
  }
  void End(const RunKey& run) {
    TurnCommit turn;
    turn.run = run;
    turn.commit_id = turn.new_version = 2;
    turn.record = EncodeRecord(turn.commit_id, {{1, TurnStarted{}}, {2, WorkflowCompleted{}}});
    turn.inbox_taken = 1;
    turn.close = RunStatus::kCompleted;
    const auto reply = Await<StatusOr<CommitReply>>([&](auto done) { other_->Commit(turn, done); });
    ASSERT_TRUE(reply.ok()) << reply.status();
  }
  std::future<StatusOr<RunSnapshot>> AwaitEnd(const RunKey& run) {
    auto end = std::make_shared<std::promise<StatusOr<RunSnapshot>>>();
    starter_->Await({.run = run}, [end](StatusOr<RunSnapshot> answer) { end->set_value(std::move(answer)); });
    return end->get_future();
  }
  // What `store` has had to ask of the server, it has asked before this returns.
  StatusOr<RunSnapshot> ReadBy(const std::shared_ptr<StateStore>& store) {
    return Await<StatusOr<RunSnapshot>>([&](auto done) { store->Read({.run = run_}, done); });
  }
  static void ExpectCompleted(std::future<StatusOr<RunSnapshot>> end) {
    ASSERT_EQ(end.wait_for(std::chrono::microseconds(kPatience)), std::future_status::ready);
    const auto snapshot = end.get();
    ASSERT_TRUE(snapshot.ok()) << snapshot.status();
    EXPECT_EQ(snapshot->row.status, RunStatus::kCompleted);
  }

  bool StarterListens() { return Ask(server_, "CLIENT LIST TYPE pubsub").find("user=starter ") != std::string::npos; }

  const RunKey run_{"w", "r"};
  const std::string place_ = "127.0.0.1:" + std::to_string(FreePort());
  RedisServer server_{{"--port", place_.substr(place_.find(':') + 1)}};
  ThreadRuntime runtime_{1, 1};
  std::shared_ptr<StateStore> starter_, other_;
};

TEST_F(EndElsewhereTest, IsToldToTheStarterWithoutAQuestion) {
  Start(run_);
  EXPECT_TRUE(ReadBy(other_).ok());
  const int64_t before = StepsOf(server_);
  auto end = AwaitEnd(run_);
  EXPECT_TRUE(ReadBy(starter_).ok());
  EXPECT_EQ(StepsOf(server_), before + 1) << "more than what is read";
  End(run_);
  ExpectCompleted(std::move(end));
}

TEST_F(EndElsewhereTest, IsThereForWhoAwaitsItLater) {
  Start(run_);
  End(run_);
  ExpectCompleted(AwaitEnd(run_));
  ExpectCompleted(AwaitEnd(run_));
}

TEST_F(EndElsewhereTest, IsFoundThoughTheNewsWasLost) {
  Start(run_);
  ASSERT_EQ(Ask(server_, "ACL SETUSER starter resetchannels"), "OK");  // which ends connections that listen
  ASSERT_FALSE(StarterListens());
  End(run_);
  ASSERT_EQ(Ask(server_, "ACL SETUSER starter allchannels"), "OK");
  ASSERT_TRUE(Eventually([&] { return StarterListens(); }));
  const RunKey next{"v", "r"};  // when it hears of this one's end, it has heard all before
  Start(next);
  auto end = AwaitEnd(next);
  End(next);
  ExpectCompleted(std::move(end));
  ExpectCompleted(AwaitEnd(run_));
}

// What a turn has seen before the connection broke, the server may have lost.
TEST(RedisServerTest, ATurnOfAnotherConnectionIsRefused) {
  RedisServer server;
  ThreadRuntime runtime{1, 1};
  auto ports =
      RedisBackend({.log = nullptr}).open(*ParseBackendUrl("redis:" + server.socket()), runtime);
  ASSERT_TRUE(ports.ok()) << ports.status();
  StateStore& store = *ports->store;
  StartRequest start;
  start.run = {"w", "r"};
  start.workflow_type = start.request_id = "w";
  start.messages.push_back({0, "", WorkflowStarted{.workflow_type = "w"}});
  ASSERT_TRUE(Await<StatusOr<StartReply>>([&](auto done) { store.Start(start, done); }).ok());
  const auto read = [&] {
    return Await<StatusOr<RunSnapshot>>([&](auto done) { store.Read({.run = start.run}, done); });
  };
  const auto commit = [&](uint64_t incarnation) {
    TurnCommit turn;
    turn.run = start.run;
    turn.incarnation = incarnation;
    turn.commit_id = turn.new_version = 1;
    turn.record = EncodeRecord(1, {{1, TurnStarted{}}});
    return Await<StatusOr<CommitReply>>([&](auto done) { store.Commit(turn, done); }).status();
  };
  const auto before = read();
  ASSERT_TRUE(before.ok()) << before.status();
  ASSERT_NE(before->incarnation, 0u);
  Ask(server, "CLIENT KILL TYPE normal");
  StatusOr<RunSnapshot> after = *before;
  ASSERT_TRUE(Eventually([&] {
    after = read();
    return after.ok() && after->incarnation != before->incarnation;
  }));
  EXPECT_EQ(commit(before->incarnation).code(), StatusCode::kAborted);
  EXPECT_TRUE(commit(after->incarnation).ok());
}

}  // namespace
}  // namespace marathon::tests::redis_test
