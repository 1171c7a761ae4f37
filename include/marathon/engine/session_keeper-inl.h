#pragma once

#include "marathon/engine/session_keeper.h"

#include <algorithm>
#include <utility>

#include "marathon/engine/host.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE void SessionKeeper::Open(DoneStatus done) {
  SessionRow row;
  row.id = host_.NewSessionId();
  row.lease = host_.options().lease;
  const SessionId id = row.id;
  auto shared = std::make_shared<DoneStatus>(std::move(done));
  host_.store().OpenSession(
      std::move(row), host_.weak_from_this(),
      [self = host_.Self(), id, shared](StatusOr<Time> opened) {
        SessionKeeper& keeper = self->session();
        if (opened.ok()) {
          {
            std::lock_guard lock(keeper.mutex_);
            keeper.id_.store(&keeper.ids_.emplace_back(id), std::memory_order_release);
            keeper.renewals_ = keeper.heard_ = 0;
            keeper.state_ = State::kAwake;
            keeper.reopening_ = false;
          }
          keeper.SetAlarm();
          return (*shared)(Status());
        }
        if (!IsTransient(opened.status()) || self->stopping()) return (*shared)(opened.status());
        self->AfterBackoff(1, [self, shared] {
          self->session().Open([shared](Status status) { (*shared)(std::move(status)); });
        });
      });
}

// ---- Holding ---------------------------------------------------------------------------------------

MARATHON_INLINE bool SessionKeeper::HoldAwake() {
  if (!used_.load(std::memory_order_relaxed)) used_ = true;
  held_.fetch_add(1);
  if (state_.load() == State::kAwake) return true;
  held_.fetch_sub(1);
  return false;
}

MARATHON_INLINE bool SessionKeeper::Hold() {
  if (HoldAwake()) return true;
  {
    std::lock_guard lock(mutex_);
    used_ = true;
    if (state_ == State::kAwake) {
      ++held_;
      return true;
    }
  }
  Wake();
  return false;
}

MARATHON_INLINE void SessionKeeper::HoldClaimed() {
  if (HoldAwake()) return;
  used_ = true;
  ++held_;
  Wake();
}

MARATHON_INLINE void SessionKeeper::WhenAwake(Callback<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    if (state_ != State::kAwake) when_awake_.push_back(std::exchange(work, nullptr));
  }
  if (work) return work();
  Wake();
}

// ---- Renewing --------------------------------------------------------------------------------------

MARATHON_INLINE Duration SessionKeeper::Lease() const {
  const bool resting = state_ == State::kAsleep || state_ == State::kFallingAsleep;
  return resting ? limits::kRestingLease : host_.options().lease;
}

// Instead of the alarm that is set: that of a session at rest rings in hours.
MARATHON_INLINE void SessionKeeper::SetAlarm() {
  std::lock_guard lock(mutex_);
  if (const AlarmId alarm = std::exchange(alarm_, 0)) host_.runtime().CancelAlarm(alarm);
  if (stopped_) return;
  alarm_ = host_.runtime().SetAlarm(
      Lease() / 3, [weak = host_.weak_from_this(), number = ++alarms_] {
        if (auto self = weak.lock()) self->session().OnAlarm(number);
      });
}

MARATHON_INLINE void SessionKeeper::OnAlarm(uint64_t number) {
  bool rest;
  {
    std::lock_guard lock(mutex_);
    if (number != alarms_) return;  // it rang while another one was set
    alarm_ = 0;
    const bool used = used_.exchange(false);
    rest = state_ == State::kAwake && held_ == 0 && !used;
    if (rest) {
      state_ = State::kFallingAsleep;
      rest = held_ == 0;  // whoever held something meanwhile may have seen it awake
      if (!rest) state_ = State::kAwake;
    }
  }
  if (rest) return FallAsleep();
  SetAlarm();
  Renew();
}

MARATHON_INLINE void SessionKeeper::Renew() {
  Duration lease;
  {
    std::lock_guard lock(mutex_);
    lease = Lease();
  }
  SendRenewal(lease, [](bool) {});
}

