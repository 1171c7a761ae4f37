// Histories that today's code must still replay, and histories that no longer fit it, from JSON files in
// tests/golden/histories. The good ones freeze the order in which a run's events and commands follow
// each other: one that stops replaying is a change that breaks users' open runs.
// needs: testing
// program: histories
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "marathon/detail/event_fields.h"
#include "marathon/engine/replayer.h"
#include "marathon/marathon.h"
#include "marathon/schedule/json.h"
#include "marathon/testing/history_json.h"

namespace marathon::tests::golden_histories_test {
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

// What a signal for one of its children goes by is the child's event, and a cancel of one, too.
Workflow<int> Nursery(WorkflowContext& ctx) {
  auto first = ctx.StartChild<int>("Nap", 1);
  auto second = ctx.StartChild<int>("Nap");
  co_await ctx.SignalRun(second, "wake");
  first.Cancel();
  int slept = 0;
  try {
    slept = co_await first;
  } catch (const CanceledError&) {
    slept = -1;
  }
  co_return slept + co_await second;
}

Workflow<void> Attributes(WorkflowContext& ctx, std::string customer) {
  ctx.SetAttributes({{"customer", customer}, {"stage", "new"}});
  co_await ctx.Run<int>("Charge", 1);
  ctx.SetAttributes({{"stage", "paid"}, {"customer", ""}});
  co_await ctx.Run<int>("Stage " + ctx.attributes().front().second, 1);
}

// What a replay makes of the run's id. Names of activities are compared, so these are.
Workflow<void> Values(WorkflowContext& ctx) {
  const auto child = ctx.StartChild<int>("Nap");
  co_await ctx.Run<int>("Random " + std::to_string(ctx.Random()));
  co_await ctx.Run<int>("Uuid " + ctx.NewUuid());
  co_await ctx.Run<int>("Child " + child.run().run_id.str() + " " + child.run().workflow_id.str());
  co_await ctx.Run<int>("Random " + std::to_string(ctx.Random()));
}

// What it waits for, and what it does then, depends on the times of its turns.
Workflow<void> Deadline(WorkflowContext& ctx) {
  const Time deadline = ctx.Now() + 1h;
  const auto left = [&] { return std::chrono::ceil<Duration>(deadline - ctx.Now()); };
  for (int i = 0; i < 3; ++i) {
    if (left() > 0ms) co_await ctx.Sleep(left() / 2 + 20min);
    co_await ctx.Run<int>(ctx.Now() < deadline ? "Early" : "Late");
  }
}

Workflow<void> Scopes(WorkflowContext& ctx) {
  auto outside = ctx.StartTimer(1h);
  CancellationScope scope(ctx);
  auto timer = ctx.StartTimer(48h);
  auto charge = ctx.Start<int>("Charge", 1);
  auto branch = ctx.Spawn(Twice(ctx, "Branch"));
  CancellationScope inner(ctx);
  auto inside = ctx.Start<int>("Inside", 1);
  co_await ctx.Receive<void>("stop");
  scope.Cancel();
  int canceled = 0;
  const auto ended = co_await ctx.Try(branch);
  if (!ended.ok()) ++canceled;
  const auto charged = co_await ctx.Try(charge);
  if (!charged.ok()) ++canceled;
  ShieldedScope shield(ctx);
  co_await ctx.Run<int>("Canceled " + std::to_string(canceled));
  co_await outside;
}

Registry Workflows() {
  Registry registry;
  registry.AddBuiltIn(detail::kScheduleWorkflow,
                      detail::MakeWorkflow<void(detail::ScheduleState)>(
                          [](WorkflowContext& ctx, detail::ScheduleState state) {
                            return detail::RunSchedule(ctx, std::move(state));
                          }));
  registry.Bind("Nursery", Nursery);
  registry.Bind("Attributes", Attributes);
  registry.Bind("Values", Values);
  registry.Bind("Deadline", Deadline);
  registry.Bind("Scopes", Scopes);
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

StatusOr<History> ReadHistory(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return testing::HistoryFromJson(text.str());
}

// The mismatch in a history, or "".
std::string Replay(const std::filesystem::path& file, std::string workflow_type) {
  const auto history = ReadHistory(file);
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
    {"bad_attribute_names", {"AttributesSet \"customer\", \"step\"", "AttributesSet \"customer\", \"stage\""}},
    {"bad_cancel_target", {"ActivityScheduled \"marathon.cancel\" for \"another\"", "\"marathon.cancel\" for \"other\""}},
    {"bad_child_id", {"ActivityScheduled \"marathon.child/Ship\" for \"ship-2\"", "\"marathon.child/Ship\" for \"ship-1\""}},
    {"bad_deadline", {"ActivityScheduled \"Late\"", "ActivityScheduled \"Early\""}},
    {"bad_random", {"ActivityScheduled \"Random 1\"", "ActivityScheduled \"Random "}},
    {"bad_schedule", {"ActivityScheduled \"marathon.schedule.end\"", "ActivityScheduled \"marathon.schedule.start\""}},
    {"bad_scope_order", {"ActivityCancelRequested (activity 7)", "ActivityCancelRequested (activity 5)"}},
    {"bad_signal_child", {"ActivityScheduled \"marathon.signal/wake\" for child 3", "\"marathon.signal/wake\" for child 4"}},
    {"bad_signal_target", {"ActivityScheduled \"marathon.signal/go\" for \"another\"", "\"marathon.signal/go\" for \"other\""}},
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
  std::set<EventType> seen;  // in good ones
  int bad = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden/histories")) {
    const std::string name = entry.path().stem();
    const std::string mismatch = Replay(entry.path(), "Activity");
    if (name.starts_with("good_")) {
      EXPECT_EQ(mismatch, "") << name;
      const auto history = ReadHistory(entry.path());
      ASSERT_TRUE(history.ok()) << history.status();
      for (const Event& event : *history) seen.insert(TypeOf(event.body));
    } else {
      ++bad;
      ASSERT_TRUE(kBad.contains(name)) << name << " has nothing expected of it: " << mismatch;
      EXPECT_THAT(mismatch, HasSubstr("history has " + kBad.at(name).first)) << name;
      EXPECT_THAT(mismatch, HasSubstr(kBad.at(name).second)) << name;
    }
  }
  EXPECT_EQ(bad, static_cast<int>(kBad.size()));
  detail::AnyEventType([&]<class T>(std::in_place_type_t<T>) {
    EXPECT_TRUE(seen.contains(detail::Layout<T>::type)) << "no good history has " << detail::Layout<T>::name;
    return false;  // the next one
  });
}

// A history cut anywhere between two turns is one of a run that is still open, and replays too.
TEST(GoldenHistoriesTest, SoDoTheirBeginnings) {
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden/histories")) {
    if (!std::string(entry.path().stem()).starts_with("good_")) continue;
    const auto history = ReadHistory(entry.path());
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
}  // namespace marathon::tests::golden_histories_test
