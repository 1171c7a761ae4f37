// TaskQueue carries hints from whoever made work to whoever can do it. A hint is never the work itself:
// its receiver claims from the store, which alone knows. Hints may be lost, doubled, late or reordered
// without harm; the store publishes again what nobody took.
//
// Thread rule: safe to call from any thread; callbacks come once, on any thread, perhaps before the call
// returns, and hold no lock.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

enum class TaskKind : uint8_t { kTurn = 1, kActivity = 2 };

struct TaskHint {
  TaskKind kind = TaskKind::kTurn;
  std::string task_queue;
  RunKey run;
  EventId activity = 0;  // kActivity
  Epoch epoch = 0;       // kActivity: what the claim must name
  SessionId preferred;   // who should get it first; empty: anyone
  std::string activity_type = {};  // kActivity: a worker knows by it whether it may begin now
  uint8_t priority = limits::kDefaultPriority;  // kActivity: the smallest of those that wait goes first

  friend bool operator==(const TaskHint&, const TaskHint&) = default;
};

struct Delivery {
  TaskHint hint;
  std::string receipt;  // for Ack
};

struct ReceiveRequest {
  SessionId session;
  TaskKind kind = TaskKind::kTurn;
  std::vector<std::string> task_queues;  // any of these
  int max = 1;
};

class TaskQueue {
 public:
  virtual ~TaskQueue() = default;

  // See StateStore::domain().
  virtual std::string_view domain() const = 0;

  // Publishes hints. Called by stores of other domains, and never for a queue of the store's own. A hint that
  // prefers a session which receives in this process is best delivered here; where sessions cannot be
  // addressed, any other may get it. An error says that some may not have been published.
  virtual void Send(std::vector<TaskHint> hints, DoneStatus done) = 0;

  // Answers as soon as there is at least one hint, with up to `max`; with none when the queue's own
  // patience is over (ask again), and with kCancelled after StopReceiving. Of those that wait in one task queue, the
  // smallest priority comes first, and of those the one that has waited longest, as far as the queue can know.
  virtual void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) = 0;

  // Takes delivered hints off the queue: once claimed, or refused by the store.
  virtual void Ack(std::vector<std::string> receipts, DoneStatus done) = 0;

  // Gives delivered hints back untouched: the receiver has no room after all, others may have them at once. Those of
  // activities are again the first of their priority, where the queue has an order.
  virtual void Nack(std::vector<Delivery> deliveries, DoneStatus done) = 0;

  // Ends every Receive of `session`, now and later.
  virtual void StopReceiving(const SessionId& session) = 0;

  // Answers when nothing that was sent, acked or given back here is under way any more. An error says that some was
  // given up. Whoever shuts down waits for it, though not for ever: the queue may be away.
  virtual void Flush(DoneStatus done) { done(Status()); }
};

}  // namespace marathon::inline MARATHON_ABI
