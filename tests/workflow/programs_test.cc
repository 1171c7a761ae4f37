// The programming model inside a run: helpers, branches, All and Any, timers, conditions, signals, side
// effects, and what replay must repeat.
// labels: threads
// program: programs
#include <gmock/gmock.h>

#include <numeric>
#include <set>

#include "../sanitized.h"
#include "fixture.h"

namespace marathon::tests::programs_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Strings = std::vector<std::string>;
using Ints = std::vector<int>;

class ProgramsTest : public WorkflowTest {
 protected:
  // A registry with `workflow` as "W" and an activity "Echo" that gives an int back.
  template <class Fn>
  static Registry With(Fn workflow) {
    Registry registry;
    registry.Bind("W", std::move(workflow));
    registry.Bind("Echo", [](int x) { return x; });
    return registry;
  }
};
INSTANTIATE_TEST_SUITE_P(, ProgramsTest, ::testing::ValuesIn(AllSetups()), SetupName);

// ---- Forms of workflows

Workflow<int> FreeWorkflow(WorkflowContext& ctx, int x) { co_return x + co_await ctx.Run<int>("Echo", 1); }
struct WorkflowFunctor {
  int add;
  Workflow<int> operator()(WorkflowContext& ctx, const int& x) const {
    co_return add + x + co_await ctx.Run<int>("Echo", 1);
  }
};

TEST_P(ProgramsTest, EveryFormOfCallableIsAWorkflow) {
  static constexpr WorkflowDef<int(int)> kGeneric{"Generic"};
  static constexpr WorkflowDef<void()> kNothing{"Nothing"};
  Registry registry;
  registry.Bind("Echo", [](int x) { return x; });
  registry.Bind("Free", FreeWorkflow);
  registry.Bind("Functor", WorkflowFunctor{0});
  registry.Bind("Lambda", [text = std::string("0")](WorkflowContext& ctx, int x) -> Workflow<int> {
    co_return x + co_await ctx.Run<int>("Echo", 1) + std::stoi(text);
  });
  registry.Bind(kGeneric, [](auto& ctx, auto x) -> Workflow<int> {
    co_return x + co_await ctx.template Run<int>("Echo", 1);
  });
  registry.Bind(kNothing, [](WorkflowContext& ctx) -> Workflow<void> { co_await ctx.Sleep(1ms); });
  registry.Bind("AtOnce", [](WorkflowContext&, int x) -> Workflow<int> { co_return x + 1; });
  Engine engine = Open(registry);
  for (const char* name : {"Free", "Functor", "Lambda", "Generic", "AtOnce"}) {
    EXPECT_EQ(ResultOf<int>(engine.Start(name, 41)).value_or(0), 42) << name;
  }
  EXPECT_EQ(ResultOf<int>(engine.Start(kGeneric, 41)).value_or(0), 42);
  EXPECT_EQ(ResultOf(engine.Start(kNothing)), Status());
}

Workflow<int> Depth(WorkflowContext& ctx, int levels) {
  if (levels == 0) co_return co_await ctx.Run<int>("Echo", 1);
  const int below = co_await Depth(ctx, levels - 1);
  co_return 2 * below + co_await ctx.Run<int>("Echo", 1);
}

TEST_P(ProgramsTest, HelpersRunInlineThreeDeep) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<int> { co_return co_await Depth(ctx, 3); });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 15);
}

Workflow<int> ThrowsDeep(WorkflowContext& ctx, int levels) {
  co_await ctx.Sleep(1ms);
  if (levels == 0) throw ApplicationError("from below", {.type = "Deep"});
  co_return co_await ThrowsDeep(ctx, levels - 1);
}

TEST_P(ProgramsTest, ExceptionsCrossHelpers) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<std::string> {
    try {
      co_await ThrowsDeep(ctx, 2);
    } catch (const ApplicationError& e) {
      co_return e.failure().type;
    }
    co_return "nothing";
  });
  EXPECT_EQ(RunOnce<std::string>(registry).value_or(""), "Deep");
}

