// StoreTimes: what the protocol leaves to the options of a store. The same for all processes that share one.
//
// A value; no thread rule.
#pragma once

#include <cstdint>

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

struct StoreTimes {
  // What was published waits so long to be taken before it is published again, at first; each further time twice as long.
  Duration resend = limits::kResendFirst;
  // A closed run is kept so long. What was closed before this was changed keeps the date it was given, or gets a later one.
  Duration closed_keep = limits::kRetention;
};

// kInvalidArgument: a store cannot keep closed runs like that. `closed_bytes`: 0, no limit.
inline Status CheckRetention(Duration closed_keep, int64_t closed_bytes) {
  const bool fits = closed_keep >= limits::kMinRetention && closed_keep <= limits::kMaxKeep && closed_bytes >= 0;
  return fits ? Status() : InvalidArgument("closed_keep is a second to ten years, and closed_bytes not negative");
}

}  // namespace marathon::inline MARATHON_ABI
