// How long blobs and streams are kept.
#pragma once

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// Until when something is kept that is used at `now` and was to be kept until `until`. A little longer than need be,
// so that not every use is a write.
inline Time KeptUntil(Time now, Time until, Duration keep) {
  return until >= AddSaturated(now, keep) ? until : AddSaturated(now, keep + keep / 8);
}

}  // namespace marathon::inline MARATHON_ABI::detail
