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
#include <string>
#include <utility>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/engine/run_cache.h"
#include "marathon/registry.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI {
class Host;
class PayloadSealer;
}

namespace marathon::inline MARATHON_ABI::detail {

class Attempt final : public ActivityAttempt, public std::enable_shared_from_this<Attempt> {
 public:
  // `slot`: of the run, if a turn of ours has claimed the activity.
  static std::shared_ptr<Attempt> Create(std::shared_ptr<Host> host, ActivityRow&& row,
                                         const ActivityEntry* entry, SlotPtr slot);
  // For Create.
  Attempt(std::shared_ptr<Host> host, ActivityRow&& row, const ActivityEntry* entry, SlotPtr slot);

  const ActivityInfo& info() const { return context_->info(); }
  const ActivityKey& key() const { return context_->info().key; }
  const std::string& activity_type() const { return context_->info().activity_type; }
  int number() const { return context_->info().attempt; }
  int deliveries() const { return context_->info().deliveries; }
  Epoch epoch() const { return epoch_; }
  const SessionId& session() const { return session_; }
  const ActivityPolicy& policy() const { return policy_; }
  const Payload& input() const { return input_; }
  void SetInput(Payload input) { input_ = std::move(input); }
  // What the code reads, as it is stored until it is opened: before Run.
  bool sealed() const { return SealedAmong(input_, context_->last_heartbeat_); }
  Status Open(const PayloadSealer& sealer);
  Time scheduled_at() const { return scheduled_at_; }
  Owed owed() const { return owed_; }
  const SlotPtr& slot() const { return slot_; }
  bool own_turn() const { return slot_ != nullptr; }
  bool keyed() const { return !policy_.concurrency_key.empty(); }
  std::string place() const { return PlaceKeyOf(info().task_queue, policy_); }
  bool asynchronous() const { return entry_ != nullptr && entry_->asynchronous; }
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
  // Asks for a place, and needs no thread yet.
  void SetEntering(bool entering) { entering_ = entering; }
  bool entering() const { return entering_.load(); }
  // From the second call on: yes.
  bool WaitedBefore() { return std::exchange(waited_, true); }

  // Calls user code. Blocking activities have finished when this returns.
  void Run();
  void Finish(AttemptResult result) override;
  void FinishWithin(const TransactionBody& body) override;
  Status Heartbeat(Payload details) override;
  StatusOr<std::string> Detach() override;
  Duration Elapsed() const override;
  bool Canceled() const override { return canceled(); }

 private:
  static bool SealedAmong(const Payload& a, const Payload& b) {
    return a.encoding == Encoding::kSealed || b.encoding == Encoding::kSealed;
  }
  // With mutex_ held. Writes at most once every 0.8 heartbeat timeouts.
  void SendHeartbeat();
  void StopHeartbeats();

  const std::shared_ptr<Host> host_;
  const ActivityEntry* const entry_;
  const SlotPtr slot_;
  const Epoch epoch_;
  const SessionId session_;
  const ActivityPolicy policy_;
  const Time scheduled_at_;
  const Owed owed_;
  Payload input_;  // as it is stored, until it is read: before Run
  std::stop_source stop_;
  std::atomic<bool> canceled_{false};
  std::atomic<bool> overtaken_{false};
  std::atomic<bool> begun_{false};
  std::atomic<bool> entering_{false};
  std::atomic<bool> finished_{false};
  std::atomic<size_t> told_{0};  // the hash of the last details that the store has from here, if they were sealed
  bool waited_ = false;  // guarded by the runner
  int64_t begun_micros_ = 0;
  std::optional<ActivityContext> context_;  // from Create on

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
