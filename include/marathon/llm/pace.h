// Pace: what a call goes by whose workers share the limits of its endpoint (client.h): where these are kept, and what
// the call was told when it asked before. Activities make one for each call; models hand it on.
//
// A value; no thread rule.
#pragma once

#include <string>

#include "marathon/config.h"
#include "marathon/limiter.h"

namespace marathon::inline MARATHON_ABI::llm {

struct Pace {
  Limiter* limiter = nullptr;  // null: no limits. Good until the call has been answered
  std::string permit{};        // Error::permit of an earlier try; empty: it is the first
};

}  // namespace marathon::inline MARATHON_ABI::llm
