#include "keys.h"

#include <fmt/format.h>

#include <charconv>
#include <concepts>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// Takes "NUMBER:" off the front.
std::optional<int64_t> TakeNumber(std::string_view& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data() + text.size() || *end != ':') return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  return number;
}

// Takes "LENGTH:" and so many bytes off the front.
std::optional<std::string_view> TakeText(std::string_view& text) {
  const auto length = TakeNumber(text);
  if (!length || *length < 0 || static_cast<size_t>(*length) > text.size()) return std::nullopt;
  const std::string_view taken = text.substr(0, static_cast<size_t>(*length));
  text.remove_prefix(taken.size());
  return taken;
}

// "NUMBER:"
void AppendWithColon(std::integral auto number, std::string& to) {
  char digits[24];
  to.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
  to += ':';
}

void AppendRunName(const RunKey& run, std::string& to) {
  AppendWithColon(run.workflow_id.size(), to);
  to += run.workflow_id;
  to += run.run_id;
}

// Made for each step, and several times: without fmt, which takes its time.
std::string KeyNameOf(std::string_view kind, const RunKey& run) {
  std::string name(kind);
  name.reserve(kind.size() + 24 + run.workflow_id.size() + run.run_id.size());
  AppendRunName(run, name);
  return name;
}

std::string KeyNameOf(std::string_view kind, int64_t id, const RunKey& run) {
  std::string name(kind);
  name.reserve(kind.size() + 48 + run.workflow_id.size() + run.run_id.size());
  AppendWithColon(id, name);
  AppendRunName(run, name);
  return name;
}

// A namespace inside of a hash tag: its braces must not end the tag.
std::string Prefix(std::string_view name_space, int partition) {
  std::string escaped;
  for (const char c : name_space) {
    if (c == '{' || c == '}' || c == '%') {
      escaped += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  return fmt::format("marathon:{{{}:{}}}:", escaped, partition);
}

}  // namespace

std::string RedisName(const RunKey& run) { return KeyNameOf({}, run); }

std::optional<RunKey> ParseRedisName(std::string_view name) {
  const auto workflow_id = TakeText(name);
  if (!workflow_id) return std::nullopt;
  return RunKey{std::string(*workflow_id), std::string(name)};
}

std::string RedisName(const ActivityKey& activity) {
  return KeyNameOf({}, activity.id, activity.run);
}

std::optional<ActivityKey> ParseActivityName(std::string_view name) {
  const auto id = TakeNumber(name);
  if (!id) return std::nullopt;
  auto run = ParseRedisName(name);
  if (!run) return std::nullopt;
  return ActivityKey{*std::move(run), *id};
}

std::string RedisName(const DueEntry& entry) {
  switch (entry.what) {
    case DueEntry::What::kRun:
      break;
    case DueEntry::What::kActivity:
      return KeyNameOf("a", entry.id, entry.run);
    case DueEntry::What::kTimer:
      return KeyNameOf("t", entry.id, entry.run);
    case DueEntry::What::kExcess:
      return KeyNameOf("c", entry.id, entry.run);
  }
  return KeyNameOf("r", entry.run);
}

std::optional<DueEntry> ParseDueName(std::string_view name) {
  if (name.empty()) return std::nullopt;
  const char kind = name[0];
  name.remove_prefix(1);
  if (kind == 'r') {
    auto run = ParseRedisName(name);
    if (!run) return std::nullopt;
    return DueEntry{DueEntry::What::kRun, *std::move(run)};
  }
  auto item = ParseActivityName(name);
  if (!item) return std::nullopt;
  for (const auto& [letter, what] : {std::pair('a', DueEntry::What::kActivity), std::pair('t', DueEntry::What::kTimer),
                                     std::pair('c', DueEntry::What::kExcess)}) {
    if (kind == letter) return DueEntry{what, std::move(item->run), item->id};
  }
  return std::nullopt;
}

std::string RedisName(const TaskHint& hint) {
  return fmt::format("{}:{}:{}:{}:{}{}:{}{}", hint.priority, hint.activity, hint.epoch, hint.preferred.size(),
                     hint.preferred, hint.activity_type.size(), hint.activity_type, RedisName(hint.run));
}

bool ParseHintName(std::string_view name, TaskHint* hint) {
  const auto priority = TakeNumber(name);
  const auto activity = priority && std::in_range<uint8_t>(*priority) ? TakeNumber(name) : std::nullopt;
  const auto epoch = activity ? TakeNumber(name) : std::nullopt;
  const auto preferred = epoch ? TakeText(name) : std::nullopt;
  const auto type = preferred ? TakeText(name) : std::nullopt;
  auto run = type ? ParseRedisName(name) : std::nullopt;
  if (!run) return false;
  hint->priority = static_cast<uint8_t>(*priority);
  hint->activity = *activity;
  hint->epoch = *epoch;
  hint->preferred = *preferred;
  hint->activity_type = *type;
  hint->run = *std::move(run);
  return true;
}

RedisKeys::RedisKeys(std::string_view name_space, int partition)
    : prefix(Prefix(name_space, partition)),
      runs(prefix + "runs"),
      due(prefix + "due"),
      due_sessions(prefix + "due:sessions"),
      closed(prefix + "closed"),
      closed_bytes(prefix + "n:closed"),
      sessions(prefix + "sessions"),
      receivers(prefix + "receivers"),
      hint_counter(prefix + "n:hints"),
      run_counter(prefix + "n:runs"),
      store_counter(prefix + "n:stores"),
      meta(prefix + "meta"),
      probe(prefix + "probe"),
      absent(prefix + "absent"),
      due_channel(prefix + "soon") {}

size_t RedisPartitionOf(std::string_view name, size_t partitions) {
  if (partitions <= 1) return 0;
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char byte : name) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211u;
  return (hash ^ (hash >> 32)) % partitions;
}

std::string RedisKeys::Attribute(std::string_view name, std::string_view text) const {
  return Of("x:", fmt::format("{}:{}{}", name.size(), name, text));
}

std::string RedisKeys::Of(std::string_view kind, std::string_view name) const {
  std::string key;
  key.reserve(prefix.size() + kind.size() + name.size());
  key += prefix;
  key += kind;
  key += name;
  return key;
}

std::string RedisKeys::Queue(TaskKind kind, std::string_view task_queue,
                             std::string_view session) const {
  return fmt::format("{}q:{}:{}:{}{}", prefix, kind == TaskKind::kTurn ? "turn" : "activity",
                     task_queue.size(), task_queue, session);
}

}  // namespace marathon::inline MARATHON_ABI::detail
