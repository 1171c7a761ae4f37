// HeadCache: the conversations that this process has just had, by their heads, so that a step reads no blob. One
// that got an answer is remembered by its new head only.
//
// Safe from any thread.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/llm/message.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

// The messages of the nodes of a chain, the oldest first. Conversations share them.
struct Chunks {
  std::vector<std::shared_ptr<const std::vector<llm::Message>>> nodes{};
  size_t bytes = 0;  // as they are kept

  void Add(std::vector<llm::Message> messages, size_t size) {
    nodes.push_back(std::make_shared<const std::vector<llm::Message>>(std::move(messages)));
    bytes += size;
  }
};

class HeadCache {
 public:
  explicit HeadCache(size_t max_bytes) : max_bytes_(max_bytes) {}

  std::optional<Chunks> Find(const std::string& head) {
    const std::lock_guard lock(mutex_);
    const auto found = by_head_.find(head);
    if (found == by_head_.end()) return std::nullopt;
    recent_.splice(recent_.begin(), recent_, found->second);
    return found->second->second;
  }

  // `before`: the head that `head` goes on from; empty: none.
  void Put(const std::string& head, Chunks chunks, const std::string& before) {
    const std::lock_guard lock(mutex_);
    Drop(before);
    Drop(head);
    bytes_ += chunks.bytes;
    recent_.emplace_front(head, std::move(chunks));
    by_head_.emplace(head, recent_.begin());
    while (bytes_ > max_bytes_ && recent_.size() > 1) Drop(std::string(recent_.back().first));
  }

 private:
  void Drop(const std::string& head) {
    const auto found = by_head_.find(head);
    if (found == by_head_.end()) return;
    bytes_ -= found->second->second.bytes;
    recent_.erase(found->second);
    by_head_.erase(found);
  }

  using Entries = std::list<std::pair<std::string, Chunks>>;

  const size_t max_bytes_;
  std::mutex mutex_;  // guards:
  size_t bytes_ = 0;
  Entries recent_;  // the last used first
  std::unordered_map<std::string, Entries::iterator> by_head_;
};

}  // namespace marathon::inline MARATHON_ABI::agent::internal
