#pragma once

#include "marathon/engine.h"

#include <fmt/format.h>
#include <link.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/engine/checks.h"
#include "marathon/engine/host-inl.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/open_ports.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

inline constexpr char kNoBuildId[] = "unknown";

// The executable's own build id, as the linker wrote it; kNoBuildId if it wrote none.
MARATHON_INLINE std::string ExecutableBuildId() {
  std::string id;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type != PT_NOTE) continue;
          const char* at = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
          const char* const end = at + header.p_memsz;
          while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof(note));
            const char* const name = at + sizeof(note);
            const char* const data = name + ((note.n_namesz + 3) & ~3u);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && data + note.n_descsz <= end) {
              for (uint32_t b = 0; b < std::min(note.n_descsz, 10u); ++b) {
                *static_cast<std::string*>(out) += fmt::format("{:02x}", static_cast<uint8_t>(data[b]));
              }
              return 1;
            }
            at = data + ((note.n_descsz + 3) & ~3u);
          }
        }
        return 1;  // the first object is the executable
      },
      &id);
  return id.empty() ? kNoBuildId : id;
}

// The answer to one call. Most come before the call returns: those need nothing to wait on.
template <class T>
struct Answer {
  StatusOr<T> value = absl::UnknownError("");

  void Give(StatusOr<T> given) {
    value = std::move(given);
    if (state_.exchange(State::kGiven, std::memory_order_acq_rel) == State::kWaited) ready_->Set();
  }
  void Wait(Runtime& runtime) {
    if (state_.load(std::memory_order_acquire) == State::kGiven) return;
    ready_ = runtime.NewOneShot();
    State asked = State::kAsked;
    if (state_.compare_exchange_strong(asked, State::kWaited, std::memory_order_acq_rel)) {
      ready_->Wait(OneShot::kForever);
    }
  }

 private:
  enum class State { kAsked, kWaited, kGiven };
  std::atomic<State> state_{State::kAsked};
  std::shared_ptr<OneShot> ready_;
};

// Gives an answer, in any case: a call that is dropped, with the threads that were to make it again, was
// given up.
template <class T>
class Answerer {
 public:
  explicit Answerer(std::shared_ptr<Answer<T>> answer) : answer_(std::move(answer)) {}
  Answerer(Answerer&& other) noexcept : answer_(std::move(other.answer_)) {}
  Answerer& operator=(Answerer&&) = delete;
  ~Answerer() {
    if (answer_) answer_->Give(Cancelled("the engine is shutting down"));
  }
  void operator()(StatusOr<T> value) { std::exchange(answer_, nullptr)->Give(std::move(value)); }

 private:
  std::shared_ptr<Answer<T>> answer_;
};

// How often fork() has made this process from another. Dearer to ask for is getpid(), a system call.
inline std::atomic<int> fork_count{0};
inline int ForkCount() {
  static const int kRegistered = pthread_atfork(nullptr, nullptr, [] { ++fork_count; });
  return kRegistered == 0 ? fork_count.load(std::memory_order_relaxed) : static_cast<int>(getpid());
}

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
  static auto* const kept = new std::vector<std::shared_ptr<EngineImpl>>;
  std::lock_guard lock(mutex);
  kept->push_back(std::move(impl));
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

}  // namespace detail

// ---- Engine ----------------------------------------------------------------------------------------

MARATHON_INLINE StatusOr<Engine> Engine::Open(std::string_view url, const Registry& registry,
                                              EngineOptions options) {
  auto impl = std::make_shared<detail::EngineImpl>(options);
  std::vector<std::shared_ptr<const Backend>> backends{
      std::make_shared<const Backend>(MemoryBackend())};
  backends.insert(backends.end(), registry.backends().begin(), registry.backends().end());
  StatusOr<Ports> ports = OpenPorts(url, backends, impl->runtime);
  if (!ports.ok()) return ports.status();
  return OpenImpl(std::move(impl), *std::move(ports), registry, std::move(options));
}

