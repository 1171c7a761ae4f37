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
#include "marathon/engine/payload_store.h"
#include "marathon/engine/sealing_store.h"
#include "marathon/limits.h"
#include "marathon/store/hint_outbox.h"
#include "marathon/store/local_hub.h"
#include "marathon/testing/audited_state_store.h"
#include "marathon/testing/faulty_task_queue.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/rewinding_state_store.h"
#include "marathon/testing/sim_blobs.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_codec.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_ledger.h"
#include "marathon/testing/sim_limits.h"
#include "marathon/testing/sim_places.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_streams.h"
#include "marathon/testing/simulator.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

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
  bool with_signal = false;  // its first signal comes with its start …
  bool with_update = false;  // … and so does its first update
  bool is_fork = false;      // of another
  bool none = false;         // … that could not be
  Duration start_delay{0};
  Duration run_timeout{0};
  int priority = 0;
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
  void DrawCodec();
  std::shared_ptr<StateStore> MakeStore(const Clock& clock);
  // A store with its payloads opened, and in their places.
  std::shared_ptr<StateStore> Readable(std::shared_ptr<StateStore> store) const;
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
  static void AddToStart(const SimJob& job, StartCall& call);
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
  void CompleteLater(const RunKey& run, const std::string& token, const SimWork& work);
  void SendOutcome(const SimJob& job, const std::string& token, const SimWork& work);
  void QueryJob(SimJob& job);
  void UpdateJob(SimJob& job);
  void SendUpdate(SimJob& job, int64_t number);
  void AwaitUpdate(SimJob& job, int64_t number, const RunKey& run, UpdateStage stage);
  void OnUpdated(SimJob& job, int64_t number, const RunEnd& end);
  void LookAtJob(SimJob& job);
  void DescribeJob(SimJob& job);
  void ReadHistory(SimJob& job, const RunKey& run, const std::shared_ptr<std::vector<std::string>>& seen);
  void ListJob(SimJob& job);
  void CountJob(SimJob& job);
  void SubscribeTo(SimJob& job, const RunKey& run, EventId after);
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
  void CheckBeside();
  void CheckDeletes();
  void CheckLists();
  void CheckBlobs();

  SimOptions options_;
  SimWorld world_;
  SeededRandom random_;  // of the workload
  Invariants invariants_;
  FaultCounts counts_;
  SimLedger ledger_{world_, invariants_};
  Ports memory_;                        // the store below the audit, payloads in their places; and the queue
  std::shared_ptr<StateStore> memory_store_;  // … and they where they are kept
  const Ports beside_ = NewMemoryPorts(world_, {.stream_keep = kSimStreamKeep});  // what stands beside the runs
  std::unique_ptr<SimStreams> streams_;
  SimBlobs blobs_{world_, invariants_, beside_.blobs};
  SimLimits limits_{world_, invariants_, beside_.limiter};
  SimPlaces places_{invariants_, [this]() -> StateStore& { return *memory_store_; }};
  std::shared_ptr<SimCodec> codec_;  // of the processes, and faulty; null: they have none
  std::shared_ptr<PayloadSealer> sealer_ = std::make_shared<PayloadSealer>();  // of whoever looks at what is stored
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

// A livelock would never end; a good seed takes a few thousand steps, and one that waits for a rest of a day, which only
// a store that loses its tail makes, a few seconds apart, some hundred thousand.
inline constexpr uint64_t kSimStepsMax = 3'000'000;
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
  DrawCodec();
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
  streams_ = std::make_unique<SimStreams>(world_, invariants_, beside_.streams, !loses_tail);
  ledger_.SetOnLater([this](const RunKey& run, const std::string& token, const SimWork& work) {
    CompleteLater(run, token, work);
  });
  // The limiter keeps what a store may lose: an epoch that is claimed again finds the place of the first.
  if (!loses_tail) ledger_.SetOnBegin([this](const ActivityInfo& info) { places_.Begin(info); });
  cluster.registry = [this](SimProcess& process) {
    auto registry = ledger_.CodeFor(process, pins_ ? Versioning::kPinned : Versioning::kAutoUpgrade);
    streams_->Bind(*registry, process);
    blobs_.Bind(*registry, process);
    limits_.Bind(*registry, process);
    return registry;
  };
  cluster.on_crash = [this](const SimProcess& process) { OnCrash(process); };
  const Ports ports{store_, memory_.queue, beside_.blobs, beside_.streams, beside_.limiter};
  cluster_ = std::make_unique<SimCluster>(world_, ports, std::move(cluster), counts_);
}

