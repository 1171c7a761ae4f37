#pragma once

#include "marathon/store/stream_readers.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE uint64_t StreamReaders::Add(ReadFrames request, Done<FramePage>&& done) {
  const std::lock_guard lock(mutex_);
  const uint64_t name = ++last_name_;
  by_stream_[request.stream].insert(name);
  readers_.try_emplace(name, std::move(request), std::move(done));
  return name;
}

MARATHON_INLINE Done<FramePage> StreamReaders::Take(uint64_t name) {
  const std::lock_guard lock(mutex_);
  const auto reader = readers_.find(name);
  if (reader == readers_.end()) return nullptr;
  const auto same = by_stream_.find(reader->second.first.stream);
  same->second.erase(name);
  if (same->second.empty()) by_stream_.erase(same);
  Done<FramePage> done = std::move(reader->second.second);
  readers_.erase(reader);
  return done;
}

MARATHON_INLINE std::vector<StreamReaders::Reader> StreamReaders::Of(const std::string& stream) const {
  const std::lock_guard lock(mutex_);
  std::vector<Reader> found;
  const auto names = by_stream_.find(stream);
  if (names == by_stream_.end()) return found;
  for (const uint64_t name : names->second) found.emplace_back(name, readers_.at(name).first);
  return found;
}

MARATHON_INLINE std::vector<StreamReaders::Reader> StreamReaders::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<Reader> found;
  for (const auto& [name, reader] : readers_) found.emplace_back(name, reader.first);
  return found;
}

MARATHON_INLINE bool StreamReaders::empty() const {
  const std::lock_guard lock(mutex_);
  return readers_.empty();
}

}  // namespace marathon::inline MARATHON_ABI
