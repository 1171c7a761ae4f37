// EngineImpl: what Engine, Run and the like have in common. It makes the host's asynchronous calls and waits for them.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "marathon/detail/block_pool.h"
#include "marathon/engine/answer.h"
#include "marathon/engine/host.h"
#include "marathon/engine/process.h"
#include "marathon/limits.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/open_ports.h"

namespace marathon::inline MARATHON_ABI::detail {

class EngineImpl {
 public:
  explicit EngineImpl(const EngineOptions& options)
      : threads(std::make_shared<ThreadRuntime>(options.turn_threads, options.activity_threads)),
        held(threads),
        runtime(*held),
        forks(ForkCount()) {}
  explicit EngineImpl(std::shared_ptr<Runtime> driven)
      : held(std::move(driven)), runtime(*held), forks(ForkCount()) {}

  // Whether a call may be made here and now.
  Status Check() const {
    if (InTurnOnThisThread()) {
      return FailedPrecondition(
          "engine calls are not for workflow bodies, which are replayed; call from an activity");
    }
    if (ForkCount() != forks) {
      return FailedPrecondition("this engine belongs to the parent process: open one after fork()");
    }
    if (shut_down) return FailedPrecondition("the engine has been shut down");
    return {};
  }

  // Whether the engine may be ended here: not where that would wait for the caller.
  Status CheckShutdown() const {
    if (ForkCount() != forks) {
      return FailedPrecondition("this engine belongs to the parent process: after fork() its child cannot end it");
    }
    const bool inside = threads ? threads->IsOwnThread() : CalledOnThisThread() != nullptr;
    if (!inside && !InTurnOnThisThread()) return {};
    return FailedPrecondition(
        "an engine cannot be shut down by a workflow, an activity or a callback of its own, for which it would wait "
        "for ever: have the thread do it that opened it");
  }

  // Makes an asynchronous call and waits for its answer.
  template <class T, class Call>
  StatusOr<T> Await(Call&& call) {
    if (Status status = Check(); !status.ok()) return status;
    auto answer = std::allocate_shared<Answer<T>>(PoolAllocator<Answer<T>>());
    call(Done<T>(Answerer<T>(answer)));
    answer->Wait(runtime);
    return std::move(answer->value);
  }
  template <class Call>
  Status AwaitStatus(Call&& call) {
    return Await<bool>([&](Done<bool> done) {
             call(DoneStatus([done = std::move(done)](Status status) mutable {
               if (status.ok()) {
                 done(true);
               } else {
                 done(std::move(status));
               }
             }));
           })
        .status();
  }

  // Reads from the store; what it cannot tell for a moment is asked again.
  template <class T, class Call>
  StatusOr<T> Ask(Call&& call) {
    constexpr int kTries = 8;
    for (int failures = 1;; ++failures) {
      StatusOr<T> reply = Await<T>([&](Done<T> done) { call(host->store(), std::move(done)); });
      if (reply.ok() || !IsTransient(reply.status()) || failures == kTries) return reply;
      const Status waited = AwaitStatus([&](DoneStatus done) {
        host->AfterBackoff(failures, [done = std::move(done)]() mutable { done(Status()); });
      });
      if (!waited.ok()) return reply;
    }
  }

  Status Operate(const RunKey& run, Host::StoreCall call, bool may_be_gone = false) {
    return AwaitStatus(
        [&](DoneStatus done) { host->Operate(run, std::move(call), std::move(done), may_be_gone); });
  }

  StatusOr<RunEnd> Await(AwaitRequest request, Duration timeout);
  Status Shutdown(Duration patience);

  const std::shared_ptr<ThreadRuntime> threads;  // null: somebody else drives the runtime
  const std::shared_ptr<Runtime> held;
  Runtime& runtime;
  const int forks;
  Ports ports;
  std::shared_ptr<Host> host;
  std::atomic<bool> shut_down{false};

 private:
  // Somebody in Await.
  struct Waiter {
    explicit Waiter(AwaitRequest what) : awaited(std::move(what)) {}