MARATHON_INLINE bool Simulation::IsSplit(const SimOptions& options, SeededRandom random) {
  return options.split_domains.value_or(random.Below(3) == 0);
}

MARATHON_INLINE bool Simulation::LosesTail(const SimOptions& options, SeededRandom random) {
  return options.loses_tail.value_or(random.Below(6) == 0);
}

// All processes have it, or none.
MARATHON_INLINE void Simulation::DrawCodec() {
  SeededRandom random = world_.Fork("codec");
  if (random.Below(5) != 0) return;
  constexpr uint64_t kFaultyOneIn = 50;
  codec_ = std::make_shared<SimCodec>(random, kFaultyOneIn);
  sealer_ = std::make_shared<PayloadSealer>(PayloadSealer::Codecs{std::make_shared<SimCodec>(random, 0)});
}

MARATHON_INLINE std::shared_ptr<StateStore> Simulation::Readable(std::shared_ptr<StateStore> store) const {
  store = std::make_shared<PayloadStore>(std::move(store), kSimInline);
  if (sealer_->has_codecs()) store = std::make_shared<SealingStore>(std::move(store), sealer_);
  return store;
}

MARATHON_INLINE std::shared_ptr<StateStore> Simulation::MakeStore(const Clock& clock) {
  Ports ports = NewMemoryPorts(clock);
  memory_store_ = ports.store;
  memory_.store = Readable(ports.store);
  if (memory_.queue == nullptr) memory_.queue = ports.queue;
  invariants_.Forget();
  return std::make_shared<AuditedStateStore>(ports.store, invariants_, sealer_);
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
  static constexpr size_t kInline[] = {0, 2, 16, limits::kPayloadInlineBytes};
  engine.payload_inline_bytes = kInline[world_.Fork("payloads").Below(4)];
  if (codec_ != nullptr) engine.payload_codecs = {codec_};
  return engine;
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
    if (codec_ != nullptr) codec_->Heal();
    if (outlet_ != nullptr) outlet_->SetRates(FaultRates::None());
    PlanUnblocking();
    RunUntilAllEnded();
  }
  for (SimJob& job : jobs_) {
    if (!Broken() && !job.none) CheckJob(job);
  }
  for (const auto& [key, run] : invariants_.runs()) {
    if (Broken()) break;
    if (!run.closed || (rewinding_ != nullptr && invariants_.IsOrphan(run))) continue;
    CheckStored(key);
    CheckWork(run);
  }
  if (!Broken()) CheckQuiescence();
  if (!Broken()) CheckDeletes();
  if (!Broken()) CheckLists();
  if (!Broken()) CheckBeside();
  if (!Broken()) CheckBlobs();

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
  SimCoverage coverage;
  SimCoverage* const outer = std::exchange(SimCoverage::OfThisThread(), &coverage);
  SimReport report = internal::Simulation(options).Run();
  SimCoverage::OfThisThread() = outer;
  report.coverage = coverage;
  return report;
}

}  // namespace marathon::inline MARATHON_ABI::testing

#include "marathon/testing/simulator_forks-inl.h"
#include "marathon/testing/simulator_operators-inl.h"
#include "marathon/testing/simulator_readers-inl.h"
#include "marathon/testing/simulator_users-inl.h"
#include "marathon/testing/simulator_verdict-inl.h"
