#pragma once

#include "marathon/testing/test_environment.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <stop_token>

#include "marathon/adapters/memory.h"
#include "marathon/limits.h"
#include "marathon/testing/blocking_sim_runtime.h"
#include "marathon/testing/held_attempt.h"
#include "marathon/testing/open_runs.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

// All that an environment's engine stands on; the engine's Runs may outlive the environment.
class TestWorld {
 public:
  using Attempt = HeldAttempt::Base;

  TestWorld(const Registry& code, const TestEnvironmentOptions& options)
      : registry(code),
        world(options.seed, {.start = options.start}),
        runtime(world, "test", {.patience = options.patience, .steps = options.max_steps}),
        ports(NewMemoryPorts(world)) {}

  // The code, with this in front of its activities.
  Registry Intercepted() {
    Registry copy = registry;
    copy.InterceptActivities({true, [this](ActivityContext& ctx, const Payload& input, Attempt attempt) {
                                Run(ctx, input, std::move(attempt));
                              }});
    return copy;
  }
  // Ends what runs: nobody will. Those that are told to stop are given back.
  void EndAttempts() {
    for (const std::weak_ptr<HeldAttempt>& weak : std::exchange(attempts_, {})) {
      if (const auto attempt = weak.lock()) attempt->Finish(Failure{.message = "the test has ended"});
    }
  }

  struct Mock {
    marathon::detail::ActivityEntry entry;
    MockOptions options;
  };

  const Registry registry;
  SimWorld world;
  BlockingSimRuntime runtime;
  Ports ports;
  std::map<std::string, Mock, std::less<>> mocks;
  std::vector<ActivityCall> calls;

 private:
  void Run(ActivityContext& ctx, const Payload& input, Attempt attempt);
  std::shared_ptr<HeldAttempt> Record(const ActivityContext& ctx, const Payload& input, Attempt attempt);
  void RunDelayed(ActivityContext& ctx, const Payload& input, const Attempt& base,
                  std::shared_ptr<HeldAttempt> attempt, const Mock& mock);

  std::vector<std::weak_ptr<HeldAttempt>> attempts_;
};

MARATHON_INLINE void TestWorld::Run(ActivityContext& ctx, const Payload& input, Attempt attempt) {
  const std::string& type = ctx.info().activity_type;
  const auto mock = mocks.find(type);
  const marathon::detail::ActivityEntry* bound = registry.FindActivity(type);
  const Attempt base = attempt;  // keeps `ctx`
  std::shared_ptr<HeldAttempt> held = Record(ctx, input, std::move(attempt));
  if (mock != mocks.end()) {
    const Mock double_of_it = mock->second;  // it may be replaced while it runs
    if (double_of_it.options.delay.count() > 0) {
      return RunDelayed(ctx, input, base, std::move(held), double_of_it);
    }
    return double_of_it.entry.run(ctx, input, std::move(held));
  }
  if (bound != nullptr) return bound->run(ctx, input, std::move(held));
  Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
  failure.type = marathon::failure_type::kUnregistered;
  failure.message = fmt::format("activity \"{}\" is neither mocked nor registered", type);
  held->Finish(std::move(failure));
}

MARATHON_INLINE std::shared_ptr<HeldAttempt> TestWorld::Record(const ActivityContext& ctx,
                                                               const Payload& input, Attempt attempt) {
  const size_t index = calls.size();
  calls.push_back({ctx.info(), input, world.Now()});
  auto held = std::make_shared<HeldAttempt>(
      std::move(attempt), [this, index](const Attempt& base, marathon::detail::AttemptResult result) {
        if (const auto* payload = std::get_if<Payload>(&result)) calls[index].outcome = *payload;
        if (const auto* failure = std::get_if<Failure>(&result)) {
          calls[index].outcome = FailureStatus(*failure);
        }
        base->Finish(std::move(result));
      });
  std::erase_if(attempts_, [](const auto& weak) { return weak.expired(); });
  attempts_.push_back(held);
  return held;
}

