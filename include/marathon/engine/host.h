// Host: one worker process. It owns a session, takes turns of runs, runs activities, and serves the
// client's calls, all over the ports it is given and without a thread or a clock of its own. Engine is
// the blocking face of it; the simulator drives many in one thread.
//
// Thread rule: safe to call from any thread. Callbacks come on the runtime's turn lane or inside the call.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/backend.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/engine/activity_runner.h"
#include "marathon/engine/due_keeper.h"
#include "marathon/engine/fork_plan.h"
#include "marathon/engine/local_activities.h"
#include "marathon/engine/place_keeper.h"
#include "marathon/engine/sealing_store.h"
#include "marathon/engine/session_keeper.h"
#include "marathon/engine/turn_runner.h"
#include "marathon/options.h"
#include "marathon/registry.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI {

// What the start of a child says besides.
struct ChildStart {
  Id run_id;
  ActivityKey parent;       // its activity there
  StoredRetryPolicy retry;  // of the child's chain; one attempt: none
  bool again = false;       // it may have been started before: its first turn is not taken here
};

struct StartCall {
  std::string workflow_type;
  Payload input;
  StartOptions options;
  // Signals and updates that the run gets right after its start, or at once if it is there already.
  std::vector<Message> signals;
  bool any_type = false;  // the workflow may be one that only other workers have
  std::optional<ChildStart> child = {};
  // The run is a fork: `input`, and what of `options` is in its start, are the plan's.
  std::shared_ptr<const ForkPlan> fork = {};
};

// Events that were awaited, of a run that has ended with them or may go on.
struct RunEvents {
  RunKey run;
  History events;
  bool ended = false;
  std::optional<RunKey> next = {};  // once it has ended: the one of its chain that goes on, if one does
};

// How a run ended: the event that closed it, and the run of its chain that goes on, if one does. Or, without
// these, what was answered to an update, or events.
struct RunEnd {
  EventBody closing;
  std::optional<RunKey> next = {};
  std::optional<EventBody> answer = {};
  std::optional<RunEvents> events = {};
};

class Host : public StoreWatcher, public std::enable_shared_from_this<Host> {
 public:
  // `registry` must be free of mistakes; `runtime` must outlive the host.
  static std::shared_ptr<Host> Create(Runtime& runtime, Ports ports,
                                      std::shared_ptr<const Registry> registry,
                                      EngineOptions options);
  // Destroying a host that has not been shut down is a crash, as others see it: what it held is freed
  // when its lease ends.
  ~Host() override = default;

  // Opens the session and begins to take work.
  void Open(DoneStatus done);
  // Stops taking work, lets running turns end, fires the stop tokens, waits for activities, gives
  // back what is left, and answers. Calls that wait for a run's end fail with kCancelled.
  void Shutdown(DoneStatus done);
  // Forgets everything at once without a word to the store, as SIGKILL would. For the simulator.
  void Abandon();

  // ---- The client's calls. Transient errors of the store are retried inside.
  void Start(StartCall&& call, Done<StartReply> done);
  // Starts a run that begins with turns of another.
  void Fork(RunKey run, ForkOptions options, Done<StartReply> done);
  void Signal(RunKey run, std::string name, Payload input, SignalOptions options, DoneStatus done);
  void Cancel(RunKey run, std::string reason, DoneStatus done);
  // Sends an update, under `options.update_id`, which must not be empty; gives the run that has it. What becomes of
  // it, Await tells.
  void Update(RunKey run, std::string name, Payload input, UpdateOptions options, Done<RunKey> done);
  static Message UpdateMessage(std::string name, Payload input, UpdateOptions options);
  static Status CheckUpdate(const std::string& name, const Payload& input, const UpdateOptions& options);
  // Any message for a workflow; gives the run that has it. Its dedupe key is made up if it has none.
  void PutMessage(RunKey run, Message message, Done<PutReply> done);
  // Asks a run's query handler, by replay, once the messages that wait for the run have had a turn or `patience`
  // has passed.
  void Query(RunKey run, std::string name, Payload input, Duration patience, Done<QueryReply> done);
  void Terminate(RunKey run, std::string reason, DoneStatus done);
  // One of the store's calls for operators, which all may be repeated. `may_be_gone`: what it is about, once it is done.
  using StoreCall = std::function<void(StateStore&, const RunKey&, DoneStatus)>;
  void Operate(RunKey run, StoreCall call, DoneStatus done, bool may_be_gone = false);
  void Pause(RunKey run, std::string reason, DoneStatus done);
  void Pin(RunKey run, std::string build_id, DoneStatus done);  // empty: to none
  // Ends a run that its run timeout has overtaken, without its code. Its retry policy may have it go on.
  void TimeOut(RunKey run, DoneStatus done);
  uint64_t Await(AwaitRequest request, Done<RunEnd> done);
  uint64_t AwaitEnd(RunKey run, Done<RunEnd> done) {
    return Await(AwaitRequest{std::move(run)}, std::move(done));
  }
  void CancelAwait(uint64_t name) { store().CancelAwait(name); }
  // Of a run whose end is awaited and which is no longer kept: if it was the first of a chain, `next` is where that is now.
  // `missing` otherwise; a transient error of the store's.
  void FindChainOf(RunKey first, Status missing, Done<RunEnd> done);
  void CompleteActivity(std::string_view token, EventBody outcome, DoneStatus done);