TEST_P(ProgramsTest, ManyHelpersThatDoNotWaitNeedNoStack) {
  struct Helpers {
    static Workflow<int> One() { co_return 1; }
  };
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<int> {
    int sum = 0;
    for (int i = 0; i < 20'000; ++i) sum += co_await Helpers::One();
    co_await ctx.Sleep(1ms);
    co_return sum;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 20'000);
}

// ---- Branches

Workflow<int> SleepThen(WorkflowContext& ctx, Duration duration, int value) {
  co_await ctx.Sleep(duration);
  co_return value;
}
Workflow<int> SleepThenThrow(WorkflowContext& ctx, Duration duration, std::string message) {
  co_await ctx.Sleep(duration);
  throw ApplicationError(message);
}

TEST_P(ProgramsTest, BranchesAreSpawnedAndJoined) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Ints> {
    auto slow = ctx.Spawn(SleepThen(ctx, 5ms, 1));
    auto quick = ctx.Spawn(SleepThen(ctx, 1ms, 2));
    auto throws = ctx.Spawn(SleepThenThrow(ctx, 1ms, "no"));
    Ints values;
    values.push_back(co_await ctx.Run<int>("Echo", 3));
    values.push_back(co_await slow);
    values.push_back(co_await quick);
    values.push_back(co_await quick);  // a handle answers each time
    values.push_back((co_await ctx.Try(throws)).ok() ? 1 : 0);
    co_return values;
  });
  const auto values = RunOnce<Ints>(registry);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_THAT(*values, ElementsAre(3, 1, 2, 2, 0));
}

TEST_P(ProgramsTest, AllGivesATupleOrAVector) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Ints> {
    auto number = ctx.Start<int>("Echo", 1);
    auto timer = ctx.StartTimer(1ms);
    auto branch = ctx.Spawn(SleepThen(ctx, 1ms, 2));
    const auto [a, nothing, b] = co_await ctx.All(number, timer, branch);
    static_assert(std::is_same_v<decltype(nothing), const std::monostate>);
    std::vector<Handle<int>> handles = {number, branch};
    Ints values = co_await ctx.All(handles);
    std::vector<TimerHandle> timers = {timer, ctx.StartTimer(1ms)};
    co_await ctx.All(timers);
    std::vector<Handle<int>> none;
    values.push_back(static_cast<int>((co_await ctx.All(none)).size()));
    values.push_back(a + b);
    co_return values;
  });
  const auto values = RunOnce<Ints>(registry);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_THAT(*values, ElementsAre(1, 2, 0, 3));
}

TEST_P(ProgramsTest, AllFailsWithTheFirstFailureOnceAllHaveSettled) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings seen;
    auto late = ctx.Spawn(SleepThenThrow(ctx, 40ms, "late"));
    auto early = ctx.Spawn(SleepThenThrow(ctx, 1ms, "early"));
    auto last = ctx.Spawn(SleepThen(ctx, 80ms, 1));
    try {
      co_await ctx.All(late, early, last);
    } catch (const ApplicationError& e) {
      seen.push_back(e.failure().message);
    }
    seen.push_back(late.done() && last.done() ? "all settled" : "some go on");
    std::vector<Handle<int>> handles = {late, early, last};
    try {
      co_await ctx.All(handles);
    } catch (const ApplicationError& e) {
      seen.push_back(e.failure().message);
    }
    co_return seen;
  });
  const auto seen = RunOnce<Strings>(registry);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(*seen, ElementsAre("early", "all settled", "early"));
}

TEST_P(ProgramsTest, AnyGivesTheFirstAndLeavesTheOthers) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Ints> {
    auto never = ctx.StartTimer(24h);
    auto soon = ctx.Spawn(SleepThen(ctx, 1ms, 7));
    Ints seen;
    seen.push_back(static_cast<int>(co_await ctx.Any(never, soon)));
    std::vector<Handle<void>> handles = {never, ctx.StartTimer(1ms)};
    seen.push_back(static_cast<int>(co_await ctx.Any(handles)));
    seen.push_back(never.done() ? 1 : 0);
    auto throws = ctx.Spawn(SleepThenThrow(ctx, 1ms, "no"));
    seen.push_back(static_cast<int>(co_await ctx.Any(never, throws)));  // not thrown here
    co_return seen;
  });
  const auto seen = RunOnce<Ints>(registry);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(*seen, ElementsAre(1, 1, 0, 1));
}

TEST_P(ProgramsTest, ABranchLeftBehindEndsWithTheRun) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<int> {
    auto left = ctx.Spawn(SleepThen(ctx, 24h, 1));
    auto dropped = ctx.Start<int>("Echo", 1);
    co_await ctx.Sleep(1ms);
    co_return 1;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 1);
}

// ---- Time and conditions