    std::atomic<bool> answered{false};
    std::mutex mutex;
    std::optional<StatusOr<RunEnd>> end;  // the first answer counts
    std::shared_ptr<OneShot> ready;       // none: nobody waits yet
    AwaitRequest awaited;  // of the run's chain, the one that goes on
    uint64_t name = 0;     // for CancelAwait
    bool asking = true;    // the store has yet to answer
    int failures = 0;      // of the store
    int questions = 0;     // to the store

    void Answer(StatusOr<RunEnd> answer, bool by_store = false) {
      std::shared_ptr<OneShot> told;
      {
        std::lock_guard lock(mutex);
        if (by_store) asking = false;
        if (end.has_value()) return;
        end.emplace(std::move(answer));
        told = ready;
      }
      answered.store(true, std::memory_order_release);
      if (told) told->Set();
    }
  };
  static_assert(sizeof(Waiter) + 64 <= BlockPool::kLargest, "with its counts");
  using Waiters = std::unordered_set<std::shared_ptr<Waiter>, std::hash<std::shared_ptr<Waiter>>,
                                     std::equal_to<>, PoolAllocator<std::shared_ptr<Waiter>>>;

  static void AskForEnd(const std::shared_ptr<Host>& host, const std::shared_ptr<Waiter>& waiter);
  static void OnEnd(const std::shared_ptr<Host>& host, const std::shared_ptr<Waiter>& waiter, StatusOr<RunEnd> end);
  void WaitFor(const std::shared_ptr<Waiter>& waiter, Duration timeout);
  void FlushHints(Duration patience);

