// WorkflowCore: one run's code in motion. It holds the run's coroutines and what they wait for, turns
// inbound events into resumed coroutines and what those ask for into command events. It is pure: no
// port, clock, thread or I/O, and the same inbound events always give the same commands.
//
// Thread rule: one thread at a time.
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/detail/forks.h"
#include "marathon/detail/handlers.h"
#include "marathon/detail/operation.h"
#include "marathon/event.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/log_sink.h"
#include "marathon/status.h"
#include "marathon/workflow.h"

namespace marathon::inline MARATHON_ABI::detail {

struct IssuedCommand {
  Event event;
  std::source_location where;  // of the co_await
};

// Code and history disagree. Both sides, and where in the code.
struct Mismatch {
  EventId event_id = 0;
  std::string recorded;  // what history has there
  std::string issued;    // what the code did instead
  std::source_location where;

  std::string ToString() const;
};

// What the core needs to know about its run.
struct RunFacts {
  RunKey key;
  std::string workflow_type;
  std::string task_queue;
};

// A local activity that the worker is to run now.
struct LocalTask {
  EventId id = 0;  // of its LocalActivityStarted
  std::string activity_type;
  LocalCall call;
  bool canceled = false;  // before it began: that is its end
  int first_attempt = 1;  // of those that are made for this event
  int runs = 1;           // of this one in this worker: attempts, and those that were postponed
  Payload heartbeat{};    // of one that was postponed in this worker
};

class WorkflowCore final : private EndListener {
 public:
  explicit WorkflowCore(RunFacts facts);
  ~WorkflowCore();
  WorkflowCore(const WorkflowCore&) = delete;
  WorkflowCore& operator=(const WorkflowCore&) = delete;

  // ---- For the replayer

  const RunFacts& facts() const { return facts_; }
  // Makes `root` the run's code. Its coroutine starts with the next RunUntilBlocked.
  void Adopt(RootWorkflow root);
  // Ends the run with `closing`, without code: it could not be started.
  void CloseWith(EventBody closing);
  // Opens a turn: time stands still until the next.
  void BeginTurn(EventId marker_id, Time now, uint32_t behavior_flags = 0);
  // What the run's code may ask of its start.
  void SetStart(const WorkflowStarted& started);
  // Signals that nobody has received, in the order they came: they are no longer here then.
  std::vector<EventBody> TakeUnread();
  // Whether the code takes an update: it has a handler, whose validator has no objection. If not, the answer says
  // why, and the update is no event.
  bool Admits(const UpdateAccepted& update, Time now);
  // What has become of updates since the last call, for those who wait for them; nothing of a replay.
  std::vector<UpdateAnswer> TakeAnswers();
  // Takes one inbound event; false if what it answers is no longer pending (nothing happens then).
  // `id` is the event's place. RunUntilBlocked follows.
  bool Apply(EventId id, const EventBody& inbound);
  bool IsPending(const EventBody& inbound) const;
  // Local activities that the code has asked for since the last call, and those that it has canceled while they ran.
  // After a replay: those whose end history does not have.
  std::vector<LocalTask> TakeLocals();
  std::vector<EventId> TakeCanceledLocals();
  // Of these the code awaits the end.
  int locals_running() const { return locals_running_; }
  // Runs coroutines in creation order until all of them wait. What they ask for is then in issued().
  void RunUntilBlocked();
  PooledVector<IssuedCommand>& issued() { return issued_; }
  // While replaying, `recorded` is the history that follows the event last applied: side effects take
  // their values from it, and logs are silent.
  void SetReplay(bool replaying, std::span<const Event> recorded) {
    replaying_ = replaying;
    recorded_ = recorded;
  }
  bool replaying() const { return replaying_; }
  bool closed() const { return closed_; }
  bool has_code() const { return root_.handle != nullptr; }
  // Whether the turn is one that a fork has kept of another run.
  bool in_kept_turn() const { return !forks_.empty(); }
  EventId last_event_id() const { return last_id_; }
  std::optional<Mismatch>& mismatch() { return mismatch_; }
  void SetLog(Callback<void(LogLevel, std::string_view)> log) { log_ = std::move(log); }
  // Asks a query handler; what it throws is its answer's failure. The run's code must stand still.
  StatusOr<Payload> Query(std::string_view name, const Payload& input);
  // Has it asked once the run's code returns, while its locals live. To be called before it does.
  void QueryAtEnd(std::string name, Payload input);
  std::optional<StatusOr<Payload>>& answer_at_end() { return answer_at_end_; }

