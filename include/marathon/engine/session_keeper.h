// SessionKeeper: this process's session with the store. While activities are held it renews the lease every
// third of it; once nothing has been held for a while it lets the session rest, so that a process that
// only waits for timers costs the store one renewal in hours. A lost session is followed by another.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/runtime.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

namespace marathon::inline MARATHON_ABI::detail {

class SessionKeeper {
 public:
  explicit SessionKeeper(Host& host) : host_(host) {}

  // Opens a session under a new id; tries again until it succeeds or the host stops.
  void Open(DoneStatus done);
  void Close(DoneStatus done);
  void Stop();

  // Empty while there is none. What it refers to does not change, and lives as long as the keeper.
  const SessionId& id() const { return *id_.load(std::memory_order_acquire); }

  // Asks for the right to claim one activity; Release gives it back when the activity has ended. False:
  // the session rests. It is being woken; WhenAwake tells.
  bool Hold();
  // The same for an activity that is in the session's hands already.
  void HoldClaimed();
  void Release() { held_.fetch_sub(1); }
  // Calls `work` once Hold would succeed; now, if it would already.
  void WhenAwake(Callback<void()> work);

  // The session has expired, as far as is known here: what it held is in other hands.
  bool HasLost(const SessionId& session) const { return reopening_.load() || session != id(); }
  // Asks the store at once whether the session lives.
  void Renew();

 private:
  enum class State { kAwake, kFallingAsleep, kAsleep, kWaking };

  // Counts something held, if the session is awake. Without the lock: every activity passes here.
  bool HoldAwake();
  Duration Lease() const;  // with mutex_ held
  void SetAlarm();
  void OnAlarm(uint64_t number);
  void SendRenewal(Duration lease, Callback<void(bool)> renewed);
  void Heard(const SessionId& session, uint64_t serial);
  void FallAsleep();
  void Wake();
  void OnLost();
  void BeginAnew();

  Host& host_;
  mutable std::mutex mutex_;
  std::deque<SessionId> ids_;  // all there have been
  const SessionId none_;
  std::atomic<const SessionId*> id_{&none_};
  // Changed under the lock, and read without: who falls asleep looks at held_ once more after that.
  std::atomic<State> state_{State::kAwake};
  std::atomic<int> held_{0};
  std::atomic<bool> used_{false};  // something was held since the last alarm
  bool wake_wanted_ = false;  // while falling asleep
  std::vector<Callback<void()>> when_awake_;
  AlarmId alarm_ = 0;
  uint64_t alarms_ = 0;    // set so far
  uint64_t renewals_ = 0;  // sent for this session
  uint64_t heard_ = 0;     // the last of them that was answered
  bool stopped_ = false;
  std::atomic<bool> reopening_{false};
};

}  // namespace marathon::inline MARATHON_ABI::detail
