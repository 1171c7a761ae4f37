// Effects: what a store tells others once a transaction is durable, never before and never under a
// lock. The protocol fills it in; LocalHub (local_hub.h), or an adapter's own way, spreads it.
//
// A value; no thread rule.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/task_queue.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

struct Effects {
  std::vector<TaskHint> hints;                              // to publish, in order
  std::vector<std::pair<SessionId, ActivityKey>> canceled;  // to tell the watcher of that session
  std::vector<RunKey> closed;                               // to tell whoever awaits their end
  std::vector<RunKey> answered;                             // … or that of an update to them, or an event
  bool events_awaited = false;  // set by the adapter, before: somebody may await an event
  Time due = kNever;                                        // the soonest instant written as due

  void NoteDue(Time at) { due = std::min(due, at); }
};

}  // namespace marathon::inline MARATHON_ABI
