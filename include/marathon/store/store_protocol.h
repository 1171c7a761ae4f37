// StoreProtocol: what StateStore's operations mean, written once. An adapter brings the rows
// (Tables), runs one operation in one transaction, makes it durable, and then spreads the Effects.
//
//   MyTables tables(transaction);
//   Effects effects;
//   auto reply = StoreProtocol<MyTables>(tables, now, effects).Commit(std::move(commit));
//   … commit the transaction, answer with `reply`, hub.Publish(effects) …
//
// An operation checks everything before it writes anything: when it answers with an error, it has
// written nothing, and a transaction shared with other operations can go on.
//
// An object serves one operation of one transaction; its user holds whatever lock `tables` needs.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/store/effects.h"
#include "marathon/store/store_times.h"
#include "marathon/store_rows.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// One entry of the due index.
struct DueEntry {
  // kExcess: a closed run which is kept no longer, since the store keeps no more bytes of them.
  enum class What : uint8_t { kRun, kActivity, kTimer, kExcess };
  What what = What::kRun;
  RunKey run;
  EventId id = 0;  // of the activity or timer; kExcess: the adapter's
};

// Rows of runs and of what belongs to them, as one transaction sees them. A partitioned store gives
// the rows of one partition: a run, its activities and its timers always share it.
//
// Rows are found as pointers, which stay good until the row is erased or the transaction ends. The
// protocol changes a row in place and then calls Update…, which stores it and moves it in the
// indexes.
//
// Tables that can fail (a damaged row, an I/O error) remember their first error and answer as if
// nothing were there; the adapter then rolls back and answers with that error instead of the reply.
//
// `Run` is RunRow, or a type with fields of the same names. `due` is the instant for the due index,
// kNever for "not in it": it is not a function of the row alone, so it is kept beside it.
template <class T>
concept RunTables =
    requires(T t, typename T::Run& run, const typename T::Run& crun, ActivityRow& act,
             const RunKey& key, const std::string& text, EventId id, Time time,
             std::vector<std::string>& texts, std::vector<Message>& messages) {
      // ---- Runs. Newest: of a workflow id. InsertRun makes its run the newest of its id.
      { t.FindRun(key) } -> std::same_as<typename T::Run*>;
      { t.FindNewestRun(text) } -> std::same_as<typename T::Run*>;
      // Any run of (workflow id, request id), the newest if there are several; none once that is erased.
      { t.FindRunByRequest(text, text) } -> std::same_as<typename T::Run*>;
      { t.InsertRun(RunRow()) } -> std::same_as<typename T::Run&>;  // not stored until UpdateRun
      { t.UpdateRun(run, time) };                                   // (run, due)
      // The run and all that is left of it: records, messages, dedupe keys, and its id if it is the
      // newest. Of its blobs, those that no other run holds are kept for limits::kBlobGrace.
      { t.EraseRun(run) };
      { t.SetOwner(run, text) };  // run.owner = text
      { t.ToRow(crun) } -> std::same_as<RunRow>;
      // Runs that are ready (ready_since is not kNever) and have this owner, oldest first.
      { t.ReadyRunsOf(text) } -> std::same_as<std::vector<RunKey>>;

      // ---- Records: (version after it, commit id, bytes)
      { t.AppendRecord(run, id, CommitId(), std::string()) };
      { t.CommitAt(crun, id) } -> std::same_as<CommitId>;  // of the record that ends there; 0: none
      // Records after version `id`, at least one and else up to so many bytes; true: there are
      // more.
      { t.ReadRecords(crun, id, size_t(), texts) } -> std::same_as<bool>;
      { t.LastRecord(crun) } -> std::same_as<std::string>;  // empty: none

      // ---- Blobs: the run holds these, too. The same bytes are kept once, whoever holds them.
      { t.HoldBlobs(run, std::vector<NamedBlob>()) };

      // ---- Inbox. Append stores a message whose seq is assigned; Erase answers how many went.
      { t.AppendMessage(run, Message()) };
      // Those behind a seq, oldest first, up to so many, and no more than kTurnMaxBytes or so (but at
      // least one).
      { t.ReadInbox(crun, uint64_t(), int(), messages) };
      { t.EraseMessages(run, uint64_t()) } -> std::same_as<int64_t>;  // up to this seq

      // ---- Dedupe keys of a run, and what was answered to those of updates.
      { t.HasKey(crun, text) } -> std::same_as<bool>;
      { t.AddKey(run, text, time) };  // seen at `time`
      // Forget those before `time`, and the oldest beyond a count.
      { t.TrimKeys(run, time, size_t()) };
      { t.MoveKeys(run, run) };  // from one run of a workflow id to another, which has none
      // The key counts as seen at `time`; kNever: it is not trimmed.
      { t.SetAnswer(run, text, std::string(), time) };
      { t.AnswerTo(crun, text) } -> std::same_as<std::optional<std::string>>;
      // All answers that are the first text become the second, as of `time`.
      { t.ReplaceAnswers(run, text, text, time) };

      // ---- Activities
      { t.FindActivity(key, id) } -> std::same_as<ActivityRow*>;
      { t.InsertActivity(run, ActivityRow(), time) };  // (run, row, due)
      { t.UpdateActivity(act, time) };                 // (row, due)
      { t.EraseActivity(act) };
      { t.ActivitiesOf(crun) } -> std::same_as<std::vector<EventId>>;  // ascending
      // Activities in state kClaimed held by this session.
      { t.ActivitiesHeldBy(text) } -> std::same_as<std::vector<ActivityKey>>;

      // ---- Timers: (run, id, due)
      { t.InsertTimer(run, id, time) };
      { t.EraseTimer(run, id) } -> std::same_as<bool>;  // false: there was none
      { t.EraseTimers(run) };

      // ---- The due index of runs, activities and timers: those at or before `time`, soonest first
      // (equal instants in a fixed order), up to so many; and the soonest instant of all.
      { t.ScanDue(time, int()) } -> std::same_as<std::vector<DueEntry>>;
      { t.EarliestDue() } -> std::same_as<Time>;

      // ---- Sessions, as operations on runs need them.
      { t.HasSession(text) } -> std::same_as<bool>;
      // For the session's next renewal; nothing if there is no such session.
      { t.AddCanceled(text, ActivityKey()) };
    };

