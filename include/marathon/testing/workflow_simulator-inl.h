#pragma once

#include "marathon/testing/workflow_simulator.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <utility>

#include "marathon/adapters/memory.h"
#include "marathon/testing/audited_state_store.h"
#include "marathon/testing/blocking_sim_runtime.h"
#include "marathon/testing/held_attempt.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/open_runs.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_log_sink.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

// One seed's course of events.
class WorkflowSimulation {
 public:
  WorkflowSimulation(SimScenario scenario, const SimulateWorkflowOptions& options, uint64_t seed,
                     WorkflowSimReport& report);
  ~WorkflowSimulation() { EndAttempts(nullptr); }
  // What is wrong; empty: nothing.
  std::string Run();
  SimWorld& world() { return world_; }

 private:
  using Attempt = HeldAttempt::Base;

  EngineOptions DrawKnobs();
  SimCluster::Options ClusterOptions();
  std::shared_ptr<const Registry> CodeFor(SimProcess& process);
  void RunActivity(SimProcess& process, ActivityContext& ctx, const Payload& input,
                   const Attempt& attempt);
  void Crash(const SimProcess& process);
  // Nobody hears of what `process` (null: any) still runs.
  void EndAttempts(const SimProcess* process);
  bool AllEnded();
  std::string RunToTheEnd(SimUser& user);

  const SimScenario scenario_;
  const SimulateWorkflowOptions& options_;
  WorkflowSimReport& report_;
  SimWorld world_;
  SeededRandom random_;
  Invariants invariants_;
  Ports memory_;
  Ports ports_;  // the same, under audit
  std::vector<std::pair<const SimProcess*, std::weak_ptr<HeldAttempt>>> attempts_;
  std::map<ActivityKey, int> tries_;  // that were run
  std::shared_ptr<BlockingSimRuntime> user_runtime_;
  SimCluster cluster_;
};

MARATHON_INLINE WorkflowSimulation::WorkflowSimulation(SimScenario scenario,
                                                       const SimulateWorkflowOptions& options,
                                                       uint64_t seed, WorkflowSimReport& report)
    : scenario_(std::move(scenario)),
      options_(options),
      report_(report),
      world_(seed, {.trace_lines = options.trace_lines}),
      random_(world_.Fork("workflow simulation")),
      memory_(NewMemoryPorts(world_)),
      ports_{std::make_shared<AuditedStateStore>(memory_.store, invariants_), memory_.queue,
             memory_.blobs, memory_.streams, memory_.limiter},
      user_runtime_(std::make_shared<BlockingSimRuntime>(world_, "user", BlockingSimRuntime::Limits{})),
      cluster_(world_, ports_, ClusterOptions(), report.counts) {}

