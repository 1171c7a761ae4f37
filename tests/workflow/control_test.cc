// What acts on a running workflow: cancel and cancellation scopes, signal handlers, queries; and versions of
// its code.
// labels: threads
// program: programs
#include <gmock/gmock.h>

#include "fixture.h"

namespace marathon::tests::control_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Strings = std::vector<std::string>;
using Ints = std::vector<int>;

class ControlTest : public WorkflowTest {
 protected:
  // "Echo" gives an int back; "Stuck" ends when it is told to stop.
  Registry With(std::function<Workflow<Strings>(WorkflowContext&)> workflow) {
    Registry registry;
    registry.Bind("W", [workflow](WorkflowContext& ctx) { return workflow(ctx); });
    registry.Bind("Echo", [](int x) { return x; });
    registry.Bind("Stuck", [this](ActivityContext& ctx, int x) {
      began_.Put(x);
      WaitForStop(ctx.stop_token());
      stopped_.Put(x);
      return x;
    });
    return registry;
  }

  Mailbox<int> began_;
  Mailbox<int> stopped_;
};
INSTANTIATE_TEST_SUITE_P(, ControlTest, ::testing::ValuesIn(AllSetups()), SetupName);

// ---- Cancel

TEST_P(ControlTest, ACanceledRunEndsAsCanceled) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    co_await ctx.Run<int>("Stuck", 1);
    co_return Strings{"not reached"};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  began_.Get();
  ASSERT_EQ(run->Cancel("no longer wanted"), Status());
  const Failure failure = FailureOf(run->Result(kPatience));
  EXPECT_EQ(failure.kind, FailureKind::kCanceled);
  EXPECT_THAT(failure.message, HasSubstr("no longer wanted"));
  EXPECT_EQ(stopped_.Get(), 1);
  EXPECT_EQ(run->Describe()->run.status, RunStatus::kCanceled);
  EXPECT_THAT(Types(*run), ::testing::IsSupersetOf({EventType::kWorkflowCancelRequested,
                                                    EventType::kActivityCancelRequested,
                                                    EventType::kWorkflowCanceled}));
  EXPECT_EQ(run->Cancel("again").code(), StatusCode::kFailedPrecondition);
}

TEST_P(ControlTest, ARunCleansUpInAShieldedScope) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    try {
      co_await ctx.Sleep(24h);
    } catch (const CanceledError& e) {
      log.push_back("canceled");
    }
    try {
      co_await ctx.Run<int>("Echo", 1);
    } catch (const CanceledError& e) {
      log.push_back("still canceled");
    }
    ShieldedScope cleanup(ctx);
    log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 2)));
    co_await ctx.Sleep(1ms);
    log.push_back(ctx.cancel_reason());
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Cancel("why"), Status());
  const auto log = ResultOf<Strings>(run);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("canceled", "still canceled", "2", "why"));
}

TEST_P(ControlTest, ARunThatWasToBeCanceledIsNotTriedAgain) {
  std::atomic<int> runs{0};
  Engine engine = Open(With([&](WorkflowContext& ctx) -> Workflow<Strings> {
    if (!ctx.is_replaying()) ++runs;
    try {
      co_await ctx.Sleep(24h);
    } catch (const CanceledError&) {
    }
    throw ApplicationError("cannot clean up", {.type = "Stuck"});
  }));
  StartOptions options;
  options.retry = kThreeTries;
  auto run = engine.Start("W", options);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Cancel(), Status());
  EXPECT_EQ(FailureOf(run->Result(kPatience)).type, "Stuck");
  EXPECT_EQ(engine.List()->runs.size(), 1u);
}

TEST_P(ControlTest, ACanceledRunDoesNotContinueAsNew) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    {
      ShieldedScope shield(ctx);
      co_await ctx.Receive<bool>("go");
    }
    co_await ctx.ContinueAsNew();
    co_return Strings{};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Cancel("enough"), Status());
  ASSERT_EQ(run->Signal("go", true), Status());
  EXPECT_EQ(FailureOf(run->Result(kPatience)).kind, FailureKind::kCanceled);
}

