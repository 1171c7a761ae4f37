// A worker of a chaos run: the production engine with the simulator's programs, and activities that
// write each begin and end into the ledger of effects. Ends with 0 after SIGTERM.
#pragma once

#include <cstdint>
#include <string>

namespace marathon::chaos {

// `seed`: of this process's knobs (cache, pools).
int RunWorker(const std::string& folder, const std::string& url, uint64_t seed);

}  // namespace marathon::chaos
