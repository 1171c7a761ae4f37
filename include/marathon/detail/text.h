// What may be a name or an id, and how ids are written. Functions only; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
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

// The text of a UUID of 128 bits whose version and variant are `version` and that of RFC 9562.
inline std::string UuidText(uint64_t high, uint64_t low, unsigned version) {
  constexpr char kDigits[] = "0123456789abcdef";
  high = (high & ~uint64_t{0xf000}) | uint64_t{version} << 12;
  low = (low & (~uint64_t{0} >> 2)) | uint64_t{1} << 63;
  std::string text(36, '-');
  for (size_t at = 0, digit = 0; at < text.size(); ++at) {
    if (at == 8 || at == 13 || at == 18 || at == 23) continue;
    const uint64_t half = digit < 16 ? high : low;
    text[at] = kDigits[half >> (60 - 4 * (digit % 16)) & 0xf];
    ++digit;
  }
  return text;
}

}  // namespace marathon::inline MARATHON_ABI::detail
