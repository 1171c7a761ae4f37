#include "child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace marathon::chaos {

void Child::Start() {
  start_at_ = resume_at_ = ending_since_ = 0;
  killed_ = false;
  std::vector<std::string> words = command_(starts_++);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string log = fmt::format("{}/{}.log", folder_, name_);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) {
    std::perror("fork");
    std::abort();
  }
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(out, 1);
  dup2(out, 2);
  const rlimit no_limit{RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_CORE, &no_limit);
  if (chdir(folder_.c_str()) != 0) _exit(127);  // for its core, if it leaves one
  execvp(argv[0], argv.data());
  std::perror(argv[0]);
  _exit(127);
}

void Child::Send(int signal) const {
  if (pid_ != 0) kill(pid_, signal);
}

void Child::Kill() {
  killed_ = true;
  Send(SIGKILL);
}

void Child::PauseUntil(int64_t micros) {
  resume_at_ = micros;
  Send(SIGSTOP);
}

void Child::Resume() {
  resume_at_ = 0;
  Send(SIGCONT);
}

void Child::ResumeIfDue(int64_t now) {
  if (resume_at_ != 0 && now >= resume_at_) Resume();
}

void Child::Terminate(int64_t now) {
  ending_since_ = now;
  Send(SIGTERM);
}

void Child::StartIfDue(int64_t now) {
  if (!running() && start_at_ != 0 && now >= start_at_) Start();
}

bool Child::Reap(End* end) {
  int status = 0;
  if (pid_ == 0 || waitpid(pid_, &status, WNOHANG) != pid_) return false;
  const bool by_signal = WIFSIGNALED(status);
  end->status = by_signal ? -1 : WEXITSTATUS(status);
  end->how = by_signal ? fmt::format("ended by signal {}", WTERMSIG(status))
                       : fmt::format("ended with status {}", end->status);
  const int signal = by_signal ? WTERMSIG(status) : 0;
  // A process that has only just begun does not wait for SIGTERM yet.
  end->expected = (killed_ && signal == SIGKILL) ||
                  ((killed_ || ending()) && (end->status == 0 || signal == SIGTERM));
  pid_ = 0;
  resume_at_ = ending_since_ = 0;
  return true;
}

}  // namespace marathon::chaos
