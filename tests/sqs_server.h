// An SQS of a test's own: tests/sqs_server.py, in a Python environment of the build's, which checks the
// signature of every call.
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
#include <string_view>
#include <vector>

namespace marathon::tests {

class SqsServer {
 public:
  // The keys and the place that it knows.
  static constexpr const char* kKeyId = "AKIDMARATHON";
  static constexpr const char* kSecret = "marathon/secret+for=tests";
  static constexpr const char* kRegion = "eu-west-1";
  static constexpr const char* kAccount = "123456789012";

  SqsServer() {
    int log[2], input[2];
    if (pipe2(log, O_CLOEXEC) != 0 || pipe2(input, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input[0], 0);
    posix_spawn_file_actions_adddup2(&files, log[1], 1);
    // Installs what it needs the first time; one process at a time.
    std::vector<std::string> words = {"bash", "tests/sqs_server.sh"};  // tests run in the root
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
    WaitUntilReady();
  }
  ~SqsServer() {
    close(input_);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(log_);
  }
  SqsServer(const SqsServer&) = delete;
  SqsServer& operator=(const SqsServer&) = delete;

  std::string endpoint() const { return "http://127.0.0.1:" + port_; }

  // The URL of a queue, as the value of a store's `queue` parameter.
  std::string Parameter(std::string_view prefix) const { return ParameterAt(port_, prefix); }
  static std::string ParameterAt(std::string_view port, std::string_view prefix) {
    std::string value = std::string("sqs%3A%2F%2F") + kRegion + "%2F" + kAccount + "%2F";
    value += prefix;
    value += "%3Fcreate%3Dtrue%26endpoint%3Dhttp%253A%252F%252F127.0.0.1%253A";
    value += port;
    return value;
  }

 private:
  void WaitUntilReady() {
    std::string text;
    char bytes[4096];
    while (text.find('\n') == text.npos || text.find("ready ") == text.npos) {
      const ssize_t count = read(log_, bytes, sizeof bytes);
      if (count <= 0) throw std::runtime_error("the SQS server did not come up: " + text);
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
