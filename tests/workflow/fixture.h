// What the workflow tests share: every test runs over each store, once with live coroutines kept between
// turns and once with none, and always with each turn replayed and compared.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/local_hub.h"
#include "marathon/store/open_ports.h"
#include "../sanitized.h"
#ifdef MARATHON_HAS_SQLITE
#include "marathon/adapters/sqlite.h"
#endif
#ifdef MARATHON_HAS_SQS
#include "../sqs_server.h"
#include "marathon/adapters/sqs.h"
#endif
#ifdef MARATHON_HAS_REDIS
#include "../redis_cluster.h"
#include "../redis_server.h"
#include "marathon/adapters/redis.h"
#endif

namespace marathon::tests {

using namespace std::chrono_literals;

// How long a test waits for what must come; only a broken engine makes it wait so long.
inline constexpr Duration kPatience = 120s;

// Retries at once, a few times.
inline constexpr RetryPolicy kThreeTries{
    .initial_interval = 1ms, .maximum_attempts = 3, .jitter = 0};
inline constexpr RetryPolicy kOneTry{.maximum_attempts = 1};

// Asks until the answer is yes: for what nobody announces.
template <class Predicate>
bool Eventually(Predicate&& predicate) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// Blocks an activity until it is told to stop.
inline void WaitForStop(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, stop, [] { return false; });
}

