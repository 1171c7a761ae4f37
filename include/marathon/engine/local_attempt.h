// LocalAttempt: one attempt of a local activity, from its beginning on a thread of the activity lane to its end.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/engine/local_activities.h"
#include "marathon/registry.h"
#include "marathon/runtime.h"

namespace marathon::inline MARATHON_ABI::detail {

class LocalAttempt final : public ActivityAttempt, public std::enable_shared_from_this<LocalAttempt> {
 public:
  static std::shared_ptr<LocalAttempt> Create(std::shared_ptr<Host> host, SlotPtr slot,
                                              std::shared_ptr<WaitingTurn> turn, LocalTask task);
  // For Create.
  LocalAttempt(std::shared_ptr<Host> host, SlotPtr slot, std::shared_ptr<WaitingTurn> turn, LocalTask task)
      : host_(std::move(host)), slot_(std::move(slot)), turn_(std::move(turn)), task_(std::move(task)) {}

  const SlotPtr& slot() const { return slot_; }
  const std::shared_ptr<WaitingTurn>& turn() const { return turn_; }
  const LocalTask& task() const { return task_; }
  bool canceled() const { return canceled_.load(); }
  bool stopped() const { return stop_.stop_requested(); }
  void RequestStop(bool canceled) {
    if (canceled) canceled_ = true;
    stop_.request_stop();
  }

  void Run();
  void Finish(AttemptResult result) override;
  Duration Elapsed() const override;
  bool Canceled() const override { return canceled(); }
  Status Heartbeat(Payload) override { return {}; }
  StatusOr<std::string> Detach() override {
    return FailedPrecondition("a local activity ends where it runs: only one of ctx.Run can complete later");
  }

 private:
  void TimeOut();

  const std::shared_ptr<Host> host_;
  const SlotPtr slot_;
  const std::shared_ptr<WaitingTurn> turn_;
  const LocalTask task_;
  std::stop_source stop_;
  std::atomic<bool> canceled_{false};
  std::atomic<bool> told_{false};      // its end, to the turn
  std::atomic<bool> finished_{false};  // its code has
  std::atomic<AlarmId> deadline_{0};
  std::atomic<int64_t> begun_micros_{0};
  std::optional<ActivityContext> context_;  // from Create on
};

}  // namespace marathon::inline MARATHON_ABI::detail
