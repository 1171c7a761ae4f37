// PayloadCodec: what an application gives its engine (EngineOptions::payload_codecs) so that payloads are encrypted, or
// compressed, before they leave the process, and read as before. What is sealed, and what stays readable:
// docs/guide.md#sealed-payloads.
//
// Thread rule: Seal and Open are called from any thread, by many at once. They block what they are called for, be it a
// turn: have the keys in memory. What they throw counts as an error.
#pragma once

#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

class PayloadCodec {
 public:
  virtual ~PayloadCodec() = default;

  // Stands before all that it seals, readable, so that the same codec opens it: a name that changes with the key
  // ("aes-2026-11"). 1 to limits::kMaxCodecIdBytes letters, digits, '-', '_', '.', ':' and '/'. Always the same.
  virtual std::string_view id() const = 0;

  // Bytes to store instead of `bytes`; other ones each time, if it likes. `workflow_id` says whose they are: they are
  // opened with the same one, and may be bound to it (as associated data), or have a key of their tenant.
  // kUnavailable: not now, ask again. Any other error: not before somebody mends it.
  virtual StatusOr<std::string> Seal(std::string_view bytes, std::string_view workflow_id) = 0;

  // The bytes that Seal was given. kUnavailable: not now, ask again. Any other error: these are not to be had with this
  // key, or damaged.
  virtual StatusOr<std::string> Open(std::string_view sealed, std::string_view workflow_id) = 0;
};

}  // namespace marathon::inline MARATHON_ABI
