// User data as the engine carries it: opaque bytes, encoded and decoded once, at the user's boundary.
#pragma once

#include <cstdint>
#include <string>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI {

// How `Payload::data` is to be read. Persisted: never change the value of an existing entry.
enum class Encoding : uint8_t {
  kNone = 0,  // no value (a `void` result); `data` is empty
  kJson = 1,  // UTF-8 JSON text
  // The bytes are a blob beside the history: `data` names it (store/payload_refs.h). Only in what is stored: a workflow,
  // an activity, a client or an export never meets one.
  kBlob = 2,
};

struct Payload {
  std::string data;
  Encoding encoding = Encoding::kNone;

  friend bool operator==(const Payload&, const Payload&) = default;
};

}  // namespace marathon::inline MARATHON_ABI
