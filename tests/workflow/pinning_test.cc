// Two builds over one store: runs that are pinned to one of them, and runs that go from one to the other.
// program: engine
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "fixture.h"

namespace marathon::tests::pinning_test {
namespace {

using ::testing::HasSubstr;
using Texts = std::vector<std::string>;

// Far less than until what nobody took is published again: the right worker is told, and at once.
constexpr Duration kPromptly = limits::kResendFirst - 10s;

class PinningTest : public WorkflowTest {
 protected:
  // An engine of one build; "W", pinned, says at each signal "go" of which build the code is that takes it.
  static Registry CodeOf(const std::string& build, WorkflowOptions options = {Versioning::kPinned}) {
    Registry registry;
    registry.Bind("W", [build](WorkflowContext& ctx, Texts log) -> Workflow<Texts> {
      return Tell(ctx, std::move(log), build);
    }, options);
    registry.Bind("Sleeps", [](WorkflowContext& ctx, int x) -> Workflow<int> {
      co_await ctx.Sleep(1ms);
      co_return x;
    });
    return registry;
  }
  static Workflow<Texts> Tell(WorkflowContext& ctx, Texts log, std::string build) {
    const std::string next = co_await ctx.Receive<std::string>("go");
    log.push_back(build);
    if (next == "again") co_await ctx.ContinueAsNew(log);
    if (next == "upgrade") co_await ctx.ContinueAsNew(log, {.upgrade = true});
    if (next == "fail") throw ApplicationError("as told");
    log.push_back(co_await ctx.Receive<std::string>("go") + " by " + build);
    co_return log;
  }
  Engine OfBuild(const std::string& build, const Registry& registry) {
    EngineOptions options = Options();
    options.build_id = build;
    options.lease = 10min;  // nothing here waits for its end
    return Open(registry, options);
  }
  Engine OfBuild(const std::string& build) { return OfBuild(build, CodeOf(build)); }

