// What an engine asks of the process that it is in. Functions only; safe from any thread.
#pragma once

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

inline constexpr char kNoBuildId[] = "unknown";

// The executable's own build id, as the linker wrote it; kNoBuildId if it wrote none.
std::string ExecutableBuildId();

// How often fork() has made this process from another. Dearer to ask for is getpid(), a system call.
inline std::atomic<int> fork_count{0};
inline int ForkCount() {
  static const int kRegistered = pthread_atfork(nullptr, nullptr, [] { ++fork_count; });
  return kRegistered == 0 ? fork_count.load(std::memory_order_relaxed) : static_cast<int>(getpid());
}

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/engine/process-inl.h"
#endif
