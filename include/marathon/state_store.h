// StateStore keeps runs: their histories, inboxes, pending activities, timers and leases. The engine
// reaches everything durable through this one port.
//
// Thread rule: safe to call from any thread. Every call is asynchronous: it takes a request, returns at
// once or after doing the work, and reports through `done`, once, on any thread, holding no lock.
// A store may hold a call back for company (group commit), but never for longer than its own write takes.
//
// Every write is atomic, names the state it expects, and ends in one of:
//   OK             done, and as durable as the store's settings promise
//   kUnavailable   not done, certainly: the caller may send the same request again
//   kUnknown       perhaps done: the caller looks (commit ids, epochs, dedupe keys) before it repeats
//   kAborted       the expected state is gone: somebody else was first
// and, where said, other codes. Damaged rows give kDataLoss; a full disk kResourceExhausted.
//
// Time is the store's own clock. What falls due by it is found through one index, so an idle store
// costs the same with no sleepers and with a million.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/callback.h"
#include "marathon/client_requests.h"
#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/labels.h"
#include "marathon/store_rows.h"
#include "marathon/task_queue.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// ---- Turns -------------------------------------------------------------------------------------

// A new pending activity, at UnclaimedEpoch of its commit. `claim`: the committing session starts it at once,
// at the epoch after that. `owed`: see Owed; a closing commit may have such ones only.
struct NewActivity {
  EventId id = 0;
  std::string activity_type;
  std::string task_queue;
  Payload input;
  Headers headers;
  ActivityPolicy policy;
  bool claim = false;
  bool owed = false;
};

// An activity that is canceled: if nobody runs it, it is gone, else its worker is told. `answer`: its end comes
// to the inbox in both cases. One that is owed is not gone: it is claimable again, if it was detached.
struct CanceledActivity {
  EventId id = 0;
  bool answer = false;
};

struct NewTimer {
  EventId id = 0;
  Duration duration{0};  // from the store's time of this commit
};

// An activity whose outcome its worker hands to its own turn: the row goes with this commit, without a
// stop in the inbox. The commit is kAborted if the row is gone or claimed anew since.
struct HandedOver {
  EventId id = 0;
  Epoch epoch = 0;
};

// The run that goes on where a commit closes another: under the same workflow and request id. It gets `messages`,
// then what waits in the closed run's inbox for the workflow (IsForWorkflow), its labels, and its dedupe keys and
// answers. Updates that are accepted and not completed are answered as failed: kUnfinishedUpdate.
struct NextRun {
  Id run_id;
  std::string workflow_type;
  std::string task_queue;
  Duration run_timeout{0};        // from its first turn on; 0: none
  Duration delay{0};              // until its first turn
  std::vector<Message> messages;  // WorkflowStarted first
  SessionId session;              // offers to take its turns; empty: no
  bool keeps_pin = false;         // pinned as the closed run is; else not
};

// One turn of one run, all or nothing, if the run is open, not blocked, paused or pinned to another build (but for a
// commit from outside), and at `expected_version`, and the store has lost nothing since `incarnation`.
struct TurnCommit {
  RunKey run;
  EventId expected_version = 0;
  CommitId expected_commit = 0;  // the last one, which may have written no event; 0: any
  uint64_t incarnation = 0;  // of the snapshot that the turn rests on; 0: none
  CommitId commit_id = 0;
  SessionId session;  // becomes the run's owner; empty: a commit from outside (terminate, run timeout)
  Id build_id = {};   // of the committing worker
  bool pin = false;   // pins the run to that build

  EventId new_version = 0;  // equal to expected_version when no event is written
  std::string record;       // EncodeRecord of the turn's events; empty when there are none
  // What payloads of `record` and of `activities` name (Encoding::kBlob), each once. The run holds them from this commit
  // on, whatever else holds them, and as long as it is kept. Only where keeps_blobs().
  std::vector<NamedBlob> blobs;
  int64_t history_bytes = 0;  // what the record counts for: its size with all payloads in it. 0: its size
  uint64_t inbox_taken = 0; // messages up to this sequence number are consumed
  std::vector<HandedOver> handed_over;

