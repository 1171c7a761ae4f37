// MemoryArena: memory for what a shard keeps, such as runs and their records. It never goes back to malloc before the
// arena ends, but from one kept thing to the next, as those that are kept longest make room for new ones. So a run costs
// its size and no more, it lies beside its records, and what is new is carved from a chunk with a few instructions.
//
// Under AddressSanitizer everything is malloc's own, so that it sees what is used too late.
//
// Under the lock of its shard.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/block_pool.h"

namespace marathon::inline MARATHON_ABI::detail {

class MemoryArena {
 public:
  MemoryArena() = default;
  MemoryArena(const MemoryArena&) = delete;
  MemoryArena& operator=(const MemoryArena&) = delete;

  void* Take(size_t size) {
    const size_t kind = KindOf(size);
    if (!BlockPool::kPooled || kind >= kKinds) return ::operator new(size);
    if (free_[kind] != nullptr) return std::exchange(free_[kind], free_[kind]->next);
    const size_t bytes = (kind + 1) * kUnit;
    if (static_cast<size_t>(end_ - next_) < bytes) AddChunk();
    return std::exchange(next_, next_ + bytes);
  }
  // `size` as it was taken.
  void Give(void* memory, size_t size) noexcept {
    const size_t kind = KindOf(size);
    if (!BlockPool::kPooled || kind >= kKinds) return ::operator delete(memory);
    free_[kind] = new (memory) Block{free_[kind]};
  }

 private:
  static constexpr size_t kUnit = 16;
  static constexpr size_t kKinds = 64;  // what is larger than 1 KiB is malloc's own
  static constexpr size_t kFirstChunk = size_t{8} << 10;
  static constexpr size_t kLargestChunk = size_t{1} << 20;

  struct Block {
    Block* next;
  };

  static size_t KindOf(size_t size) { return (std::max<size_t>(size, 1) - 1) / kUnit; }
  void AddChunk() {
    const size_t size = std::min(kFirstChunk << std::min<size_t>(chunks_.size(), 10), kLargestChunk);
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    next_ = chunks_.back().get();
    end_ = next_ + size;
  }

  std::array<Block*, kKinds> free_{};
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* next_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace marathon::inline MARATHON_ABI::detail
