#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "marathon/adapters/memory.h"
#include "marathon/engine/payload_store.h"
#include "marathon/engine/sealing_store.h"
#include "marathon/limits.h"
#include "marathon/store/hint_outbox.h"
#include "marathon/store/local_hub.h"
#include "marathon/testing/audited_state_store.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/simulation-inl.h"
#include "marathon/testing/simulator.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

inline constexpr Duration kSimFaulty{100'000};

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
