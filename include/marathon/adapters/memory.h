// The memory store: everything the engine promises but survival of the process. For development,
// tests, simulation, and work that may be lost.
//
//   auto engine = marathon::Engine::Open("memory:", registry);   // built in
//
// It polls nothing and starts no thread; every call completes before it returns. The same calls in
// the same order give the same answers, and the same callbacks in the same order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/runtime.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

struct MemoryOptions {
  // Closed runs are kept so long, and up to about so many bytes; beyond that the oldest are forgotten.
  Duration closed_keep = limits::kRetention;
  size_t closed_bytes = 256u << 20;
  Duration blob_keep = limits::kBlobKeep;
  Duration stream_keep = limits::kStreamKeep;
};

// A new, empty store, its queue, and what stands beside them. Engines that share it are workers of one cluster. `clock`
// outlives it.
Ports NewMemoryPorts(const Clock& clock, MemoryOptions options = {});

// What "memory:" stands for: each Open has a store of its own.
Backend MemoryBackend(MemoryOptions options = {});

// How many entries of the due index polls of this store have looked at, ever: what the cost of an
// idle poll is made of. REQUIRES: `store` came from NewMemoryPorts.
int64_t MemoryDueVisited(const StateStore& store);
// How many blobs runs of this store hold, or held until limits::kBlobGrace ago. REQUIRES: as above.
int64_t MemoryBlobsHeld(const StateStore& store);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/adapters/memory-inl.h"
#endif
