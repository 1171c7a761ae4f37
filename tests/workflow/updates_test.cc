// Updates: what a caller asks of a running workflow, and is answered.
// labels: threads
// program: runs
#include <gmock/gmock.h>

#include "fixture.h"

namespace marathon::tests::updates_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ints = std::vector<int>;

inline constexpr UpdateDef<int(int)> kAdd{"Add"};
inline constexpr UpdateDef<void()> kFinish{"Finish"};
inline constexpr SignalDef<bool> kGo{"go"};

// The total of what it is told to add, until it is told to finish. Adds nothing negative.
Workflow<Ints> Sum(WorkflowContext& ctx) {
  Ints added;
  int total = 0;
  bool finished = false;
  auto add = ctx.OnUpdate(
      kAdd,
      [&](int x) {
        added.push_back(x);
        return total += x;
      },
      [&](const int& x) {
        if (x < 0) throw ApplicationError("nothing negative", {.type = "Negative"});
      });
  auto finish = ctx.OnUpdate(kFinish, [&] { finished = true; });
  co_await ctx.WaitUntil([&] { return finished; });
  co_return added;
}

class UpdatesTest : public WorkflowTest {
 protected:
  // "Sum"; "W" as given; "Echo" gives an int back, "Gate" once it is let.
  Registry With(std::function<Workflow<Ints>(WorkflowContext&)> workflow = nullptr) {
    Registry registry;
    registry.Bind("Sum", Sum);
    if (workflow) registry.Bind("W", [workflow](WorkflowContext& ctx) { return workflow(ctx); });
    registry.Bind("Echo", [](int x) { return x; });
    registry.Bind("Gate", [this](int x) {
      began_.Put(x);
      gate_.Get();
      return x;
    });
    return registry;
  }
  static int Count(const std::vector<EventType>& types, EventType type) {
    return static_cast<int>(std::count(types.begin(), types.end(), type));
  }

  Mailbox<int> began_;
  Mailbox<bool> gate_;
};
INSTANTIATE_TEST_SUITE_P(, UpdatesTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(UpdatesTest, AnUpdateIsAnswered) {
  Engine engine = Open(With());
  auto run = engine.Start("Sum");
  ASSERT_TRUE(run.ok()) << run.status();
  const auto two = run->Update(kAdd, 2);
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ(*two, 2);
  const auto five = run->Update<int>("Add", 3);
  ASSERT_TRUE(five.ok()) << five.status();
  EXPECT_EQ(*five, 5);
  EXPECT_EQ(run->Update(kFinish), Status());
  const auto result = ResultOf<Ints>(run);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(*result, ElementsAre(2, 3));

  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  const auto& accepted = std::get<UpdateAccepted>((*history)[3].body);
  EXPECT_EQ(accepted.name, "Add");
  EXPECT_EQ(accepted.input.data, "2");
  EXPECT_EQ((*history)[4].body, EventBody(UpdateCompleted{4, Payload{"2", Encoding::kJson}, {}}));
}

TEST_P(UpdatesTest, ARejectedUpdateWritesNothing) {
  Engine engine = Open(With());
  auto run = engine.Start("Sum");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Update(kAdd, 2).ok());
  const auto before = Types(*run);
  UpdateOptions options;
  options.update_id = "bad";
  for (int i = 0; i < 2; ++i) {  // and the second time it is the same
    const auto refused = run->Update(kAdd, -1, options);
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << refused.status();
    const Failure failure = FailureOf(refused.status());
    EXPECT_EQ(failure.type, "Negative");
    EXPECT_EQ(failure.message, "nothing negative");
  }
  EXPECT_EQ(run->StartUpdate(kAdd, -2).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(run->FindUpdate("bad").Result<int>().status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Types(*run), before);
  EXPECT_EQ(run->Update(kAdd, 1).value_or(0), 3);
}

TEST_P(UpdatesTest, BadCallsAreToldApart) {
  Engine engine = Open(With());
  auto run = engine.Start("Sum");
  ASSERT_TRUE(run.ok()) << run.status();
  const Status unknown = run->Update<int>("Subtract", 1).status();
  EXPECT_EQ(unknown.code(), StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.message()),
              HasSubstr("handles no update \"Subtract\" here; it handles \"Add\", \"Finish\""));
  const Status text = run->Update<int>("Add", std::string("two")).status();
  EXPECT_EQ(text.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(text).type, failure_type::kDecode);
  EXPECT_EQ(run->FindUpdate("never sent").Result().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine.Find("none").Update(kAdd, 1).status().code(), StatusCode::kNotFound);
  UpdateOptions options;
  options.update_id = std::string(256, 'x');
  EXPECT_EQ(run->Update(kAdd, 1, options).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Count(Types(*run), EventType::kUpdateAccepted), 0);
}