MARATHON_INLINE void SessionKeeper::SendRenewal(Duration lease, Callback<void(bool)> renewed) {
  RenewRequest request;
  request.lease = lease;
  {
    std::lock_guard lock(mutex_);
    request.session = id();
    request.heard = heard_ == renewals_;
    request.serial = ++renewals_;
  }
  if (request.session.empty()) return renewed(false);
  host_.store().RenewSession(
      request, [self = host_.Self(), id = request.session, serial = request.serial,
                renewed = std::move(renewed)](StatusOr<std::vector<ActivityKey>> canceled) mutable {
        if (canceled.ok()) {
          self->OnActivitiesCanceled(*canceled);
          self->session().Heard(id, serial);
        }
        renewed(canceled.ok());
        if (canceled.status().code() != StatusCode::kFailedPrecondition) return;
        if (id == self->session().id()) self->session().OnLost();
      });
}

MARATHON_INLINE void SessionKeeper::Heard(const SessionId& session, uint64_t serial) {
  std::lock_guard lock(mutex_);
  if (session == id()) heard_ = std::max(heard_, serial);
}

// ---- Resting ---------------------------------------------------------------------------------------

// Whether or not the renewal arrives, the session counts as asleep: what it holds next waits for Wake.
MARATHON_INLINE void SessionKeeper::FallAsleep() {
  SendRenewal(limits::kRestingLease, [self = host_.Self()](bool renewed) {
    SessionKeeper& keeper = self->session();
    bool wake;
    {
      std::lock_guard lock(keeper.mutex_);
      if (keeper.state_ != State::kFallingAsleep) return;  // another session has begun meanwhile
      keeper.state_ = State::kAsleep;
      wake = std::exchange(keeper.wake_wanted_, false) || !renewed;
    }
    keeper.SetAlarm();
    if (wake) keeper.Wake();
  });
}

MARATHON_INLINE void SessionKeeper::Wake() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_ || state_ == State::kAwake || state_ == State::kWaking) return;
    if (state_ == State::kFallingAsleep) {
      wake_wanted_ = true;
      return;
    }
    state_ = State::kWaking;
  }
  SendRenewal(host_.options().lease, [self = host_.Self()](bool renewed) {
    SessionKeeper& keeper = self->session();
    std::vector<Callback<void()>> work;
    {
      std::lock_guard lock(keeper.mutex_);
      if (keeper.state_ != State::kWaking) return;
      keeper.state_ = renewed ? State::kAwake : State::kAsleep;
      if (renewed) work.swap(keeper.when_awake_);
    }
    keeper.SetAlarm();
    for (Callback<void()>& each : work) each();
    if (!renewed) self->AfterBackoff(1, [self] { self->session().Wake(); });
  });
}

// ---- Ends ------------------------------------------------------------------------------------------

// What we hold is in other hands by now: stop it, and begin anew.
MARATHON_INLINE void SessionKeeper::OnLost() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_ || reopening_.exchange(true)) return;
  }
  host_.Log(LogLevel::kWarning, "the session has expired: this process did not renew it in time");
  host_.queue().StopReceiving(id());
  host_.activities().StopAll();
  Open([self = host_.Self()](const Status& status) {
    if (status.ok()) self->session().BeginAnew();
  });
}

MARATHON_INLINE void SessionKeeper::BeginAnew() {
  std::vector<Callback<void()>> work;
  {
    std::lock_guard lock(mutex_);
    work.swap(when_awake_);
  }
  for (Callback<void()>& each : work) each();
  host_.BeginReceiving();
}

MARATHON_INLINE void SessionKeeper::Stop() {
  std::vector<Callback<void()>> dropped;  // after the lock is released
  std::lock_guard lock(mutex_);
  stopped_ = true;
  dropped.swap(when_awake_);
  if (const AlarmId alarm = std::exchange(alarm_, 0); alarm != 0) host_.runtime().CancelAlarm(alarm);
}

MARATHON_INLINE void SessionKeeper::Close(DoneStatus done) {
  Stop();
  const SessionId& id = this->id();
  if (id.empty()) return done(Status());
  host_.store().CloseSession(id, std::move(done));
}

}  // namespace marathon::inline MARATHON_ABI::detail