  // ---- For awaitables

  Branch* current_branch() const { return current_; }
  OperationRef ScheduleActivity(std::string_view type, Payload input, std::string_view task_queue,
                                ActivityPolicy policy, ActivityCancellation cancellation,
                                std::source_location where, Headers headers = {});
  // True if history says that this very call succeeded before, so that its input need not be encoded.
  bool NextIsScheduled(std::string_view type);
  OperationRef StartLocal(std::string_view type, LocalCall call, ActivityCancellation cancellation,
                          std::source_location where);
  OperationRef StartTimer(Duration duration, std::source_location where);
  OperationRef Receive(std::string_view signal);
  OperationRef Spawn(std::coroutine_handle<> root);
  // Cancels an activity, a timer, or a branch with all that it waits for. Nothing if it is done.
  void Cancel(Operation& operation, std::source_location where);
  // Ends the run, to go on in another one; empty texts and no timeout: as this one. Nothing resumes any more.
  void ContinueAsNew(WorkflowContinuedAsNew next, std::source_location where);
  void AddCondition(Condition* condition);
  void RemoveCondition(Condition* condition);
  // The recorded value of a side effect; null while live. Sets stalled() on a mismatch.
  const Payload* RecordedSideEffect(std::source_location where);
  void RecordSideEffect(Payload value, std::source_location where);
  // Which version of a change this run follows; issues it where it is new. A version that the code no
  // longer has is a mismatch.
  int32_t Version(std::string_view change, int32_t min, int32_t max, std::source_location where);
  // `changes` have been checked.
  void SetAttributes(Labels changes, std::source_location where);

  // ---- Cancellation scopes
  // Opens a scope inside the current branch's, or a shielded one, and makes it current.
  ScopeId OpenScope(bool shielded);
  // The scope that the current branch starts things in.
  ScopeId current_scope() const { return current_ == nullptr ? kRunScope : current_->scope; }
  void SetCurrentScope(ScopeId scope) {
    if (current_ != nullptr) current_->scope = scope;
  }
  bool IsCanceled(ScopeId scope) const { return scope < scopes_.size() && scopes_[scope].canceled; }
  // Cancels what was started in a scope and in those inside it.
  void CancelScope(ScopeId scope, std::source_location where);
  bool cancel_requested() const { return cancel_requested_; }
  const std::string& cancel_reason() const { return cancel_reason_; }

  // ---- Handlers. A name has one at a time: the last registered. Answers what to remove it by.
  uint64_t SetHandler(std::string_view signal, SignalHandler handler);
  uint64_t SetHandler(std::string_view query, QueryHandler handler);
  uint64_t SetHandler(std::string_view update, UpdateHandler handler);
  void RemoveHandler(uint64_t registration);
  int handlers_running() const { return handlers_running_; }

  // After a mismatch nothing resumes any more: the frame waits to be destroyed.
  bool stalled() const { return mismatch_.has_value(); }

  Time now() const { return now_; }
  bool continue_as_new_suggested() const { return continue_as_new_suggested_; }
  const Id& first_run_id() const { return first_run_id_.empty() ? facts_.key.run_id : first_run_id_; }
  int attempt() const { return attempt_; }
  uint8_t priority() const { return priority_; }
  Duration run_timeout() const { return run_timeout_; }
  const std::optional<ActivityKey>& parent() const { return parent_; }
  const RunLabels& labels() const { return labels_; }
  uint64_t NextRandom();
  void Log(LogLevel level, std::string_view message);

