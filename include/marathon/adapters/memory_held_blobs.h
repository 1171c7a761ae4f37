// MemoryHeldBlobs: the blobs that runs of a memory store hold, those of all its shards.
//
// Safe from any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/runtime.h"
#include "marathon/status.h"
#include "marathon/store/blob_rules.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class MemoryHeldBlobs {
 public:
  // `clock` outlives it.
  explicit MemoryHeldBlobs(const Clock& clock) : clock_(clock) {}

  // One more holds this blob.
  void Hold(NamedBlob&& blob) {
    const std::lock_guard lock(mutex_);
    Forget(kSweptAlong);
    Blob& kept = blobs_[blob.ref.sha256];
    if (++kept.holders == 1) kept.bytes = std::move(blob.bytes);
  }
  // … and one fewer does.
  void Release(const std::string& sha256) {
    const std::lock_guard lock(mutex_);
    Forget(kSweptAlong);
    Blob& kept = blobs_.at(sha256);
    if (--kept.holders > 0) return;
    kept.released = clock_.Now();
    released_.emplace_back(kept.released, sha256);
  }
  // Of the bytes only the size is checked: they never left this process, where they were named.
  StatusOr<std::vector<std::string>> Read(const std::vector<BlobRef>& refs) const {
    if (Status status = CheckRefs(refs); !status.ok()) return status;
    std::vector<std::string> found;
    const std::lock_guard lock(mutex_);
    for (const BlobRef& ref : refs) {
      const auto blob = blobs_.find(ref.sha256);
      if (blob == blobs_.end()) return NoSuchBlob(ref);
      if (Status status = CheckBlobSize(ref, blob->second.bytes); !status.ok()) return status;
      found.push_back(blob->second.bytes);
    }
    return found;
  }
  // Forgets up to `limit` that nobody has held for limits::kBlobGrace; how many they were.
  int64_t Sweep(int limit) {
    const std::lock_guard lock(mutex_);
    return Forget(limit);
  }
  int64_t size() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(blobs_.size());
  }

 private:
  static constexpr int kSweptAlong = 8;  // by each that comes or goes: so they never become many

  struct Blob {
    std::string bytes;
    int64_t holders = 0;
    Time released{};  // if nobody holds it
  };

  int64_t Forget(int limit) {
    int64_t forgotten = 0;
    const Time before = clock_.Now() - limits::kBlobGrace;
    for (; limit > 0 && !released_.empty() && released_.front().first <= before; --limit) {
      const auto blob = blobs_.find(released_.front().second);
      // It may have been held and released again since, and stands behind, too.
      const bool gone = blob != blobs_.end() && blob->second.holders == 0 &&
                        blob->second.released == released_.front().first;
      if (gone) blobs_.erase(blob);
      forgotten += gone;
      released_.pop_front();
    }
    return forgotten;
  }

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Blob> blobs_;  // by digest
  std::deque<std::pair<Time, std::string>> released_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
