// Simulate: one seed's life of a whole cluster, in one thread and in virtual time. Three workers with
// caches and a client share one store and one queue; random programs run while workers crash, freeze and
// misread the clock, calls fail or are ambiguous, and hints get lost, doubled and late. Then all heals,
// and everything must end as if nothing had happened. The engine is the production one.
//
//   SimReport report = Simulate({.seed = 7});
//   EXPECT_EQ(report.violation, "");
//
// The same seed gives the same execution, entry by entry: `hash` tells. Safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/sim_coverage.h"

namespace marathon::inline MARATHON_ABI::testing {

struct SimOptions {
  uint64_t seed = 1;
  std::optional<FaultRates> rates;  // none: drawn from the seed, the plain mix for every fourth
  // The queue is of another domain than the store, and hints are lost, doubled and late on the way there,
  // too. None: so for every third seed or so.
  std::optional<bool> split_domains;
  // The store goes back in time now and then, as one does whose server is killed before its log is on disk;
  // its queue is of another domain. None: so for every sixth seed or so. What is promised then is less: all
  // above holds from each loss on, if users ask again, with the same request ids, for what they had asked for;
  // but a signal that is on its way during a loss may come before those that were lost.
  std::optional<bool> loses_tail;
  size_t trace_lines = 0;           // how many of the last lines of the trace to keep; 0: none
};

struct SimReport {
  uint64_t seed = 0;
  std::string violation;  // empty: all promises were kept
  FaultCounts counts;
  bool split_domains = false;
  uint64_t lost_tails = 0;   // times that the store went back
  uint64_t lost_writes = 0;  // … and the writes that this undid
  uint64_t runs = 0;
  uint64_t steps = 0;
  uint64_t late_starts = 0;   // work that began when its outcome was already known; allowed, and counted
  uint64_t dead_letters = 0;  // activities given up because they met five crashes in a row
  int64_t virtual_micros = 0;
  uint64_t hash = 0;
  SimCoverage coverage;       // the public operations that were used
  std::vector<std::string> trace;
  std::string culprit;  // with a trace: where the violated run stands, and its history
};

SimReport Simulate(const SimOptions& options);

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/simulator-inl.h"
#endif
