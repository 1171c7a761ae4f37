// RedisStore: one partition of a namespace, as StateStore.
//
// A call becomes an operation of a lane (lanes.h), on the thread of the store's loop; StoreProtocol says
// what it does, RedisTables which rows it needs, and the script makes one atomic step of it. LocalHub tells
// this process; a second connection subscribes to what others have to tell.
//
// Safe from any thread, but for what says otherwise. Everything private is the loop's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "connection.h"
#include "io_loop.h"
#include "keys.h"
#include "lanes.h"
#include "marathon/adapters/redis.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"
#include "marathon/blob_store.h"
#include "marathon/limiter.h"
#include "marathon/store/local_hub.h"
#include "marathon/store/stream_readers.h"
#include "marathon/stream_log.h"
#include "marathon/task_queue.h"
#include "nodes.h"
#include "noted_ends.h"
#include "redirects.h"
#include "script.h"

namespace marathon::inline MARATHON_ABI::detail {

// So long after a poll that failed in part, what is due is asked for again.
inline constexpr Duration kDueAfterError{1'000};

// So often a store looks for what it would be told, while nothing is told to it.
inline constexpr RedisLoop::Micros kLookAgain = 2'000'000;

// What the partitions of a namespace have in common.
struct RedisShared {
  const RedisAddress address;
  const std::string name_space;
  const RedisOptions options;
  Runtime& runtime;
  RedisNodes nodes;
  std::set<std::string> warned;  // about what; the loop's
  // By which the namespace goes, of the first partition's server: those of a cluster have a clock each.
  const RedisClock* clock = nullptr;
  LocalHub hub;
  StreamReaders readers;
  RedisLoop loop;
  // Publishes hints, each in its partition. Of the loop.
  std::function<void(std::vector<TaskHint>)> send_hints;
};

class RedisStore final : public StateStore,
                         private RedisConnection::Owner,
                         private RedisLanes::Spreader {
 public:
  RedisStore(RedisShared& shared, int partition);

  // ---- Opening, in this order: from the loop's thread; `partitions` as RedisPartitions::Open says. The
  // answer is OK, and then this is how many there are, or why there is none.
  void Open(int partitions, Callback<void(StatusOr<int>)> done);
  void Close();

  // ---- StateStore
  std::string_view domain() const override { return {}; }  // of all partitions together
  Time Now() const override { return clock_.Now(); }
  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override;
  void RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) override;
  void CloseSession(SessionId session, DoneStatus done) override;
  void ExpireSession(SessionId session, DoneStatus done) override;
  void Start(StartRequest request, Done<StartReply> done) override;
  void Put(PutRequest request, Done<PutReply> done) override;
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override;
  void Commit(TurnCommit commit, Done<CommitReply> done) override;
  void Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) override;
  void Unblock(RunKey run, DoneStatus done) override;
  void Pause(RunKey run, std::string reason, DoneStatus done) override;
  void Resume(RunKey run, DoneStatus done) override;
  void Pin(RunKey run, std::string build_id, DoneStatus done) override;
  void RetryActivity(ActivityKey key, DoneStatus done) override;
  void Delete(RunKey run, DoneStatus done) override;
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override;
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override;
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override;
  void PollDue(DueRequest request, Done<DueReply> done) override;
  bool keeps_blobs() const override { return true; }
  void ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override;
  void Read(ReadRequest request, Done<RunSnapshot> done) override;
  void List(ListRequest request, Done<ListReply> done) override;
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override;
  void CancelAwait(uint64_t name) override { hub_.TakeAwaiter(name); }

  // ---- Beside the runs (store_beside.cc). What is asked has been checked.
  void PutBlob(const BlobRef& ref, std::string bytes, DoneStatus done);
  void GetBlob(const BlobRef& ref, Done<std::string> done);
  void Append(AppendFrames request, Done<uint64_t> done);
  // Answers a reader that is in RedisShared::readers, when there is an answer.
  void AnswerReader(StreamReaders::Reader reader);
  void Trim(const std::string& stream, uint64_t seq, DoneStatus done);
  void Acquire(AcquireLimit request, Done<Permit> done);
  void Settle(SettleLimit request, DoneStatus done);
  void ClearLimit(const std::string& key, DoneStatus done);
  void EnterAPlace(EnterPlace request, Done<EnterReply> done);
  void LeaveAPlace(LeavePlace request, Done<LeaveReply> done);