// Sessions. Where they are not in the same partition as runs, they are a transaction of their own:
// a session's row goes first, then what it held (SessionProtocol, then ReleaseHeld for each
// partition).
template <class T>
concept SessionTables = requires(T t, SessionRow& row, const std::string& id, Time time) {
  { t.FindSession(id) } -> std::same_as<SessionRow*>;
  { t.InsertSession(SessionRow()) };  // due at its expires_at, as after UpdateSession
  { t.UpdateSession(row, time) };     // (row, due)
  { t.EraseSession(row) };            // and its list of canceled activities
  // What AddCanceled put there, without that which an earlier call has answered, if that was `heard`.
  { t.Canceled(id, bool()) } -> std::same_as<std::vector<ActivityKey>>;
  { t.ScanDueSessions(time, int()) } -> std::same_as<std::vector<SessionId>>;
  { t.EarliestDueSession() } -> std::same_as<Time>;
};

template <class Tables>
class StoreProtocol {
 public:
  using Run = typename Tables::Run;

  StoreProtocol(Tables& tables, Time now, Effects& effects, StoreTimes times = {})
      : t_(tables), now_(now), effects_(effects), times_(times) {}

  // ---- Runs
  StatusOr<StartReply> Start(StartRequest&& request);
  StatusOr<PutReply> Put(PutRequest&& request);
  StatusOr<RunSnapshot> TakeTurn(const TakeTurnRequest& request);
  StatusOr<CommitReply> Commit(TurnCommit&& commit);
  Status Block(const RunKey& run, EventId version, BlockInfo&& info);
  Status Unblock(const RunKey& run);

  // ---- What operators do
  Status Pause(const RunKey& run, std::string&& reason);
  Status Resume(const RunKey& run);
  Status Pin(const RunKey& run, std::string&& build_id);
  Status RetryActivity(const ActivityKey& key);
  Status Delete(const RunKey& run);

  // ---- Activities
  // One claim; none if it is not claimable at that epoch. The caller has seen that `session` exists
  // (SessionKnown), under the same lock.
  std::optional<ActivityRow> Claim(const SessionId& session, const ClaimRequest& request);
  Status SessionKnown(const SessionId& session);
  StatusOr<AttemptReply> EndAttempt(AttemptEnd&& end);
  // Whether that attempt is still at work, as Transactions::End says it.
  Status CheckHeld(const ActivityKey& key, Epoch epoch);
  StatusOr<HeartbeatReply> Heartbeat(HeartbeatRequest&& request);

  // ---- Time. Adds to `reply` what is due in these tables, up to request.limit entries, and lowers
  // reply.next_due. Returns how many entries there were. Sessions: SessionProtocol::PollDue.
  int PollDue(const DueRequest& request, DueReply& reply);

