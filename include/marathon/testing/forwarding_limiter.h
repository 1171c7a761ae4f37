// ForwardingLimiter passes every call on: override the one to watch or break.
//
// As thread-safe as its base.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "marathon/config.h"
#include "marathon/limiter.h"

namespace marathon::inline MARATHON_ABI::testing {

class ForwardingLimiter : public Limiter {
 public:
  explicit ForwardingLimiter(std::shared_ptr<Limiter> base) : base_(std::move(base)) {}

  Limiter& base() const { return *base_; }

  void Acquire(AcquireLimit request, Done<Permit> done) override { base_->Acquire(std::move(request), std::move(done)); }
  void Settle(SettleLimit request, DoneStatus done) override { base_->Settle(std::move(request), std::move(done)); }
  void Clear(std::string key, DoneStatus done) override { base_->Clear(std::move(key), std::move(done)); }
  void Enter(EnterPlace request, Done<EnterReply> done) override { base_->Enter(std::move(request), std::move(done)); }
  void Leave(LeavePlace request, Done<LeaveReply> done) override { base_->Leave(std::move(request), std::move(done)); }

 private:
  const std::shared_ptr<Limiter> base_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
