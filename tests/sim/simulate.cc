// The simulator's runner: see run.sh.
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "marathon/testing/mutants.h"
#include "marathon/testing/simulator.h"

namespace {

using marathon::testing::FaultCounts;
using marathon::testing::SimCoverage;
using marathon::testing::SimOptions;
using marathon::testing::SimReport;
using marathon::testing::Simulate;

constexpr uint64_t kSelfChecks = 50;    // seeds that are run twice, to see that they repeat
constexpr uint64_t kMutantSeeds = 500;  // within which each mutant must be found
constexpr uint64_t kCoveringSeeds = 2'000;  // so many must have used every operation
constexpr size_t kTraceLines = 200;     // shown of a failure
constexpr size_t kFailuresShown = 20;
constexpr size_t kWholeTrace = 10'000'000;
// How the hunt for a mutant exits.
constexpr int kCaught = 0;
constexpr int kNotCaught = 3;  // not 1: sanitizers and the like exit with that

struct Totals {
  uint64_t seeds = 0;
  uint64_t violations = 0;
  uint64_t runs = 0;
  uint64_t split = 0;  // seeds with a queue of another domain
  uint64_t lost_tails = 0;
  uint64_t lost_writes = 0;
  uint64_t late_starts = 0;
  uint64_t dead_letters = 0;
  double virtual_seconds = 0;
  FaultCounts counts;
  SimCoverage coverage;

