// Soonest: the first instant of an index of what is due, for as long as all that is written to the index is told here.
// While it is known and lies ahead, whoever asks what is due need not look: so asking costs the same however many sleep.
//
// One thread at a time.
#pragma once

#include <optional>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class Soonest {
 public:
  // What was found in the index; kNever: it is empty.
  void Know(Time at) { at_ = at; }
  void Forget() { at_.reset(); }
  const std::optional<Time>& known() const { return at_; }

  void OnAdded(Time due) {
    if (at_ && due < *at_) at_ = due;
  }
  // What was moved may have been the first.
  void OnMoved(Time due) {
    if (at_ && due > *at_) return Forget();
    OnAdded(due);
  }
  void OnErased() { Forget(); }

 private:
  std::optional<Time> at_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
