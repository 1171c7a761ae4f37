#include "step.h"

#include <algorithm>

namespace marathon::inline MARATHON_ABI::detail {

namespace {

// Lua's stack takes some thousands.
constexpr int kMostArguments = 500;

// So far back is looked for a call of the same head.
constexpr size_t kLookBack = 16;

}  // namespace

RedisCommand& RedisGroups::Of(const RedisCommand& head, const RedisCommand& first) {
  const size_t end = calls_.size() - std::min(calls_.size(), kLookBack);
  for (size_t i = calls_.size(); i > end; --i) {
    Call& call = calls_[i - 1];
    if (call.head != head || call.first != first) continue;
    if (call.members.count() < kMostArguments) return call.members;
    break;
  }
  return calls_.emplace_back(head, first).members;
}

void RedisGroups::AppendTo(RedisCommand& command) const {
  for (const auto& [head, first, members] : calls_) {
    command.Add(head).Add(first.count() + members.count()).Add(first).Add(members);
  }
}

int64_t RedisStep::Key(std::string_view key) {
  if (const auto found = keys_.find(key); found != keys_.end()) return found->second;
  key_names_.Add(key);
  const int64_t place = key_names_.count();
  keys_.emplace(key, place);
  return place;
}

void RedisStep::Expect(Check check, std::string_view key, std::string_view field,
                       std::string_view value) {
  const char kind = static_cast<char>(check);
  RedisCommand& members = checks_.Of(RedisCommand(std::string_view(&kind, 1), Key(key)), {});
  if (check != Check::kCount) members.Add(field);
  if (check == Check::kEquals || check == Check::kCount) members.Add(value);
}

RedisCommand RedisStep::Command(std::string_view how, std::string_view script,
                                std::optional<Time> now, std::optional<std::string_view> declared) const {
  RedisCommand command(how, script);
  if (declared.has_value()) {
    command.Add(1).Add(*declared);
  } else {
    command.Add(key_names_.count()).Add(key_names_);
  }
  if (now.has_value()) {
    command.Add(ToMicros(*now));
  } else {
    command.Add(std::string_view());
  }
  command.Add(checks_.size()).Add(reads_).Add(declared.has_value() ? key_names_.count() : 0);
  if (declared.has_value()) command.Add(key_names_);
  checks_.AppendTo(command);
  command.Add(read_).Add(write_);
  gathered_.AppendTo(command);
  return command;
}

}  // namespace marathon::inline MARATHON_ABI::detail
