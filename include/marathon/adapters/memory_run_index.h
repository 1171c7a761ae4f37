// MemoryRunIndex: runs by workflow id, one of each. Open addressing: a search reads a few neighbouring hashes and then,
// nearly always, the one run that it wants.
//
// Under the lock of its shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "marathon/adapters/memory_run.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

class MemoryRunIndex {
 public:
  // None: nullptr.
  MemoryRun* Find(std::string_view workflow_id) const {
    if (runs_.empty()) return nullptr;
    return runs_[PlaceOf(HashOf(workflow_id), workflow_id)];
  }

  // Puts it where the one of its workflow id is, which is answered, or nullptr.
  MemoryRun* Put(MemoryRun& run) {
    if (4 * (size_ + 1) > 3 * runs_.size()) Grow();
    const uint32_t hash = HashOf(run.key.workflow_id);
    const size_t place = PlaceOf(hash, run.key.workflow_id);
    MemoryRun* const before = runs_[place];
    if (before == nullptr) ++size_;
    hashes_[place] = hash;
    runs_[place] = &run;
    return before;
  }

  // Takes it out, if it is this very one.
  void Remove(const MemoryRun& run) {
    if (runs_.empty()) return;
    size_t hole = PlaceOf(HashOf(run.key.workflow_id), run.key.workflow_id);
    if (runs_[hole] != &run) return;
    --size_;
    // Those behind it that would not be found any more move up.
    for (size_t i = Next(hole); runs_[i] != nullptr; i = Next(i)) {
      const size_t wants = hashes_[i] & mask();
      if (((i - wants) & mask()) < ((i - hole) & mask())) continue;
      hashes_[hole] = hashes_[i];
      runs_[hole] = runs_[i];
      hole = i;
    }
    runs_[hole] = nullptr;
  }

 private:
  static uint32_t HashOf(std::string_view id) {
    return static_cast<uint32_t>(std::hash<std::string_view>()(id));
  }
  size_t mask() const { return runs_.size() - 1; }
  size_t Next(size_t place) const { return (place + 1) & mask(); }

  // Where the run of this id is, or would be.
  size_t PlaceOf(uint32_t hash, std::string_view workflow_id) const {
    size_t place = hash & mask();
    while (runs_[place] != nullptr && !(hashes_[place] == hash && runs_[place]->key.workflow_id == workflow_id)) {
      place = Next(place);
    }
    return place;
  }

  void Grow() {
    constexpr size_t kFirst = 16;
    std::vector<uint32_t> hashes(runs_.empty() ? kFirst : 2 * runs_.size());
    std::vector<MemoryRun*> runs(hashes.size());
    hashes.swap(hashes_);
    runs.swap(runs_);
    for (size_t i = 0; i < runs.size(); ++i) {
      if (runs[i] == nullptr) continue;
      size_t place = hashes[i] & mask();
      while (runs_[place] != nullptr) place = Next(place);
      hashes_[place] = hashes[i];
      runs_[place] = runs[i];
    }
  }

  std::vector<uint32_t> hashes_;
  std::vector<MemoryRun*> runs_;  // a power of two, a quarter of them empty
  size_t size_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::detail
