// Forks: new runs that begin with turns of another.
// labels: threads
// needs: testing
// program: runs
#include <gmock/gmock.h>

#include <atomic>

#include "fixture.h"
#include "marathon/limits.h"
#include "marathon/testing/test_environment.h"

namespace marathon::tests::fork_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Strings = std::vector<std::string>;

// The nth event of a type; 0: there is none.
EventId FindEvent(const marathon::Run& run, EventType type, int nth = 1) {
  const auto history = run.History();
  EXPECT_TRUE(history.ok()) << history.status();
  if (!history.ok()) return 0;
  for (const Event& event : *history) {
    if (TypeOf(event.body) == type && --nth == 0) return event.id;
  }
  return 0;
}

class ForkTest : public WorkflowTest {
 protected:
  // "Say" counts how often it has said something, and says it.
  Registry With(std::function<Workflow<Strings>(WorkflowContext&, int)> workflow) {
    Registry registry;
    registry.Bind("W", [workflow](WorkflowContext& ctx, int n) { return workflow(ctx, n); });
    registry.Bind("Say", [this](std::string text) {
      std::lock_guard lock(mutex_);
      said_.push_back(text);
      return text + "!";
    });
    return registry;
  }
  Strings Said() {
    std::lock_guard lock(mutex_);
    return std::exchange(said_, {});
  }

  // Three things, one after another, each made of the one before.
  static Workflow<Strings> Three(WorkflowContext& ctx, int n) {
    Strings log{std::to_string(n)};
    for (const char* name : {"a", "b", "c"}) {
      log.push_back(co_await ctx.Run<std::string>("Say", std::string(name) + log.back()));
    }
    co_return log;
  }

 private:
  std::mutex mutex_;
  Strings said_;
};
INSTANTIATE_TEST_SUITE_P(, ForkTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(ForkTest, GoesOnFromATurnOfAClosedRun) {
  Engine engine = Open(With(Three));
  auto run = engine.Start("W", 7, {.workflow_id = "w"});
  ASSERT_EQ(ResultOf<Strings>(run).value(), (Strings{"7", "a7!", "ba7!!", "cba7!!!"}));
  EXPECT_THAT(Said(), ElementsAre("a7", "ba7!", "cba7!!"));

  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled, 2);
  const auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_NE(fork->run_id(), run->run_id());
  EXPECT_EQ(ResultOf<Strings>(fork).value(), (Strings{"7", "a7!", "ba7!!", "cba7!!!"}));
  EXPECT_THAT(Said(), ElementsAre("ba7!", "cba7!!")) << "what is kept is not run again";
  EXPECT_EQ(Types(*fork), Types(*run));

  // Under the same workflow id, as that one is closed; and of a fork.
  ForkOptions again;
  again.keep = FindEvent(*fork, EventType::kActivityScheduled, 3);
  again.workflow_id = "w";
  ASSERT_EQ(again.SetResult(again.keep, std::string("edited")), Status());
  const auto second = fork->Fork(again);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->workflow_id(), "w");
  EXPECT_EQ(ResultOf<Strings>(second).value(), (Strings{"7", "a7!", "ba7!!", "edited"}));
  EXPECT_THAT(Said(), ElementsAre());
}

TEST_P(ForkTest, TakesOtherResultsAndAnotherInput) {
  Engine engine = Open(With(Three));
  auto run = engine.Start("W", 7);
  ASSERT_TRUE(ResultOf<Strings>(run).ok());
  Said();

  // Kept with another outcome.
  ForkOptions edited;
  edited.keep = FindEvent(*run, EventType::kActivityCompleted, 1);
  ASSERT_EQ(edited.SetResult(FindEvent(*run, EventType::kActivityScheduled, 1), std::string("x")), Status());
  EXPECT_EQ(ResultOf<Strings>(run->Fork(edited)).value(), (Strings{"7", "x", "ba7!!", "cba7!!!"}))
      << "the call of \"b\" is kept as it was made";
  EXPECT_THAT(Said(), ElementsAre("ba7!", "cba7!!"));

  // From the start.
  ForkOptions over;
  ASSERT_EQ(over.SetInput(8), Status());
  EXPECT_EQ(ResultOf<Strings>(run->Fork(over)).value(), (Strings{"8", "a8!", "ba8!!", "cba8!!!"}));
  EXPECT_THAT(Said(), ElementsAre("a8", "ba8!", "cba8!!"));
}