// A value that one thread hands to another.
template <class T>
class Mailbox {
 public:
  void Put(T value) {
    std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    changed_.notify_all();
  }
  // The first value ever put; a default one if none comes.
  T Get() {
    std::unique_lock lock(mutex_);
    return WaitForOne(lock) ? values_.front() : T();
  }
  // The same, and removes it.
  T Take() {
    std::unique_lock lock(mutex_);
    if (!WaitForOne(lock)) return T();
    T value = std::move(values_.front());
    values_.erase(values_.begin());
    return value;
  }
  size_t size() {
    std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  bool WaitForOne(std::unique_lock<std::mutex>& lock) {
    const bool came = changed_.wait_for(lock, kPatience, [&] { return !values_.empty(); });
    EXPECT_TRUE(came) << "nothing came";
    return came;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<T> values_;
};

// Keeps what is logged.
class CollectingLog : public LogSink {
 public:
  void Log(LogLevel, std::string_view message) override {
    std::lock_guard lock(mutex_);
    lines_.emplace_back(message);
    changed_.notify_all();
  }
  int Count(std::string_view text) {
    std::lock_guard lock(mutex_);
    return CountLocked(text);
  }
  bool WaitFor(std::string_view text) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return CountLocked(text) > 0; });
  }

 private:
  int CountLocked(std::string_view text) const {
    int count = 0;
    for (const std::string& line : lines_) count += line.find(text) != line.npos ? 1 : 0;
    return count;
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

// The threads of production, and its clock turned: what is due in a store that was kept must not depend on the
// date of the test, and what is due in an hour should not take one.
class TurnedRuntime final : public Runtime {
 public:
  TurnedRuntime(int turn_threads, int activity_threads) : threads_(turn_threads, activity_threads) {}
  explicit TurnedRuntime(Time now) : TurnedRuntime(2, 4) { by_ = now - threads_.Now(); }
  ~TurnedRuntime() override { Stop(); }
  void Stop() { threads_.Stop(); }

  // Alarms that are set already do not ring the sooner.
  void Turn(Duration by) { by_ = by_.load() + by; }

  Time Now() const override { return threads_.Now() + by_.load(); }
  int64_t MonotonicMicros() const override { return threads_.MonotonicMicros(); }
  uint64_t Random() override { return threads_.Random(); }
  void Post(Lane lane, Callback<void()> work) override { threads_.Post(lane, std::move(work)); }
  void PostWhenIdle(Callback<void()> work) override { threads_.PostWhenIdle(std::move(work)); }
  AlarmId SetAlarm(Duration delay, Callback<void()> work) override {
    return threads_.SetAlarm(delay, std::move(work));
  }
  void CancelAlarm(AlarmId alarm) override { threads_.CancelAlarm(alarm); }
  std::shared_ptr<OneShot> NewOneShot() override { return threads_.NewOneShot(); }

 private:
  ThreadRuntime threads_;
  std::atomic<Time::duration> by_{Time::duration(0)};
};

enum class StoreKind { kMemory, kSplitMemory, kSqlite, kRedis, kRedisCluster, kSqliteSqs, kRedisSqs };

inline const char* NameOf(StoreKind kind) {
  switch (kind) {
    case StoreKind::kMemory: return "Memory";
    case StoreKind::kSplitMemory: return "SplitMemory";  // and a queue of another domain
    case StoreKind::kSqlite: return "Sqlite";
    case StoreKind::kRedis: return "Redis";
    case StoreKind::kRedisCluster: return "RedisCluster";
    case StoreKind::kSqliteSqs: return "SqliteSqs";
    case StoreKind::kRedisSqs: return "RedisSqs";
  }
  return "";
}

inline bool IsOverSqs(StoreKind kind) { return kind == StoreKind::kSqliteSqs || kind == StoreKind::kRedisSqs; }

struct Setup {
  StoreKind store = StoreKind::kMemory;
  size_t cache_runs = 0;
};

inline std::string SetupName(const ::testing::TestParamInfo<Setup>& info) {
  return NameOf(info.param.store) + std::string(info.param.cache_runs == 0 ? "NoCache" : "Cached");
}

inline std::vector<Setup> AllSetups() {
  std::vector<StoreKind> stores = {StoreKind::kMemory, StoreKind::kSplitMemory};
#ifdef MARATHON_HAS_SQLITE
  stores.push_back(StoreKind::kSqlite);
#endif
#ifdef MARATHON_HAS_REDIS
  stores.push_back(StoreKind::kRedis);
#endif
  std::vector<Setup> setups;
  for (const StoreKind store : stores) {
    setups.push_back({store, EngineOptions().cache_runs});
    setups.push_back({store, 0});
  }
#if defined(MARATHON_HAS_SQS) && defined(MARATHON_HAS_SQLITE)
  setups.push_back({StoreKind::kSqliteSqs, 0});
#endif
#if defined(MARATHON_HAS_SQS) && defined(MARATHON_HAS_REDIS)
  setups.push_back({StoreKind::kRedisSqs, 0});
#endif
  return setups;
}

template <class Keep>
std::vector<Setup> SetupsWhere(Keep&& keep) {
  std::vector<Setup> setups = AllSetups();
  std::erase_if(setups, [&](const Setup& setup) { return !keep(setup); });
  return setups;
}

// An empty store, of any kind, that engines of one test share.
class TestStore {
 public:
  explicit TestStore(StoreKind kind) {
    switch (kind) {
      case StoreKind::kMemory:
        ports = NewMemoryPorts(runtime_);
        break;
      case StoreKind::kSplitMemory: {
        auto queue = NewLocalTaskQueue(std::make_shared<LocalHub>(), "a queue of another domain");
        const Ports memory = NewMemoryPorts(runtime_);
        auto joined = JoinPorts(memory.store, std::move(queue), runtime_);
        EXPECT_TRUE(joined.ok()) << joined.status();
        ports = *std::move(joined);
        ports.limiter = memory.limiter;
        break;
      }
      case StoreKind::kSqlite:
        Open(NewSqliteUrl());
        break;
      case StoreKind::kSqliteSqs:
#ifdef MARATHON_HAS_SQS
        Open(NewSqliteUrl() + "&queue=" + NewSqsQueue());
#endif
        break;
      case StoreKind::kRedis:
#ifdef MARATHON_HAS_REDIS
        Open(NewRedisUrl());
#endif
        break;
      case StoreKind::kRedisCluster:
#ifdef MARATHON_HAS_REDIS
        static tests::RedisCluster cluster;
        Open(cluster.Url("partitions=4&namespace=" + NextNumber()));
#endif
        break;
      case StoreKind::kRedisSqs:
#if defined(MARATHON_HAS_REDIS) && defined(MARATHON_HAS_SQS)
        Open(NewRedisUrl() + "&queue=" + NewSqsQueue());
#endif
        break;
    }
  }
  ~TestStore() {
    ports = Ports();
    runtime_.Stop();
    if (file_.empty()) return;
    for (const char* suffix : {"", "-wal", "-shm", "-lock"}) {
      std::filesystem::remove(file_.string() + suffix);
    }
  }
  TestStore(const TestStore&) = delete;
  TestStore& operator=(const TestStore&) = delete;

  // Turns the clock of a store that has none of its own.
  void Turn(Duration by) { runtime_.Turn(by); }

  // An engine over this store, as another process would open it.
  StatusOr<Engine> OpenByUrl(Registry registry, EngineOptions options) {
    if (url_.empty()) return Engine::Open(ports, registry, std::move(options));
    for (Backend& backend : Backends()) registry.Use(std::move(backend));
    return Engine::Open(url_, registry, std::move(options));
  }

 private:
  static std::vector<Backend> Backends() {
    std::vector<Backend> backends;
#ifdef MARATHON_HAS_SQLITE
    backends.push_back(SqliteBackend());
#endif
#ifdef MARATHON_HAS_REDIS
    backends.push_back(RedisBackend({.log = nullptr}));
#endif
#ifdef MARATHON_HAS_SQS
    SqsOptions options;
    options.access_key_id = tests::SqsServer::kKeyId;
    options.secret_access_key = tests::SqsServer::kSecret;
    // The server goes on with a poll that is cut off, and what that takes is away for so long.
    options.visibility = options.long_poll = 1s;
    backends.push_back(SqsBackend(options));
#endif
    return backends;
  }
  std::string NewSqliteUrl() {
    file_ = std::filesystem::temp_directory_path() /
            ("marathon_workflow_" + std::to_string(getpid()) + "_" + NextNumber() + ".db");
    return "sqlite:" + file_.string() + "?synchronous=normal";
  }
  // One server for all tests of a program, and a namespace, or queues, for each.
#ifdef MARATHON_HAS_REDIS
  static std::string NewRedisUrl() {
    static tests::RedisServer server;
    return "redis:" + server.socket() + "?namespace=" + NextNumber();
  }
#endif
#ifdef MARATHON_HAS_SQS
  static std::string NewSqsQueue() {
    static tests::SqsServer server;
    return server.Parameter("test" + NextNumber());
  }
#endif
  static std::string NextNumber() {
    static std::atomic<int> count{0};
    return std::to_string(++count);
  }
  void Open(const std::string& url) {
    url_ = url;
    std::vector<std::shared_ptr<const Backend>> backends;
    for (Backend& backend : Backends()) {
      backends.push_back(std::make_shared<const Backend>(std::move(backend)));
    }
    auto opened = OpenPorts(url, backends, runtime_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) ports = *std::move(opened);
  }

  TurnedRuntime runtime_{1, 1};
  std::filesystem::path file_;
  std::string url_;

 public:
  Ports ports;
};

// The result of a run that may not even have started.
template <class Out = void>
auto ResultOf(const StatusOr<Run>& run) -> decltype(run->template Result<Out>()) {
  if (!run.ok()) return run.status();
  return run->template Result<Out>(kPatience);
}

// What a run failed with.
inline Failure FailureOf(const Status& status) {
  auto failure = GetFailure(status);
  EXPECT_TRUE(failure.has_value()) << status;
  return failure.value_or(Failure());
}

// Why a run takes no turns; waits until it is so.
inline BlockInfo WaitUntilBlocked(const Run& run) {
  std::optional<BlockInfo> blocked;
  EXPECT_TRUE(Eventually([&] {
    auto description = run.Describe();
    if (description.ok()) blocked = description->run.blocked;
    return blocked.has_value();
  }));
  return blocked.value_or(BlockInfo());
}

class WorkflowTest : public ::testing::TestWithParam<Setup> {
 protected:
  EngineOptions Options() const {
    EngineOptions options;
    options.cache_runs = GetParam().cache_runs;
    options.turn_threads = 2;
    options.verify_determinism = true;
    options.watchdog = 1min;  // a turn that the machine holds up does not hang
    options.log = log_;
    return options;
  }
  Engine Open(const Registry& registry) { return Open(registry, Options()); }
  Engine Open(const Registry& registry, EngineOptions options) {
    auto engine = Engine::Open(store_.ports, registry, std::move(options));
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }

  // Runs workflow "W" of `registry` to its end in an engine of its own.
  template <class Out = void, class... In>
  auto RunOnce(const Registry& registry, const In&... input) {
    Engine engine = Open(registry);
    return ResultOf<Out>(engine.Start("W", input...));
  }

  // The events of a run's history.
  static std::vector<EventType> Types(const marathon::Run& run) {
    std::vector<EventType> types;
    const auto history = run.History();
    EXPECT_TRUE(history.ok()) << history.status();
    if (history.ok()) {
      for (const Event& event : *history) types.push_back(TypeOf(event.body));
    }
    return types;
  }

  std::shared_ptr<CollectingLog> log_ = std::make_shared<CollectingLog>();
  TestStore store_{GetParam().store};
};

}  // namespace marathon::tests
