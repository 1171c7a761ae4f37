// MemoryShard: records, messages and dedupe keys of runs.
#pragma once

#include <algorithm>
#include <iterator>

#include "marathon/adapters/memory_tables.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE void MemoryShard::AppendRecord(Run& run, EventId version, CommitId commit_id,
                                               std::string&& bytes) {
  run.history.Append(arena_, version, commit_id, bytes);
}

MARATHON_INLINE CommitId MemoryShard::CommitAt(const Run& run, EventId version) const {
  const MemoryRecord* record = run.history.EndingAt(version);
  return record == nullptr ? 0 : record->commit_id;
}

MARATHON_INLINE bool MemoryShard::ReadRecords(const Run& run, EventId after, size_t max_bytes,
                                              std::vector<std::string>& out) const {
  size_t bytes = 0;
  for (const MemoryRecord* r = run.history.After(after); r != nullptr; r = r->next) {
    bytes += r->size;
    if (bytes > max_bytes && !out.empty()) return true;
    out.emplace_back(r->view());
  }
  return false;
}

MARATHON_INLINE std::string MemoryShard::LastRecord(const Run& run) const {
  const MemoryRecord* record = run.history.last();
  return record == nullptr ? std::string() : std::string(record->view());
}

MARATHON_INLINE void MemoryShard::AppendMessage(Run& run, Message&& message) {
  if (run.inbox == nullptr) run.inbox = std::make_unique<MemoryInbox>();
  run.inbox->messages.push_back(std::move(message));
}

MARATHON_INLINE void MemoryShard::ReadInbox(const Run& run, uint64_t after, int max,
                                            std::vector<Message>& out) const {
  if (run.inbox == nullptr) return;
  const MemoryInbox& inbox = *run.inbox;
  size_t bytes = 0;
  const auto from = std::upper_bound(
      inbox.messages.begin() + static_cast<ptrdiff_t>(inbox.taken), inbox.messages.end(), after,
      [](uint64_t seq, const Message& message) { return seq < message.seq; });
  for (auto i = static_cast<size_t>(from - inbox.messages.begin()); i < inbox.messages.size() && max > 0; ++i, --max) {
    bytes += MessageBytes(inbox.messages[i]);
    if (bytes > limits::kTurnMaxBytes && !out.empty()) return;
    out.push_back(inbox.messages[i]);
  }
}

MARATHON_INLINE int64_t MemoryShard::EraseMessages(Run& run, uint64_t up_to) {
  if (run.inbox == nullptr) return 0;
  MemoryInbox& inbox = *run.inbox;
  const size_t before = inbox.taken;
  while (inbox.taken < inbox.messages.size() && inbox.messages[inbox.taken].seq <= up_to) {
    inbox.messages[inbox.taken++] = Message();
  }
  const auto erased = static_cast<int64_t>(inbox.taken - before);
  if (inbox.taken == inbox.messages.size()) {
    run.inbox.reset();
  } else if (inbox.taken * 2 > inbox.messages.size()) {
    inbox.messages.erase(inbox.messages.begin(),
                         inbox.messages.begin() + static_cast<ptrdiff_t>(inbox.taken));
    inbox.taken = 0;
  }
  return erased;
}

MARATHON_INLINE bool MemoryShard::HasKey(const Run& run, const std::string& key) const {
  return run.keys != nullptr && run.keys->set.contains(key);
}

MARATHON_INLINE void MemoryShard::AddKey(Run& run, const std::string& key, Time now) {
  if (run.keys == nullptr) run.keys = std::make_unique<MemoryKeys>();
  if (run.keys->set.insert(key).second) run.keys->order.emplace_back(now, key);
}

MARATHON_INLINE void MemoryShard::TrimKeys(Run& run, Time before, size_t max) {
  if (run.keys == nullptr) return;
  MemoryKeys& keys = *run.keys;
  while (!keys.order.empty() && (keys.order.front().first < before || keys.order.size() > max)) {
    const std::string& key = keys.order.front().second;
    keys.answers.erase(key);
    keys.set.erase(key);
    keys.order.pop_front();
  }
}

MARATHON_INLINE void MemoryShard::SetAnswer(Run& run, const std::string& key, std::string answer,
                                            Time seen) {
  if (run.keys == nullptr) run.keys = std::make_unique<MemoryKeys>();
  MemoryKeys& keys = *run.keys;
  MemoryKeys::Answer& kept = keys.answers[key];
  if (!keys.set.insert(key).second && !kept.stays) {  // it is in line, probably near the end
    const auto place = std::find_if(keys.order.rbegin(), keys.order.rend(),
                                    [&](const auto& entry) { return entry.second == key; });
    if (place != keys.order.rend()) keys.order.erase(std::next(place).base());
  }
  kept = {std::move(answer), seen == kNever};
  if (!kept.stays) keys.order.emplace_back(seen, key);
}

MARATHON_INLINE std::optional<std::string> MemoryShard::AnswerTo(const Run& run,
                                                                 const std::string& key) const {
  if (run.keys == nullptr) return std::nullopt;
  const auto found = run.keys->answers.find(key);
  if (found == run.keys->answers.end()) return std::nullopt;
  return found->second.bytes;
}

MARATHON_INLINE void MemoryShard::ReplaceAnswers(Run& run, const std::string& from,
                                                 const std::string& to, Time seen) {
  if (run.keys == nullptr) return;
  std::vector<std::string> keys;
  for (const auto& [key, answer] : run.keys->answers) {
    if (answer.bytes == from) keys.push_back(key);
  }
  for (const std::string& key : keys) SetAnswer(run, key, to, seen);
}

}  // namespace marathon::inline MARATHON_ABI::detail
