// Histories that today's code must still replay, and histories that no longer fit it, from JSON files in
// tests/golden/histories. The good ones freeze the order in which a run's events and commands follow
// each other: one that stops replaying is a change that breaks users' open runs.
// needs: testing
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "marathon/engine/replayer.h"
#include "marathon/marathon.h"
#include "marathon/testing/history_json.h"

namespace marathon::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

Workflow<int> Activity(WorkflowContext& ctx) { co_return co_await ctx.Run<int>("Charge", 1); }

Workflow<void> Caught(WorkflowContext& ctx) {
  auto charge = ctx.Start<int>("Charge", 1);
  auto refund = ctx.Start<int>("Refund", 1);
  bool failed = false;
  try {
    co_await charge;
  } catch (const ActivityError& e) {
    failed = e.failure().type == "CardDeclined";
  }
  if (failed) co_await ctx.Run<int>("Apologize", 1);
  co_await refund;
}

Workflow<void> Timer(WorkflowContext& ctx) { co_await ctx.Sleep(24h); }

Workflow<void> Cancels(WorkflowContext& ctx) {
  auto longer = ctx.StartTimer(24h);
  auto shorter = ctx.StartTimer(1s);
  auto charge = ctx.Start<int>("Charge", 1);
  co_await shorter;
  longer.Cancel();
  charge.Cancel();
}

Workflow<int> Signal(WorkflowContext& ctx) {
  const int late = co_await ctx.Receive<int>("late");
  co_return late + co_await ctx.Receive<int>("early");
}

Workflow<int> SignalTimeout(WorkflowContext& ctx) {
  const std::optional<int> first = co_await ctx.Receive<int>("go", 1s);
  const std::optional<int> second = co_await ctx.Receive<int>("go", 2s);
  co_return second ? *second : first.value_or(0);
}

Workflow<std::string> SideEffect(WorkflowContext& ctx) {
  const std::string value = co_await ctx.SideEffect([] { return std::string("new"); });
  co_await ctx.Run<int>("Charge", value);
  co_return value;
}

Workflow<void> Twice(WorkflowContext& ctx, std::string activity) {
  co_await ctx.Run<int>(activity, 1);
  co_await ctx.Run<int>(activity + " again", 1);
}
Workflow<void> Branches(WorkflowContext& ctx) {
  auto first = ctx.Spawn(Twice(ctx, "First"));
  auto second = ctx.Spawn(Twice(ctx, "Second"));
  auto third = ctx.Start<int>("Third", 1);
  co_await ctx.All(first, second, third);
}

Workflow<void> Condition(WorkflowContext& ctx) {
  int count = 0;
  auto counts = [&]() -> Workflow<void> {
    while (true) count += co_await ctx.Receive<int>("count");
  };
  auto counter = ctx.Spawn(counts());
  if (!co_await ctx.WaitUntil([&] { return count == 3; }, 5s)) throw ApplicationError("too late");
}

Workflow<void> CleansUp(WorkflowContext& ctx) {
  auto charge = ctx.Start<int>("Charge", 1);
  std::optional<CanceledError> canceled;
  try {
    co_await ctx.Sleep(24h);
  } catch (const CanceledError& e) {
    canceled = e;
  }
  ShieldedScope shield(ctx);
  co_await ctx.Run<int>("Refund", 1);
  if (canceled) throw *canceled;
}

Workflow<void> Handles(WorkflowContext& ctx) {
  int charged = 0;
  auto charges = ctx.OnSignal("charge", [&](int amount) -> Workflow<void> {
    charged += co_await ctx.Run<int>("Charge", amount);
  });
  co_await ctx.Receive<int>("go");
  co_await ctx.Sleep(1s);
  co_await ctx.WaitUntil([&] { return charged == 7; });
}

Workflow<int> Updates(WorkflowContext& ctx) {
  int total = 0;
  auto add = ctx.OnUpdate("add", [&](int amount) -> Workflow<int> {
    total += co_await ctx.Run<int>("Charge", amount);
    co_return total;
  });
  auto refuse = ctx.OnUpdate("refuse", [](int) -> int { throw ApplicationError("never"); });
  co_await ctx.WaitUntil([&] { return total > 5 && ctx.AllHandlersFinished(); });
  co_return total;
}

