// labels: threads
// Runs and other runs: children, their ends and their parents' ends, signals and cancels between runs.
// program: runs
#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "children.h"
#include "marathon/detail/run_messages.h"
#include "marathon/store/forwarding_state_store.h"

namespace marathon::tests::children_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ChildrenTest : public WorkflowTest {
 protected:
  // Waits until a run that nobody has a handle of is there and closed.
  static RunStatus EndOf(const Engine& engine, const RunKey& key) {
    RunStatus status = RunStatus::kRunning;
    EXPECT_TRUE(Eventually([&] {
      const auto description = engine.Find(key.workflow_id, key.run_id).Describe();
      if (description.ok()) status = description->run.status;
      return status != RunStatus::kRunning;
    }));
    return status;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, ChildrenTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(ChildrenTest, AChildGivesItsResult) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    const int four = co_await ctx.RunChild(kDouble, 2);
    co_return co_await ctx.RunChild<int>("Double", four, {.workflow_id = "again"});
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W", {.workflow_id = "parent"});
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 8);
  const auto history = engine.Find("again").History();
  ASSERT_TRUE(history.ok()) << history.status();
  const auto& started = std::get<WorkflowStarted>(history->at(1).body);
  ASSERT_EQ(started.origin.size(), 1u);
  EXPECT_EQ(started.origin[0].parent->run, run->key());
}

TEST_P(ChildrenTest, ManyAtOnce) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    std::vector<ChildHandle<int>> children;
    for (int i = 0; i < 50; ++i) children.push_back(ctx.StartChild(kDouble, i));
    int sum = 0;
    for (const int value : co_await ctx.All(children)) sum += value;
    co_return sum;
  });
  EXPECT_EQ(RunOnce<int>(registry).value_or(0), 50 * 49);
}

TEST_P(ChildrenTest, AChildsFailureIsThrown) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    std::string said;
    try {
      co_await ctx.RunChild(kDouble, -1);
    } catch (const ChildRunError& error) {
      said = error.workflow_type() + "/" + error.failure().type;
    }
    try {
      co_await ctx.RunChild(kWait, {.run_timeout = 1ms});
    } catch (const ChildRunError& error) {
      said += error.failure().timeout == TimeoutKind::kRun ? ", timed out" : ", no";
    }
    co_return said;
  });
  EXPECT_EQ(RunOnce<std::string>(registry).value_or(""), "Double/Negative, timed out");
}

// As after a store has lost the parent's last turn, in which it had started the child, and not the child.
TEST_P(ChildrenTest, AChildThatHasEndedAlreadyGivesItsResult) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    co_await ctx.Receive(kGo);
    const int ten = co_await ctx.RunChild(kDouble, 5, {.workflow_id = "well"});
    try {
      co_await ctx.RunChild(kDouble, -1, {.workflow_id = "ill"});
    } catch (const ChildRunError& error) {
      co_return std::to_string(ten) + " and " + error.failure().type;
    }
    co_return "";
  });
  Engine engine = Open(registry);
  auto parent = engine.Start("W", {.workflow_id = "parent"});
  ASSERT_TRUE(parent.ok()) << parent.status();
  // A child's run id is made of its parent's run and the event that asks for it: behind TurnStarted, WorkflowStarted,
  // TurnStarted and SignalReceived, and then behind the first child's end and the marker before it.
  const auto start = [&](EventId event, int input, const char* id) {
    const RunKey child = detail::ChildKey({parent->key(), event}, id);
    auto run = engine.Start("Double", input, {.workflow_id = id, .request_id = child.run_id.str()});
    return ResultOf<int>(run);
  };
  EXPECT_EQ(start(5, 5, "well").value_or(0), 10);
  EXPECT_FALSE(start(8, -1, "ill").ok());
  ASSERT_TRUE(parent->Signal(kGo, "go").ok());
  EXPECT_EQ(ResultOf<std::string>(parent).value_or(""), "10 and Negative");
}