TEST_P(ProgramsTest, TimersFireInOrderAndCanBeCanceled) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings seen;
    const Time begin = ctx.Now();
    auto canceled = ctx.StartTimer(24h);
    co_await ctx.Sleep(20ms);
    if (ctx.Now() >= begin + 20ms) seen.push_back("20 ms");
    co_await ctx.Sleep(0ms);
    co_await ctx.Sleep(-5ms);
    canceled.Cancel();
    try {
      co_await canceled;
    } catch (const CanceledError&) {
      seen.push_back("canceled");
    }
    auto fired = ctx.StartTimer(1ms);
    co_await fired;
    fired.Cancel();
    co_await fired;
    seen.push_back("fired");
    co_return seen;
  });
  const auto seen = RunOnce<Strings>(registry);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(*seen, ElementsAre("20 ms", "canceled", "fired"));
}

TEST_P(ProgramsTest, WaitUntilIsAskedAfterEveryChange) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings seen;
    int count = 0;
    auto counts = [&]() -> Workflow<void> {
      for (int i = 0; i < 3; ++i) {
        co_await ctx.Sleep(1ms);
        ++count;
      }
    };
    auto counter = ctx.Spawn(counts());
    co_await ctx.WaitUntil([&] { return true; });
    co_await ctx.WaitUntil([&] { return count == 2; });
    seen.push_back("two");
    if (co_await ctx.WaitUntil([&] { return count == 3; }, 24h)) seen.push_back("three");
    if (!co_await ctx.WaitUntil([&] { return count == 4; }, 1ms)) seen.push_back("not four");
    if (co_await ctx.WaitUntil([&] { return count == 3; }, 1ms)) seen.push_back("still three");
    co_await counter;
    co_return seen;
  });
  const auto seen = RunOnce<Strings>(registry);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(*seen, ElementsAre("two", "three", "not four", "still three"));
}

TEST_P(ProgramsTest, AThrowingPredicateThrowsAtItsAwait) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<int> {
    int caught = 0;
    bool ready = false;
    const auto throws = [&]() -> bool { return ready ? throw ApplicationError("predicate") : false; };
    auto makes_ready = [&]() -> Workflow<void> {
      co_await ctx.Sleep(1ms);
      ready = true;
    };
    auto branch = ctx.Spawn(makes_ready());
    try {
      co_await ctx.WaitUntil(throws);
    } catch (const ApplicationError&) {
      ++caught;
    }
    try {
      co_await ctx.WaitUntil(throws, 24h);
    } catch (const ApplicationError&) {
      ++caught;
    }
    co_await branch;
    co_return caught;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 2);
}

// ---- Signals

Workflow<Ints> Collect(WorkflowContext& ctx, int count) {
  Ints values;
  while (static_cast<int>(values.size()) < count) values.push_back(co_await ctx.Receive<int>("n"));
  co_return values;
}

// Most wait in the inbox when a worker comes: it takes them a thousand a turn.
TEST_P(ProgramsTest, TenThousandSignalsArriveInOrder) {
  const int live = GetParam().cache_runs == 0 ? 50 : 500;  // each replays the whole run without a cache
  constexpr int kSignals = kSanitized ? 2'000 : 10'000;
  const int waiting = kSignals - live;
  Registry registry;
  registry.Bind("W", Collect);
  EngineOptions options = Options();
  options.verify_determinism = false;
  {
    Engine client = Open(Registry(), options);  // has no code: starts and signals only
    const auto run = client.Start("W", kSignals, {.workflow_id = "w"});
    ASSERT_TRUE(run.ok()) << run.status();
    for (int i = 0; i < waiting; ++i) ASSERT_TRUE(run->Signal("n", i).ok());
  }
  Engine engine = Open(registry, options);
  const auto run = engine.Find("w");
  for (int i = waiting; i < kSignals; ++i) {
    // A full inbox says so, and empties.
    ASSERT_TRUE(Eventually([&] {
      const Status status = run.Signal("n", i);
      EXPECT_TRUE(status.ok() || status.code() == StatusCode::kResourceExhausted) << status;
      return status.ok();
    }));
  }
  const auto values = run.Result<Ints>(kPatience);
  ASSERT_TRUE(values.ok()) << values.status();
  Ints expected(kSignals);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(*values, expected);
}

