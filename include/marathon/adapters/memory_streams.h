// Streams in this process's memory: part of NewMemoryPorts, and alone for tests.
#pragma once

#include <memory>

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/runtime.h"
#include "marathon/stream_log.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// A new, empty one. Every call but a read that waits completes before it returns. `clock` outlives it.
std::shared_ptr<StreamLog> NewMemoryStreams(const Clock& clock, Duration keep = limits::kStreamKeep);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/adapters/memory_streams-inl.h"
#endif