TEST_P(ChildrenTest, ATakenWorkflowIdIsAnError) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    try {
      co_await ctx.RunChild(kDouble, 1, {.workflow_id = "taken"});
    } catch (const ChildRunError& error) {
      co_return error.failure().type + ": " + error.failure().message;
    }
    co_return "none";
  });
  Engine engine = Open(registry);
  auto owner = engine.Start("Wait", {.workflow_id = "taken"});
  ASSERT_TRUE(owner.ok()) << owner.status();
  const auto said = ResultOf<std::string>(engine.Start("W"));
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_THAT(*said, HasSubstr(failure_type::kNotStarted));
  EXPECT_THAT(*said, HasSubstr("taken"));
  EXPECT_TRUE(owner->Signal(kGo, "go").ok());
  EXPECT_EQ(owner->Result<std::string>(kPatience).value_or(""), "go from nobody");
}

TEST_P(ChildrenTest, AChildIsRetriedAndMayContinueAsNew) {
  Registry registry;
  registry.Bind("Chain", [](WorkflowContext& ctx, int left) -> Workflow<std::string> {
    if (ctx.attempt() < 2) throw ApplicationError("not yet");
    if (left > 0) co_await ctx.ContinueAsNew(left - 1);
    co_return "end of " + ctx.parent()->workflow_id.str();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    co_return co_await ctx.RunChild<std::string>("Chain", 0, {.retry = &kThreeTries});
  });
  Engine engine = Open(registry);
  const auto result = ResultOf<std::string>(engine.Start("W", {.workflow_id = "parent"}));
  EXPECT_EQ(result.value_or(std::string(MessageOf(result.status()))), "end of parent");
}

TEST_P(ChildrenTest, ACancelReachesTheChild) {
  Registry registry = Basics();
  registry.Bind("Careful", [](WorkflowContext& ctx) -> Workflow<std::string> {
    try {
      co_await ctx.Receive(kGo);
    } catch (const CanceledError&) {
    }
    ShieldedScope scope(ctx);
    co_return "cleaned up: " + ctx.cancel_reason();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const auto careful = ctx.StartChild(WorkflowDef<std::string()>{"Careful"});
    auto waiting = ctx.StartChild(kWait);
    waiting.Cancel();
    const auto outcome = co_await ctx.Try(waiting);
    const std::string kind = !outcome.ok() && outcome.failure().kind == FailureKind::kCanceled
                                 ? "canceled" : "not canceled";
    try {
      co_await ctx.Receive(kGo);
    } catch (const CanceledError&) {
    }
    ShieldedScope scope(ctx);
    const std::string said = co_await careful;
    co_return kind + ", " + said;
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Cancel("enough").ok());
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""),
            "canceled, cleaned up: canceled by its parent");
}

// What a parent's end does: its three children tell by their ends.
TEST_P(ChildrenTest, AParentsEndEndsItsChildren) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::vector<std::string>> {
    const auto ended = ctx.StartChild(kWait);
    const auto canceled = ctx.StartChild(kWait, {.on_parent_close = ParentClosePolicy::kCancel});
    const auto left = ctx.StartChild(kWait, {.on_parent_close = ParentClosePolicy::kAbandon});
    co_await ctx.Sleep(1ms);
    std::vector<std::string> ids;
    for (const auto& child : {ended, canceled, left}) ids.push_back(child.run().workflow_id.str());
    co_return ids;
  });
  Engine engine = Open(registry);
  const auto ids = ResultOf<std::vector<std::string>>(engine.Start("W"));
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(EndOf(engine, {ids->at(0), ""}), RunStatus::kTerminated);
  EXPECT_EQ(EndOf(engine, {ids->at(1), ""}), RunStatus::kCanceled);
  const auto left = engine.Find(ids->at(2));
  ASSERT_TRUE(Eventually([&] { return left.Signal(kGo, "still here").ok(); }));
  EXPECT_THAT(left.Result<std::string>(kPatience).value_or(""), HasSubstr("still here"));
}

