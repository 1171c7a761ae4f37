// A redis-server of a test's own: on a socket in a folder that goes with it, and on a port where it is
// given one. It ends with the test, however that ends.
//
// One thread at a time. A server that does not come up is a std::runtime_error.
#pragma once

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace marathon::tests {

class RedisServer {
 public:
  // `settings`: as on its command line, over those here.
  explicit RedisServer(std::vector<std::string> settings = {}) : settings_(std::move(settings)) {
    std::string folder = "/tmp/marathon-redis-XXXXXX";
    folder_ = mkdtemp(folder.data());
    socket_ = folder_ + "/socket";
    Start();
  }
  ~RedisServer() {
    Kill();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  const std::string& socket() const { return socket_; }
  const std::string& folder() const { return folder_; }

  void Kill() {
    if (pid_ == 0) return;
    for (pid_t* const process : {&guard_, &pid_}) {
      kill(*process, SIGKILL);
      waitpid(std::exchange(*process, 0), nullptr, 0);
    }
    close(alive_);
    close(log_);
  }
  // After Kill: over the same folder.
  void Start() {
    std::vector<std::string> words = {"redis-server", "--port", "0", "--unixsocket", socket_,
                                      "--dir", folder_, "--save", "", "--appendonly", "no"};
    words.insert(words.end(), settings_.begin(), settings_.end());
    int log[2], alive[2];
    if (pipe2(log, O_CLOEXEC) != 0 || pipe2(alive, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    log_ = log[0];
    alive_ = alive[1];
    pid_ = Spawn(std::move(words), log[1], 1);
    // Waits for the end of this process, which nothing tells the server. Linux could (PR_SET_PDEATHSIG), but means
    // the thread that has started it.
    guard_ = Spawn({"sh", "-c", "read -r line; kill -KILL \"$0\"", std::to_string(pid_)}, alive[0], 0);
    close(log[1]);
    close(alive[0]);
    WaitUntilReady();
  }
  // Null if it did not come up.
  std::unique_ptr<redisContext, void (*)(redisContext*)> Connect() {
    std::unique_ptr<redisContext, void (*)(redisContext*)> context(
        redisConnectUnix(socket_.c_str()), redisFree);
    if (context == nullptr || context->err != 0) context.reset();
    return context;
  }

 private:
  // With `file` as its file `number`.
  static pid_t Spawn(std::vector<std::string> words, int file, int number) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, file, number);
    pid_t pid = 0;
    const int error = posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) throw std::runtime_error(words[0] + " is not installed: cmake/setup.sh");
    return pid;
  }
  // It says so in its log, which ends when it does.
  void WaitUntilReady() {
    std::string text;
    char bytes[4096];
    while (text.find("eady to accept connections") == text.npos) {
      const ssize_t count = read(log_, bytes, sizeof bytes);
      if (count <= 0) throw std::runtime_error("redis-server did not come up: " + text);
      text.append(bytes, static_cast<size_t>(count));
    }
  }

  const std::vector<std::string> settings_;
  std::string folder_;
  std::string socket_;
  int log_ = -1, alive_ = -1;
  pid_t pid_ = 0, guard_ = 0;
};

}  // namespace marathon::tests