TEST_P(UpdatesTest, TheSameIdIsOneUpdate) {
  Engine engine = Open(With());
  auto run = engine.Start("Sum");
  ASSERT_TRUE(run.ok()) << run.status();
  UpdateOptions options;
  options.update_id = "once";
  ASSERT_EQ(run->Update(kAdd, 2, options).value_or(0), 2);
  ASSERT_TRUE(run->Signal("once", 1, {.request_id = "once"}).ok());  // a name of its own
  EXPECT_EQ(run->Update(kAdd, 2, options).value_or(0), 2);
  EXPECT_EQ(run->Update(kAdd, 40, options).value_or(0), 2);
  EXPECT_EQ(run->FindUpdate("once").Result<int>().value_or(0), 2);
  ASSERT_EQ(run->Update(kFinish), Status());
  EXPECT_THAT(ResultOf<Ints>(run).value_or(Ints()), ElementsAre(2));
  EXPECT_EQ(run->Update(kAdd, 2, options).value_or(0), 2);  // also when it is over
  EXPECT_EQ(run->Update(kAdd, 2).status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(UpdatesTest, AHandlerMayTakeItsTime) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Ints> {
    Ints done;
    auto work = ctx.OnUpdate(kAdd, [&](int x) -> Workflow<int> {
      const int y = co_await ctx.Run<int>("Gate", x);
      co_await ctx.Sleep(1ms);
      done.push_back(y);
      co_return y + 1;
    });
    co_await ctx.Receive<bool>(kGo);
    co_await ctx.WaitUntil([&] { return ctx.AllHandlersFinished(); });
    co_return done;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const auto update = run->StartUpdate(kAdd, 7, {.update_id = "slow"});
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_EQ(began_.Get(), 7);
  EXPECT_EQ(update->update_id(), "slow");
  EXPECT_EQ(update->Result<int>(1ms).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(update->Wait(UpdateStage::kAccepted, kPatience), Status());
  ASSERT_TRUE(run->Signal(kGo, true).ok());
  gate_.Put(true);
  EXPECT_EQ(update->Result<int>(kPatience).value_or(0), 8);
  EXPECT_EQ(run->FindUpdate("slow").Result<int>(kPatience).value_or(0), 8);
  EXPECT_THAT(ResultOf<Ints>(run).value_or(Ints()), ElementsAre(7));
}

TEST_P(UpdatesTest, WhatAHandlerThrowsIsItsAnswerAndTheRunGoesOn) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Ints> {
    auto at_once = ctx.OnUpdate("AtOnce", [](int) -> int {
      throw ApplicationError("at once", {.type = "Broken"});
    });
    auto later = ctx.OnUpdate("Later", [&](int x) -> Workflow<void> {
      co_await ctx.Run<int>("Echo", x);
      throw ApplicationError("later", {.type = "Broken"});
    });
    co_await ctx.Receive<bool>(kGo);
    co_return Ints{1};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  for (const char* name : {"AtOnce", "Later"}) {
    const Status failed = run->Update(name, 1);
    EXPECT_EQ(failed.code(), StatusCode::kAborted) << failed;
    EXPECT_EQ(FailureOf(failed).type, "Broken");
    const auto handle = run->StartUpdate(name, 1, {.wait = UpdateStage::kCompleted});
    EXPECT_TRUE(handle.ok()) << handle.status();  // it was accepted
  }
  ASSERT_TRUE(run->Signal(kGo, true).ok());
  EXPECT_THAT(ResultOf<Ints>(run).value_or(Ints()), ElementsAre(1));
}

TEST_P(UpdatesTest, AValidatorMayOnlyLook) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Ints> {
    auto add = ctx.OnUpdate(
        kAdd, [](int x) { return x; }, [&](const int&) { static_cast<void>(ctx.StartTimer(1h)); });
    co_await ctx.Receive<bool>(kGo);
    co_return Ints{};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const Status refused = run->Update(kAdd, 1).status();
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(refused).type, failure_type::kReadOnly);
  ASSERT_TRUE(run->Signal(kGo, true).ok());
  EXPECT_TRUE(ResultOf<Ints>(run).ok());
}

// In the order acknowledged, and before the code that waits.
TEST_P(UpdatesTest, ManyAreTakenInOrder) {
  Engine engine = Open(With());
  auto run = engine.Start("Sum");
  ASSERT_TRUE(run.ok()) << run.status();
  Ints sent;
  std::vector<UpdateHandle> handles;
  for (int i = 1; i <= 20; ++i) {
    auto handle = run->StartUpdate(kAdd, i);
    ASSERT_TRUE(handle.ok()) << handle.status();
    handles.push_back(*std::move(handle));
    sent.push_back(i);
  }
  for (int i = 1; i <= 20; ++i) {
    EXPECT_EQ(handles[i - 1].Result<int>(kPatience).value_or(0), i * (i + 1) / 2);
  }
  ASSERT_EQ(run->Update(kFinish), Status());
  EXPECT_EQ(ResultOf<Ints>(run).value_or(Ints()), sent);
}

TEST_P(UpdatesTest, UpdateWithStart) {
  Engine engine = Open(With());
  StartOptions start;
  start.workflow_id = "sum";
  const auto first = engine.UpdateWithStart("Sum", nullptr, kAdd, 2, start);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->Result<int>(kPatience).value_or(0), 2);
  const auto second = engine.UpdateWithStart("Sum", nullptr, kAdd, 3, start);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->Result<int>(kPatience).value_or(0), 5);
  EXPECT_EQ(second->run().run_id(), first->run().run_id());
  const auto bad = engine.UpdateWithStart("Sum", nullptr, kAdd, -3, start);
  EXPECT_EQ(bad.status().code(), StatusCode::kInvalidArgument) << bad.status();
  ASSERT_EQ(engine.Find("sum").Update(kFinish), Status());
  EXPECT_THAT(first->run().Result<Ints>(kPatience).value_or(Ints()), ElementsAre(2, 3));
}

