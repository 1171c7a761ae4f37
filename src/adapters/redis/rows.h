// RedisRows: rows of one workflow id as a store last wrote or read them, to be tried again: each goes
// with a check that tells whether it is still current.
//
// A value; no thread rule.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/store_rows.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// A row that another writer has not replaced as long as `stamp` stands beside it.
template <class Row>
struct Stamped {
  Row row;
  std::string stamp;
  Time due = kNever;
  bool no_timers = false;  // a run: it has none
};

struct RedisRows {
  std::optional<std::string> newest;                   // run id
  std::map<std::string, Stamped<RunRow>> runs;         // by run id
  std::map<ActivityKey, Stamped<ActivityRow>> activities;

  void Forget(const RunKey& run) {
    runs.erase(run.run_id);
    const auto from = activities.lower_bound(ActivityKey{run, 0});
    auto to = from;
    while (to != activities.end() && to->first.run == run) ++to;
    activities.erase(from, to);
  }
  bool empty() const { return !newest && runs.empty() && activities.empty(); }
  void Clear() { *this = RedisRows(); }
};

}  // namespace marathon::inline MARATHON_ABI::detail
