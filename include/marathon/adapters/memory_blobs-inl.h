#pragma once

#include "marathon/adapters/memory_blobs.h"

#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/store/blob_rules.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

class MemoryBlobs final : public BlobStore {
 public:
  MemoryBlobs(const Clock& clock, Duration keep) : clock_(clock), keep_(keep) {}

  void Put(std::vector<std::string> blobs, Done<std::vector<BlobRef>> done) override {
    auto refs = NameBlobs(blobs);
    if (refs.ok()) {
      const std::lock_guard lock(mutex_);
      Forget(kSweptByPut);
      for (size_t i = 0; i < blobs.size(); ++i) Keep((*refs)[i].sha256, std::move(blobs[i]));
    }
    done(std::move(refs));
  }

  void Get(std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override {
    done(Find(refs));
  }

  void Sweep(int limit, Done<int64_t> done) override {
    int64_t forgotten;
    {
      const std::lock_guard lock(mutex_);
      forgotten = Forget(limit);
    }
    done(forgotten);
  }

 private:
  static constexpr int kSweptByPut = 8;

  struct Blob {
    std::string sha256, bytes;
    Time used{};
  };
  using Blobs = std::list<Blob>;

  StatusOr<std::vector<std::string>> Find(const std::vector<BlobRef>& refs) {
    if (Status status = CheckRefs(refs); !status.ok()) return status;
    std::vector<std::string> found;
    const std::lock_guard lock(mutex_);
    for (const BlobRef& ref : refs) {
      const auto blob = by_name_.find(ref.sha256);
      if (blob == by_name_.end()) return NoSuchBlob(ref);
      if (Status status = CheckBlob(ref, blob->second->bytes); !status.ok()) return status;
      found.push_back(blob->second->bytes);
      Use(blob->second);
    }
    return found;
  }

  // With mutex_ held.
  void Keep(const std::string& sha256, std::string bytes) {
    if (const auto found = by_name_.find(sha256); found != by_name_.end()) return Use(found->second);
    blobs_.push_back({sha256, std::move(bytes), clock_.Now()});
    by_name_.emplace(blobs_.back().sha256, std::prev(blobs_.end()));
  }
  void Use(Blobs::iterator blob) {
    blob->used = clock_.Now();
    blobs_.splice(blobs_.end(), blobs_, blob);
  }
  int64_t Forget(int limit) {
    int64_t forgotten = 0;
    for (const Time now = clock_.Now(); forgotten < limit && !blobs_.empty(); ++forgotten) {
      if (AddSaturated(blobs_.front().used, keep_) > now && !MARATHON_MUTANT("blobs_swept_early")) break;
      by_name_.erase(blobs_.front().sha256);
      blobs_.pop_front();
    }
    return forgotten;
  }

  const Clock& clock_;
  const Duration keep_;
  std::mutex mutex_;
  Blobs blobs_;  // the one that was used the longest time ago is the first
  std::unordered_map<std::string_view, Blobs::iterator> by_name_;
};

}  // namespace detail

MARATHON_INLINE std::shared_ptr<BlobStore> NewMemoryBlobs(const Clock& clock, Duration keep) {
  return std::make_shared<detail::MemoryBlobs>(clock, keep);
}

}  // namespace marathon::inline MARATHON_ABI
