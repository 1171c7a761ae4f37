// SHA-256 (FIPS 180-4): the names of blobs. Functions only; safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

// The digest of `bytes` as 64 hexadecimal digits in lower case.
std::string Sha256Hex(std::string_view bytes);

// Whether `text` is what Sha256Hex may have returned.
bool IsSha256Hex(std::string_view text);

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/detail/sha256-inl.h"
#endif
