// WaitingTurn: a turn that waits for its local activities, in memory. Its slot stays busy: what comes for the run
// meanwhile waits.
//
// Thread rule: as its mutex says.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/detail/workflow_core.h"
#include "marathon/event.h"
#include "marathon/ids.h"

namespace marathon::inline MARATHON_ABI::detail {

class LocalAttempt;

struct WaitingTurn {
  WaitingTurn(RunFacts run, int64_t begun, EventId before, size_t events)
      : facts(std::move(run)), since(begun), version(before), first_events(events) {}

  const RunFacts facts;
  const int64_t since;      // monotonic microseconds
  const EventId version;    // where the turn began
  const size_t first_events;  // of the turn, when it began to wait

  // ---- Guarded by the mutex.
  std::mutex mutex;
  PooledVector<EventBody> ends;  // of local activities, that its code has not seen
  bool driven = true;            // a thread is in its code, and looks here before it leaves
  bool over = false;             // committed, or come to nothing: whatever still runs is not heard
  enum class Dropped { kNo, kStopping, kLost } dropped = Dropped::kNo;
  std::map<EventId, std::weak_ptr<LocalAttempt>> running;
  std::set<EventId> backing_off;  // for another attempt, in this worker
  std::set<EventId> canceled;     // by the code, whether or not one runs at the moment
};

// A local activity that has ended. If its turn is taken again, for no fault of its own, it is not run again.
struct KnownLocal {
  LocalTask task;
  EventBody end;
};

}  // namespace marathon::inline MARATHON_ABI::detail
