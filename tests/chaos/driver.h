// The driver of a chaos run: the users of its workflows. It starts them, signals them in order,
// ends some, and waits for all; what it means to do and what it was told goes into its ledger, so
// that the next driver goes on where a killed one was.
//
//   start N            a workflow is about to be started
//   started N RUN      … and was
//   signal N WHICH K   the Kth signal of a sender is about to be sent (WHICH: signal, other)
//   signaled N WHICH K … and was taken; `refused`: the run was closed
//   terminate N, terminated N
//   ended N HOW TEXT   completed, failed, terminated, timed-out
//   wrong N TEXT       an answer that should never be given
#pragma once

#include <cstdint>
#include <string>

namespace marathon::chaos {

// Ends with 0 when Shared::enough is set and all that was begun has ended.
int RunDriver(const std::string& folder, const std::string& url, uint64_t seed);

}  // namespace marathon::chaos