 private:
  void Issue(EventBody body, std::source_location where);
  void PassVersions();
  void CheckMayAct() const;
  OperationRef NewOperation(Operation::Kind kind);
  void Complete(Operation& operation);
  void ResolveCanceled(Operation& operation);
  void Deliver(Operation& operation, const EventBody& outcome);
  void BeginLocal(Operation& operation, std::source_location where);
  bool IsEndOfLocal(Operation& operation, const EventBody& inbound);
  void CancelLocal(Operation& operation, std::source_location where);
  void DeliverSignal(EventId id, const SignalReceived& signal);
  OperationRef AddBranch(std::coroutine_handle<> root, bool shielded);
  void CallHandler(const SignalHandler& handler, const Payload& value);
  void BeginUpdate(EventId id, const UpdateAccepted& update);
  void EndUpdate(const Branch& branch);
  void Answer(std::string_view update_id, EventBody body);
  void EndRun(EventBody closing);
  void EndWithRoot();
  void OnEnd() override;
  void Enqueue(Branch& branch);
  Branch* NextRunnable();
  bool WakeConditions();
  void AfterRunning(Branch& branch);
  void RunNow(Branch& branch);

  RunFacts facts_;
  RootWorkflow root_;
  bool closed_ = false;
  Id first_run_id_;
  int attempt_ = 1;
  uint8_t priority_ = limits::kDefaultPriority;
  Duration run_timeout_{0};
  std::optional<ActivityKey> parent_;
  RunLabels labels_;
  Time now_{};
  bool continue_as_new_suggested_ = false;
  EventId last_id_ = 0;
  uint64_t done_count_ = 0;
  uint64_t random_state_;
  std::vector<KeptTurns> forks_;  // whose turns these are, and those after them; empty: its own
  PooledVector<IssuedCommand> issued_;
  bool replaying_ = false;
  std::span<const Event> recorded_;
  std::optional<Mismatch> mismatch_;

  PooledVector<std::unique_ptr<Branch>> branches_;  // by number; null once over
  PooledVector<Branch*> runnable_;                  // a heap, lowest number first
  Branch* current_ = nullptr;
  PooledMap<EventId, OperationRef> pending_;  // activities and timers
  std::vector<OperationRef> locals_to_begin_;
  std::vector<EventId> canceled_locals_;
  int locals_running_ = 0;
  int locals_started_ = 0;
  std::vector<Condition*> conditions_;
  std::vector<Scope> scopes_;  // by id; empty while nothing was canceled and no scope opened
  bool cancel_requested_ = false;
  std::string cancel_reason_;
  std::map<std::string, int32_t, std::less<>> versions_;  // of changes that the code has asked for

  struct UnreadSignal {
    EventId id = 0;
    Payload input;
    Headers headers;
  };
  struct Signal {
    std::deque<UnreadSignal> unread;
    std::deque<OperationRef> receivers;
    std::shared_ptr<const SignalHandler> handler;
    uint64_t registration = 0;
  };
  std::map<std::string, Signal, std::less<>> signals_;
  struct Answerer {
    QueryHandler handler;
    uint64_t registration = 0;
  };
  std::map<std::string, Answerer, std::less<>> queries_;
  struct Updater {
    std::shared_ptr<const UpdateHandler> handler;
    uint64_t registration = 0;
  };
  std::map<std::string, Updater, std::less<>> updates_;
  std::vector<UpdateAnswer> answers_;
  uint64_t registrations_ = 0;
  int handlers_running_ = 0;
  std::exception_ptr handler_failure_;  // of one that ran inside other code
  bool querying_ = false;
  std::optional<std::pair<std::string, Payload>> at_end_;
  std::optional<StatusOr<Payload>> answer_at_end_;
  Callback<void(LogLevel, std::string_view)> log_;
};

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/detail/workflow_core-inl.h"
#endif
