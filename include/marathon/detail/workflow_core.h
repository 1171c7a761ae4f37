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
#include <random>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/event.h"
#include "marathon/log_sink.h"

namespace marathon::inline MARATHON_ABI::detail {

class WorkflowCore;

struct Branch;

// Lives in a waiting coroutine's frame; names the branch to resume once enough operations are done.
struct Waiter {
  Branch* branch = nullptr;
  std::coroutine_handle<> handle;
  int missing = 1;
};

// Something a workflow waits for: an activity, a timer, a signal, a branch. Reference-counted by
// handles and by the core while it can still complete.
struct Operation {
  enum class Kind : uint8_t { kActivity, kTimer, kReceive, kBranch };

  WorkflowCore* core = nullptr;
  Kind kind = Kind::kActivity;
  bool done = false;
  bool canceled = false;
  int references = 0;
  int attempt = 0;               // kActivity: which attempt gave the outcome
  uint64_t done_order = 0;       // among the run's operations
  EventId id = 0;                // of its command event; 0: none
  std::string name{};            // activity type, signal name
  Payload result{};
  std::unique_ptr<Failure> failure{};
  PooledVector<Waiter*> waiters{};
  std::coroutine_handle<> branch{};  // kBranch: owned, kept for its result

  ~Operation() {
    if (branch) branch.destroy();
  }
  static void* operator new(size_t size) { return BlockPool::Take(size); }
  static void operator delete(void* memory, size_t size) noexcept { BlockPool::Give(memory, size); }
};

// A counted pointer to an Operation. Not atomic: a run is on one thread at a time.
class OperationRef {
 public:
  OperationRef() = default;
  explicit OperationRef(Operation* operation) : operation_(operation) {
    if (operation_ != nullptr) ++operation_->references;
  }
  OperationRef(const OperationRef& other) : OperationRef(other.operation_) {}
  OperationRef(OperationRef&& other) noexcept
      : operation_(std::exchange(other.operation_, nullptr)) {}
  OperationRef& operator=(OperationRef other) noexcept {
    std::swap(operation_, other.operation_);
    return *this;
  }
  ~OperationRef() {
    if (operation_ != nullptr && --operation_->references == 0) delete operation_;
  }
  Operation* get() const { return operation_; }
  Operation* operator->() const { return operation_; }
  Operation& operator*() const { return *operation_; }
  explicit operator bool() const { return operation_ != nullptr; }

 private:
  Operation* operation_ = nullptr;
};

// A coroutine with a life of its own: the workflow itself (number 0) and each ctx.Spawn.
struct Branch : PooledObject {
  uint64_t number = 0;               // creation order: who runs first
  std::coroutine_handle<> resume;    // where it waits
  bool queued = false;
  OperationRef operation;            // owns the coroutine; empty for the workflow itself
};

// ctx.WaitUntil: asked again whenever the coroutines have run as far as they can.
struct Condition {
  Waiter waiter;
  bool (*holds)(void* predicate) = nullptr;
  void* predicate = nullptr;
};

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

// How a finished root coroutine gives up its result; made by the registry, which knows the type.
struct RootWorkflow {
  std::coroutine_handle<> handle;
  // The closing event: WorkflowCompleted or WorkflowFailed.
  EventBody (*finish)(std::coroutine_handle<>) = nullptr;
  std::shared_ptr<void> input{};  // what the coroutine may refer to
};

class WorkflowCore {
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
  // Takes one inbound event; false if what it answers is no longer pending (nothing happens then).
  // `id` is the event's place. RunUntilBlocked follows.
  bool Apply(EventId id, const EventBody& inbound);
  bool IsPending(const EventBody& inbound) const;
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
  EventId last_event_id() const { return last_id_; }
  std::optional<Mismatch>& mismatch() { return mismatch_; }
  void SetLog(Callback<void(LogLevel, std::string_view)> log) { log_ = std::move(log); }

  // ---- For awaitables

  Branch* current_branch() { return current_; }
  OperationRef ScheduleActivity(std::string_view type, Payload input, std::string_view task_queue,
                                ActivityPolicy policy, std::source_location where);
  // True if history says that this very call succeeded before, so that its input need not be encoded.
  bool NextIsScheduled(std::string_view type) const;
  OperationRef StartTimer(Duration duration, std::source_location where);
  OperationRef Receive(std::string_view signal);
  OperationRef Spawn(std::coroutine_handle<> root);
  // Resolves an activity or timer as canceled, now, and asks for its end. Nothing if it is done.
  void Cancel(Operation& operation, std::source_location where);
  // Ends the run, to go on in another one; empty texts and no timeout: as this one. Nothing resumes any more.
  void ContinueAsNew(WorkflowContinuedAsNew next, std::source_location where);
  void AddCondition(Condition* condition) { conditions_.push_back(condition); }
  void RemoveCondition(Condition* condition);
  // Makes `waiter` wait for `operation`; the caller has seen that it is not done.
  static void Wait(Operation& operation, Waiter& waiter) { operation.waiters.push_back(&waiter); }
  static void StopWaiting(Operation& operation, Waiter& waiter);
  // The recorded value of a side effect; null while live. Sets stalled() on a mismatch.
  const Payload* RecordedSideEffect(std::source_location where);
  void RecordSideEffect(Payload value, std::source_location where);
  // After a mismatch nothing resumes any more: the frame waits to be destroyed.
  bool stalled() const { return mismatch_.has_value(); }

  Time now() const { return now_; }
  bool continue_as_new_suggested() const { return continue_as_new_suggested_; }
  const Id& first_run_id() const { return first_run_id_.empty() ? facts_.key.run_id : first_run_id_; }
  int attempt() const { return attempt_; }
  Duration run_timeout() const { return run_timeout_; }
  uint64_t NextRandom();
  void Log(LogLevel level, std::string_view message);

 private:
  void Issue(EventBody body, std::source_location where);
  void Complete(Operation& operation);
  void Enqueue(Branch& branch);
  Branch* NextRunnable();
  bool WakeConditions();
  void AfterRunning(Branch& branch);

  RunFacts facts_;
  RootWorkflow root_;
  bool closed_ = false;
  Id first_run_id_;
  int attempt_ = 1;
  Duration run_timeout_{0};
  Time now_{};
  bool continue_as_new_suggested_ = false;
  EventId last_id_ = 0;
  uint64_t done_count_ = 0;
  uint64_t random_state_;
  PooledVector<IssuedCommand> issued_;
  bool replaying_ = false;
  std::span<const Event> recorded_;
  std::optional<Mismatch> mismatch_;

  PooledVector<std::unique_ptr<Branch>> branches_;  // by number; null once over
  PooledVector<Branch*> runnable_;                  // a heap, lowest number first
  Branch* current_ = nullptr;
  PooledMap<EventId, OperationRef> pending_;  // activities and timers
  std::vector<Condition*> conditions_;
  struct UnreadSignal {
    EventId id = 0;
    Payload input;
    Headers headers;
  };
  struct Signal {
    std::deque<UnreadSignal> unread;
    std::deque<OperationRef> receivers;
  };
  std::map<std::string, Signal, std::less<>> signals_;
  Callback<void(LogLevel, std::string_view)> log_;
};

}  // namespace marathon::inline MARATHON_ABI::detail

#ifndef MARATHON_COMPILED
#include "marathon/detail/workflow_core-inl.h"
#endif
