// The small structures that the memory store is made of: an intrusive list, an indexed heap of due
// instants, and shared strings. Chosen for size: a sleeping run must cost little.
//
// No thread rule of their own: each belongs to one shard, under its lock.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- A doubly linked list through its elements, which are in at most one list by each link.
struct ListLink {
  ListLink* prev = nullptr;
  ListLink* next = nullptr;
  bool linked() const { return next != nullptr; }
};

class LinkedList {
 public:
  LinkedList() { head_.prev = head_.next = &head_; }
  LinkedList(const LinkedList&) = delete;
  LinkedList& operator=(const LinkedList&) = delete;

  void PushBack(ListLink& link) {
    link.prev = head_.prev;
    link.next = &head_;
    head_.prev->next = &link;
    head_.prev = &link;
    ++size_;
  }
  void Remove(ListLink& link) {
    link.prev->next = link.next;
    link.next->prev = link.prev;
    link.prev = link.next = nullptr;
    --size_;
  }
  size_t size() const { return size_; }
  ListLink* front() { return head_.next; }
  ListLink* end() { return &head_; }

 private:
  ListLink head_;
  size_t size_ = 0;
};

// ---- What can be in the due index: a run, an activity or a timer.
struct DueItem {
  uint32_t place = 0;  // in the heap, from 1; 0: not in it
};

// A binary heap of instants. Equal instants come in the order of their insertion.
class DueHeap {
 public:
  // Puts `item` at `at`, from wherever it is; kNever takes it out.
  void Set(DueItem& item, Time at) {
    if (at == kNever) return Remove(item);
    if (item.place == 0) {
      slots_.push_back(Slot{});
      return SiftUp(slots_.size() - 1, Slot{at, ++last_tie_, &item});
    }
    const size_t i = item.place - 1;
    if (slots_[i].at != at) Replace(i, Slot{at, ++last_tie_, &item});
  }

  void Remove(DueItem& item) {
    if (item.place == 0) return;
    const size_t i = std::exchange(item.place, 0) - 1;
    const Slot last = slots_.back();
    slots_.pop_back();
    if (i < slots_.size()) Replace(i, last);
  }

  Time Earliest() const { return slots_.empty() ? kNever : slots_[0].at; }

  // Those at or before `now`, soonest first, up to `limit`. Looks at no others but their children.
  std::vector<DueItem*> Scan(Time now, size_t limit) const {
    std::vector<DueItem*> found;
    const auto later = [this](size_t a, size_t b) { return Before(slots_[b], slots_[a]); };
    std::priority_queue<size_t, std::vector<size_t>, decltype(later)> next(later);
    const auto visit = [&](size_t i) {
      if (i < slots_.size() && slots_[i].at <= now) next.push(i);
    };
    visit(0);
    while (!next.empty() && found.size() < limit) {
      const size_t i = next.top();
      next.pop();
      found.push_back(slots_[i].item);
      visit(2 * i + 1);
      visit(2 * i + 2);
    }
    return found;
  }

 private:
  struct Slot {
    Time at{};
    uint64_t tie = 0;
    DueItem* item = nullptr;
  };
  static bool Before(const Slot& a, const Slot& b) {
    return a.at != b.at ? a.at < b.at : a.tie < b.tie;
  }

  void Put(size_t i, const Slot& slot) {
    slots_[i] = slot;
    slot.item->place = static_cast<uint32_t>(i + 1);
  }
  void Replace(size_t i, const Slot& slot) {
    if (i > 0 && Before(slot, slots_[(i - 1) / 2])) return SiftUp(i, slot);
    SiftDown(i, slot);
  }
  void SiftUp(size_t i, const Slot slot) {
    for (; i > 0 && Before(slot, slots_[(i - 1) / 2]); i = (i - 1) / 2) Put(i, slots_[(i - 1) / 2]);
    Put(i, slot);
  }
  void SiftDown(size_t i, const Slot slot) {
    for (size_t child = 2 * i + 1; child < slots_.size(); child = 2 * i + 1) {
      if (child + 1 < slots_.size() && Before(slots_[child + 1], slots_[child])) ++child;
      if (!Before(slots_[child], slot)) break;
      Put(i, slots_[child]);
      i = child;
    }
    Put(i, slot);
  }

  std::vector<Slot> slots_;
  uint64_t last_tie_ = 0;
};

// ---- Strings that many rows have in common (queue names, sessions): one copy, one pointer a row.
class SharedString {
 public:
  struct Pool {
    std::unordered_map<std::string, uint32_t> strings;  // -> how many point to it
    // Those found last: most runs have the same.
    std::array<std::pair<const std::string, uint32_t>*, 4> last{};
    size_t next = 0;
  };

  SharedString() = default;
  SharedString(const SharedString&) = delete;
  SharedString& operator=(const SharedString&) = delete;

  // REQUIRES: `pool` is always the same one.
  void Set(Pool& pool, const std::string& text) {
    Entry* entry = text.empty() ? nullptr : Find(pool, text);
    if (entry != nullptr) ++entry->second;  // first: `text` may be this very string
    Clear(pool);
    entry_ = entry;
  }
  // REQUIRES: called before destruction, or the pool goes with its strings.
  void Clear(Pool& pool) {
    if (entry_ == nullptr) return;
    if (--entry_->second == 0) {
      std::replace(pool.last.begin(), pool.last.end(), entry_, static_cast<Entry*>(nullptr));
      pool.strings.erase(pool.strings.find(entry_->first));
    }
    entry_ = nullptr;
  }

  bool empty() const { return entry_ == nullptr; }
  operator const std::string&() const {  // NOLINT(google-explicit-constructor)
    static const std::string kEmpty;
    return entry_ == nullptr ? kEmpty : entry_->first;
  }
  friend bool operator==(const SharedString& a, const std::string& b) {
    return static_cast<const std::string&>(a) == b;
  }

 private:
  using Entry = std::pair<const std::string, uint32_t>;

  static Entry* Find(Pool& pool, const std::string& text) {
    for (Entry* entry : pool.last) {
      if (entry != nullptr && entry->first == text) return entry;
    }
    Entry*& place = pool.last[pool.next++ % pool.last.size()];
    return place = &*pool.strings.try_emplace(text, 0).first;
  }

  Entry* entry_ = nullptr;
};

// ---- An optional that costs one pointer when empty.
template <class T>
class Boxed {
 public:
  Boxed& operator=(T&& value) {
    value_ = std::make_unique<T>(std::move(value));
    return *this;
  }
  explicit operator bool() const { return value_ != nullptr; }
  const T& operator*() const { return *value_; }
  void reset() { value_.reset(); }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
