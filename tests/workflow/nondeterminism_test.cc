// Code that changed under its runs: each kind of mismatch blocks the run and says what history has, what
// the code did and where; the right code goes on. Hanging turns, and code that does not repeat itself.
// labels: threads
// program: engine
#include <gmock/gmock.h>

#include "fixture.h"

namespace marathon::tests::nondeterminism_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Body = std::function<Workflow<void>(WorkflowContext&)>;

class NondeterminismTest : public WorkflowTest {
 protected:
  // Runs `before`, then waits for the signal "go".
  static Registry With(Body body) {
    Registry registry;
    registry.Bind("A", [](int x) { return x; });
    registry.Bind("B", [](int x) { return x; });
    registry.Bind("W", [body = std::move(body)](WorkflowContext& ctx) -> Workflow<int> {
      co_await body(ctx);
      co_return co_await ctx.Receive<int>("go");
    });
    return registry;
  }

  // The run begins with code `then`, and is blocked by code `now` of another engine, whose reason this
  // gives. Code `then` goes on all the same.
  std::string ReasonFor(const Body& then, const Body& now) {
    {
      Engine engine = Open(With(then));
      const auto run = engine.Start("W", {.workflow_id = "w"});
      EXPECT_TRUE(run.ok()) << run.status();
      // Not one turn more: the canceled timers are long, the activities wait for a worker of "nobody".
    }
    BlockInfo blocked;
    {
      EngineOptions options = Options();
      options.build_id = "newer";
      Engine engine = Open(With(now), options);
      const auto run = engine.Find("w");
      EXPECT_TRUE(run.Signal("go", 7).ok());
      blocked = WaitUntilBlocked(run);
      EXPECT_EQ(run.Describe()->run.status, RunStatus::kRunning);
    }
    EXPECT_EQ(blocked.build_id, "newer");
    EXPECT_THAT(blocked.reason, HasSubstr("event " + std::to_string(blocked.event_id)));
    Engine engine = Open(With(then));  // tries blocked runs by itself
    EXPECT_EQ(engine.Find("w").Result<int>(kPatience).value_or(0), 7);
    return blocked.reason;
  }
};
INSTANTIATE_TEST_SUITE_P(, NondeterminismTest, ::testing::ValuesIn(AllSetups()), SetupName);

Workflow<void> Nothing(WorkflowContext&) { co_return; }
Workflow<void> OneTimer(WorkflowContext& ctx) {
  auto timer = ctx.StartTimer(24h);
  co_return;
}
Workflow<void> OneActivity(WorkflowContext& ctx) {
  auto activity = ctx.Start<int>("A", 1, {.task_queue = "nobody"});
  co_return;
}
std::string Here(int line) { return "nondeterminism_test.cc:" + std::to_string(line) + ")"; }

TEST_P(NondeterminismTest, AnotherKindOfCommand) {
  int line = 0;
  const auto reason = ReasonFor(OneTimer, [&line](WorkflowContext& ctx) -> Workflow<void> {
    line = __LINE__ + 1;
    auto activity = ctx.Start<int>("A", 1);
    co_return;
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("event 3"), HasSubstr("TimerStarted (86400000 ms)"),
                            HasSubstr("ActivityScheduled \"A\""), HasSubstr(Here(line))));
}

TEST_P(NondeterminismTest, AnotherActivity) {
  int line = 0;
  const auto reason = ReasonFor(OneActivity, [&line](WorkflowContext& ctx) -> Workflow<void> {
    line = __LINE__ + 1;
    auto activity = ctx.Start<int>("B", 1, {.task_queue = "nobody"});
    co_return;
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("event 3"), HasSubstr("ActivityScheduled \"A\""),
                            HasSubstr("ActivityScheduled \"B\""), HasSubstr(Here(line))));
}

TEST_P(NondeterminismTest, OneCommandTooMany) {
  int line = 0;
  const auto reason = ReasonFor(Nothing, [&line](WorkflowContext& ctx) -> Workflow<void> {
    line = __LINE__ + 1;
    auto timer = ctx.StartTimer(24h);
    co_return;
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("event 3"), HasSubstr("no further command in this turn"),
                            HasSubstr("TimerStarted"), HasSubstr(Here(line))));
}

TEST_P(NondeterminismTest, OneCommandTooFew) {
  int line = 0;
  const auto then = [](WorkflowContext& ctx) -> Workflow<void> {
    co_await OneActivity(ctx);
    co_await OneTimer(ctx);
  };
  const auto reason = ReasonFor(then, [&line](WorkflowContext& ctx) -> Workflow<void> {
    line = __LINE__ + 1;
    auto activity = ctx.Start<int>("A", 1, {.task_queue = "nobody"});
    co_return;
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("event 4"), HasSubstr("TimerStarted"),
                            HasSubstr("nothing more after ActivityScheduled \"A\""),
                            HasSubstr(Here(line))));
}

