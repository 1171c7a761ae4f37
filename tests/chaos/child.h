// A process of a chaos run, which its supervisor starts again whenever it has ended. It ends with
// the supervisor, whatever becomes of that.
//
// One thread at a time: PR_SET_PDEATHSIG goes by the thread that forked.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace marathon::chaos {

class Child {
 public:
  // `command`: its words, by how often it was started before.
  Child(std::string name, std::string folder,
        std::function<std::vector<std::string>(int starts)> command)
      : name_(std::move(name)), folder_(std::move(folder)), command_(std::move(command)) {}

  const std::string& name() const { return name_; }
  bool running() const { return pid_ != 0; }
  bool paused() const { return resume_at_ != 0; }
  bool ending() const { return ending_since_ != 0; }
  int64_t ending_since() const { return ending_since_; }
  // Running, and nothing has been done to it.
  bool whole() const { return running() && !paused() && !ending() && !killed_; }

  void Start();
  void Kill();
  void PauseUntil(int64_t micros);
  void Terminate(int64_t now);  // SIGTERM
  void Resume();
  void ResumeIfDue(int64_t now);

  // Starts it again at `micros`; 0: never.
  void RestartAt(int64_t micros) { start_at_ = micros; }
  void StartIfDue(int64_t now);

  // Looks whether it has ended. Then: whether that was what it was told, and how, in words.
  struct End {
    bool expected = true;
    std::string how;
    int status = 0;
  };
  bool Reap(End* end);

 private:
  void Send(int signal) const;

  const std::string name_, folder_;
  const std::function<std::vector<std::string>(int)> command_;
  int starts_ = 0;
  pid_t pid_ = 0;
  bool killed_ = false;
  int64_t start_at_ = 0, resume_at_ = 0, ending_since_ = 0;
};

}  // namespace marathon::chaos