TEST_P(ProgramsTest, ReceiveMayTimeOut) {
  static constexpr SignalDef<std::string> kWord{"word"};
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings seen;
    const std::optional<std::string> early = co_await ctx.Receive(kWord, 1ms);
    seen.push_back(early.value_or("nothing"));
    const std::optional<std::string> waited = co_await ctx.Receive(kWord, 24h);
    seen.push_back(waited.value_or("nothing"));
    seen.push_back(co_await ctx.Receive(kWord));
    const std::optional<std::string> ready = co_await ctx.Receive<std::string>("word", 24h);
    seen.push_back(ready.value_or("nothing"));
    co_return seen;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] { return run->Describe()->run.version >= 6; }));  // timed out once
  for (const char* word : {"one", "two", "three"}) ASSERT_TRUE(run->Signal(kWord, word).ok());
  const auto seen = ResultOf<Strings>(run);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(*seen, ElementsAre("nothing", "one", "two", "three"));
}

TEST_P(ProgramsTest, ASignalOfAnotherTypeIsThrown) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<std::string> {
    std::string seen;
    try {
      co_await ctx.Receive<int>("n");
    } catch (const ApplicationError& e) {
      seen = e.failure().type;
    }
    seen += std::to_string(co_await ctx.Receive<int>("n"));
    co_return seen;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Signal("n", std::string("text")).ok());
  ASSERT_TRUE(run->Signal("n", 5).ok());
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "marathon.Decode5");
}

TEST_P(ProgramsTest, SignalWithStartStartsOrSignals) {
  Registry registry;
  registry.Bind("W", Collect);
  Engine engine = Open(registry);
  const auto first = engine.SignalWithStart("W", 2, "n", 1, {.workflow_id = "w"});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = engine.SignalWithStart("W", 2, "n", 2, {.workflow_id = "w"});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->run_id(), second->run_id());
  EXPECT_EQ(ResultOf<Ints>(first).value_or(Ints()), (Ints{1, 2}));
}

// With one request id for all its starts, as a workflow's own id.
TEST_P(ProgramsTest, SignalWithStartOfTheSameRequestSignals) {
  Registry registry;
  registry.Bind("W", Collect);
  Engine engine = Open(registry);
  const StartOptions start{.workflow_id = "w", .request_id = "w"};
  for (const int value : {1, 2}) {
    for (int i = 0; i < 2; ++i) {
      const auto run = engine.SignalWithStart("W", 2, "n", value, start, {.request_id = std::to_string(value)});
      ASSERT_TRUE(run.ok()) << run.status();
    }
  }
  EXPECT_EQ(engine.Find("w").Result<Ints>(kPatience).value_or(Ints()), (Ints{1, 2}));
  EXPECT_EQ(engine.SignalWithStart("W", 2, "n", 3, start).status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(ProgramsTest, TheSameSignalTwiceIsDeliveredOnce) {
  Registry registry;
  registry.Bind("W", Collect);
  Engine engine = Open(registry);
  const auto run = engine.Start("W", 2);
  ASSERT_TRUE(run.ok()) << run.status();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(run->Signal("n", 1, {.request_id = "once"}).ok());
  EXPECT_TRUE(run->Signal("n", 2).ok());
  EXPECT_EQ(ResultOf<Ints>(run).value_or(Ints()), (Ints{1, 2}));
  EXPECT_EQ(run->Signal("n", 3).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(engine.Find("nobody").Signal("n", 3).code(), StatusCode::kNotFound);
}

// A run that ends as soon as it has nothing to read, while others go on sending: what was acknowledged
// was read.
TEST_P(ProgramsTest, NoSignalIsLostWhenTheRunCloses) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<int> {
    int count = co_await ctx.Receive<int>("n");
    while (const std::optional<int> more = co_await ctx.Receive<int>("n", 0ms)) count += *more;
    co_return count;
  });
  EngineOptions options = Options();
  options.verify_determinism = false;
  Engine engine = Open(registry, options);
  for (int round = 0; round < (kSanitized ? 5 : 20); ++round) {
    const auto run = engine.Start("W");
    ASSERT_TRUE(run.ok()) << run.status();
    std::atomic<int> acknowledged{0};
    {
      std::vector<std::jthread> senders;
      for (int i = 0; i < 2; ++i) {
        senders.emplace_back([&] {
          for (int sent = 0; sent < 200; ++sent) {
            const Status status = run->Signal("n", 1);
            if (!status.ok()) {
              EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
              return;
            }
            ++acknowledged;
          }
        });
      }
    }
    EXPECT_EQ(ResultOf<int>(run).value_or(-1), acknowledged);
  }
}

// ---- What replay repeats

TEST_P(ProgramsTest, ASideEffectHappensOnce) {
  std::atomic<int> calls{0};
  const auto registry = With([&calls](WorkflowContext& ctx) -> Workflow<Ints> {
    Ints seen;
    for (int i = 0; i < 3; ++i) {
      seen.push_back(co_await ctx.SideEffect([&calls] { return ++calls; }));
      co_await ctx.Sleep(1ms);
    }
    co_return seen;
  });
  EXPECT_EQ(RunOnce<Ints>(registry).value_or(Ints()), (Ints{1, 2, 3}));
  EXPECT_EQ(calls, 3);
}

// Each replay compares what it draws with what the first run recorded.
TEST_P(ProgramsTest, TimeAndRandomnessAreTheSameInEveryReplay) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings uuids;
    for (int i = 0; i < 4; ++i) {
      const std::string drawn = std::to_string(ToMicros(ctx.Now())) + std::to_string(ctx.Random());
      uuids.push_back(ctx.NewUuid());
      const std::string recorded = co_await ctx.SideEffect([&] { return drawn + uuids.back(); });
      if (recorded != drawn + uuids.back()) throw ApplicationError("another value");
      co_await ctx.Sleep(1ms);
    }
    co_return uuids;
  });
  const auto uuids = RunOnce<Strings>(registry);
  ASSERT_TRUE(uuids.ok()) << uuids.status();
  EXPECT_EQ(std::set<std::string>(uuids->begin(), uuids->end()).size(), 4u);
  for (const std::string& uuid : *uuids) {
    EXPECT_THAT(uuid, ::testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  }
}

