#include "wire.h"

#include <fmt/format.h>

#include <cstdlib>

namespace marathon::inline MARATHON_ABI::detail {

std::string RedisCommand::Bytes() const {
  std::string bytes;
  AppendTo(bytes);
  return bytes;
}

void RedisCommand::AppendTo(std::string& out) const {
  AppendHead('*', count_, out);
  out += body_;
}

RedisReply RedisReply::operator[](size_t i) const {
  RedisReply part;
  if (i >= size()) return part;
  part.root_ = root_;
  part.node_ = node_->element[i];
  return part;
}

std::string_view RedisReply::text() const {
  if (node_ == nullptr || node_->str == nullptr) return {};
  switch (node_->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
      return {node_->str, static_cast<size_t>(node_->len)};
    default:
      return {};
  }
}

int64_t RedisReply::number() const {
  if (node_ == nullptr) return 0;
  if (node_->type == REDIS_REPLY_INTEGER) return node_->integer;
  int64_t number = 0;
  const std::string_view digits = text();
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

uint64_t RedisReply::unsigned_number() const {
  return node_ != nullptr && node_->type == REDIS_REPLY_INTEGER
             ? static_cast<uint64_t>(node_->integer)
             : RedisNumber(text());
}

Time RedisReply::time() const {
  const double micros = std::strtod(std::string(text()).c_str(), nullptr);
  return micros >= static_cast<double>(ToMicros(kNever)) ? kNever
                                                         : FromMicros(static_cast<int64_t>(micros));
}

bool RedisReply::is_push() const {
  const std::string_view kind = (*this)[0].text();
  return kind == "message" || kind == "subscribe" || kind == "unsubscribe";
}

uint64_t RedisNumber(std::string_view text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// An error raised inside a script keeps its code in front, from Redis 7 on. Before, there are words of Redis's own:
// "ERR Error running script (call to f_…): @user_script:7: @user_script: 7: -READONLY You can't …".
std::string_view WithoutPlace(std::string_view error) {
  const size_t dash = StartsWith(error, "ERR Error running script") ? error.find(": -") : error.npos;
  return dash == error.npos ? error : error.substr(dash + 3);
}

template <size_t N>
bool IsOneOf(std::string_view error, const std::string_view (&codes)[N]) {
  error = WithoutPlace(error);
  for (const std::string_view code : codes) {
    if (StartsWith(error, code) &&
        (error.size() == code.size() || error[code.size()] == ' ')) {
      return true;
    }
  }
  return false;
}

}  // namespace

Status StatusOfError(std::string_view error) {
  static constexpr std::string_view kLater[] = {
      "LOADING", "BUSY", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
      "MOVED", "ASK", "NOREPLICAS", "UNBLOCKED", "NOSCRIPT"};
  static constexpr std::string_view kFull[] = {"OOM", "MISCONF"};
  static constexpr std::string_view kForbidden[] = {"NOAUTH", "WRONGPASS", "NOPERM", "CROSSSLOT", "DENIED"};
  const std::string message = fmt::format("Redis answered: {}", error);
  if (IsOneOf(error, kLater)) return Unavailable(message);
  if (IsOneOf(error, kFull)) return ResourceExhausted(message);
  if (IsOneOf(error, kForbidden)) return FailedPrecondition(message);
  return Unknown(message);
}

bool AsksToReconnect(std::string_view error) {
  static constexpr std::string_view kElsewhere[] = {"MOVED",   "READONLY", "MASTERDOWN",
                                                    "LOADING", "NOAUTH",   "CLUSTERDOWN"};
  return IsOneOf(error, kElsewhere);
}

}  // namespace marathon::inline MARATHON_ABI::detail
