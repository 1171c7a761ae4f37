// SimLedger: the simulator's activities, and what they really did, by idempotency key. Kept beside the system, as the
// world's own memory: no crash touches it.
//
// Not safe from several threads: the world has one.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/registry.h"
#include "marathon/status.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

class SimLedger {
 public:
  SimLedger(SimWorld& world, Invariants& invariants) : world_(world), invariants_(invariants) {
    SeededRandom random = world_.Fork("limits");
    if (random.Below(4) == 0) limits_.max_concurrent = static_cast<int>(random.Between(1, 3));
    if (random.Below(6) == 0) limits_.max_per_second = 5;
  }

  std::shared_ptr<Registry> CodeFor(SimProcess& process, Versioning versioning);
  // Told of each activity that completes later: whoever hears of it does that.
  void SetOnLater(std::function<void(const RunKey&, const std::string& token, const SimWork&)> on_later) {
    on_later_ = std::move(on_later);
  }
  // Told of each attempt that begins.
  void SetOnBegin(std::function<void(const ActivityInfo&)> on_begin) { on_begin_ = std::move(on_begin); }
  uint64_t late_starts() const { return late_starts_; }
  // Whether somebody has done the work that `input` says, under this idempotency key.
  bool IsDone(const std::string& key, const Payload& input) const {
    return done_.contains({key, input.data});
  }

 private:
  // A cancel may pass a worker that is about to begin; an outcome may not, but for faults.
  void Begin(const SimProcess& process, ActivityContext& ctx);
  // Whoever works on something that was canceled must have been told in reasonable time, as far as the store still has
  // the claim that it made in `session`.
  void CheckStop(const ActivityContext& ctx, const SessionId& session);
  // The outcome that `work` has at this attempt.
  StatusOr<int64_t> End(ActivityContext& ctx, const SimWork& work);
  // `running`: how many do in this process.
  void Run(SimProcess& process, ActivityContext& ctx, const SimWork& work,
           ActivityCompletion<int64_t> done, std::shared_ptr<int> running);
  void Later(SimProcess& process, ActivityContext& ctx, const SimWork& work, ActivityCompletion<int64_t> done);

  SimWorld& world_;
  Invariants& invariants_;
  std::function<void(const RunKey&, const std::string& token, const SimWork&)> on_later_;
  std::function<void(const ActivityInfo&)> on_begin_;
  std::set<std::pair<std::string, std::string>> done_;
  ActivityLimits limits_;
  uint64_t late_starts_ = 0;
};

inline void SimLedger::Begin(const SimProcess& process, ActivityContext& ctx) {
  const ActivityInfo& info = ctx.info();
  if (info.local > 0) return;  // the store knows nothing of it
  const SessionId& session = process.host->session().id();
  if (world_.tracing()) {
    world_.Trace(process.runtime.actor(), fmt::format("begins activity {} of {} at epoch {}", info.key.id,
                                                      info.key.run.workflow_id, info.epoch));
  }
  if (on_begin_) on_begin_(info);
  late_starts_ += invariants_.IsResolved(info.key) && invariants_.CanceledAt(info.key, info.epoch, session) == kNever;
}