TEST_P(ProgramsTest, LogsAreNotRepeatedByReplays) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<void> {
    for (int i = 0; i < 5; ++i) {
      ctx.Log(LogLevel::kInfo, "line " + std::to_string(i) + " of " + ctx.workflow_id());
      co_await ctx.Sleep(1ms);
    }
  });
  Engine engine = Open(registry);
  ASSERT_EQ(ResultOf(engine.Start("W", {.workflow_id = "w"})), Status());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(log_->Count("line " + std::to_string(i) + " of w"), 1);
}

TEST_P(ProgramsTest, FactsOfTheRun) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings facts = {ctx.workflow_id(), ctx.workflow_type(), ctx.run_id()};
    co_return facts;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W", {.workflow_id = "w"});
  EXPECT_EQ(ResultOf<Strings>(run).value_or(Strings()), (Strings{"w", "W", run->run_id()}));
}

TEST_P(ProgramsTest, AHistoryOfTenThousandEvents) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<int> {
    int sum = 0;
    for (int round = 0; round < 50; ++round) {
      for (int i = 0; i < 200; ++i) sum += co_await ctx.SideEffect([] { return 1; });
      co_await ctx.Sleep(1ms);
    }
    co_return sum;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("W");
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 10'000);
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(history->size(), 10'000u + 3 * 50 + 3);
  for (size_t i = 0; i < history->size(); ++i) ASSERT_EQ((*history)[i].id, static_cast<EventId>(i + 1));
}

TEST_P(ProgramsTest, FailuresOfTheWorkflowItself) {
  Registry registry;
  registry.Bind("Type", [](WorkflowContext&) -> Workflow<int> {
    throw ApplicationError("no", {.type = "Own", .details = Payload{"7", Encoding::kJson}});
    co_return 1;
  });
  registry.Bind("Std", [](WorkflowContext& ctx) -> Workflow<void> {
    co_await ctx.Sleep(1ms);
    throw std::runtime_error("what");
  });
  registry.Bind("Int", [](WorkflowContext&) -> Workflow<void> {
    throw 42;
    co_return;
  });
  registry.Bind("BeforeItIsACoroutine", [](WorkflowContext& ctx) -> Workflow<int> {
    if (ctx.workflow_id() != "") throw std::runtime_error("early");
    return SleepThen(ctx, 1ms, 1);
  });
  Engine engine = Open(registry);
  const auto failure = [&](const char* name) {
    const auto result = ResultOf<int>(engine.Start(name));
    EXPECT_EQ(result.status().code(), StatusCode::kAborted) << name;
    return FailureOf(result.status());
  };
  EXPECT_EQ(failure("Type").type, "Own");
  EXPECT_EQ(failure("Type").details.data, "7");
  EXPECT_EQ(failure("Std").message, "what");
  EXPECT_EQ(failure("Int").type, "unknown");
  EXPECT_EQ(failure("BeforeItIsACoroutine").message, "early");
}

}  // namespace
}  // namespace marathon::tests::programs_test
