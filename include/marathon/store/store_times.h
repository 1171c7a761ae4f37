// StoreTimes: what the protocol leaves to the options of a store. The same for all processes that share one.
//
// A value; no thread rule.
#pragma once

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

struct StoreTimes {
  // What was published waits so long to be taken before it is published again, at first; each further time twice as long.
  Duration resend = limits::kResendFirst;
  // A closed run is kept so long. What was closed before this was changed keeps the date it was given, or gets a later one.
  Duration closed_keep = limits::kRetention;
};

}  // namespace marathon::inline MARATHON_ABI
