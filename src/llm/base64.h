// Base64 (RFC 4648, section 4). Pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

std::string ToBase64(std::string_view bytes);
// None: it is not base64, padding included.
std::optional<std::string> FromBase64(std::string_view text);

}  // namespace marathon::inline MARATHON_ABI::llm::internal
