// RedisTables: the rows of one workflow id, as StoreProtocol wants them (the concepts RunTables and
// SessionTables of store/store_protocol.h), for one transaction.
//
// A transaction is tried until it has what it needs. A row that is not at hand is noted as wanted and found
// blank; End() then asks for a step that reads it, and the operations run again:
//
//   tables.Begin();
//   … run the operations …
//   while (auto step = tables.End()) { … send it; checks held: tables.AddAnswers(replies) or Keep() … }
//
// Every step checks that all that was used is still current, so a transaction rests on rows that were all
// true at one instant, its last step's. Written is only in that last step.
// One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "keys.h"
#include "marathon/config.h"
#include "marathon/state_store.h"
#include "marathon/store/store_protocol.h"
#include "marathon/store_rows.h"
#include "rows.h"
#include "step.h"
#include "wire.h"

namespace marathon::inline MARATHON_ABI::detail {

// Who writes: names this store and makes stamps that no other write ever has.
struct RedisWriter {
  std::string id;      // of this store among all that use the namespace
  std::string random;  // … and in case the server has forgotten whom it numbered
  uint64_t stamps = 0;
  int64_t closed_bytes = 0;  // of closed runs that a partition keeps, about; 0: no limit

  std::string NewStamp();
};

class RedisTables {
 public:
  struct Run : RunRow {
    std::string name;          // in keys
    std::string stamp;         // beside the stored row; empty: there is none
    Time due = kNever;
    Time stored_due = kNever;
    std::string stored_ready;  // in whose set of ready runs it is
    Labels indexed;            // attributes by which it is found
    EventId stored_version = 0;
    std::optional<std::string> last_record;  // if written by this transaction
    std::set<std::string> new_blobs;  // digests of those that it holds since this transaction
    std::set<std::string> new_keys;
    std::map<std::string, std::string> new_answers;
    Time keys_before{};        // dedupe keys older than this are forgotten, …
    int64_t keys_kept = INT64_MAX;  // … and the oldest beyond so many
    bool no_timers = false;  // stored or written; else nobody knows
    bool note_end = false;
    bool dirty = false;
    bool erased = false;
  };

  RedisTables(const RedisKeys& keys, RedisRows& known, RedisWriter& writer)
      : keys_(keys), known_(known), writer_(writer) {}
  RedisTables(const RedisTables&) = delete;
  RedisTables& operator=(const RedisTables&) = delete;

  // ---- Around attempts
  void Begin();
  // What has to be sent; nothing: the transaction has happened, and changed nothing.
  std::optional<RedisStep> End();
  // Whether the step of End() reads, so that another attempt follows.
  bool wants_more() const { return !asked_.empty(); }
  // The step's checks held, and it read this.
  void AddAnswers(const RedisReply& replies);
  // They did not: everything read is out of date.
  void Forget();
  // The transaction has happened: what it knows is for the next one.
  void Keep();
  // The first damaged row; instead of the operations' replies.
  const Status& error() const { return error_; }

  // ---- What the operations of a store say and ask beyond the concepts
  // The workflow id is probably new.
  void GuessNoRun() { guess_no_run_ = guessing_; }
  // This run has probably ended: its last record is read together with its row.
  void GuessClosed(const RunKey& key);
  // What ScanDue, ActivitiesHeldBy and ReadyRunsOf find: entries of the indexes, of one run, which may be
  // out of date.
  void SetDue(std::vector<DueEntry> entries) { due_entries_ = std::move(entries); }
  void SetDueSessions(std::vector<SessionId> ids) { due_sessions_ = std::move(ids); }
  void SetHeld(std::vector<ActivityKey> activities, std::optional<RunKey> ready) {
    held_ = std::move(activities);
    ready_ = std::move(ready);
  }
  // Due sessions without a row: they have ended, but something they held may not have been released.
  const std::vector<SessionId>& ended_sessions() const { return ended_sessions_; }
  // Takes an entry out of its index.
  static void Drop(const RedisKeys& keys, const DueEntry& entry, RedisStep& step);
  // Whether the transaction makes this run.
  bool IsNew(const RunKey& run) const {
    const auto found = runs_.find(run);
    return found != runs_.end() && found->second.stamp.empty();
  }
  // Has the writer told when a run ends that the transaction makes, and leaves open. False: it does not.
  bool NoteEndOf(const RunKey& key);
  // Any further write of the transaction.
  RedisStep& writes() { return writes_; }

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
  Time EarliestDue() { return kNever; }

