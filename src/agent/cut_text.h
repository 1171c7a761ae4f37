// CutText: a text that is too long for whoever gets it, with a word on what is missing.
#pragma once

#include <cstddef>
#include <string>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

// Not in the middle of a character.
inline std::string CutText(std::string text, size_t max) {
  if (text.size() <= max) return text;
  size_t end = max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  const size_t rest = text.size() - end;
  text.resize(end);
  return text + "\n[cut off here: " + std::to_string(rest) + " more bytes]";
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
