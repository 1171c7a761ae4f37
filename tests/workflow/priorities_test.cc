// Priorities: who goes first of what waits in a task queue, and where runs, activities and children have theirs from.
// labels: threads
// program: activities
#include <gmock/gmock.h>

#include "fixture.h"
#include "marathon/adapters/memory.h"
#include "marathon/testing/blocking_sim_runtime.h"
#include "marathon/testing/sim_world.h"
#include "marathon/testing/test_environment.h"

namespace marathon::tests::priorities_test {
namespace {

using marathon::testing::BlockingSimRuntime;
using marathon::testing::TestEnvironment;
using marathon::testing::TestEnvironmentOptions;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ints = std::vector<int>;

constexpr ActivityDef<int(int)> kWork{"Work"};

int Same(int x) { return x; }

// An activity of each priority, all at once.
Workflow<int> Batch(WorkflowContext& ctx, Ints priorities) {
  std::vector<ActivityHandle<int>> handles;
  for (const int priority : priorities) handles.push_back(ctx.Start(kWork, priority, {.priority = priority}));
  int sum = 0;
  for (const int value : co_await ctx.All(handles)) sum += value;
  co_return sum;
}

Registry Batches(ActivityLimits limits = {}) {
  Registry registry;
  registry.Bind("Batch", Batch);
  registry.Bind(kWork, Same, limits);
  return registry;
}

// ---- The order, in virtual time

// The first begins at once; the others wait in the worker, for their type's limit.
TEST(PrioritiesTest, WhatWaitsForALimitGoesByPriority) {
  TestEnvironment env(Batches({.max_concurrent = 1}));
  env.Mock(kWork, Same, {.delay = 10s});
  const auto run = env.engine().Start("Batch", Ints{5, 3, 4, 1, 2, 5, 1});
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 21);
  EXPECT_THAT((env.Inputs<Ints::value_type>("Work")), ElementsAre(5, 1, 1, 2, 3, 4, 5));
}

// A worker that may begin one a second asks its queue for one, and what is in its hands then is not overtaken.
TEST(PrioritiesTest, WhatWaitsInTheQueueGoesByPriority) {
  TestEnvironmentOptions options;
  options.max_activities_per_second = 1;
  TestEnvironment env(Batches(), options);
  ASSERT_TRUE(env.engine().Start("Batch", Ints{3}).ok());
  ASSERT_TRUE(env.engine().Start("Batch", Ints{4}).ok());
  const auto run = env.engine().Start("Batch", Ints{5, 3, 1, 2});
  const auto urgent = env.engine().Start("Batch", Ints{1});
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 11);
  EXPECT_EQ(ResultOf<int>(urgent).value_or(0), 1);
  EXPECT_THAT((env.Inputs<Ints::value_type>("Work")), ElementsAre(3, 4, 1, 1, 2, 3, 5));
}

// ---- Past the queue

