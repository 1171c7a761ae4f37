#include "step.h"

namespace marathon::inline MARATHON_ABI::detail {

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
  check_.Add(std::string_view(&kind, 1)).Add(Key(key)).Add(field).Add(value);
  ++checks_;
}

RedisCommand RedisStep::Command(std::string_view how, std::string_view script,
                                std::optional<Time> now) const {
  RedisCommand command(how, script, key_names_.count());
  command.Add(key_names_);
  if (now.has_value()) {
    command.Add(ToMicros(*now));
  } else {
    command.Add(std::string_view());
  }
  command.Add(checks_).Add(reads_).Add(check_).Add(read_).Add(write_);
  return command;
}

}  // namespace marathon::inline MARATHON_ABI::detail
