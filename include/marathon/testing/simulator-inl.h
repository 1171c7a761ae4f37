#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/errors.h"
#include "marathon/detail/forks.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/hint_outbox.h"
#include "marathon/store/local_hub.h"
#include "marathon/testing/audited_state_store.h"
#include "marathon/testing/faulty_task_queue.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/rewinding_state_store.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/simulator.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

// What the doubles of activities really did, by idempotency key. Kept beside the system, as the world's
// own memory: no crash touches it.
class SimLedger {
 public:

  SimLedger(SimWorld& world, Invariants& invariants) : world_(world), invariants_(invariants) {
    SeededRandom random = world_.Fork("limits");
    if (random.Below(4) == 0) limits_.max_concurrent = static_cast<int>(random.Between(1, 3));
    if (random.Below(6) == 0) limits_.max_per_second = 5;
  }

  std::shared_ptr<const Registry> CodeFor(SimProcess& process, Versioning versioning);
  uint64_t late_starts() const { return late_starts_; }
  // Whether somebody has done the work that `input` says, under this idempotency key.
  bool IsDone(const std::string& key, const Payload& input) const {
    return done_.contains({key, input.data});
  }
  // The store forgot: what it has not heard of, it cannot cancel.
  void BeginNewLife() { ++life_; }

 private:
  // A cancel may pass a worker that is about to begin; an outcome may not, but for faults.
  void Begin(ActivityContext& ctx) {
    const ActivityKey& key = ctx.info().key;
    if (ctx.info().local > 0) return;  // the store knows nothing of it
    late_starts_ += invariants_.IsResolved(key) && invariants_.CanceledAt(key) == kNever;
  }
  // Whoever works on something that was canceled must have been told in reasonable time.
  void CheckStop(const ActivityContext& ctx, uint64_t life);
  // The outcome that `work` has at this attempt.
  StatusOr<int64_t> End(ActivityContext& ctx, const SimWork& work);
  // `running`: how many do in this process.
  void Run(SimProcess& process, ActivityContext& ctx, const SimWork& work,
           ActivityCompletion<int64_t> done, std::shared_ptr<int> running);

  SimWorld& world_;
  Invariants& invariants_;
  std::set<std::pair<std::string, std::string>> done_;
  ActivityLimits limits_;
  uint64_t late_starts_ = 0;
  uint64_t life_ = 0;
};

inline void SimLedger::CheckStop(const ActivityContext& ctx, uint64_t life) {
  if (life != life_) return;
  constexpr Duration kReasonable{50'000};  // a pause, and several renewals that fail
  if (ctx.info().local > 0) return;
  const ActivityKey& key = ctx.info().key;
  const Time canceled = invariants_.CanceledAt(key);
  if (ctx.stop_token().stop_requested() || canceled == kNever) return;
  if (world_.Now() - canceled < kReasonable) return;
  invariants_.Report("I7", key.run,
                     fmt::format("the worker of activity {} was not told that it was canceled", key.id));
}

inline StatusOr<int64_t> SimLedger::End(ActivityContext& ctx, const SimWork& work) {
  Failure failure;
  failure.type = "Simulated";
  failure.message = "fails by plan";
  if (work.mode == SimWork::Mode::kExhausts || ctx.attempt() <= work.fails) {
    return FailureStatus(failure);
  }
  failure.non_retryable = true;
  if (work.mode == SimWork::Mode::kRefuses) return FailureStatus(failure);
  done_.emplace(ctx.idempotency_key(), Encode(work.Pack())->data);
  return work.Result();
}

inline void SimLedger::Run(SimProcess& process, ActivityContext& ctx, const SimWork& work,
                           ActivityCompletion<int64_t> done, std::shared_ptr<int> running) {
  Begin(ctx);
  const bool counts = ctx.info().local == 0;
  if (counts && ++*running > limits_.max_concurrent && limits_.max_concurrent > 0) {
    invariants_.Report("I7", ctx.info().key.run,
                       fmt::format("{} activities run where {} may", *running, limits_.max_concurrent));
  }
  const bool overruns = work.mode == SimWork::Mode::kOverruns && ctx.attempt() == 1;
  const int64_t busy_ms = overruns ? kSimDeadline.count() + 1'500 : work.busy_ms;
  const ActorId actor = process.runtime.actor();
  const auto ended = std::make_shared<bool>(false);
  if (work.mode == SimWork::Mode::kBeats) {
    for (int64_t at_ms = 1'000; at_ms < busy_ms; at_ms += 1'000) {
      world_.After(actor, at_ms * 1'000, "heartbeat", [&ctx, at_ms, ended] {
        if (!*ended) ctx.Heartbeat(at_ms).IgnoreError();  // a pause may put it behind the end
      });
    }
  }
  world_.After(actor, busy_ms * 1'000, "work done",
               [this, &ctx, work, ended, counts, running, life = life_,
                done = std::move(done)]() mutable {
                 *ended = true;
                 if (counts) --*running;
                 CheckStop(ctx, life);
                 StatusOr<int64_t> outcome = End(ctx, work);
                 if (outcome.ok()) return done.Complete(*outcome);
                 done.Fail(*GetFailure(outcome.status()));
               });
}

