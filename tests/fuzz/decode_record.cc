// Any bytes as a history record and as a message body: an answer, never a crash, and what was read
// can be written and read again. The seal is forged half the time, or the fuzzer would never pass
// the checksum.
#include <cstdlib>
#include <string>

#include "marathon/detail/sealed.h"
#include "marathon/event_codec.h"

namespace {

void Check(std::string_view bytes) {
  using namespace marathon;
  if (const auto record = DecodeRecord(bytes); record.ok()) {
    const std::string encoded = EncodeRecord(record->commit_id, record->events);
    const auto again = DecodeRecord(encoded);
    if (!again.ok() || EncodeRecord(again->commit_id, again->events) != encoded) std::abort();
    History history;
    const bool from_one = record->events.empty() || record->events.front().id == 1;
    if (AppendRecord(bytes, history).ok() != from_one) std::abort();
  }
  if (const auto body = DecodeBody(bytes); body.ok()) {
    const std::string encoded = EncodeBody(*body);
    const auto again = DecodeBody(encoded);
    if (!again.ok() || EncodeBody(*again) != encoded || Describe(*body).empty()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  Check(bytes);
  if (size < marathon::detail::kSealBytes) return 0;
  marathon::detail::Seal(marathon::kEventFormatVersion, bytes);
  Check(bytes);
  return 0;
}
