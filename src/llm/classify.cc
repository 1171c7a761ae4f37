#include "src/llm/classify.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "src/llm/fields.h"
#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI::llm::internal {
namespace {

using marathon::detail::HttpReply;
using nlohmann::json;

constexpr size_t kMessageMax = 500;
constexpr double kMillisMax = 30.0 * 24 * 3'600'000;

struct Meaning {
  std::string_view word;
  ErrorClass error_class;
};

// Codes and types of errors, by which providers say more than by the status.
constexpr Meaning kWords[] = {
    {"insufficient_quota", ErrorClass::kQuota},
    {"billing_hard_limit_reached", ErrorClass::kQuota},
    {"billing_not_active", ErrorClass::kQuota},
    {"billing_error", ErrorClass::kQuota},
    {"enforced_spend_limit_reached", ErrorClass::kQuota},
    {"context_length_exceeded", ErrorClass::kTooLarge},
    {"string_above_max_length", ErrorClass::kTooLarge},
    {"exceed_context_size_error", ErrorClass::kTooLarge},
    {"request_too_large", ErrorClass::kTooLarge},
    {"content_filter", ErrorClass::kRefused},
    {"content_policy_violation", ErrorClass::kRefused},
    {"invalid_api_key", ErrorClass::kAuth},
    {"authentication_error", ErrorClass::kAuth},
    {"permission_error", ErrorClass::kAuth},
    {"rate_limit_exceeded", ErrorClass::kRateLimit},
    {"rate_limit_error", ErrorClass::kRateLimit},
    {"slow_down", ErrorClass::kRateLimit},
    {"overloaded_error", ErrorClass::kOverloaded},
    {"server_is_overloaded", ErrorClass::kOverloaded},
    {"engine_overloaded", ErrorClass::kOverloaded},
    {"timeout_error", ErrorClass::kTimeout},
};

// What some say in the message alone, with a 400.
constexpr Meaning kPhrases[] = {
    {"prompt is too long", ErrorClass::kTooLarge},
    {"maximum context length", ErrorClass::kTooLarge},
    {"credit balance is too low", ErrorClass::kQuota},
    {"specified API usage limits", ErrorClass::kQuota},
};

ErrorClass ClassOfStatus(int status) {
  switch (status) {
    case 401:
    case 403: return ErrorClass::kAuth;
    case 402: return ErrorClass::kQuota;
    case 408:
    case 504: return ErrorClass::kTimeout;
    case 413: return ErrorClass::kTooLarge;
    case 429: return ErrorClass::kRateLimit;
    case 503:
    case 529: return ErrorClass::kOverloaded;
    case 200:  // an error in a stream
    case 409: return ErrorClass::kTransient;
    default: return status >= 500 ? ErrorClass::kTransient : ErrorClass::kBadRequest;
  }
}

// Of a type alone, where the status says nothing.
ErrorClass ClassInStream(std::string_view type) {
  const bool ours = type == "invalid_request_error" || type == "not_found_error";
  return ours ? ErrorClass::kBadRequest : ErrorClass::kTransient;
}

// Some gateways put the status that they got from the provider into the stream: as a number, in `code`.
std::optional<int> StatusInStream(const json& error) {
  const int64_t code = IntOf(error, "code");
  return code >= 400 && code < 600 ? std::optional(static_cast<int>(code)) : std::nullopt;
}

// What people can read of a text that may be anything.
std::string Excerpt(std::string_view text, bool is_utf8) {
  std::string excerpt(text.substr(0, kMessageMax));
  if (is_utf8 && text.size() > kMessageMax) {  // not in the middle of a character
    size_t end = kMessageMax;
    while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
    excerpt.resize(end);
  }
  for (char& c : excerpt) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7f) c = ' ';
    if (byte >= 0x80 && !is_utf8) c = '?';
  }
  return excerpt;
}

std::optional<double> NumberOf(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) {
    return std::nullopt;
  }
  return number;
}

Duration MillisOf(double millis) {
  return Duration(static_cast<int64_t>(std::ceil(std::clamp(millis, 0.0, kMillisMax))));
}

}  // namespace

