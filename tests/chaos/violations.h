// Violations: what went against the promises in a chaos run, by invariant.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace marathon::chaos {

// Each invariant has an entry from the beginning, so that its zero is printed, too.
class Violations {
 public:
  Violations();
  void Add(std::string_view invariant, std::string what);
  int64_t count() const;
  std::string Summary() const;  // "0 liveness, 0 results, …"
  void Print() const;           // the first few of each

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> by_invariant_;
};

}  // namespace marathon::chaos
