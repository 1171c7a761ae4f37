#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <utility>

#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_log_sink.h"

namespace marathon::inline MARATHON_ABI::testing {

MARATHON_INLINE SimCluster::SimCluster(SimWorld& world, Ports ports, Options options,
                                       FaultCounts& counts)
    : world_(world),
      ports_(std::move(ports)),
      options_(std::move(options)),
      counts_(counts),
      random_(world.Fork("cluster")),
      incarnations_(static_cast<size_t>(options_.workers) + 1),
      processes_(incarnations_.size()) {}

MARATHON_INLINE SimCluster::~SimCluster() {
  for (auto& process : processes_) {
    if (process == nullptr || process->host == nullptr) continue;
    process->runtime.Kill();
    process->host->Abandon();
  }
  world_.Clear();  // what is on its way to or from a host holds on to it
  for (const auto* processes : {&processes_, &dead_}) {
    for (const auto& process : *processes) {
      if (process != nullptr) process->queue->Disconnect();
    }
  }
}

MARATHON_INLINE void SimCluster::Begin() {
  for (size_t i = 0; i < processes_.size(); ++i) Boot(i);
  const FaultRates& rates = options_.rates;
  Every(rates.crash_mean_s, "fault: crash", [this] { Crash(random_.Below(workers())); });
  Every(rates.pause_mean_s, "fault: pause", [this] {
    SimProcess* process = worker(random_.Below(workers()));
    if (process == nullptr) return;
    ++counts_.pauses;
    process->runtime.Pause(Duration(random_.Between(100, options_.rates.pause_max.count())));
  });
  Every(rates.clock_jump_mean_s, "fault: clock", [this] {
    if (SimProcess* process = worker(random_.Below(workers()))) TurnClock(*process);
  });
}

MARATHON_INLINE void SimCluster::Every(double mean_seconds, std::string_view label,
                                       std::function<void()> what) {
  if (mean_seconds <= 0 || healed_) return;
  const double seconds = -mean_seconds * std::log(1 - random_.Real());
  world_.After(kWorldActor, static_cast<int64_t>(seconds * 1e6), label,
               [this, mean_seconds, label, what = std::move(what)]() mutable {
                 if (healed_) return;
                 what();
                 Every(mean_seconds, label, std::move(what));
               });
}

MARATHON_INLINE void SimCluster::Boot(size_t index) {
  const bool is_client = index + 1 == processes_.size();
  const int incarnation = ++incarnations_[index];
  const std::string name =
      is_client ? "client" : fmt::format("worker{}#{}", index + 1, incarnation);
  SimRuntime::Options options;
  options.slow_activity = options_.rates.slow_activity;
  options.slow_activity_micros_max = options_.rates.pause_max.count() * 1000;
  processes_[index] = std::make_unique<SimProcess>(world_, name, options);
  SimProcess& process = *processes_[index];
  if (!healed_) TurnClock(process);
  Attach(process, index);
  std::shared_ptr<const Registry> registry =
      is_client ? std::make_shared<const Registry>() : options_.registry(process);
  EngineOptions engine = options_.engine;
  if (options_.builds > 1) engine.build_id += std::to_string(index % static_cast<size_t>(options_.builds));
  engine.log = std::make_shared<SimLogSink>(world_, process.runtime.actor());
  process.host = Host::Create(process.runtime,
                              {process.store, process.queue, ports_.blobs, ports_.streams, process.limiter},
                              std::move(registry), std::move(engine));
  process.host->Open([](const Status&) {});
}

MARATHON_INLINE void SimCluster::Attach(SimProcess& process, size_t index) {
  FaultRates rates = healed_ ? FaultRates::None() : options_.rates;
  const bool is_client = index + 1 == processes_.size();
  if (is_client) rates.crash_after_write = 0;
  process.store = std::make_shared<FaultyStateStore>(
      ports_.store, process.runtime,
      FaultyStateStore::Options{
          .rates = rates,
          .counts = &counts_,
          .on_crash = [this, index] { Crash(index); },
          .server_deaths = options_.server_deaths});
  process.queue = std::make_shared<FaultyTaskQueue>(ports_.queue, process.runtime, rates, &counts_);
  if (ports_.limiter == nullptr) return;
  process.limiter = std::make_shared<FaultyLimiter>(ports_.limiter, process.runtime, rates);
}

MARATHON_INLINE void SimCluster::Crash(size_t index) {
  SimProcess* process = worker(index);
  if (process == nullptr) return;
  ++counts_.crashes;
  process->runtime.Kill();
  process->host->Abandon();
  process->host.reset();
  world_.After(kWorldActor, random_.Between(0, 3'000) * 1000, "disconnect",
               [queue = process->queue] { queue->Disconnect(); });
  dead_.push_back(std::move(processes_[index]));
  if (options_.on_crash) options_.on_crash(*dead_.back());
  const int64_t millis = healed_ ? 0 : random_.Between(20, 5'000);
  world_.After(kWorldActor, millis * 1000, "restart", [this, index] {
    if (worker(index) == nullptr) Boot(index);
  });
}

MARATHON_INLINE void SimCluster::Heal() {
  if (world_.tracing()) world_.Trace(kWorldActor, "all heals");
  healed_ = true;
  for (size_t i = 0; i < processes_.size(); ++i) {
    if (processes_[i] == nullptr) {
      Boot(i);
      continue;
    }
    processes_[i]->store->SetRates(FaultRates::None());
    processes_[i]->queue->SetRates(FaultRates::None());
    if (processes_[i]->limiter != nullptr) processes_[i]->limiter->SetRates(FaultRates::None());
  }
}

MARATHON_INLINE void SimCluster::Shutdown() {
  for (auto& process : processes_) {
    process->host->Shutdown([this](const Status&) { ++shut_down_; });
  }
}

MARATHON_INLINE SimProcess* SimCluster::worker(size_t index) { return processes_[index].get(); }

MARATHON_INLINE void SimCluster::TurnClock(SimProcess& process) {
  const int64_t most = options_.rates.skew_max.count();
  process.runtime.SetSkew(Duration(random_.Between(-most, most)));
}

}  // namespace marathon::inline MARATHON_ABI::testing
