// The structures of the memory store, against plain ones.
// program: values
#include "marathon/adapters/memory_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "marathon/adapters/memory_arena.h"
#include "marathon/adapters/memory_run_index.h"

namespace marathon::detail::memory_index_test {
namespace {

Time At(int64_t micros) { return FromMicros(micros); }

TEST(DueHeapTest, AgreesWithASortedList) {
  std::mt19937 random(7);
  constexpr size_t kItems = 200;
  std::vector<DueItem> items(kItems);
  std::map<size_t, Time> model;
  DueHeap heap;
  for (int step = 0; step < 20'000; ++step) {
    const size_t i = random() % kItems;
    if (random() % 3 == 0) {
      heap.Remove(items[i]);
      model.erase(i);
    } else {
      const Time at = At(static_cast<int64_t>(random() % 1000));
      heap.Set(items[i], at);
      model[i] = at;
    }
    Time earliest = kNever;
    for (const auto& [index, at] : model) earliest = std::min(earliest, at);
    ASSERT_EQ(heap.Earliest(), earliest);
    if (step % 100 != 0) continue;

    const Time now = At(static_cast<int64_t>(random() % 1000));
    std::vector<Time> expected;
    for (const auto& [index, at] : model) {
      if (at <= now) expected.push_back(at);
    }
    std::sort(expected.begin(), expected.end());
    std::vector<Time> found;
    for (DueItem* item : heap.Scan(now, kItems)) {
      found.push_back(model.at(static_cast<size_t>(item - items.data())));
    }
    ASSERT_EQ(found, expected);
    ASSERT_EQ(heap.Scan(now, 3).size(), std::min<size_t>(expected.size(), 3));
  }
}

TEST(DueHeapTest, EqualInstantsComeInTheOrderOfInsertion) {
  std::vector<DueItem> items(50);
  DueHeap heap;
  for (DueItem& item : items) heap.Set(item, At(5));
  heap.Set(items[10], At(6));
  heap.Set(items[10], At(5));  // now the last
  std::vector<DueItem*> expected;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 10) expected.push_back(&items[i]);
  }
  expected.push_back(&items[10]);
  EXPECT_EQ(heap.Scan(At(5), 100), expected);
}

TEST(DueHeapTest, NeverTakesAnItemOut) {
  DueItem item;
  DueHeap heap;
  heap.Set(item, At(5));
  heap.Set(item, kNever);
  EXPECT_EQ(item.place, 0u);
  EXPECT_EQ(heap.Earliest(), kNever);
}

TEST(LinkedListTest, KeepsTheOrderOfInsertion) {
  LinkedList list;
  ListLink a, b, c;
  for (ListLink* link : {&a, &b, &c}) list.PushBack(*link);
  list.Remove(b);
  EXPECT_FALSE(b.linked());
  list.PushBack(b);
  std::vector<ListLink*> order;
  for (ListLink* link = list.front(); link != list.end(); link = link->next) order.push_back(link);
  EXPECT_EQ(order, (std::vector<ListLink*>{&a, &c, &b}));
  EXPECT_EQ(list.size(), 3u);
}

TEST(MemoryRunIndexTest, AgreesWithAMap) {
  std::mt19937 random(11);
  std::deque<MemoryRun> runs;
  std::map<std::string, MemoryRun*, std::less<>> plain;
  MemoryRunIndex index;
  EXPECT_EQ(index.Find("none"), nullptr);
  for (int i = 0; i < 20'000; ++i) {
    const std::string id = "order-" + std::to_string(random() % 700);
    const auto known = plain.find(id);
    if (random() % 2 == 0) {
      runs.emplace_back().key = {id, std::to_string(i)};
      EXPECT_EQ(index.Put(runs.back()), known == plain.end() ? nullptr : known->second);
      plain[id] = &runs.back();
    } else if (known != plain.end()) {
      MemoryRun older;
      older.key = known->second->key;
      index.Remove(older);  // another one of that workflow id: nothing is taken out
      EXPECT_EQ(index.Find(id), known->second);
      index.Remove(*known->second);
      plain.erase(known);
    }
    const std::string other = "order-" + std::to_string(random() % 700);
    const auto wanted = plain.find(other);
    ASSERT_EQ(index.Find(other), wanted == plain.end() ? nullptr : wanted->second) << i;
  }
  for (const auto& [id, run] : plain) EXPECT_EQ(index.Find(id), run);
}

TEST(MemoryArenaTest, WhatIsTakenIsOnesOwn) {
  std::mt19937 random(5);
  MemoryArena arena;
  std::vector<std::pair<char*, size_t>> taken;
  for (int i = 0; i < 20'000; ++i) {
    if (taken.size() < 300 || random() % 2 == 0) {
      const size_t size = random() % 1'500;
      auto* memory = static_cast<char*>(arena.Take(size));
      std::memset(memory, static_cast<int>(size % 251), size);
      taken.emplace_back(memory, size);
    } else {
      std::swap(taken[random() % taken.size()], taken.back());
      const auto [memory, size] = taken.back();
      ASSERT_TRUE(std::all_of(memory, memory + size, [&](char c) { return c == static_cast<char>(size % 251); }));
      arena.Give(memory, size);
      taken.pop_back();
    }
  }
  for (const auto& [memory, size] : taken) arena.Give(memory, size);
}

TEST(SharedStringTest, LivesAsLongAsItIsUsed) {
  SharedString::Pool pool;
  SharedString a, b;
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(static_cast<const std::string&>(a), "");
  a.Set(pool, "queue");
  b.Set(pool, "queue");
  EXPECT_EQ(pool.strings.size(), 1u);
  EXPECT_TRUE(a == std::string("queue"));
  a.Set(pool, a);  // from itself
  b.Set(pool, "");
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(pool.strings.size(), 1u);
  a.Set(pool, a);  // from itself, the last to use it
  EXPECT_TRUE(a == std::string("queue"));
  a.Clear(pool);
  EXPECT_TRUE(pool.strings.empty());
}

}  // namespace
}  // namespace marathon::detail::memory_index_test