  bool HasSession(const std::string& id);
  void AddCanceled(const std::string& session, const ActivityKey& key);

  // ---- SessionTables
  SessionRow* FindSession(const std::string& id);
  void InsertSession(SessionRow row);
  void UpdateSession(SessionRow& row, Time due);
  void EraseSession(SessionRow& row);
  std::vector<ActivityKey> Canceled(const std::string& session, bool heard);
  std::vector<SessionId> ScanDueSessions(Time now, int limit);
  Time EarliestDueSession() { return kNever; }

 private:
  struct Item {
    ActivityRow row;
    std::string stamp;        // empty: not stored
    Time due = kNever;
    Time stored_due = kNever;
    std::string stored_holder;
    bool dirty = false;
    bool erased = false;
  };
  struct Answer {
    RedisReply reply;
    int64_t step = 0;  // which of the transaction's read it
  };
  struct Expectation {
    RedisStep::Check check;
    std::string key, field, value;
    friend auto operator<=>(const Expectation&, const Expectation&) = default;
  };

  // The reply to a read; null: it has been noted as wanted.
  template <class... Args>
  const Answer* Ask(std::string_view name, std::string_view key, const Args&... args);
  // `answer`: what told it; null: something older.
  void Expect(RedisStep::Check check, std::string key, std::string field, std::string value,
              const Answer* answer);
  void Fail(std::string_view what, const Status& status);
  Run* AddRun(const RunKey& key, Stamped<RunRow> stored, const Answer* answer);
  Run* BlankRun();
  Item* AddItem(const ActivityKey& key, Stamped<ActivityRow> stored, const Answer* answer);
  Item* FindItem(const ActivityKey& key);
  ActivityRow* BlankActivity();
  bool IsDue(const DueEntry& entry, Time now);

  void WriteRun(Run& run);
  static DueEntry Closed(const Run& run);
  void ReleaseBlobs(const Run& run);
  void IndexAttributes(Run& run, const Labels& attributes);
  void WriteItem(Item& item);
  void WriteDue(const std::string& index, const std::string& member, Time stored, Time due);
  void MoveMember(const std::string& member, const std::string& from, const std::string& to);

  const RedisKeys& keys_;
  RedisRows& known_;
  RedisWriter& writer_;

  // ---- Of the transaction
  std::map<std::string, Answer, std::less<>> answers_;  // by the bytes of the read
  std::set<Expectation> confirmed_;  // by the last step
  int64_t steps_ = 0;
  bool guessing_ = true;
  std::vector<DueEntry> due_entries_;
  std::vector<SessionId> due_sessions_;
  std::vector<ActivityKey> held_;
  std::optional<RunKey> ready_;

  // ---- Of the attempt
  Status error_;
  bool guess_no_run_ = false;
  RedisStep reads_, writes_;
  std::vector<std::string> asked_;  // the bytes of reads_
  std::map<Expectation, bool> expected_;  // true: covered by the last step
  std::map<RunKey, Run> runs_;
  std::map<ActivityKey, Item> items_;
  std::map<SessionId, std::optional<SessionRow>> sessions_;
  std::optional<std::string> newest_;
  std::vector<SessionId> ended_sessions_;
  // What is found where a row is not at hand yet.
  Run blank_run_;
  ActivityRow blank_activity_;
  SessionRow blank_session_;
};

static_assert(RunTables<RedisTables> && SessionTables<RedisTables>);

}  // namespace marathon::inline MARATHON_ABI::detail