TEST_P(ControlTest, EveryKindOfWaitIsCanceled) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    const auto name = [](std::string what) { return what + " canceled"; };
    Strings log;
    const auto spawned = [](WorkflowContext& c) -> Workflow<void> { co_await c.Sleep(24h); };
    auto branch = ctx.Spawn(spawned(ctx));
    auto timer = ctx.StartTimer(24h);
    try {
      co_await ctx.WaitUntil([] { return false; });
    } catch (const CanceledError&) {
      log.push_back(name("condition"));
    }
    try {
      co_await timer;
    } catch (const CanceledError&) {
      log.push_back(name("timer"));
    }
    const auto outcome = co_await ctx.Try(branch);
    if (!outcome.ok() && outcome.failure().kind == FailureKind::kCanceled) log.push_back(name("branch"));
    try {
      co_await ctx.Receive<int>("never");
    } catch (const CanceledError&) {
      log.push_back(name("signal"));
    }
    try {
      co_await ctx.Receive<int>("never", 24h);
    } catch (const CanceledError&) {
      log.push_back(name("signal with a timeout"));
    }
    try {
      co_await ctx.WaitUntil([] { return false; }, 24h);
    } catch (const CanceledError&) {
      log.push_back(name("condition with a timeout"));
    }
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Cancel(), Status());
  const auto log = ResultOf<Strings>(run);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("condition canceled", "timer canceled", "branch canceled",
                                "signal canceled", "signal with a timeout canceled",
                                "condition with a timeout canceled"));
}

TEST_P(ControlTest, WaitsThatHadBegunAreCanceledToo) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    const auto receives = [&log](WorkflowContext& c) -> Workflow<void> {
      try {
        co_await c.Receive<int>("never", 24h);
      } catch (const CanceledError&) {
        log.push_back("signal");
      }
    };
    const auto waits = [&log](WorkflowContext& c) -> Workflow<void> {
      try {
        co_await c.WaitUntil([] { return false; }, 24h);
      } catch (const CanceledError&) {
        log.push_back("condition");
      }
    };
    auto a = ctx.Spawn(receives(ctx));
    auto b = ctx.Spawn(waits(ctx));
    try {
      co_await ctx.All(a, b);
    } catch (const CanceledError&) {
      log.push_back("all");
    }
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Cancel(), Status());
  const auto log = ResultOf<Strings>(run);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("signal", "condition"));  // All waits for the branches, which ended well
}

TEST_P(ControlTest, AScopeCancelsWhatWasStartedInIt) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    auto outside = ctx.Start<int>("Echo", 7);
    {
      CancellationScope race(ctx);
      auto slow = ctx.Start<int>("Stuck", 1);
      auto fast = ctx.Start<int>("Echo", 2);
      const size_t first = co_await ctx.Any(slow, fast);
      log.push_back("first " + std::to_string(first));
      race.Cancel();
      const auto outcome = co_await ctx.Try(slow);
      log.push_back(outcome.ok() ? "slow ended" : "slow " + outcome.failure().message);
      const auto late = co_await ctx.TryRun(ActivityDef<int(int)>{"Echo"}, 3);
      log.push_back(late.ok() ? "late ran" : "late did not run");
    }
    log.push_back("outside " + std::to_string(co_await outside));
    log.push_back("behind " + std::to_string(co_await ctx.Run<int>("Echo", 8)));
    co_return log;
  }));
  const auto log = ResultOf<Strings>(engine.Start("W"));
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("first 1", "slow canceled by its workflow", "late did not run",
                                "outside 7", "behind 8"));
}

TEST_P(ControlTest, ABranchIsCanceledByItsHandle) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    const auto inner = [&log](WorkflowContext& c) -> Workflow<void> {
      const auto innermost = [](WorkflowContext& d) -> Workflow<void> { co_await d.Sleep(24h); };
      auto nested = c.Spawn(innermost(c));
      const auto outcome = co_await c.Try(nested);
      log.push_back(outcome.ok() ? "nested ended" : "nested canceled");
    };
    auto branch = ctx.Spawn(inner(ctx));
    co_await ctx.Sleep(1ms);
    branch.Cancel();
    co_await branch;
    log.push_back(ctx.cancel_requested() ? "run canceled" : "run goes on");
    co_return log;
  }));
  const auto log = ResultOf<Strings>(engine.Start("W"));
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("nested canceled", "run goes on"));
}

