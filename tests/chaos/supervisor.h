// The supervisor of a chaos run: starts the servers, the workers and the driver, brings the faults
// over them that its seed decides, lets all come to rest, and has everything audited.
#pragma once

#include <cstdint>
#include <string>

namespace marathon::chaos {

struct ChaosOptions {
  std::string backend;
  int64_t seconds = 60;
  uint64_t seed = 1;
};

// The exit status: 0; 1 on a violation, or when too little happened; 2 when nothing could be tried.
int Supervise(const ChaosOptions& options);

}  // namespace marathon::chaos
