// Any text as a history in JSON: an answer, never a crash, and what was read can be written and read again.
#include <cstdlib>
#include <string>

#include "marathon/testing/history_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace marathon;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto run = testing::RunFromJson(text);
  const auto history = testing::HistoryFromJson(text);
  if (!run.ok() || !history.ok()) return 0;
  const std::string written = testing::HistoryToJson(*history);
  const auto again = testing::HistoryFromJson(written);
  if (!again.ok() || testing::HistoryToJson(*again) != written) std::abort();
  for (const Event& event : *history) {
    if (Describe(event.body).empty()) std::abort();
  }
  return 0;
}