  std::vector<NewActivity> activities;
  std::vector<CanceledActivity> cancel_activities;
  std::vector<NewTimer> timers;
  std::vector<EventId> cancel_timers;

  std::vector<UpdateAnswer> answers;  // what Await tells of updates from now on
  Labels attributes;  // changes of the run's, in order: an empty text takes one away

  // Ends the run: its timers, pending activities (see Owed) and remaining messages go. Refused with
  // kFailedPrecondition while a signal newer than `inbox_taken` waits, unless `leave_signals` or `next`.
  std::optional<RunStatus> close;
  bool leave_signals = false;
  std::optional<NextRun> next;  // only with `close`
};

struct CommitReply {
  Time now{};
  int64_t inbox_size = 0;  // messages that remain: the run is still ready
};

// A run as a turn needs it.
struct RunSnapshot {
  RunRow row;
  std::vector<std::string> records;     // of history, oldest first
  bool more_records = false;            // the page was full: ask again after the last one
  std::vector<Message> inbox;           // oldest first, at most limits::kTurnMaxMessages
  std::vector<ActivityRow> activities;  // where asked for
  std::optional<UpdateAnswer> answer;   // of Await, to an update
  Time now{};
  // A store whose server may lose its last writes counts here how often it may have: whatever a turn has
  // seen in an earlier one, messages too, may be gone. 0: it never does.
  uint64_t incarnation = 0;
};

struct TakeTurnRequest {
  RunKey run;
  SessionId session;
  // What the caller has in its cache; the reply's records are those after it. If the stored commit is
  // another one than `known_commit` at that version, all records are sent, from the first.
  EventId known_version = 0;
  CommitId known_commit = 0;
  // The caller is in the middle of a turn that takes its time: others are to leave it to him for a while. The reply
  // has the row and nothing else.
  bool keep = false;
  Id build_id = {};  // the caller's
};

// ---- Starting and messages ---------------------------------------------------------------------

struct StartRequest {
  RunKey run;  // both ids are the caller's proposal
  std::string workflow_type;
  std::string task_queue;
  // The same one again answers with the same run, which gets those of `messages` whose dedupe keys it does not know. If it
  // is closed and there are such: kFailedPrecondition.
  Id request_id;
  IdReusePolicy reuse = IdReusePolicy::kAllowDuplicate;
  IdConflictPolicy conflict = IdConflictPolicy::kFail;
  Duration run_timeout{0};        // from its first turn on; 0: none
  Duration delay{0};              // until its first turn, which is then not the caller's to take
  std::vector<Message> messages;  // WorkflowStarted first; then signals, which an existing run gets too
  SessionId session;              // the worker that will take its turns; empty: any
  RunLabels labels;               // as they were before its first turn
  // The run's first turn, if the caller has already taken it: `messages` are then in its record, and
  // none is stored. Dropped when an existing run answers.
  std::optional<TurnCommit> first_turn;
  std::vector<Message> inbox;  // only with `first_turn`, which has not taken them. Dropped likewise
};

struct StartReply {
  RunKey run;
  bool started = false;  // false: an existing run answers
  bool mine = false;     // ready, and `session` owns it: nobody else is told
  Time now{};
  uint64_t incarnation = 0;  // as in PutReply
};

struct PutRequest {
  RunKey run;  // an empty run_id means the workflow id's newest run
  Message message;
  SessionId session;  // offers to take the turn; empty: no
};

struct PutReply {
  RunKey run;
  bool mine = false;       // `session` owns the run: it takes the turn, nobody else is told
  bool duplicate = false;  // the dedupe key is known: nothing was written
  // Of the store that has it (RunSnapshot); 0, too: it says nothing of other runs.
  uint64_t incarnation = 0;
};

// ---- Activities --------------------------------------------------------------------------------

struct ClaimRequest {
  ActivityKey key;
  Epoch epoch = 0;  // as the hint says; the claim raises it by one
};