  // ---- This partition's part of the task queue; on the loop's thread
  // `given_back`: as the first of those that wait, in reverse order.
  void SendHints(std::vector<TaskHint> hints, DoneStatus done, bool given_back = false);
  // Looks for what `request`, which is parked at the hub, may have, and listens for what comes later.
  void Fetch(const ReceiveRequest& request);
  void StopFetching(const SessionId& session);
  // Hints that came for a receiver which has stopped meanwhile: others may have them.
  void ReturnStranded();

  // ---- For tests; on the loop's thread
  // Answers when everything the server has sent so far has been dealt with, on both connections.
  void Sync(DoneStatus done);
  int64_t due_visited() const { return due_visited_.load(); }

 private:
  template <class Reply, class Body>
  class Operation;
  class DuePoll;
  class Release;
  class Recall;
  class ListPage;
  enum class Together { kNo, kYes };
  // A message on a channel; none: the subscription has just begun, so messages may have been missed.
  using Listener = std::function<void(std::optional<std::string_view> message)>;

  // ---- Opening (open.cc)
  void OnConnected(RedisConnection& connection) override;
  void OnLost(RedisConnection& connection) override;
  void OnPush(const RedisReply& message) override;
  void Enter();
  void LookAtServer();
  void LookAtSettings();
  void ListenToOthers();
  Status CheckServer(const RedisReply& reply);
  void Warn(std::string_view what);
  void WarnOf(const std::string& text);
  void FinishOpening(Status status);

  // ---- Operations (operation.h)
  // Queues `body`, which makes a Reply (Status, or a StatusOr) of a RedisTransaction. From any thread.
  template <class Reply, class Body>
  void Enqueue(std::string lane, Together together, Body body, Callback<void(Reply)> done);
  template <class Reply>
  Done<Reply> OnTurnLane(Done<Reply> done);
  // With this incarnation in the reply.
  template <class Reply>
  Done<Reply> Stamped(Done<Reply> done) {
    return [this, done = std::move(done)](StatusOr<Reply> reply) mutable {
      if (reply.ok()) reply->incarnation = incarnation_;
      done(std::move(reply));
    };
  }
  // An instant of this partition's server, by the clock of the namespace.
  Time InCommonTime(Time at) const {
    return clock_.is_servers() && shared_.clock != &clock_ ? InClock(at, clock_.Now(), shared_.clock->Now()) : at;
  }
  void Publish(Effects&& effects);
  void SpreadInStep(RedisTransaction& transaction) override;
  void SpreadHere(Effects&& effects, std::vector<Awaited>&& awaited) override;
  void EndSession(SessionId session, bool died, DoneStatus done);
  void Forget(const SessionId& session);
  void RecallSessions();

  // ---- Awaiters
  using Answer = StatusOr<std::optional<RunSnapshot>>;
  void LookForAnswer(const AwaitRequest& request, Callback<void(Answer)> done);
  void AwaitAnswer(uint64_t awaiter, const AwaitRequest& request);
  void LookAtAwaited(const RunKey& run);

  // ---- Queues and pushes (queue.cc)
  void Listen(const std::string& channel, Listener listener);
  void WriteHints(RedisStep& step, std::vector<TaskHint>& hints, bool given_back = false);
  void FetchFor(TaskKind kind, const std::string& task_queue);
  void ReturnOwnQueues(const SessionId& session);
  void LookAtDue();
  void LookForAll();
  void LookAgain();
  void ListenToFrames(const std::string& stream);
  void LookForFrames(const StreamReaders::Reader& reader);
  std::string LimitTime() const;  // for the script; empty: the server's

  RedisShared& shared_;
  LocalHub& hub_;
  RedisLoop& loop_;
  const int partition_;
  const RedisKeys keys_;
  RedisClock clock_;
  RedisWriter writer_;
  NotedEnds noted_ends_;
  RedisConnection commands_, subscriber_;
  RedisRedirects redirects_;
  RedisTimer look_again_;
  bool hears_ = false;    // what others push
  int deaf_looks_ = 0;    // without hearing it
  std::string deaf_for_;  // what was logged of that it does not; empty: nothing
  RedisScript script_;
  RedisLanes lanes_;
  std::unordered_map<std::string, Listener> listeners_;  // by channel
  std::set<std::string> streams_;                        // those that are listened to
  size_t streams_max_ = 0;                               // when to look for which of them nobody reads any more
  std::set<SessionId> receiving_;                        // sessions that the server knows to receive
  uint64_t incarnation_ = 0;  // a server that is back may be another one, or may have lost something
  int partitions_ = 0;
  Callback<void(StatusOr<int>)> opening_;  // until it is open
  std::atomic<int64_t> due_visited_{0};
};

}  // namespace marathon::inline MARATHON_ABI::detail