inline void SimLedger::CheckStop(const ActivityContext& ctx, const SessionId& session) {
  constexpr Duration kReasonable{50'000};  // a pause, and several renewals that fail
  if (ctx.info().local > 0) return;
  const ActivityKey& key = ctx.info().key;
  const Time canceled = invariants_.CanceledAt(key, ctx.info().epoch, session);
  SimUses<"activity.stop_token">();
  if (ctx.stop_token().stop_requested() || canceled == kNever) return;
  if (world_.Now() - canceled < kReasonable) return;
  invariants_.Report("I7", key.run,
                     fmt::format("the worker of activity {} was not told that it was canceled", key.id));
}

inline StatusOr<int64_t> SimLedger::End(ActivityContext& ctx, const SimWork& work) {
  Failure failure;
  failure.type = "Simulated";
  failure.message = "fails by plan";
  if (work.mode == SimWork::Mode::kExhausts || ctx.attempt() <= work.fails) {
    return FailureStatus(failure);
  }
  failure.non_retryable = true;
  if (work.mode == SimWork::Mode::kRefuses) return FailureStatus(failure);
  SimUses<"activity.idempotency_key">();
  done_.emplace(ctx.idempotency_key(), Encode(work.Pack())->data);
  return work.Result();
}

inline void SimLedger::Run(SimProcess& process, ActivityContext& ctx, const SimWork& work,
                           ActivityCompletion<int64_t> done, std::shared_ptr<int> running) {
  Begin(process, ctx);
  const bool counts = ctx.info().local == 0;
  if (counts && ++*running > limits_.max_concurrent && limits_.max_concurrent > 0) {
    invariants_.Report("I7", ctx.info().key.run,
                       fmt::format("{} activities run where {} may", *running, limits_.max_concurrent));
  }
  const bool overruns = work.mode == SimWork::Mode::kOverruns && ctx.attempt() == 1;
  const int64_t busy_ms = overruns ? kSimDeadline.count() + 1'500 : work.busy_ms;
  const ActorId actor = process.runtime.actor();
  const auto ended = std::make_shared<bool>(false);
  if (work.mode == SimWork::Mode::kBeats) {
    for (int64_t at_ms = 1'000; at_ms < busy_ms; at_ms += 1'000) {
      world_.After(actor, at_ms * 1'000, "heartbeat", [&ctx, at_ms, ended] {
        if (*ended) return;  // a pause may put it there
        ctx.Heartbeat(at_ms).IgnoreError();
        SimUses<"activity.Heartbeat">();
      });
    }
  }
  world_.After(actor, busy_ms * 1'000, "work done",
               [this, &ctx, work, ended, counts, running, session = process.host->session().id(),
                done = std::move(done)]() mutable {
                 *ended = true;
                 if (counts) --*running;
                 CheckStop(ctx, session);
                 StatusOr<int64_t> outcome = End(ctx, work);
                 if (outcome.ok()) {
                   SimUses<"activity.Complete">();
                   return done.Complete(*outcome);
                 }
                 SimUses<"activity.Fail">();
                 done.Fail(*GetFailure(outcome.status()));
               });
}

// CompleteLater blocks until the store has answered, which it must do within the call then: nothing may block here.
inline void SimLedger::Later(SimProcess& process, ActivityContext& ctx, const SimWork& work,
                             ActivityCompletion<int64_t> done) {
  Begin(process, ctx);
  world_.After(process.runtime.actor(), int64_t{work.busy_ms} * 500, "detaches",
               [this, &process, &ctx, work, done = std::move(done)]() mutable {
                 const FaultRates rates = process.store->rates();
                 process.store->SetRates({.direct = 1});
                 const StatusOr<std::string> token = ctx.CompleteLater();
                 process.store->SetRates(rates);
                 SimUses<"activity.CompleteLater">();
                 if (!token.ok()) return done.Fail(Failure{.message = std::string(MessageOf(token.status()))});
                 done_.emplace(ctx.idempotency_key(), Encode(work.Pack())->data);
                 on_later_(ctx.info().key.run, *token, work);
                 done.Complete(0);  // which nobody hears
               });
}

inline std::shared_ptr<Registry> SimLedger::CodeFor(SimProcess& process, Versioning versioning) {
  auto registry = std::make_shared<Registry>();
  registry->Bind(kSimWorkflow, RunSimProgram, {.versioning = versioning});
  const auto work = [this, &process, running = std::make_shared<int>(0)](
                        ActivityContext& ctx, const int64_t& input, ActivityCompletion<int64_t> done) {
    Run(process, ctx, SimWork::Unpack(input), std::move(done), running);
  };
  registry->Bind(kSimWork, work, limits_);
  registry->Bind(kSimLater, [this, &process](ActivityContext& ctx, const int64_t& input,
                                             ActivityCompletion<int64_t> done) {
    Later(process, ctx, SimWork::Unpack(input), std::move(done));
  });
  registry->Bind(kSimQuickWork, [this, &process](ActivityContext& ctx, const int64_t& input) {
    Begin(process, ctx);
    return End(ctx, SimWork::Unpack(input));
  });
  return registry;
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
