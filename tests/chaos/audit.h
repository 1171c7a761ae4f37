// The audit of a chaos run, when all is quiet: everything in the store is read and held against the
// ledgers, the oracle and the programs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace marathon::chaos {

// By invariant. Each has an entry from the beginning, so that its zero is printed, too.
class Violations {
 public:
  Violations();
  void Add(std::string_view invariant, std::string what);
  int64_t count() const;
  std::string Summary() const;              // "0 liveness, 0 results, …"
  void Print() const;                       // the first few of each

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> by_invariant_;
};

struct AuditResult {
  int64_t workflows = 0;        // that have ended
  int64_t duplicates = 0;       // activities of which one attempt began more than once
  int64_t late_starts = 0;      // … of which one began when its result was recorded, by a worker that slept
  int64_t dead_letters = 0;     // activities given up, since they had lost so many workers
};

// `url`: the store's. Waits for it to be there.
AuditResult Audit(const std::string& folder, const std::string& url, uint64_t seed,
                  Violations& violations);

}  // namespace marathon::chaos