  std::mutex waiters_mutex_;
  Waiters waiters_;
};

MARATHON_INLINE StatusOr<RunEnd> EngineImpl::Await(AwaitRequest request, Duration timeout) {
  if (Status status = Check(); !status.ok()) return status;
  auto waiter = std::allocate_shared<Waiter>(PoolAllocator<Waiter>(), std::move(request));
  AskForEnd(host, waiter);
  if (!waiter->answered.load(std::memory_order_acquire)) WaitFor(waiter, timeout);
  std::unique_lock lock(waiter->mutex);
  const uint64_t name = waiter->asking ? waiter->name : 0;
  StatusOr<RunEnd> end = *std::move(waiter->end);
  lock.unlock();
  if (name != 0) host->CancelAwait(name);
  return end;
}

MARATHON_INLINE void EngineImpl::WaitFor(const std::shared_ptr<Waiter>& waiter, Duration timeout) {
  const std::shared_ptr<OneShot> ready = runtime.NewOneShot();
  {
    std::lock_guard lock(waiters_mutex_);
    waiters_.insert(waiter);
  }
  bool answered;
  {
    std::lock_guard lock(waiter->mutex);
    answered = waiter->end.has_value();
    waiter->ready = ready;
  }
  if (shut_down) waiter->Answer(Cancelled("the engine is shutting down"));
  if (!answered && !ready->Wait(timeout)) {
    std::unique_lock lock(waiter->mutex);
    const AwaitRequest awaited = waiter->awaited;
    lock.unlock();
    // A wait for ever ends only where time is virtual: nothing more is to come.
    const std::string within =
        timeout == OneShot::kForever ? "" : fmt::format(" within {} ms", timeout.count());
    waiter->Answer(DeadlineExceeded(fmt::format(
        "{}run {} of workflow \"{}\" has not {}{}",
        awaited.update_id.empty() ? "" : fmt::format("update \"{}\" to ", awaited.update_id),
        awaited.run.run_id, awaited.run.workflow_id,
        awaited.stage == UpdateStage::kAccepted ? "been accepted" : "ended", within)));
  }
  std::lock_guard lock(waiters_mutex_);
  waiters_.erase(waiter);
}

// Asks until the store answers, or nobody waits any more.
MARATHON_INLINE void EngineImpl::AskForEnd(const std::shared_ptr<Host>& host,
                                           const std::shared_ptr<Waiter>& waiter) {
  int question;
  AwaitRequest request;
  {
    std::lock_guard lock(waiter->mutex);
    if (waiter->end.has_value()) return;
    question = ++waiter->questions;
    request = waiter->awaited;
  }
  const uint64_t name = host->Await(std::move(request), [host, waiter](StatusOr<RunEnd> end) {
    if (end.status().code() != StatusCode::kNotFound) return OnEnd(host, waiter, std::move(end));
    std::unique_lock lock(waiter->mutex);
    const AwaitRequest awaited = waiter->awaited;
    lock.unlock();
    if (awaited.after || !awaited.update_id.empty()) return OnEnd(host, waiter, std::move(end));
    host->FindChainOf(awaited.run, std::move(end).status(), [host, waiter](StatusOr<RunEnd> chain) {
      OnEnd(host, waiter, std::move(chain));
    });
  });
  if (name == 0) return;
  std::lock_guard lock(waiter->mutex);
  if (waiter->questions == question) waiter->name = name;
}

MARATHON_INLINE void EngineImpl::OnEnd(const std::shared_ptr<Host>& host, const std::shared_ptr<Waiter>& waiter,
                                       StatusOr<RunEnd> end) {
  if (end.ok() && end->next.has_value()) {  // the chain goes on. Posted, for it may be a long one
    std::unique_lock lock(waiter->mutex);
    waiter->awaited.run = *std::move(end->next);
    ++waiter->questions;
    lock.unlock();
    return host->runtime().Post(Lane::kTurn, [host, waiter] { AskForEnd(host, waiter); });
  }
  if (!IsTransient(end.status())) return waiter->Answer(std::move(end), true);
  std::unique_lock lock(waiter->mutex);
  ++waiter->questions;
  const int failed = ++waiter->failures;
  lock.unlock();
  host->AfterBackoff(failed, [host, waiter] { AskForEnd(host, waiter); });
}

MARATHON_INLINE Status EngineImpl::Shutdown(Duration patience) {
  if (Status status = CheckShutdown(); !status.ok()) return status;
  if (shut_down.exchange(true)) return {};
  {
    std::lock_guard lock(waiters_mutex_);
    for (const auto& waiter : waiters_) waiter->Answer(Cancelled("the engine is shutting down"));
  }
  auto closed = runtime.NewOneShot();
  host->Shutdown([closed](const Status&) { closed->Set(); });
  constexpr Duration kReminder{5'000};
  for (Duration wait = patience; !closed->Wait(wait); wait = kReminder) {
    host->Log(LogLevel::kWarning, host->activities().DescribeRunning());
  }
  FlushHints(patience);
  if (threads) threads->Stop();
  return {};
}

// What becomes of an engine that nobody holds any more.
MARATHON_INLINE void CloseEngine(std::shared_ptr<EngineImpl> impl) {
  const Status status = impl->Shutdown(Duration(10'000));
  if (status.ok() || ForkCount() != impl->forks || impl->shut_down) return;
  impl->host->Log(LogLevel::kError, fmt::format("~Engine: {}. It works on until the process ends", MessageOf(status)));
  static std::mutex mutex;
  static auto* const kKept = new std::vector<std::shared_ptr<EngineImpl>>;
  std::lock_guard lock(mutex);
  kKept->push_back(std::move(impl));
}

// By them others hear of what this engine has made ready and given back.
MARATHON_INLINE void EngineImpl::FlushHints(Duration patience) {
  struct Flush {
    std::shared_ptr<OneShot> over;
    Status status;
  };
  auto flush = std::make_shared<Flush>(Flush{runtime.NewOneShot(), Status()});
  ports.queue->Flush([flush](Status status) {
    flush->status = std::move(status);
    flush->over->Set();
  });
  const Status status = flush->over->Wait(patience)
                            ? flush->status
                            : Unavailable(fmt::format("the task queue has not taken all hints within {} ms",
                                                      patience.count()));
  if (status.ok()) return;
  host->Log(LogLevel::kWarning,
            fmt::format("{}: others hear of these runs when the store publishes them again, after {} s",
                        MessageOf(status), limits::kResendFirst.count() / 1'000));
}

}  // namespace marathon::inline MARATHON_ABI::detail