TEST_P(NondeterminismTest, NoCommandAtAll) {
  EXPECT_THAT(ReasonFor(OneTimer, Nothing),
              AllOf(HasSubstr("event 3"), HasSubstr("TimerStarted"), HasSubstr("nothing")));
}

Workflow<void> CancelOneOfTwo(WorkflowContext& ctx, bool first, int* line) {
  auto one = ctx.StartTimer(24h);
  auto two = ctx.StartTimer(24h);
  *line = __LINE__ + 1;
  (first ? one : two).Cancel();
  co_return;
}

TEST_P(NondeterminismTest, AnotherTimerCanceled) {
  int line = 0;
  const auto reason =
      ReasonFor([&](WorkflowContext& ctx) { return CancelOneOfTwo(ctx, true, &line); },
                [&](WorkflowContext& ctx) { return CancelOneOfTwo(ctx, false, &line); });
  EXPECT_THAT(reason, AllOf(HasSubstr("event 5"), HasSubstr("TimerCanceled (timer 3)"),
                            HasSubstr("TimerCanceled (timer 4)"), HasSubstr(Here(line))));
}

Workflow<void> CancelOneOfTwoActivities(WorkflowContext& ctx, bool first) {
  auto one = ctx.Start<int>("A", 1, {.task_queue = "nobody"});
  auto two = ctx.Start<int>("A", 1, {.task_queue = "nobody"});
  (first ? one : two).Cancel();
  co_return;
}

TEST_P(NondeterminismTest, AnotherActivityCanceled) {
  const auto reason =
      ReasonFor([](WorkflowContext& ctx) { return CancelOneOfTwoActivities(ctx, true); },
                [](WorkflowContext& ctx) { return CancelOneOfTwoActivities(ctx, false); });
  EXPECT_THAT(reason, AllOf(HasSubstr("event 5"), HasSubstr("(activity 3)"), HasSubstr("(activity 4)")));
}

Workflow<void> OneSideEffect(WorkflowContext& ctx, int* line) {
  *line = __LINE__ + 1;
  co_await ctx.SideEffect([] { return 1; });
}

TEST_P(NondeterminismTest, ASideEffectThatWasNotThere) {
  int line = 0;
  const auto now = [&line](WorkflowContext& ctx) { return OneSideEffect(ctx, &line); };
  const auto reason = ReasonFor(OneTimer, now);
  EXPECT_THAT(reason, AllOf(HasSubstr("event 3"), HasSubstr("TimerStarted"),
                            HasSubstr("side effect"), HasSubstr(Here(line))));
}

TEST_P(NondeterminismTest, ASideEffectAtTheEndOfATurn) {
  int line = 0;
  const auto now = [&line](WorkflowContext& ctx) { return OneSideEffect(ctx, &line); };
  const auto reason = ReasonFor(Nothing, now);
  EXPECT_THAT(reason, AllOf(HasSubstr("event 3"), HasSubstr("nothing more in this turn"),
                            HasSubstr("side effect"), HasSubstr(Here(line))));
}

TEST_P(NondeterminismTest, ASideEffectThatIsGone) {
  int line = 0;
  const auto then = [&line](WorkflowContext& ctx) { return OneSideEffect(ctx, &line); };
  EXPECT_THAT(ReasonFor(then, OneTimer), AllOf(HasSubstr("event 3"), HasSubstr("SideEffectRecorded"),
                                               HasSubstr("TimerStarted")));
}

TEST_P(NondeterminismTest, AnEndThatWasNotThere) {
  const auto reason = ReasonFor(Nothing, [](WorkflowContext&) -> Workflow<void> {
    throw ApplicationError("too early");
    co_return;
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("event 3"), HasSubstr("WorkflowFailed"), HasSubstr("too early"),
                            ::testing::Not(HasSubstr(":0)"))));
}

TEST_P(NondeterminismTest, UnblockTriesAgain) {
  std::atomic<bool> changed{false};
  Registry registry;
  registry.Bind("W", [&changed](WorkflowContext& ctx) -> Workflow<int> {
    if (changed) co_await ctx.Sleep(24h);
    co_return co_await ctx.Receive<int>("go");
  });
  EngineOptions options = Options();
  options.cache_runs = 0;
  Engine engine = Open(registry, options);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  changed = true;
  ASSERT_TRUE(run->Signal("go", 3).ok());
  const BlockInfo first = WaitUntilBlocked(*run);
  EXPECT_EQ(log_->Count("is blocked: nondeterminism"), 1);
  EXPECT_EQ(engine.List({.blocked_only = true})->runs.size(), 1u);
  ASSERT_TRUE(run->Unblock().ok());
  EXPECT_EQ(WaitUntilBlocked(*run).reason, first.reason) << "again, the code being the same";
  changed = false;
  ASSERT_TRUE(Eventually([&] {  // the block of the second try may still be on its way
    (void)run->Unblock();
    return run->Result<int>(10ms).ok();
  }));
  EXPECT_EQ(engine.List({.blocked_only = true})->runs.size(), 0u);
}

