// What a store's open runs wait for, for people. Function only.
#pragma once

#include <string>

#include "marathon/config.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI::testing {

// A line for each of the first hundred. Empty: none is open. REQUIRES: the store answers before it returns.
std::string DescribeOpenRuns(StateStore& store);

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/open_runs-inl.h"
#endif