TEST_P(ForkTest, LocalActivitiesAreKept) {
  Engine engine = Open(With([](WorkflowContext& ctx, int) -> Workflow<Strings> {
    Strings log;
    log.push_back(co_await ctx.RunLocal<std::string>("Say", std::string("local")));
    log.push_back(co_await ctx.Run<std::string>("Say", std::string("queued")));
    log.push_back(co_await ctx.RunLocal<std::string>("Say", std::string("last")));
    co_return log;
  }));
  auto run = engine.Start("W", 7);
  ASSERT_EQ(ResultOf<Strings>(run).value(), (Strings{"local!", "queued!", "last!"}));
  Said();
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled);
  EXPECT_EQ(ResultOf<Strings>(run->Fork(options)).value(), (Strings{"local!", "queued!", "last!"}));
  EXPECT_THAT(Said(), ElementsAre("queued", "last"));
  ASSERT_EQ(options.SetResult(FindEvent(*run, EventType::kLocalActivityStarted), std::string("x")), Status());
  EXPECT_EQ(ResultOf<Strings>(run->Fork(options)).value(), (Strings{"x", "queued!", "last!"}));
}

// It backed off as a timer, which a result given for its first attempts would leave without a cause.
TEST_P(ForkTest, AResultIsForTheLastAttemptsOfALocalActivity) {
  static constexpr RetryPolicy kLate{.initial_interval = std::chrono::hours(1)};
  Registry registry;
  registry.Bind("Fails", [](int) -> StatusOr<int> { return Unavailable("for now"); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.RunLocal<int>("Fails", 1, {.retry = &kLate});
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] { return FindEvent(*run, EventType::kTimerStarted) > 0; }));
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kLocalActivityStarted);
  ASSERT_EQ(options.SetResult(options.keep, 1), Status());
  EXPECT_EQ(run->Fork(options).status().code(), StatusCode::kInvalidArgument);
}

TEST_P(ForkTest, TheSameRequestIsTheSameFork) {
  Engine engine = Open(With(Three));
  auto run = engine.Start("W", 7);
  ASSERT_TRUE(ResultOf<Strings>(run).ok());
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled, 3);
  options.workflow_id = "fork";
  options.request_id = "request";
  const auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  const auto again = run->Fork(options);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->run_id(), fork->run_id());
  options.request_id = "another";
  options.id_reuse = IdReusePolicy::kRejectDuplicate;
  EXPECT_EQ(run->Fork(options).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(ResultOf<Strings>(fork).ok());
}

TEST_P(ForkTest, OfAnOpenRunThatGoesOn) {
  Mailbox<int> began;
  Mailbox<int> gate;
  Registry registry = With([](WorkflowContext& ctx, int) -> Workflow<Strings> {
    Strings log;
    log.push_back(co_await ctx.Receive<std::string>("go"));
    log.push_back(std::to_string(co_await ctx.Run<int>("Gate", 1)));
    log.push_back(co_await ctx.Receive<std::string>("go"));
    co_return log;
  });
  registry.Bind("Gate", [&](int x) {
    began.Put(x);
    return gate.Take();
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W", 7);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal("go", std::string("one")), Status());
  began.Take();

  // What is pending in the other run runs here, too; or not, if its result is given.
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled, 1);
  const auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  began.Take();
  ASSERT_EQ(options.SetResult(options.keep, 3), Status());
  const auto given = run->Fork(options);
  ASSERT_TRUE(given.ok()) << given.status();
  ASSERT_EQ(given->Signal("go", std::string("given")), Status());
  EXPECT_EQ(given->Result<Strings>(kPatience).value(), (Strings{"one", "3", "given"}));

  gate.Put(1);
  gate.Put(1);
  ASSERT_EQ(run->Signal("go", std::string("two")), Status());
  ASSERT_EQ(fork->Signal("go", std::string("fork")), Status());
  EXPECT_EQ(run->Result<Strings>(kPatience).value(), (Strings{"one", "1", "two"}));
  EXPECT_EQ(fork->Result<Strings>(kPatience).value(), (Strings{"one", "1", "fork"}));
  EXPECT_EQ(began.size(), 0u);

  // The signals that came later can be had, too.
  options.signals = true;
  EXPECT_EQ(ResultOf<Strings>(run->Fork(options)).value(), (Strings{"one", "3", "two"}));
}

TEST_P(ForkTest, RandomNumbersOfKeptTurnsStay) {
  Engine engine = Open(With([](WorkflowContext& ctx, int) -> Workflow<Strings> {
    Strings log{ctx.NewUuid()};
    co_await ctx.Run<std::string>("Say", std::string("x"));
    log.push_back(ctx.NewUuid());
    co_await ctx.Run<std::string>("Say", std::string("y"));
    log.push_back(ctx.NewUuid());
    co_return log;
  }));
  auto run = engine.Start("W", 7);
  const auto first = ResultOf<Strings>(run);
  ASSERT_TRUE(first.ok()) << first.status();
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled, 2);
  auto fork = run->Fork(options);
  const auto second = ResultOf<Strings>(fork);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ((*second)[0], (*first)[0]);
  EXPECT_EQ((*second)[1], (*first)[1]);
  EXPECT_NE((*second)[2], (*first)[2]);

  // A fork of the fork that keeps less, and one that keeps all.
  options.keep = FindEvent(*fork, EventType::kActivityScheduled, 1);
  const auto less = ResultOf<Strings>(fork->Fork(options));
  ASSERT_TRUE(less.ok()) << less.status();
  EXPECT_EQ((*less)[0], (*first)[0]);
  EXPECT_NE((*less)[1], (*first)[1]);
  options.keep = FindEvent(*fork, EventType::kActivityScheduled, 2);
  const auto all = ResultOf<Strings>(fork->Fork(options));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ((*all)[1], (*first)[1]);
  EXPECT_NE((*all)[2], (*second)[2]);
}

