#include "driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend.h"
#include "shared.h"
#include "marathon/marathon.h"

namespace marathon::chaos {
namespace {

using testing::kSimSignal;
using testing::kSimWorkflow;
using testing::SeededRandom;

// Workflows that are open at a time, each with a thread that looks after it.
constexpr int kUsers = 160;

// What an earlier driver had come to with a job.
struct Progress {
  bool ended = false;
  int64_t signals = 0, other_signals = 0;  // answered
  bool interrupted = false;             // terminated or canceled
  bool pause = false, resumed = false;  // was to be paused; is known to go on
};

class Driver {
 public:
  Driver(const std::string& folder, Shared* shared, uint64_t seed)
      : shared_(*shared), seed_(seed), ledger_(DriverPath(folder)) {
    ReadLedger(DriverPath(folder));
  }

  bool Open(const std::string& url);
  void Work();

 private:
  void ReadLedger(const std::string& path);
  std::optional<int64_t> NextJob();
  void Do(int64_t number);
  std::optional<Run> Start(int64_t number, const Job& job);
  void SendOthers(int64_t number, const Job& job, const Progress& progress);
  // False: the run is closed.
  bool Send(int64_t number, const Job& job, std::string_view which, int64_t value);
  // Ends it by force, or asks it to end.
  void Interrupt(int64_t number, const Job& job, const Run& run);
  // Has it pause for a while.
  void Rest(int64_t number, const Job& job, SeededRandom& random);
  void WatchRest(int64_t number, const Job& job, SeededRandom& random);
  void Resume(int64_t number, const Job& job);
  // Nobody has asked for the ends of children that were left, nor for what closed runs still have to tell.
  void AwaitTheRest();
  bool AllSettled();
  void Await(int64_t number, const Run& run);
  void Wrong(int64_t number, const Status& status, std::string_view what) {
    ledger_.Note(fmt::format("wrong {} {}: {}", number, what, MessageOf(status)));
  }
  // Calls until the store is there and the answer is certain.
  template <class Call>
  std::invoke_result_t<Call> Patiently(Call&& call);
  void Think(int64_t millis);
  void Requeue();
  void RetryDeadLetters();

  Shared& shared_;
  const uint64_t seed_;
  Ledger ledger_;
  std::optional<Engine> engine_;
  std::mutex mutex_;  // guards:
  std::map<int64_t, Progress> known_;
  std::vector<int64_t> unfinished_;
};

void Driver::ReadLedger(const std::string& path) {
  Ledger::ForEachLine(path, [this](int64_t, std::istringstream& rest) {
    std::string what, which;
    int64_t number = 0;
    rest >> what >> number;
    Progress& progress = known_[number];
    if (what == "ended") progress.ended = true;
    if (what == "terminated" || what == "canceled") progress.interrupted = true;
    if (what == "pause") progress.pause = true;
    if (what == "resumed") progress.resumed = true;
    if (what == "signaled" || what == "refused") {
      int64_t value = 0;
      rest >> which >> value;
      int64_t& answered = which == kOtherSignal ? progress.other_signals : progress.signals;
      answered = std::max(answered, value + 1);
    }
  });
  for (const auto& [number, progress] : known_) {
    if (!progress.ended) unfinished_.push_back(number);
  }
}

bool Driver::Open(const std::string& url) {
  Registry registry;  // no code: this process takes no work
  for (Backend& backend : KnownSchemes()) registry.Use(std::move(backend));
  EngineOptions options;
  options.lease = kLease;
  const Status status = Patiently([&]() -> Status {
    StatusOr<Engine> engine = Engine::Open(url, registry, options);
    if (engine.ok()) engine_.emplace(*std::move(engine));
    return engine.status();
  });
  if (!status.ok()) fmt::print(stderr, "chaos driver: {}\n", status.ToString());
  return status.ok();
}

template <class Call>
std::invoke_result_t<Call> Driver::Patiently(Call&& call) {
  for (;;) {
    std::invoke_result_t<Call> answer = call();
    Status status;
    if constexpr (std::is_same_v<decltype(answer), Status>) {
      status = answer;
    } else {
      status = answer.status();
    }
    if (status.ok() || !IsTransient(status)) return answer;
    Think(50);
  }
}

// Users think, too; nothing can wake them.
void Driver::Think(int64_t millis) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, Duration(millis), [] { return false; });
}

std::optional<int64_t> Driver::NextJob() {
  const std::lock_guard lock(mutex_);
  if (!unfinished_.empty()) {
    const int64_t number = unfinished_.back();
    unfinished_.pop_back();
    return number;
  }
  if (shared_.enough) return std::nullopt;
  return ++shared_.jobs;
}