TEST_P(ControlTest, CancellationTypesDecideWhenTheCodeGoesOn) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    auto waits = ctx.Start<int>("Stuck", 1, {.cancellation = ActivityCancellation::kWait});
    auto nobody = ctx.Start<int>("Unserved", 2, {.task_queue = "nobody's",
                                                  .cancellation = ActivityCancellation::kWait});
    auto abandoned = ctx.Start<int>("Stuck", 3, {.cancellation = ActivityCancellation::kAbandon});
    co_await ctx.Receive<bool>("cancel");
    waits.Cancel();
    nobody.Cancel();
    abandoned.Cancel();
    log.push_back(waits.done() ? "at once" : "waits");
    log.push_back(nobody.done() ? "at once" : "waits");
    log.push_back(abandoned.done() ? "at once" : "waits");
    const auto ended = co_await ctx.Try(waits);
    log.push_back(ended.ok() ? "finished" : "stopped");
    const auto unserved = co_await ctx.Try(nobody);
    log.push_back(unserved.ok() ? "finished" : "stopped");
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(began_.Take() + began_.Take(), 4);
  ASSERT_EQ(run->Signal("cancel", true), Status());
  const auto log = ResultOf<Strings>(run);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->at(0), "waits");
  EXPECT_EQ(log->at(1), "waits");
  EXPECT_EQ(log->at(2), "at once");
  EXPECT_EQ(log->at(4), "stopped");
  const auto types = Types(*run);
  EXPECT_EQ(std::ranges::count(types, EventType::kActivityCancelRequested), 2);
}

// ---- Signal handlers

TEST_P(ControlTest, SignalHandlersRunForEachSignalAndFirst) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    bool stop = false;
    auto adds = ctx.OnSignal("add", [&](std::string text) { log.push_back(text); });
    auto stops = ctx.OnSignal("stop", [&] { stop = true; });
    co_await ctx.WaitUntil([&] { return stop; });
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  for (const char* text : {"a", "b", "c"}) ASSERT_EQ(run->Signal("add", std::string(text)), Status());
  ASSERT_EQ(run->SignalPayload("stop", Payload()), Status());
  const auto log = ResultOf<Strings>(run);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("a", "b", "c"));
}

TEST_P(ControlTest, HandlersGetWhatCameBeforeAndMayWait) {
  static constexpr SignalDef<int> kAdd{"add"};
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    int sum = 0;
    co_await ctx.Receive<bool>("go");
    auto adds = ctx.OnSignal(kAdd, [&ctx, &sum](int x) -> Workflow<void> {
      const int echoed = co_await ctx.Run<int>("Echo", x);
      co_await ctx.Sleep(1ms);
      sum += echoed;
    });
    co_await ctx.Receive<bool>("end");
    co_await ctx.WaitUntil([&] { return ctx.AllHandlersFinished(); });
    co_return Strings{std::to_string(sum)};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal(kAdd, 1), Status());
  ASSERT_EQ(run->Signal(kAdd, 2), Status());
  ASSERT_EQ(run->Signal("go", true), Status());
  ASSERT_EQ(run->Signal(kAdd, 4), Status());
  ASSERT_EQ(run->Signal("end", true), Status());
  const auto sum = ResultOf<Strings>(run);
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_THAT(*sum, ElementsAre("7"));
}

TEST_P(ControlTest, WhatWaitedIsHandledBeforeTheCodeGoesOn) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    co_await ctx.Receive<bool>("go");
    auto adds = ctx.OnSignal("add", [&](std::string text) { log.push_back(text); });
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal("add", std::string("a")), Status());
  ASSERT_EQ(run->Signal("add", std::string("b")), Status());
  ASSERT_EQ(run->Signal("go", true), Status());
  const auto log = ResultOf<Strings>(run);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("a", "b"));
}

TEST_P(ControlTest, AHandlerThatThrowsFailsTheRun) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    auto fails = ctx.OnSignal("x", [](int) { throw ApplicationError("refused", {.type = "Bad"}); });
    co_await ctx.Sleep(24h);
    co_return Strings{};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal("x", 1), Status());
  EXPECT_EQ(FailureOf(run->Result(kPatience)).type, "Bad");
}

TEST_P(ControlTest, ADestroyedRegistrationLeavesSignalsToReceive) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    {
      auto handled = ctx.OnSignal("x", [&](int x) { log.push_back("handled " + std::to_string(x)); });
      co_await ctx.WaitUntil([&] { return log.size() == 1; });
    }
    log.push_back("received " + std::to_string(co_await ctx.Receive<int>("x")));
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal("x", 1), Status());
  ASSERT_EQ(run->Signal("x", 2), Status());
  const auto log = ResultOf<Strings>(run);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("handled 1", "received 2"));
}

// ---- Queries

constexpr QueryDef<Strings()> kLog{"log"};
constexpr QueryDef<std::string(int)> kLine{"line"};

