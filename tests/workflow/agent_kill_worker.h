// The process that is killed: it runs the clerk over a store, and tells its supervisor of each moment at which it might
// die. It goes on when it is told to, which never happens at the moment that counts.
//
// A program of its own: RunKillWorker is its main.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "agent_kill_clerk.h"
#include "marathon/adapters/redis.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/agent/agent.h"
#include "marathon/llm/client.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/open_ports.h"
#include "marathon/testing/forwarding_state_store.h"

namespace marathon::kill_test {

// Where a worker finds its supervisor: a socket of whole messages.
inline constexpr int kSupervisor = 3;

class Moments {
 public:
  void Tell(const std::string& moment) {
    const std::lock_guard lock(mutex_);
    char go = 0;
    const bool told = send(kSupervisor, moment.data(), moment.size(), MSG_NOSIGNAL) >= 0;
    if (!told || recv(kSupervisor, &go, 1, 0) != 1) _exit(0);  // nobody is there any more
  }
  // Tells of the moment before a call of a port, and of that at which its answer comes.
  template <class Reply>
  Done<Reply> Around(const std::string& call, Done<Reply> done) {
    Tell("before " + call);
    return [this, call, done = std::move(done)](StatusOr<Reply> reply) mutable {
      Tell("after " + call);
      done(std::move(reply));
    };
  }

 private:
  std::mutex mutex_;
};

// What the engine writes, but for what time alone makes it write.
class TellingStore final : public testing::ForwardingStateStore {
 public:
  TellingStore(std::shared_ptr<StateStore> base, Moments& moments)
      : ForwardingStateStore(std::move(base)), moments_(moments) {}

  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override {
    base()->OpenSession(std::move(row), std::move(watcher), moments_.Around("a session begins", std::move(done)));
  }
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override {
    base()->TakeTurn(std::move(request), moments_.Around("a turn is taken", std::move(done)));
  }
  void Commit(TurnCommit commit, Done<CommitReply> done) override {
    base()->Commit(std::move(commit), moments_.Around("a turn is committed", std::move(done)));
  }
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    base()->ClaimActivities(std::move(session), std::move(requests),
                            moments_.Around("activities are claimed", std::move(done)));
  }
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override {
    base()->EndAttempt(std::move(end), moments_.Around("an attempt ends", std::move(done)));
  }

 private:
  Moments& moments_;
};

class TellingLog final : public StreamLog {
 public:
  TellingLog(std::shared_ptr<StreamLog> base, Moments& moments) : base_(std::move(base)), moments_(moments) {}
  void Append(AppendFrames request, Done<uint64_t> done) override {
    base_->Append(std::move(request), moments_.Around("something is said", std::move(done)));
  }
  uint64_t Read(ReadFrames request, Done<FramePage> done) override {
    return base_->Read(std::move(request), std::move(done));
  }
  void CancelRead(uint64_t name) override { base_->CancelRead(name); }
  void Trim(std::string stream, uint64_t seq, DoneStatus done) override {
    base_->Trim(std::move(stream), seq, std::move(done));
  }
  void Sweep(int limit, Done<int64_t> done) override { base_->Sweep(limit, std::move(done)); }

 private:
  const std::shared_ptr<StreamLog> base_;
  Moments& moments_;
};

class TellingBlobs final : public BlobStore {
 public:
  TellingBlobs(std::shared_ptr<BlobStore> base, Moments& moments) : base_(std::move(base)), moments_(moments) {}
  void Put(std::vector<std::string> blobs, Done<std::vector<BlobRef>> done) override {
    base_->Put(std::move(blobs), moments_.Around("a blob is kept", std::move(done)));
  }
  void Get(std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override {
    base_->Get(std::move(refs), std::move(done));
  }
  void Sweep(int limit, Done<int64_t> done) override { base_->Sweep(limit, std::move(done)); }

 private:
  const std::shared_ptr<BlobStore> base_;
  Moments& moments_;
};

inline std::vector<Backend> KillBackends() { return {SqliteBackend(), RedisBackend({.log = nullptr})}; }

// Works until it is killed, or its supervisor has gone.
inline int RunKillWorker(const std::string& url, const std::string& model_url, const std::string& ledger) {
  Moments moments;
  ThreadRuntime runtime(1, 1);
  std::vector<std::shared_ptr<const Backend>> backends;
  for (Backend& backend : KillBackends()) backends.push_back(std::make_shared<const Backend>(std::move(backend)));
  auto ports = OpenPorts(url, backends, runtime);
  auto model = llm::Client::Open({.base_url = model_url + "/v1"});
  if (!ports.ok() || !model.ok()) {
    std::cerr << ports.status() << " " << model.status() << std::endl;
    return 1;
  }
  ports->store = std::make_shared<TellingStore>(ports->store, moments);
  ports->streams = std::make_shared<TellingLog>(ports->streams, moments);
  ports->blobs = std::make_shared<TellingBlobs>(ports->blobs, moments);
  Registry registry;
  agent::Bind(registry, NewClerk(Ledger(ledger), [&](const std::string& moment) { moments.Tell(moment); }), *model);
  EngineOptions options = KillOptions();
  options.verify_determinism = true;
  auto engine = Engine::Open(*ports, registry, options);
  if (!engine.ok()) {
    std::cerr << engine.status() << std::endl;
    return 1;
  }
  pollfd supervisor{kSupervisor, 0, 0};
  poll(&supervisor, 1, -1);  // until it hangs up
  _exit(0);
}

}  // namespace marathon::kill_test
