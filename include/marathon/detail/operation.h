// What a run's code waits for, and who waits: operations, branches, conditions and scopes. The values that
// WorkflowCore (workflow_core.h) sets in motion.
//
// Thread rule: one thread at a time.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <utility>

#include "marathon/activity_def.h"
#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/failure.h"
#include "marathon/ids.h"
#include "marathon/payload.h"
#include "marathon/retry_policy.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class WorkflowCore;

struct Branch;

// Names a cancellation scope of a run: 0 is the run's own. What is started in a scope is canceled with it.
using ScopeId = uint32_t;
inline constexpr ScopeId kRunScope = 0;
inline constexpr ScopeId kNoScope = ~ScopeId{0};

struct Scope {
  ScopeId parent = kNoScope;  // canceled with it; kNoScope: shielded
  bool canceled = false;
};

// Lives in a waiting coroutine's frame; names the branch to resume once enough operations are done.
struct Waiter {
  Branch* branch = nullptr;
  std::coroutine_handle<> handle;
  int missing = 1;
};
// For the branch that runs now.
Waiter WaiterHere(const WorkflowCore& core, std::coroutine_handle<> self, int missing = 1);

// A local activity: what its next attempts need.
struct LocalCall {
  Payload input;
  Duration start_to_close{0};
  StoredRetryPolicy retry{};
  int number = 0;          // among the run's, from 1
  int attempt = 1;         // the next, or the one that runs
  bool backs_off = false;  // until its timer fires
};

// Something a workflow waits for: an activity, a timer, a signal, a branch. Reference-counted by
// handles and by the core while it can still complete.
struct Operation {
  enum class Kind : uint8_t { kActivity, kTimer, kReceive, kBranch };

  WorkflowCore* core = nullptr;
  Kind kind = Kind::kActivity;
  bool done = false;
  bool canceled = false;
  ActivityCancellation cancellation = ActivityCancellation::kTry;
  ScopeId scope = kRunScope;     // where it was started; a branch's own
  int references = 0;
  int attempt = 0;               // kActivity: which attempt gave the outcome
  uint64_t done_order = 0;       // among the run's operations
  EventId id = 0;                // of its command event; 0: none
  std::string name{};            // activity type, signal name
  Payload result{};
  std::unique_ptr<Failure> failure{};
  PooledVector<Waiter*> waiters{};
  std::unique_ptr<LocalCall> local{};  // kActivity: it is a local one
  std::coroutine_handle<> branch{};  // kBranch: owned, kept for its result

  ~Operation();
  // REQUIRES: it is not done.
  void AddWaiter(Waiter& waiter);
  void RemoveWaiter(Waiter& waiter);
  // As WorkflowCore::Cancel.
  void Cancel(std::source_location where);
  static void* operator new(size_t size) { return BlockPool::Take(size); }
  static void operator delete(void* memory, size_t size) noexcept { BlockPool::Give(memory, size); }
  static void Delete(Operation* operation);
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
    if (operation_ != nullptr && --operation_->references == 0) Operation::Delete(operation_);
  }
  Operation* get() const { return operation_; }
  Operation* operator->() const { return operation_; }
  Operation& operator*() const { return *operation_; }
  explicit operator bool() const { return operation_ != nullptr; }

 private:
  Operation* operation_ = nullptr;
};

// The update that a branch handles.
struct HandledUpdate {
  EventId accepted = 0;
  std::string update_id;
};

// A coroutine with a life of its own: the workflow itself (number 0) and each ctx.Spawn.
struct Branch : PooledObject {
  uint64_t number = 0;               // creation order: who runs first
  std::coroutine_handle<> resume;    // where it waits
  bool queued = false;
  bool handler = false;              // of a signal or an update: runs before what is no handler
  std::unique_ptr<HandledUpdate> update{};  // … of this one
  ScopeId scope = kRunScope;         // what it starts now belongs there
  OperationRef operation;            // owns the coroutine; empty for the workflow itself
};

// ctx.WaitUntil: asked again whenever the coroutines have run as far as they can.
struct Condition {
  Waiter waiter;
  bool (*holds)(void* predicate) = nullptr;
  void* predicate = nullptr;
  ScopeId scope = kRunScope;
  bool canceled = false;
};

}  // namespace marathon::inline MARATHON_ABI::detail