Workflow<void> Versions(WorkflowContext& ctx) {
  const int version = ctx.Version("twice", kBeforeChange, 2);
  co_await ctx.Run<int>("Charge", 1);
  if (version == 2) co_await ctx.Run<int>("Charge", 1);
}

Workflow<int> Continues(WorkflowContext& ctx) {
  const int go = co_await ctx.Receive<int>("go");
  if (ctx.ContinueAsNewSuggested()) co_await ctx.ContinueAsNew(go);
  co_return go;
}

Workflow<int> Family(WorkflowContext& ctx) {
  const auto left = ctx.StartChild<int>("Wait", 1, {.on_parent_close = ParentClosePolicy::kAbandon});
  co_await ctx.SignalRun("other", "go", 1);
  co_await ctx.CancelRun("other", "no longer wanted");
  co_return co_await ctx.RunChild<int>("Ship", 1, {.workflow_id = "ship-1"});
}

Workflow<int> Locals(WorkflowContext& ctx) {
  const auto stock = ctx.StartLocal<int>("Stock", 1);
  const auto price = ctx.StartLocal<int>("Price", 1);
  const int pieces = co_await stock;
  const int looked = co_await ctx.RunLocal<int>("Look", 1);
  co_return pieces + looked + co_await price;
}

Registry Workflows() {
  Registry registry;
  registry.Bind("Activity", Activity);
  registry.Bind("Caught", Caught);
  registry.Bind("Timer", Timer);
  registry.Bind("Cancels", Cancels);
  registry.Bind("Signal", Signal);
  registry.Bind("SignalTimeout", SignalTimeout);
  registry.Bind("SideEffect", SideEffect);
  registry.Bind("Branches", Branches);
  registry.Bind("Condition", Condition);
  registry.Bind("CleansUp", CleansUp);
  registry.Bind("Handles", Handles);
  registry.Bind("Updates", Updates);
  registry.Bind("Versions", Versions);
  registry.Bind("Continues", Continues);
  registry.Bind("Family", Family);
  registry.Bind("Locals", Locals);
  return registry;
}

// The mismatch in a history, or "".
std::string Replay(const std::filesystem::path& file, std::string workflow_type) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  const auto history = testing::HistoryFromJson(text.str());
  if (!history.ok()) return history.status().ToString();
  for (const Event& event : *history) {
    if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) {
      workflow_type = started->workflow_type;
    }
  }
  const Registry registry = Workflows();
  const auto* factory = registry.FindWorkflow(workflow_type);
  if (factory == nullptr) return "no workflow " + workflow_type;
  Replayer replayer(RunFacts{{"w", "r"}, workflow_type, "default"}, *factory);
  const auto mismatch = replayer.Replay(*history);
  if (mismatch) return mismatch->ToString();
  EXPECT_EQ(replayer.version(), history->back().id) << file;
  const EventType last = TypeOf(history->back().body);
  const auto* marker = std::get_if<TurnStarted>(&(*history)[history->size() - 2].body);
  const bool without_code = marker != nullptr && (marker->behavior_flags & kTurnWithoutCode) != 0;
  const bool closed_by_code =
      !without_code && (last == EventType::kWorkflowCompleted || last == EventType::kWorkflowFailed ||
      last == EventType::kWorkflowCanceled || last == EventType::kWorkflowContinuedAsNew);
  EXPECT_EQ(replayer.closed(), closed_by_code) << file;
  return "";
}