// How one delivery of an activity ended.
struct AttemptEnd {
  enum class Kind : uint8_t {
    kFinal,     // `outcome` goes to the inbox, the row goes
    kRetry,     // the next attempt is claimable after `delay`; `failure` is kept
    kGiveBack,  // claimable again after `delay`, as if never delivered; `failure`, if there is one, is kept
    kDetach,    // completes later, from anywhere; keeps its deadlines, needs no session. One that is owed
                // is claimable again if its run has ended, or it is canceled and not `cancel_told`
    kDead,      // its workers have died too often: held until RetryActivity; `failure` is kept
  };
  ActivityKey key;
  Epoch epoch = 0;  // kFinal: or kAnyEpoch
  // kRetry: the attempt that has ended; kAborted if the row is at another, since a store that went back in time gives
  // epochs once more. 0: the attempt that the row is at.
  int attempt = 0;
  Kind kind = Kind::kFinal;
  EventBody outcome;  // kFinal: ActivityCompleted or ActivityFailed; of attempt 0: of the attempt that the row is at
  std::optional<Failure> failure;
  Duration delay{0};
  Payload heartbeat;  // kGiveBack: what the next delivery finds as the last one; empty: as it was
  SessionId session;  // offers to take the run's next turn; empty: no
  bool cancel_told = false;
  // Of a store that has what the outcome speaks of; with kAnyEpoch, of the run that tells of its end. 0: it speaks of none.
  uint64_t incarnation = 0;
};

struct AttemptReply {
  bool applied = false;  // false: the row was gone already, as after a lost reply. Not an error
  bool mine = false;     // as in PutReply
  // PlaceKeyOf the row, unless it was gone or goes on elsewhere (kDetach): the place is to be left for it.
  std::string place = {};
};

struct HeartbeatRequest {
  ActivityKey key;
  Epoch epoch = 0;
  Payload details;
};

struct HeartbeatReply {
  bool cancel_requested = false;
};

// ---- Sessions ----------------------------------------------------------------------------------

struct RenewRequest {
  SessionId session;
  Duration lease{30'000};  // the session, and every lease that it holds, lasts so long from now
  uint64_t serial = 0;     // counts the session's renewals, from 1: an overtaken one changes nothing
  // The answer to the renewal before this one has arrived: what it told need not be told again.
  bool heard = false;
};

// ---- Time --------------------------------------------------------------------------------------

struct DueRequest {
  SessionId session;  // who asks: its own runs come back in `ready`
  int limit = 1000;
};

// What had fallen due. Timers have been fired, retries made claimable and stale hints published again
// by the call; the rest is the caller's to act on, and comes up again in a while if it does not.
struct DueReply {
  Time now{};
  Time next_due = kNever;          // of what remains
  std::vector<RunKey> ready;       // made ready, and `session` owns them
  std::vector<ActivityRow> expired_activities;  // past the deadline that NextDue names
  std::vector<RunRow> expired_runs;             // past their run_deadline
  std::vector<ClaimRequest> claimable;          // built-in activities, for the caller to claim
  std::vector<SessionId> expired_sessions;      // to be ended by ExpireSession
};

// ---- Reading -----------------------------------------------------------------------------------

struct ReadRequest {
  RunKey run;  // an empty run_id means the workflow id's newest run
  bool records = false;
  EventId after_version = 0;          // records after this event
  size_t max_record_bytes = 4 << 20;  // at least one record is sent
  bool inbox = false;
  bool activities = false;
};

// What is waited for: the end of a run or, sooner, of an update that it has been sent, or an event of its history.
struct AwaitRequest {
  RunKey run;                  // an empty run_id means the workflow id's newest run
  std::string update_id = {};  // its message has the dedupe key UpdateKey(update_id). Empty: none
  UpdateStage stage = UpdateStage::kCompleted;
  std::optional<EventId> after = {};  // one behind this; without an update

