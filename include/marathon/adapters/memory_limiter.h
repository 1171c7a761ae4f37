// Limits in this process's memory: part of NewMemoryPorts, and alone for tests.
#pragma once

#include <memory>

#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/runtime.h"

namespace marathon::inline MARATHON_ABI {

// A new one, of which nothing is taken. Every call completes before it returns. `clock` outlives it.
std::shared_ptr<Limiter> NewMemoryLimiter(const Clock& clock);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/adapters/memory_limiter-inl.h"
#endif
