// The SQLite store under several threads at once, on the runtime of production: every call is answered
// once, nothing is lost, and closing waits for what is under way.
// needs: sqlite
// program: stores
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "marathon/adapters/sqlite.h"
#include "marathon/backend.h"
#include "marathon/event_codec.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::sqlite_store_test {
namespace {

constexpr int kThreads = 4;
constexpr int kRuns = 100;  // of each thread

class SqliteThreadsTest : public ::testing::Test {
 protected:
  SqliteThreadsTest() {
    std::string name = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    name += "/marathon-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~SqliteThreadsTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string file() const { return folder_ + "/app.db"; }
  Ports Open() { return Open(file()); }
  Ports Open(const std::string& path) {
    auto ports = SqliteBackend().open(*ParseBackendUrl("sqlite:" + path), runtime_);
    EXPECT_TRUE(ports.ok()) << ports.status();
    return ports.ok() ? *std::move(ports) : Ports();
  }
  static RunKey Key(int thread, int i) {
    const std::string name = std::to_string(thread) + "-" + std::to_string(i);
    return {"w" + name, "r" + name};
  }
  static StartRequest StartOf(const RunKey& run) {
    StartRequest request;
    request.run = run;
    request.workflow_type = "Type";
    request.task_queue = "queue";
    request.messages.push_back({.body = WorkflowStarted{.workflow_type = "Type"}});
    return request;
  }
  static TurnCommit Closing(const RunKey& run) {
    TurnCommit commit;
    commit.run = run;
    commit.commit_id = 7;
    commit.new_version = 1;
    commit.record = EncodeRecord(7, {{1, WorkflowTerminated{"done"}}});
    commit.close = RunStatus::kTerminated;
    return commit;
  }

  std::string folder_;
  ThreadRuntime runtime_{2, 2};
};

TEST_F(SqliteThreadsTest, EveryCallIsAnsweredOnce) {
  {
    Ports ports = Open();
    std::atomic<int> answered{0}, failed{0};
    const auto all = runtime_.NewOneShot();
    const auto check = [&, all](bool ok) {
      failed += !ok;
      if (++answered == 3 * kThreads * kRuns) all->Set();
    };
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        StateStore& store = *ports.store;
        for (int i = 0; i < kRuns; ++i) {
          const RunKey run = Key(t, i);
          store.Start(StartOf(run), [&, check, run](const auto& reply) {
            store.AwaitClose(run, [check](const auto& end) {
              check(end.ok() && end->row.status == RunStatus::kTerminated);
            });
            store.Commit(Closing(run), [check](const auto& closed) { check(closed.ok()); });
            check(reply.ok());
          });
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(all->Wait(std::chrono::minutes(2)));
    EXPECT_EQ(failed, 0);
  }
  EXPECT_EQ(CheckSqliteFile(file()), Status());
}

// Whoever lets go of the ports last, a thread that is committing perhaps, does what is queued.
TEST_F(SqliteThreadsTest, AllThatIsUnderWayIsAnswered) {
  std::atomic<int> answered{0}, started{0};
  const auto all = runtime_.NewOneShot();
  {
    Ports ports = Open();
    for (int i = 0; i < kRuns; ++i) {
      ports.store->Start(StartOf(Key(0, i)), [&, all](const auto& reply) {
        started += reply.ok();
        if (++answered == kRuns) all->Set();
      });
    }
  }
  ASSERT_TRUE(all->Wait(std::chrono::minutes(2)));
  Ports ports = Open();
  std::atomic<int> found{0};
  const auto listed = runtime_.NewOneShot();
  ports.store->List({.limit = 10 * kRuns}, [&found, listed](const auto& reply) {
    if (reply.ok()) found = static_cast<int>(reply->runs.size());
    listed->Set();
  });
  ASSERT_TRUE(listed->Wait(std::chrono::minutes(2)));
  EXPECT_EQ(found, started);
}

// Two stores on one file, as two processes would be: both write all the time, and each awaits what the
// other closes.
TEST_F(SqliteThreadsTest, TwoStoresShareAFile) {
  Ports one = Open(), two = Open();
  std::atomic<int> answered{0}, failed{0};
  const auto all = runtime_.NewOneShot();
  const auto check = [&, all](bool ok) {
    failed += !ok;
    if (++answered == 3 * kRuns) all->Set();
  };
  for (int i = 0; i < kRuns; ++i) {
    const bool even = i % 2 == 0;
    StateStore* starter = (even ? one : two).store.get();
    StateStore* closer = (even ? two : one).store.get();
    const RunKey run = Key(0, i);
    starter->Start(StartOf(run), [check, starter, closer, run](const auto& reply) {
      starter->AwaitClose(run, [check](const auto& end) { check(end.ok()); });
      closer->Commit(Closing(run), [check](const auto& closed) { check(closed.ok()); });
      check(reply.ok());
    });
  }
  EXPECT_TRUE(all->Wait(std::chrono::minutes(2)));
  EXPECT_EQ(failed, 0);
}

// Processes that start together find the file in every state of being made; none takes it for somebody else's.
TEST_F(SqliteThreadsTest, ManyMayMakeTheFileTogether) {
  constexpr int kFiles = 100;
  std::barrier together(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kFiles; ++i) {
        together.arrive_and_wait();
        EXPECT_NE(Open(file() + std::to_string(i)).store, nullptr);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace marathon::sqlite_store_test