// What each bad history is found out by.
const std::map<std::string, std::pair<std::string, std::string>> kBad = {
    {"bad_activity_canceled", {"ActivityCancelRequested (activity 3)", "ActivityCancelRequested (activity 5)"}},
    {"bad_activity_type", {"ActivityScheduled \"Refund\"", "ActivityScheduled \"Charge\""}},
    {"bad_child_type", {"ActivityScheduled \"marathon.child/Send\"", "ActivityScheduled \"marathon.child/Ship\""}},
    {"bad_answer", {"WorkflowCompleted", "WorkflowFailed"}},
    {"bad_answer_twice", {"ActivityCompleted (activity 4)", "waits for no such thing"}},
    {"bad_cancel_twice", {"WorkflowCancelRequested", "waits for no such thing"}},
    {"bad_behavior_flags", {"behavior flags 0x4, of a newer build", "knows only 0x3"}},
    {"bad_canceled", {"WorkflowCanceled: why", "ActivityScheduled \"Refund\""}},
    {"bad_command_without_cause", {"ActivityScheduled \"Charge\"", "issued nothing here"}},
    {"bad_continued_hint", {"WorkflowContinuedAsNew \"Continues\"", "WorkflowCompleted"}},
    {"bad_continued_type", {"WorkflowContinuedAsNew \"Other\"", "WorkflowContinuedAsNew \"Continues\""}},
    {"bad_end", {"WorkflowCompleted", "nothing more after TimerStarted"}},
    {"bad_end_kind", {"WorkflowFailed", "WorkflowCompleted"}},
    {"bad_kind", {"TimerStarted (1000 ms)", "ActivityScheduled \"Charge\""}},
    {"bad_local_type", {"LocalActivityStarted \"Price\"", "LocalActivityStarted \"Stock\""}},
    {"bad_no_end", {"no further command", "WorkflowCompleted"}},
    {"bad_order", {"ActivityScheduled \"First\"", "ActivityScheduled \"Third\""}},
    {"bad_side_effect", {"ActivityScheduled \"Charge\"", "side effect"}},
    {"bad_side_effect_missing", {"nothing more in this turn", "side effect"}},
    {"bad_timer_canceled", {"TimerCanceled (timer 4)", "TimerCanceled (timer 3)"}},
    {"bad_update_answer", {"UpdateCompleted (update 4): ", "UpdateCompleted (update 4)"}},
    {"bad_update_unknown", {"UpdateAccepted \"subtract\" (u-1)", "waits for no such thing"}},
    {"bad_version", {"version 3 of change \"twice\"", "has versions -1 to 2"}},
    {"bad_too_few", {"TimerStarted (1000 ms)", "nothing more after ActivityScheduled \"Charge\""}},
    {"bad_too_many", {"no further command", "ActivityScheduled \"Charge\""}},
};

TEST(GoldenHistoriesTest, GoodOnesReplayAndBadOnesAreFound) {
  int good = 0;
  int bad = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden/histories")) {
    const std::string name = entry.path().stem();
    const std::string mismatch = Replay(entry.path(), "Activity");
    if (name.starts_with("good_")) {
      ++good;
      EXPECT_EQ(mismatch, "") << name;
    } else {
      ++bad;
      ASSERT_TRUE(kBad.contains(name)) << name << " has nothing expected of it: " << mismatch;
      EXPECT_THAT(mismatch, HasSubstr("history has " + kBad.at(name).first)) << name;
      EXPECT_THAT(mismatch, HasSubstr(kBad.at(name).second)) << name;
    }
  }
  EXPECT_EQ(good, 22);
  EXPECT_EQ(bad, static_cast<int>(kBad.size()));
}

// A history cut anywhere between two turns is one of a run that is still open, and replays too.
TEST(GoldenHistoriesTest, SoDoTheirBeginnings) {
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden/histories")) {
    if (!std::string(entry.path().stem()).starts_with("good_")) continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const auto history = testing::HistoryFromJson(text.str());
    ASSERT_TRUE(history.ok()) << history.status();
    const Registry registry = Workflows();
    const std::string type = std::get<WorkflowStarted>((*history)[1].body).workflow_type;
    Replayer by_turns(RunFacts{{"w", "r"}, type, "default"}, *registry.FindWorkflow(type));
    for (size_t begin = 0; begin < history->size();) {
      size_t end = begin + 1;
      while (end < history->size() && TypeOf((*history)[end].body) != EventType::kTurnStarted) ++end;
      const auto mismatch = by_turns.Replay(std::span(*history).subspan(begin, end - begin));
      ASSERT_FALSE(mismatch) << entry.path() << ": " << mismatch->ToString();
      begin = end;
    }
  }
}

}  // namespace
}  // namespace marathon::tests
