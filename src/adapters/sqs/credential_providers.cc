// Keys from a process, from a container's agent and from an instance's metadata service.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "credentials.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

constexpr Duration kEndpointTimeout = std::chrono::seconds(5);
constexpr Duration kMetadataTimeout = std::chrono::seconds(2);
constexpr Duration kProcessTimeout = std::chrono::minutes(1);
constexpr size_t kOutputMax = 64u << 10;

// ---- A process

// One run of the command.
class ProcessRun : public std::enable_shared_from_this<ProcessRun> {
 public:
  ProcessRun(HttpLoop& loop, Done<AwsCredentials> done) : loop_(loop), done_(std::move(done)) {}
  ProcessRun(const ProcessRun&) = delete;
  ProcessRun& operator=(const ProcessRun&) = delete;
  ~ProcessRun() { Kill(); }

  void Start(const std::string& command) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return done_(Unavailable("credential_process: no pipe"));
    out_ = ends[0];
    fcntl(out_, F_SETFL, O_NONBLOCK);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;  // the loop's thread takes no signals; the process should
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    std::string shell = "sh", option = "-c", line = command;
    char* const argv[] = {shell.data(), option.data(), line.data(), nullptr};
    const int error = posix_spawn(&pid_, "/bin/sh", &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (error != 0) {
      pid_ = 0;
      return done_(Unavailable("credential_process could not be started"));
    }
    timer_ = loop_.After(kProcessTimeout, [self = shared_from_this()] {
      self->loop_.Cancel(self->next_);
      self->Kill();
      self->done_(Unavailable("credential_process took too long"));
    });
    Wait();
  }

 private:
  void Wait() {
    next_ = loop_.WhenReadable(out_, [self = shared_from_this()] { self->Read(); });
  }
  void Read() {
    char bytes[4096];
    const ssize_t count = read(out_, bytes, sizeof bytes);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Wait();
    if (count <= 0 || text_.size() > kOutputMax) return Reap();
    text_.append(bytes, static_cast<size_t>(count));
    Wait();
  }
  // It has said all, and ends in a moment.
  void Reap() {
    constexpr Duration kMoment{2};
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == 0) {
      next_ = loop_.After(kMoment, [self = shared_from_this()] { self->Reap(); });
      return;
    }
    pid_ = 0;
    loop_.Cancel(timer_);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      return done_(FailedPrecondition("credential_process failed"));
    }
    done_(ParseCredentials(text_, "credential_process"));
  }
  void Kill() {
    if (out_ >= 0) close(std::exchange(out_, -1));
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }

  HttpLoop& loop_;
  Done<AwsCredentials> done_;
  pid_t pid_ = 0;
  int out_ = -1;
  std::string text_;
  HttpLoop::Id timer_ = 0, next_ = 0;
};

class Process final : public CredentialProvider {
 public:
  Process(HttpLoop& loop, std::string command) : loop_(loop), command_(std::move(command)) {}
  void Fetch(Done<AwsCredentials> done) override {
    std::make_shared<ProcessRun>(loop_, std::move(done))->Start(command_);
  }

 private:
  HttpLoop& loop_;
  const std::string command_;
};

// ---- A container's agent

class Container final : public CredentialProvider {
 public:
  Container(HttpLoop& loop, std::string url, AwsVariables variables)
      : loop_(loop), url_(std::move(url)), variables_(std::move(variables)) {}

  void Fetch(Done<AwsCredentials> done) override {
    HttpRequest request{.url = url_, .timeout = kEndpointTimeout, .direct = true};
    StatusOr<std::string> token = Token();
    if (!token.ok()) return done(token.status());
    if (!token->empty()) request.headers.push_back("Authorization: " + *token);
    loop_.Send(std::move(request), [done = std::move(done)](StatusOr<HttpReply> reply) mutable {
      if (!reply.ok()) {
        return done(Unavailable(fmt::format("the container's credentials cannot be had: {}",
                                            MessageOf(reply.status()))));
      }
      if (reply->status != 200) {
        return done(Unavailable(
            fmt::format("the container's credentials endpoint answers {}", reply->status)));
      }
      done(ParseCredentials(reply->body, "the container's credentials endpoint"));
    });
  }

