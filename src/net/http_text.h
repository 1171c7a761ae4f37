// Small parts of HTTP's text: hosts of URLs, and dates.
//
// Pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// "Wed, 25 Nov 2026 04:00:00 GMT"; none: it is not one.
std::optional<Time> ParseHttpDate(const std::string& text);

// The host of a URL, without its port and brackets; and whether it is this machine.
std::string HostOfUrl(std::string_view url);
bool IsLoopback(std::string_view host);

}  // namespace marathon::inline MARATHON_ABI::detail