// Short activities are claimed before a thread is free: these for ever, unless the queue is let in.
TEST(PrioritiesTest, WhatIsClaimedAheadLetsInWhatGoesFirst) {
  marathon::testing::SimWorld world(1);
  const auto at_worker = std::make_shared<BlockingSimRuntime>(world, "worker", BlockingSimRuntime::Limits{.steps = 50'000});
  const auto at_client = std::make_shared<BlockingSimRuntime>(world, "client", BlockingSimRuntime::Limits{.steps = 50'000});
  const Ports ports = NewMemoryPorts(world);
  int calls = 0;
  bool urgent_ran = false;
  Registry workflows;
  workflows.Bind("Loop", [](WorkflowContext& ctx, int) -> Workflow<int> {
    for (int i = 0; i < 10; ++i) {
      if (co_await ctx.Run(kWork, 0) > 0) co_return 0;
    }
    co_await ctx.ContinueAsNew(0);
    co_return 0;
  });
  workflows.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("Urgent", 0); });
  Registry all = workflows;
  all.Bind(kWork, [&](int) {
    ++calls;
    return urgent_ran ? 1 : 0;
  });
  all.Bind("Urgent", [&](int) {
    urgent_ran = true;
    return 1;
  });
  auto worker = Engine::Open(ports, all, {.activity_threads = 1, .build_id = "test"}, at_worker);
  auto client = Engine::Open(ports, workflows, {.build_id = "test"}, at_client);
  ASSERT_TRUE(worker.ok() && client.ok()) << worker.status() << client.status();
  std::vector<StatusOr<marathon::Run>> loops;
  for (int i = 0; i < 4; ++i) loops.push_back(worker->Start("Loop", 0, {.priority = 4}));
  EXPECT_TRUE(at_worker->RunUntil([&] { return calls > 200; }, kNever));  // by now they are known to be short
  const int before = calls;
  EXPECT_EQ(ResultOf<int>(client->Start("W", {.priority = 1})).value_or(0), 1);
  EXPECT_LT(calls - before, 2'000) << "what may be claimed without a look, and no more";
  urgent_ran = true;
  for (const auto& loop : loops) EXPECT_TRUE(ResultOf<int>(loop).ok());
}

// ---- Over each store

class PrioritiesOfAWorkerTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, PrioritiesOfAWorkerTest, ::testing::ValuesIn(AllSetups()), SetupName);

// The only thread is busy while a backlog comes, and behind it what is to go first.
TEST_P(PrioritiesOfAWorkerTest, OvertakesABacklog) {
  if (IsOverSqs(GetParam().store)) GTEST_SKIP() << "its queue has no order";
  constexpr int kBacklog = 20;
  Mailbox<bool> begun, go;
  Mailbox<int> order;
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, int number) -> Workflow<int> { co_return co_await ctx.Run(kWork, number); });
  registry.Bind(kWork, [&](int number) {
    order.Put(number);
    if (number == 0) begun.Put(true);
    if (number == 0) go.Take();
    return number;
  });
  EngineOptions options = Options();
  options.activity_threads = 1;
  Engine engine = Open(registry, options);
  std::vector<StatusOr<marathon::Run>> runs;
  runs.push_back(engine.Start("W", 0));
  begun.Take();
  for (int i = 1; i <= kBacklog; ++i) runs.push_back(engine.Start("W", i, {.priority = 4}));
  runs.push_back(engine.Start("W", -1, {.priority = 2}));
  runs.push_back(engine.Start("W", -2, {.priority = 1}));
  go.Put(true);
  for (const auto& run : runs) EXPECT_TRUE(ResultOf<int>(run).ok());
  Ints first;
  for (int i = 0; i < 3; ++i) first.push_back(order.Take());
  EXPECT_THAT(first, ElementsAre(0, -2, -1));
}

// ---- Whose it is

// The priorities in a history: of the run, and of all that it has scheduled.
Ints PrioritiesIn(const marathon::Run& run) {
  Ints priorities;
  const auto history = run.History();
  EXPECT_TRUE(history.ok()) << history.status();
  for (const Event& event : history.ok() ? *history : History()) {
    if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) priorities.push_back(started->priority);
    if (const auto* call = std::get_if<ActivityScheduled>(&event.body)) priorities.push_back(call->policy.priority);
  }
  return priorities;
}

constexpr WorkflowDef<int()> kOneActivity{"OneActivity"};

Workflow<int> OneActivity(WorkflowContext& ctx) {
  co_await ctx.Run(kWork, 0);
  co_return ctx.priority();
}

Workflow<Ints> Family(WorkflowContext& ctx) {
  Ints seen{ctx.priority()};
  co_await ctx.Run(kWork, 0);
  co_await ctx.Run(kWork, 0, {.priority = 5});
  seen.push_back(co_await ctx.RunChild(kOneActivity, {.workflow_id = "child"}));
  seen.push_back(co_await ctx.RunChild(kOneActivity, {.workflow_id = "other", .priority = 4}));
  co_return seen;
}

// Continues once, fails once, and then ends.
Workflow<int> Chain(WorkflowContext& ctx, int round) {
  co_await ctx.Run(kWork, 0);
  if (round == 0) co_await ctx.ContinueAsNew(round + 1);
  if (ctx.attempt() == 1) throw ApplicationError("once more");
  co_return ctx.priority();
}

Registry Families() {
  Registry registry = Batches();
  registry.Bind(kOneActivity, OneActivity);
  registry.Bind("Family", Family);
  registry.Bind("Chain", Chain);
  return registry;
}

TEST(PrioritiesTest, ActivitiesAndChildrenHaveTheirRuns) {
  TestEnvironment env(Families());
  Engine& engine = env.engine();
  const auto run = engine.Start("Family", {.workflow_id = "family", .priority = 2});
  EXPECT_THAT(ResultOf<Ints>(run).value(), ElementsAre(2, 2, 4));
  EXPECT_THAT(PrioritiesIn(*run), ElementsAre(2, 2, 5, 2, 4));
  EXPECT_THAT(PrioritiesIn(engine.Find("child")), ElementsAre(2, 2));
  EXPECT_THAT(PrioritiesIn(engine.Find("other")), ElementsAre(4, 4));
}

