#include "worker.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "backend.h"
#include "observed.h"
#include "shared.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::chaos {
namespace {

using testing::kSimQuickWork;
using testing::kSimWork;
using testing::SeededRandom;
using testing::SimWork;

// Does what SimWork says in real time: asynchronously for kSimWork, blocking for kSimQuickWork.
class Workbench {
 public:
  Workbench(const std::string& folder) : effects_(EffectsPath(folder)) {}

  Ledger* effects() { return &effects_; }
  std::shared_ptr<ObservedStore>* store() { return &store_; }
  void Bind(Registry& registry);
  // After the engine has been shut down, and before it goes.
  void Stop() {
    runtime_.Stop();
    store_.reset();
  }

 private:
  // One asynchronous execution. Ends once: when its time has passed, or when it is told to stop.
  struct Execution : std::enable_shared_from_this<Execution> {
    Execution(Workbench& bench, ActivityContext& its_context, SimWork its_work,
              ActivityCompletion<int64_t> completion)
        : workbench(bench), context(its_context), work(its_work), done(std::move(completion)) {}
    void Begin();
    void Beat();
    void End();

    Workbench& workbench;
    ActivityContext& context;  // until it has ended
    const SimWork work;
    std::mutex mutex;  // guards:
    bool ended = false;
    ActivityCompletion<int64_t> done;
    std::optional<std::stop_callback<std::function<void()>>> on_stop;
  };

  int64_t BusyMillis(const ActivityContext& ctx, const SimWork& work) const;
  void NoteBegin(const ActivityContext& ctx);
  // The outcome of this attempt, which is noted first.
  StatusOr<int64_t> Outcome(const ActivityContext& ctx, const SimWork& work);
  StatusOr<int64_t> RunBlocking(ActivityContext& ctx, const SimWork& work);

  Ledger effects_;
  std::shared_ptr<ObservedStore> store_;
  ThreadRuntime runtime_{1, 8};  // its alarms, and threads for what they ring
};

int64_t Workbench::BusyMillis(const ActivityContext& ctx, const SimWork& work) const {
  const bool overruns = work.mode == SimWork::Mode::kOverruns && ctx.attempt() == 1;
  return overruns ? testing::kSimDeadline.count() + 1'500 : work.busy_ms;
}

void Workbench::NoteBegin(const ActivityContext& ctx) {
  effects_.Note(fmt::format("begin {} {} {} {} {} {}", ctx.idempotency_key(), ctx.attempt(),
                            ctx.info().deliveries, getpid(), ctx.info().activity_type,
                            store_->ClaimedAt(ctx.info().key)));
}

StatusOr<int64_t> Workbench::Outcome(const ActivityContext& ctx, const SimWork& work) {
  Failure failure;
  failure.type = "Chaos";
  failure.message = "fails by plan";
  const bool fails = work.mode == SimWork::Mode::kExhausts || ctx.attempt() <= work.fails;
  const bool stopped = ctx.stop_token().stop_requested();
  failure.non_retryable = !fails && !stopped && work.mode == SimWork::Mode::kRefuses;
  const bool succeeds = !fails && !stopped && !failure.non_retryable;
  effects_.Note(fmt::format("end {} {} {} {} {}", ctx.idempotency_key(), ctx.attempt(), getpid(),
                            succeeds  ? "ok"
                            : stopped ? "stopped"
                                      : "failed",
                            succeeds ? work.Result() : 0));
  if (succeeds) return work.Result();
  return FailureStatus(failure);
}

void Workbench::Execution::Begin() {
  workbench.NoteBegin(context);
  const std::lock_guard lock(mutex);
  on_stop.emplace(context.stop_token(), [weak = weak_from_this(), runtime = &workbench.runtime_] {
    runtime->Post(Lane::kActivity, [weak] {
      if (const auto self = weak.lock()) self->End();
    });
  });
  workbench.runtime_.SetAlarm(
      Duration(workbench.BusyMillis(context, work)), [self = shared_from_this()] {
        self->workbench.runtime_.Post(Lane::kActivity, [self] { self->End(); });
      });
  if (work.mode == SimWork::Mode::kBeats) {
    workbench.runtime_.SetAlarm(Duration(100), [self = shared_from_this()] { self->Beat(); });
  }
}

void Workbench::Execution::Beat() {
  const std::lock_guard lock(mutex);
  if (ended) return;
  context.Heartbeat(NowMicros()).IgnoreError();
  workbench.runtime_.SetAlarm(Duration(100), [self = shared_from_this()] { self->Beat(); });
}

void Workbench::Execution::End() {
  {
    const std::lock_guard lock(mutex);
    if (std::exchange(ended, true)) return;
  }
  on_stop.reset();
  const StatusOr<int64_t> outcome = workbench.Outcome(context, work);
  if (outcome.ok()) return done.Complete(*outcome);
  done.Fail(*GetFailure(outcome.status()));
}

StatusOr<int64_t> Workbench::RunBlocking(ActivityContext& ctx, const SimWork& work) {
  NoteBegin(ctx);
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, ctx.stop_token(), Duration(BusyMillis(ctx, work)), [] { return false; });
  return Outcome(ctx, work);
}

void Workbench::Bind(Registry& registry) {
  registry.Bind(testing::kSimWorkflow, testing::RunSimProgram);
  registry.Bind(kSimWork, [this](ActivityContext& ctx, const int64_t& input,
                                 ActivityCompletion<int64_t> done) {
    std::make_shared<Execution>(*this, ctx, SimWork::Unpack(input), std::move(done))->Begin();
  });
  registry.Bind(kSimQuickWork, [this](ActivityContext& ctx, const int64_t& input) {
    return RunBlocking(ctx, SimWork::Unpack(input));
  });
}

EngineOptions DrawKnobs(uint64_t seed) {
  SeededRandom random(seed);
  static constexpr size_t kCaches[] = {0, 20, 10'000};
  EngineOptions options;
  options.lease = kLease;
  options.cache_runs = kCaches[random.Below(3)];
  options.activity_threads = static_cast<int>(random.Between(4, 16));
  options.max_async_activities = random.Below(4) == 0 ? 20 : 1'000;
  options.verify_determinism = random.Below(4) == 0;
  return options;
}

}  // namespace

int RunWorker(const std::string& folder, const std::string& url, uint64_t seed) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, nullptr);  // before there are threads

  Shared* const shared = Shared::Map(folder);
  if (shared == nullptr) return 1;
  Workbench bench(folder);
  Registry registry;
  bench.Bind(registry);
  for (Backend& backend : Observed(KnownSchemes(), bench.effects(), shared, bench.store())) {
    registry.Use(std::move(backend));
  }
  for (;;) {
    StatusOr<Engine> engine = Engine::Open(url, registry, DrawKnobs(seed));
    if (engine.ok()) {
      int signal = 0;
      sigwait(&ends, &signal);
      engine->Shutdown().IgnoreError();  // it is not called from within
      bench.Stop();
      return 0;
    }
    if (!IsTransient(engine.status())) {
      fmt::print(stderr, "chaos worker: {}\n", engine.status().ToString());
      return 1;
    }
    // The store is away. A moment later, unless this is the end.
    const timespec moment{0, 50'000'000};
    if (sigtimedwait(&ends, nullptr, &moment) == SIGTERM) return 0;
  }
}

}  // namespace marathon::chaos
