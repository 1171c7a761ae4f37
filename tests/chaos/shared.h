// What the processes of a chaos run share: a page of counters that outlives each of them, the
// ledgers that survive them, and the plan of the workload, which follows from the seed alone.
//
// Shared: safe from any process. Ledger: safe from any thread. The rest are values.
#pragma once

#include <atomic>
#include <cstdint>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>

#include "marathon/testing/seeded_random.h"
#include "marathon/testing/sim_program.h"
#include "marathon/time.h"

namespace marathon::chaos {

// The intervals of the run, all set through public options. `lease` also decides how long a pause
// is.
inline constexpr Duration kLease{2'000};
inline constexpr Duration kResend{1'000};
// After the last fault everything ends within this and a quarter of the time of faults.
inline constexpr Duration kLiveness{120'000};

inline constexpr std::string_view kOtherSignal = "other";  // a second sender's; no program reads it

// In a file that every process maps: what is counted here, kill -9 cannot take back.
struct Shared {
  std::atomic<int64_t> drops_wanted{0}, dropped{0};  // hints: the supervisor asks, a worker does it
  std::atomic<int64_t> doubles_wanted{0}, doubled{0};
  std::atomic<int64_t> jobs{0};     // begun by the driver
  std::atomic<bool> enough{false};  // the driver begins no more jobs

  // Null, with a message on stderr, if the file cannot be mapped. Never unmapped.
  static Shared* Map(const std::string& folder);
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

int64_t NowMicros();  // of the clock that all processes share

// A file of lines, written by many processes, each line whole. What `Note` has written is on disk
// before the work goes on; what `Jot` has written survives the process only.
class Ledger {
 public:
  explicit Ledger(const std::string& path);  // aborts if it cannot be opened
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger();

  void Note(std::string_view line);
  void Jot(std::string_view line);

  // The lines of a ledger, each without its time, which comes first in it.
  static void ForEachLine(
      const std::string& path,
      const std::function<void(int64_t micros, std::istringstream& rest)>& what);

 private:
  const int file_;
};

inline std::string EffectsPath(const std::string& folder) { return folder + "/effects"; }
inline std::string DriverPath(const std::string& folder) { return folder + "/driver"; }

// One workflow of the workload, and what its user does to it.
struct Job {
  std::string id;
  testing::SimProgram program;
  int64_t signals = 0;  // the numbers 0, 1, 2 …; those the program does not read race with its end
  int64_t other_signals = 0;  // from a second sender, at the same time
  bool signal_with_start = false;
  bool terminate = false, cancel = false;
  bool rest = false;  // it is paused, and resumed
  Duration run_timeout{0};

  static Job Draw(uint64_t seed, int64_t number);
  // The job that a workflow of the workload belongs to: its own, "job-7", or a child of it, "job-7/200". 0: none.
  static int64_t NumberOf(std::string_view workflow_id);
};

}  // namespace marathon::chaos
