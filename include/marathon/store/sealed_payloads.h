// How a sealed payload says what is in it: "CODEC ENCODING BYTES", the codec's id and how to read the opened bytes.
//
// Pure functions.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/payload.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// Parts of a payload, which they live no longer than.
struct SealedParts {
  std::string_view codec;
  Encoding encoding = Encoding::kNone;  // of what is sealed
  std::string_view bytes;
};

inline Payload ToPayload(const SealedParts& parts) {
  std::string data;
  data.reserve(parts.codec.size() + 3 + parts.bytes.size());
  data.append(parts.codec).append(1, ' ').append(1, static_cast<char>('0' + static_cast<int>(parts.encoding)));
  data.append(1, ' ').append(parts.bytes);
  return {std::move(data), Encoding::kSealed};
}

// kDataLoss: a payload with Encoding::kSealed that is not written so.
inline StatusOr<SealedParts> SealedPartsOf(const Payload& payload) {
  const std::string_view text = payload.data;
  const std::string_view codec = SealedBy(payload);
  const std::string_view rest = text.substr(codec.size());
  const bool well = !codec.empty() && rest.size() >= 3 && rest[0] == ' ' && rest[2] == ' ';
  const auto encoding = static_cast<Encoding>(well ? rest[1] - '0' : -1);
  if (encoding == Encoding::kNone || encoding == Encoding::kJson) return SealedParts{codec, encoding, rest.substr(3)};
  return DataLoss(fmt::format("a payload of {} bytes is to be sealed, and is not", text.size()));
}

}  // namespace marathon::inline MARATHON_ABI::detail
