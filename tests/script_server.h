// A server of a test's own that a script starts: it prints "ready PORT", and ends when its standard input does.
//
// One thread at a time. A server that does not come up is a std::runtime_error.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace marathon::tests {

class ScriptServer {
 public:
  // Tests run in the root. The script installs what it needs the first time; one process at a time.
  explicit ScriptServer(std::string script) {
    int log[2], input[2];
    if (pipe2(log, O_CLOEXEC) != 0 || pipe2(input, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input[0], 0);
    posix_spawn_file_actions_adddup2(&files, log[1], 1);
    std::vector<std::string> words = {"bash", script};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int error = posix_spawnp(&pid_, "bash", &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    close(log[1]);
    close(input[0]);
    log_ = log[0];
    input_ = input[1];
    if (error != 0) throw std::runtime_error("there is no bash");
    WaitUntilReady(script);
  }
  ~ScriptServer() {
    close(input_);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(log_);
  }
  ScriptServer(const ScriptServer&) = delete;
  ScriptServer& operator=(const ScriptServer&) = delete;

  const std::string& port() const { return port_; }

 private:
  void WaitUntilReady(const std::string& script) {
    std::string text;
    char bytes[4096];
    while (text.find('\n') == text.npos || text.find("ready ") == text.npos) {
      const ssize_t count = read(log_, bytes, sizeof bytes);
      if (count <= 0) throw std::runtime_error(script + " did not come up; its own message is above. " + text);
      text.append(bytes, static_cast<size_t>(count));
    }
    const size_t at = text.find("ready ") + 6;
    port_ = text.substr(at, text.find('\n', at) - at);
  }

  int log_ = -1, input_ = -1;
  pid_t pid_ = 0;
  std::string port_;
};

}  // namespace marathon::tests
