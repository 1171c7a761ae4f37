#pragma once

#include "marathon/engine/attempt.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "marathon/engine/host.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE Attempt::Attempt(std::shared_ptr<Host> host, ActivityRow&& row,
                                 const ActivityEntry* entry, SlotPtr slot)
    : host_(std::move(host)),
      entry_(entry),
      slot_(std::move(slot)),
      epoch_(row.epoch),
      session_(std::move(row.session)),
      policy_(std::move(row.policy)),
      scheduled_at_(row.scheduled_at),
      owed_(row.owed),
      input_(std::move(row.input)),
      canceled_(row.cancel_requested) {}

MARATHON_INLINE std::shared_ptr<Attempt> Attempt::Create(std::shared_ptr<Host> host, ActivityRow&& row,
                                                         const ActivityEntry* entry, SlotPtr slot) {
  ActivityInfo info{std::move(row.key),         std::move(row.activity_type),
                    std::move(row.workflow_type), std::move(row.task_queue),
                    row.attempt,                row.deliveries,
                    row.epoch,                  std::move(row.headers)};
  Payload heartbeat = std::move(row.heartbeat);
  auto attempt = std::allocate_shared<Attempt>(PoolAllocator<Attempt>(), std::move(host),
                                               std::move(row), entry, std::move(slot));
  attempt->context_.emplace(std::move(info), std::move(heartbeat), attempt->stop_.get_token(),
                            attempt, attempt->host_->blobs(), attempt->host_->streams(),
                            attempt->host_->limiter());
  return attempt;
}

MARATHON_INLINE void Attempt::Run() {
  if (!Begin()) return;
  begun_micros_ = host_->runtime().MonotonicMicros();
  if (entry_ == nullptr) {
    Failure failure{.kind = FailureKind::kEngine};
    failure.type = failure_type::kUnregistered;
    failure.message = fmt::format("activity \"{}\" is not registered in this worker",
                                  activity_type());
    return Finish(std::move(failure));
  }
  entry_->run(*context_, input_, shared_from_this());
}

MARATHON_INLINE Status Attempt::Open(const PayloadSealer& sealer) {
  const RunKey& run = key().run;
  if (Status status = sealer.Open(input_, run.workflow_id); !status.ok()) return status;
  if (Status status = sealer.Open(context_->last_heartbeat_, run.workflow_id); !status.ok()) return status;
  told_ = std::hash<std::string>()(context_->last_heartbeat_.data);
  return {};
}

MARATHON_INLINE void Attempt::Finish(AttemptResult result) {
  if (finished_.exchange(true)) return;
  if (auto* failure = std::get_if<Failure>(&result)) MakeFit(*failure);
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

MARATHON_INLINE void Attempt::FinishWithin(const TransactionBody& body) {
  constexpr Duration kAgain{200};
  Transactions* const transactions = host_->transactions();
  if (transactions == nullptr) return ActivityAttempt::FinishWithin(body);
  const bool takes_turns = host_->registry().has_workflows();
  std::optional<AttemptResult> result;
  const StatusOr<bool> mine = transactions->End(
      {key(), epoch_, takes_turns ? host_->session().id() : SessionId(),
       [&](StoreTransaction& tx) -> std::optional<EventBody> {
         result = body(tx);
         const auto* payload = std::get_if<Payload>(&*result);
         if (payload == nullptr) return std::nullopt;
         ActivityCompleted completed{key().id, *payload, number()};  // past the store, and so past its seals
         const Status sealed = host_->sealer().Seal(completed.result, key().run.workflow_id);
         if (sealed.ok()) return completed;
         result = Postponed{limits::kSealedRetry, {}};
         return std::nullopt;
       }});
  const StatusCode code = mine.status().code();
  if (!mine.ok() && result && !std::holds_alternative<Payload>(*result)) return Finish(*std::move(result));
  if (code == StatusCode::kCancelled) {
    RequestStop(true);
    return Finish(CanceledFailure());
  }
  const bool transient = IsTransient(mine.status());
  // If the body was called, it was no other's attempt.
  const bool is_others = code == StatusCode::kAborted && !result;
  if (!mine.ok() && !transient && !is_others) return Finish(FailureOfStatus(mine.status()));
  // Where both are committed, or the attempt is another's, there is no end to tell. Where that is not known, giving it
  // back finds out.
  if (transient) {
    Finish(Postponed{kAgain, {}});
  } else {
    host_->places().Leave(place(), key(), epoch_);  // first: then a shutdown waits for it
    Finish(CompletesLater());
  }
  if (takes_turns && (code == StatusCode::kUnknown || (mine.ok() && *mine))) host_->turns().Wake(key().run);
}

MARATHON_INLINE Status Attempt::Heartbeat(Payload details) {
  if (finished_) return FailedPrecondition("the activity has completed");
  std::lock_guard lock(mutex_);
  // One without details does not take away those that wait.
  if (!pending_ || details.encoding != Encoding::kNone) pending_ = std::move(details);
  if (alarm_set_) return {};  // goes out with the alarm
  SendHeartbeat();
  return {};
}

MARATHON_INLINE Duration Attempt::Elapsed() const {
  return Duration((host_->runtime().MonotonicMicros() - begun_micros_) / 1'000);
}

MARATHON_INLINE void Attempt::StopHeartbeats() {
  if (const AlarmId alarm = std::exchange(alarm_, 0)) host_->runtime().CancelAlarm(alarm);
}

MARATHON_INLINE void Attempt::SendHeartbeat() {
  constexpr Duration kUnasked{30'000};
  HeartbeatRequest request{key(), epoch_, *std::exchange(pending_, std::nullopt)};
  // Only other details are progress, which the store cannot tell of sealed ones: the same are not sent again.
  const bool sealing = host_->sealer().has_codecs() && request.details.encoding != Encoding::kNone;
  const size_t hash = sealing ? std::hash<std::string>()(request.details.data) : 0;
  if (sealing && hash == told_) request.details = Payload();
  const Duration timeout = policy_.heartbeat;
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
  host_->store().Heartbeat(std::move(request), [weak, sealing, hash](StatusOr<HeartbeatReply> reply) {
    const auto self = weak.lock();
    if (!self) return;
    if (reply.ok() && sealing) self->told_ = hash;
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
  end.key = key();
  end.epoch = epoch_;
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
  return fmt::format("{}/{}/{}/{}", epoch_, key().id, key().run.run_id,
                     key().run.workflow_id);
}

}  // namespace marathon::inline MARATHON_ABI::detail
