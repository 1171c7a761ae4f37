// SseParser: server-sent events out of a stream of bytes that may be split anywhere, in the middle of a line
// ending or of a UTF-8 character too.
//
// One thread at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

struct SseEvent {
  std::string type;  // empty: none was said
  std::string data;
};

class SseParser {
 public:
  // `event_max`: bytes of a line, and of an event's data.
  explicit SseParser(size_t event_max) : event_max_(event_max) {}

  void Feed(std::string_view bytes) { buffer_.append(bytes); }
  // The next event that is complete; false: more bytes are needed. What is unfinished at the end of the
  // stream is no event.
  bool Next(SseEvent* event);
  // Something was larger than allowed; no event follows.
  bool overflow() const { return overflow_; }

 private:
  bool TakeLine(std::string_view* line);
  void OnField(std::string_view line);
  void SkipMark();

  const size_t event_max_;
  std::string buffer_;
  size_t line_begin_ = 0;
  size_t searched_ = 0;  // no line ends before it
  bool after_cr_ = false;  // a \n that comes next belongs to the \r before it
  bool at_start_ = true;
  bool overflow_ = false;
  bool has_data_ = false;
  SseEvent event_;
};

}  // namespace marathon::inline MARATHON_ABI::llm::internal
