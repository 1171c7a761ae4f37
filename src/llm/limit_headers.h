// What the headers of an answer say of the provider's limits.
//
// Pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/time.h"
#include "src/net/http_loop.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

// The units that calls take from: see PacedCall.
inline constexpr std::string_view kRequests = "requests";
inline constexpr std::string_view kTokens = "tokens";

// x-ratelimit-{limit,remaining,reset}-{requests,tokens} and anthropic-ratelimit-{requests,tokens}-…. A unit of which not
// all three are there, or make no sense (Azure: -1), is left out. `now`: for instants, if the answer has no date.
std::vector<LimitReport> LimitReportsOf(const marathon::detail::HttpReply& reply, Time now);

// Go's durations, as OpenAI writes them: "6m0s", "12ms", "1h2m3.5s". None: it is not one.
std::optional<Duration> ParseGoDuration(std::string_view text);
// An instant of RFC 3339, as Anthropic writes it: "2026-11-26T07:05:09Z". None: it is not one.
std::optional<Time> ParseInstant(std::string_view text);

}  // namespace marathon::inline MARATHON_ABI::llm::internal