  static std::string PinOf(const marathon::Run& run) {
    const auto description = run.Describe();
    EXPECT_TRUE(description.ok()) << description.status();
    return description.ok() ? description->run.pinned.value_or("none") : "";
  }
  // The builds that its turns say.
  static std::set<std::string> BuildsOf(const marathon::Run& run) {
    std::set<std::string> builds;
    const auto history = run.History();
    for (const Event& event : history.value_or(History())) {
      const auto* turn = std::get_if<TurnStarted>(&event.body);
      if (turn != nullptr && !turn->build_id.empty()) builds.insert(turn->build_id);
    }
    return builds;
  }
  static bool HasTaken(const marathon::Run& run, int signals) {
    return Eventually([&] {
      const auto history = run.History();
      return history.ok() && std::ranges::count_if(*history, [](const Event& event) {
               return std::holds_alternative<SignalReceived>(event.body);
             }) >= signals;
    });
  }
};
INSTANTIATE_TEST_SUITE_P(, PinningTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(PinningTest, APinnedRunEndsOnTheBuildThatItBeganOn) {
  Engine before = OfBuild("before");
  const auto run = before.Start("W", Texts());
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(PinOf(*run), "before");
  Engine after = OfBuild("after");
  const marathon::Run far = after.Find(run->workflow_id());
  ASSERT_EQ(far.Signal("go", std::string("on")), Status());
  ASSERT_TRUE(HasTaken(far, 1));
  ASSERT_EQ(far.Signal("go", std::string("end")), Status());
  EXPECT_EQ(far.Result<Texts>(kPromptly).value_or(Texts()), (Texts{"before", "end by before"}));
  EXPECT_EQ(BuildsOf(far), (std::set<std::string>{"before"}));
  const auto later = before.Start("W", Texts(), {.workflow_id = "later"});
  EXPECT_EQ(PinOf(*later), "before") << "it is the build that takes the first turn which counts";
  EXPECT_EQ(PinOf(*after.Start("W", Texts())), "after");
}

// All of its workers go, and one comes back.
TEST_P(PinningTest, APinnedRunWaitsForItsBuild) {
  std::string id;
  {
    Engine before = OfBuild("before");
    const auto run = before.Start("W", Texts());
    ASSERT_TRUE(run.ok()) << run.status();
    id = run->workflow_id();
  }
  Engine after = OfBuild("after");
  const marathon::Run run = after.Find(id);
  ASSERT_EQ(run.Signal("go", std::string("on")), Status());
  ASSERT_EQ(run.Signal("go", std::string("end")), Status());
  EXPECT_EQ(ResultOf<int>(after.Start("Sleeps", 1)).value_or(0), 1) << "others go on meanwhile";
  const auto waits = run.Describe();
  ASSERT_TRUE(waits.ok()) << waits.status();
  EXPECT_NE(waits->run.ready_since, kNever);
  EXPECT_EQ(waits->run.version, 2) << "not a turn since";
  EXPECT_FALSE(waits->run.blocked.has_value());
  EXPECT_EQ(after.Count({.status = RunStatus::kRunning, .pinned_to = "before"}).value_or(0), 1);
  EXPECT_EQ(after.Count({.pinned_to = "after"}).value_or(-1), 0);
  EXPECT_EQ(after.Count({.ready_before = waits->now + 1h}).value_or(0), 1);
  EXPECT_EQ(after.Count({.ready_before = waits->now - 1h}).value_or(-1), 0);

  Engine before = OfBuild("before");
  EXPECT_EQ(run.Result<Texts>(kPromptly).value_or(Texts()), (Texts{"before", "end by before"}));
  EXPECT_EQ(BuildsOf(run), (std::set<std::string>{"before"}));
}

TEST_P(PinningTest, OthersGoFromBuildToBuild) {
  const WorkflowOptions upgrade{Versioning::kAutoUpgrade};
  std::string id;
  {
    Engine before = OfBuild("before", CodeOf("before", upgrade));
    const auto run = before.Start("W", Texts());
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_EQ(PinOf(*run), "none");
    id = run->workflow_id();
  }
  Engine after = OfBuild("after", CodeOf("after", upgrade));
  const marathon::Run run = after.Find(id);
  ASSERT_EQ(run.Signal("go", std::string("on")), Status());
  ASSERT_EQ(run.Signal("go", std::string("end")), Status());
  EXPECT_EQ(run.Result<Texts>(kPatience).value_or(Texts()), (Texts{"after", "end by after"}));
  EXPECT_EQ(BuildsOf(run), (std::set<std::string>{"after", "before"}));
}

TEST_P(PinningTest, AnOperatorMovesARun) {
  Engine after = OfBuild("after");
  std::vector<marathon::Run> runs;
  {
    Engine before = OfBuild("before");
    for (const char* id : {"moved", "unpinned", "back"}) {
      const auto run = before.Start("W", Texts(), {.workflow_id = id});
      ASSERT_TRUE(run.ok()) << run.status();
      runs.push_back(after.Find(id));
    }
    ASSERT_EQ(runs[2].Pin("after"), Status());
    ASSERT_EQ(runs[2].Pin("before"), Status());
    ASSERT_EQ(runs[2].Signal("go", std::string("on")), Status());
    ASSERT_TRUE(HasTaken(runs[2], 1));
  }
  ASSERT_EQ(runs[0].Signal("go", std::string("on")), Status()) << "before it is moved";
  ASSERT_EQ(runs[0].Pin("after"), Status());
  ASSERT_EQ(runs[0].Pin("after"), Status()) << "again";
  EXPECT_EQ(PinOf(runs[0]), "after");
  ASSERT_EQ(runs[1].Unpin(), Status());
  EXPECT_EQ(PinOf(runs[1]), "none");
  ASSERT_EQ(runs[1].Signal("go", std::string("on")), Status());
  ASSERT_EQ(runs[2].Unpin(), Status());
  for (const marathon::Run& run : runs) ASSERT_EQ(run.Signal("go", std::string("end")), Status());
  EXPECT_EQ(runs[0].Result<Texts>(kPromptly).value_or(Texts()), (Texts{"after", "end by after"}));
  EXPECT_EQ(runs[1].Result<Texts>(kPromptly).value_or(Texts()), (Texts{"after", "end by after"}));
  EXPECT_EQ(runs[2].Result<Texts>(kPromptly).value_or(Texts()), (Texts{"after", "end by after"}))
      << "its code is replayed";
  EXPECT_EQ(BuildsOf(runs[2]), (std::set<std::string>{"after", "before"}));
  EXPECT_EQ(runs[0].Pin("before").code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(after.Find("nobody").Unpin().code(), StatusCode::kNotFound);
}

// Both builds live while the run is moved; its coroutines are in the cache of the one, and an activity is under way.
TEST_P(PinningTest, WhatWasUnderWayWhenARunWasMovedIsTakenOver) {
  Mailbox<std::string> began;
  Mailbox<int> go;
  const auto code = [&](const std::string& build) {
    Registry registry = CodeOf(build);
    registry.Bind("Step", [&](int x) {
      began.Put(std::to_string(x));
      return x + go.Take();
    });
    registry.Bind("Works", [](WorkflowContext& ctx) -> Workflow<int> {
      const int first = co_await ctx.Run<int>("Step", 1);
      co_return co_await ctx.Run<int>("Step", first);
    }, {.versioning = Versioning::kPinned});
    return registry;
  };
  Engine before = OfBuild("before", code("before"));
  const auto run = before.Start("Works");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(began.Take(), "1");
  Engine after = OfBuild("after", code("after"));
  ASSERT_EQ(after.Find(run->workflow_id()).Pin("after"), Status());
  go.Put(10);
  EXPECT_EQ(began.Take(), "11") << "it has come to its run, whoever ran it";
  go.Put(100);
  EXPECT_EQ(run->Result<int>(kPromptly).value_or(0), 111);
  EXPECT_EQ(BuildsOf(*run), (std::set<std::string>{"after", "before"}));
}

TEST_P(PinningTest, ARunThatIsMovedToCodeThatDoesNotFitBlocksUntilItIsMovedBack) {
  Registry other;
  other.Bind("W", [](WorkflowContext& ctx, Texts) -> Workflow<Texts> {
    co_await ctx.Sleep(1ms);
    co_return Texts{"other"};
  }, {.versioning = Versioning::kPinned});
  Engine after = OfBuild("after", other);
  Engine before = OfBuild("before");
  const auto run = before.Start("W", Texts());
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Pin("after"), Status());
  ASSERT_EQ(run->Signal("go", std::string("on")), Status());
  const BlockInfo blocked = WaitUntilBlocked(*run);
  EXPECT_EQ(blocked.build_id, "after");
  EXPECT_EQ(blocked.retry_at, kNever) << "no other build would try";
  EXPECT_THAT(blocked.reason, HasSubstr("nondeterminism"));
  ASSERT_EQ(run->Signal("go", std::string("end")), Status());
  ASSERT_EQ(run->Pin("before"), Status());
  EXPECT_EQ(run->Result<Texts>(kPromptly).value_or(Texts()), (Texts{"before", "end by before"}));
}

TEST_P(PinningTest, ContinueAsNewKeepsThePinUnlessItSaysOtherwise) {
  std::string id;
  {
    Engine before = OfBuild("before");
    const auto run = before.Start("W", Texts());
    ASSERT_TRUE(run.ok()) << run.status();
    id = run->workflow_id();
    ASSERT_EQ(run->Signal("go", std::string("again")), Status());
    const auto next = [&] { return before.Find(id).Describe(); };
    ASSERT_TRUE(Eventually([&] { return next()->run.key.run_id != run->run_id() && next()->run.version > 0; }));
    EXPECT_EQ(next()->run.pinned, "before");
  }
  Engine after = OfBuild("after");
  const marathon::Run chain = after.Find(id);
  ASSERT_EQ(chain.Signal("go", std::string("upgrade")), Status());
  EXPECT_EQ(chain.Describe()->run.pinned, "before");
  Engine before = OfBuild("before");
  ASSERT_TRUE(Eventually([&] { return after.Count({.status = RunStatus::kContinuedAsNew}).value_or(0) == 2; }));
  ASSERT_TRUE(Eventually([&] { return chain.Describe()->run.version > 0; }));
  const std::string third = PinOf(after.Find(id));
  EXPECT_TRUE(third == "before" || third == "after") << third << ": whoever took its first turn";
  ASSERT_EQ(chain.Signal("go", std::string("on")), Status());
  ASSERT_EQ(chain.Signal("go", std::string("end")), Status());
  EXPECT_EQ(chain.Result<Texts>(kPromptly).value_or(Texts()),
            (Texts{"before", "before", third, "end by " + third}));
}

// It may be what corrects the failure.
TEST_P(PinningTest, ARetryBeginsOnAnyBuild) {
  Engine before = OfBuild("before");
  const auto run = before.Start("W", Texts(), {.retry = RetryPolicy{.initial_interval = 1h, .maximum_attempts = 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(PinOf(*run), "before");
  ASSERT_EQ(run->Signal("go", std::string("fail")), Status());
  const marathon::Run chain = before.Find(run->workflow_id());
  ASSERT_TRUE(Eventually([&] { return chain.Describe()->run.key.run_id != run->run_id(); }));
  EXPECT_EQ(PinOf(chain), "none") << "before its first turn";
  EXPECT_EQ(PinOf(*run), "before") << "which has ended there";
}

TEST_P(PinningTest, AForkOfKeptTurnsIsPinnedAsTheRunWas) {
  Engine before = OfBuild("before");
  Engine after = OfBuild("after");
  const auto run = before.Start("W", Texts());
  ASSERT_TRUE(run.ok()) << run.status();
  const marathon::Run far = after.Find(run->workflow_id());
  const auto kept = far.Fork({.keep = 2});
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(PinOf(*kept), "before");
  for (const char* text : {"on", "end"}) ASSERT_EQ(kept->Signal("go", std::string(text)), Status());
  EXPECT_EQ(kept->Result<Texts>(kPromptly).value_or(Texts()), (Texts{"before", "end by before"}));
  const auto fresh = far.Fork({});
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  EXPECT_EQ(PinOf(*fresh), "after") << "which took its first turn";
}

// What a pinned run does is done by any worker of its task queue; its children follow the rule of their own type.
TEST_P(PinningTest, ActivitiesAndChildrenAreNotPinned) {
  const auto parent = [](WorkflowContext& ctx) -> Workflow<int> {
    const int mine = co_await ctx.Run<int>("Elsewhere", 1);
    co_return mine + co_await ctx.RunChild<int>("Sleeps", 1, {.workflow_id = "child"});
  };
  Registry without = CodeOf("before");
  without.Bind("Parent", parent, {.versioning = Versioning::kPinned});
  Registry with = CodeOf("after");
  with.Bind("Elsewhere", [](int x) { return 10 * x; });
  Engine before = OfBuild("before", without);
  const auto run = before.Start("Parent");
  ASSERT_TRUE(run.ok()) << run.status();
  Engine after = OfBuild("after", with);
  EXPECT_EQ(run->Result<int>(kPromptly).value_or(0), 11);
  EXPECT_EQ(BuildsOf(*run), (std::set<std::string>{"before"}));
  EXPECT_EQ(PinOf(after.Find("child")), "none");
}

TEST_P(PinningTest, NamesThatCannotBeAreRefused) {
  EngineOptions options = Options();
  options.task_queues = {"orders", "orders@home"};
  const auto queue = Engine::Open(store_.ports, Registry(), options).status();
  EXPECT_EQ(queue.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(queue.message()), HasSubstr("\"orders@home\" needs a name without @"));
  options = Options();
  options.build_id = std::string(limits::kMaxNameBytes + 1, 'b');
  const auto build = Engine::Open(store_.ports, Registry(), options).status();
  EXPECT_EQ(build.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(build.message()), HasSubstr("build_id must have 1 to 200 bytes, not 201"));

  Registry registry = CodeOf("build");
  registry.Bind("Asks", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run<int>("Any", 1, {.task_queue = "orders@home"});
  });
  Engine engine = OfBuild(std::string(limits::kMaxNameBytes, 'b'), registry);
  EXPECT_EQ(engine.Start("W", Texts(), {.task_queue = "a@b"}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(FailureOf(ResultOf<int>(engine.Start("Asks")).status()).message, HasSubstr("needs a name without @"));
  const auto run = engine.Start("W", Texts());
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(PinOf(*run), std::string(limits::kMaxNameBytes, 'b'));
  EXPECT_EQ(run->Pin("").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(run->Pin(std::string(limits::kMaxNameBytes + 1, 'b')).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace marathon::tests::pinning_test
