#include "supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "audit.h"
#include "backend.h"
#include "child.h"
#include "proxy.h"
#include "shared.h"

namespace marathon::chaos {
namespace {

using testing::SeededRandom;

constexpr int kWorkers = 4;
constexpr int64_t kShutdownMicros = 40'000'000;  // what a graceful end may take

// What must have happened within 60 s, for the run to prove anything.
struct Least {
  int64_t workflows = 600, worker_kills = 20, pauses = 6, store_kills = 6, cuts = 60, dropped = 20;
  int64_t followers = 60, children = 150, rests = 30;
};

struct Counts {
  int64_t worker_kills = 0, driver_kills = 0, store_kills = 0, queue_kills = 0, pauses = 0,
          restarts = 0, cuts = 0;
};

// A class of faults: what it does, and the pauses between two, in milliseconds.
struct Fault {
  std::string name;
  int64_t least_ms, most_ms;
  std::function<void(SeededRandom&)> strike;
  SeededRandom random{0};
  int64_t next = 0;
};

class Supervisor {
 public:
  Supervisor(const ChaosOptions& options, std::string folder, ChaosBackend backend, Shared* shared)
      : options_(options),
        folder_(std::move(folder)),
        backend_(std::move(backend)),
        shared_(*shared),
        random_(options.seed) {}

  int Run();

 private:
  void StartAll();
  void PlanFaults();
  void AddFault(std::string name, int64_t least_ms, int64_t most_ms,
                std::function<void(SeededRandom&)> strike);
  void Strike(int64_t now);
  // Serves proxies and children until `done`; false: the deadline has passed.
  template <class DoneYet>
  bool RunUntil(int64_t deadline, DoneYet&& done);
  void PollOnce();
  void ReapAll(int64_t now);
  void OnEnd(Child& child, const Child::End& end, int64_t now);
  Child* Pick(std::vector<std::unique_ptr<Child>>& from, SeededRandom& random);
  void ComeToRest();
  void EndWorkers();
  void RestartServers();
  int Verdict(const AuditResult& audit);
  std::string TooLittle(const AuditResult& audit) const;
  std::vector<Child*> AllChildren();

  const ChaosOptions options_;
  const std::string folder_;
  const ChaosBackend backend_;
  Shared& shared_;
  SeededRandom random_;
  std::vector<std::unique_ptr<Proxy>> proxies_;
  std::vector<std::unique_ptr<Child>> servers_, workers_;
  std::unique_ptr<Child> driver_;
  std::vector<Fault> faults_;
  bool striking_ = false, restarting_ = true, driver_done_ = false;
  int signals_ = -1;  // SIGCHLD, to be polled
  Counts counts_;
  Violations violations_;
};

// ---- Processes

void Supervisor::StartAll() {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, nullptr);
  signals_ = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);

  std::vector<int> ports;
  for (const Server& server : backend_.servers) {
    proxies_.push_back(std::make_unique<Proxy>(server.socket, random_.Fork(server.name).Next()));
    ports.push_back(proxies_.back()->port());
    servers_.push_back(std::make_unique<Child>(
        server.name, folder_, [command = server.command](int) { return command; }));
    servers_.back()->Start();
  }
  const std::string self =
      "/proc/self/exe";  // this very program, though it is built anew meanwhile
  const std::string url = backend_.url(ports);
  fmt::print("chaos: {}, seed {}, {} s, {}; lease {} ms, resend {} ms, {} workers; in {}\n",
             backend_.name, options_.seed, options_.seconds, url, kLease.count(), kResend.count(),
             kWorkers, folder_);
  std::fflush(stdout);
  for (int i = 0; i < kWorkers; ++i) {
    const SeededRandom knobs = random_.Fork(fmt::format("worker {}", i));
    workers_.push_back(std::make_unique<Child>(
        fmt::format("worker-{}", i + 1), folder_, [this, self, url, knobs](int starts) {
          const uint64_t seed = knobs.Fork(fmt::format("{}", starts)).Next();
          return std::vector<std::string>{self, "work", folder_, url, fmt::format("{}", seed)};
        }));
    workers_.back()->Start();
  }
  driver_ = std::make_unique<Child>("driver", folder_, [this, self, url](int) {
    return std::vector<std::string>{self, "drive", folder_, url, fmt::format("{}", options_.seed)};
  });
  driver_->Start();
}

std::vector<Child*> Supervisor::AllChildren() {
  std::vector<Child*> all{driver_.get()};
  for (const auto& child : servers_) all.push_back(child.get());
  for (const auto& child : workers_) all.push_back(child.get());
  return all;
}

void Supervisor::ReapAll(int64_t now) {
  for (Child* child : AllChildren()) {
    Child::End end;
    if (child->Reap(&end)) OnEnd(*child, end, now);
  }
}

