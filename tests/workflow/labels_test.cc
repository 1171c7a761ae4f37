// Labels of runs: set at the start, changed by the code, followed along a chain, listed and counted by. On every store.
// program: lists
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "fixture.h"
#include "marathon/limits.h"

namespace marathon::tests::labels_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Ids = std::vector<std::string>;

class LabelsTest : public WorkflowTest {
 protected:
  static RunLabels Of(const marathon::Run& run) {
    const auto described = run.Describe();
    EXPECT_TRUE(described.ok()) << described.status();
    return described.ok() ? described->run.labels.value_or(RunLabels()) : RunLabels();
  }
  static Ids List(Engine& engine, ListRequest request) {
    const auto reply = engine.List(request);
    EXPECT_TRUE(reply.ok()) << reply.status();
    Ids ids;
    for (const RunRow& row : reply.ok() ? reply->runs : std::vector<RunRow>()) {
      ids.push_back(row.key.workflow_id.str());
    }
    return ids;
  }
  // The same, of which there is no other by now.
  static Ids Counted(Engine& engine, ListRequest request) {
    const Ids ids = List(engine, request);
    EXPECT_EQ(engine.Count(std::move(request)).value_or(-1), static_cast<int64_t>(ids.size()));
    return ids;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, LabelsTest, ::testing::ValuesIn(AllSetups()), SetupName);

// Says where it stands; ends when told to.
Workflow<std::string> Order(WorkflowContext& ctx) {
  ctx.SetAttributes({{"stage", "open"}});
  const std::string next = co_await ctx.Receive<std::string>("stage");
  ctx.SetAttributes({{"stage", next}, {"new", ""}});
  co_await ctx.Receive<std::string>("end");
  co_return std::string(LabelOf(ctx.attributes(), "stage")) + " for " + std::string(LabelOf(ctx.memo(), "for"));
}

TEST_P(LabelsTest, RunsAreFoundByWhatTheirCodeSays) {
  Registry registry;
  registry.Bind("Order", Order);
  Engine engine = Open(registry);
  for (const char* id : {"o-1", "o-2"}) {
    const auto started = engine.Start("Order", {.workflow_id = id, .memo = {{"for", "Ada"}},
                                                .attributes = {{"new", "yes"}, {"customer", "c-7"}}});
    ASSERT_TRUE(started.ok()) << started.status();
  }
  const marathon::Run run = engine.Find("o-1");
  EXPECT_THAT(Counted(engine, {.attributes = {{"stage", "open"}}}), UnorderedElementsAre("o-1", "o-2"));
  ASSERT_TRUE(run.Signal("stage", std::string("paid")).ok());
  EXPECT_TRUE(Eventually([&] { return List(engine, {.attributes = {{"stage", "paid"}}}).size() == 1; }));
  EXPECT_THAT(Counted(engine, {.attributes = {{"stage", "open"}}}), ElementsAre("o-2"));
  EXPECT_THAT(Counted(engine, {.attributes = {{"new", "yes"}}}), ElementsAre("o-2"));
  EXPECT_THAT(Counted(engine, {.workflow_id_prefix = "o-", .attributes = {{"customer", "c-7"}}}),
              UnorderedElementsAre("o-1", "o-2"));
  EXPECT_EQ(Of(run), (RunLabels{{{"for", "Ada"}}, {{"customer", "c-7"}, {"stage", "paid"}}}));
  ASSERT_TRUE(run.Signal("end", std::string()).ok());
  EXPECT_EQ(run.Result<std::string>(kPatience).value_or(""), "paid for Ada");
  EXPECT_THAT(Counted(engine, {.status = RunStatus::kCompleted, .attributes = {{"customer", "c-7"}}}),
              ElementsAre("o-1"));
}

TEST_P(LabelsTest, TheyGoOnWithAChain) {
  Registry registry;
  registry.Bind("Rounds", [](WorkflowContext& ctx, int round) -> Workflow<std::string> {
    ctx.SetAttributes({{"round", std::to_string(round)}});
    if (round < 2) co_await ctx.ContinueAsNew(round + 1);
    co_return std::string(LabelOf(ctx.attributes(), "customer")) + " " +
        std::string(LabelOf(ctx.attributes(), "round"));
  });
  registry.Bind("Flaky", [](WorkflowContext& ctx) -> Workflow<std::string> {
    if (ctx.attempt() == 1) {
      ctx.SetAttributes({{"failed", "once"}});
      throw ApplicationError("again");
    }
    co_return std::string(LabelOf(ctx.attributes(), "failed"));
  });
  Engine engine = Open(registry);
  const auto rounds = engine.Start("Rounds", 0, {.workflow_id = "w", .attributes = {{"customer", "c-7"}}});
  EXPECT_EQ(rounds->Result<std::string>(kPatience).value_or(""), "c-7 2");
  EXPECT_THAT(Counted(engine, {.attributes = {{"customer", "c-7"}}}), ElementsAre("w", "w", "w"));
  EXPECT_THAT(Counted(engine, {.attributes = {{"customer", "c-7"}, {"round", "1"}}}), ElementsAre("w"));

  const auto flaky = engine.Start(
      "Flaky", {.workflow_id = "f", .retry = RetryPolicy{.initial_interval = 1ms, .maximum_attempts = 2}});
  EXPECT_EQ(flaky->Result<std::string>(kPatience).value_or(""), "once");
}

// What a build that sets other texts replays, is what was recorded; other names are other code.
TEST_P(LabelsTest, AReplayTakesWhatWasRecorded) {
  const auto setting = [](std::string name, std::string text) {
    Registry registry;
    registry.Bind("W", [name, text](WorkflowContext& ctx) -> Workflow<std::string> {
      ctx.SetAttributes({{name, text}});
      co_await ctx.Receive<bool>("go");
      co_return std::string(LabelOf(ctx.attributes(), name));
    });
    return registry;
  };
  {
    Engine engine = Open(setting("stage", "one"));
    for (const char* id : {"w", "v"}) ASSERT_TRUE(engine.Start("W", {.workflow_id = id}).ok());
  }
  {
    Engine engine = Open(setting("stage", "two"));
    ASSERT_TRUE(engine.Find("w").Signal("go", true).ok());
    EXPECT_EQ(engine.Find("w").Result<std::string>(kPatience).value_or(""), "one");
  }
  Engine engine = Open(setting("state", "one"));
  ASSERT_TRUE(engine.Find("v").Signal("go", true).ok());
  EXPECT_THAT(WaitUntilBlocked(engine.Find("v")).reason,
              ::testing::AllOf(HasSubstr("AttributesSet \"stage\""), HasSubstr("AttributesSet \"state\"")));
}

TEST_P(LabelsTest, ARunThatTimesOutHandsThemOn) {
  Registry registry;
  registry.Bind("Slow", [](WorkflowContext& ctx) -> Workflow<std::string> {
    const std::string stage(LabelOf(ctx.attributes(), "stage"));
    if (!stage.empty()) co_return stage;
    ctx.SetAttributes({{"stage", "late"}});
    co_await ctx.Sleep(24h);
    co_return std::string("in time");
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("Slow", {.run_timeout = 50ms,
                                         .retry = RetryPolicy{.initial_interval = 1ms, .maximum_attempts = 1'000}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "late");
}

TEST_P(LabelsTest, ChildrenHaveTheirOwn) {
  Registry registry;
  registry.Bind("Parcel", [](WorkflowContext& ctx) -> Workflow<std::string> {
    co_return std::string(LabelOf(ctx.attributes(), "order")) + ", " + std::string(LabelOf(ctx.memo(), "to"));
  });
  registry.Bind("Ship", [](WorkflowContext& ctx, std::string order) -> Workflow<std::string> {
    const Labels attributes{{"order", order}};
    const Labels memo{{"to", "Ada"}};
    co_return co_await ctx.RunChild<std::string>("Parcel", 0,
                                                 {.workflow_id = "parcel", .memo = &memo, .attributes = &attributes});
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("Ship", std::string("o-1"), {.attributes = {{"mine", "yes"}}});
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""), "o-1, Ada");
  EXPECT_THAT(Counted(engine, {.attributes = {{"order", "o-1"}}}), ElementsAre("parcel"));
  EXPECT_EQ(Of(engine.Find("parcel")), (RunLabels{{{"to", "Ada"}}, {{"order", "o-1"}}}));
}

TEST_P(LabelsTest, RunsOfSchedulesHaveThoseOfTheirAction) {
  Registry registry;
  registry.Bind("Report", [](WorkflowContext& ctx) -> Workflow<std::string> {
    co_return std::string(LabelOf(ctx.attributes(), "team"));
  });
  Engine engine = Open(registry);
  ScheduleConfig config;
  config.spec.crons = {"0 3 1 1 *"};
  config.action.workflow_type = "Report";
  config.action.attributes = {{"team", "billing"}};
  config.action.memo = {{"why", "by law"}};
  const auto schedule = engine.CreateSchedule("yearly", config);
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  ASSERT_TRUE(schedule->Trigger().ok());
  EXPECT_TRUE(Eventually([&] { return List(engine, {.attributes = {{"team", "billing"}}}).size() == 1; }));
  EXPECT_EQ(engine.Find("yearly/trigger-1").Result<std::string>(kPatience).value_or(""), "billing");
  EXPECT_EQ(Of(engine.Find("yearly/trigger-1")).memo, (Labels{{"why", "by law"}}));
  config.action.attributes = {{"", "nameless"}};
  EXPECT_EQ(engine.CreateSchedule("other", config).status().code(), StatusCode::kInvalidArgument);
}

TEST_P(LabelsTest, WhatIsNoLabelIsRefused) {
  Registry registry;
  registry.Bind("Order", Order);
  Engine engine = Open(registry);
  const auto refusal = [&](StartOptions options) { return engine.Start("Order", std::move(options)).status(); };
  const auto invalid = refusal({.attributes = {{"a\n", "x"}}});
  EXPECT_EQ(invalid.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(invalid)), HasSubstr("attribute"));
  EXPECT_EQ(refusal({.memo = {{"", "x"}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal({.memo = {{"a", "\xff"}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(refusal({.memo = {{"a", "x"}, {"b", "x"}, {"a", "y"}}}))),
              HasSubstr("memo \"a\" is there twice"));
  const std::string long_text(limits::kMaxLabelBytes + 1, 'x');
  EXPECT_EQ(refusal({.attributes = {{"a", long_text}}}).code(), StatusCode::kInvalidArgument);
  Labels many;
  for (size_t i = 0; i <= limits::kMaxLabels; ++i) many.emplace_back("n" + std::to_string(i), "x");
  EXPECT_EQ(refusal({.attributes = many}).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(Counted(engine, {}).empty());
}

// The same in every replay, too.
TEST_P(LabelsTest, CodeThatSetsTooManyIsTold) {
  Registry registry;
  registry.Bind("Greedy", [](WorkflowContext& ctx) -> Workflow<std::string> {
    std::string told;
    for (size_t i = 0; i < limits::kMaxLabels + 2; ++i) {
      try {
        ctx.SetAttributes({{"n" + std::to_string(i), "x"}});
      } catch (const ApplicationError& error) {
        told += error.failure().type + ";";
      }
    }
    co_await ctx.Sleep(1ms);
    try {
      ctx.SetAttributes({{"\n", "x"}});
    } catch (const ApplicationError& error) {
      told += error.failure().type;
    }
    co_return told;
  });
  Engine engine = Open(registry);
  const auto run = engine.Start("Greedy");
  EXPECT_EQ(run->Result<std::string>(kPatience).value_or(""),
            "marathon.TooLarge;marathon.TooLarge;marathon.Encode");
  EXPECT_EQ(Of(*run).attributes.size(), limits::kMaxLabels);
}

}  // namespace
}  // namespace marathon::tests::labels_test