TEST(PrioritiesTest, OneThatSaysNothingHasTheDefault) {
  TestEnvironment env(Families());
  const auto run = env.engine().Start("OneActivity");
  EXPECT_EQ(ResultOf<int>(run).value_or(0), limits::kDefaultPriority);
  EXPECT_THAT(PrioritiesIn(*run), ElementsAre(limits::kDefaultPriority, limits::kDefaultPriority));
}

// Kept or not, since a run that is replayed must know it, too.
TEST(PrioritiesTest, TheNextRunsOfAChainKeepIt) {
  for (const size_t cache_runs : {0, 10}) {
    TestEnvironment env(Families(), {.cache_runs = cache_runs});
    StartOptions options{.workflow_id = "chain"};
    options.retry = kThreeTries;
    options.priority = 1;
    const auto run = env.engine().Start("Chain", 0, options);
    EXPECT_EQ(ResultOf<int>(run).value_or(0), 1);
    const auto list = env.engine().List();
    ASSERT_TRUE(list.ok() && list->runs.size() == 3u) << list.status();
    for (const RunRow& row : list->runs) {
      EXPECT_THAT(PrioritiesIn(env.engine().Find(row.key.workflow_id, row.key.run_id)), ElementsAre(1, 1));
    }
  }
}

// Without a policy the next run is made from what the code remembers of its start.
TEST(PrioritiesTest, ARunThatIsContinuedAndNothingElseKeepsIt) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, int round) -> Workflow<int> {
    if (round < 2) co_await ctx.ContinueAsNew(round + 1);
    co_return ctx.priority();
  });
  TestEnvironment env(registry);
  EXPECT_EQ(ResultOf<int>(env.engine().Start("W", 0, {.priority = 5})).value_or(0), 5);
}

TEST(PrioritiesTest, AForkKeepsIt) {
  TestEnvironment env(Families());
  const auto run = env.engine().Start("Family", {.priority = 2});
  ASSERT_TRUE(ResultOf<Ints>(run).ok());
  const auto afresh = run->Fork({});
  EXPECT_THAT(ResultOf<Ints>(afresh).value(), ElementsAre(2, 2, 4));
  EXPECT_THAT(PrioritiesIn(*afresh), ElementsAre(2, 2, 5, 2, 4));
}

TEST(PrioritiesTest, TheRunsOfAScheduleHaveItsActions) {
  TestEnvironment env(Families());
  ScheduleConfig config;
  config.spec.intervals = {{.every = 1h}};
  config.action.workflow_type = "OneActivity";
  config.action.priority = 4;
  const auto schedule = env.engine().CreateSchedule("hourly", config);
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  env.Advance(90min);
  const auto runs = env.engine().List({.workflow_type = "OneActivity"});
  ASSERT_TRUE(runs.ok() && runs->runs.size() == 1u) << runs.status();
  EXPECT_THAT(PrioritiesIn(env.engine().Find(runs->runs[0].key.workflow_id)), ElementsAre(4, 4));
  config.action.priority = 6;
  const Status refused = env.engine().CreateSchedule("bad", config).status();
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("the priority is 6; it must be 1"));
}

// ---- Others than there are

TEST(PrioritiesTest, AStartWithAnotherIsRefused) {
  TestEnvironment env(Families());
  for (const int wrong : {-1, 6, 259}) {
    const Status refused = env.engine().Start("OneActivity", {.priority = wrong}).status();
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr(std::to_string(wrong) + "; it must be 1, which goes first, to 5"));
  }
  EXPECT_TRUE(env.engine().List()->runs.empty());
}

TEST(PrioritiesTest, ACallWithAnotherThrows) {
  Registry registry = Families();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::vector<std::string>> {
    std::vector<std::string> told;
    const auto tell = [&told](const ApplicationError& error) {
      told.push_back(error.failure().type + ": " + error.failure().message);
    };
    try {
      co_await ctx.Run(kWork, 0, {.priority = 6});
    } catch (const ApplicationError& error) {
      tell(error);
    }
    try {
      co_await ctx.RunChild(kOneActivity, {.priority = -3});
    } catch (const ApplicationError& error) {
      tell(error);
    }
    co_return told;
  });
  TestEnvironment env(registry);
  const auto told = ResultOf<std::vector<std::string>>(env.engine().Start("W"));
  EXPECT_THAT(told.value(),
              ElementsAre(AllOf(HasSubstr(failure_type::kEncode), HasSubstr("activity \"Work\": the priority is 6")),
                          AllOf(HasSubstr(failure_type::kEncode), HasSubstr("child \"OneActivity\": the priority is -3"))));
  EXPECT_TRUE(env.Calls(kWork).empty());
}

}  // namespace
}  // namespace marathon::tests::priorities_test