TEST_P(UpdatesTest, UpdateWithStartInAllForms) {
  static constexpr WorkflowDef<Ints()> kSum{"Sum"};
  static constexpr WorkflowDef<Ints(int)> kSumFrom{"SumFrom"};
  Registry registry = With();
  registry.Bind(kSumFrom, [](WorkflowContext& ctx, int from) -> Workflow<Ints> {
    Ints added{from};
    bool finished = false;
    auto add = ctx.OnUpdate(kAdd, [&](int x) {
      added.push_back(x);
      return from + x;
    });
    auto finish = ctx.OnUpdate(kFinish, [&] { finished = true; });
    co_await ctx.WaitUntil([&] { return finished; });
    co_return added;
  });
  Engine engine = Open(registry);
  const auto answer = [](const StatusOr<UpdateHandle>& update) {
    EXPECT_TRUE(update.ok()) << update.status();
    return update.ok() ? update->Result<int>(kPatience).value_or(0) : 0;
  };
  EXPECT_EQ(answer(engine.UpdateWithStart(kSum, kAdd, 2, {.workflow_id = "sum"})), 2);
  const auto finished = engine.UpdateWithStart(kSum, kFinish, {.workflow_id = "sum"});
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_THAT(finished->run().Result<Ints>(kPatience).value_or(Ints()), ElementsAre(2));
  EXPECT_EQ(answer(engine.UpdateWithStart(kSumFrom, 40, kAdd, 2, {.workflow_id = "from"})), 42);
  const auto finished_too = engine.UpdateWithStart(kSumFrom, 0, kFinish, {.workflow_id = "from"});
  ASSERT_TRUE(finished_too.ok()) << finished_too.status();
  EXPECT_THAT(finished_too->run().Result<Ints>(kPatience).value_or(Ints()), ElementsAre(40, 2));
}

