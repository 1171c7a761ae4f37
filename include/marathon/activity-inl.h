#pragma once

#include "marathon/activity.h"

#include <fmt/format.h>

#include <exception>
#include <utility>

namespace marathon::inline MARATHON_ABI {

namespace detail {

MARATHON_INLINE Failure ConversionFailure(std::string_view what, const Status& status,
                                          std::string_view type) {
  Failure failure;
  failure.kind = FailureKind::kEngine;
  failure.non_retryable = true;
  failure.type = status.code() == StatusCode::kResourceExhausted ? failure_type::kTooLarge : type;
  failure.message = fmt::format("its {}: {}", what, MessageOf(status));
  return failure;
}

MARATHON_INLINE Failure FailureOfStatus(const Status& status) {
  if (auto carried = GetFailure(status)) return *std::move(carried);
  Failure failure;
  failure.type = absl::StatusCodeToString(status.code());
  failure.message = MessageOf(status);
  return failure;
}

MARATHON_INLINE AttemptResult ResultOf(StatusOr<Payload> encoded) {
  if (!encoded.ok()) return ConversionFailure("result", encoded.status(), failure_type::kEncode);
  return *std::move(encoded);
}

MARATHON_INLINE CompletionBase::~CompletionBase() {
  if (!attempt_) return;
  // The callable throws: what it throws is its failure.
  if (std::uncaught_exceptions() > 0 && CalledOnThisThread() == attempt_.get()) return;
  Fail(Failure{.message = "the activity dropped its completion unused"});
}

MARATHON_INLINE void CompletionBase::Fail(Failure failure) { Finish(std::move(failure)); }

MARATHON_INLINE void CompletionBase::CompleteEncoded(StatusOr<Payload> result) { Finish(ResultOf(std::move(result))); }

MARATHON_INLINE void CompletionBase::PostponeEncoded(Duration delay, StatusOr<Payload> details) {
  if (!details.ok()) return Finish(ConversionFailure("details", details.status(), failure_type::kEncode));
  Finish(Postponed{delay, *std::move(details)});
}

MARATHON_INLINE void CompletionBase::Finish(AttemptResult result) {
  if (auto attempt = std::exchange(attempt_, nullptr)) attempt->Finish(std::move(result));
}

MARATHON_INLINE void ActivityAttempt::FinishWithin(const TransactionBody&) {
  Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
  failure.type = failure_type::kNoTransaction;
  failure.message =
      "it is transactional: it runs by ctx.Run, in a worker on its store, and neither as a local activity nor in the "
      "testing kit, where a mock stands for it";
  Finish(std::move(failure));
}

}  // namespace detail

MARATHON_INLINE std::string ActivityContext::idempotency_key() const {
  if (info_.local > 0) return fmt::format("{}/local/{}", info_.key.run.run_id, info_.local);
  return fmt::format("{}/{}", info_.key.run.run_id, info_.key.id);
}

MARATHON_INLINE Duration ActivityContext::elapsed() const {
  const auto attempt = attempt_.lock();
  return attempt ? attempt->Elapsed() : Duration(0);
}

MARATHON_INLINE bool ActivityContext::canceled() const {
  const auto attempt = attempt_.lock();
  return attempt && attempt->Canceled();
}

MARATHON_INLINE Status ActivityContext::HeartbeatEncoded(Payload details) {
  const auto attempt = attempt_.lock();
  return attempt ? attempt->Heartbeat(std::move(details))
                 : FailedPrecondition("the activity has completed");
}

MARATHON_INLINE StatusOr<std::string> ActivityContext::CompleteLater() {
  const auto attempt = attempt_.lock();
  if (!attempt) return FailedPrecondition("the activity has completed");
  return attempt->Detach();
}

}  // namespace marathon::inline MARATHON_ABI
