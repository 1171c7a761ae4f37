// LocalHub spreads the Effects of one store inside this process: it is the store's TaskQueue, keeps
// the store's watchers, and holds who awaits the end of a run or of an update, or an event.
//
// Safe to call from any thread; calls nobody back while it holds its lock. What it keeps is only
// hints, each at most once, so it is no larger than the work that waits.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/store/effects.h"
#include "marathon/task_queue.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// What somebody awaited, and its answer.
struct Awaited {
  AwaitRequest request;
  StatusOr<RunSnapshot> answer;
};

class LocalHub {
 public:
  // ---- Spreading
  // Hands hints to parked receivers or keeps them, and tells watchers. Ends of runs are not told
  // here: the store answers what AwaitedOf names.
  void Publish(Effects&& effects);
  // To be called before a poll of the due index looks at it: what is published from now on is told
  // to watchers, though it be later than what they knew of before. The poll's answer may not have
  // it.
  void BeginPoll() { told_due_.store(ToMicros(kNever)); }

  // ---- A queue of another domain (StateStore::SetOutlet), that gets the hints instead. Set before use.
  Status SetOutlet(std::shared_ptr<TaskQueue> outlet);
  const TaskQueue* outlet() const { return outlet_.get(); }

  // ---- Sessions of this process. A hint that prefers a session waits for it as long as it is
  // here.
  void AddWatcher(const SessionId& session, std::weak_ptr<StoreWatcher> watcher);
  void RemoveWatcher(const SessionId& session);
  std::vector<std::pair<SessionId, std::weak_ptr<StoreWatcher>>> Watchers() const;

  // ---- TaskQueue
  void Receive(ReceiveRequest&& request, Done<std::vector<Delivery>>&& done);
  // A delivered hint is off the queue; here it comes back.
  void Nack(std::vector<Delivery>&& deliveries);
  void StopReceiving(const SessionId& session);
  // Somebody waits for work or for the end of a run: worth looking for what other processes wrote.
  bool IsAwaited() const;
  // How many parked receivers could have this hint at once: of its preferred session, if it has one.
  size_t ParkedFor(const TaskHint& hint) const;
  // Hints that were fetched for a receiver: all at once to it, as many as it wants, if it is parked yet.
  void GiveTo(const ReceiveRequest& request, std::vector<TaskHint>&& hints);
  // Whether it is; and all those that are.
  bool IsParked(const ReceiveRequest& request) const;
  std::vector<ReceiveRequest> ParkedRequests() const;
  // Takes out all hints that wait for a receiver, for a store that has another place for them.
  std::vector<TaskHint> TakeWaiting();
  // The same, but none while a session of this process may come and receive them.
  std::vector<TaskHint> TakeStranded();
  // The task queues that parked receivers wait for.
  std::set<std::pair<TaskKind, std::string>> AwaitedQueues() const;
  // … and those of which activities' hints wait for a receiver.
  std::set<std::string> WaitingActivityQueues() const;

  // ---- StateStore::Await. A store first adds the awaiter and then looks at the run, so that no end
  // slips between; whoever takes the awaiter out calls it.
  uint64_t AddAwaiter(AwaitRequest request, Done<RunSnapshot>&& done);
  void MoveAwaiter(uint64_t name, const RunKey& run);  // it awaits another run, if it is still here
  Done<RunSnapshot> TakeAwaiter(uint64_t name);        // empty: it is gone
  // Answers all that await the same.
  void AnswerAwaiters(const Awaited& awaited);
  // What is awaited of a run, each once.
  std::vector<AwaitRequest> AwaitedOf(const RunKey& run) const;
  std::vector<RunKey> AwaitedRuns() const;
  // Those of which something is awaited that may come before their end.
  std::vector<RunKey> RunsAwaitedOpen() const;
  // Whether an event of any is.
  bool AwaitsEvents() const { return event_awaiters_.load() > 0; }

 private:
  struct Parked {
    ReceiveRequest request;
    Done<std::vector<Delivery>> done;

    bool Is(const ReceiveRequest& other) const {
      return request.session == other.session && request.kind == other.kind &&
             request.task_queues == other.task_queues;
    }
    // As far as `session` (empty: any) may have it.
    bool Wants(const TaskHint& hint, const SessionId& session) const {
      return request.kind == hint.kind && (session.empty() || session == request.session) &&
             std::find(request.task_queues.begin(), request.task_queues.end(), hint.task_queue) !=
                 request.task_queues.end();
    }
  };
  // Hints of one kind and task queue for one session, or (with an empty session) for anyone, and of one priority: the
  // places of a queue stand together, the smallest priority first.
  struct Place {
    TaskKind kind;
    std::string task_queue;
    SessionId session;
    uint8_t priority = 0;

    bool IsBeside(const Place& other) const {
      return kind == other.kind && task_queue == other.task_queue && session == other.session;
    }
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  struct Waiting {
    std::deque<TaskHint> hints;
    std::set<std::pair<ActivityKey, Epoch>> seen;
  };
  struct Answer {
    Done<std::vector<Delivery>> done;
    std::vector<Delivery> deliveries;
  };

  // With mutex_ held.
  bool IsHere(const SessionId& session) const;
  SessionId PreferredHere(const TaskHint& hint) const { return IsHere(hint.preferred) ? hint.preferred : SessionId(); }
  void Deliver(TaskHint&& hint, std::vector<Answer>& answers);
  bool GiveToParked(TaskHint& hint, std::vector<Answer>& answers);  // false: to nobody, and it is untouched
  void Keep(TaskHint&& hint, bool first);                           // first: of its place, not last
  void Take(const Place& first, size_t max, std::vector<Delivery>& out);
  std::vector<TaskHint> TakeAllWaiting();
  void GiveToAnyone(const SessionId& session, std::vector<Answer>& answers);

  // Without it.
  void TellDue(Time due);
  void TellCanceled(std::vector<std::pair<SessionId, ActivityKey>>&& canceled);

  std::shared_ptr<TaskQueue> outlet_;
  mutable std::mutex mutex_;
  std::list<Parked> parked_;          // in order of arrival
  std::map<Place, Waiting> waiting_;  // no empty ones
  std::set<SessionId> stopped_;
  std::vector<std::pair<SessionId, std::weak_ptr<StoreWatcher>>> watchers_;  // in order of arrival
  std::map<uint64_t, std::pair<AwaitRequest, Done<RunSnapshot>>> awaiters_;
  std::unordered_map<RunKey, std::vector<uint64_t>> awaited_;
  uint64_t last_awaiter_ = 0;
  std::atomic<size_t> awaiter_count_{0};  // lets the many ends that nobody awaits skip the lock
  std::atomic<size_t> event_awaiters_{0};
  std::atomic<int64_t> told_due_{ToMicros(kNever)};  // every watcher knows of an instant this soon
};

// The TaskQueue side of a hub, for stores whose own domain it is.
std::shared_ptr<TaskQueue> NewLocalTaskQueue(std::shared_ptr<LocalHub> hub, std::string domain);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/store/local_hub-inl.h"
#endif
