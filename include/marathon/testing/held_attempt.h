// HeldAttempt: an attempt of an activity with the testing kit's hand on it. The activity's code completes this
// one; what becomes of that, the kit decides: it writes the outcome down and passes it on, now or later.
//
// Not safe from several threads.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::testing {

class HeldAttempt final : public marathon::detail::ActivityAttempt {
 public:
  using Base = std::shared_ptr<marathon::detail::ActivityAttempt>;
  using Report = std::function<void(Base base, marathon::detail::AttemptResult result)>;

  // `report` is called once, by the first Finish.
  HeldAttempt(Base base, Report report) : base_(std::move(base)), report_(std::move(report)) {}

  bool open() const { return base_ != nullptr; }
  // The attempt is gone, and its end interests nobody: its worker crashed.
  void Cut() { base_.reset(); }

  Status Heartbeat(Payload details) override {
    return open() ? base_->Heartbeat(std::move(details)) : Ended();
  }
  StatusOr<std::string> Detach() override {
    if (!open()) return Ended();
    return base_->Detach();
  }
  Duration Elapsed() const override { return open() ? base_->Elapsed() : Duration(0); }
  bool Canceled() const override { return open() && base_->Canceled(); }
  void Finish(marathon::detail::AttemptResult result) override {
    if (Base base = std::exchange(base_, nullptr)) report_(std::move(base), std::move(result));
  }

 private:
  static Status Ended() { return FailedPrecondition("the activity has completed"); }

  Base base_;
  Report report_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