Workflow<Strings> Queried(WorkflowContext& ctx) {
  Strings log{"began"};
  auto whole = ctx.OnQuery(kLog, [&] { return log; });
  auto line = ctx.OnQuery(kLine, [&](int i) -> std::string {
    if (i < 0 || i >= static_cast<int>(log.size())) throw ApplicationError("no such line", {.type = "Range"});
    return log[static_cast<size_t>(i)];
  });
  auto acts = ctx.OnQuery("acts", [&] { return ctx.Start<int>("Echo", 1).done(); });
  auto says = ctx.OnSignal("say", [&](std::string text) { log.push_back(text); });
  co_await ctx.Receive<bool>("end");
  log.push_back("ends");
  co_return log;
}

TEST_P(ControlTest, QueriesSeeCommittedState) {
  Engine engine = Open(With(Queried));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal("say", std::string("hello")), Status());
  auto log = run->Query(kLog, {.patience = kPatience});
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("began", "hello"));
  EXPECT_EQ(run->Query(kLine, 1).value_or(""), "hello");
  const EventId version = run->Describe()->run.version;
  const auto reply = run->QueryPayload("log", Payload(), {});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->version, version);
  EXPECT_FALSE(reply->stale);
  EXPECT_EQ(run->Describe()->run.version, version) << "a query must write nothing";
  ASSERT_EQ(run->Signal("end", true), Status());
  ASSERT_TRUE(run->Result<Strings>(kPatience).ok());
  log = run->Query(kLog);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("began", "hello", "ends"));
}

TEST_P(ControlTest, QueriesThatCannotBeAnsweredSayWhy) {
  Engine engine = Open(With(Queried));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const auto unknown = run->Query<int>("nonsense");
  EXPECT_EQ(unknown.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("\"acts\", \"line\", \"log\""));
  EXPECT_EQ(FailureOf(run->Query(kLine, 5).status()).type, "Range");
  EXPECT_EQ(FailureOf(run->Query<bool>("acts").status()).type, failure_type::kReadOnly);
  EXPECT_EQ(run->Query<int>(kLog.name).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(run->Query<std::string>("line", std::string("x")).status()).type,
            failure_type::kDecode);
  EXPECT_EQ(engine.Find("nobody").Query<int>("log").status().code(), StatusCode::kNotFound);

  Registry other;
  other.Bind("Other", [](WorkflowContext&) -> Workflow<void> { co_return; });
  EngineOptions options = Options();
  options.task_queues = {"elsewhere"};
  Engine stranger = Open(other, options);
  const auto unregistered = stranger.Find(run->workflow_id()).Query(kLog);
  EXPECT_EQ(unregistered.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(unregistered.status().message()), HasSubstr("\"Other\""));
}

TEST_P(ControlTest, QueriesFollowAChainOfRuns) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, int left) -> Workflow<int> {
    auto number = ctx.OnQuery("left", [&] { return left; });
    if (left > 0) co_await ctx.ContinueAsNew(left - 1);
    co_await ctx.Receive<bool>("end");
    co_return left;
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W", 3);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(Eventually([&] { return run->Query<int>("left").value_or(-1) == 0; }));
  ASSERT_EQ(run->Signal("end", true), Status());
  EXPECT_EQ(run->Result<int>(kPatience).value_or(-1), 0);
}

TEST_P(ControlTest, AQueryEndsWithItsEngine) {
  EngineOptions options = Options();
  options.task_queues = {"elsewhere"};
  Engine engine = Open(With(Queried), options);
  auto run = engine.Start("W");  // nobody takes its turns
  ASSERT_TRUE(run.ok()) << run.status();
  Status status;
  std::jthread asks([&] { status = run->Query(kLog, {.patience = kPatience}).status(); });
  EXPECT_TRUE(engine.Shutdown().ok());
  asks.join();
  EXPECT_THAT(status.code(), ::testing::AnyOf(StatusCode::kCancelled, StatusCode::kFailedPrecondition));
}

TEST_P(ControlTest, ARunThatThrewAnswersNoQuery) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    auto whole = ctx.OnQuery(kLog, [&] { return log; });
    co_await ctx.Sleep(1ms);
    throw ApplicationError("broken");
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_FALSE(run->Result(kPatience).ok());
  EXPECT_EQ(run->Query(kLog).status().code(), StatusCode::kFailedPrecondition);
}

// ---- Versions