MARATHON_INLINE StatusOr<Engine> Engine::Open(Ports ports, const Registry& registry,
                                              EngineOptions options) {
  auto impl = std::make_shared<detail::EngineImpl>(options);
  return OpenImpl(std::move(impl), std::move(ports), registry, std::move(options));
}

MARATHON_INLINE StatusOr<Engine> Engine::Open(Ports ports, const Registry& registry,
                                              EngineOptions options,
                                              std::shared_ptr<Runtime> runtime) {
  auto impl = std::make_shared<detail::EngineImpl>(std::move(runtime));
  return OpenImpl(std::move(impl), std::move(ports), registry, std::move(options));
}

MARATHON_INLINE StatusOr<Engine> Engine::OpenImpl(std::shared_ptr<detail::EngineImpl> impl, Ports ports,
                                                  const Registry& registry, EngineOptions options) {
  if (!registry.mistakes().empty()) {
    return InvalidArgument("the registry is wrong: " + registry.mistakes());
  }
  if (ports.store->hint_domain() != ports.queue->domain()) {
    return InvalidArgument(fmt::format(
        "the store's hints go to \"{}\" and not to the queue \"{}\": pair them with JoinPorts",
        ports.store->hint_domain(), ports.queue->domain()));
  }
  const std::string_view kind = ports.transactions ? ports.transactions->kind() : std::string_view();
  if (const std::string* name = registry.FindTransactionalElsewhere(kind)) {
    return FailedPrecondition(fmt::format(
        "the activity \"{}\" is transactional: it needs the store that keeps its tables, {}, and {} is not one. "
        "Open that, or bind the activity where it is open",
        *name, registry.FindActivity(*name)->transactions, ports.store->domain()));
  }
  if (options.build_id.empty()) {
    options.build_id = detail::ExecutableBuildId();
    if (options.build_id == detail::kNoBuildId && registry.has_pinned()) {
      return FailedPrecondition(
          "a workflow is pinned to its build, and this executable has no build id, as any other: set "
          "EngineOptions::build_id, or link with --build-id");
    }
  }
  if (Status checked = CheckOptions(options); !checked.ok()) return checked;
  impl->ports = ports;
  impl->host = Host::Create(impl->runtime, std::move(ports), std::make_shared<const Registry>(registry),
                            std::move(options));
  Status status = impl->AwaitStatus([&](DoneStatus done) { impl->host->Open(std::move(done)); });
  if (!status.ok()) return status;
  return Engine(std::move(impl));
}

MARATHON_INLINE Engine& Engine::operator=(Engine&& other) noexcept {
  if (this != &other) {
    if (impl_) detail::CloseEngine(std::move(impl_));
    impl_ = std::move(other.impl_);
  }
  return *this;
}

MARATHON_INLINE Engine::~Engine() {
  if (impl_) detail::CloseEngine(std::move(impl_));
}

MARATHON_INLINE Status Engine::Shutdown(Duration patience) { return impl_->Shutdown(patience); }

MARATHON_INLINE BlobStore& Engine::blobs() const { return impl_->host->blobs(); }

MARATHON_INLINE StreamLog& Engine::streams() const { return impl_->host->streams(); }

MARATHON_INLINE Limiter& Engine::limiter() const { return impl_->host->limiter(); }

MARATHON_INLINE StatusOr<Run> Engine::StartPayload(std::string_view workflow_type, Payload input,
                                                   StartOptions options) {
  return StartWith(workflow_type, std::move(input), std::move(options), {});
}

