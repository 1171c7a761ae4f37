// SqliteStore: StateStore and TaskQueue over one SQLite file.
//
// A call becomes an operation of the group commit; StoreProtocol says what it does, SqliteTables where
// the rows are, LocalHub tells the rest of the process. What other processes write is found by looking at
// a counter of SQLite's, every few milliseconds, and only while somebody here waits for something.
//
// Safe from any thread. Must not be destroyed from within one of its own callbacks.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "blob_table.h"
#include "connection.h"
#include "group_commit.h"
#include "guard.h"
#include "limit_table.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"
#include "marathon/store/local_hub.h"
#include "marathon/store/store_protocol.h"
#include "marathon/store/stream_readers.h"
#include "marathon/task_queue.h"
#include "place_table.h"
#include "session_lock.h"
#include "stream_table.h"
#include "tables.h"
#include "wal_checkpointer.h"

namespace marathon::inline MARATHON_ABI::detail {

using SqliteProtocol = StoreProtocol<SqliteTables>;
using SqliteSessionProtocol = SessionProtocol<SqliteTables>;

class SqliteStore final : public StateStore,
                          public TaskQueue,
                          public std::enable_shared_from_this<SqliteStore>,
                          private SqliteTransactionHooks {
 public:
  // `path` is absolute.
  static StatusOr<std::shared_ptr<SqliteStore>> Open(const std::string& path,
                                                     const std::string& name_space,
                                                     const SqliteOptions& options,
                                                     Runtime& runtime);
  ~SqliteStore() override;

  // ---- Both ports
  std::string_view domain() const override { return domain_; }

  // ---- StateStore
  Status SetOutlet(std::shared_ptr<TaskQueue> outlet) override {
    return hub_.SetOutlet(std::move(outlet));
  }
  std::string_view hint_domain() const override {
    return hub_.outlet() != nullptr ? hub_.outlet()->domain() : domain_;
  }
  Time Now() const override { return runtime_.Now(); }
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
  void CancelAwait(uint64_t name) override;

  int64_t DueSteps() const { return tables_->DueSteps(); }

  // ---- TaskQueue
  void Send(std::vector<TaskHint> hints, DoneStatus done) override;
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override;
  void Ack(std::vector<std::string> receipts, DoneStatus done) override;
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override;
  void StopReceiving(const SessionId& session) override;

 private:
  friend class SqliteBlobs;
  friend class SqliteLimiter;
  friend class SqliteStreams;
  friend class SqliteTransactions;

  // What an operation sees of its transaction.
  struct Transaction {
    SqliteTables& tables;
    SqliteBlobTable& blobs;
    SqliteStreamTable& streams;
    SqliteLimitTable& limits;
    SqlitePlaceTable& places;
    Time now;
    Effects& effects;
    StoreTimes times;
    SqliteProtocol protocol() { return {tables, now, effects, times}; }
    SqliteSessionProtocol sessions() { return {tables, now, effects}; }
  };
  template <class Reply, class Body>
  class Operation;
  enum class Access { kRead, kWrite };

  SqliteStore(std::string path, const std::string& name_space, int64_t ns,
              std::unique_ptr<SqliteConnection> connection, const SqliteOptions& options,
              Runtime& runtime);

  // Queues `body`, which makes a Reply (Status, or a StatusOr) of a Transaction. It may run twice.
  template <class Reply, class Body>
  void Enqueue(Access access, Body body, Callback<void(Reply)> done);
  // The same at once, on this thread, by itself and once only. `done` is called before it returns.
  template <class Reply, class Body>
  void RunAlone(Body body, Callback<void(Reply)> done);
  Status CheckProcess() const;
  void ListBelow(ListRequest request, int64_t below, ListReply reply, Done<ListReply> done);
  void LookForAnswer(uint64_t awaiter, AwaitRequest request);
  void LookForFrames(const StreamReaders::Reader& reader);  // (beside.cc)

  // SqliteTransactionHooks
  void OnBegin() override;
  void OnCommit() override { tables_->OnCommit(); }
  void OnRollback() override { tables_->OnRollback(); }
  void OnIdle() override;

  // ---- Other processes (store_sessions.cc)
  void KeepLooking();  // sets the alarm unless it is set
  void Look();
  // How far looks at other processes' writes have come: in all, …
  struct Scan {
    int64_t writes = -1;  // of tables_->foreign_writes(); -1: not at all
    int64_t log = 0;      // row of the log
    int64_t erased = 0;   // of tables_->RunsErased()
  };
  // … and in one queue.
  struct QueueScan {
    int64_t writes = -1;
    bool unfinished = false;
    std::set<std::tuple<int64_t, EventId, int64_t>> hinted;  // run, activity, epoch or ready_since
  };
  bool HasUnscannedQueue();
  bool IsOurs(const SessionId& session);  // opened through this object
  StatusOr<Scan> ScanForeignWork(Transaction& tx);
  void ScanQueue(Transaction& tx, const std::pair<TaskKind, std::string>& queue, int limit, QueueScan& state);
  void ExpireDeadSessions(Transaction& tx);
  void Expire(Transaction& tx, const SessionId& session);
  bool IsDead(const SessionRow& session);
  std::string LockName(const SessionId& session) const;
  void ForgetSession(const SessionId& session);

  const std::string path_;
  const std::string domain_;
  const int64_t ns_;
  const pid_t pid_;
  const SqliteOptions options_;
  Runtime& runtime_;
  LocalHub hub_;
  StreamReaders readers_;

  std::unique_ptr<SqliteConnection> connection_;

  // The leader's.
  std::unique_ptr<SqliteTables> tables_;
  std::unique_ptr<SqliteBlobTable> blob_table_;
  std::unique_ptr<SqliteStreamTable> stream_table_;
  std::unique_ptr<SqliteLimitTable> limit_table_;
  std::unique_ptr<SqlitePlaceTable> place_table_;
  std::unique_ptr<SqliteGuard> guard_;
  std::unique_ptr<WalCheckpointer> checkpointer_;
  Time now_{};
  int64_t opened_runs_ = 0;         // the last run when this store was opened
  std::vector<SessionRow> others_;  // sessions, as of the last scan
  Scan scanned_;
  std::map<std::pair<TaskKind, std::string>, QueueScan> queue_scans_;
  int64_t looks_ = 0;

  std::atomic<bool> look_{false};  // the alarm has gone off

  std::mutex mutex_;  // guards:
  std::map<SessionId, SessionLock> locks_;
  AlarmId alarm_ = 0;
  bool alarm_set_ = false;

  std::shared_ptr<GroupCommit> commits_;  // last: gone before what its leader uses
};

}  // namespace marathon::inline MARATHON_ABI::detail