// A run begins with `before` and goes on, in another process, with `after`.
class VersionTest : public ControlTest {
 protected:
  using Code = std::function<Workflow<Strings>(WorkflowContext&)>;
  StatusOr<Strings> Change(Code before, Code after) {
    std::string id;
    {
      EngineOptions options = Options();
      options.build_id = "before";
      Engine engine = Open(With(before), options);
      auto run = engine.Start("W");
      if (!run.ok()) return run.status();
      id = run->workflow_id();
      first_turn_ = run->Query<bool>("there", {.patience = kPatience}).ok();
    }
    EngineOptions options = Options();
    options.build_id = "after";
    Engine engine = Open(With(after), options);
    const marathon::Run run = engine.Find(id);
    if (Status s = run.Signal("go", true); !s.ok()) return s;
    if (expect_block_) return FailedPrecondition(WaitUntilBlocked(run).reason);
    return run.Result<Strings>(kPatience);
  }
  bool first_turn_ = false;
  bool expect_block_ = false;
};
INSTANTIATE_TEST_SUITE_P(, VersionTest, ::testing::ValuesIn(AllSetups()), SetupName);

Workflow<Strings> Unpatched(WorkflowContext& ctx) {
  auto there = ctx.OnQuery("there", [] { return true; });
  Strings log;
  log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 1)));
  co_await ctx.Receive<bool>("go");
  log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 3)));
  co_return log;
}
Workflow<Strings> PatchedTwice(WorkflowContext& ctx) {
  auto there = ctx.OnQuery("there", [] { return true; });
  Strings log;
  if (ctx.Patched("sleeps first")) co_await ctx.Sleep(1ms);
  log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 1)));
  co_await ctx.Receive<bool>("go");
  if (ctx.Patched("asks twice")) log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 2)));
  if (ctx.Patched("sleeps first")) log.push_back("slept");
  log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 3)));
  co_return log;
}
// As PatchedTwice, once no run of Unpatched is open.
Workflow<Strings> PatchesDropped(WorkflowContext& ctx) {
  auto there = ctx.OnQuery("there", [] { return true; });
  Strings log;
  co_await ctx.Sleep(1ms);
  log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 1)));
  co_await ctx.Receive<bool>("go");
  log.push_back("dropped");
  co_return log;
}

TEST_P(VersionTest, AnOldRunKeepsItsPathAndTakesLaterPatches) {
  const auto log = Change(Unpatched, PatchedTwice);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_TRUE(first_turn_);
  EXPECT_THAT(*log, ElementsAre("1", "2", "3"));
}

TEST_P(VersionTest, ANewRunTakesAllPatches) {
  const auto log = Change(PatchedTwice, PatchedTwice);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("1", "2", "slept", "3"));
}

TEST_P(VersionTest, ACallMayBeDroppedWhenNoOldRunIsOpen) {
  const auto log = Change(PatchedTwice, PatchesDropped);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ElementsAre("1", "dropped"));
}

TEST_P(VersionTest, AMismatchThatShowsInANewTurnBlocksTooAndWritesNothing) {
  expect_block_ = true;
  const auto blocked = Change(Unpatched, [](WorkflowContext& ctx) -> Workflow<Strings> {
    auto there = ctx.OnQuery("there", [] { return true; });
    ctx.Version("shape", kBeforeChange, 2);
    Strings log;
    log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 1)));
    co_await ctx.Receive<bool>("go");
    ctx.Version("shape", 1, 2);
    log.push_back(std::to_string(co_await ctx.Run<int>("Echo", 3)));
    co_return log;
  });
  EXPECT_THAT(std::string(blocked.status().message()), HasSubstr("version -1 of change \"shape\""));
  Registry any;
  any.Bind("Other", [](WorkflowContext&) -> Workflow<void> { co_return; });
  EngineOptions options = Options();
  options.task_queues = {"elsewhere"};
  Engine engine = Open(any, options);
  const auto types = Types(engine.Find(engine.List()->runs.at(0).key.workflow_id));
  EXPECT_EQ(std::ranges::count(types, EventType::kActivityScheduled), 1);
}

TEST_P(VersionTest, AVersionThatTheCodeNoLongerHasBlocksTheRun) {
  const auto versions = [](int min, int max) {
    return [min, max](WorkflowContext& ctx) -> Workflow<Strings> {
      auto there = ctx.OnQuery("there", [] { return true; });
      Strings log{"version " + std::to_string(ctx.Version("shape", min, max))};
      co_await ctx.Receive<bool>("go");
      log.push_back("version " + std::to_string(ctx.Version("shape", min, max)));
      co_return log;
    };
  };
  const auto kept = Change(versions(1, 2), versions(2, 3));
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_THAT(*kept, ElementsAre("version 2", "version 2"));
  expect_block_ = true;
  const auto blocked = Change(versions(1, 2), versions(3, 4));
  EXPECT_THAT(std::string(blocked.status().message()), HasSubstr("version 2 of change \"shape\""));
}

}  // namespace
}  // namespace marathon::tests::control_test