// In the turn that starts them: one that is to end with its parent does not begin.
TEST_P(ChildrenTest, AParentMayEndAtOnce) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<void> {
    const auto ended = ctx.StartChild(kWait, {.workflow_id = "ended"});
    const auto canceled = ctx.StartChild(
        kWait, {.workflow_id = "canceled", .on_parent_close = ParentClosePolicy::kCancel});
    const auto left = ctx.StartChild(
        kWait, {.workflow_id = "left", .on_parent_close = ParentClosePolicy::kAbandon});
    co_return;
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(ResultOf<void>(run).ok());
  EXPECT_EQ(EndOf(engine, {"canceled", ""}), RunStatus::kCanceled);
  const auto left = engine.Find("left");
  ASSERT_TRUE(Eventually([&] { return left.Signal(kGo, "still here").ok(); }));
  EXPECT_TRUE(left.Result<std::string>(kPatience).ok());
  EXPECT_EQ(engine.Find("ended").Describe().status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(Eventually([&] { return run->Describe()->run.pending_activities == 0; }));
}

// … and the next of the chain has the children of the one before it.
TEST_P(ChildrenTest, ARunMayContinueAtOnce) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx, bool again) -> Workflow<void> {
    if (!again) {
      const auto child = ctx.StartChild(kWait, {.workflow_id = "child"});
      co_await ctx.ContinueAsNew(true);
    }
    co_await ctx.Receive(kGo);
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W", false);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] { return engine.Find("child").Describe().ok(); }));
  ASSERT_TRUE(run->Signal(kGo, "go").ok());
  EXPECT_TRUE(run->Result<void>(kPatience).ok());
  EXPECT_EQ(EndOf(engine, {"child", ""}), RunStatus::kTerminated);
}

TEST_P(ChildrenTest, ATerminatedParentEndsItsChildren) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<void> {
    co_await ctx.RunChild(kWait, {.workflow_id = "child"});
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] { return engine.Find("child").Describe().ok(); }));
  ASSERT_TRUE(run->Terminate("enough").ok());
  EXPECT_EQ(EndOf(engine, {"child", ""}), RunStatus::kTerminated);
  EXPECT_TRUE(Eventually([&] { return run->Describe()->run.pending_activities == 0; }));
}

TEST_P(ChildrenTest, ATerminatedChildTellsItsParent) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    try {
      co_await ctx.RunChild(kWait, {.workflow_id = "child"});
    } catch (const ChildRunError& error) {
      co_return error.failure().type + ": " + error.failure().message;
    }
    co_return "no error";
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] { return engine.Find("child").Terminate("gone").ok(); }));
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "marathon.Terminated: gone");
}

// Whose histories cannot be read from their beginnings, but for what is in their last records.
class DamagedStore final : public ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override {
    if (!Damages(request.run.workflow_id)) return base()->TakeTurn(std::move(request), std::move(done));
    done(DataLoss("record 1 is damaged"));
  }
  void Read(ReadRequest request, Done<RunSnapshot> done) override {
    const bool from_its_beginning = request.records && request.after_version == 0;
    if (!from_its_beginning || !Damages(request.run.workflow_id)) return base()->Read(std::move(request), std::move(done));
    done(DataLoss("record 1 is damaged"));
  }
  std::atomic<bool> damages = false;

 private:
  bool Damages(const Id& id) const { return damages && id.view() == "child"; }
};

TEST_P(ChildrenTest, AChildWhoseHistoryIsDamagedTellsItsParentWhenItIsTerminated) {
  const auto damaged = std::make_shared<DamagedStore>(store_.ports.store);
  store_.ports.store = damaged;
  Registry registry = Basics();
  registry.Bind("Chain", [](WorkflowContext& ctx, bool again) -> Workflow<std::string> {
    if (again) co_await ctx.ContinueAsNew(false);
    co_return co_await ctx.Receive(kGo);
  });
  registry.Bind("W", [](WorkflowContext& ctx, bool again) -> Workflow<std::string> {
    try {
      co_await ctx.RunChild<std::string>("Chain", again, {.workflow_id = "child"});
    } catch (const ChildRunError& error) {
      co_return error.failure().type + ": " + error.failure().message;
    }
    co_return "no error";
  });
  for (const bool again : {false, true}) {
    damaged->damages = false;
    Engine engine = Open(registry);
    auto run = engine.Start("W", again);
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_TRUE(Eventually([&] {
      const auto child = engine.Find("child").Describe();
      return child.ok() && child->run.status == RunStatus::kRunning && child->run.version > 1 &&
             (!again || !child->run.links->first_run_id.empty());
    }));
    damaged->damages = true;
    EXPECT_EQ(engine.Find("child").History().status().code(), StatusCode::kDataLoss);
    EXPECT_EQ(engine.Find("child").Terminate("beyond repair"), Status());
    EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "marathon.Terminated: beyond repair");
  }
}

