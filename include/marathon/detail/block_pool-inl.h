#pragma once

#include "marathon/detail/block_pool.h"

#include <mutex>

namespace marathon::inline MARATHON_ABI::detail {

struct BlockPool::Store {
  std::mutex mutex;
  std::vector<Block*> batches;
  Store() { batches.reserve(kMostBatches); }
};

MARATHON_INLINE BlockPool::Shelves::~Shelves() {
  for (Shelf& shelf : shelves) Free(std::exchange(shelf.first, nullptr));
}

// Never destroyed: threads may end after it would be.
MARATHON_INLINE BlockPool::Store& BlockPool::StoreOf(size_t kind) {
  static auto* const kStores = new std::array<Store, kKinds>;
  return (*kStores)[kind];
}

MARATHON_INLINE void BlockPool::Free(Block* block) noexcept {
  while (block != nullptr) ::operator delete(std::exchange(block, block->next));
}

MARATHON_INLINE bool BlockPool::Refill(size_t kind, Shelf& shelf) {
  Store& store = StoreOf(kind);
  std::lock_guard lock(store.mutex);
  if (store.batches.empty()) return false;
  shelf = {store.batches.back(), kBatch};
  store.batches.pop_back();
  return true;
}

MARATHON_INLINE void BlockPool::PassOn(size_t kind, Shelf& shelf) noexcept {
  Block* last = shelf.first;
  for (int i = 1; i < kBatch; ++i) last = last->next;
  Block* batch = std::exchange(shelf.first, std::exchange(last->next, nullptr));
  shelf.count -= kBatch;
  Store& store = StoreOf(kind);
  {
    std::lock_guard lock(store.mutex);
    if (store.batches.size() < kMostBatches) store.batches.push_back(std::exchange(batch, nullptr));
  }
  Free(batch);
}

}  // namespace marathon::inline MARATHON_ABI::detail
