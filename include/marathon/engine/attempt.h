// Attempt: one delivery of an activity, from its claim to its end. It calls the user's code, keeps its stop
// token, and throttles its heartbeats.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/registry.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

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
  void Run();
  void Finish(AttemptResult result) override;
  Status Heartbeat(Payload details) override;
  StatusOr<std::string> Detach() override;

 private:
  // With mutex_ held. Writes at most once every 0.8 heartbeat timeouts.
  void SendHeartbeat();
  void StopHeartbeats();

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

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/engine/attempt-inl.h"
#endif
