// ForwardingStateStore, for tests.
#pragma once

#include "marathon/config.h"
#include "marathon/store/forwarding_state_store.h"

namespace marathon::inline MARATHON_ABI::testing {

using marathon::ForwardingStateStore;

}  // namespace marathon::inline MARATHON_ABI::testing
