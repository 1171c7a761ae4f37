// GroupCommit: many operations, one transaction, one fsync.
//
// A call queues its operation and asks the runtime for a moment when nothing else is ready. The thread
// that gets it leads: it takes all that is queued, runs it between BEGIN IMMEDIATE and COMMIT, and then
// reports to everybody, holding no lock. What is queued meanwhile is the next leader's. There is no
// commit thread, and at most one leader at a time, so the connection below needs no lock.
//
// Reports run workflow code, which may hang: a leader that has been reporting for long is deposed, and
// another leads while it still does.
//
// An operation that calls users' code runs alone instead: on its caller's thread, which leads meanwhile. Those that wait
// for that come in the order they asked, each after a batch of the others.
//
// One operation's failure is not another's: when SQLite fails a step, or refuses the commit, the
// transaction is rolled back and its operations are run again, each in one of its own.
//
// Safe from any thread. Operations run on runtime threads of the turn lane, but for those that run alone.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "connection.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

class SqliteOperation {
 public:
  virtual ~SqliteOperation() = default;
  // Does its part of a transaction. Called again, from the start, if that is rolled back.
  virtual void Apply() = 0;
  // Whether Apply() wrote, or may have.
  virtual bool writes() const { return true; }
  // The end: OK when committed. Called once, outside the transaction.
  virtual void Finish(Status status) = 0;
};

// What surrounds the transactions of a store; called by the leader only.
class SqliteTransactionHooks {
 public:
  virtual ~SqliteTransactionHooks() = default;
  virtual void OnBegin() = 0;     // right after BEGIN
  virtual void OnRollback() = 0;  // forget what was learned since OnBegin
  virtual void OnCommit() = 0;    // right before COMMIT
  virtual void OnIdle() = 0;      // after the reports, and after Wake(); not in a transaction
};

class GroupCommit : public std::enable_shared_from_this<GroupCommit> {
 public:
  // All three must live until Close() has returned.
  GroupCommit(Runtime* runtime, SqliteConnection* connection, SqliteTransactionHooks* hooks);

  // What a leader keeps alive, so that it is not destroyed by one of the reports. To be called first.
  void SetOwner(std::weak_ptr<void> owner) { owner_ = std::move(owner); }

  void Enqueue(std::unique_ptr<SqliteOperation> operation);

  // Runs an operation in a transaction of its own, on this thread, and once only. Blocks until it is finished. Whatever this
  // thread enqueues from within it is refused: it could wait for an answer that nobody can give.
  void RunAlone(std::unique_ptr<SqliteOperation> operation);

  // Has somebody lead, and so call OnIdle(), even if nothing is queued.
  void Wake();

  // Waits for the leader, commits what is queued, and from then on fails everything with kCancelled.
  // Not from within an operation's report.
  void Close();

 private:
  using Batch = std::vector<std::unique_ptr<SqliteOperation>>;

  static constexpr size_t kMaxBatch = 1024;
  static constexpr int64_t kLongReportMicros = 200'000;

  // With mutex_ held: whether there is a leader who will look at the queue soon.
  bool IsLed();
  void Schedule();
  void Lead();
  Status BeginAlone();
  void EndAlone();
  // With mutex_ held: lets the next that waits to run alone lead, if nobody does.
  void LetNextAlone();
  void LeadOneBatch(std::unique_lock<std::mutex>& lock);
  void Commit(Batch& batch, std::vector<Status>& results);
  void Report(Batch& batch, std::vector<Status>& results);
  // The status of the whole transaction; `ambiguous`: it may have happened all the same.
  Status TryTransaction(std::unique_ptr<SqliteOperation>* begin,
                        std::unique_ptr<SqliteOperation>* end, bool* ambiguous);
  Status SettleLastCommit();
  void Rollback();

  Runtime* const runtime_;
  SqliteConnection* const connection_;
  SqliteTransactionHooks* const hooks_;
  std::weak_ptr<void> owner_;

  std::mutex mutex_;
  std::condition_variable led_;
  std::deque<std::unique_ptr<SqliteOperation>> queue_;
  bool scheduled_ = false;
  bool woken_ = false;
  bool leading_ = false;
  uint64_t term_ = 0;            // of the leader; he who finds another was deposed
  int64_t reporting_since_ = 0;  // monotonic; 0: the leader is not reporting
  bool closed_ = false;
  std::deque<std::shared_ptr<OneShot>> waiting_alone_;
  std::thread::id alone_;  // who runs alone

  // The leader's. Gone when closed, since they must not outlive the connection.
  struct Statements {
    explicit Statements(SqliteConnection& db);
    SqliteStatement begin, begin_read, commit, rollback, settle;
  };
  std::unique_ptr<Statements> sql_;
  bool unsettled_ = false;  // the last commit's outcome is unknown
};

}  // namespace marathon::inline MARATHON_ABI::detail