void Supervisor::OnEnd(Child& child, const Child::End& end, int64_t now) {
  const bool done = &child == driver_.get() && end.status == 0 && shared_.enough;
  driver_done_ |= done;
  if (done) return;
  if (!end.expected) violations_.Add("crashes", fmt::format("{} {}", child.name(), end.how));
  if (restarting_) child.RestartAt(now + random_.Between(0, 800) * 1'000);
}

void Supervisor::PollOnce() {
  constexpr int kTickMillis = 20;
  std::vector<pollfd> fds{{signals_, POLLIN, 0}};
  for (const auto& proxy : proxies_) proxy->Prepare(fds);
  poll(fds.data(), fds.size(), kTickMillis);
  for (const auto& proxy : proxies_) proxy->Work(fds);
  signalfd_siginfo told;
  while (read(signals_, &told, sizeof told) > 0) {
  }
}

template <class DoneYet>
bool Supervisor::RunUntil(int64_t deadline, DoneYet&& done) {
  for (;;) {
    PollOnce();
    const int64_t now = NowMicros();
    ReapAll(now);
    if (done()) return true;
    if (now >= deadline) return false;
    for (Child* child : AllChildren()) {
      child->StartIfDue(now);
      child->ResumeIfDue(now);
      if (child->ending() && now - child->ending_since() > kShutdownMicros) {
        violations_.Add("shutdown", fmt::format("{} does not end after SIGTERM", child->name()));
        child->Kill();
      }
    }
    if (striking_) Strike(now);
  }
}

// ---- Faults

Child* Supervisor::Pick(std::vector<std::unique_ptr<Child>>& from, SeededRandom& random) {
  std::vector<Child*> whole;
  for (const auto& child : from) {
    if (child->whole()) whole.push_back(child.get());
  }
  return whole.empty() ? nullptr : whole[random.Below(whole.size())];
}

void Supervisor::AddFault(std::string name, int64_t least_ms, int64_t most_ms,
                          std::function<void(SeededRandom&)> strike) {
  Fault fault{std::move(name), least_ms, most_ms, std::move(strike)};
  fault.random = random_.Fork(fault.name);
  fault.next = NowMicros() + fault.random.Between(least_ms, most_ms) * 1'000;
  faults_.push_back(std::move(fault));
}

void Supervisor::PlanFaults() {
  // Without a server to kill and connections to cut, workers die twice as often.
  const int64_t faster = backend_.has_servers() ? 1 : 2;
  AddFault("worker kill", 1'200 / faster, 2'800 / faster, [this](SeededRandom& random) {
    Child* const worker = Pick(workers_, random);
    if (worker == nullptr) return;
    worker->Kill();
    ++counts_.worker_kills;
  });
  AddFault("pause", 5'000, 8'500, [this](SeededRandom& random) {
    Child* const worker = Pick(workers_, random);
    if (worker == nullptr) return;
    worker->PauseUntil(NowMicros() +
                       random.Between(kLease.count() * 5 / 4, kLease.count() * 2) * 1'000);
    ++counts_.pauses;
  });
  AddFault("restart", 8'000, 14'000, [this](SeededRandom& random) {
    Child* const worker = Pick(workers_, random);
    if (worker == nullptr) return;
    worker->Terminate(NowMicros());
    ++counts_.restarts;
  });
  AddFault("driver kill", 15'000 / faster, 25'000 / faster, [this](SeededRandom&) {
    if (!driver_->whole()) return;
    driver_->Kill();
    ++counts_.driver_kills;
  });
  AddFault("drop", 800, 1'800, [this](SeededRandom&) { ++shared_.drops_wanted; });
  AddFault("double", 800, 1'800, [this](SeededRandom&) { ++shared_.doubles_wanted; });
  if (!backend_.has_servers()) return;
  for (size_t i = 0; i < servers_.size(); ++i) {
    const bool is_store = backend_.servers[i].is_store;
    const auto [least_ms, most_ms] = is_store ? std::pair(5'500, 9'000) : std::pair(18'000, 30'000);
    int64_t& count = is_store ? counts_.store_kills : counts_.queue_kills;
    AddFault(servers_[i]->name() + " kill", least_ms, most_ms, [this, i, &count](SeededRandom&) {
      if (!servers_[i]->whole()) return;
      servers_[i]->Kill();
      ++count;
    });
  }
  // Some find nothing to cut: the more so where there are two servers, of which one is often away.
  const auto [least_ms, most_ms] = proxies_.size() > 1 ? std::pair(200, 600) : std::pair(250, 800);
  AddFault("cut", least_ms, most_ms,
           [this](SeededRandom& random) { proxies_[random.Below(proxies_.size())]->CutOne(); });
}

void Supervisor::Strike(int64_t now) {
  for (Fault& fault : faults_) {
    if (now < fault.next) continue;
    fault.next = now + fault.random.Between(fault.least_ms, fault.most_ms) * 1'000;
    fault.strike(fault.random);
  }
}

// ---- The end

void Supervisor::ComeToRest() {
  striking_ = false;
  shared_.drops_wanted = shared_.doubles_wanted = 0;
  for (const auto& worker : workers_) worker->Resume();
  shared_.enough = true;
  for (const auto& proxy : proxies_) counts_.cuts += proxy->cuts();
  // What has ended three workers runs one at a time on each, and takes seconds: the more have died, the more of it waits.
  const Duration liveness = kLiveness + Duration(options_.seconds * 1'000 / 4);
  if (RunUntil(NowMicros() + liveness.count() * 1'000, [this] { return driver_done_; })) return;
  violations_.Add("liveness", fmt::format("not all has ended {} ms after the last fault", liveness.count()));
}

void Supervisor::EndWorkers() {
  restarting_ = false;
  const int64_t now = NowMicros();
  if (driver_->running()) driver_->Kill();
  for (const auto& worker : workers_) {
    worker->RestartAt(0);
    if (worker->whole()) worker->Terminate(now);
  }
  RunUntil(now + 2 * kShutdownMicros, [this] {
    return !driver_->running() &&
           std::none_of(workers_.begin(), workers_.end(),
                        [](const auto& worker) { return worker->running(); });
  });
}

// What is audited is what is on disk.
void Supervisor::RestartServers() {
  for (const auto& server : servers_) server->Kill();
  RunUntil(NowMicros() + kShutdownMicros, [this] {
    return std::none_of(servers_.begin(), servers_.end(),
                        [](const auto& server) { return server->running(); });
  });
  for (size_t i = 0; i < servers_.size(); ++i) {
    if (backend_.servers[i].is_store) servers_[i]->Start();
  }
}

std::string Supervisor::TooLittle(const AuditResult& audit) const {
  Least least;
  if (!backend_.has_servers()) {  // what dies there, are the processes that have the file open
    least.worker_kills *= 2;
    least.store_kills = least.cuts = 0;
  }
  std::string text;
  const auto demand = [&](std::string_view what, int64_t count, int64_t per_minute) {
    const int64_t least_count = per_minute * options_.seconds / 60;
    if (count < least_count) text += fmt::format(" {} of {} {};", count, least_count, what);
  };
  demand("workflows", audit.workflows, least.workflows);
  demand("worker kills", counts_.worker_kills, least.worker_kills);
  demand("pauses", counts_.pauses, least.pauses);
  demand("store kills", counts_.store_kills, least.store_kills);
  demand("cuts", counts_.cuts, least.cuts);
  demand("dropped", shared_.dropped, least.dropped);
  demand("runs that went on for others", audit.followers, least.followers);
  demand("children", audit.children, least.children);
  demand("paused runs", audit.rests, least.rests);
  return text;
}

int Supervisor::Verdict(const AuditResult& audit) {
  violations_.Print();
  const std::string too_little = TooLittle(audit);
  if (!too_little.empty()) fmt::print("TOO LITTLE HAPPENED:{}\n", too_little);
  const bool ok = violations_.count() == 0 && too_little.empty();
  const auto if_servers = [this](int64_t count) {
    return backend_.has_servers() ? fmt::format("{}", count) : std::string("-");
  };
  fmt::print(
      "also: {} driver kills, {} kills of the queue's server, {} graceful restarts, {} hints doubled, "
      "{} late starts, {} dead letters; {} runs went on for others, {} children, {} runs paused\n",
      counts_.driver_kills, counts_.queue_kills, counts_.restarts, shared_.doubled.load(),
      audit.late_starts, audit.dead_letters, audit.followers, audit.children, audit.rests);
  fmt::print(
      "chaos: {}, {}, seed {}, {} s: {} workflows, {} worker kills, {} store kills, {} pauses, {} "
      "cuts, "
      "{} dropped, {} duplicates by key; violations: {}\n",
      ok ? "ok" : "FAILED", backend_.name, options_.seed, options_.seconds, audit.workflows,
      counts_.worker_kills, if_servers(counts_.store_kills), counts_.pauses,
      if_servers(counts_.cuts), shared_.dropped.load(), audit.duplicates, violations_.Summary());
  return ok ? 0 : 1;
}

int Supervisor::Run() {
  StartAll();
  PlanFaults();
  striking_ = true;
  RunUntil(NowMicros() + options_.seconds * 1'000'000, [] { return false; });
  ComeToRest();
  EndWorkers();
  RestartServers();
  const AuditResult audit = Audit(folder_, backend_.direct_url, options_.seed, violations_);
  for (const auto& server : servers_) server->Kill();
  if (backend_.check) {
    if (const Status status = backend_.check(); !status.ok()) {
      violations_.Add("store", status.ToString());
    }
  }
  return Verdict(audit);
}

}  // namespace

int Supervise(const ChaosOptions& options) {
  std::string folder = std::filesystem::temp_directory_path() / "marathon-chaos-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) {
    std::perror(folder.c_str());
    return 2;
  }
  std::optional<ChaosBackend> backend = FindBackend(options.backend, folder);
  Shared* const shared = Shared::Map(folder);
  if (!backend || shared == nullptr) {
    fmt::print(stderr, "chaos: no backend \"{}\": sqlite, redis, redis+sqs\n", options.backend);
    return 2;
  }
  const int status = Supervisor(options, folder, *std::move(backend), shared).Run();
  std::error_code ignored;
  if (status == 0) std::filesystem::remove_all(folder, ignored);
  if (status != 0) fmt::print(stderr, "chaos: its files are kept in {}\n", folder);
  return status;
}

}  // namespace marathon::chaos
