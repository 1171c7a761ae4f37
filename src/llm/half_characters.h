// HalfCharacters: makes JSON of events whose texts are cut in the middle of a character. One beyond U+FFFF is two escapes
// in JSON ("\ud83d\ude00"); servers that count in UTF-16, as those in JavaScript do, may send the halves in two events. A
// half alone is no JSON.
//
// One thread at a time.
#pragma once

#include <string>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

class HalfCharacters {
 public:
  // The event with whole characters only. A first half that ends a text waits for the event whose text begins with the
  // second, and goes in front of that; one that waits in vain gives way to the next. Any other half becomes U+FFFD.
  std::string Join(std::string_view event);

 private:
  std::string first_;  // that waits, as its escape
};

}  // namespace marathon::inline MARATHON_ABI::llm::internal
