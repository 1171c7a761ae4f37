// RedisPartitions: a namespace as StateStore and TaskQueue. Each workflow id belongs to one
// partition, a RedisStore with keys of its own slot; what is about one run goes there, and what is
// about a session or about time goes to all of them. A single server has one partition.
//
// Safe from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store.h"
#include "marathon/config.h"
#include "marathon/state_store.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI::detail {

class RedisPartitions final : public StateStore, public TaskQueue {
 public:
  // `partitions`: for a namespace that is new; 0: 1, or 16 in a cluster. One that is not new has
  // its number, and another one is refused. The store closes when the last copy of the pointer
  // goes.
  static StatusOr<std::shared_ptr<RedisPartitions>> Open(RedisAddress address,
                                                         std::vector<RedisPlace> places,
                                                         std::string name_space, int partitions,
                                                         RedisOptions options, Runtime& runtime);

  // ---- Both ports
  std::string_view domain() const override { return domain_; }

  // ---- StateStore
  Status SetOutlet(std::shared_ptr<TaskQueue> outlet) override {
    return shared_.hub.SetOutlet(std::move(outlet));
  }
  std::string_view hint_domain() const override {
    return shared_.hub.outlet() != nullptr ? shared_.hub.outlet()->domain() : domain_;
  }
  Time Now() const override { return stores_.front()->Now(); }
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
  void CancelAwait(uint64_t name) override { shared_.hub.TakeAwaiter(name); }

  // ---- TaskQueue
  void Send(std::vector<TaskHint> hints, DoneStatus done) override;
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override;
  void Ack(std::vector<std::string> receipts, DoneStatus done) override;
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override;
  void StopReceiving(const SessionId& session) override;

  // ---- For tests
  // Answers when everything the servers have sent so far has been dealt with.
  void Sync(DoneStatus done);
  int64_t due_visited() const;

 private:
  friend class RedisBlobs;
  friend class RedisLimiter;
  friend class RedisStreams;
  struct MergedList;

  RedisPartitions(RedisAddress address, std::vector<RedisPlace> places, std::string name_space,
                  RedisOptions options, Runtime& runtime);
  Status OpenStores(int partitions);
  void Close();

  template <class Reply>
  Done<Reply> ForAnyPartition(Done<Reply> done) const;
  // Which partition has a workflow id, the digest of a blob, a stream, or a limit.
  RedisStore& Of(std::string_view name) const;
  // Gives each hint to its partition; on the loop's thread.
  void SendHints(std::vector<TaskHint> hints, DoneStatus done, bool given_back = false);
  // Those that were taken, in their order.
  void GiveBack(std::vector<TaskHint> hints, DoneStatus done);
  // Calls all partitions; `done` gets all their answers.
  template <class Result, class Call>
  void OnAll(Call call, Callback<void(std::vector<Result>)> done);
  void Count(ListRequest request, Done<ListReply> done);
  void ListFrom(const std::shared_ptr<MergedList>& list, std::vector<int> limits,
                Callback<void(std::vector<StatusOr<ListReply>>)> done);

  RedisShared shared_;
  const std::string domain_;
  std::vector<std::unique_ptr<RedisStore>> stores_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
