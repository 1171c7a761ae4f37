#include "names.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "marathon/detail/sha256.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

using nlohmann::json;

constexpr size_t kNameMax = 80;
constexpr size_t kDigestChars = 32;
constexpr int kVersion = 1;

// Letters and digits as they are, everything else as _ and two hexadecimal digits; so '-' parts names.
std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (plain) {
      out += c;
    } else {
      out += fmt::format("_{:02x}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

}  // namespace

std::string SqsQueueName(std::string_view prefix, std::string_view name_space, TaskKind kind,
                         std::string_view task_queue) {
  std::string name = fmt::format("{}-{}-{}-{}", prefix, Escape(name_space),
                                 kind == TaskKind::kTurn ? "turn" : "activity", Escape(task_queue));
  if (name.size() <= kNameMax) return name;
  // No name that was not cut has "--" before its last part.
  return name.substr(0, kNameMax - kDigestChars - 2) + "--" +
         Sha256Hex(name).substr(0, kDigestChars);
}

std::string EncodeSqsHint(const TaskHint& hint) {
  json body{{"v", kVersion}, {"w", hint.run.workflow_id}, {"r", hint.run.run_id}};
  if (hint.kind == TaskKind::kActivity) {
    body["a"] = hint.activity;
    body["e"] = hint.epoch;
    body["t"] = hint.activity_type;
    if (hint.priority != limits::kDefaultPriority) body["n"] = hint.priority;
  }
  if (!hint.preferred.empty()) body["p"] = hint.preferred;
  return body.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
}

StatusOr<TaskHint> DecodeSqsHint(std::string_view text, TaskKind kind,
                                 std::string_view task_queue) {
  const json body = json::parse(text, nullptr, /*allow_exceptions=*/false);
  Status no_hint = InvalidArgument("not a hint");
  if (!body.is_object()) return no_hint;
  const auto string = [&](const char* name, auto* out) {
    const auto found = body.find(name);
    if (found == body.end() || !found->is_string()) return false;
    *out = found->get<std::string>();
    return true;
  };
  const auto number = [&](const char* name, int64_t* out) {
    const auto found = body.find(name);
    if (found == body.end() || !found->is_number_integer()) return false;
    *out = found->get<int64_t>();
    return true;
  };
  TaskHint hint;
  hint.kind = kind;
  hint.task_queue = task_queue;
  int64_t version = 0;
  if (!number("v", &version) || version < kVersion) return no_hint;
  if (version > kVersion) return Unimplemented("a hint of a newer format");
  if (!string("w", &hint.run.workflow_id) || !string("r", &hint.run.run_id)) return no_hint;
  if (kind == TaskKind::kActivity && (!number("a", &hint.activity) || !number("e", &hint.epoch) ||
                                      !string("t", &hint.activity_type))) {
    return no_hint;
  }
  string("p", &hint.preferred);
  int64_t priority = 0;
  if (number("n", &priority) && std::in_range<uint8_t>(priority)) hint.priority = static_cast<uint8_t>(priority);
  return hint;
}

}  // namespace marathon::inline MARATHON_ABI::detail
