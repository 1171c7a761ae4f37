// A redis-server of a test's own: on a free port of the loopback, in a folder that goes with it.
//
// One thread at a time.
#pragma once

#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace marathon::tests {

class RedisServer {
 public:
  RedisServer() {
    std::string folder = "/tmp/marathon-redis-XXXXXX";
    folder_ = mkdtemp(folder.data());
    socket_ = folder_ + "/socket";
    std::vector<std::string> words = {"redis-server", "--port", "0", "--unixsocket", socket_,
                                      "--dir", folder_, "--save", "", "--appendonly", "no"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, (folder_ + "/log").c_str(), 0x41 /* create, write */,
                                     0600);
    EXPECT_EQ(posix_spawnp(&pid_, "redis-server", &files, nullptr, argv.data(), environ), 0)
        << "redis-server is not installed: cmake/setup.sh";
    posix_spawn_file_actions_destroy(&files);
  }
  ~RedisServer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  // Null if it did not come up.
  std::unique_ptr<redisContext, void (*)(redisContext*)> Connect() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      std::unique_ptr<redisContext, void (*)(redisContext*)> context(
          redisConnectUnix(socket_.c_str()), redisFree);
      if (context != nullptr && context->err == 0) return context;
      if (std::chrono::steady_clock::now() > deadline) return {nullptr, redisFree};
    }
  }

 private:
  std::string folder_;
  std::string socket_;
  pid_t pid_ = 0;
};

}  // namespace marathon::tests