// What has ended too many workers gets another chance: activities that are dead letters, and turns, which take
// long where they wait for local activities.
void Driver::Requeue() {
  RetryDeadLetters();
  const StatusOr<ListReply> page = engine_->List({.blocked_only = true});
  if (!page.ok()) return;
  for (const RunRow& row : page->runs) {
    // Any other block is a bug, for the auditor to find.
    if (!row.blocked || !row.blocked->reason.starts_with("its turn has ended its worker")) continue;
    engine_->Find(row.key.workflow_id, row.key.run_id).Unblock().IgnoreError();
  }
}

void Driver::RetryDeadLetters() {
  const StatusOr<ListReply> page = engine_->List({.dead_letters_only = true});
  if (!page.ok()) return;
  for (const RunRow& row : page->runs) {
    const Run run = engine_->Find(row.key.workflow_id, row.key.run_id);
    const StatusOr<RunDescription> description = run.Describe();
    if (!description.ok()) continue;
    for (const ActivityRow& activity : description->activities) {
      if (activity.state == ActivityState::kDead) run.RetryActivity(activity.key.id).IgnoreError();
    }
  }
}

void Driver::Work() {
  const std::jthread operating([this](const std::stop_token& stop) {
    for (; !stop.stop_requested(); Think(500)) Requeue();
  });
  {
    std::vector<std::jthread> users;
    for (int i = 0; i < kUsers; ++i) {
      users.emplace_back([this] {
        while (const std::optional<int64_t> number = NextJob()) Do(*number);
      });
    }
  }
  AwaitTheRest();
}

void Driver::AwaitTheRest() {
  while (!AllSettled()) Think(200);
}

bool Driver::AllSettled() {
  ListRequest request;
  request.limit = 1'000;
  do {
    const StatusOr<ListReply> page = engine_->List(request);
    if (!page.ok()) return false;
    const bool settled = std::all_of(page->runs.begin(), page->runs.end(), [](const RunRow& row) {
      return !IsOpen(row) && row.pending_activities == 0;
    });
    if (!settled) return false;
    request.page_token = page->next_page_token;
  } while (!request.page_token.empty());
  return true;
}

