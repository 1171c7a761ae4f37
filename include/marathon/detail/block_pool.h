// BlockPool: memory that one thread takes and another gives back, as a run's is: its client starts it, a
// worker ends it. malloc's caches belong to threads, so that every such pair costs it a contended lock;
// here blocks travel between threads in batches.
//
// Under AddressSanitizer every block is malloc's own, so that it sees what is used too late.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

class BlockPool {
 public:
  static constexpr size_t kLargest = 2048;  // what is larger is malloc's own
  // Whether blocks are kept at all.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kPooled = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  static constexpr bool kPooled = false;
#else
  static constexpr bool kPooled = true;
#endif
#else
  static constexpr bool kPooled = true;
#endif

  static void* Take(size_t size) {
    const size_t kind = KindOf(size);
    if (!kPooled || kind >= kKinds) return ::operator new(size);
    Shelf& shelf = OfThisThread().shelves[kind];
    if (shelf.first == nullptr && !Refill(kind, shelf)) return ::operator new((kind + 1) * kUnit);
    --shelf.count;
    return std::exchange(shelf.first, shelf.first->next);
  }
  // `size` as it was taken.
  static void Give(void* memory, size_t size) noexcept {
    const size_t kind = KindOf(size);
    if (!kPooled || kind >= kKinds) return ::operator delete(memory);
    Shelf& shelf = OfThisThread().shelves[kind];
    if (shelf.count >= 2 * kBatch) PassOn(kind, shelf);
    shelf.first = new (memory) Block{shelf.first};
    ++shelf.count;
  }

 private:
  static constexpr size_t kUnit = 64;
  static constexpr size_t kKinds = kLargest / kUnit;
  static constexpr int kBatch = 32;
  static constexpr size_t kMostBatches = 64;  // of a kind, on the way between threads

  struct Block {
    Block* next;
  };
  struct Shelf {
    Block* first = nullptr;
    int count = 0;
  };
  struct Shelves {
    std::array<Shelf, kKinds> shelves;
    ~Shelves();
  };
  struct Store;

  static size_t KindOf(size_t size) { return (size - 1) / kUnit; }
  static Shelves& OfThisThread() {
    thread_local Shelves shelves;
    return shelves;
  }
  static Store& StoreOf(size_t kind);
  static void Free(Block* block) noexcept;
  // From and to other threads.
  static bool Refill(size_t kind, Shelf& shelf);
  static void PassOn(size_t kind, Shelf& shelf) noexcept;
};

// Base of classes whose objects come from the pool. REQUIRES: deleted as what they are.
class PooledObject {
 public:
  static void* operator new(size_t size) { return BlockPool::Take(size); }
  static void operator delete(void* memory, size_t size) noexcept { BlockPool::Give(memory, size); }
};

// For containers and std::allocate_shared.
template <class T>
class PoolAllocator {
 public:
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) {}  // NOLINT(google-explicit-constructor)

  T* allocate(size_t count) { return static_cast<T*>(BlockPool::Take(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) noexcept { BlockPool::Give(memory, count * sizeof(T)); }
  friend bool operator==(const PoolAllocator&, const PoolAllocator&) { return true; }
};

template <class T>
using PooledVector = std::vector<T, PoolAllocator<T>>;
template <class Key, class T>
using PooledMap = std::unordered_map<Key, T, std::hash<Key>, std::equal_to<Key>,
                                     PoolAllocator<std::pair<const Key, T>>>;

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/detail/block_pool-inl.h"
#endif