// Small caches reach what roomy ones hide.
MARATHON_INLINE EngineOptions WorkflowSimulation::DrawKnobs() {
  EngineOptions engine;
  constexpr size_t kCaches[] = {0, 2, 10'000};
  engine.cache_runs = kCaches[random_.Below(3)];
  engine.verify_determinism = random_.Below(4) == 0;
  engine.task_queues = options_.task_queues;
  engine.build_id = "simulated";
  return engine;
}

MARATHON_INLINE SimCluster::Options WorkflowSimulation::ClusterOptions() {
  SeededRandom rates = world_.Fork("faults");
  SimCluster::Options cluster;
  cluster.workers = options_.workers;
  cluster.rates = options_.rates.has_value() ? *options_.rates : FaultRates::Draw(rates);
  cluster.engine = DrawKnobs();
  cluster.registry = [this](SimProcess& process) { return CodeFor(process); };
  cluster.on_crash = [this](const SimProcess& process) { EndAttempts(&process); };
  return cluster;
}

MARATHON_INLINE std::shared_ptr<const Registry> WorkflowSimulation::CodeFor(SimProcess& process) {
  auto registry = std::make_shared<Registry>(scenario_.registry);
  registry->InterceptActivities(
      {true, [this, &process](ActivityContext& ctx, const Payload& input, const Attempt& attempt) {
         RunActivity(process, ctx, input, attempt);
       }});
  return registry;
}

// The attempt begins, works at some point, and reports after that; its worker may die at any.
MARATHON_INLINE void WorkflowSimulation::RunActivity(SimProcess& process, ActivityContext& ctx,
                                                     const Payload& input, const Attempt& attempt) {
  constexpr int kLosses = 2;  // planned ones, of one call; five would make a dead letter
  const marathon::detail::ActivityEntry* bound =
      scenario_.registry.FindActivity(ctx.info().activity_type);
  if (bound == nullptr) {
    Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
    failure.type = marathon::failure_type::kUnregistered;
    failure.message = fmt::format("activity \"{}\" is not in the scenario's registry",
                                  ctx.info().activity_type);
    return attempt->Finish(std::move(failure));
  }
  ++report_.activities;
  const int tries = ++tries_[ctx.info().key];
  report_.repeated += tries > 1;
  const int64_t total = random_.Between(0, options_.activity_time.count() * 1'000);
  const int64_t before = random_.Between(0, total);
  const ActorId actor = process.runtime.actor();
  auto held = std::make_shared<HeldAttempt>(
      attempt, [this, actor, after = total - before](Attempt base, marathon::detail::AttemptResult result) {
        world_.After(actor, after, "activity reports",
                     [base = std::move(base), result = std::move(result)]() mutable {
                       base->Finish(std::move(result));
                     });
      });
  std::erase_if(attempts_, [](const auto& entry) { return entry.second.expired(); });
  attempts_.emplace_back(&process, held);
  world_.After(actor, before, "activity works",
               [&ctx, input, attempt, held, bound] { bound->run(ctx, input, held); });
  if (tries <= kLosses && random_.Chance(options_.crash_in_activity)) {
    world_.After(kWorldActor, random_.Between(0, total), "fault: crash in an activity",
                 [this, &process] { Crash(process); });
  }
}

MARATHON_INLINE void WorkflowSimulation::Crash(const SimProcess& process) {
  for (size_t i = 0; i < cluster_.workers(); ++i) {
    if (cluster_.worker(i) == &process) return cluster_.Crash(i);
  }
}

MARATHON_INLINE void WorkflowSimulation::EndAttempts(const SimProcess* process) {
  for (const auto& [runs_it, weak] : attempts_) {
    const auto attempt = weak.lock();
    if (attempt && (process == nullptr || runs_it == process)) attempt->Cut();
  }
}

MARATHON_INLINE bool WorkflowSimulation::AllEnded() {
  bool open = true;
  ports_.store->List({.status = RunStatus::kRunning, .limit = 1}, [&open](const StatusOr<ListReply>& list) {
    open = !list.ok() || !list->runs.empty();
  });
  return !open;
}

MARATHON_INLINE std::string WorkflowSimulation::RunToTheEnd(SimUser& user) {
  if (scenario_.play) {
    const Status played = scenario_.play(user);
    if (!played.ok()) return fmt::format("play: {}", MessageOf(played));
  }
  constexpr uint64_t kBetweenLooks = 32;
  uint64_t next_look = 0;
  const auto over = [&] {
    if (!invariants_.violation().empty()) return true;
    if (world_.steps() < next_look) return false;
    next_look = world_.steps() + kBetweenLooks;
    return AllEnded();
  };
  user_runtime_->RunUntil(over, kNever);
  if (!invariants_.violation().empty()) return "the engine: " + invariants_.violation();
  if (!AllEnded()) return "not all runs end:\n" + DescribeOpenRuns(*ports_.store);
  const Status checked = scenario_.check ? scenario_.check(user) : Status();
  return checked.ok() ? "" : fmt::format("check: {}", MessageOf(checked));
}

MARATHON_INLINE std::string WorkflowSimulation::Run() {
  if (!scenario_.registry.mistakes().empty()) {
    return "the scenario's registry is wrong: " + scenario_.registry.mistakes();
  }
  cluster_.Begin();
  world_.After(kWorldActor, options_.faulty_for.count() * 1'000, "all heals", [this] { cluster_.Heal(); });
  EngineOptions engine;
  engine.build_id = "user";
  engine.log = std::make_shared<SimLogSink>(world_, user_runtime_->actor());
  StatusOr<Engine> opened = Engine::Open(ports_, Registry(), std::move(engine), user_runtime_);
  if (!opened.ok()) return fmt::format("the user's engine: {}", MessageOf(opened.status()));
  SimUser user(world_, *std::move(opened));
  return RunToTheEnd(user);
}

}  // namespace internal

MARATHON_INLINE WorkflowSimReport SimulateWorkflow(const std::function<SimScenario()>& make_scenario,
                                                   const SimulateWorkflowOptions& options) {
  WorkflowSimReport report;
  for (uint64_t i = 0; i < options.seeds && report.violation.empty(); ++i) {
    report.seed = options.first_seed + i;
    internal::WorkflowSimulation simulation(make_scenario(), options, report.seed, report);
    report.violation = simulation.Run();
    ++report.seeds;
    if (report.violation.empty()) continue;
    const auto& trace = simulation.world().trace();
    report.trace.assign(trace.begin(), trace.end());
  }
  return report;
}

}  // namespace marathon::inline MARATHON_ABI::testing
