// Sealed bytes: what every stored piece of Marathon begins with, a format version and a CRC-32C of
// all the rest, version included. Functions only; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

inline constexpr size_t kSealBytes = 5;  // version, checksum

// Fills in the first kSealBytes of `bytes`; the rest is the content.
void Seal(uint8_t version, std::string& bytes);

// The content of sealed bytes, or kDataLoss: too short, of another version, or damaged. `what`
// names them in the message: "record".
StatusOr<std::string_view> Unseal(uint8_t version, std::string_view bytes, std::string_view what);

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/detail/sealed-inl.h"
#endif
