// SqliteTables: the rows of one namespace, as StoreProtocol wants them (the concepts RunTables and
// SessionTables of store/store_protocol.h).
//
// Rows that were read or written stay in memory from one transaction to the next, as long as no other
// connection has written (PRAGMA data_version): so the turns of a busy run read nothing. So does what is due first. A
// changed run is written back once a transaction, when somebody asks the indexes or at its end.
//
// The first error is the connection's to remember. After it nothing is stored, sets are empty, and rows
// are found blank: a caller that had just been told of a row need not ask whether it is still there.
// One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "connection.h"
#include "marathon/config.h"
#include "marathon/state_store.h"
#include "marathon/store/store_protocol.h"
#include "marathon/store_rows.h"
#include "soonest.h"

namespace marathon::inline MARATHON_ABI::detail {

struct SqliteRun : RunRow {
  int64_t id = 0;
  Time due = kNever;
  bool stored = false;  // there is a row for it
  bool dirty = false;   // … which is out of date
  bool counted = false;  // among the bytes of closed runs
  Labels indexed;       // attributes by which it is found
};

class SqliteTables {
 public:
  using Run = SqliteRun;

  // `closed_bytes`: as SqliteOptions has it.
  SqliteTables(SqliteConnection& db, int64_t ns, int64_t closed_bytes);
  ~SqliteTables();

  // ---- Around transactions
  void OnBegin(Time now);  // after BEGIN
  void OnCommit();    // before COMMIT: stores what is dirty, and makes room
  void OnRollback();
  // How often another connection was seen to have written.
  int64_t foreign_writes() const { return foreign_writes_; }
  // Whether another connection has written since the last transaction. Outside transactions.
  bool LooksChanged();

  // ---- RunTables (its comments are in store_protocol.h)
  Run* FindRun(const RunKey& key);
  Run* FindNewestRun(const std::string& workflow_id);
  Run* FindRunByRequest(const std::string& workflow_id, const Id& request_id);
  Run& InsertRun(RunRow row);
  void UpdateRun(Run& run, Time due);
  void EraseRun(Run& run);
  void SetOwner(Run& run, const std::string& owner) { run.owner = owner; }
  RunRow ToRow(const Run& run) { return run; }
  std::vector<RunKey> ReadyRunsOf(const std::string& session);

  void AppendRecord(Run& run, EventId version, CommitId commit_id, std::string record);
  CommitId CommitAt(const Run& run, EventId version);
  bool ReadRecords(const Run& run, EventId after, size_t max_bytes, std::vector<std::string>& out);
  std::string LastRecord(const Run& run);

  void HoldBlobs(Run& run, const std::vector<NamedBlob>& blobs);

  void AppendMessage(Run& run, Message message);
  void ReadInbox(const Run& run, uint64_t after, int limit, std::vector<Message>& out);
  int64_t EraseMessages(Run& run, uint64_t up_to);

  bool HasKey(const Run& run, const std::string& key);
  void AddKey(Run& run, const std::string& key, Time seen);
  void TrimKeys(Run& run, Time before, size_t keep);
  void MoveKeys(Run& from, Run& to);
  void SetAnswer(Run& run, const std::string& key, const std::string& answer, Time seen);
  std::optional<std::string> AnswerTo(const Run& run, const std::string& key);
  void ReplaceAnswers(Run& run, const std::string& from, const std::string& to, Time seen);

  ActivityRow* FindActivity(const RunKey& run, EventId id);
  void InsertActivity(Run& run, ActivityRow row, Time due);
  void UpdateActivity(ActivityRow& row, Time due);
  void EraseActivity(ActivityRow& row);
  std::vector<EventId> ActivitiesOf(const Run& run);
  std::vector<ActivityKey> ActivitiesHeldBy(const std::string& session);

  void InsertTimer(Run& run, EventId id, Time due);
  bool EraseTimer(Run& run, EventId id);
  void EraseTimers(Run& run);

  std::vector<DueEntry> ScanDue(Time now, int limit);
  Time EarliestDue();

  bool HasSession(const std::string& id);
  void AddCanceled(const std::string& session, const ActivityKey& key);

  // ---- SessionTables
  SessionRow* FindSession(const std::string& id);
  void InsertSession(SessionRow row);
  void UpdateSession(SessionRow& row, Time due);
  void EraseSession(SessionRow& row);
  std::vector<ActivityKey> Canceled(const std::string& session, bool heard);
  std::vector<SessionId> ScanDueSessions(Time now, int limit);
  Time EarliestDueSession();

