#pragma once

#include "marathon/status.h"

#include "marathon/detail/value_fields.h"

namespace marathon::inline MARATHON_ABI {
namespace detail {

inline constexpr char kFailureUrl[] =
    "marathon/failure";  // the status payload that holds a Failure

MARATHON_INLINE StatusCode CodeOf(const Failure& failure) {
  switch (failure.kind) {
    case FailureKind::kCanceled:
    case FailureKind::kTerminated:
      return StatusCode::kCancelled;
    case FailureKind::kTimeout:
      return failure.timeout == TimeoutKind::kRun ? StatusCode::kDeadlineExceeded
                                                  : StatusCode::kAborted;
    case FailureKind::kApplication:
    case FailureKind::kEngine:
      break;
  }
  return StatusCode::kAborted;
}

}  // namespace detail

MARATHON_INLINE Status FailureStatus(const Failure& failure) {
  std::string bytes(detail::SizeOf(failure), '\0');
  detail::Writer writer(bytes.data());
  detail::Put(writer, failure);
  Status status = MakeStatus(detail::CodeOf(failure), ToString(failure));
  status.SetPayload(detail::kFailureUrl, absl::Cord(absl::string_view(bytes.data(), bytes.size())));
  return status;
}

MARATHON_INLINE std::optional<Failure> GetFailure(const Status& status) {
  const auto payload = status.GetPayload(detail::kFailureUrl);
  if (!payload) return std::nullopt;
  const std::string bytes(*payload);
  detail::Reader reader(bytes);
  Failure failure;
  detail::Get(reader, failure);
  if (!reader.ok()) return std::nullopt;
  return failure;
}

}  // namespace marathon::inline MARATHON_ABI
