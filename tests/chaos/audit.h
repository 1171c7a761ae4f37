// The audit of a chaos run, when all is quiet: everything in the store is read and held against the
// ledgers, the oracle and the programs.
#pragma once

#include <cstdint>
#include <string>

#include "violations.h"

namespace marathon::chaos {

struct AuditResult {
  int64_t workflows = 0;   // of the driver's, whose chains of runs have ended
  int64_t followers = 0;   // runs that went on where another of their chain had ended
  int64_t children = 0;    // … of these workflows, that have ended
  int64_t rests = 0;       // of runs that stayed where they were while they were paused
  int64_t duplicates = 0;  // activities of which one attempt began more than once
  int64_t late_starts =
      0;  // … of which one began when its result was recorded, by a worker that slept
  int64_t dead_letters = 0;  // activities given up, since they had lost so many workers
};

// `url`: the store's. Waits for it to be there.
AuditResult Audit(const std::string& folder, const std::string& url, uint64_t seed,
                  Violations& violations);

}  // namespace marathon::chaos
