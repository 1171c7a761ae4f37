// What may be a name or an id. Functions only; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

// Whether `text` is valid UTF-8 without ASCII control characters. The bounds of a sequence's second byte
// are what excludes overlong forms, surrogates and what lies beyond U+10FFFF (RFC 3629, section 4).
inline bool IsCleanText(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
    const uint8_t lead = byte(i);
    if (lead < 0x20 || lead == 0x7f || (lead >= 0x80 && lead < 0xc2) || lead > 0xf4) return false;
    const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (text.size() - i < length) return false;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (size_t at = i + 1; at < i + length; ++at, low = 0x80, high = 0xbf) {
      if (byte(at) < low || byte(at) > high) return false;
    }
    i += length;
  }
  return true;
}

}  // namespace marathon::inline MARATHON_ABI::detail