  // ---- What only this store asks
  struct RunPage {
    std::vector<RunRow> runs;
    int64_t next = 0;  // go on below this id; 0: that was all
    int64_t count = 0;  // of those that fit, with count_only
  };
  // Runs below id `below`, newest first, having looked at no more than `scan` of them.
  RunPage ListRuns(const ListRequest& request, int64_t below, int limit, int scan);
  int64_t LastRun();  // the highest number of a run
  // Ready runs of a queue, and activities that can be claimed (with their runs' numbers), of runs up to
  // number `last`; longest waiting first, of activities those of the smallest priority.
  std::vector<const Run*> ReadyRuns(const std::string& queue, int64_t last, int limit);
  std::vector<std::pair<int64_t, const ActivityRow*>> ClaimableActivities(const std::string& queue,
                                                                          int64_t last, int limit);
  std::vector<SessionRow> Sessions();
  int64_t DueSteps() const;  // SQLite's, in looking at the due index
  int64_t LastLogRow();
  int64_t RunsErased();  // ever
  // What a closed run counts for: its history, and about its rows.
  static int64_t ClosedSize(const RunRow& run) { return 512 + run.history_bytes; }
  // Bytes that runs hold. Not compared with their names.
  StatusOr<std::vector<std::string>> ReadBlobs(const std::vector<BlobRef>& refs);
  // Runs that have a record after this row of the log, and are closed.
  std::vector<RunKey> RunsClosedSince(int64_t log_row);

 private:
  struct Statements;
  // A map from (run, event) to what is kept in memory; ordered, so that a run's are together.
  using ItemId = std::pair<int64_t, EventId>;
  static constexpr size_t kMaxCached = 20'000;  // of each kind
  static constexpr int kBlobsSweptAlong = 8;    // by each commit with blobs, and by each run with some that goes
  static constexpr int kForgetAtOnce = 64;      // runs that a transaction may forget to make room, however few it closes

  int64_t ReadDataVersion();
  Run* LoadRun(int64_t id);  // null: not there, or an error
  Run* Found(Run* run);
  Run* LoadNamed(const std::string& workflow_id, int kind, const std::string& name);
  // The same, but a damaged row is set aside: out of the indexes, so that the others go on, and an
  // error for whoever asks for it by name.
  Run* LoadRunOrSetAside(int64_t id);
  ActivityRow* LoadActivity(ItemId id);
  ActivityRow* LoadActivityOrSetAside(ItemId id);
  ItemId IdOf(const ActivityKey& key);
  void StoreDirtyRuns();
  void StoreRun(Run& run);
  static bool MayBeForgotten(const Run& run) { return !IsOpen(run) && run.due != kNever; }
  void CountClosed(Run& run);
  void ForgetExcess();
  void ReleaseBlobs(const Run& run);
  void SweepBlobs();
  void IndexAttributes(Run& run, const Labels& attributes);
  void Forget(Run& run);
  void ForgetAll();
  void WriteActivity(SqliteStatement& statement, ItemId id, const ActivityRow& row, Time due);
  // ScanDue, for one kind.
  void ScanDueOf(DueEntry::What what, Time now, int limit,
                 std::vector<std::pair<Time, DueEntry>>& out);

  SqliteConnection& db_;
  const int64_t ns_;
  const int64_t closed_bytes_;
  std::unique_ptr<Statements> sql_;

  std::unordered_map<RunKey, std::unique_ptr<Run>> runs_;
  std::unordered_map<int64_t, Run*> runs_by_id_;
  std::vector<Run*> dirty_;
  std::vector<int64_t> closed_;  // runs stored as closed since OnBegin
  int64_t closed_bytes_added_ = 0;  // … less what was forgotten
  std::map<ItemId, std::unique_ptr<ActivityRow>> activities_;
  std::unordered_map<std::string, std::unique_ptr<SessionRow>> sessions_;
  // What is found after an error.
  Run blank_run_;
  ActivityRow blank_activity_;
  SessionRow blank_session_;
  Time now_{};            // of the transaction
  int64_t next_run_ = 0;  // 0: not known
  int64_t data_version_ = 0;
  int64_t foreign_writes_ = 0;
  Soonest soonest_;          // of runs, activities and timers
  Soonest soonest_session_;
};

static_assert(RunTables<SqliteTables> && SessionTables<SqliteTables>);

}  // namespace marathon::inline MARATHON_ABI::detail