// Children outlive a continue-as-new, and end with the chain.
TEST_P(ChildrenTest, ChildrenEndWithTheChain) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx, int left) -> Workflow<void> {
    if (left == 2) {
      const auto child = ctx.StartChild(kWait, {.workflow_id = "child"});
      co_await ctx.SignalRun(child, SignalDef<int>{"other"}, 1);  // it has begun
    }
    if (left > 0) co_await ctx.ContinueAsNew(left - 1);
    co_await ctx.Receive(kGo);
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W", 2, {.workflow_id = "w"});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(Eventually([&] {
    const auto newest = engine.Find("w").Describe();
    return newest.ok() && newest->run.links && newest->run.links->children.size() == 1 &&
           newest->run.version > 1;
  }));
  const auto child = engine.Find("child").Describe();
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->run.status, RunStatus::kRunning);
  ASSERT_TRUE(run->Signal(kGo, "go").ok());
  EXPECT_TRUE(run->Result<void>(kPatience).ok());
  EXPECT_EQ(EndOf(engine, {"child", ""}), RunStatus::kTerminated);
}

TEST_P(ChildrenTest, SignalsAndCancelsReachOtherRuns) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const std::string word = "hello";
    const auto child = ctx.StartChild(kWait);
    co_await ctx.SignalRun(child, kGo, word);  // which may not have begun
    std::string said = co_await child;
    co_await ctx.SignalRun("other", kGo, word);
    co_await ctx.CancelRun("third", "not needed");
    try {
      co_await ctx.SignalRun("nobody", kGo, word);
    } catch (const DeliveryError& error) {
      said += ", " + error.failure().message;
    }
    co_return said;
  });
  Engine engine = Open(registry);
  auto other = engine.Start("Wait", {.workflow_id = "other"});
  auto third = engine.Start("Wait", {.workflow_id = "third"});
  const auto said = ResultOf<std::string>(engine.Start("W", {.workflow_id = "w"}));
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_EQ(*said, "hello from w, no workflow \"nobody\"");
  EXPECT_EQ(ResultOf<std::string>(other).value_or(""), "hello from nobody");
  EXPECT_EQ(ResultOf<std::string>(third).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(third->Describe()->run.status, RunStatus::kCanceled);
}

TEST_P(ChildrenTest, ASignalToAClosedRunIsAnError) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const std::string word = "late";
    const auto child = ctx.StartChild(kDouble, 1);
    co_await child;
    try {
      co_await ctx.SignalRun(child, kGo, word);
    } catch (const DeliveryError& error) {
      co_return error.failure().type;
    }
    co_return "delivered";
  });
  EXPECT_EQ(RunOnce<std::string>(registry).value_or(""), failure_type::kNotDelivered);
}

// Whose process goes away in the middle: another one ends what it began.
TEST_P(ChildrenTest, AnotherEngineGoesOn) {
  Registry registry = Basics();
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    co_return co_await ctx.RunChild(kWait, {.workflow_id = "child"});
  });
  RunKey key;
  {
    Engine first = Open(registry);
    auto run = first.Start("W", {.workflow_id = "w"});
    ASSERT_TRUE(run.ok()) << run.status();
    key = run->key();
  }
  Engine second = Open(registry);
  ASSERT_TRUE(Eventually([&] { return second.Find("child").Signal(kGo, "on").ok(); }));
  EXPECT_EQ(second.Find(key.workflow_id).Result<std::string>(kPatience).value_or(""), "on from w");
}

}  // namespace
}  // namespace marathon::tests::children_test
