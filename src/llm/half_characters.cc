#include "src/llm/half_characters.h"

#include <charconv>
#include <system_error>
#include <utility>

namespace marathon::inline MARATHON_ABI::llm::internal {
namespace {

constexpr size_t kEscape = 6;  // "\ud83d"

// Of the escape of a UTF-16 unit that stands at `at`; 0: none does.
unsigned UnitAt(std::string_view text, size_t at) {
  if (at + kEscape > text.size() || text[at] != '\\' || text[at + 1] != 'u') return 0;
  unsigned unit = 0;
  const char* const last = text.data() + at + kEscape;
  const auto [end, error] = std::from_chars(text.data() + at + 2, last, unit, 16);
  return error == std::errc() && end == last ? unit : 0;
}
bool IsFirst(unsigned unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool IsSecond(unsigned unit) { return unit >= 0xDC00 && unit < 0xE000; }

}  // namespace

std::string HalfCharacters::Join(std::string_view event) {
  std::string joined;
  size_t copied = 0;
  size_t at = event.find('\\');
  while (at < event.size()) {
    const unsigned unit = UnitAt(event, at);
    const bool is_first = IsFirst(unit);
    if (!is_first && !IsSecond(unit)) {
      at = event.find('\\', at + 2);  // behind what it escapes, which may be another one
    } else if (is_first && IsSecond(UnitAt(event, at + kEscape))) {
      at = event.find('\\', at + 2 * kEscape);
    } else {
      const std::string_view half = event.substr(at, kEscape);
      joined += event.substr(copied, at - copied);
      copied = at + kEscape;
      if (is_first && event.substr(copied).starts_with('"')) {
        first_ = half;
      } else if (!is_first && !first_.empty() && joined.ends_with('"') && !joined.ends_with("\\\"")) {
        joined.append(std::exchange(first_, {})).append(half);
      } else {
        joined += "\\ufffd";
      }
      at = event.find('\\', copied);
    }
  }
  return joined.append(event.substr(copied));
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
