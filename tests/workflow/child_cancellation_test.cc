// labels: threads
// What becomes of a handle whose child is canceled, by ChildOptions::cancellation.
// program: runs
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "children.h"

namespace marathon::tests::children_test {
namespace {

class ChildCancellationTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(Stores, ChildCancellationTest, ::testing::ValuesIn(AllSetups()), SetupName);

std::string NameOf(ActivityCancellation kind) {
  return kind == ActivityCancellation::kWait ? "wait" : kind == ActivityCancellation::kTry ? "try" : "abandon";
}
constexpr ActivityCancellation kKinds[] = {ActivityCancellation::kWait, ActivityCancellation::kTry,
                                           ActivityCancellation::kAbandon};

// The child `id` takes a cancel as a word like any other, and ends at the next; its parent is told to end after that.
Registry Cancels(ActivityCancellation kind, bool by_scope, const std::string& id) {
  Registry registry = Basics();
  registry.Bind("Stubborn", [](WorkflowContext& ctx) -> Workflow<std::string> {
    co_await ctx.Receive(kGo);
    std::string first = "canceled";
    try {
      first = co_await ctx.Receive(kGo);
    } catch (const CanceledError&) {
    }
    ShieldedScope scope(ctx);
    co_return first + ", " + co_await ctx.Receive(kGo);
  });
  registry.Bind("W", [kind, by_scope, id](WorkflowContext& ctx) -> Workflow<std::string> {
    CancellationScope scope(ctx);
    auto child = ctx.StartChild(WorkflowDef<std::string()>{"Stubborn"},
                                {.workflow_id = id, .on_parent_close = ParentClosePolicy::kAbandon,
                                 .cancellation = kind});
    const std::string word = "begin";
    co_await ctx.SignalRun(child, kGo, word);
    if (by_scope) scope.Cancel();
    if (!by_scope) child.Cancel();
    const Outcome<std::string> outcome = co_await ctx.Try(child);
    ShieldedScope shield(ctx);
    co_await ctx.SideEffect([] { return 1; });
    const std::string end = co_await ctx.Receive(kGo);
    co_return (outcome.ok() ? outcome.value() : outcome.failure().message) + "; " + end;
  });
  return registry;
}

bool HasEvent(const marathon::Run& run, auto&& wanted) {
  const auto history = run.History();
  return history.ok() && std::any_of(history->begin(), history->end(), [&](const Event& e) { return wanted(e.body); });
}

TEST_P(ChildCancellationTest, AHandleWaitsForItsCanceledChildAsItWasTold) {
  for (const ActivityCancellation kind : kKinds) {
    for (const bool by_scope : {false, true}) {
      const std::string id = NameOf(kind) + (by_scope ? ", by its scope" : ", by its handle");
      SCOPED_TRACE(id);
      const bool waits = kind == ActivityCancellation::kWait, told = kind != ActivityCancellation::kAbandon;
      Engine engine = Open(Cancels(kind, by_scope, id));
      auto run = engine.Start("W");
      ASSERT_TRUE(run.ok()) << run.status();
      const auto child = engine.Find(id);
      if (told) {
        EXPECT_TRUE(Eventually([&] {
          return HasEvent(child, [](const auto& body) { return std::holds_alternative<WorkflowCancelRequested>(body); });
        }));
      }
      ASSERT_EQ(run->Signal(kGo, "the parent ends"), Status());
      // A parent that does not wait ends while its child goes on; one that waits does not.
      if (!waits) {
        EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "canceled by its workflow; the parent ends");
      }
      EXPECT_EQ(child.Describe()->run.status, RunStatus::kRunning);
      EXPECT_EQ(run->Describe()->run.status, waits ? RunStatus::kRunning : RunStatus::kCompleted);
      if (!told) {
        ASSERT_EQ(child.Signal(kGo, "not told"), Status());
      }
      ASSERT_EQ(child.Signal(kGo, "the end"), Status());
      EXPECT_EQ(child.Result<std::string>(kPatience).value_or(""), told ? "canceled, the end" : "not told, the end");
      if (waits) {
        EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "canceled, the end; the parent ends");
      }
    }
  }
}

// The end of a child that nobody waits for any more reaches a parent that is there, and changes nothing.
TEST_P(ChildCancellationTest, TheEndOfAChildThatWasGivenUpIsNoNews) {
  for (const ActivityCancellation kind : {ActivityCancellation::kTry, ActivityCancellation::kAbandon}) {
    const std::string id = NameOf(kind);
    SCOPED_TRACE(id);
    Engine engine = Open(Cancels(kind, false, id));
    auto run = engine.Start("W");
    ASSERT_TRUE(run.ok()) << run.status();
    const auto child = engine.Find(id);
    ASSERT_TRUE(Eventually([&] {
      return HasEvent(*run, [](const auto& body) { return std::holds_alternative<SideEffectRecorded>(body); });
    })) << "its parent waits no more";
    if (kind == ActivityCancellation::kTry) {  // of the two words that it waits for, one is the cancel
      ASSERT_TRUE(Eventually([&] {
        return HasEvent(child, [](const auto& body) { return std::holds_alternative<WorkflowCancelRequested>(body); });
      }));
    } else {
      ASSERT_EQ(child.Signal(kGo, "one"), Status());
    }
    ASSERT_EQ(child.Signal(kGo, "the last"), Status());
    ASSERT_TRUE(child.Result<std::string>(kPatience).ok());
    EXPECT_TRUE(Eventually([&] { return child.Describe()->run.pending_activities == 0; })) << "it has told its parent";
    ASSERT_EQ(run->Signal(kGo, "on"), Status());
    EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "canceled by its workflow; on");
  }
}

// In the turn that starts it.
TEST_P(ChildCancellationTest, AChildMayBeCanceledAtOnce) {
  for (const ActivityCancellation kind : kKinds) {
    SCOPED_TRACE(NameOf(kind));
    Registry registry = Basics();
    registry.Bind("W", [kind](WorkflowContext& ctx) -> Workflow<std::string> {
      auto child = ctx.StartChild(kWait, {.workflow_id = NameOf(kind), .cancellation = kind});
      child.Cancel();
      const Outcome<std::string> outcome = co_await ctx.Try(child);
      const bool canceled = !outcome.ok() && outcome.failure().kind == FailureKind::kCanceled;
      const std::string word = "hello";
      if (kind == ActivityCancellation::kAbandon) co_await ctx.SignalRun(child, kGo, word);
      co_return canceled ? "canceled" : "not canceled";
    });
    Engine engine = Open(registry);
    EXPECT_EQ(ResultOf<std::string>(engine.Start("W")).value_or(""), "canceled");
  }
}

}  // namespace
}  // namespace marathon::tests::children_test
