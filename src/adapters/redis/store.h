// RedisStore: StateStore and TaskQueue over one Redis server.
//
// A call becomes an operation of a lane (lanes.h), on the thread of the store's loop; StoreProtocol says
// what it does, RedisTables which rows it needs, and the script makes one atomic step of it. LocalHub tells
// this process; a second connection subscribes to what others have to tell.
//
// Safe from any thread. Everything private is the loop's.
#pragma once

#include <atomic>
#include <functional>
#include <future>
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
#include "marathon/store/local_hub.h"
#include "marathon/task_queue.h"
#include "script.h"

namespace marathon::inline MARATHON_ABI::detail {

class RedisStore final : public StateStore,
                         public TaskQueue,
                         private RedisConnection::Owner,
                         private RedisLanes::Spreader {
 public:
  // The store closes when the last copy of the pointer goes.
  static StatusOr<std::shared_ptr<RedisStore>> Open(const RedisAddress& address,
                                                    const std::string& name_space,
                                                    const RedisOptions& options, Runtime& runtime);

  // ---- Both ports
  std::string_view domain() const override { return domain_; }

  // ---- StateStore
  Status SetOutlet(std::shared_ptr<TaskQueue> outlet) override {
    return hub_.SetOutlet(std::move(outlet));
  }
  std::string_view hint_domain() const override {
    return hub_.outlet() != nullptr ? hub_.outlet()->domain() : domain_;
  }
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
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override;
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override;
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override;
  void PollDue(DueRequest request, Done<DueReply> done) override;
  void Read(ReadRequest request, Done<RunSnapshot> done) override;
  void List(ListRequest request, Done<ListReply> done) override;
  uint64_t AwaitClose(RunKey run, Done<RunSnapshot> done) override;
  void CancelAwait(uint64_t name) override { hub_.TakeAwaiter(name); }

  // ---- TaskQueue
  void Send(std::vector<TaskHint> hints, DoneStatus done) override;
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override;
  void Ack(std::vector<std::string> receipts, DoneStatus done) override;
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override;
  void StopReceiving(const SessionId& session) override;

  // ---- For tests
  // Answers when everything the server has sent so far has been dealt with, on both connections.
  void Sync(DoneStatus done);
  int64_t due_visited() const { return due_visited_.load(); }

 private:
  template <class Reply, class Body>
  class Operation;
  class DuePoll;
  class Release;
  class ListPage;
  enum class Together { kNo, kYes };
  // A message on a channel; none: the subscription has just begun, so messages may have been missed.
  using Listener = std::function<void(std::optional<std::string_view> message)>;

  RedisStore(const RedisAddress& address, const std::string& name_space,
             const RedisOptions& options, Runtime& runtime);
  void Close();

  // ---- Opening (open.cc)
  void OnConnected(RedisConnection& connection) override;
  void OnLost(RedisConnection& connection) override;
  void OnPush(const RedisReply& message) override;
  void LookAtServer();
  Status CheckServer(std::string_view info);
  void FinishOpening(Status status);

  // ---- Operations (operation.h)
  // Queues `body`, which makes a Reply (Status, or a StatusOr) of a RedisTransaction. From any thread.
  template <class Reply, class Body>
  void Enqueue(std::string lane, Together together, Body body, Callback<void(Reply)> done);
  void SpreadInStep(RedisTransaction& transaction) override;
  void SpreadHere(Effects&& effects, std::vector<RunSnapshot>&& ends) override;
  void EndSession(SessionId session, bool died, DoneStatus done);
  void Forget(const SessionId& session);

  // ---- Ends of runs
  using End = StatusOr<std::optional<RunSnapshot>>;
  void LookForEnd(const RunKey& run, Callback<void(End)> done);
  void AwaitRun(uint64_t awaiter, const RunKey& run);
  void LookAtAwaited(const RunKey& run);
  void AnswerAwaiters(const RunKey& run, const std::vector<RunSnapshot>& ends);

  // ---- Queues and pushes (queue.cc)
  void Listen(const std::string& channel, Listener listener);
  void WriteHints(RedisStep& step, std::vector<TaskHint>& hints);
  void SendHints(std::vector<TaskHint> hints, DoneStatus done);
  void Fetch(const ReceiveRequest& request);
  void FetchFor(TaskKind kind, const std::string& task_queue);
  void ReturnOwnQueues(const SessionId& session);
  void LookAtDue();

  const std::string domain_;
  const RedisOptions options_;
  const RedisKeys keys_;
  LocalHub hub_;
  RedisClock clock_;
  RedisWriter writer_;
  RedisConnection commands_, subscriber_;
  RedisScript script_;
  RedisLanes lanes_;
  std::unordered_map<std::string, Listener> listeners_;  // by channel
  std::set<SessionId> receiving_;                        // sessions that the server knows to receive
  std::optional<std::promise<Status>> opening_;
  std::atomic<int64_t> due_visited_{0};
  RedisLoop loop_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