TEST_P(UpdatesTest, ARejectedUpdateStartsItsRunAllTheSame) {
  Engine engine = Open(With());
  StartOptions start;
  start.workflow_id = "sum";
  const auto bad = engine.UpdateWithStart("Sum", nullptr, kAdd, -3, start);
  EXPECT_EQ(bad.status().code(), StatusCode::kInvalidArgument) << bad.status();
  EXPECT_EQ(engine.Find("sum").Update(kAdd, 1).value_or(0), 1);
}

TEST_P(UpdatesTest, ARunThatEndsAnswersWhatIsOpen) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Ints> {
    auto work = ctx.OnUpdate(kAdd, [&](int x) -> Workflow<int> {
      co_await ctx.Sleep(24h);
      co_return x;
    });
    co_await ctx.Receive<bool>(kGo);
    co_return Ints{};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const auto ended = run->StartUpdate(kAdd, 1);
  ASSERT_TRUE(ended.ok()) << ended.status();
  std::thread closer([&] { EXPECT_TRUE(run->Signal(kGo, true).ok()); });
  const Status status = ended->Result<int>(kPatience).status();
  closer.join();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("ended before it completed update"));
  EXPECT_TRUE(ResultOf<Ints>(run).ok());
  EXPECT_TRUE(log_->WaitFor("ended while 1 of its handlers still ran"));

  auto other = engine.Start("W");
  ASSERT_TRUE(other.ok()) << other.status();
  const auto terminated = other->StartUpdate(kAdd, 1);
  ASSERT_TRUE(terminated.ok()) << terminated.status();
  ASSERT_TRUE(other->Terminate("enough").ok());
  EXPECT_EQ(terminated->Result<int>(kPatience).status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(UpdatesTest, AChainOfRunsKeepsItsUpdates) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Ints> {
    bool next = false;
    auto add = ctx.OnUpdate(kAdd, [&](int x) { return x; });
    auto never = ctx.OnUpdate("Never", [&](int x) -> Workflow<int> {
      co_await ctx.Sleep(24h);
      co_return x;
    });
    auto on = ctx.OnUpdate("Next", [&] { next = true; });
    auto finish = ctx.OnUpdate(kFinish, [&] { next = true; });
    co_await ctx.WaitUntil([&] { return next; });
    if (ctx.first_run_id() == ctx.run_id()) co_await ctx.ContinueAsNew();
    co_return Ints{1};
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const auto add = run->StartUpdate(kAdd, 4, {.update_id = "four"});
  ASSERT_TRUE(add.ok()) << add.status();
  const auto never = run->StartUpdate("Never", 5, {.update_id = "five"});
  ASSERT_TRUE(never.ok()) << never.status();
  ASSERT_EQ(run->Update("Next", {.update_id = "next"}), Status());

  EXPECT_EQ(add->Result<int>(kPatience).value_or(0), 4);  // by way of the next run
  const Status left = never->Result<int>(kPatience).status();
  EXPECT_EQ(left.code(), StatusCode::kFailedPrecondition) << left;
  EXPECT_EQ(FailureOf(left).type, failure_type::kUnfinishedUpdate);
  UpdateOptions again;
  again.update_id = "four";
  EXPECT_EQ(run->Update(kAdd, 40, again).value_or(0), 4);
  EXPECT_EQ(run->Update(kAdd, 6).value_or(0), 6);
  ASSERT_EQ(run->Update(kFinish), Status());
  EXPECT_THAT(ResultOf<Ints>(run).value_or(Ints()), ElementsAre(1));
  EXPECT_EQ(run->FindUpdate("four").Result<int>(kPatience).value_or(0), 4);
}

// Those that no run has taken go to the next one.
TEST_P(UpdatesTest, WhatWaitsMovesWithTheChain) {
  std::optional<RunKey> key;
  {
    EngineOptions options = Options();
    options.task_queues = {"elsewhere"};
    Engine away = Open(With([](WorkflowContext&) -> Workflow<Ints> { co_return Ints{}; }), options);
    auto run = away.Start("W");
    ASSERT_TRUE(run.ok()) << run.status();
    key = run->key();
    UpdateOptions impatient;
    impatient.update_id = "early";
    impatient.patience = Duration(1);
    EXPECT_EQ(run->Update(kAdd, 3, impatient).status().code(), StatusCode::kDeadlineExceeded);
  }
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Ints> {
    if (ctx.first_run_id() == ctx.run_id()) co_await ctx.ContinueAsNew();
    Ints got;
    auto add = ctx.OnUpdate(kAdd, [&](int x) {
      got.push_back(x);
      return x;
    });
    co_await ctx.WaitUntil([&] { return !got.empty(); });
    co_return got;
  }));
  const marathon::Run run = engine.Find(key->workflow_id, key->run_id);
  EXPECT_EQ(run.FindUpdate("early").Result<int>(kPatience).value_or(0), 3);
  EXPECT_THAT(run.Result<Ints>(kPatience).value_or(Ints()), ElementsAre(3));
}

