// Where a URL leads, as the library that will follow it reads it: what has been looked at is what is called.
//
// Pure functions; safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

struct HttpUrl {
  std::string text;    // all of it, in one form, without its fragment
  std::string origin;  // "https://example.com": with its port, if that is not the scheme's own
  std::string host;    // in lower case, without brackets and final dots
  bool tls = false;
};

// kInvalidArgument: it is no http or https URL, or has a user or a password. Messages do not repeat it.
StatusOr<HttpUrl> ParseHttpUrl(const std::string& text);
// What `reference`, of a Location header say, means at `base`.
StatusOr<HttpUrl> ResolveHttpUrl(const HttpUrl& base, const std::string& reference);

}  // namespace marathon::inline MARATHON_ABI::detail