  // What an ended session held in these tables. `died`: counts as a delivery (ExpireSession).
  void ReleaseHeld(const SessionId& session, bool died);

  // ---- Reading
  StatusOr<RunSnapshot> Read(const ReadRequest& request);
  // The answer of Await. None while there is none.
  StatusOr<std::optional<RunSnapshot>> ReadAwaited(const AwaitRequest& request);

 private:
  // Checks a commit, but for the run's own state, against the rows.
  Status CheckTurn(const TurnCommit& commit, int64_t pending_activities);
  void ApplyTurn(Run& run, TurnCommit&& commit);
  void ScheduleActivity(Run& run, NewActivity&& activity, const SessionId& session);
  void CancelActivity(Run& run, const CanceledActivity& canceled);
  // `goes_on`: its chain does.
  void Close(Run& run, RunStatus status, bool goes_on);
  void Owe(ActivityRow& row);
  std::vector<EventId> ActivitiesOf(const Run& run);
  // An activity of the run is gone.
  void Drop(Run& run, ActivityRow& activity);
  // What is owed of a run and of those before it in its chain.
  std::vector<ActivityKey> OpenChildren(const Run& run);
  // Makes the run that goes on where `run` is about to be closed, having taken messages up to `taken`.
  void Continue(Run& run, NextRun&& next, uint64_t taken);

  StatusOr<StartReply> StartedBefore(Run& run, StartRequest&& request);
  StatusOr<StartReply> StartedBySame(Run& run, StartRequest&& request);
  StartReply Answer(const Run& run, const SessionId& session, bool started) const;

  void SetAnswers(Run& run, const std::vector<UpdateAnswer>& answers);
  void SetAttributes(Run& run, const Labels& changes);
  StatusOr<std::optional<UpdateAnswer>> ReadAnswer(const Run& run, const AwaitRequest& request);

  // What follows event `after`, or that nothing will. None while that is open.
  std::optional<RunSnapshot> ReadEvents(const Run& run, EventId after);

  Run* FindRunOrNewest(const RunKey& key);
  // The run, or the one of its chain that goes on. The first run of a chain stands for it when it is no longer kept.
  Run* FindInChain(const RunKey& key);
  // The run that has gone on where `run` ended; `run` itself, if none has.
  Run* Follow(Run* run);
  void Append(Run& run, Message&& message);
  // Makes the run ready if it can be. Tells whether the session that offers itself is to take its turn.
  bool MakeReady(Run& run, const SessionId& offered);
  // Ends an activity with a message to its run.
  bool Resolve(Run& run, ActivityRow& activity, EventBody&& outcome, const SessionId& session);
  bool Rearm(ActivityRow& activity, AttemptEnd&& end);
  void MakeClaimable(ActivityRow& activity);

  void FireTimer(const DueEntry& entry, const SessionId& session, DueReply& reply);
  void ActivityIsDue(const DueEntry& entry, DueReply& reply);
  void RunIsDue(const DueEntry& entry, DueReply& reply);

  void Update(Run& run);
  void Update(ActivityRow& activity);
  void HintTurn(const Run& run, const SessionId& preferred);
  void HintActivity(const ActivityRow& activity);
  void TellCanceled(const ActivityRow& activity);

  Tables& t_;
  const Time now_;
  Effects& effects_;
  const StoreTimes times_;
};

template <class Tables>
class SessionProtocol {
 public:
  SessionProtocol(Tables& tables, Time now, Effects& effects)
      : t_(tables), now_(now), effects_(effects) {}

  StatusOr<Time> Open(SessionRow&& row);
  StatusOr<std::vector<ActivityKey>> Renew(const RenewRequest& request);
  // ReleaseHeld must follow, with died = false.
  Status Close(const SessionId& id);
  // ReleaseHeld must follow, with died = true. `force`: the store knows by other means (a free file
  // lock) that the session is dead, although its time has not passed.
  Status Expire(const SessionId& id, bool force = false);
  void PollDue(const DueRequest& request, DueReply& reply);

 private:
  Tables& t_;
  const Time now_;
  Effects& effects_;
};

}  // namespace marathon::inline MARATHON_ABI

#include "marathon/store/store_protocol_activities.h"
#include "marathon/store/store_protocol_chains.h"
#include "marathon/store/store_protocol_control.h"
#include "marathon/store/store_protocol_runs.h"
#include "marathon/store/store_protocol_time.h"
#include "marathon/store/store_protocol_turns.h"
#include "marathon/store/store_protocol_updates.h"
