// Whose turns the first turns of a fork are, as its start says in a header: "<run id>@<last event> …", those of the
// oldest run first. Random numbers of such a turn are its run's.
//
// Persisted. Functions only; no thread rule.
#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/run_messages.h"
#include "marathon/ids.h"
#include "marathon/payload.h"

namespace marathon::inline MARATHON_ABI::detail {

struct KeptTurns {
  std::string run_id;
  EventId until = 0;  // the last event
};

inline std::vector<KeptTurns> ForksOf(const Headers& headers) {
  std::vector<KeptTurns> forks;
  std::string_view text = HeaderOf(headers, header::kForkedFrom);
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const size_t at = one.rfind('@');
    if (at == one.npos) continue;
    KeptTurns& kept = forks.emplace_back(KeptTurns{std::string(one.substr(0, at))});
    std::from_chars(one.data() + at + 1, one.data() + one.size(), kept.until);
  }
  return forks;
}

inline void RemoveForks(Headers& headers) {
  std::erase_if(headers, [](const auto& header) { return header.first == header::kForkedFrom; });
}

// Makes the headers of `run_id` those of a fork that keeps its events up to `keep`.
inline void AddFork(Headers& headers, const std::string& run_id, EventId keep) {
  std::string text;
  const auto add = [&text](const std::string& run, EventId until) {
    text += (text.empty() ? "" : " ") + run + "@" + std::to_string(until);
  };
  bool all = true;
  for (const KeptTurns& kept : ForksOf(headers)) {
    all = kept.until < keep;
    add(kept.run_id, std::min(kept.until, keep));
    if (!all) break;
  }
  if (all) add(run_id, keep);
  RemoveForks(headers);
  headers.emplace_back(header::kForkedFrom, std::move(text));
}

}  // namespace marathon::inline MARATHON_ABI::detail
