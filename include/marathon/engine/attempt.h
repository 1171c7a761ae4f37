// Attempt: one delivery of an activity, from its claim to its end. It calls the user's code, keeps its stop
// token, and throttles its heartbeats.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/engine/host.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI::detail {

class Attempt final : public ActivityAttempt, public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(std::shared_ptr<Host> host, ActivityRow row, const ActivityEntry* entry, bool own_turn)
      : host_(std::move(host)), row_(std::move(row)), entry_(entry), own_turn_(own_turn) {}

  const ActivityRow& row() const { return row_; }
  bool asynchronous() const { return entry_ != nullptr && entry_->asynchronous; }
  bool own_turn() const { return own_turn_; }
  bool canceled() const { return canceled_.load(); }
  const std::stop_source& stop_source() const { return stop_; }

  void RequestStop(bool canceled) {
    if (canceled) canceled_ = true;
    stop_.request_stop();
  }

  // The store hears of another end: what this attempt comes to, because it is told to stop or otherwise,
  // does not count.
  void Overtake() {
    overtaken_ = true;
    stop_.request_stop();
  }

  // Whoever gets true runs the attempt, or gives it back.
  bool Begin() { return !begun_.exchange(true); }
  bool begun() const { return begun_.load(); }
  // From the second call on: yes.
  bool WaitedBefore() { return std::exchange(waited_, true); }

  // Calls user code. Blocking activities have finished when this returns.
  void Run() {
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

  void Finish(AttemptResult result) override {
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

  Status Heartbeat(Payload details) override {
    if (finished_) return FailedPrecondition("the activity has completed");
    std::lock_guard lock(mutex_);
    pending_ = std::move(details);
    if (alarm_set_) return {};  // goes out with the alarm
    SendHeartbeat();
    return {};
  }

  StatusOr<std::string> Detach() override;

 private:
  // With mutex_ held. Writes at most once every 0.8 heartbeat timeouts.
  void SendHeartbeat();
  void StopHeartbeats() {
    if (const AlarmId alarm = std::exchange(alarm_, 0)) host_->runtime().CancelAlarm(alarm);
  }

  const std::shared_ptr<Host> host_;
  ActivityRow row_;
  const ActivityEntry* const entry_;
  const bool own_turn_;
  std::stop_source stop_;
  std::atomic<bool> canceled_{false};
  std::atomic<bool> overtaken_{false};
  std::atomic<bool> begun_{false};
  std::atomic<bool> finished_{false};
  bool waited_ = false;  // guarded by the runner
  int64_t begun_micros_ = 0;
  std::unique_ptr<ActivityContext> context_;

  std::mutex mutex_;
  bool detached_ = false;
  bool alarm_set_ = false;
  AlarmId alarm_ = 0;
  std::optional<Payload> pending_;
};

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
