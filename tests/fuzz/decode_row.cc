// Any bytes as a row of every kind: an answer, never a crash, and what was read can be written and
// read again. The seal is forged as well, or the fuzzer would never pass the checksum.
#include <cstdlib>
#include <string>

#include "marathon/detail/sealed.h"
#include "marathon/store/row_codec.h"

namespace {

template <class Row>
void Check(std::string_view bytes) {
  const auto row = marathon::DecodeRow<Row>(bytes);
  if (!row.ok()) return;
  const std::string encoded = marathon::EncodeRow(*row);
  const auto again = marathon::DecodeRow<Row>(encoded);
  if (!again.ok() || marathon::EncodeRow(*again) != encoded) std::abort();
  if constexpr (std::is_same_v<Row, marathon::ActivityRow>) marathon::NextDue(*row);
}

void CheckAll(std::string_view bytes) {
  Check<marathon::RunRow>(bytes);
  Check<marathon::ActivityRow>(bytes);
  Check<marathon::SessionRow>(bytes);
  Check<marathon::IdRow>(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  CheckAll(bytes);
  if (size < marathon::detail::kSealBytes) return 0;
  marathon::detail::Seal(marathon::kRowFormatVersion, bytes);
  CheckAll(bytes);
  return 0;
}