TEST_P(ForkTest, LabelsAreAsTheyWere) {
  Engine engine = Open(With([](WorkflowContext& ctx, int) -> Workflow<Strings> {
    ctx.SetAttributes({{"stage", "kept"}});
    co_await ctx.Run<std::string>("Say", std::string("x"));
    ctx.SetAttributes({{"stage", "later"}});
    Strings log;
    log.push_back(co_await ctx.Receive<std::string>("go"));
    co_return log;
  }));
  auto run = engine.Start("W", 7, {.memo = {{"for", "Ada"}}, .attributes = {{"customer", "c-7"}}});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal("go", std::string("on")), Status());
  ASSERT_TRUE(run->Result<Strings>(kPatience).ok());
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled);  // the first turn
  const auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  const auto begun = engine.List({.attributes = {{"customer", "c-7"}}});
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->runs.size(), 2u);
  ASSERT_EQ(fork->Signal("go", std::string("on")), Status());
  ASSERT_TRUE(fork->Result<Strings>(kPatience).ok());
  EXPECT_EQ(engine.Count({.attributes = {{"customer", "c-7"}, {"stage", "later"}}}).value(), 2);
  EXPECT_EQ(engine.Count({.attributes = {{"stage", "kept"}}}).value(), 0);
}

TEST_P(ForkTest, ContinuesAsAnyRunDoes) {
  Engine engine = Open(With([](WorkflowContext& ctx, int n) -> Workflow<Strings> {
    Strings log{ctx.NewUuid()};
    co_await ctx.Run<std::string>("Say", std::string("x"));
    if (n > 0) co_await ctx.ContinueAsNew(n - 1);
    co_return log;
  }));
  auto run = engine.Start("W", 1);
  const auto first = ResultOf<Strings>(run);
  ASSERT_TRUE(first.ok()) << first.status();
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled);
  const auto second = ResultOf<Strings>(run->Fork(options));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(*second, *first) << "the next run keeps nothing";
}

// Whom a command is for is compared in a replay. In turns that are kept, it may be made of the other run's id.
TEST_P(ForkTest, KeptTurnsMayReachWhatIsNamedAfterTheRun) {
  Engine engine = Open(With([](WorkflowContext& ctx, int) -> Workflow<Strings> {
    Strings log;
    const std::string mine = "log of " + ctx.run_id().str();
    for (int i = 0; i < 2; ++i) {
      try {
        co_await ctx.SignalRun(mine, "note");
      } catch (const DeliveryError& error) {
        log.push_back(error.failure().type);
      }
      log.push_back(co_await ctx.Receive<std::string>("go"));
    }
    co_return log;
  }));
  auto run = engine.Start("W", 1);
  ASSERT_TRUE(run.ok()) << run.status();
  // Signals that come before the kept turns' end are kept, too: so they come after it.
  ASSERT_TRUE(Eventually([&] { return FindEvent(*run, EventType::kActivityFailed) != 0; }));
  for (int i = 0; i < 2; ++i) ASSERT_EQ(run->Signal("go", std::string("on")), Status());
  const auto whole = run->Result<Strings>(kPatience);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityFailed);
  const auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  for (int i = 0; i < 2; ++i) ASSERT_EQ(fork->Signal("go", std::string("on")), Status());
  EXPECT_EQ(fork->Result<Strings>(kPatience).value_or(Strings()), *whole);
}