  friend auto operator<=>(const AwaitRequest&, const AwaitRequest&) = default;
};

// Unlike all request ids of users, so that an update and a signal may have the same.
inline std::string UpdateKey(std::string_view update_id) { return "update\n" + std::string(update_id); }

// ---- The port ----------------------------------------------------------------------------------

// An activity in the hands of a session.
struct HeldActivity {
  ActivityKey key;
  Epoch epoch = 0;
};

// Told, from any thread and holding no lock, what changed in the store. Must return quickly.
class StoreWatcher {
 public:
  virtual ~StoreWatcher() = default;
  // Something now falls due at `at`, sooner than all that was due so far.
  virtual void OnDue(Time at) = 0;
  // Activities that this watcher's session holds were cancelled, or their runs ended.
  virtual void OnActivitiesCanceled(const std::vector<ActivityKey>& keys) = 0;
  // A new incarnation of the store (RunSnapshot) has begun. `held`: all that this watcher's session holds in
  // it. What of that has ended, as far as is known here, has not any more, and nobody works on it.
  virtual void OnReturned(std::vector<HeldActivity> held) { static_cast<void>(held); }
};

class StateStore {
 public:
  virtual ~StateStore() = default;

  // Names the transactional world this store lives in ("sqlite:/data/app.db"). A TaskQueue of the same
  // domain is fed by the store itself, in the same transaction.
  virtual std::string_view domain() const = 0;

  // Gives the store a queue of another domain for its hints, instead of its own: it hands each to
  // outlet->Send once, when the write that made it is durable (store first, queue second), and waits for
  // nothing: no write fails or takes longer because of the outlet. What is lost in between, by a crash or by
  // the outlet, PollDue publishes again after limits::kResendFirst. To be called once, before the store is
  // used; OpenPorts and JoinPorts (store/open_ports.h) do. kUnimplemented: it feeds only its own queue.
  virtual Status SetOutlet(std::shared_ptr<TaskQueue> outlet) {
    static_cast<void>(outlet);
    return Unimplemented("this store feeds only a queue of its own domain");
  }
  // The domain of the queue that gets this store's hints: its own or the outlet's.
  virtual std::string_view hint_domain() const { return domain(); }

  // The store's clock, as well as it can be told without asking the server.
  virtual Time Now() const = 0;

