// Blobs in this process's memory: part of NewMemoryPorts, and alone for tests.
#pragma once

#include <memory>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/runtime.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// A new, empty one. Every call completes before it returns. `clock` outlives it.
std::shared_ptr<BlobStore> NewMemoryBlobs(const Clock& clock, Duration keep = limits::kBlobKeep);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/adapters/memory_blobs-inl.h"
#endif
