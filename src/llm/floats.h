// Vectors as bytes: 32-bit floats (IEEE 754), the low byte first, as providers and histories have them.
//
// Pure functions; safe from any thread.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

static_assert(std::numeric_limits<float>::is_iec559 && sizeof(float) == 4);

inline std::string BytesOfFloats(const std::vector<float>& vector) {
  std::string bytes;
  bytes.reserve(vector.size() * 4);
  for (const float value : vector) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(bits >> shift));
  }
  return bytes;
}

// None: it is no whole number of floats.
inline std::optional<std::vector<float>> FloatsOfBytes(std::string_view bytes) {
  if (bytes.size() % 4 != 0) return std::nullopt;
  std::vector<float> vector;
  vector.reserve(bytes.size() / 4);
  for (size_t at = 0; at < bytes.size(); at += 4) {
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; ++i) {
      bits |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    }
    vector.push_back(std::bit_cast<float>(bits));
  }
  return vector;
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
