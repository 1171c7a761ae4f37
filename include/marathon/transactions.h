// Transactions: what a store has whose file keeps its users' tables, too. An activity's own writes and its end are one
// transaction there, so a crash at any moment leaves both or neither.
//
// Thread rule: safe to call from any thread; End blocks it.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

// What an activity writes through; each store that has transactions has a kind of its own.
class StoreTransaction {
 public:
  virtual ~StoreTransaction() = default;
};

struct TransactionalEnd {
  ActivityKey key;
  Epoch epoch = 0;
  SessionId session;  // offers to take the run's next turn; empty: no
  // Called once at most, by the thread that called End, and given the store's kind of transaction. The outcome of the
  // attempt, an ActivityCompleted; or none, and then all that it wrote is undone. Must not throw.
  std::function<std::optional<EventBody>(StoreTransaction&)> body;
};

class Transactions {
 public:
  virtual ~Transactions() = default;

  // The store of its StoreTransaction, for people: "SQLite".
  virtual std::string_view kind() const = 0;

  // Calls `body` and commits what it wrote together with the outcome it gives, if the attempt is still the caller's.
  // Whether `end.session` takes the run's next turn. With an error nothing has happened, but for kUnknown: then both
  // or neither has, and a kGiveBack (AttemptEnd) finds out.
  //   kAborted     the attempt is somebody else's by now, or its run has ended; or `body` gave no outcome
  //   kCancelled   the activity is canceled
  //   other codes  what kept the store, or the transaction, from it
  virtual StatusOr<bool> End(const TransactionalEnd& end) = 0;
};

}  // namespace marathon::inline MARATHON_ABI