 private:
  // Read anew each time: whoever keeps the file changes it.
  StatusOr<std::string> Token() const {
    std::string token = variables_("AWS_CONTAINER_AUTHORIZATION_TOKEN").value_or("");
    if (const auto path = variables_("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
      std::ifstream file(*path);
      if (!file) return FailedPrecondition("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read");
      token.assign(std::istreambuf_iterator<char>(file), {});
      while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
    }
    if (token.find_first_of("\r\n") != token.npos) {
      return FailedPrecondition("the container's authorization token has more than one line");
    }
    return token;
  }

  HttpLoop& loop_;
  const std::string url_;
  const AwsVariables variables_;
};

// ---- An instance's metadata service

// Version 2: first a token, which every further question must have.
class Instance final : public CredentialProvider {
 public:
  Instance(HttpLoop& loop, std::string endpoint) : loop_(loop), endpoint_(std::move(endpoint)) {
    while (endpoint_.ends_with('/')) endpoint_.pop_back();
  }

  void Fetch(Done<AwsCredentials> done) override {
    Ask("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600",
        [this, done = std::move(done)](StatusOr<std::string> token) mutable {
          if (!token.ok()) return done(token.status());
          if (token->find_first_of("\r\n") != token->npos) {
            return done(FailedPrecondition("the instance's metadata service gives no good token"));
          }
          FindRole("X-aws-ec2-metadata-token: " + *token, std::move(done));
        });
  }

 private:
  static constexpr std::string_view kRoles = "/latest/meta-data/iam/security-credentials/";

  void FindRole(const std::string& header, Done<AwsCredentials> done) {
    Ask("GET", std::string(kRoles), header,
        [this, header, done = std::move(done)](StatusOr<std::string> role) mutable {
          if (!role.ok()) return done(role.status());
          std::string path = std::string(kRoles) + *role;
          path.resize(std::min(path.size(), path.find('\n')));
          Ask("GET", path, header,
              [done = std::move(done)](StatusOr<std::string> answer) mutable {
                if (!answer.ok()) return done(answer.status());
                done(ParseCredentials(*answer, "the instance's metadata service"));
              });
        });
  }
  void Ask(std::string method, const std::string& path, const std::string& header,
           Callback<void(StatusOr<std::string>)> done) {
    HttpRequest request{.method = std::move(method), .url = endpoint_ + path,
                        .headers = {header}, .timeout = kMetadataTimeout, .direct = true};
    loop_.Send(std::move(request), [this, done = std::move(done)](StatusOr<HttpReply> reply) mutable {
      if (!reply.ok()) return done(NoAnswer(reply.status()));
      answered_ = true;
      if (reply->status != 200) {
        return done(FailedPrecondition(fmt::format(
            "the instance's metadata service answers {}: has the instance a role?", reply->status)));
      }
      done(std::move(reply->body));
    });
  }
  // Where it has never answered, this is most likely no instance.
  Status NoAnswer(const Status& status) const {
    if (answered_) {
      return Unavailable(fmt::format("the instance's metadata service does not answer: {}", MessageOf(status)));
    }
    return FailedPrecondition(fmt::format(
        "no AWS credentials: none are set, and this is no instance with a metadata service ({}). Set "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
        MessageOf(status)));
  }

  HttpLoop& loop_;
  std::string endpoint_;
  bool answered_ = false;
};

}  // namespace

std::unique_ptr<CredentialProvider> ProcessCredentials(HttpLoop& loop, std::string command) {
  return std::make_unique<Process>(loop, std::move(command));
}

std::unique_ptr<CredentialProvider> ContainerCredentials(HttpLoop& loop, std::string url,
                                                         AwsVariables variables) {
  return std::make_unique<Container>(loop, std::move(url), std::move(variables));
}

std::unique_ptr<CredentialProvider> InstanceCredentials(HttpLoop& loop, std::string endpoint) {
  return std::make_unique<Instance>(loop, std::move(endpoint));
}

}  // namespace marathon::inline MARATHON_ABI::detail
