// Schedules through the Engine, over each store. What takes hours is in tests/sim/schedule_test.cc.
// program: lists
#include <gmock/gmock.h>

#include <set>
#include <string>

#include "fixture.h"

namespace marathon::tests::schedules_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

inline constexpr WorkflowDef<std::string(std::string)> kReport{"Report"};
inline constexpr WorkflowDef<void()> kTick{"Tick"};

// Workflows only: a schedule's activities need no worker that takes activities from the queue.
Registry Reports() {
  Registry registry;
  registry.Bind(kReport, [](WorkflowContext& ctx, std::string region) -> Workflow<std::string> {
    co_await ctx.Sleep(1ms);
    co_return ctx.workflow_id().str() + " of " + region;
  });
  registry.Bind(kTick, [](WorkflowContext&) -> Workflow<void> { co_return; });
  return registry;
}

// The description, once it is as `wanted` has it.
template <class Wanted>
ScheduleDescription DescribedAs(const Schedule& schedule, Wanted&& wanted) {
  StatusOr<ScheduleDescription> seen = Unknown("");
  EXPECT_TRUE(Eventually([&] {
    seen = schedule.Describe();
    return seen.ok() && wanted(*seen);
  })) << seen.status();
  return seen.ok() ? *seen : ScheduleDescription();
}

class SchedulesTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(Stores, SchedulesTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(SchedulesTest, IsCreatedTriggeredDescribedAndDeleted) {
  Engine engine = Open(Reports());
  const auto made = engine.CreateSchedule("reports", {.crons = {"0 3 1 1 *"}}, kReport, "north");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->Trigger().ok());
  const ScheduleDescription seen = DescribedAs(*made, [](const ScheduleDescription& d) {
    return !d.recent.empty() && d.recent[0].state == ScheduleRunState::kCompleted;
  });
  EXPECT_EQ(seen.config.action.workflow_type, "Report");
  EXPECT_EQ(seen.counts.started, 1);
  EXPECT_EQ(seen.next_times.size(), 10u);
  EXPECT_EQ(engine.Find("reports/trigger-1").Result<std::string>(kPatience).value_or(""),
            "reports/trigger-1 of north");
  EXPECT_THAT(*engine.ListSchedules(), ElementsAre("reports"));

  ASSERT_TRUE(made->Delete().ok());
  EXPECT_EQ(made->Describe().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(made->Pause().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(*engine.ListSchedules(), IsEmpty());
  EXPECT_TRUE(engine.CreateSchedule("reports", {}, kReport, "south").ok());
}

TEST_P(SchedulesTest, GoesOnInTheNextProcess) {
  const auto started = [](int64_t count) {
    return [count](const ScheduleDescription& d) { return d.counts.started >= count; };
  };
  {
    Engine engine = Open(Reports());
    const auto made = engine.CreateSchedule("ticks", {.intervals = {{.every = 20ms}}}, kTick,
                                            {.overlap = OverlapPolicy::kBufferAll, .remaining_actions = 6});
    ASSERT_TRUE(made.ok()) << made.status();
    DescribedAs(*made, started(2));
  }
  Engine engine = Open(Reports());
  const ScheduleDescription seen = DescribedAs(engine.FindSchedule("ticks"), started(6));
  EXPECT_EQ(seen.config.options.remaining_actions, 0);
  EXPECT_THAT(seen.next_times, IsEmpty());
  const auto runs = engine.List({.workflow_type = "Tick"});
  ASSERT_TRUE(runs.ok());
  std::set<std::string> ids;
  for (const RunRow& run : runs->runs) ids.insert(run.key.workflow_id);
  EXPECT_EQ(ids.size(), 6u);
  EXPECT_EQ(runs->runs.size(), 6u);
}

TEST_P(SchedulesTest, AClientWithoutWorkflowsCommandsIt) {
  Engine client = Open(Registry());
  const auto made = client.CreateSchedule("reports", {}, kReport, "north");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->Describe().status().code(), StatusCode::kUnavailable);
  ASSERT_TRUE(made->Trigger().ok());
  Engine worker = Open(Reports());
  EXPECT_EQ(DescribedAs(*made, [](const ScheduleDescription& d) { return d.counts.started == 1; })
                .recent[0]
                .workflow_id,
            "reports/trigger-1");
}

class ScheduleCallsTest : public ::testing::Test {
 protected:
  Engine Open(const Registry& registry) {
    auto engine = Engine::Open("memory:", registry);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
};

TEST_F(ScheduleCallsTest, WrongOnesSayWhatToWrite) {
  Engine engine = Open(Reports());
  const auto objection = [&](std::string_view id, const ScheduleConfig& config) {
    const Status status = engine.CreateSchedule(id, config).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return std::string(MessageOf(status));
  };
  ScheduleConfig config;
  config.action.workflow_type = "Report";
  EXPECT_THAT(objection("", config), HasSubstr("1 to 200 bytes"));
  EXPECT_THAT(objection(std::string(201, 'x'), config), HasSubstr("1 to 200 bytes"));
  EXPECT_THAT(objection("a\nb", config), HasSubstr("without control characters"));
  config.options.catch_up_window = 9s;
  EXPECT_THAT(objection("s", config), HasSubstr("catch_up_window is 9000 ms; it is at least 10000 ms"));
  config.options = {.remaining_actions = -1};
  EXPECT_THAT(objection("s", config), HasSubstr("remaining_actions"));
  config.options = {};
  config.spec.crons = {"never"};
  EXPECT_THAT(objection("s", config), HasSubstr("schedule \"s\": cron string \"never\": it has 1 fields"));
  config.spec = {};
  config.action.task_queue = "reports@build";
  EXPECT_THAT(objection("s", config), HasSubstr("action.task_queue"));
  config.action.task_queue = "";
  config.action.workflow_type = "";
  EXPECT_THAT(objection("s", config), HasSubstr("action.workflow_type"));

  ASSERT_TRUE(engine.CreateSchedule("s", {}, kTick).ok());
  const Status again = engine.CreateSchedule("s", {}, kTick).status();
  EXPECT_EQ(again.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(MessageOf(again)), HasSubstr("Update it, or Delete it first"));
  EXPECT_EQ(engine.FindSchedule("nobody").Pause().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine.FindSchedule("nobody").Describe().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine.FindSchedule("s").Update(config).code(), StatusCode::kInvalidArgument);
}

TEST_F(ScheduleCallsTest, BackfillCountsTheTimesOfItsRange) {
  Engine engine = Open(Reports());
  const auto made = engine.CreateSchedule("daily", {.crons = {"0 3 * * *"}}, kTick);
  ASSERT_TRUE(made.ok()) << made.status();
  const Time from = std::chrono::sys_days(std::chrono::year(2026) / 1 / 1) + 3h;
  const StatusOr<int> count = made->Backfill(from, from + 24h * 4);
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(*count, 5);
  const ScheduleDescription seen = DescribedAs(*made, [](const ScheduleDescription& d) {
    return d.recent.size() == 5 && d.recent[4].state == ScheduleRunState::kCompleted;
  });
  EXPECT_EQ(seen.recent[0].workflow_id, "daily/2026-01-01T03:00:00Z");
  EXPECT_EQ(seen.recent[4].workflow_id, "daily/2026-01-05T03:00:00Z");

  EXPECT_EQ(made->Backfill(from + 1h, from + 2h).value_or(-1), 0);
  const Status many = made->Backfill(from, from + 24h * 1000).status();
  EXPECT_EQ(many.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(many)), HasSubstr("more than 1000 times in that range"));
}

TEST_F(ScheduleCallsTest, ReservedNamesAreRefused) {
  Registry registry;
  registry.Bind("marathon.schedule", [](WorkflowContext&) -> Workflow<void> { co_return; });
  registry.Bind("marathon.mine", [](ActivityContext&) {});
  const Status status = Engine::Open("memory:", registry).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(status)),
              HasSubstr("workflow \"marathon.schedule\" needs another name"));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("activity \"marathon.mine\""));
}

TEST_F(ScheduleCallsTest, ATargetThatOnlyOtherWorkersHaveIsStarted) {
  Engine engine = Open(Reports());
  const auto made = engine.CreateSchedule("far", {}, "Elsewhere", 1);
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->Trigger().ok());
  DescribedAs(*made, [](const ScheduleDescription& d) { return d.running.has_value(); });
  EXPECT_TRUE(engine.Find("far/trigger-1").Describe().ok());
  ASSERT_TRUE(engine.Find("far/trigger-1").Terminate("enough").ok());
  const auto over = [](const ScheduleDescription& d) { return !d.running.has_value(); };
  EXPECT_EQ(DescribedAs(*made, over).recent[0].state, ScheduleRunState::kTerminated);
}

}  // namespace
}  // namespace marathon::tests::schedules_test
