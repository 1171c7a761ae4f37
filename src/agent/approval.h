// One call that waits for a person, inside a Loop.
#pragma once

#include <optional>

#include "marathon/agent/control.h"
#include "marathon/agent/loop.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::agent {

struct Loop::Approval {
  PendingApproval call;
  const Tool* tool = nullptr;
  std::optional<Decision> decision{};
};

}  // namespace marathon::inline MARATHON_ABI::agent
