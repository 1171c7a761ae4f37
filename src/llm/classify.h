// Which class of error.h an answer belongs to, or the lack of one.
//
// Pure functions; safe from any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "marathon/config.h"
#include "marathon/llm/error.h"
#include "marathon/status.h"
#include "marathon/time.h"
#include "src/net/http_loop.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

// An answer that is not 200. `now`: for a Retry-After with a date, if the answer has none of its own.
Error ErrorOfReply(const marathon::detail::HttpReply& reply, Time now);
// An error object, alone or in a stream; `status` is 200 for one in a stream, and then says nothing.
Error ErrorOfJson(int status, const nlohmann::json& body);
// A call that ended without an answer, or in the midst of it (`partial`).
Error ErrorOfCall(const Status& status, bool partial);

// By which the provider finds the request; empty: it has said none.
std::string RequestIdOf(const marathon::detail::HttpReply& reply);

// retry-after-ms and x-ms-retry-after-ms; retry-after in seconds, whole or not, or as a date.
std::optional<Duration> RetryAfter(const marathon::detail::HttpReply& reply, Time now);

}  // namespace marathon::inline MARATHON_ABI::llm::internal