MARATHON_INLINE StatusOr<Run> Engine::SignalWithStartPayload(std::string_view workflow_type,
                                                             Payload input, std::string_view signal,
                                                             Payload value, StartOptions options,
                                                             SignalOptions signal_options) {
  std::string key = signal_options.request_id.empty() ? impl_->host->NewId()
                                                      : std::move(signal_options.request_id);
  Message message{0, std::move(key),
                  SignalReceived{std::string(signal), std::move(value), std::move(signal_options.headers)}};
  options.id_conflict = IdConflictPolicy::kUseExisting;
  return StartWith(workflow_type, std::move(input), std::move(options), {std::move(message)});
}

MARATHON_INLINE StatusOr<Run> Engine::StartWith(std::string_view workflow_type, Payload input,
                                                StartOptions options, std::vector<Message> messages) {
  StartCall call;
  call.workflow_type = workflow_type;
  call.input = std::move(input);
  call.options = std::move(options);
  call.signals = std::move(messages);
  auto started = impl_->Await<StartReply>(
      [&](Done<StartReply> done) { impl_->host->Start(std::move(call), std::move(done)); });
  if (!started.ok()) return std::move(started).status();
  return Run(impl_, std::move(started->run));
}

MARATHON_INLINE Run Engine::Find(std::string_view workflow_id, std::string_view run_id) const {
  return Run(impl_, RunKey{workflow_id, run_id});
}

MARATHON_INLINE StatusOr<ListReply> Engine::List(ListRequest request) const {
  return impl_->Ask<ListReply>(
      [&](StateStore& store, Done<ListReply> done) { store.List(request, std::move(done)); });
}

MARATHON_INLINE StatusOr<int64_t> Engine::Count(ListRequest request) const {
  request.count_only = true;
  request.page_token.clear();
  const StatusOr<ListReply> reply = List(std::move(request));
  if (!reply.ok()) return reply.status();
  return reply->count;
}

MARATHON_INLINE Status Engine::CompleteActivityPayload(std::string_view token, Payload result) {
  if (Status status = CheckPayload("result", result); !status.ok()) return status;
  return impl_->AwaitStatus([&](DoneStatus done) {
    impl_->host->CompleteActivity(token, ActivityCompleted{0, std::move(result), 0}, std::move(done));
  });
}

MARATHON_INLINE Status Engine::FailActivity(std::string_view token, Failure failure) {
  return impl_->AwaitStatus([&](DoneStatus done) {
    impl_->host->CompleteActivity(token, ActivityFailed{0, std::move(failure), 0}, std::move(done));
  });
}

// ---- Run -------------------------------------------------------------------------------------------

MARATHON_INLINE StatusOr<Payload> Run::ResultPayload(Duration timeout) const {
  StatusOr<RunEnd> end = engine_->Await({key_}, timeout);
  if (!end.ok()) return end.status();
  if (Status sealed = engine_->host->sealer().CheckOpen(end->closing, key_.workflow_id); !sealed.ok()) return sealed;
  if (auto* completed = std::get_if<WorkflowCompleted>(&end->closing)) {
    return std::move(completed->result);
  }
  if (const auto* failed = std::get_if<WorkflowFailed>(&end->closing)) {
    return FailureStatus(failed->failure);
  }
  Failure failure;
  if (const auto* canceled = std::get_if<WorkflowCanceled>(&end->closing)) {
    failure.kind = FailureKind::kCanceled;
    failure.type = failure_type::kCanceled;
    failure.message = "canceled: " + canceled->reason;
  } else if (const auto* terminated = std::get_if<WorkflowTerminated>(&end->closing)) {
    failure.kind = FailureKind::kTerminated;
    failure.message = "terminated: " + terminated->reason;
  } else {
    failure.kind = FailureKind::kTimeout;
    failure.timeout = TimeoutKind::kRun;
    failure.type = failure_type::kTimeout;
    failure.message = "its run timeout passed";
  }
  return FailureStatus(failure);
}

MARATHON_INLINE Status Run::SignalPayload(std::string_view name, Payload value,
                                          SignalOptions options) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Signal(key_, std::string(name), std::move(value), std::move(options),
                          std::move(done));
  });
}

