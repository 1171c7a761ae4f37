#pragma once

#include "marathon/engine/attempt.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "marathon/engine/host.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE void Attempt::Run() {
  if (!Begin()) return;
  begun_micros_ = host_->runtime().MonotonicMicros();
  if (entry_ == nullptr) {
    Failure failure{.kind = FailureKind::kEngine};
    failure.type = failure_type::kUnregistered;
    failure.message = fmt::format("activity \"{}\" is not registered in this worker",
                                  row_.activity_type);
    return Finish(std::move(failure));
  }
  ActivityInfo info{row_.key,     row_.activity_type, row_.workflow_type, row_.task_queue,
                    row_.attempt, row_.deliveries,    row_.headers};
  context_ = std::make_unique<ActivityContext>(std::move(info), std::move(row_.heartbeat),
                                               stop_.get_token(), weak_from_this());
  entry_->run(*context_, row_.input, shared_from_this());
}

MARATHON_INLINE void Attempt::Finish(AttemptResult result) {
  if (finished_.exchange(true)) return;
  if (begun_ && !asynchronous()) {
    host_->activities().Measured(host_->runtime().MonotonicMicros() - begun_micros_);
  }
  {
    std::lock_guard lock(mutex_);
    if (detached_ || overtaken_) result = CompletesLater();
    StopHeartbeats();
  }
  host_->activities().Ended(*this, std::move(result));
}

MARATHON_INLINE Status Attempt::Heartbeat(Payload details) {
  if (finished_) return FailedPrecondition("the activity has completed");
  std::lock_guard lock(mutex_);
  pending_ = std::move(details);
  if (alarm_set_) return {};  // goes out with the alarm
  SendHeartbeat();
  return {};
}

MARATHON_INLINE void Attempt::StopHeartbeats() {
  if (const AlarmId alarm = std::exchange(alarm_, 0)) host_->runtime().CancelAlarm(alarm);
}

MARATHON_INLINE void Attempt::SendHeartbeat() {
  constexpr Duration kUnasked{30'000};
  HeartbeatRequest request{row_.key, row_.epoch, *std::exchange(pending_, std::nullopt)};
  const Duration timeout = row_.policy.heartbeat;
  const Duration wait = timeout.count() > 0 ? timeout * 4 / 5 : kUnasked;
  alarm_set_ = true;
  std::weak_ptr<Attempt> weak = weak_from_this();
  alarm_ = host_->runtime().SetAlarm(std::min(wait, 2 * kUnasked), [weak] {
    const auto self = weak.lock();
    if (!self || self->finished_) return;
    std::lock_guard lock(self->mutex_);
    self->alarm_set_ = false;
    if (self->pending_) self->SendHeartbeat();
  });
  host_->store().Heartbeat(std::move(request), [weak](StatusOr<HeartbeatReply> reply) {
    const auto self = weak.lock();
    if (!self) return;
    if (reply.ok() && reply->cancel_requested) self->RequestStop(true);
    const bool gone = reply.status().code() == StatusCode::kAborted ||
                      reply.status().code() == StatusCode::kNotFound;
    if (gone) self->RequestStop(false);
  });
}

// Blocks until the store knows: the token must outlive this process.
MARATHON_INLINE StatusOr<std::string> Attempt::Detach() {
  if (finished_) return FailedPrecondition("the activity has completed");
  AttemptEnd end;
  end.key = row_.key;
  end.epoch = row_.epoch;
  end.kind = AttemptEnd::Kind::kDetach;
  auto stored = host_->runtime().NewOneShot();
  auto status = std::make_shared<Status>();
  host_->store().EndAttempt(std::move(end), [stored, status](StatusOr<AttemptReply> reply) {
    *status = reply.status();
    if (reply.ok() && !reply->applied) *status = Aborted("another worker has this activity now");
    stored->Set();
  });
  stored->Wait(OneShot::kForever);
  if (!status->ok()) return *status;
  std::lock_guard lock(mutex_);
  detached_ = true;
  return fmt::format("{}/{}/{}/{}", row_.epoch, row_.key.id, row_.key.run.run_id,
                     row_.key.run.workflow_id);
}

}  // namespace marathon::inline MARATHON_ABI::detail