  // ---- Sessions
  // Begins a session that lasts for `row.lease`, and longer by renewal. `watcher` is told of changes
  // until the session is closed or expired; it must outlive that. kAlreadyExists: the id is taken.
  virtual void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) = 0;
  // Sets the end of the session's lease: a short one while it holds activities, a long one while it rests.
  // Answers with its activities that were canceled, or whose runs ended, and that it has not heard of.
  // kFailedPrecondition: the session has expired; its activities and runs may be in other hands.
  // kAborted: a renewal with a higher serial, or this one, has been here before.
  virtual void RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) = 0;
  // Ends a session: gives back what it holds, counted neither as attempt nor as delivery.
  virtual void CloseSession(SessionId session, DoneStatus done) = 0;
  // Ends a session that stopped renewing (or whose file lock is free): what it held is claimable again,
  // with one delivery more; its ready runs are published. A session that renewed meanwhile: kAborted.
  virtual void ExpireSession(SessionId session, DoneStatus done) = 0;

  // ---- Runs
  // kAlreadyExists: the id policies forbid it; the message names the run in the way.
  virtual void Start(StartRequest request, Done<StartReply> done) = 0;
  // To a closed run that another one followed: the chain's newest run gets it.
  // kNotFound; kFailedPrecondition: the run is closed; kResourceExhausted: its inbox is full.
  virtual void Put(PutRequest request, Done<PutReply> done) = 0;
  // The run as its next turn needs it. The owner takes its turns without a write; anyone else becomes the
  // owner by this call, with one delivery more. kAborted: another owner's time has not passed.
  // kFailedPrecondition: closed, blocked, paused, or pinned to another build. kNotFound.
  virtual void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) = 0;
  // kAborted: another version, last commit or incarnation, closed, blocked, paused, pinned to another build, or a
  // handed-over activity is not the caller's any more.
  // kFailedPrecondition: a signal came before the close. kOutOfRange: the run would go over a limit of
  // limits.h.
  virtual void Commit(TurnCommit commit, Done<CommitReply> done) = 0;
  // Stops an open run's turns at `version` until Unblock. With any `info.retry_at` but kNever it is given
  // back instead: it has no owner, this delivery does not count, and it is ready for anyone after
  // kGiveBackFirst, doubling with each time since the last commit. kAborted: another version, or pinned to another build than
  // `info.build_id`.
  virtual void Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) = 0;
  // Lets a blocked run try again, with its deliveries forgotten; it is ready if its inbox is not empty.
  // OK if it was not blocked.
  virtual void Unblock(RunKey run, DoneStatus done) = 0;

  // ---- What operators do
  // Has an open run rest until Resume: it takes no turns, and no attempts of its activities begin but of those that
  // are built in. What runs goes on; its outcome, timers that fire and all messages wait in the inbox. Deadlines
  // pass, but for schedule-to-start. To a closed run that another one followed: the chain's newest run is paused;
  // the run that follows a paused one is paused, too. OK if it is paused already: its reason stays.
  // kNotFound; kFailedPrecondition: closed.
  virtual void Pause(RunKey run, std::string reason, DoneStatus done) = 0;
  // Ends that: the run is ready if its inbox is not empty, and its activities are claimable. OK if it was not
  // paused. kNotFound.
  virtual void Resume(RunKey run, DoneStatus done) = 0;
  // Has an open run's turns taken by workers of one build, and no others, from now on; empty: by any. It has no owner,
  // is not blocked any more, and ready for them if its inbox is not empty. To a closed run that another one followed:
  // the chain's newest run. OK if it is so already, and nothing changes. kNotFound; kFailedPrecondition: closed.
  virtual void Pin(RunKey run, std::string build_id, DoneStatus done) = 0;
  // An activity that waits for its next attempt is claimable at once, and so is one that is dead, with its
  // deliveries forgotten. OK if it is claimable or at work already. kNotFound: nothing such is pending.
  virtual void RetryActivity(ActivityKey key, DoneStatus done) = 0;
  // Erases a closed run with all that is left of it, and its workflow id if that names this run: at once, or, if
  // it owes something (Owed), with the last of that. kNotFound; kFailedPrecondition: it is open,
  // or the run that its chain has come to.
  virtual void Delete(RunKey run, DoneStatus done) = 0;

  // ---- Activities
  // Claims each one that is claimable at its epoch; the reply holds the rows won, in order.
  virtual void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                               Done<std::vector<ActivityRow>> done) = 0;
  // kAborted: a newer epoch has it. kFailedPrecondition: the store may have lost something since `incarnation`.
  virtual void EndAttempt(AttemptEnd end, Done<AttemptReply> done) = 0;
  // kAborted: a newer epoch has it. kNotFound: it is resolved, or its run has ended: stop.
  virtual void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) = 0;

  // ---- Time
  virtual void PollDue(DueRequest request, Done<DueReply> done) = 0;

  // ---- Blobs that runs hold, so that large payloads stand beside the histories that name them
  // Whether it keeps them.
  virtual bool keeps_blobs() const { return false; }
  // Bytes that runs of this workflow id hold, or held until limits::kBlobGrace ago, in order. kNotFound names the first
  // that is not there; kDataLoss the first whose bytes do not match; kInvalidArgument: a ref is none.
  virtual void ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) {
    static_cast<void>(workflow_id), static_cast<void>(refs);
    done(Unimplemented("this store keeps no blobs for runs"));
  }

  // ---- Reading
  // kNotFound.
  virtual void Read(ReadRequest request, Done<RunSnapshot> done) = 0;
  virtual void List(ListRequest request, Done<ListReply> done) = 0;
  // Answers when the run is closed, with its row and its last record; and with what the update was answered, once it
  // has come to its stage or to its end, if it has. Who awaits an event is told, as soon as there is one, or of the
  // end, what Read would tell of the records behind it. Returns a name for CancelAwait, after which `done` is
  // destroyed uncalled, or is being called. kNotFound: no such run, or the open run knows of no such update.
  virtual uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) = 0;
  uint64_t AwaitClose(RunKey run, Done<RunSnapshot> done) {
    return Await(AwaitRequest{std::move(run)}, std::move(done));
  }
  virtual void CancelAwait(uint64_t name) = 0;
};

}  // namespace marathon::inline MARATHON_ABI
