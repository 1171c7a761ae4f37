// SimPlaces: the attempts of activities with a concurrency key that have begun, and how many of a key may be at work (I19).
//
// Not safe from several threads: the world has one.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/state_store.h"
#include "marathon/testing/invariants.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

class SimPlaces {
 public:
  // `store`: the one below all faults, which answers before it returns.
  SimPlaces(Invariants& invariants, std::function<StateStore&()> store)
      : invariants_(invariants), store_(std::move(store)) {}

  // The code of an attempt begins. Among those that have begun, and that the store still counts as at work, there are no
  // more of its key than may.
  void Begin(const ActivityInfo& info) {
    std::string place;
    int32_t max = 0;
    const bool at_work = IsAtWork({info.key, info.epoch}, [&](const ActivityRow& row) {
      place = PlaceKeyOf(row.task_queue, row.policy);
      max = row.policy.max_per_key;
    });
    if (!at_work || place.empty()) return;
    std::vector<HeldActivity>& begun = begun_[place];
    // A worker that does not know whether it has claimed may begin what it has just ended: that is one and the same.
    std::erase_if(begun, [&](const HeldActivity& one) {
      return one.key == info.key || !IsAtWork(one, [](const ActivityRow&) {});
    });
    begun.push_back({info.key, info.epoch});
    if (begun.size() <= static_cast<size_t>(max)) return;
    invariants_.Report("I19", info.key.run,
                       fmt::format("{} activities of one concurrency key are at work where {} may", begun.size(), max));
  }

 private:
  template <class Look>
  bool IsAtWork(const HeldActivity& activity, Look look) {
    bool at_work = false;
    ReadRequest request{.run = activity.key.run};
    request.activities = true;
    store_().Read(std::move(request), [&](const StatusOr<RunSnapshot>& found) {
      if (!found.ok()) return;
      for (const ActivityRow& row : found->activities) {
        if (row.key != activity.key || row.epoch != activity.epoch) continue;
        at_work = row.state == ActivityState::kClaimed || row.state == ActivityState::kDetached;
        look(row);
      }
    });
    return at_work;
  }

  Invariants& invariants_;
  const std::function<StateStore&()> store_;
  std::map<std::string, std::vector<HeldActivity>> begun_;
};

}  // namespace marathon::inline MARATHON_ABI::testing::internal
