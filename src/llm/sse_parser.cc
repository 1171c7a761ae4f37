#include "src/llm/sse_parser.h"

#include <algorithm>
#include <utility>

namespace marathon::inline MARATHON_ABI::llm::internal {

bool SseParser::Next(SseEvent* event) {
  SkipMark();
  for (std::string_view line; !at_start_ && !overflow_ && TakeLine(&line);) {
    if (!line.empty()) {
      OnField(line);
    } else if (std::exchange(has_data_, false)) {
      *event = std::exchange(event_, {});
      return true;
    } else {
      event_ = {};
    }
  }
  // What is left is part of a line.
  buffer_.erase(0, line_begin_);
  searched_ -= line_begin_;
  line_begin_ = 0;
  if (buffer_.size() > event_max_) overflow_ = true;
  return false;
}

// A byte order mark may come first.
void SseParser::SkipMark() {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (!at_start_) return;
  const std::string_view begin = std::string_view(buffer_).substr(0, kMark.size());
  if (begin.size() < kMark.size() && kMark.starts_with(begin)) return;  // not to be told yet
  at_start_ = false;
  if (begin == kMark) line_begin_ = searched_ = kMark.size();
}

bool SseParser::TakeLine(std::string_view* line) {
  if (after_cr_ && line_begin_ < buffer_.size()) {
    after_cr_ = false;
    if (buffer_[line_begin_] == '\n') searched_ = ++line_begin_;
  }
  const size_t end = buffer_.find_first_of("\r\n", searched_);
  if (end == buffer_.npos) {
    searched_ = buffer_.size();
    return false;
  }
  *line = std::string_view(buffer_).substr(line_begin_, end - line_begin_);
  after_cr_ = buffer_[end] == '\r';
  line_begin_ = searched_ = end + 1;
  return true;
}

void SseParser::OnField(std::string_view line) {
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::string_view value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "event") {
    event_.type = value;
  } else if (name == "data") {
    if (std::exchange(has_data_, true)) event_.data += '\n';
    event_.data += value;
    if (event_.data.size() > event_max_) overflow_ = true;
  }
  // Others, and comments, whose name is empty, are ignored; so are ids: no provider takes them back.
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
