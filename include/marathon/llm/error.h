// How a call of a model fails. The class decides whether another try helps; the engine's retry policy decides
// when and how often.
//
// Values; no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/failure.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::llm {

enum class ErrorClass : uint8_t {
  // Another try may go well.
  kRateLimit,   // too many requests or tokens for now
  kOverloaded,  // the provider has too much to do
  kTransient,   // no connection, a 5xx, nonsense instead of an answer
  kTruncated,   // the answer broke off
  kTimeout,     // ours or the provider's
  // None will, until somebody does something.
  kQuota,       // the money or the plan is used up
  kAuth,        // the key is wrong, or may not do this; the server's certificate is not trusted
  kBadRequest,  // the request is wrong
  kTooLarge,    // … because it is too long for the model
  kRefused,     // … because of what it is about
  kCanceled,    // the caller did not want it any more
};

// "RateLimit"
MARATHON_EXPORT std::string_view NameOf(ErrorClass error_class);
MARATHON_EXPORT bool IsRetryable(ErrorClass error_class);

struct Error {
  ErrorClass error_class = ErrorClass::kTransient;
  bool retryable = true;  // by the class, unless the provider says otherwise (x-should-retry)
  int http_status = 0;    // 0: there was no answer
  std::string code{};     // the provider's word: "insufficient_quota"
  std::string message{};  // for people; never has the API key
  std::string request_id{};
  std::optional<Duration> retry_after{};  // what the provider asks for
  // The call has not been made: it is to come back after retry_after, and to show this (pace.h). Empty: it has.
  std::string permit{};
  bool partial = false;                   // some of the answer had come, and been paid for
  bool sent = true;  // false: the provider has certainly not seen the request, so it has cost nothing

  friend bool operator==(const Error&, const Error&) = default;
};

MARATHON_EXPORT Error MakeError(ErrorClass error_class, std::string message);

// As an activity fails with it: type "llm.RateLimit" and so on, final if it is not retryable. With retry_after
// the next try waits at least that long, longer the more have failed, and not at the same instant as all
// others that were told the same: `attempt` is of the one that failed, `seed` any number of the call's own.
// (Failure::next_retry_delay goes before the retry policy's own wait.)
MARATHON_EXPORT Failure ToFailure(const Error& error, int attempt = 1, uint64_t seed = 0);

// The class of a failure that ToFailure made; none: it is another's.
MARATHON_EXPORT std::optional<ErrorClass> ClassOf(const Failure& failure);

}  // namespace marathon::inline MARATHON_ABI::llm
