// What the benchmark's files share: the workloads, and one measurement's figures.
//
// Every workload is a closed loop: client threads outside the engine keep so many runs in flight, and a
// run's latency is the time from its Start until its Result has returned there.
#pragma once

#include <marathon/marathon.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace marathon::tests {
class RedisServer;
}

namespace bench {

struct Figures {
  std::string workload;
  std::string backend;
  std::string sync;     // "none"; "full", "normal"; "always", "everysec", "no"
  int threads = 1;      // that call Start and Result
  int in_flight = 1;
  int payload_bytes = 0;
  std::string options = "default";
  int64_t count = 0;    // runs (replay-10k: replays)
  double workflows_per_s = 0;
  double steps_per_s = 0;
  double p50_us = 0;
  double p99_us = 0;
  double cpu_us = 0;    // of a run, clients included; for the table only
  double rss_mb = 0;
  double floor_per_s = 0;
  double floor_ratio = 0;  // workflows_per_s / floor_per_s
  std::vector<std::pair<std::string, double>> more;  // keys that only some workloads have
};

// A kind of run. `index` tells runs apart; the result must depend on it.
struct Workload {
  std::string name;
  int steps = 1;          // activities, timers or signals of a run
  int payload_bytes = 0;  // of each encoded input and result
  bool has_timers = false;
  std::function<marathon::StatusOr<marathon::Run>(marathon::Engine&, int64_t index)> start;
  // Waits for the result and checks it; a message says what is wrong.
  std::function<std::string(const marathon::Run&, int64_t index)> finish;
  // What the history must hold besides turn markers, in any order.
  std::vector<std::pair<marathon::EventType, int>> events;
  // Decodes and encodes a payload, as user code would once for each.
  std::function<void(const marathon::Payload&)> convert;
};

// The closed loops, and the code of all workloads.
std::vector<Workload> Workloads();
void BindAll(marathon::Registry& registry);

inline constexpr std::string_view kReplayWorkflow = "Replay10k";
inline constexpr int kReplaySteps = 3'333;  // three events each
inline constexpr std::string_view kParkedWorkflow = "Parked";
inline constexpr std::string_view kGoSignal = "go";

// ---- Floors: bare loops that store the same bytes as often, for histories like `sample`. They give runs
// a second, over about `seconds`.

// Encodes each turn's events and keeps the bytes in a map.
double MemoryFloor(const marathon::History& sample,
                   const std::function<void(const marathon::Payload&)>& convert, double seconds);
// Writes each turn as one commit through the C API of SQLite: a log row, the run's row, and those of its
// activities, timers and signals. So many runs share each transaction.
double SqliteFloor(const std::string& path, bool full_sync, int group,
                   const marathon::History& sample,
                   const std::function<void(const marathon::Payload&)>& convert, double seconds);
// Writes each turn as one transaction to a server, a group of runs in one pipeline.
double RedisFloor(marathon::tests::RedisServer& server, int group, const marathon::History& sample,
                  const std::function<void(const marathon::Payload&)>& convert, double seconds);
// Decodes the records of `sample`. Gives histories a second.
double DecodeFloor(const marathon::History& sample, double seconds);

// A history cut into the turns that were committed as one.
std::vector<marathon::History> TurnsOf(const marathon::History& history);

// ---- Measuring

class Place;

struct Settings {
  std::string json;
  std::string workload;  // empty: all
  std::string backend;   // empty: all
  std::string folder = ".";
  double seconds = 3;    // a round
  int rounds = 5;
  int threads = 0;       // 0: chosen
  int in_flight = 0;     // 0: 1 and 128
  int payload = -1;      // -1: all
};

// So many runs in flight at all times; the median of rounds that alternate with the floor.
Figures MeasureLoop(const Settings& settings, Place& place, const Workload& workload, int in_flight);
// Runs that are rebuilt from long histories.
Figures MeasureReplay(const Settings& settings, Place& place, const Workload& workload);
Workload ReplayWorkload();
// 100,000 runs that sleep, with so many of them in the cache.
Figures MeasureParked(const Settings& settings, Place& place, size_t cache_runs);
// A thousand agents at a time, whose models stream, beside bare libcurl.
Figures MeasureAgentStream(const Settings& settings, Place& place);
// One agent that takes 200 turns, one after another, and what its history comes to.
Figures MeasureAgentHistory(const Settings& settings, Place& place);
Workload AgentWorkload(std::string name);

marathon::History CheckHistory(const marathon::Run& run, const Workload& workload);  // reads it back
double SecondsSince(std::chrono::steady_clock::time_point begin);
double MicrosSince(std::chrono::steady_clock::time_point begin);
double Percentile(std::vector<double>& values, double share);
double RssMb();
double CpuSeconds();  // of this process
double HeapBytes();   // allocated and not freed, with what malloc adds to it

[[noreturn]] void Die(const std::string& message);

template <class T>
T Must(marathon::StatusOr<T> value) {
  if (!value.ok()) Die(std::string(value.status().message()));
  return *std::move(value);
}

}  // namespace bench
