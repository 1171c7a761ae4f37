// Payloads that stand beside the history: how a payload names its blob, and where in an event or a row payloads are.
//
// Pure functions.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "marathon/event.h"  // first: it ends with what needs event_fields.h whole

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/detail/event_fields.h"
#include "marathon/detail/layout.h"
#include "marathon/detail/sha256.h"
#include "marathon/payload.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// Calls `visit(Payload&)` for each payload in `value`: an event's body, or any persisted struct.
template <class T, class Visit>
void ForEachPayload(T& value, const Visit& visit) {
  using Value = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Value, Payload>) {
    visit(value);
  } else if constexpr (std::is_same_v<Value, EventBody>) {
    std::visit([&](auto& event) { ForEachPayload(event, visit); }, value);
  } else if constexpr (kIsOptional<Value>) {
    if (value) ForEachPayload(*value, visit);
  } else if constexpr (kIsVector<Value>) {
    if constexpr (HasLayout<typename Value::value_type>) {
      for (auto& element : value) ForEachPayload(element, visit);
    }
  } else if constexpr (HasLayout<Value>) {
    ForEachField<Value>([&](const auto& field) { ForEachPayload(value.*field.member, visit); });
  }
}

// The bytes of a payload, and how they are to be read.
struct PayloadRef {
  BlobRef blob;
  Encoding encoding = Encoding::kNone;
};

// What stands in the history: "DIGEST SIZE ENCODING", a text that people can read, too.
inline Payload ToPayload(const PayloadRef& ref) {
  return {fmt::format("{} {} {}", ref.blob.sha256, ref.blob.size, static_cast<int>(ref.encoding)), Encoding::kBlob};
}

// kDataLoss: a payload with Encoding::kBlob that names no blob.
inline StatusOr<PayloadRef> RefOf(const Payload& payload) {
  const std::string_view text = payload.data;
  const char* const end = text.data() + text.size();
  constexpr size_t kDigest = 64;
  PayloadRef ref;
  int encoding = 0;
  const bool has_digest = text.size() > kDigest && IsSha256Hex(text.substr(0, kDigest)) && text[kDigest] == ' ';
  if (has_digest) {
    ref.blob.sha256 = text.substr(0, kDigest);
    const auto size = std::from_chars(text.data() + kDigest + 1, end, ref.blob.size);
    if (size.ec == std::errc() && size.ptr != end && *size.ptr == ' ') {
      const auto last = std::from_chars(size.ptr + 1, end, encoding);
      ref.encoding = static_cast<Encoding>(encoding);
      const bool bytes = ref.encoding != Encoding::kBlob && encoding >= 0 && encoding <= static_cast<int>(Encoding::kSealed);
      if (last.ec == std::errc() && last.ptr == end && bytes) return ref;
    }
  }
  return DataLoss(fmt::format("a payload of {} bytes is to name a blob, and does not", text.size()));
}

}  // namespace marathon::inline MARATHON_ABI::detail
