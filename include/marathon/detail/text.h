// What may be a name or an id, and how ids are written. Functions only; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/id.h"

namespace marathon::inline MARATHON_ABI::detail {

// How many bytes at the start of `text` are printable ASCII, as far as eight at a time show it.
inline size_t SizeOfPlainStart(std::string_view text) {
  constexpr uint64_t kEach = 0x0101010101010101;
  // The high bits of: bytes beyond ASCII, those below 0x20, and 0x7f.
  const auto is_plain = [](uint64_t bytes) {
    return ((bytes | (bytes - 0x20 * kEach) | (bytes + kEach)) & (0x80 * kEach)) == 0;
  };
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, text.data() + i, sizeof(bytes));
    if (!is_plain(bytes)) return i;
  }
  if (i == text.size()) return i;
  uint64_t rest = ' ' * kEach;
  std::memcpy(&rest, text.data() + i, text.size() - i);
  return is_plain(rest) ? text.size() : i;
}

// How many bytes the UTF-8 character at `i` has; 0: there is no valid one. The bounds of a sequence's second byte
// are what excludes overlong forms, surrogates and what lies beyond U+10FFFF (RFC 3629, section 4).
inline size_t CharacterSize(std::string_view text, size_t i) {
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
  const uint8_t lead = byte(i);
  if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4) return 0;
  const size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() - i < size) return 0;
  uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t at = i + 1; at < i + size; ++at, low = 0x80, high = 0xbf) {
    if (byte(at) < low || byte(at) > high) return 0;
  }
  return size;
}

// Whether `text` is valid UTF-8 without ASCII control characters.
inline bool IsCleanText(std::string_view text) {
  for (size_t i = SizeOfPlainStart(text); i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < 0x20 || text[i] == 0x7f) return false;
    const size_t size = CharacterSize(text, i);
    if (size == 0) return false;
    i += size;
  }
  return true;
}

// A text that may be anything, as UTF-8 of at most `max` bytes: '?' stands for a byte that is none, and "..." for what
// is cut off. Control characters stay.
inline std::string ReadableText(std::string text, size_t max) {
  constexpr std::string_view kCut = "...";
  size_t fits = 0;  // so much of it, and kCut, is not too long
  for (size_t i = SizeOfPlainStart(std::string_view(text).substr(0, max - kCut.size())); i < text.size();) {
    const size_t size = CharacterSize(text, i);
    if (size == 0) text[i] = '?';
    if (i <= max - kCut.size()) fits = i;
    if (i > max) break;
    i += size == 0 ? 1 : size;
  }
  if (text.size() > max) text.replace(fits, text.npos, kCut);
  return text;
}

// FNV-1a.
inline uint64_t HashOf(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// splitmix64's last step: each bit of `z` changes half of the result's.
inline uint64_t Mixed(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// The text of a UUID of 128 bits whose version and variant are `version` and that of RFC 9562.
inline Id UuidText(uint64_t high, uint64_t low, unsigned version) {
  constexpr char kDigits[] = "0123456789abcdef";
  high = (high & ~uint64_t{0xf000}) | uint64_t{version} << 12;
  low = (low & (~uint64_t{0} >> 2)) | uint64_t{1} << 63;
  char text[36];
  char* to = text;
  for (int byte = 0; byte < 16; ++byte) {
    if (byte == 4 || byte == 6 || byte == 8 || byte == 10) *to++ = '-';
    const uint64_t half = byte < 8 ? high : low;
    const auto value = static_cast<uint8_t>(half >> (56 - 8 * (byte % 8)));
    *to++ = kDigits[value >> 4];
    *to++ = kDigits[value & 0xf];
  }
  return std::string_view(text, sizeof(text));
}

// The id of a run that comes from event `event_id` of another: always the same, so that whoever makes it
// again makes the same run. A UUID of version 8.
inline Id DerivedRunId(std::string_view run_id, int64_t event_id) {
  const auto number = static_cast<uint64_t>(event_id);
  uint64_t low = number;
  for (const char c : run_id) low = Mixed(low + static_cast<uint8_t>(c) + 1);
  return UuidText(Mixed(HashOf(run_id) + number * 0x9e3779b97f4a7c15), low, 8);
}

// 75 of the 128 bits, in 15 characters: as many as std::string has room for without an allocation.
inline std::string ShortIdText(uint64_t high, uint64_t low) {
  constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuv";
  std::string text(15, '0');
  for (size_t at = 0; at < text.size(); ++at) {
    const uint64_t half = at < 12 ? high >> (5 * at) : low >> (5 * (at - 12));
    text[at] = kDigits[half & 31];
  }
  return text;
}

}  // namespace marathon::inline MARATHON_ABI::detail