MARATHON_INLINE Status Run::Cancel(std::string_view reason) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Cancel(key_, std::string(reason), std::move(done));
  });
}

MARATHON_INLINE StatusOr<QueryReply> Run::QueryPayload(std::string_view name, Payload input,
                                                       QueryOptions options) const {
  return engine_->Await<QueryReply>([&](Done<QueryReply> done) {
    engine_->host->Query(key_, std::string(name), std::move(input), options.patience, std::move(done));
  });
}

MARATHON_INLINE Status Run::Terminate(std::string_view reason) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Terminate(key_, std::string(reason), std::move(done));
  });
}

MARATHON_INLINE Status Run::Unblock() const {
  return engine_->Operate(key_, [](StateStore& store, const RunKey& run, DoneStatus done) {
    store.Unblock(run, std::move(done));
  });
}

MARATHON_INLINE Status Run::Pause(std::string_view reason) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Pause(key_, std::string(reason), std::move(done));
  });
}

MARATHON_INLINE Status Run::Resume() const {
  return engine_->Operate(key_, [](StateStore& store, const RunKey& run, DoneStatus done) {
    store.Resume(run, std::move(done));
  });
}

MARATHON_INLINE Status Run::Pin(std::string_view build_id) const {
  if (Status status = CheckText("build id", build_id, limits::kMaxNameBytes); !status.ok()) return status;
  return engine_->AwaitStatus(
      [&](DoneStatus done) { engine_->host->Pin(key_, std::string(build_id), std::move(done)); });
}

MARATHON_INLINE Status Run::Unpin() const {
  return engine_->AwaitStatus([&](DoneStatus done) { engine_->host->Pin(key_, "", std::move(done)); });
}

MARATHON_INLINE Status Run::RetryActivity(EventId id) const {
  const auto retry = [id](StateStore& store, const RunKey& run, DoneStatus done) {
    store.RetryActivity({run, id}, std::move(done));
  };
  return engine_->Operate(key_, retry, /*may_be_gone=*/true);
}

MARATHON_INLINE Status Run::Delete() const {
  const auto erase = [](StateStore& store, const RunKey& run, DoneStatus done) {
    store.Delete(run, std::move(done));
  };
  return engine_->Operate(key_, erase, /*may_be_gone=*/true);
}

MARATHON_INLINE StatusOr<Run> Run::Fork(ForkOptions options) const {
  auto started = engine_->Await<StartReply>([&](Done<StartReply> done) {
    engine_->host->Fork(key_, std::move(options), std::move(done));
  });
  if (!started.ok()) return std::move(started).status();
  return Run(engine_, std::move(started->run));
}

MARATHON_INLINE StatusOr<RunDescription> Run::Describe() const {
  ReadRequest request;
  request.run = key_;
  request.activities = true;
  auto read = engine_->Ask<RunSnapshot>(
      [&](StateStore& store, Done<RunSnapshot> done) { store.Read(request, std::move(done)); });
  if (!read.ok()) return read.status();
  return RunDescription{std::move(read->row), std::move(read->activities), read->now};
}

MARATHON_INLINE StatusOr<marathon::History> Run::History() const {
  marathon::History history;
  ReadRequest request;
  request.run = key_;
  request.records = true;
  for (bool more = true; more;) {
    auto page = engine_->Ask<RunSnapshot>(
        [&](StateStore& store, Done<RunSnapshot> done) { store.Read(request, std::move(done)); });
    if (!page.ok()) return page.status();
    for (const std::string& record : page->records) {
      if (Status status = AppendRecord(record, history); !status.ok()) return status;
    }
    request.run = page->row.key;
    if (!history.empty()) request.after_version = history.back().id;
    more = page->more_records;
  }
  return history;
}

}  // namespace marathon::inline MARATHON_ABI

#include "marathon/event_reader-inl.h"
#include "marathon/schedule-inl.h"
#include "marathon/update_handle-inl.h"