inline std::shared_ptr<const Registry> SimLedger::CodeFor(SimProcess& process, Versioning versioning) {
  auto registry = std::make_shared<Registry>();
  registry->Bind(kSimWorkflow, RunSimProgram, {.versioning = versioning});
  const auto work = [this, &process, running = std::make_shared<int>(0)](
                        ActivityContext& ctx, const int64_t& input, ActivityCompletion<int64_t> done) {
    Run(process, ctx, SimWork::Unpack(input), std::move(done), running);
  };
  registry->Bind(kSimWork, work, limits_);
  registry->Bind(kSimQuickWork, [this](ActivityContext& ctx, const int64_t& input) {
    Begin(ctx);
    return End(ctx, SimWork::Unpack(input));
  });
  return registry;
}

// One workflow that the simulation's user wants to be done.
struct SimJob {
  std::string id;
  SimProgram program;
  int64_t signals = 0;       // to be sent, one after another
  int64_t sent = 0;
  int64_t updates = 0;                 // asked for
  std::map<int64_t, int64_t> answers;  // to those
  bool begun = false;        // its start was asked for
  bool disordered = false;   // a signal was on its way when those before it were lost
  bool terminate = false;    // asked for at some time
  bool cancel = false;       // the same
  bool pause = false;        // … and resumed
  bool is_fork = false;      // of another
  bool none = false;         // … that could not be
  Duration start_delay{0};
  std::optional<RunKey> run;
  std::optional<EventBody> end;  // as AwaitEnd told
};

class Simulation {
 public:
  explicit Simulation(const SimOptions& options);
  SimReport Run();

 private:
  // A call by the simulation's user at some process. If that crashes, or cannot do it for now, the user
  // calls again elsewhere.
  using Answered = std::function<bool(const Status&)>;  // false: not yet, the user calls again
  struct Request {
    std::string what;
    std::function<void(Host&, Answered answered)> make;
    const SimJob* job = nullptr;
    bool reads = false;
    uint64_t life = 0;  // of the store; in a later one the answer is of no use any more
    const SimProcess* at = nullptr;
    bool answered = false;
  };