std::string RequestIdOf(const HttpReply& reply) {
  const std::string id = reply.Header("request-id");
  return Excerpt(id.empty() ? reply.Header("x-request-id") : id, false);
}

std::optional<Duration> RetryAfter(const HttpReply& reply, Time now) {
  for (const char* name : {"retry-after-ms", "x-ms-retry-after-ms"}) {
    if (const auto millis = NumberOf(reply.Header(name))) return MillisOf(*millis);
  }
  const std::string text = reply.Header("retry-after");
  if (const auto seconds = NumberOf(text)) return MillisOf(*seconds * 1000);
  const auto date = marathon::detail::ParseHttpDate(text);
  if (!date) return std::nullopt;
  // By the server's own clock, if it tells.
  const Time since = marathon::detail::ParseHttpDate(reply.Header("date")).value_or(now);
  const auto wait = std::chrono::duration<double, std::milli>(*date - since);
  return MillisOf(wait.count());
}

Error ErrorOfJson(int status, const json& body) {
  const json* said = Find(body, "error");
  if (said == nullptr) said = &body;
  std::string message = said->is_string() ? said->get<std::string>() : StringOf(*said, "message");
  if (message.empty()) message = StringOf(*said, "detail");
  const std::string type = StringOf(*said, "type");
  std::vector<std::string> words = {StringOf(*said, "code"), StringOf(*said, "error_code")};
  if (const json* details = Find(*said, "details")) words.push_back(StringOf(*details, "error_code"));
  words.push_back(type);

  ErrorClass error_class = ClassOfStatus(status);
  if (status == 200) {
    const std::optional<int> inner = StatusInStream(*said);
    error_class = inner ? ClassOfStatus(*inner) : ClassInStream(type);
    if (inner) words.push_back(std::to_string(*inner));
  }
  for (const Meaning& meaning : kPhrases) {
    if (error_class == ErrorClass::kBadRequest && message.find(meaning.word) != message.npos) {
      error_class = meaning.error_class;
    }
  }
  std::string code;
  for (const std::string& word : words) {
    if (code.empty()) code = word;
    const auto* meaning = std::find_if(std::begin(kWords), std::end(kWords),
                                       [&](const Meaning& one) { return one.word == word; });
    if (meaning == std::end(kWords)) continue;
    error_class = meaning->error_class;
    code = word;
    break;
  }
  if (message.empty()) message = code.empty() ? "the provider gives no reason" : code;
  Error error = MakeError(error_class, Excerpt(message, true));
  error.http_status = status;
  error.code = Excerpt(code, true);
  error.request_id = Excerpt(StringOf(body, "request_id"), true);
  return error;
}

Error ErrorOfReply(const HttpReply& reply, Time now) {
  const json body = ParseText(reply.body);
  Error error = ErrorOfJson(reply.status, body);
  if (!body.is_object() && !reply.body.empty()) error.message = Excerpt(reply.body, false);
  if (reply.status >= 300 && reply.status < 400) {
    error.message = "the server sends us elsewhere, and Marathon does not follow: is base_url right?";
  }
  if (error.request_id.empty()) error.request_id = RequestIdOf(reply);
  error.retry_after = RetryAfter(reply, now);
  const std::string advice = reply.Header("x-should-retry");
  if (advice == "false") error.retryable = false;
  if (advice == "true" && error.error_class != ErrorClass::kQuota) error.retryable = true;
  return error;
}

Error ErrorOfCall(const Status& status, bool partial) {
  const std::string why(marathon::MessageOf(status));
  ErrorClass error_class = ErrorClass::kTransient;
  switch (status.code()) {
    case StatusCode::kDeadlineExceeded: error_class = ErrorClass::kTimeout; break;
    case StatusCode::kFailedPrecondition: error_class = ErrorClass::kAuth; break;
    case StatusCode::kUnknown:
      if (partial) error_class = ErrorClass::kTruncated;
      break;
    default: break;
  }
  Error error = MakeError(error_class, "no answer: " + why);
  if (partial) error.message = "the answer broke off: " + why;
  error.partial = partial;
  error.sent = status.code() != StatusCode::kUnavailable && status.code() != StatusCode::kFailedPrecondition;
  return error;
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