  void Add(const SimReport& report) {
    ++seeds;
    violations += !report.violation.empty();
    runs += report.runs;
    split += report.split_domains;
    lost_tails += report.lost_tails;
    lost_writes += report.lost_writes;
    late_starts += report.late_starts;
    dead_letters += report.dead_letters;
    virtual_seconds += static_cast<double>(report.virtual_micros) / 1e6;
    counts += report.counts;
    coverage += report.coverage;
  }
};

void PrintFailure(const SimReport& report) {
  const SimReport again = Simulate({.seed = report.seed, .trace_lines = kTraceLines});
  for (const std::string& line : again.trace) fmt::print("{}\n", line);
  fmt::print("{}\n", again.culprit);
  if (again.hash != report.hash) fmt::print("seed {} did not repeat exactly\n", report.seed);
  fmt::print("replay: tests/sim/run.sh --seed {}\n", report.seed);
}

// Names the first ones, and shows the very first in detail.
void PrintFailures(const std::vector<SimReport>& reports) {
  size_t shown = 0;
  for (const SimReport& report : reports) {
    if (report.violation.empty() || shown == kFailuresShown) continue;
    if (shown++ == 0) PrintFailure(report);
    fmt::print("seed {}: {}\n", report.seed, report.violation);
  }
}

// Runs seeds first … first+count-1 on all cores; the reports come in the order of seeds.
std::vector<SimReport> RunSeeds(uint64_t first, uint64_t count) {
  std::vector<SimReport> reports(count);
  std::atomic<uint64_t> next = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back([&] {
      for (uint64_t at = next++; at < count; at = next++) {
        reports[at] = Simulate({.seed = first + at});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return reports;
}

// What a mean seed must have met for the result to mean something.
bool EnoughHappened(const Totals& totals) {
  const auto seeds = static_cast<double>(totals.seeds);
  const auto enough = [seeds](std::string_view what, double total, double least) {
    if (total >= least * seeds) return true;
    fmt::print("too little happened: {:.1f} {} a seed, not {}\n", total / seeds, what, least);
    return false;
  };
  const FaultCounts& counts = totals.counts;
  bool all = enough("commits", static_cast<double>(counts.commits), 60);
  all &= enough("crashes", static_cast<double>(counts.crashes), 5);
  all &= enough("ambiguous commits", static_cast<double>(counts.ambiguous), 10);
  all &= enough("duplicates", static_cast<double>(counts.duplicated), 10);
  all &= enough("lost tails", static_cast<double>(totals.lost_tails), 0.2);
  all &= enough("virtual seconds", totals.virtual_seconds, 100);
  return all;
}

// The public operations that were used, and whether those are all that should be.
bool EverythingIsCovered(const Totals& totals) {
  const SimCoverage& coverage = totals.coverage;
  fmt::print("covered: {}\nnot covered: {}\n", coverage.Covered(), coverage.LeftOut());
  const std::string missing = coverage.Missing();
  if (missing.empty()) return true;
  fmt::print("never used: {}\n", missing);
  return totals.seeds < kCoveringSeeds;
}

void PrintSummary(const Totals& totals) {
  const FaultCounts& counts = totals.counts;
  fmt::print(
      "seeds {}, virtual years {:.4f}, commits {}, crashes {}, ambiguous {}, duplicates {}, lost {}, "
      "violations {}\n",
      totals.seeds, totals.virtual_seconds / (365.25 * 86'400), counts.commits, counts.crashes,
      counts.ambiguous, counts.duplicated, counts.lost, totals.violations);
}

bool RepeatsItself(const std::vector<SimReport>& reports) {
  for (size_t i = 0; i < std::min<size_t>(kSelfChecks, reports.size()); ++i) {
    const SimReport again = Simulate({.seed = reports[i].seed});
    if (again.hash == reports[i].hash && again.steps == reports[i].steps) continue;
    fmt::print("seed {} does not repeat itself: {} steps, then {}\n", again.seed, reports[i].steps,
               again.steps);
    return false;
  }
  return true;
}

int RunMany(uint64_t first, uint64_t count) {
  const std::clock_t begin = std::clock();
  const std::vector<SimReport> reports = RunSeeds(first, count);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  Totals totals;
  for (const SimReport& report : reports) totals.Add(report);
  PrintFailures(reports);
  const bool repeats = RepeatsItself(reports);
  const bool enough = EnoughHappened(totals);
  const bool covered = EverythingIsCovered(totals);
  fmt::print(
      "{:.0f} seeds/s/core, {} with split domains, {} lost tails of {} writes, {} runs, {} late starts, "
      "{} dead letters\n",
      static_cast<double>(count) / seconds, totals.split, totals.lost_tails, totals.lost_writes,
      totals.runs, totals.late_starts, totals.dead_letters);
  PrintSummary(totals);
  return totals.violations == 0 && repeats && enough && covered ? 0 : 1;
}

int RunOne(uint64_t seed) {
  const SimReport report = Simulate({.seed = seed, .trace_lines = kWholeTrace});
  for (const std::string& line : report.trace) fmt::print("{}\n", line);
  if (!report.violation.empty()) {
    fmt::print("{}\nseed {}: {}\n", report.culprit, seed, report.violation);
  }
  Totals totals;
  totals.Add(report);
  PrintSummary(totals);
  return report.violation.empty() ? 0 : 1;
}

// In a process of its own, because a mutant may well bring the process down. Writes what it found.
[[noreturn]] void HuntMutant(std::string_view name, bool loses_tail, int out) {
  std::fclose(stderr);  // the engine's complaints about its broken self
  marathon::testing::SetMutant(name);
  for (uint64_t seed = 1; seed <= kMutantSeeds; ++seed) {
    dprintf(out, "%d\n", static_cast<int>(seed));
    SimOptions options{.seed = seed};
    if (loses_tail) options.loses_tail = true;
    const SimReport report = Simulate(options);
    if (report.violation.empty()) continue;
    dprintf(out, "%s\n", report.violation.c_str());
    _exit(kCaught);
  }
  _exit(kNotCaught);
}

bool FindMutant(std::string_view name, bool loses_tail) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) HuntMutant(name, loses_tail, ends[1]);
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const auto seeds = std::count(text.begin(), text.end(), '\n');
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCaught) {
    text.pop_back();
    fmt::print("{:<28} {:>5}  {}\n", name, seeds - 1, text.substr(text.rfind('\n') + 1));
    return true;
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
    fmt::print("{:<28} {:>5}  an assertion or a sanitizer ended the process\n", name, seeds);
    return true;
  }
  fmt::print("{:<28} {:>5}  NOT CAUGHT", name, seeds);
  // Whatever else ends a process, such as the kernel for want of memory, has found nothing.
  if (WIFSIGNALED(status)) fmt::print(": it died of signal {}", WTERMSIG(status));
  if (WIFEXITED(status) && WEXITSTATUS(status) != kNotCaught) fmt::print(": it exited with {}", WEXITSTATUS(status));
  fmt::print("\n");
  return false;
}

bool FindMutants() {
  if (!marathon::testing::kMutantsBuiltIn) {
    fmt::print("this build has no mutants: use build/mutants\n");
    return false;
  }
  fmt::print("{:<28} {:>5}  {}\n", "mutant", "seeds", "caught as");
  bool all = true;
  for (const std::string_view name : marathon::testing::kMutants) all &= FindMutant(name, false);
  for (const std::string_view name : marathon::testing::kTailMutants) all &= FindMutant(name, true);
  return all;
}

int Usage() {
  fmt::print(stderr, "usage: run.sh --seeds N [--first S] | --seed S | --mutants [--seeds N]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seeds = 0;
  uint64_t first = 1;
  uint64_t one = 0;
  bool mutants = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--mutants") {
      mutants = true;
      continue;
    }
    if (i + 1 == argc) return Usage();
    const uint64_t value = std::strtoull(argv[++i], nullptr, 10);
    if (flag == "--seeds") {
      seeds = value;
    } else if (flag == "--seed") {
      one = value;
    } else if (flag == "--first") {
      first = value;
    } else {
      return Usage();
    }
  }
  if (one == 0 && seeds == 0 && !mutants) return Usage();
  if (mutants && !FindMutants()) return 1;
  return one != 0 ? RunOne(one) : RunMany(first, seeds != 0 ? seeds : 200);
}
