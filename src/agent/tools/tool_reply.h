// What our tools share: how they say what went wrong, and texts that are cut.
//
// Functions only; safe from any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/agent/steps.h"
#include "marathon/agent/tool.h"
#include "marathon/config.h"
#include "marathon/detail/text.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

// What the model got wrong, or may not have: a result, which nothing retries.
inline ToolReply Refusal(const Status& status) {
  return {.text = std::string(MessageOf(status)), .is_error = true};
}

// … and what may go better next time is thrown, so that it is tried again.
inline ToolReply AnswerOf(StatusOr<std::string> text) {
  if (text.ok()) return {.text = *std::move(text)};
  if (IsTransient(text.status())) ThrowToolStatus(text.status());
  return Refusal(text.status());
}

inline bool IsUtf8(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; };
  while (!text.empty()) {
    const auto end = std::ranges::find_if(text, is_control);
    const auto size = static_cast<size_t>(end - text.begin());
    if (!marathon::detail::IsCleanText(text.substr(0, size))) return false;
    text.remove_prefix(std::min(size + 1, text.size()));
  }
  return true;
}

// The rest of a character that a cut has left at the start.
inline size_t SizeOfBrokenStart(std::string_view text) {
  size_t size = 0;
  while (size < std::min<size_t>(3, text.size()) && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80) ++size;
  return size;
}

// Without the beginning of a character that a cut has left at the end.
inline std::string_view WithoutBrokenEnd(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<uint8_t>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;  // inside of one
    const size_t length = byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return text.substr(0, length > back ? text.size() - back : text.size());
  }
  return text;
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
