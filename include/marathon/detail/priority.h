// Which priorities there are. A function only; safe from any thread.
#pragma once

#include <fmt/format.h>

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// Of options, where 0 leaves it open.
inline Status CheckPriority(int priority) {
  if (priority >= 0 && priority <= limits::kMaxPriority) return {};
  return InvalidArgument(fmt::format("the priority is {}; it must be 1, which goes first, to {}, or 0 to leave it open",
                                     priority, limits::kMaxPriority));
}

}  // namespace marathon::inline MARATHON_ABI::detail
