// Blobs, streams and limits under several threads at once, in memory and in SQLite: each frame is there once, in its
// writer's order, every reader hears all of them, and nobody gets more than flows.
// needs: sqlite
// program: stores
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::beside_test {
namespace {

constexpr int kWriters = 4;
constexpr int kReaders = 4;
constexpr int kFrames = 100;  // of each writer

class BesideThreadsTest : public ::testing::TestWithParam<const char*> {
 protected:
  BesideThreadsTest() {
    if (std::string(GetParam()) == "Memory") {
      ports_ = NewMemoryPorts(runtime_);
      return;
    }
    std::string name = access("/dev/shm", W_OK) == 0 ? "/dev/shm/marathon-XXXXXX" : "/tmp/marathon-XXXXXX";
    folder_ = mkdtemp(name.data());
    auto opened = SqliteBackend().open(*ParseBackendUrl("sqlite:" + folder_ + "/app.db"), runtime_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) ports_ = *std::move(opened);
  }
  ~BesideThreadsTest() override {
    ports_ = Ports();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
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
    if (!answered->Wait(std::chrono::minutes(2))) return DeadlineExceeded("no answer");
    return *std::move(answer);
  }
  static void InThreads(int count, const std::function<void(int)>& body) {
    std::vector<std::thread> threads;
    for (int t = 0; t < count; ++t) threads.emplace_back(body, t);
    for (std::thread& thread : threads) thread.join();
  }
  void Write(int writer) {
    for (int i = 0; i < kFrames; ++i) {
      const auto last = Wait<uint64_t>([&](auto done) {
        const std::string step = std::to_string(writer);
        ports_.streams->Append({"s", step, 1, static_cast<uint64_t>(i), {step + ":" + std::to_string(i)}},
                               std::move(done));
      });
      ASSERT_TRUE(last.ok()) << last.status();
    }
  }
  // What a reader hears that follows the stream to its end.
  std::vector<std::string> Follow() {
    std::vector<std::string> heard;
    uint64_t known = 0;
    while (heard.size() < kWriters * kFrames) {
      const auto page = Wait<FramePage>([&](auto done) {
        ports_.streams->Read({.stream = "s", .after = known, .max = 7, .wait = true}, std::move(done));
      });
      if (!page.ok()) {
        ADD_FAILURE() << page.status();
        break;
      }
      for (const StreamFrame& frame : page->frames) {
        EXPECT_TRUE(known == 0 || frame.seq == known + 1) << frame.seq << " behind " << known;
        known = frame.seq;
        heard.push_back(frame.bytes);
      }
    }
    return heard;
  }

  ThreadRuntime runtime_{2, 2};
  std::string folder_;
  Ports ports_;
};

INSTANTIATE_TEST_SUITE_P(, BesideThreadsTest, ::testing::Values("Memory", "Sqlite"),
                         [](const auto& store) { return std::string(store.param); });

TEST_P(BesideThreadsTest, EveryReaderHearsAllInTheWritersOrder) {
  std::mutex mutex;
  std::vector<std::vector<std::string>> heard;
  InThreads(kWriters + kReaders, [&](int t) {
    if (t < kWriters) return Write(t);
    auto frames = Follow();
    const std::lock_guard lock(mutex);
    heard.push_back(std::move(frames));
  });
  ASSERT_EQ(heard.size(), static_cast<size_t>(kReaders));
  for (const auto& frames : heard) EXPECT_EQ(frames, heard[0]);
  std::vector<int> next(kWriters);
  for (const std::string& frame : heard[0]) {
    const size_t writer = static_cast<size_t>(std::stoi(frame));
    EXPECT_EQ(frame, std::to_string(writer) + ":" + std::to_string(next[writer]++));
  }
}

// Each reader is told, or not, and its callback is destroyed.
TEST_P(BesideThreadsTest, ReadsAreCanceledWhileFramesCome) {
  std::atomic<int> told{0}, gone{0};
  const auto all_gone = runtime_.NewOneShot();
  const auto count = [&gone, all_gone](void*) {
    if (++gone == kReaders * kFrames) all_gone->Set();
  };
  InThreads(kWriters + kReaders, [&](int t) {
    if (t < kWriters) return Write(t);
    for (int i = 0; i < kFrames; ++i) {
      const std::shared_ptr<void> token(&told, count);
      const uint64_t name = ports_.streams->Read({.stream = "s", .after = static_cast<uint64_t>(i), .wait = true},
                                                 [&told, token](const StatusOr<FramePage>&) { ++told; });
      ports_.streams->CancelRead(name);
    }
  });
  EXPECT_TRUE(all_gone->Wait(std::chrono::minutes(2)));
  EXPECT_LE(told, kReaders * kFrames);
}

TEST_P(BesideThreadsTest, AllPutAndGetTheSameBlobs) {
  InThreads(kWriters, [&](int) {
    for (int i = 0; i < 50; ++i) {
      const std::string bytes = std::to_string(i);
      const auto refs =
          Wait<std::vector<BlobRef>>([&](auto done) { ports_.blobs->Put({bytes, "all"}, std::move(done)); });
      ASSERT_TRUE(refs.ok()) << refs.status();
      const auto got =
          Wait<std::vector<std::string>>([&](auto done) { ports_.blobs->Get(*refs, std::move(done)); });
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(*got, (std::vector<std::string>{bytes, "all"}));
    }
  });
}

TEST_P(BesideThreadsTest, AllTakeFromOneBucketAndNoneTwice) {
  constexpr int kTakes = 50;  // of each thread
  const Time begin = runtime_.Now();
  std::mutex mutex;
  std::vector<Time> given;
  InThreads(kWriters, [&](int) {
    for (int i = 0; i < kTakes; ++i) {
      const auto permit = Wait<Permit>([&](auto done) {
        ports_.limiter->Acquire({.key = "k", .units = {{"requests", 1, 600, 10}}}, std::move(done));
      });
      ASSERT_TRUE(permit.ok()) << permit.status();
      const std::lock_guard lock(mutex);
      given.push_back(permit->at);
    }
  });
  ASSERT_EQ(given.size(), static_cast<size_t>(kWriters * kTakes));
  std::sort(given.begin(), given.end());
  for (size_t i = 0; i < given.size(); ++i) {
    const double seconds = std::chrono::duration<double>(given[i] - begin).count();
    EXPECT_LE(static_cast<double>(i + 1), 10 + seconds * 10 + 1e-6);
  }
}

}  // namespace
}  // namespace marathon::beside_test