// The engine goes in the middle of a handler; the next one goes on with it, and answers.
TEST_P(UpdatesTest, AnUpdateOutlivesItsEngine) {
  const auto workflow = [](WorkflowContext& ctx) -> Workflow<Ints> {
    Ints done;
    auto work = ctx.OnUpdate(kAdd, [&](int x) -> Workflow<int> {
      co_await ctx.Receive<bool>(kGo);
      const int y = co_await ctx.Run<int>("Echo", x);
      done.push_back(y);
      co_return y * 2;
    });
    co_await ctx.WaitUntil([&] { return !done.empty() && ctx.AllHandlersFinished(); });
    co_return done;
  };
  std::optional<RunKey> key;
  {
    Engine first = Open(With(workflow));
    auto run = first.Start("W");
    ASSERT_TRUE(run.ok()) << run.status();
    key = run->key();
    ASSERT_TRUE(run->StartUpdate(kAdd, 21, {.update_id = "u"}).ok());
  }
  Engine second = Open(With(workflow));
  const marathon::Run run = second.Find(key->workflow_id, key->run_id);
  ASSERT_TRUE(run.Signal(kGo, true).ok());
  EXPECT_EQ(run.FindUpdate("u").Result<int>(kPatience).value_or(0), 42);
  EXPECT_THAT(run.Result<Ints>(kPatience).value_or(Ints()), ElementsAre(21));
}

// One engine has the code; another one, as another process would, asks and waits.
TEST_P(UpdatesTest, AnotherEngineAsks) {
  Engine worker = Open(With());
  auto client = store_.OpenByUrl(Registry(), Options());
  ASSERT_TRUE(client.ok()) << client.status();
  auto run = worker.Start("Sum");
  ASSERT_TRUE(run.ok()) << run.status();
  const marathon::Run asked = client->Find(run->workflow_id());
  EXPECT_EQ(asked.Update(kAdd, 2).value_or(0), 2);
  EXPECT_EQ(asked.Update(kAdd, -2).status().code(), StatusCode::kInvalidArgument);
  const auto handle = asked.StartUpdate(kAdd, 3);
  ASSERT_TRUE(handle.ok()) << handle.status();
  EXPECT_EQ(handle->Result<int>(kPatience).value_or(0), 5);
  EXPECT_EQ(run->FindUpdate(handle->update_id()).Result<int>(kPatience).value_or(0), 5);
  EXPECT_EQ(asked.Update(kFinish), Status());
  EXPECT_THAT(ResultOf<Ints>(run).value_or(Ints()), ElementsAre(2, 3));
}

TEST_P(UpdatesTest, CodeThatHandlesItNoMoreDoesNotMatch) {
  std::optional<RunKey> key;
  {
    Engine engine = Open(With());
    auto run = engine.Start("Sum");
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_TRUE(run->Update(kAdd, 1).ok());
    key = run->key();
  }
  Registry registry;
  registry.Bind("Sum", [](WorkflowContext& ctx) -> Workflow<Ints> {
    co_await ctx.Receive<bool>(kGo);
    co_return Ints{};
  });
  Engine engine = Open(registry);
  const marathon::Run run = engine.Find(key->workflow_id, key->run_id);
  ASSERT_TRUE(run.Signal(kGo, true).ok());
  const BlockInfo blocked = WaitUntilBlocked(run);
  EXPECT_THAT(blocked.reason, HasSubstr("UpdateAccepted \"Add\""));
}

}  // namespace
}  // namespace marathon::tests::updates_test
