// Counts what coroutine frames cost, so that the run cache can bound its memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "marathon/config.h"
#include "marathon/detail/block_pool.h"

namespace marathon::inline MARATHON_ABI::detail {

// Bytes of workflow frames that this thread has allocated less those it has freed. A run's frames are
// made and destroyed only inside its turns, so the difference over a turn is the run's growth.
inline int64_t& FrameBytesOfThisThread() {
  thread_local int64_t bytes = 0;
  return bytes;
}

// Base of promises: the coroutine's frame comes from here.
class FrameMemory {
 public:
  static void* operator new(size_t size) {
    void* frame = BlockPool::Take(size);
    FrameBytesOfThisThread() += static_cast<int64_t>(size);
    return frame;
  }
  static void operator delete(void* frame, size_t size) noexcept {
    FrameBytesOfThisThread() -= static_cast<int64_t>(size);
    BlockPool::Give(frame, size);
  }
};

}  // namespace marathon::inline MARATHON_ABI::detail