void Driver::Do(int64_t number) {
  const Job job = Job::Draw(seed_, number);
  SeededRandom random = SeededRandom(seed_).Fork(fmt::format("user {}", number));
  Progress progress;
  {
    const std::lock_guard lock(mutex_);
    progress = known_[number];
  }
  const std::optional<Run> run = Start(number, job);
  if (!run) return;
  std::jthread second_sender;
  if (progress.other_signals < job.other_signals) {
    second_sender = std::jthread([&] { SendOthers(number, job, progress); });
  }
  if (random.Below(4) == 0) Start(number, job);  // the same request again
  // The driver that paused it may not have lived to end that.
  if (progress.pause && !progress.resumed) Resume(number, job);
  const auto some_time = [&](bool at_all) {  // behind so many signals
    return at_all ? random.Between(progress.signals, job.signals) : -1;
  };
  const int64_t rest_at = some_time(job.rest && !progress.pause);
  const int64_t interrupt_at = some_time((job.terminate || job.cancel) && !progress.interrupted);
  for (int64_t k = progress.signals;; ++k) {
    if (k == rest_at) Rest(number, job, random);
    if (k == interrupt_at) {
      Think(random.Between(0, 2'000));
      Interrupt(number, job, *run);
    }
    if (k >= job.signals) break;
    Think(random.Between(0, 400));
    if (!Send(number, job, kSimSignal.name, k)) continue;
    if (random.Below(4) == 0) Send(number, job, kSimSignal.name, k);  // the same request again
  }
  Await(number, *run);
  if (random.Below(8) == 0) Start(number, job);  // even now it is the same run
}

std::optional<Run> Driver::Start(int64_t number, const Job& job) {
  StartOptions options;
  options.workflow_id = job.id;
  options.request_id = job.id + "/start";
  options.run_timeout = job.run_timeout;
  options.memo = {{"program", std::string(testing::kSimMemo)}};
  if (job.program.Attempts() > 1) {
    options.retry = RetryPolicy{.initial_interval = Duration(200), .maximum_attempts = job.program.Attempts()};
  }
  ledger_.Note(fmt::format("start {}", number));
  if (job.signal_with_start) ledger_.Note(fmt::format("signal {} {} 0", number, kSimSignal.name));
  const StatusOr<Run> run = Patiently([&] {
    if (!job.signal_with_start) {
      return engine_->Start(kSimWorkflow, job.program.ToText(), options);
    }
    return engine_->SignalWithStart(kSimWorkflow.name, job.program.ToText(), kSimSignal.name,
                                    int64_t{0}, options, {.request_id = job.id + "/signal/0"});
  });
  if (!run.ok()) {
    Wrong(number, run.status(), "start");
    return std::nullopt;
  }
  ledger_.Note(fmt::format("started {} {}", number, run->run_id()));
  return *run;
}

void Driver::SendOthers(int64_t number, const Job& job, const Progress& progress) {
  SeededRandom random = SeededRandom(seed_).Fork(fmt::format("second sender {}", number));
  for (int64_t k = progress.other_signals; k < job.other_signals; ++k) {
    Think(random.Between(0, 400));
    Send(number, job, kOtherSignal, k);
  }
}

bool Driver::Send(int64_t number, const Job& job, std::string_view which, int64_t value) {
  ledger_.Note(fmt::format("signal {} {} {}", number, which, value));
  const Status status = Patiently([&] {
    return engine_->Find(job.id).Signal<int64_t>(
        which, value, {.request_id = fmt::format("{}/{}/{}", job.id, which, value)});
  });
  if (status.ok()) {
    ledger_.Note(fmt::format("signaled {} {} {}", number, which, value));
  } else if (status.code() == StatusCode::kFailedPrecondition) {
    ledger_.Note(fmt::format("refused {} {} {}", number, which, value));
  } else {
    Wrong(number, status, "signal");
  }
  return status.ok();
}

void Driver::Interrupt(int64_t number, const Job& job, const Run& run) {
  ledger_.Note(fmt::format("{} {}", job.terminate ? "terminate" : "cancel", number));
  const Status status = Patiently(
      [&] { return job.terminate ? run.Terminate("its user had enough") : run.Cancel("no longer wanted"); });
  if (status.ok() || status.code() == StatusCode::kFailedPrecondition) {
    ledger_.Note(fmt::format("{} {}", job.terminate ? "terminated" : "canceled", number));
  } else {
    Wrong(number, status, job.terminate ? "terminate" : "cancel");
  }
}

void Driver::Rest(int64_t number, const Job& job, SeededRandom& random) {
  Think(random.Between(0, 1'500));
  ledger_.Note(fmt::format("pause {}", number));
  const Status status = Patiently([&] { return engine_->Find(job.id).Pause("its user wants to think"); });
  if (status.ok()) {
    ledger_.Note(fmt::format("paused {}", number));
    WatchRest(number, job, random);
  } else if (status.code() != StatusCode::kFailedPrecondition) {
    Wrong(number, status, "pause");
  }
  Resume(number, job);
}

void Driver::WatchRest(int64_t number, const Job& job, SeededRandom& random) {
  const Run newest = engine_->Find(job.id);
  const StatusOr<RunDescription> before = Patiently([&] { return newest.Describe(); });
  Think(random.Between(100, 1'200));
  const StatusOr<RunDescription> after = Patiently([&] { return newest.Describe(); });
  if (!before.ok() || !after.ok()) return Wrong(number, before.ok() ? after.status() : before.status(), "describe");
  if (!IsOpen(before->run)) return;  // its timeout was faster
  if (!IsOpen(after->run) && job.run_timeout > Duration(0)) return;
  if (before->run.paused && after->run.key == before->run.key && after->run.version == before->run.version) {
    return ledger_.Note(fmt::format("rested {}", number));
  }
  ledger_.Note(fmt::format("wrong {} paused, it went from version {} of {} to {} of {}", number, before->run.version,
                           before->run.key.run_id, after->run.version, after->run.key.run_id));
}

void Driver::Resume(int64_t number, const Job& job) {
  ledger_.Note(fmt::format("resume {}", number));
  const Status status = Patiently([&] { return engine_->Find(job.id).Resume(); });
  if (status.ok() || status.code() == StatusCode::kFailedPrecondition) {
    ledger_.Note(fmt::format("resumed {}", number));
  } else {
    Wrong(number, status, "resume");
  }
}

void Driver::Await(int64_t number, const Run& run) {
  const StatusOr<std::string> result = Patiently([&] { return run.Result<std::string>(); });
  if (result.ok()) return ledger_.Note(fmt::format("ended {} completed {}", number, *result));
  const std::optional<Failure> failure = GetFailure(result.status());
  if (!failure) return Wrong(number, result.status(), "result");
  const bool timed_out = failure->kind == FailureKind::kTimeout;
  const bool terminated = failure->kind == FailureKind::kTerminated;
  const bool canceled = failure->kind == FailureKind::kCanceled;
  const char* const how = timed_out ? "timed-out" : terminated ? "terminated" : canceled ? "canceled" : "failed";
  ledger_.Note(fmt::format("ended {} {} {}", number, how, failure->message));
}

}  // namespace

int RunDriver(const std::string& folder, const std::string& url, uint64_t seed) {
  Shared* const shared = Shared::Map(folder);
  if (shared == nullptr) return 1;
  Driver driver(folder, shared, seed);
  if (!driver.Open(url)) return 1;
  driver.Work();
  return 0;
}

}  // namespace marathon::chaos