  // ---- StoreWatcher
  void OnDue(Time at) override;
  void OnActivitiesCanceled(const std::vector<ActivityKey>& keys) override;
  void OnReturned(std::vector<HeldActivity> held) override;

  // ---- What the parts share
  Runtime& runtime() { return runtime_; }
  StateStore& store() { return *store_; }
  const PayloadSealer& sealer() const { return *sealer_; }
  TaskQueue& queue() { return *queue_; }
  BlobStore& blobs() { return *blobs_; }
  StreamLog& streams() { return *streams_; }
  Limiter& limiter() { return *limiter_; }
  Transactions* transactions() { return transactions_.get(); }  // null: the store has none
  const Registry& registry() const { return *registry_; }
  const EngineOptions& options() const { return options_; }
  // Whether the run is for this build.
  bool IsOurs(const RunRow& run) const { return !run.pinned || *run.pinned == options_.build_id; }
  detail::TurnRunner& turns() { return turns_; }
  detail::ActivityRunner& activities() { return activities_; }
  detail::LocalActivities& locals() { return locals_; }
  detail::PlaceKeeper& places() { return places_; }
  detail::SessionKeeper& session() { return session_; }
  std::shared_ptr<Host> Self() { return shared_from_this(); }
  // Whether it takes turns or runs activities: a client does neither, and leaves what falls due to others.
  bool works() const { return registry_->has_workflows() || registry_->has_activities(); }
  bool stopping() const { return stopping_.load(); }
  // The shutdown has come to its end: nothing is begun any more.
  bool finished();
  bool abandoned() const { return abandoned_.load(); }

  void Log(LogLevel level, std::string_view message) { options_.log->Log(level, message); }
  // Calls `work` after a wait that grows with `failures` (in a row): 20 ms to 5 s, with jitter.
  void AfterBackoff(int failures, Callback<void()> work);
  // The text of a UUID of version 7 (RFC 9562): sortable by the millisecond it was made in.
  Id NewId();
  SessionId NewSessionId();
  detail::DueKeeper& due() { return due_; }
  // What a commit says of the run that goes on, and the news that there is one.
  NextRun NextRunOf(const NextStart& next);
  void WakeNext(const Id& workflow_id, const NextStart& next);
  // Asks the queue for turns and activities to do.
  void BeginReceiving();
  // Shutdown is over once no turn and no activity runs.
  void TryFinishShutdown();

 private:
  Host(Runtime& runtime, Ports ports, std::shared_ptr<const Registry> registry, EngineOptions options);

  struct StartState;
  static Status CheckStart(const StartState& state, const StartCall& call);
  void SendStart(std::shared_ptr<StartState> state);
  void OnStarted(std::shared_ptr<StartState> state, StatusOr<StartReply> reply);
  WorkflowStarted StartedOf(StartCall& call, const std::string& task_queue) const;
  struct ForkState;
  void ReadToFork(std::shared_ptr<ForkState> state);
  void StartFork(ForkState& state);
  struct PutState;
  void SendPut(std::shared_ptr<PutState> state);
  struct QueryState;
  void ReadForQuery(std::shared_ptr<QueryState> state);
  static bool FollowForQuery(QueryState& state, const RunRow& row);
  StatusOr<QueryReply> AskByReplay(const QueryState& query);
  static Status CheckReason(std::string_view reason);
  struct OperateState;
  void SendOperation(std::shared_ptr<OperateState> state);
  void OnOperated(const std::shared_ptr<OperateState>& state, Status status);
  struct CloseState;
  // Ends a run without its code; signals that it has not read are recorded first, or go on with its chain.
  void CloseFromOutside(RunKey run, EventBody closing, RunStatus status, DoneStatus done);
  bool Serves(std::string_view workflow_type, std::string_view task_queue) const;
  TurnCommit ClosingCommit(const RunSnapshot& seen, CloseState& state);
  void TryClose(std::shared_ptr<CloseState> state);

  void ReceiveTurns(const SessionId& session);
  void OnTurnHints(const SessionId& session, StatusOr<std::vector<Delivery>> hints);
  // A new process tries blocked runs once more.
  void UnblockAll(std::string page_token, int failures);

  Runtime& runtime_;
  const std::shared_ptr<const PayloadSealer> sealer_;
  std::shared_ptr<StateStore> store_;
  std::shared_ptr<TaskQueue> queue_;
  std::shared_ptr<BlobStore> blobs_;
  std::shared_ptr<StreamLog> streams_;
  std::shared_ptr<Limiter> limiter_;
  std::shared_ptr<Transactions> transactions_;
  std::shared_ptr<const Registry> registry_;
  EngineOptions options_;
  std::vector<std::string> turn_queues_;  // of options_, and those of runs that are pinned to this build
  std::atomic<bool> stopping_{false};
  std::atomic<bool> abandoned_{false};
  std::mutex shutdown_mutex_;
  DoneStatus shutdown_done_;
  bool finished_ = false;  // guarded by shutdown_mutex_

  detail::SessionKeeper session_;
  detail::DueKeeper due_;
  detail::TurnRunner turns_;
  detail::ActivityRunner activities_;
  detail::LocalActivities locals_;
  detail::PlaceKeeper places_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/host-inl.h"
#endif
