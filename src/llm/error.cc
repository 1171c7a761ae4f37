#include "marathon/llm/error.h"

#include <algorithm>
#include <array>
#include <utility>

#include "marathon/detail/text.h"

namespace marathon::inline MARATHON_ABI::llm {
namespace {

// As failures have them in histories: they never change.
constexpr std::string_view kPrefix = "llm.";
constexpr std::array<std::string_view, 11> kNames = {
    "RateLimit", "Overloaded", "Transient", "Truncated", "Timeout", "Quota",
    "Auth",      "BadRequest", "TooLarge",  "Refused",   "Canceled"};

// The least wait grows to this with the attempts, however short the waits that the provider asks for.
constexpr Duration kFirstWait{500};
constexpr Duration kLongestWait{60'000};

}  // namespace

std::string_view NameOf(ErrorClass error_class) { return kNames[static_cast<size_t>(error_class)]; }

bool IsRetryable(ErrorClass error_class) { return error_class <= ErrorClass::kTimeout; }

Error MakeError(ErrorClass error_class, std::string message) {
  return {.error_class = error_class,
          .retryable = IsRetryable(error_class),
          .message = std::move(message)};
}

Failure ToFailure(const Error& error, int attempt, uint64_t seed) {
  Failure failure;
  failure.type = std::string(kPrefix).append(NameOf(error.error_class));
  failure.message = error.message;
  if (error.http_status != 0) failure.message += " (HTTP " + std::to_string(error.http_status) + ")";
  if (!error.request_id.empty()) failure.message += " [request " + error.request_id + "]";
  failure.non_retryable = !error.retryable;
  if (error.retryable && error.retry_after) {
    const int doublings = std::clamp(attempt - 1, 0, 10);
    const Duration least = std::min(kFirstWait * (1 << doublings), kLongestWait);
    const Duration wait = std::max(*error.retry_after, least);
    const uint64_t random = marathon::detail::Mixed(seed + static_cast<uint64_t>(attempt));
    failure.next_retry_delay = wait + Duration(wait.count() / 10 * static_cast<int64_t>(random % 1000) / 1000);
  }
  return failure;
}

std::optional<ErrorClass> ClassOf(const Failure& failure) {
  const std::string_view type = failure.type;
  if (!type.starts_with(kPrefix)) return std::nullopt;
  const auto found = std::find(kNames.begin(), kNames.end(), type.substr(kPrefix.size()));
  if (found == kNames.end()) return std::nullopt;
  return static_cast<ErrorClass>(found - kNames.begin());
}

}  // namespace marathon::inline MARATHON_ABI::llm
