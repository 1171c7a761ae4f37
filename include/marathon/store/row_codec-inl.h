#pragma once

#include "marathon/store/row_codec.h"

#include <fmt/format.h>

#include "marathon/detail/layout.h"
#include "marathon/detail/row_fields.h"
#include "marathon/detail/sealed.h"
#include "marathon/detail/wire.h"

namespace marathon::inline MARATHON_ABI {
namespace detail {

template <class Row>
std::string EncodeRowAs(const Row& row) {
  std::string bytes(kSealBytes + 1 + SizeOf(row), '\0');
  Writer writer(bytes.data() + kSealBytes);
  writer.Byte(Layout<Row>::number);
  Put(writer, row);
  Seal(kRowFormatVersion, bytes);
  return bytes;
}

template <class Row>
StatusOr<Row> DecodeRowAs(std::string_view bytes) {
  const std::string_view name = Layout<Row>::name;
  auto content = Unseal(kRowFormatVersion, bytes, name);
  if (!content.ok()) return content.status();
  Reader reader(*content);
  const uint8_t number = reader.Byte();
  if (number != Layout<Row>::number) {
    return DataLoss(
        fmt::format("{}: it is a row of kind {}, not {}", name, number, Layout<Row>::number));
  }
  Row row;
  Get(reader, row);  // bytes that remain are fields of a newer Marathon
  if (!reader.ok()) {
    return DataLoss(
        fmt::format("{}: it {} at byte {}", name, reader.error(), reader.error_offset()));
  }
  return row;
}

}  // namespace detail

MARATHON_INLINE std::string EncodeRow(const RunRow& row) { return detail::EncodeRowAs(row); }
MARATHON_INLINE std::string EncodeRow(const ActivityRow& row) { return detail::EncodeRowAs(row); }
MARATHON_INLINE std::string EncodeRow(const SessionRow& row) { return detail::EncodeRowAs(row); }
MARATHON_INLINE std::string EncodeRow(const IdRow& row) { return detail::EncodeRowAs(row); }

template <>
MARATHON_INLINE StatusOr<RunRow> DecodeRow<RunRow>(std::string_view bytes) {
  return detail::DecodeRowAs<RunRow>(bytes);
}
template <>
MARATHON_INLINE StatusOr<ActivityRow> DecodeRow<ActivityRow>(std::string_view bytes) {
  return detail::DecodeRowAs<ActivityRow>(bytes);
}
template <>
MARATHON_INLINE StatusOr<SessionRow> DecodeRow<SessionRow>(std::string_view bytes) {
  return detail::DecodeRowAs<SessionRow>(bytes);
}
template <>
MARATHON_INLINE StatusOr<IdRow> DecodeRow<IdRow>(std::string_view bytes) {
  return detail::DecodeRowAs<IdRow>(bytes);
}

}  // namespace marathon::inline MARATHON_ABI
