// A failure as history records it. Values; no thread rule. What authors throw and catch is in errors.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/payload.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// Persisted: never change the value of an existing entry.
enum class FailureKind : uint8_t {
  kApplication = 1,  // user code said so
  kTimeout = 2,      // a deadline passed; `timeout` says which
  kCanceled = 3,     // somebody asked for it
  kTerminated = 4,   // ended from outside, without its code
  kEngine = 5,       // Marathon refused: undecodable, oversize, unregistered, dead letter
};

// Persisted: never change the value of an existing entry.
enum class TimeoutKind : uint8_t {
  kNone = 0,
  kStartToClose = 1,
  kScheduleToStart = 2,
  kScheduleToClose = 3,
  kHeartbeat = 4,
  kRun = 5,
};

struct Failure {
  FailureKind kind = FailureKind::kApplication;
  TimeoutKind timeout = TimeoutKind::kNone;
  bool non_retryable = false;
  std::string type{};     // a stable word for programs: "CardDeclined"; see also failure_type below
  std::string message{};  // a sentence for people
  Payload details{};      // whatever the thrower attached; a heartbeat timeout's last details
  std::optional<Duration> next_retry_delay{};  // overrides the retry policy's next wait
  std::vector<Failure> cause{};                // none or one: what this failure stands for

  friend bool operator==(const Failure&, const Failure&) = default;
};

// Values of Failure::type that Marathon itself uses.
namespace failure_type {
inline constexpr std::string_view kException = "std::exception";      // an exception with no type of ours
inline constexpr std::string_view kUnknownException = "unknown";      // not a std::exception
inline constexpr std::string_view kDecode = "marathon.Decode";        // bytes are not what the code wants
inline constexpr std::string_view kEncode = "marathon.Encode";        // a value JSON cannot express
inline constexpr std::string_view kTooLarge = "marathon.TooLarge";    // over a limit of limits.h
inline constexpr std::string_view kTimeout = "marathon.Timeout";
inline constexpr std::string_view kCanceled = "marathon.Canceled";
inline constexpr std::string_view kDeadLetter = "marathon.DeadLetter";  // killed its worker too often
inline constexpr std::string_view kUnregistered = "marathon.Unregistered";
inline constexpr std::string_view kReadOnly = "marathon.ReadOnly";  // a query handler or a validator tried to act
// No handler of that name; what an update that nobody here handles is rejected with.
inline constexpr std::string_view kUnknownUpdate = "marathon.UnknownUpdate";
// An update that was accepted, and whose run ended before its handler did.
inline constexpr std::string_view kUnfinishedUpdate = "marathon.UnfinishedUpdate";
// A transactional activity where there is no transaction for it, and one whose SQL reached beyond its own.
inline constexpr std::string_view kNoTransaction = "marathon.NoTransaction";
inline constexpr std::string_view kForbiddenSql = "marathon.ForbiddenSql";
inline constexpr std::string_view kNoPlace = "marathon.NoPlace";  // a concurrency key, and a store without a Limiter
// The input of an activity was a blob that is damaged, or not there any more.
inline constexpr std::string_view kDataLoss = "marathon.DataLoss";
// What an activity reads is sealed by a PayloadCodec that its worker lacks, or that cannot open it. It waits for one that can.
inline constexpr std::string_view kSealed = "marathon.Sealed";
inline constexpr std::string_view kHistoryLimit = "marathon.HistoryLimit";
inline constexpr std::string_view kTerminated = "marathon.Terminated";
inline constexpr std::string_view kNotStarted = "marathon.NotStarted";      // a child: its id is taken
inline constexpr std::string_view kNotDelivered = "marathon.NotDelivered";  // to a run not there, or closed
}  // namespace failure_type

// "CardDeclined: no funds (caused by …)", for logs and exceptions.
std::string ToString(const Failure& failure);

namespace detail {
// Makes what user code gave fit for a history: limits::kMaxFailureBytes says how.
void MakeFit(Failure& failure);
}  // namespace detail

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/failure-inl.h"
#endif
