// SimCluster: worker processes and a client over one store and one queue, inside a SimWorld, and the
// faults that befall them. A worker that crashes comes back, empty-handed, as a new incarnation.
//
// Not safe from several threads: the world has one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/engine/host.h"
#include "marathon/options.h"
#include "marathon/registry.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/faulty_limiter.h"
#include "marathon/testing/faulty_state_store.h"
#include "marathon/testing/faulty_task_queue.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/testing/sim_runtime.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing {

// One incarnation of one process.
struct SimProcess {
  SimProcess(SimWorld& world, const std::string& name, SimRuntime::Options options)
      : runtime(world, name, options) {}

  SimRuntime runtime;
  std::shared_ptr<FaultyStateStore> store;
  std::shared_ptr<FaultyTaskQueue> queue;
  std::shared_ptr<FaultyLimiter> limiter;  // null: there is none
  std::shared_ptr<Host> host;  // null once it crashed
};

class SimCluster {
 public:
  struct Options {
    int workers = 3;
    int builds = 1;  // so many: workers are of one after another
    FaultRates rates;
    EngineOptions engine;  // `log` is replaced by the world's trace
    const uint64_t* server_deaths = nullptr;  // see FaultyStateStore::Options
    // The code of a worker; called for each incarnation.
    std::function<std::shared_ptr<const Registry>(SimProcess&)> registry;
    // Told of a crash when the incarnation is gone.
    std::function<void(const SimProcess&)> on_crash;
  };

  // `world` and `counts` must outlive it. The cluster's end is the end of all there is in its world.
  // Faults come between the processes and store, queue and limiter; what else is beside them is reached without.
  SimCluster(SimWorld& world, Ports ports, Options options, FaultCounts& counts);
  ~SimCluster();

  // Starts all processes and the faults.
  void Begin();
  // Ends all faults; whoever is down comes up at once.
  void Heal();
  // Asks all processes to shut down; they do while the world runs.
  void Shutdown();
  bool IsShutDown() const { return shut_down_ == processes_.size(); }

  void Crash(size_t worker);

  // A process without code. It never crashes.
  SimProcess& client() { return *processes_.back(); }
  // The worker's present incarnation; null while it is down.
  SimProcess* worker(size_t index);
  size_t workers() const { return processes_.size() - 1; }

 private:
  void Boot(size_t index);
  void Attach(SimProcess& process, size_t index);
  // Calls `what` again and again, at random instants `mean_seconds` apart, until all heals.
  void Every(double mean_seconds, std::string_view label, std::function<void()> what);
  void TurnClock(SimProcess& process);

  SimWorld& world_;
  const Ports ports_;
  Options options_;
  FaultCounts& counts_;
  SeededRandom random_;
  bool healed_ = false;
  size_t shut_down_ = 0;
  std::vector<int> incarnations_;
  std::vector<std::unique_ptr<SimProcess>> processes_;  // the client is the last
  std::vector<std::unique_ptr<SimProcess>> dead_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/sim_cluster-inl.h"
#endif
