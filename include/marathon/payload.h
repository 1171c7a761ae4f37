// User data as the engine carries it: opaque bytes, encoded and decoded once, at the user's boundary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI {

// How `Payload::data` is to be read. Persisted: never change the value of an existing entry.
enum class Encoding : uint8_t {
  kNone = 0,  // no value (a `void` result); `data` is empty
  kJson = 1,  // UTF-8 JSON text
  // The bytes are a blob beside the history: `data` names it (store/payload_refs.h). Only in what is stored: a workflow,
  // an activity, a client or an export never meets one.
  kBlob = 2,
  // Sealed by a PayloadCodec (payload_codec.h): `data` says which, and the rest is its bytes (store/sealed_payloads.h). In
  // what is stored, and in what an engine reads that cannot open it; a workflow or an activity never meets one.
  kSealed = 3,
};

struct Payload {
  std::string data;
  Encoding encoding = Encoding::kNone;

  friend bool operator==(const Payload&, const Payload&) = default;
};

// The id of the codec that has sealed a payload; empty: it is not sealed.
inline std::string_view SealedBy(const Payload& payload) {
  const std::string_view data = payload.data;
  return payload.encoding == Encoding::kSealed ? data.substr(0, data.find(' ')) : std::string_view();
}

}  // namespace marathon::inline MARATHON_ABI
