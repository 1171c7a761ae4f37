// What the benchmark's files share: the workloads, and one measurement's figures.
//
// Every workload is a closed loop: client threads outside the engine keep so many runs in flight, and a
// run's latency is the time from its Start until its Result has returned there.
#pragma once

#include <marathon/marathon.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace bench {

struct Figures {
  std::string workload;
  std::string backend;
  std::string sync;     // "none", "full", "normal"
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
// Decodes the records of `sample`. Gives histories a second.
double DecodeFloor(const marathon::History& sample, double seconds);

// A history cut into the turns that were committed as one.
std::vector<marathon::History> TurnsOf(const marathon::History& history);

[[noreturn]] void Die(const std::string& message);

}  // namespace bench