// ---- Code that does not repeat itself

TEST_P(NondeterminismTest, VerifyFindsAGlobalCounter) {
  std::atomic<int> calls{0};
  Registry registry;
  registry.Bind("Late", [&calls](WorkflowContext& ctx) -> Workflow<int> {
    const int x = co_await ctx.Receive<int>("go");
    if (calls++ % 2 == 0) co_await ctx.Sleep(24h);
    co_return x;
  });
  registry.Bind("AtOnce", [&calls](WorkflowContext& ctx) -> Workflow<void> {
    if (calls++ % 2 == 0) {
      co_await ctx.Sleep(24h);
    } else {
      co_await ctx.Receive<int>("go");
    }
  });
  Engine engine = Open(registry);
  const auto late = engine.Start("Late");
  ASSERT_TRUE(late.ok()) << late.status();
  ASSERT_TRUE(late->Signal("go", 1).ok());
  EXPECT_THAT(WaitUntilBlocked(*late).reason, HasSubstr("running the turn again"));
  const auto at_once = engine.Start("AtOnce");
  ASSERT_TRUE(at_once.ok()) << at_once.status();
  EXPECT_THAT(WaitUntilBlocked(*at_once).reason, HasSubstr("running the turn again"));
}

// ---- Turns that hang

TEST_P(NondeterminismTest, AHangingTurnIsBlockedAndOthersGoOn) {
  std::mutex mutex;
  std::condition_variable changed;
  bool released = false;
  Registry registry = With(Nothing);
  registry.Bind("Hangs", [&](WorkflowContext& ctx) -> Workflow<int> {
    const int x = co_await ctx.Receive<int>("go");
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return released; });
    co_return x;
  });
  EngineOptions options = Options();
  options.turn_threads = 1;
  options.watchdog = 100ms;
  auto opened = store_.OpenByUrl(registry, options);  // on threads of its own, which can be replaced
  ASSERT_TRUE(opened.ok()) << opened.status();
  Engine engine = *std::move(opened);
  const auto hangs = engine.Start("Hangs", {.workflow_id = "hangs"});
  ASSERT_TRUE(hangs.ok()) << hangs.status();
  // Whoever brings the signal may be the one who takes the turn.
  std::jthread sender([&] { (void)hangs->Signal("go", 1); });
  EXPECT_TRUE(log_->WaitFor("of workflow \"hangs\" has not yielded"));
  const auto other = engine.Start("W");
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_TRUE(other->Signal("go", 2).ok());
  EXPECT_TRUE(Eventually([&] {  // if the machine holds its turn up for half a second, it is blocked, too
    other->Unblock().IgnoreError();
    return other->Result<int>(10ms).value_or(0) == 2;
  }));
  EXPECT_EQ(WaitUntilBlocked(*hangs).reason, "its turn hangs");
  {
    std::lock_guard lock(mutex);
    released = true;
    changed.notify_all();
  }
  sender.join();
  EXPECT_TRUE(engine.Shutdown().ok());
  Engine next = Open(registry);  // tries it again
  EXPECT_EQ(next.Find("hangs").Result<int>(kPatience).value_or(0), 1);
}

// A first turn runs on its caller's thread. One caller may be held; whoever comes later is not.
TEST_P(NondeterminismTest, AHangingFirstTurnHoldsNoLaterCaller) {
  std::mutex mutex;
  std::condition_variable changed;
  bool released = false;
  Registry registry = With(Nothing);
  registry.Bind("Hangs", [&](WorkflowContext&) -> Workflow<int> {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return released; });
    co_return 1;
  });
  EngineOptions options = Options();
  options.watchdog = 100ms;
  auto opened = store_.OpenByUrl(registry, options);
  ASSERT_TRUE(opened.ok()) << opened.status();
  Engine engine = *std::move(opened);
  std::jthread held([&] { (void)engine.Start("Hangs", {.workflow_id = "first"}); });
  EXPECT_TRUE(log_->WaitFor("of workflow \"first\" has not yielded"));
  const auto second = engine.Start("Hangs", {.workflow_id = "second"});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(WaitUntilBlocked(*second).reason, "its turn hangs");
  {
    std::lock_guard lock(mutex);
    released = true;
    changed.notify_all();
  }
  held.join();
}

}  // namespace
}  // namespace marathon::tests::nondeterminism_test
