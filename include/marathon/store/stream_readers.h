// StreamReaders holds the reads of a process that wait for frames. A store first adds a reader and then looks, so
// that no frame slips between; whoever takes a reader out calls it.
//
// Safe to call from any thread; calls nobody.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/stream_log.h"

namespace marathon::inline MARATHON_ABI {

class StreamReaders {
 public:
  using Reader = std::pair<uint64_t, ReadFrames>;  // its name, and what it wants

  uint64_t Add(ReadFrames request, Done<FramePage>&& done);
  Done<FramePage> Take(uint64_t name);  // empty: it is gone
  std::vector<Reader> Of(const std::string& stream) const;
  std::vector<Reader> All() const;
  bool empty() const;

 private:
  mutable std::mutex mutex_;
  std::map<uint64_t, std::pair<ReadFrames, Done<FramePage>>> readers_;
  std::map<std::string, std::set<uint64_t>> by_stream_;
  uint64_t last_name_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/store/stream_readers-inl.h"
#endif
