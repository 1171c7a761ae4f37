// What is kept: long histories that are replayed, and runs that sleep.
#include <malloc.h>
#include <marathon/runtime/thread_runtime.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "bench.h"
#include "place.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double IdlePollMicros(marathon::StateStore& store, marathon::Runtime& runtime) {
  std::vector<double> times;
  for (int i = 0; i < 501; ++i) {
    auto done = runtime.NewOneShot();
    const auto begin = Clock::now();
    store.PollDue({}, [done](marathon::StatusOr<marathon::DueReply> reply) {
      if (!reply.ok()) Die(std::string(reply.status().message()));
      done->Set();
    });
    done->Wait(marathon::OneShot::kForever);
    times.push_back(MicrosSince(begin));
  }
  return Percentile(times, 0.5);
}

// Starts sleepers from many threads, and gives the time of each Start. 1 % of them are added to `sample`.
std::vector<double> StartSleepers(marathon::Engine& engine, int count, int threads, std::vector<marathon::Run>& sample) {
  std::vector<double> latencies(static_cast<size_t>(count));
  std::mutex mutex;  // of `sample`
  std::atomic<int> next{0};
  std::vector<std::jthread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&] {
      for (int i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        const auto begin = Clock::now();
        const marathon::Run run = Must(engine.Start(kParkedWorkflow));
        latencies[static_cast<size_t>(i)] = MicrosSince(begin);
        if (i % 100 != 0) continue;
        const std::lock_guard lock(mutex);
        sample.push_back(run);
      }
    });
  }
  running.clear();
  return latencies;
}

}  // namespace

// ---- Replay

// A second engine over the same store knows the runs from their histories only: each gets the signal that
// it waits for, and is replayed from its first event.
Figures MeasureReplay(const Settings& settings, Place& place, const Workload& workload) {
  const int runs = std::max(3, static_cast<int>(settings.seconds * 10));
  marathon::ThreadRuntime runtime(0, 1);
  marathon::Ports ports = place.Open(runtime);
  std::vector<marathon::RunKey> keys;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(ports, TheRegistry()));
    std::vector<marathon::Run> waiting;
    for (int i = 0; i < runs; ++i) waiting.push_back(Must(workload.start(engine, i)));
    for (const marathon::Run& run : waiting) {
      while (Must(run.Describe()).run.version < 3 * kReplaySteps + 2) std::this_thread::yield();
      keys.push_back(run.key());
    }
  }
  Figures figures;
  double rss = 0;
  double total_us = 0;
  std::vector<double> latencies;
  marathon::History sample;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(ports, TheRegistry()));
    for (int i = 0; i < runs; ++i) {
      const marathon::Run run = engine.Find(keys[static_cast<size_t>(i)].workflow_id);
      const auto begin = Clock::now();
      if (const std::string problem = workload.finish(run, i); !problem.empty()) Die(problem);
      latencies.push_back(MicrosSince(begin));
      total_us += latencies.back();
    }
    CheckHistory(engine.Find(keys[0].workflow_id), workload);
    sample = Must(engine.Find(keys[0].workflow_id).History());
    rss = RssMb();
  }
  ports = {};
  runtime.Stop();
  figures.count = runs;
  figures.workflows_per_s = runs / (total_us / 1e6);
  figures.p50_us = Percentile(latencies, 0.5);
  figures.p99_us = Percentile(latencies, 0.99);
  figures.rss_mb = rss;
  figures.floor_per_s = DecodeFloor(sample, settings.seconds / 2);
  figures.more = {{"events_per_s", figures.workflows_per_s * static_cast<double>(sample.size())}};
  return figures;
}

Workload ReplayWorkload() {
  Workload workload;
  workload.name = "replay-10k";
  workload.steps = kReplaySteps;
  workload.payload_bytes = 4;
  workload.start = [](marathon::Engine& engine, int64_t index) {
    return engine.Start(kReplayWorkflow, index);
  };
  workload.finish = [](const marathon::Run& run, int64_t index) -> std::string {
    if (const auto status = run.Signal(kGoSignal, int64_t{1}); !status.ok()) {
      return std::string(status.message());
    }
    const auto result = run.Result<int64_t>();
    if (!result.ok()) return std::string(result.status().message());
    return *result == index + kReplaySteps + 1 ? "" : "the result is wrong";
  };
  workload.events = {{marathon::EventType::kWorkflowStarted, 1},
                     {marathon::EventType::kActivityScheduled, kReplaySteps},
                     {marathon::EventType::kActivityCompleted, kReplaySteps},
                     {marathon::EventType::kSignalReceived, 1},
                     {marathon::EventType::kWorkflowCompleted, 1}};
  return workload;
}

// ---- Sleepers

Figures MeasureParked(const Settings& settings, Place& place, size_t cache_runs) {
  constexpr int kFew = 100;
  constexpr int kMany = 100'000;
  const int threads = settings.threads > 0 ? settings.threads : place.memory() ? 2 : 64;
  marathon::ThreadRuntime runtime(0, 1);
  marathon::Ports ports = place.Open(runtime);
  marathon::EngineOptions options;
  options.cache_runs = cache_runs;
  std::vector<double> latencies;
  Figures figures;
  marathon::History sample;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(ports, TheRegistry(), options));
    std::vector<marathon::Run> asleep;
    StartSleepers(engine, kFew, threads, asleep);
    asleep.reserve(kMany / 100 + 1);
    const double few_us = IdlePollMicros(*ports.store, runtime);
    malloc_trim(0);
    const double heap = HeapBytes();
    const auto begin = Clock::now();
    latencies = StartSleepers(engine, kMany - kFew, threads, asleep);
    figures.workflows_per_s = (kMany - kFew) / SecondsSince(begin);
    malloc_trim(0);
    const double bytes = (HeapBytes() - heap - 8.0 * kMany) / (kMany - kFew);
    const double many_us = IdlePollMicros(*ports.store, runtime);
    for (const marathon::Run& run : asleep) {
      if (Must(run.History()).size() != 3) Die("a sleeper does not sleep");
    }
    sample = Must(Must(engine.Start(kParkedWorkflow)).History());
    figures.more = {{"bytes_per_run", bytes}, {"idle_poll_us", many_us},
                    {"idle_poll_us_100", few_us}};
    figures.rss_mb = RssMb();
  }
  ports = {};
  runtime.Stop();
  figures.options = "cache_runs=" + std::to_string(cache_runs);
  figures.threads = figures.in_flight = threads;
  figures.count = kMany;
  figures.p50_us = Percentile(latencies, 0.5);
  figures.p99_us = Percentile(latencies, 0.99);
  const auto nothing = [](const marathon::Payload&) {};
  figures.floor_per_s = place.Floor(threads, sample, nothing, settings.seconds / 2);
  return figures;
}

}  // namespace bench