  static bool IsSplit(const SimOptions& options, SeededRandom random);
  static bool LosesTail(const SimOptions& options, SeededRandom random);
  std::shared_ptr<StateStore> MakeStore(const Clock& clock);
  void SplitDomains(const FaultRates& rates);
  void PlanLosses();
  void LoseTail();
  static FaultRates RatesFor(const SimOptions& options, SeededRandom random);
  EngineOptions DrawKnobs();
  void Plan();
  void PlanJob(size_t index);
  void Ask(std::string what, const SimJob& job, std::function<void(Host&, Answered)> make,
           bool reads = false);
  void Send(const std::shared_ptr<Request>& request);
  void OnCrash(const SimProcess& process);
  void StartJob(SimJob& job, int times);
  void StartAgain(SimJob& job);
  // A request of its user's that writes is unanswered.
  bool IsAsking(const SimJob& job) const;
  void OnStarted(SimJob& job, const StatusOr<RunKey>& run);
  void SendSignal(SimJob& job);
  void TerminateJob(SimJob& job);
  void CancelJob(SimJob& job);
  void PauseJob(SimJob& job, bool pause);  // or resumes it
  void MoveJob(SimJob& job);               // to some build, or any
  void RetryActivity(SimJob& job);
  void QueryJob(SimJob& job);
  void UpdateJob(SimJob& job);
  void SendUpdate(SimJob& job, int64_t number);
  void AwaitUpdate(SimJob& job, int64_t number, const RunKey& run);
  void OnUpdated(SimJob& job, int64_t number, const RunEnd& end);
  bool HasDeadLetter(const SimJob& job) const;
  void PlanInterruptions(SimJob& job, int64_t within_ms);
  void AwaitJob(SimJob& job, const RunKey& run);
  static std::string ForkId(const SimJob& job) { return job.id + "-fork"; }
  bool MayFork(const SimJob& job) const;
  void ForkJob(SimJob& job);
  void OnForked(SimJob& fork, const StatusOr<StartReply>& forked);
  // Somebody at the store follows a run, and those after it in its chain, from behind an event on.
  void Follow(const RunKey& run, EventId after);
  // Whether the job's chain of runs has come to its end.
  bool HasEnded(const SimJob& job) const { return invariants_.FindLast(*job.run)->closed; }
  void After(int64_t low_ms, int64_t high_ms, std::string_view label, Callback<void()> work) {
    world_.After(kWorldActor, random_.Between(low_ms, high_ms) * 1'000, label, std::move(work));
  }
  // Nothing, if the store has gone back meanwhile.
  void AfterInThisLife(int64_t low_ms, int64_t high_ms, std::string_view label,
                       std::function<void()> work) {
    After(low_ms, high_ms, label, [this, life = life_, work = std::move(work)] {
      if (life == life_) work();
    });
  }
  void Violation(std::string_view which, const SimJob& job, std::string_view what) {
    invariants_.Report(which, job.run.value_or(RunKey{job.id, ""}), what);
  }
  bool Broken() const { return !invariants_.violation().empty(); }

  bool AllEnded() const;
  void PlanUnblocking();
  void RunUntilAllEnded();
  void CheckJob(SimJob& job);
  void CheckEnd(SimJob& job, const Invariants::Run& run);
  static bool MetAnOrphan(const Invariants::Run& run);
  void CheckStored(const RunKey& run);
  std::string DescribeStored(const RunKey& run);
  void CheckWork(const Invariants::Run& run);
  void CheckQuiescence();
  void CheckDeletes();
  void CheckLists();

  SimOptions options_;
  SimWorld world_;
  SeededRandom random_;  // of the workload
  Invariants invariants_;
  FaultCounts counts_;
  SimLedger ledger_{world_, invariants_};
  Ports memory_;                        // the store below the audit, and the queue
  std::shared_ptr<StateStore> store_;
  std::shared_ptr<RewindingStateStore> rewinding_;  // `store_`, if it loses its tail
  std::unique_ptr<SimRuntime> outlet_runtime_;  // with split domains: sends the store's hints …
  std::shared_ptr<FaultyTaskQueue> outlet_;     // … over this link
  std::unique_ptr<SimCluster> cluster_;
  std::deque<SimJob> jobs_;
  std::vector<std::shared_ptr<Request>> requests_;
  std::map<RunKey, std::vector<std::string>> followed_;  // what Follow was told: records
  uint64_t life_ = 0;           // how often the store has gone back
  uint64_t lost_writes_ = 0;
  bool losing_ = false;
  bool pins_ = false;
  int64_t virtual_micros_ = 0;  // until all was done
};

// A livelock would never end; a good seed takes a few thousand steps.
inline constexpr uint64_t kSimStepsMax = 400'000;
inline constexpr Duration kSimFaulty{100'000};
inline constexpr Duration kSimLiveness = std::chrono::hours(1);

MARATHON_INLINE FaultRates Simulation::RatesFor(const SimOptions& options, SeededRandom random) {
  if (options.rates.has_value()) return *options.rates;
  return options.seed % 4 == 0 ? FaultRates::Plain() : FaultRates::Draw(random);
}

MARATHON_INLINE Simulation::Simulation(const SimOptions& options)
    : options_(options),
      world_(options.seed, {.trace_lines = options.trace_lines}),
      random_(world_.Fork("workload")) {
  if (world_.tracing()) {
    invariants_.SetTrace([this](const std::string& line) {
      if (!losing_) world_.Trace(kWorldActor, line);
    });
  }
  invariants_.SetOnHeld([this](const ActivityKey& key) {
    After(500, 10'000, "operator: requeue",
          [this, key] { store_->RetryActivity(key, [](const Status&) {}); });
  });
  const bool loses_tail = LosesTail(options, world_.Fork("tail"));
  if (loses_tail) {
    rewinding_ = std::make_shared<RewindingStateStore>(
        world_, [this](const Clock& clock) { return MakeStore(clock); });
  }
  store_ = loses_tail ? rewinding_ : MakeStore(world_);
  SimCluster::Options cluster;
  cluster.rates = RatesFor(options, world_.Fork("faults"));
  if (loses_tail || IsSplit(options, world_.Fork("domains"))) SplitDomains(cluster.rates);
  cluster.engine = DrawKnobs();
  cluster.server_deaths = &life_;
  // Now and then runs are pinned to one of two builds, which differ in nothing else.
  pins_ = world_.Fork("builds").Below(3) == 0;
  if (pins_) cluster.builds = 2;
  cluster.registry = [this](SimProcess& process) {
    return ledger_.CodeFor(process, pins_ ? Versioning::kPinned : Versioning::kAutoUpgrade);
  };
  cluster.on_crash = [this](const SimProcess& process) { OnCrash(process); };
  cluster_ = std::make_unique<SimCluster>(world_, Ports{store_, memory_.queue}, std::move(cluster), counts_);
}

MARATHON_INLINE bool Simulation::IsSplit(const SimOptions& options, SeededRandom random) {
  return options.split_domains.value_or(random.Below(3) == 0);
}

MARATHON_INLINE bool Simulation::LosesTail(const SimOptions& options, SeededRandom random) {
  return options.loses_tail.value_or(random.Below(6) == 0);
}

MARATHON_INLINE std::shared_ptr<StateStore> Simulation::MakeStore(const Clock& clock) {
  Ports ports = NewMemoryPorts(clock);
  memory_.store = ports.store;
  if (memory_.queue == nullptr) memory_.queue = ports.queue;
  invariants_.Forget();
  return std::make_shared<AuditedStateStore>(ports.store, invariants_);
}

// The store of all processes is one object here, and so is what sends its hints: what a process that dies
// between its write and the queue would have sent counts among the lost.
MARATHON_INLINE void Simulation::SplitDomains(const FaultRates& rates) {
  outlet_runtime_ = std::make_unique<SimRuntime>(world_, "outlet");
  memory_.queue = NewLocalTaskQueue(std::make_shared<LocalHub>(), "simulated queue");
  outlet_ = std::make_shared<FaultyTaskQueue>(memory_.queue, *outlet_runtime_, rates, &counts_);
  const Status set = store_->SetOutlet(HintOutbox::Create(outlet_, *outlet_runtime_));
  if (!set.ok()) invariants_.Report("I4", {}, MessageOf(set));
}

MARATHON_INLINE void Simulation::PlanLosses() {
  for (int64_t left = random_.Between(1, 8); left > 0; --left) {
    After(3'000, kSimFaulty.count(), "fault: lost tail", [this] { LoseTail(); });
  }
}

// Of a moment or of seconds. Users who were told of something ask again for all they had asked for: their
// request ids tell what is new from what is there still.
MARATHON_INLINE void Simulation::LoseTail() {
  ++life_;
  ledger_.BeginNewLife();
  followed_.clear();
  for (SimJob& job : jobs_) job.disordered |= job.sent > 1 && IsAsking(job);
  for (const std::shared_ptr<Request>& request : requests_) request->answered |= request->reads;
  const double exponent = 3 + 4 * random_.Real();
  losing_ = true;
  const size_t lost =
      rewinding_->Lose(std::chrono::microseconds(static_cast<int64_t>(std::pow(10, exponent))));
  losing_ = false;
  lost_writes_ += lost;
  if (world_.tracing()) world_.Trace(kWorldActor, fmt::format("{} writes are lost", lost));
  for (SimJob& job : jobs_) {
    if (!job.begun) continue;
    job.run.reset();
    job.end.reset();
    job.sent = 0;
    AfterInThisLife(0, 3'000, "user: start again", [this, &job] { StartAgain(job); });
    PlanInterruptions(job, 30'000);
  }
}

// Small caches and pools reach what roomy ones hide.
MARATHON_INLINE EngineOptions Simulation::DrawKnobs() {
  SeededRandom random = world_.Fork("knobs");
  static constexpr size_t kCaches[] = {0, 1, 20, 10'000};
  static constexpr int kPools[] = {1, 4, 16};
  static constexpr int64_t kLeases[] = {2'000, 5'000, 10'000};
  EngineOptions engine;
  engine.cache_runs = kCaches[random.Below(4)];
  engine.activity_threads = kPools[random.Below(3)];
  engine.max_async_activities = random.Below(4) == 0 ? 2 : 1'000;
  engine.lease = Duration(kLeases[random.Below(3)]);
  engine.verify_determinism = random.Below(4) == 0;
  engine.build_id = "simulated";
  if (random.Below(8) == 0) engine.max_activities_per_second = 20;
  return engine;
}

// ---- The verdict

MARATHON_INLINE bool Simulation::AllEnded() const {
  for (const SimJob& job : jobs_) {
    if (!job.end.has_value() && !job.none) return false;
  }
  for (const std::shared_ptr<Request>& request : requests_) {
    if (!request->answered) return false;
  }
  return jobs_.size() > 0 && invariants_.FindUnsettled(rewinding_ == nullptr) == nullptr;
}

// Turns that take long, for they wait for local activities, may meet five crashes in a row. When these are over, an
// operator looks at what is blocked.
MARATHON_INLINE void Simulation::PlanUnblocking() {
  for (const int64_t at_ms : {60'000, 600'000, 1'800'000}) {
    After(at_ms, at_ms, "operator: unblock", [this] {
      for (const auto& [key, run] : invariants_.runs()) {
        if (!run.closed) store_->Unblock(key, [](const Status&) {});
      }
    });
  }
}

MARATHON_INLINE void Simulation::RunUntilAllEnded() {
  // A session that was at rest in what is left of a store, and claims before it knows, has a day if it dies.
  const Duration rest = rewinding_ != nullptr ? limits::kRestingLease : Duration(0);
  const Time limit = world_.Now() + rest + kSimLiveness;
  world_.RunUntil([this] { return Broken() || AllEnded() || world_.steps() > kSimStepsMax; }, limit);
  if (Broken() || AllEnded()) return;
  const std::string_view how = world_.steps() > kSimStepsMax ? "after too many steps"
                               : world_.IsIdle()             ? "though nothing is left to happen"
                                                             : "after hours without faults";
  for (const SimJob& job : jobs_) {
    if (job.none) continue;
    const Invariants::Run* run = job.run.has_value() ? invariants_.FindLast(*job.run) : nullptr;
    if (run == nullptr) return Violation("I4", job, fmt::format("has not started {}", how));
    if (!run->closed) return Violation("I4", job, fmt::format("has not ended {}", how));
  }
  const Invariants::Run* run = invariants_.FindUnsettled(rewinding_ == nullptr);
  if (run != nullptr) {
    return invariants_.Report("I4", run->key, fmt::format("{} {}", run->closed ? "owes something" : "has not ended",
                                                          how));
  }
  for (const std::shared_ptr<Request>& request : requests_) {
    if (request->answered) continue;
    return invariants_.Report("I4", {}, fmt::format("\"{}\" is unanswered {}", request->what, how));
  }
}

MARATHON_INLINE void Simulation::CheckJob(SimJob& job) {
  const Invariants::Run& last = *invariants_.FindLast(*job.run);
  if (*job.end != last.end) Violation("I3", job, "awaiting it told another end than its history");
  const auto followed = followed_.find(last.key);
  if (followed == followed_.end() || followed->second != last.records) {
    Violation("I3", job, "whoever follows it was not told all of its history");
  }
  CheckEnd(job, last);
}

// An orphan may have the workflow id of a child that is started anew, which cannot be sent a signal then.
MARATHON_INLINE bool Simulation::MetAnOrphan(const Invariants::Run& run) {
  for (const std::string& bytes : run.records) {
    const StatusOr<Record> record = DecodeRecord(bytes);
    for (const Event& event : record->events) {
      const auto* failed = std::get_if<ActivityFailed>(&event.body);
      if (failed != nullptr && failed->failure.type == failure_type::kNotStarted) return true;
    }
  }
  return false;
}

MARATHON_INLINE void Simulation::CheckEnd(SimJob& job, const Invariants::Run& run) {
  if (std::holds_alternative<WorkflowTerminated>(run.end)) {
    if (!job.terminate) Violation("I8", job, "was terminated and nobody asked for it");
    return;
  }
  if (std::holds_alternative<WorkflowCanceled>(run.end) && !job.cancel) {
    return Violation("I8", job, "was canceled and nobody asked for it");
  }
  if (job.cancel) return;  // it may have caught it anywhere
  // Five crashes in a row are allowed to show, and so is the order of signals that a loss has mixed.
  if (HasDeadLetter(job) || job.disordered) return;
  if (const auto* completed = std::get_if<WorkflowCompleted>(&run.end)) {
    const StatusOr<std::string> result = Decode<std::string>(completed->result);
    const std::string expected = job.program.Expected();
    if (!job.program.Throws() && result.ok() && *result == expected) return;
    return Violation("I8", job, fmt::format("returned {}, not {}", completed->result.data, expected));
  }
  const auto* failed = std::get_if<WorkflowFailed>(&run.end);
  if (failed != nullptr && life_ > 0 && MetAnOrphan(run)) return;
  if (failed != nullptr && job.program.Throws() &&
      failed->failure.message == job.program.Expected()) {
    return;
  }
  Violation("I8", job, fmt::format("ended as {}", Describe(run.end)));
}

// The store below the faults answers before it returns.
MARATHON_INLINE void Simulation::CheckStored(const RunKey& key) {
  ReadRequest request;
  request.run = key;
  request.records = request.inbox = request.activities = true;
  memory_.store->Read(std::move(request), [this, &key](const StatusOr<RunSnapshot>& stored) {
    if (!stored.ok()) return invariants_.Report("I3", key, MessageOf(stored.status()));
    invariants_.Compare(*stored);
    if (!stored->inbox.empty() || !stored->activities.empty() || stored->row.inbox_size != 0 ||
        stored->row.pending_activities != 0 || stored->row.ready_since != kNever) {
      invariants_.Report("I10", key, "is closed and has left something behind");
    }
  });
}

// Where an open run stands, for whoever has to find out why.
MARATHON_INLINE std::string Simulation::DescribeStored(const RunKey& key) {
  ReadRequest request;
  request.run = key;
  request.records = request.inbox = request.activities = true;
  std::string text;
  memory_.store->Read(std::move(request), [&](const StatusOr<RunSnapshot>& stored) {
    if (!stored.ok()) return;
    const RunRow& row = stored->row;
    text = fmt::format("status {}, version {}, {} deliveries, owner \"{}\"", static_cast<int>(row.status), row.version,
                       row.deliveries,
                       static_cast<const std::string&>(row.owner));
    if (row.ready_since != kNever) text += ", ready";
    if (row.blocked.has_value()) text += ", blocked: " + row.blocked->reason;
    if (row.paused.has_value()) text += ", paused: " + row.paused->reason;
    if (row.pinned.has_value()) text += ", pinned to " + *row.pinned;
    for (const Message& message : stored->inbox) text += "; waits: " + Describe(message.body);
    for (const ActivityRow& a : stored->activities) {
      text += fmt::format("; activity {}: state {}, attempt {}, deliveries {}, epoch {}, session {}",
                          a.key.id, static_cast<int>(a.state), a.attempt, a.deliveries, a.epoch,
                          static_cast<const std::string&>(a.session));
    }
    History history;
    for (const std::string& record : stored->records) AppendRecord(record, history).IgnoreError();
    for (const Event& event : history) text += fmt::format("\n  {} {}", event.id, Describe(event.body));
  });
  return text;
}

MARATHON_INLINE void Simulation::CheckWork(const Invariants::Run& run) {
  std::map<EventId, Payload> inputs;
  std::vector<marathon::detail::KeptTurns> kept;
  for (const std::string& bytes : run.records) {
    const StatusOr<Record> record = DecodeRecord(bytes);
    for (const Event& event : record->events) {
      const auto* scheduled = std::get_if<ActivityScheduled>(&event.body);
      if (scheduled != nullptr && !IsBuiltIn(scheduled->activity_type)) {
        inputs[event.id] = scheduled->input;
      }
      if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) {
        kept = marathon::detail::ForksOf(started->headers);
      }
      const auto* completed = std::get_if<ActivityCompleted>(&event.body);
      if (completed == nullptr || !inputs.contains(completed->scheduled)) continue;
      const auto its = std::find_if(kept.begin(), kept.end(), [&](const auto& turns) { return event.id <= turns.until; });
      const std::string_view worked_for = its == kept.end() ? run.key.run_id.view() : std::string_view(its->run_id);
      const std::string key = fmt::format("{}/{}", worked_for, completed->scheduled);
      const Payload& input = inputs[completed->scheduled];
      const int64_t result = SimWork::Unpack(Decode<int64_t>(input).value_or(0)).Result();
      if (ledger_.IsDone(key, input) && completed->result == *Encode(result)) continue;
      invariants_.Report("I8", run.key, fmt::format("activity {} completed with {}, which nobody "
                                                    "worked for", completed->scheduled,
                                                    completed->result.data));
    }
  }
}

MARATHON_INLINE void Simulation::CheckQuiescence() {
  world_.RunUntil(world_.Now() + std::chrono::seconds(10));
  cluster_->Shutdown();
  if (!world_.RunUntilIdle(kSimStepsMax) || !cluster_->IsShutDown()) {
    return invariants_.Report("I10", {}, "the processes do not shut down");
  }
  virtual_micros_ = world_.ElapsedMicros();
  // What is left are the sessions of the crashed, which end by themselves, and closed runs.
  world_.RunUntil(world_.Now() + limits::kRestingLease);
  for (int polls = 0; polls < 2; ++polls) {
    memory_.store->PollDue({}, [this, polls](const StatusOr<DueReply>& due) {
      for (const SessionId& session : due->expired_sessions) {
        memory_.store->ExpireSession(session, [](const Status&) {});
      }
      const bool sessions = polls > 0 && !due->expired_sessions.empty();
      if (!due->ready.empty() || !due->expired_activities.empty() || !due->expired_runs.empty() ||
          !due->claimable.empty() || sessions || (polls > 0 && due->next_due < world_.Now() + limits::kRestingLease)) {
        invariants_.Report("I10", {}, "the store has something due although all has ended");
      }
    });
  }
}

// A list by a job's name has the runs of its chain and its fork's, as far as they are there, and no others.
MARATHON_INLINE void Simulation::CheckLists() {
  for (const SimJob& job : jobs_) {
    if (job.is_fork) continue;  // it has the other's name
    std::set<RunKey> expected, listed;
    for (const auto& [key, run] : invariants_.runs()) {
      const bool its = key.workflow_id == job.id || key.workflow_id == ForkId(job);
      if (!run.deleted && its) expected.insert(key);
    }
    ListRequest request;
    request.attributes = {{"job", job.id}};
    request.limit = 2;
    for (bool more = true; more; more = !request.page_token.empty()) {
      memory_.store->List(request, [&](const StatusOr<ListReply>& page) {
        for (const RunRow& row : page->runs) listed.insert(row.key);
        request.page_token = page->next_page_token;
      });
    }
    request.count_only = true;
    memory_.store->List(request, [&](const StatusOr<ListReply>& all) {
      if (listed == expected && all->count == static_cast<int64_t>(expected.size())) return;
      Violation("I13", job, fmt::format("{} runs are listed and {} counted, of {}", listed.size(), all->count,
                                        expected.size()));
    });
  }
}

// Every other run that has ended is deleted, and nothing goes with it.
MARATHON_INLINE void Simulation::CheckDeletes() {
  bool other = false;
  for (const auto& [key, run] : invariants_.runs()) {
    if (!run.closed || std::exchange(other, !other)) continue;
    store_->Delete(key, [this, &key](const Status& status) {
      if (!status.ok()) invariants_.Report("I12", key, MessageOf(status));
    });
  }
  for (const auto& [key, run] : invariants_.runs()) {
    if (!run.closed) continue;
    if (!run.deleted) CheckStored(key);
    memory_.store->Read({.run = key}, [this, &key, &run](const StatusOr<RunSnapshot>& stored) {
      if (stored.ok() == run.deleted) invariants_.Report("I12", key, "was deleted, and is there, or is not");
    });
  }
}

MARATHON_INLINE SimReport Simulation::Run() {
  cluster_->Begin();
  Plan();
  if (rewinding_ != nullptr) PlanLosses();
  const Time heal = world_.Now() + kSimFaulty;
  world_.RunUntil([this] { return Broken() || world_.steps() > kSimStepsMax; }, heal);
  if (!Broken()) {
    world_.RunUntil(heal);
    cluster_->Heal();
    if (outlet_ != nullptr) outlet_->SetRates(FaultRates::None());
    PlanUnblocking();
    RunUntilAllEnded();
  }
  for (SimJob& job : jobs_) {
    if (!Broken() && !job.none) CheckJob(job);
  }
  for (const auto& [key, run] : invariants_.runs()) {
    if (Broken()) break;
    if (!run.closed) continue;  // an orphan
    CheckStored(key);
    CheckWork(run);
  }
  if (!Broken()) CheckQuiescence();
  if (!Broken()) CheckDeletes();
  if (!Broken()) CheckLists();

  SimReport report;
  report.seed = options_.seed;
  report.violation = invariants_.violation();
  if (Broken() && world_.tracing()) report.culprit = DescribeStored(invariants_.culprit());
  report.counts = counts_;
  report.split_domains = outlet_ != nullptr;
  report.lost_tails = life_;
  report.lost_writes = lost_writes_;
  report.runs = invariants_.runs().size();
  report.counts.commits = invariants_.commits();  // those folded into starts too
  report.steps = world_.steps();
  report.late_starts = ledger_.late_starts();
  report.dead_letters = invariants_.dead_letters();
  report.virtual_micros = Broken() ? world_.ElapsedMicros() : virtual_micros_;
  report.hash = world_.hash();
  report.trace.assign(world_.trace().begin(), world_.trace().end());
  return report;
}

}  // namespace internal

MARATHON_INLINE SimReport Simulate(const SimOptions& options) {
  return internal::Simulation(options).Run();
}

}  // namespace marathon::inline MARATHON_ABI::testing

#include "marathon/testing/simulator_forks-inl.h"
#include "marathon/testing/simulator_users-inl.h"
