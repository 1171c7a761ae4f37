#pragma once

#include "marathon/detail/sealed.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "marathon/detail/wire.h"
#include "marathon/event_codec.h"

namespace marathon::inline MARATHON_ABI {
namespace detail {

// Slicing by eight: entry [k][b] is the checksum of byte b followed by k zero bytes.
using CrcTable = std::array<std::array<uint32_t, 256>, 8>;

constexpr CrcTable MakeCrcTable() {
  CrcTable table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0u);
    table[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t crc = table[k - 1][b];
      table[k][b] = (crc >> 8) ^ table[0][crc & 0xff];
    }
  }
  return table;
}

inline constexpr CrcTable kCrcTable = MakeCrcTable();

#if defined(__x86_64__)
// With the processor's own instruction, which all of the last fifteen years have.
__attribute__((target("sse4.2"))) inline uint32_t ExtendCrc32cByProcessor(uint32_t crc, const unsigned char* p, size_t n) {
  uint64_t wide = crc;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t next;
    std::memcpy(&next, p, sizeof(next));
    wide = __builtin_ia32_crc32di(wide, next);
  }
  crc = static_cast<uint32_t>(wide);
  for (; n > 0; --n) crc = __builtin_ia32_crc32qi(crc, *p++);
  return crc;
}
#endif

inline uint32_t ExtendCrc32cByTable(uint32_t crc, const unsigned char* p, size_t n) {
  for (; n >= 8; n -= 8, p += 8) {
    const uint32_t low =
        crc ^ (p[0] | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24);
    crc = kCrcTable[7][low & 0xff] ^ kCrcTable[6][(low >> 8) & 0xff] ^
          kCrcTable[5][(low >> 16) & 0xff] ^ kCrcTable[4][low >> 24] ^ kCrcTable[3][p[4]] ^
          kCrcTable[2][p[5]] ^ kCrcTable[1][p[6]] ^ kCrcTable[0][p[7]];
  }
  for (; n > 0; --n) crc = (crc >> 8) ^ kCrcTable[0][(crc ^ *p++) & 0xff];
  return crc;
}

// Continues `crc`, a state that is neither started nor finished by inversion.
MARATHON_INLINE uint32_t ExtendCrc32c(uint32_t crc, std::string_view bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
#if defined(__x86_64__)
  static const bool kByProcessor = (__builtin_cpu_init(), __builtin_cpu_supports("sse4.2") != 0);
  if (kByProcessor) return ExtendCrc32cByProcessor(crc, p, bytes.size());
#endif
  return ExtendCrc32cByTable(crc, p, bytes.size());
}

// The checksum in a seal: of everything but itself.
MARATHON_INLINE uint32_t SealChecksum(std::string_view bytes) {
  const uint32_t crc = ExtendCrc32c(~uint32_t{0}, bytes.substr(0, 1));
  return ~ExtendCrc32c(crc, bytes.substr(kSealBytes));
}

MARATHON_INLINE void Seal(uint8_t version, std::string& bytes) {
  Writer writer(bytes.data());
  writer.Byte(version);
  writer.Fixed32(SealChecksum(bytes));
}

MARATHON_INLINE StatusOr<std::string_view> Unseal(uint8_t version, std::string_view bytes,
                                                  std::string_view what) {
  if (bytes.size() < kSealBytes) {
    return DataLoss(fmt::format("{}: {} bytes are too few", what, bytes.size()));
  }
  Reader reader(bytes);
  const uint8_t found = reader.Byte();
  if (found > version) {
    return DataLoss(fmt::format(
        "{}: format version {}, but this build reads up to version {}; upgrade this worker", what,
        found, version));
  }
  if (found < version) {
    return DataLoss(
        fmt::format("{}: there is no format version {}; the bytes are damaged", what, found));
  }
  const uint32_t stored = reader.Fixed32();
  const uint32_t actual = SealChecksum(bytes);
  if (stored != actual) {
    return DataLoss(
        fmt::format("{}: the checksum is {:08x} and should be {:08x}; the bytes are damaged", what,
                    actual, stored));
  }
  return bytes.substr(kSealBytes);
}

}  // namespace detail

MARATHON_INLINE uint32_t Crc32c(std::string_view bytes) {
  return ~detail::ExtendCrc32c(~uint32_t{0}, bytes);
}

}  // namespace marathon::inline MARATHON_ABI
