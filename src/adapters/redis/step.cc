#include "step.h"

#include <algorithm>
#include <functional>

namespace marathon::inline MARATHON_ABI::detail {

namespace {

// Lua's stack takes some thousands.
constexpr int kMostArguments = 500;

// So far back is looked for a call of the same head.
constexpr size_t kLookBack = 16;

// Room that is made at once, which most steps do not exceed.
constexpr size_t kKeys = 16, kKeyBytes = 1024, kWordBytes = 512, kPlanBytes = 48, kGroups = 8;

// What a word takes beside itself.
constexpr size_t kWordHead = 16;

void AddToPlan(int64_t number, std::string& plan) {
  for (const int shift : {16, 8, 0}) plan += static_cast<char>(number >> shift & 0xff);
}

std::string_view WordFor(RedisStep::Check check) {
  switch (check) {
    case RedisStep::Check::kEquals:
      return "=";
    case RedisStep::Check::kPresent:
      return "+";
    case RedisStep::Check::kAbsent:
      return "-";
    case RedisStep::Check::kCount:
      break;
  }
  return "n";
}

RedisCommand& AddTime(std::optional<Time> now, RedisCommand& command) {
  return now.has_value() ? command.Add(ToMicros(*now)) : command.Add(std::string_view());
}

}  // namespace

// ---- RedisParts

RedisCommand& RedisParts::Begin(std::string_view name, int64_t key, int count) {
  if (++size_ == 1) {
    plan_.reserve(kPlanBytes);
    words_.Reserve(kWordBytes);
  }
  AddToPlan(key, plan_);
  AddToPlan(count, plan_);
  return words_.Add(name);
}

// ---- RedisGroups

RedisGroups::Group& RedisGroups::Of(std::string_view name, int64_t key, const RedisCommand& first) {
  if (groups_.empty()) {
    groups_.reserve(kGroups);
    pieces_.reserve(kGroups);
    members_.Reserve(kWordBytes);
  }
  const size_t end = groups_.size() - std::min(groups_.size(), kLookBack);
  for (size_t i = groups_.size(); i > end; --i) {
    Group& group = groups_[i - 1];
    if (group.key != key || group.name != name || group.first != first) continue;
    if (group.count < kMostArguments) return group;
    break;
  }
  return groups_.emplace_back(name, key, first);
}

void RedisGroups::AddTo(Group& group, const Piece& piece) {
  pieces_.push_back(piece);
  const size_t place = pieces_.size();
  if (group.first_piece == 0) {
    group.first_piece = place;
  } else {
    pieces_[group.last_piece - 1].next = place;
  }
  group.last_piece = place;
  group.count += piece.count;
}

// Of the words, or a little more.
size_t RedisGroups::bytes() const {
  size_t bytes = members_.body().size();
  for (const Group& group : groups_) bytes += group.first.body().size() + group.name.size() + kWordHead;
  return bytes;
}

void RedisGroups::AppendPlan(std::string& plan) const {
  for (const Group& group : groups_) {
    AddToPlan(group.key, plan);
    AddToPlan(group.first.count() + group.count, plan);
  }
}

void RedisGroups::AppendWords(RedisCommand& command) const {
  for (const Group& group : groups_) {
    command.Add(group.name).Add(group.first);
    for (size_t place = group.first_piece; place != 0;) {
      const Piece& piece = pieces_[place - 1];
      command.AddBody(piece.count, members_.body().substr(piece.begin, piece.end - piece.begin));
      place = piece.next;
    }
  }
}

// ---- RedisStep

std::string_view RedisStep::KeyAt(size_t place) const {
  const KeyName& name = keys_[place - 1];
  return key_names_.body().substr(name.begin, name.size);
}

int64_t RedisStep::Key(std::string_view key) {
  if (2 * (keys_.size() + 1) > index_.size()) GrowIndex();
  const size_t hash = std::hash<std::string_view>()(key), mask = index_.size() - 1;
  size_t at = hash & mask;
  for (; index_[at] != 0; at = (at + 1) & mask) {
    if (keys_[index_[at] - 1].hash == hash && KeyAt(index_[at]) == key) return index_[at];
  }
  key_names_.Add(key);
  // In front of the end of its line.
  keys_.push_back({hash, key_names_.body().size() - key.size() - 2, key.size()});
  index_[at] = static_cast<uint32_t>(keys_.size());
  return static_cast<int64_t>(keys_.size());
}

void RedisStep::GrowIndex() {
  if (index_.empty()) {
    keys_.reserve(kKeys);
    key_names_.Reserve(kKeyBytes);
  }
  index_.assign(std::max(2 * index_.size(), 2 * kKeys), 0);
  const size_t mask = index_.size() - 1;
  for (size_t i = 0; i < keys_.size(); ++i) {
    size_t at = keys_[i].hash & mask;
    while (index_[at] != 0) at = (at + 1) & mask;
    index_[at] = static_cast<uint32_t>(i + 1);
  }
}

void RedisStep::Expect(Check check, std::string_view key, std::string_view field, std::string_view value) {
  const std::string_view name = WordFor(check);
  const int64_t place = Key(key);
  switch (check) {
    case Check::kEquals:
      return checks_.Add(name, place, {}, field, value);
    case Check::kPresent:
    case Check::kAbsent:
      return checks_.Add(name, place, {}, field);
    case Check::kCount:
      return checks_.Add(name, place, {}, value);
  }
}

std::string RedisStep::PlanWith(int64_t names) const {
  std::string plan;
  plan.reserve(12 + 6 * static_cast<size_t>(checks_.size() + reads_.size() + writes_.size() + members_.size()));
  for (const int64_t number : {names, checks_.size(), reads_.size(), writes_.size() + members_.size()}) {
    AddToPlan(number, plan);
  }
  checks_.AppendPlan(plan);
  plan += reads_.plan();
  plan += writes_.plan();
  members_.AppendPlan(plan);
  return plan;
}

RedisCommand RedisStep::Words() const {
  RedisCommand words;
  words.Reserve(checks_.bytes() + reads_.words().body().size() + writes_.words().body().size() + members_.bytes());
  checks_.AppendWords(words);
  words.Add(reads_.words()).Add(writes_.words());
  members_.AppendWords(words);
  return words;
}

RedisCommand RedisStep::Command(std::string_view how, std::string_view script, std::optional<Time> now,
                                const RedisCommand& arguments) const {
  RedisCommand command;
  command.Reserve(how.size() + script.size() + key_names_.body().size() + arguments.body().size() + 8 * kWordHead);
  command.Add(how).Add(script).Add(key_names_.count()).Add(key_names_);
  return AddTime(now, command).Add(arguments);
}

RedisCommand RedisStep::Command(std::string_view how, std::string_view script,
                                std::optional<Time> now, std::optional<std::string_view> declared) const {
  RedisCommand arguments(PlanWith(declared.has_value() ? key_names_.count() : 0));
  if (declared.has_value()) arguments.Add(key_names_);
  arguments.Add(Words());
  if (!declared.has_value()) return Command(how, script, now, arguments);
  RedisCommand command(how, script, 1, *declared);
  return AddTime(now, command).Add(arguments);
}

}  // namespace marathon::inline MARATHON_ABI::detail