TEST_P(ForkTest, CanceledActivitiesAreCanceledThereToo) {
  Mailbox<int> began;
  Registry registry = With([](WorkflowContext& ctx, int) -> Workflow<Strings> {
    auto waits = ctx.Start<int>("Stubborn", 1, {.cancellation = ActivityCancellation::kWait});
    co_await ctx.Receive<int>("go");
    waits.Cancel();
    Strings log;
    try {
      log.push_back(std::to_string(co_await waits));
    } catch (const CanceledError&) {
      log.push_back("canceled");
    }
    log.push_back(co_await ctx.Receive<std::string>("end"));
    co_return log;
  });
  registry.Bind("Stubborn", [&](ActivityContext& ctx, int x) {
    began.Put(x);
    WaitForStop(ctx.stop_token());
    return x;
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W", 7);
  ASSERT_TRUE(run.ok()) << run.status();
  began.Take();
  ASSERT_EQ(run->Signal("go", 1), Status());
  ASSERT_EQ(run->Signal("end", std::string("end")), Status());
  ASSERT_EQ(run->Result<Strings>(kPatience).value(), (Strings{"1", "end"}));
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityCancelRequested);
  const auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  ASSERT_EQ(fork->Signal("end", std::string("other")), Status());
  EXPECT_EQ(fork->Result<Strings>(kPatience).value(), (Strings{"canceled", "other"}));
  EXPECT_EQ(began.size(), 0u) << "it is not begun to be canceled";
}

TEST_P(ForkTest, SaysWhatCannotBeKept) {
  Engine engine = Open(With(Three));
  auto run = engine.Start("W", 7);
  ASSERT_TRUE(ResultOf<Strings>(run).ok());
  const EventId last = FindEvent(*run, EventType::kWorkflowCompleted);
  const auto refused = [&](EventId keep, EventId result) {
    ForkOptions options;
    options.keep = keep;
    if (result != 0) options.results[result] = Payload();
    const Status status = run->Fork(options).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
    return std::string(MessageOf(status));
  };
  EXPECT_THAT(refused(last + 1, 0), HasSubstr("no event " + std::to_string(last + 1)));
  EXPECT_THAT(refused(-1, 0), HasSubstr("no event -1"));
  EXPECT_THAT(refused(last, 0), HasSubstr("the last one to keep is " + std::to_string(last - 3)));
  EXPECT_THAT(refused(1, 1), HasSubstr("schedules no activity there"));
  EXPECT_THAT(refused(1, FindEvent(*run, EventType::kActivityScheduled, 2)), HasSubstr("schedules no activity"));
  EXPECT_EQ(engine.Find("nobody").Fork({}).status().code(), StatusCode::kNotFound);
}

TEST_P(ForkTest, OtherCodeBlocksIt) {
  Registry other = With([](WorkflowContext& ctx, int) -> Workflow<Strings> {
    co_await ctx.Sleep(1h);
    co_return Strings{};
  });
  Engine engine = Open(With(Three));
  auto run = engine.Start("W", 7);
  ASSERT_TRUE(ResultOf<Strings>(run).ok());
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled, 2);
  EXPECT_TRUE(engine.Shutdown().ok());
  Engine next = Open(other);
  const auto fork = next.Find(run->workflow_id(), run->run_id()).Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_EQ(fork->Signal("wake", 1), Status());
  EXPECT_THAT(WaitUntilBlocked(*fork).reason, HasSubstr("ActivityScheduled"));
  EXPECT_EQ(fork->Terminate("done"), Status());
}

// ---- In virtual time

TEST(ForkTimeTest, TimersHaveWhatTheyHadLeft) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int64_t> {
    const Time begin = ctx.Now();
    auto timer = ctx.StartTimer(10h);
    co_await ctx.Receive<int>("go");
    co_await timer;
    co_return std::chrono::duration_cast<std::chrono::minutes>(ctx.Now() - begin).count();
  });
  testing::TestEnvironment env(registry);
  auto run = env.engine().Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  env.Advance(4h);
  ASSERT_EQ(run->Signal("go", 1), Status());
  env.Advance(100h);
  EXPECT_EQ(run->Result<int64_t>().value(), 600);
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kSignalReceived);
  const Time forked = env.Now();
  auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  ASSERT_TRUE(fork->Result<int64_t>().ok());
  EXPECT_EQ(std::chrono::duration_cast<std::chrono::minutes>(env.Now() - forked).count(), 360);
}

TEST(ForkTimeTest, ChildrenThatWerePendingBeginAnew) {
  std::atomic<int> children{0};
  Registry registry;
  registry.Bind("Child", [&](WorkflowContext& ctx, int n) -> Workflow<int> {
    ++children;
    co_await ctx.Sleep(1h);
    co_return n + 1;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    const int first = co_await ctx.RunChild<int>("Child", 1);
    co_return co_await ctx.RunChild<int>("Child", first);
  });
  testing::TestEnvironment env(registry);
  auto run = env.engine().Start("W");
  ASSERT_EQ(run->Result<int>().value(), 3);
  const int before = children;
  ForkOptions options;
  options.keep = FindEvent(*run, EventType::kActivityScheduled, 2);
  auto fork = run->Fork(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_EQ(fork->Result<int>().value(), 3);
  EXPECT_GT(children, before);
  ASSERT_EQ(options.SetResult(options.keep, 40), Status());
  const int now = children;
  auto given = run->Fork(options);
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_EQ(given->Result<int>().value(), 40);
  EXPECT_EQ(children, now);
}

}  // namespace
}  // namespace marathon::tests::fork_test
