// What an address is for, by the registries of special ones: who calls for others must not call what only those may
// reach who are inside.
//
// Pure functions; safe from any thread.
#pragma once

#include <string_view>

#include "marathon/config.h"

struct sockaddr;

namespace marathon::inline MARATHON_ABI::detail {

// "loopback", "private", "link-local", "cloud metadata" …; empty: it is a public one. IPv6 addresses that carry one of
// IPv4 (mapped, NAT64, 6to4) are what that is.
std::string_view SpecialUseOf(const sockaddr& address);

}  // namespace marathon::inline MARATHON_ABI::detail
