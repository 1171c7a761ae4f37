// Histories and messages as bytes. The format is hand-written, versioned, checksummed and frozen by the
// golden files in tests/golden; docs/event_format.md describes it byte by byte.
//
// Functions only; safe from any thread. Decoding trusts nothing: whatever the bytes are, the answer is
// events or kDataLoss with a message that says what is wrong and where.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

inline constexpr uint8_t kEventFormatVersion = 1;

// A record is what one commit appends to a run's history: format version, CRC-32C, commit id, then
// events with consecutive ids.
struct Record {
  CommitId commit_id = 0;
  History events;

  friend bool operator==(const Record&, const Record&) = default;
};

// The bytes of a record.
std::string EncodeEvents(CommitId commit_id, std::span<const Event> events);
inline std::string EncodeRecord(CommitId commit_id, const History& events) {
  return EncodeEvents(commit_id, events);
}
StatusOr<Record> DecodeRecord(std::string_view bytes);

// Appends the events of one more record to `history`, and checks that ids go on without a gap.
Status AppendRecord(std::string_view bytes, History& history);

// One event body without a place, as the inbox holds it: format version, CRC-32C, type, fields.
std::string EncodeBody(const EventBody& body);
StatusOr<EventBody> DecodeBody(std::string_view bytes);

// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`.
uint32_t Crc32c(std::string_view bytes);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/event_codec-inl.h"
#endif