// What is told to stop ends at once, but not inside the call that tells it.
MARATHON_INLINE void TestWorld::RunDelayed(ActivityContext& ctx, const Payload& input,
                                           const Attempt& base, std::shared_ptr<HeldAttempt> held,
                                           const Mock& mock) {
  const auto stop = [this, weak = std::weak_ptr(held)] {
    world.After(kWorldActor, 0, "mock stopped", [weak] {
      Failure failure{.kind = FailureKind::kCanceled};
      failure.type = marathon::failure_type::kCanceled;
      failure.message = "the mock was told to stop";
      if (const auto stopped = weak.lock()) stopped->Finish(std::move(failure));
    });
  };
  using StopCallback = std::stop_callback<decltype(stop)>;
  auto on_stop = std::make_shared<StopCallback>(ctx.stop_token(), stop);
  world.After(kWorldActor, mock.options.delay.count() * 1'000, "mock done",
              [&ctx, input, base, held = std::move(held), on_stop, entry = mock.entry] {
                if (held->open()) entry.run(ctx, input, held);
              });
}

}  // namespace internal

MARATHON_INLINE TestEnvironment::TestEnvironment(const Registry& registry,
                                                 TestEnvironmentOptions options)
    : world_(std::make_shared<internal::TestWorld>(registry, options)) {
  EngineOptions engine;
  engine.task_queues = std::move(options.task_queues);
  engine.verify_determinism = options.verify_determinism;
  engine.cache_runs = options.cache_runs;
  engine.max_activities_per_second = options.max_activities_per_second;
  engine.lease = limits::kRestingLease;  // nobody dies here: no need to renew it more often
  engine.build_id = "test";
  engine.log = options.log ? std::move(options.log) : NewStderrLogSink();
  world_->runtime.SetGiveUp([world = world_.get(), log = engine.log] {
    log->Log(LogLevel::kWarning,
             "TestEnvironment: gave up waiting, after its `patience` or `max_steps`. Open runs:\n" + testing::DescribeOpenRuns(*world->ports.store));
  });
  auto runtime = std::shared_ptr<Runtime>(world_, &world_->runtime);
  auto opened = Engine::Open(world_->ports, world_->Intercepted(), std::move(engine), std::move(runtime));
  if (!opened.ok()) {
    fmt::print(stderr, "TestEnvironment: {}\n", MessageOf(opened.status()));
    std::abort();
  }
  engine_.emplace(*std::move(opened));
}

MARATHON_INLINE TestEnvironment::~TestEnvironment() {
  After(Duration(1'000), [world = world_.get()] { world->EndAttempts(); });
  engine_.reset();
  world_->world.Clear();
}

MARATHON_INLINE Time TestEnvironment::Now() const { return world_->world.Now(); }

MARATHON_INLINE void TestEnvironment::Advance(Duration by) {
  world_->runtime.RunUntil([] { return false; }, AddSaturated(Now(), by));
}

MARATHON_INLINE void TestEnvironment::RunUntilIdle() {
  world_->runtime.RunUntil([] { return false; }, Now());
}

MARATHON_INLINE void TestEnvironment::After(Duration delay, std::function<void()> work) {
  world_->world.After(kWorldActor, delay.count() * 1'000, "test", std::move(work));
}

MARATHON_INLINE void TestEnvironment::At(Time time, std::function<void()> work) {
  world_->world.After(kWorldActor, (time - Now()).count(), "test", std::move(work));
}

MARATHON_INLINE void TestEnvironment::AddMock(std::string_view name,
                                              marathon::detail::ActivityEntry entry,
                                              MockOptions options) {
  world_->mocks.insert_or_assign(std::string(name), internal::TestWorld::Mock{std::move(entry), options});
}

MARATHON_INLINE void TestEnvironment::Unmock(std::string_view name) {
  const auto mock = world_->mocks.find(name);
  if (mock != world_->mocks.end()) world_->mocks.erase(mock);
}

MARATHON_INLINE std::vector<ActivityCall> TestEnvironment::Calls(std::string_view activity_type) const {
  std::vector<ActivityCall> calls;
  for (const ActivityCall& call : world_->calls) {
    if (call.info.activity_type == activity_type) calls.push_back(call);
  }
  return calls;
}

MARATHON_INLINE std::string TestEnvironment::DescribeOpenRuns() const {
  return testing::DescribeOpenRuns(*world_->ports.store);
}

}  // namespace marathon::inline MARATHON_ABI::testing
