// What the floors beside the stores write: the bytes of a history's turns, and rows as large as the engine's.
//
// Values; no thread rule.
#pragma once

#include <marathon/marathon.h>

#include <functional>
#include <string>
#include <vector>

#include "bench.h"

namespace bench {

using Convert = std::function<void(const marathon::Payload&)>;

struct FloorRows {
  explicit FloorRows(const marathon::History& sample);

  std::vector<marathon::History> turns;
  std::string run;
  std::string activity;
};

// User code makes every value once and reads it once.
void ConvertAll(const marathon::History& turn, const Convert& convert);

// Calls `step` again and again for about so many seconds; it says how many runs it did. Runs a second.
double RateOf(double seconds, const std::function<int64_t()>& step);

}  // namespace bench
