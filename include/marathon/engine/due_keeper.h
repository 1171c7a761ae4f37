// DueKeeper: one alarm, at the soonest instant at which the store has something due. When it rings, the
// store fires its timers, and what needs a decision (expired activities, runs and sessions) is decided here.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <mutex>

#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

namespace marathon::inline MARATHON_ABI::detail {

class DueKeeper {
 public:
  explicit DueKeeper(Host& host) : host_(host) {}

  // Something falls due at `at`.
  void Note(Time at);
  // Polls now, whatever the alarm says.
  void Poll();
  void Stop();
  void OnPolled(StatusOr<DueReply> reply);

 private:
  void Expire(const ActivityRow& row, Time now);

  Host& host_;
  std::mutex mutex_;
  Time due_ = kNever;     // what the alarm is set for
  AlarmId alarm_ = 0;
  bool polling_ = false;
  bool again_ = false;    // asked to poll while polling
  Time noted_ = kNever;   // fell due while polling
  bool stopped_ = false;
  int failures_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::detail
