// A store's rows as bytes, for stores that keep bytes: format version, CRC-32C, kind of row,
// fields. The format is frozen by the golden files in tests/golden and described in
// docs/event_format.md.
//
// Functions only; safe from any thread. Decoding trusts nothing: whatever the bytes are, the answer
// is a row or kDataLoss with a message that says what is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/store_rows.h"

namespace marathon::inline MARATHON_ABI {

inline constexpr uint8_t kRowFormatVersion = 1;

std::string EncodeRow(const RunRow& row);
std::string EncodeRow(const ActivityRow& row);
std::string EncodeRow(const SessionRow& row);
std::string EncodeRow(const IdRow& row);

template <class Row>
StatusOr<Row> DecodeRow(std::string_view bytes);
template <>
StatusOr<RunRow> DecodeRow<RunRow>(std::string_view bytes);
template <>
StatusOr<ActivityRow> DecodeRow<ActivityRow>(std::string_view bytes);
template <>
StatusOr<SessionRow> DecodeRow<SessionRow>(std::string_view bytes);
template <>
StatusOr<IdRow> DecodeRow<IdRow>(std::string_view bytes);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/store/row_codec-inl.h"
#endif
