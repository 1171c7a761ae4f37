// What an operator does to runs: pause and resume, retry an activity now, requeue a dead letter, delete.
// labels: threads
// needs: testing
// program: engine
#include <gmock/gmock.h>

#include <atomic>

#include "fixture.h"
#include "marathon/limits.h"
#include "marathon/testing/forwarding_state_store.h"

namespace marathon::tests::operator_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Strings = std::vector<std::string>;

class OperatorTest : public WorkflowTest {
 protected:
  // "Gate" says that it has begun and gives back what it is let through with; "Echo" gives an int back.
  Registry With(std::function<Workflow<Strings>(WorkflowContext&)> workflow) {
    Registry registry;
    registry.Bind("W", [workflow](WorkflowContext& ctx) { return workflow(ctx); });
    registry.Bind("Echo", [](int x) { return x; });
    registry.Bind("Gate", [this](int x) {
      began_.Put(x);
      return gate_.Take();
    });
    return registry;
  }
  static ActivityRow OnlyActivity(const marathon::Run& run, ActivityState state) {
    ActivityRow row;
    EXPECT_TRUE(Eventually([&] {
      const auto described = run.Describe();
      if (!described.ok() || described->activities.size() != 1) return false;
      row = described->activities[0];
      return row.state == state;
    }));
    return row;
  }
  static int64_t InboxOf(const marathon::Run& run) {
    const auto described = run.Describe();
    return described.ok() ? described->run.inbox_size : 0;
  }

  Mailbox<int> began_;
  Mailbox<int> gate_;
};
INSTANTIATE_TEST_SUITE_P(, OperatorTest, ::testing::ValuesIn(AllSetups()), SetupName);

// ---- Pause and Resume

TEST_P(OperatorTest, APausedRunRestsWhateverComes) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    Strings log;
    const auto query = ctx.OnQuery("log", [&log] { return log; });
    const auto update = ctx.OnUpdate("add", [&log](std::string text) {
      log.push_back(text);
      return static_cast<int>(log.size());
    });
    log.push_back("gate " + std::to_string(co_await ctx.Run<int>("Gate", 1)));
    log.push_back(co_await ctx.Receive<std::string>("go"));
    log.push_back("echo " + std::to_string(co_await ctx.Run<int>("Echo", 2)));
    co_return log;
  }));
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  began_.Get();
  ASSERT_EQ(run->Pause("the bank is closed"), Status());
  ASSERT_EQ(run->Pause("again"), Status());
  const auto paused = run->Describe();
  ASSERT_TRUE(paused.ok() && paused->run.paused.has_value());
  EXPECT_EQ(paused->run.paused->reason, "the bank is closed");
  ASSERT_EQ(engine.List({.paused_only = true})->runs.size(), 1u);
  const EventId version = paused->run.version;

  // What runs ends; a signal and an update are taken; all that waits.
  gate_.Put(10);
  ASSERT_EQ(run->Signal("go", std::string("gone")), Status());
  const auto update = run->StartUpdate("add", std::string("updated"), {.patience = 0ms});
  EXPECT_EQ(update.status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(Eventually([&] { return InboxOf(*run) == 3; }));
  EXPECT_EQ(run->Describe()->run.version, version);
  EXPECT_EQ(run->Query<Strings>("log").value(), Strings{}) << "as far as it came";

  ASSERT_EQ(run->Resume(), Status());
  ASSERT_EQ(run->Resume(), Status()) << "again: nothing to do";
  const auto log = run->Result<Strings>(kPatience);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(*log, ::testing::UnorderedElementsAre("gate 10", "gone", "echo 2", "updated"));
  EXPECT_EQ(run->Pause().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(run->Resume(), Status());
  EXPECT_EQ(engine.Find("nobody").Pause().code(), StatusCode::kNotFound);
  EXPECT_EQ(run->Pause("a\nb").code(), StatusCode::kInvalidArgument);
}

TEST_P(OperatorTest, NoAttemptBeginsInAPausedRun) {
  static constexpr RetryPolicy kSoon{.initial_interval = 1ms, .maximum_attempts = 3, .jitter = 0};
  std::atomic<int> attempts{0};
  Registry registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    const int attempt = co_await ctx.Run<int>("Flaky", 1, {.retry = &kSoon});
    co_return Strings{std::to_string(attempt)};
  });
  registry.Bind("Flaky", [&](ActivityContext& ctx, int) {
    ++attempts;
    if (ctx.attempt() > 1) return ctx.attempt();
    began_.Put(1);
    throw ApplicationError("down " + std::to_string(gate_.Take()));
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  began_.Get();
  ASSERT_EQ(run->Pause(), Status());
  gate_.Put(1);
  ActivityRow row = OnlyActivity(*run, ActivityState::kClaimable);  // its back-off is over
  EXPECT_TRUE(row.paused);
  EXPECT_EQ(row.attempt, 2);
  EXPECT_EQ(attempts, 1);
  ASSERT_EQ(run->Resume(), Status());
  EXPECT_THAT(run->Result<Strings>(kPatience).value_or(Strings()), ElementsAre("2"));
}

TEST_P(OperatorTest, ItStaysPausedForTheEnginesToCome) {
  const auto workflow = [](WorkflowContext& ctx) -> Workflow<Strings> {
    co_await ctx.Sleep(1ms);
    const std::string word = co_await ctx.Receive<std::string>("go");
    co_return Strings{word};
  };
  {
    Engine engine = Open(With(workflow));
    auto run = engine.Start("W", {.workflow_id = "w", .start_delay = 1h});
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_EQ(run->Pause("for the night"), Status());
  }
  Engine engine = Open(With(workflow));
  const marathon::Run run = engine.Find("w");
  EXPECT_TRUE(run.Describe()->run.paused.has_value());
  ASSERT_EQ(run.Cancel("never mind"), Status());
  EXPECT_EQ(InboxOf(run), 2) << "a cancel waits, too";
  ASSERT_EQ(run.Terminate("enough"), Status());
  EXPECT_THAT(run.Result<Strings>(kPatience).status().message(), HasSubstr("enough"));
  EXPECT_FALSE(run.Describe()->run.paused.has_value());
}

TEST_P(OperatorTest, ARunTimeoutEndsAPausedRunAndItsChainStaysPaused) {
  static constexpr RetryPolicy kAlways{.initial_interval = 1ms, .backoff_coefficient = 1, .jitter = 0};
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    co_await ctx.Receive<bool>("go");  // until then the chain goes on, however late the pause comes
    co_return Strings{"attempt " + std::to_string(ctx.attempt())};
  }));
  auto run = engine.Start("W", {.workflow_id = "w", .run_timeout = 300ms, .retry = kAlways});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Pause("why"), Status());
  ASSERT_TRUE(Eventually([&] { return run->Describe()->run.status == RunStatus::kTimedOut; }));
  const auto next = engine.Find("w").Describe();  // it times out as well, and is followed in its turn
  ASSERT_TRUE(next.ok()) << next.status();
  ASSERT_TRUE(next->run.paused.has_value());
  EXPECT_EQ(next->run.paused->reason, "why");
  EXPECT_NE(next->run.key.run_id, run->run_id());
  ASSERT_EQ(run->Signal("go", true), Status());
  ASSERT_EQ(run->Resume(), Status()) << "of the run that goes on";
  EXPECT_THAT(run->Result<Strings>(kPatience).value_or(Strings()),
              ElementsAre(::testing::StartsWith("attempt ")));
}

TEST_P(OperatorTest, ChildrenGoOnAndTheirEndWaits) {
  Registry registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    const std::string end = co_await ctx.RunChild<std::string>("Child", 1, {.workflow_id = "child"});
    co_return Strings{end};
  });
  registry.Bind("Child", [](WorkflowContext& ctx, int) -> Workflow<std::string> {
    co_return co_await ctx.Receive<std::string>("go");
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const marathon::Run child = engine.Find("child");
  ASSERT_TRUE(Eventually([&] { return child.Describe().ok(); }));
  ASSERT_EQ(run->Pause(), Status());
  ASSERT_EQ(child.Signal("go", std::string("done")), Status());
  EXPECT_EQ(child.Result<std::string>(kPatience).value_or(""), "done");
  ASSERT_TRUE(Eventually([&] { return InboxOf(*run) == 1; }));
  ASSERT_EQ(run->Resume(), Status());
  EXPECT_THAT(run->Result<Strings>(kPatience).value_or(Strings()), ElementsAre("done"));
}

// ---- RetryActivity

TEST_P(OperatorTest, AnActivityThatWaitsIsRetriedNow) {
  static constexpr RetryPolicy kSlow{.initial_interval = 24h, .jitter = 0};
  Registry registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    const int attempt = co_await ctx.Run<int>("Flaky", 1, {.retry = &kSlow});
    co_return Strings{std::to_string(attempt)};
  });
  registry.Bind("Flaky", [](ActivityContext& ctx, int) {
    if (ctx.attempt() == 1) throw ApplicationError("down");
    return ctx.attempt();
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const ActivityRow row = OnlyActivity(*run, ActivityState::kBackoff);
  EXPECT_EQ(run->RetryActivity(row.key.id + 7).code(), StatusCode::kNotFound);
  ASSERT_EQ(run->RetryActivity(row.key.id), Status());
  EXPECT_THAT(run->Result<Strings>(kPatience).value_or(Strings()), ElementsAre("2"));
  EXPECT_EQ(run->RetryActivity(row.key.id).code(), StatusCode::kNotFound);
}

// ---- Dead letters

// Says of the first activity that is claimed that it has killed as many workers as it may.
class DeadlyStore final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    base()->ClaimActivities(std::move(session), std::move(requests),
                            [this, done = std::move(done)](StatusOr<std::vector<ActivityRow>> rows) mutable {
                              if (rows.ok() && !rows->empty() && !told_.exchange(true)) {
                                rows->front().deliveries = limits::kMaxDeliveries;
                              }
                              done(std::move(rows));
                            });
  }

 private:
  std::atomic<bool> told_{false};
};

TEST_P(OperatorTest, ADeadLetterIsHeldUntilItIsRequeued) {
  Registry starts, works;
  starts.Bind("W", [](WorkflowContext& ctx) -> Workflow<Strings> {
    const int echo = co_await ctx.Run<int>("Echo", 7, {.hold_dead_letter = true});
    co_return Strings{std::to_string(echo)};
  });
  works.Bind("Echo", [](int x) { return x; });
  Engine engine = Open(starts);
  auto worker = Engine::Open(Ports{std::make_shared<DeadlyStore>(store_.ports.store), store_.ports.queue},
                             works, Options());
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const ActivityRow row = OnlyActivity(*run, ActivityState::kDead);
  ASSERT_TRUE(row.last_failure.has_value());
  EXPECT_EQ(row.last_failure->type, failure_type::kDeadLetter);
  EXPECT_TRUE(log_->WaitFor("is a dead letter"));
  const auto listed = engine.List({.dead_letters_only = true});
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->runs.size(), 1u);
  EXPECT_EQ(listed->runs[0].dead_letters, 1);
  ASSERT_EQ(run->RetryActivity(row.key.id), Status());
  EXPECT_THAT(run->Result<Strings>(kPatience).value_or(Strings()), ElementsAre("7"));
  EXPECT_TRUE(engine.List({.dead_letters_only = true})->runs.empty());
}

constexpr ActivityDef<int(int)> kEcho{"Echo"};

TEST_P(OperatorTest, ADeadLetterThatIsNotHeldFails) {
  Registry starts, works;
  starts.Bind("W", [](WorkflowContext& ctx) -> Workflow<Strings> {
    const auto echo = co_await ctx.TryRun(kEcho, 7);
    const std::string how = echo.ok() ? "ran" : echo.failure().type;
    co_return Strings{how};
  });
  works.Bind("Echo", [](int x) { return x; });
  Engine engine = Open(starts);
  auto worker = Engine::Open(Ports{std::make_shared<DeadlyStore>(store_.ports.store), store_.ports.queue},
                             works, Options());
  ASSERT_TRUE(worker.ok()) << worker.status();
  EXPECT_THAT(ResultOf<Strings>(engine.Start("W")).value_or(Strings()),
              ElementsAre(std::string(failure_type::kDeadLetter)));
}

// ---- Runs that block

// Says of each run that is taken that its turn has ended as many workers as it may, and one more.
class DeadlyTurnsStore final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override {
    base()->TakeTurn(std::move(request), [done = std::move(done)](StatusOr<RunSnapshot> taken) mutable {
      if (taken.ok()) taken->row.deliveries = limits::kMaxDeliveries + 1;
      done(std::move(taken));
    });
  }
};

TEST_P(OperatorTest, ATurnThatEndsItsWorkersIsBlocked) {
  const Registry registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    const std::string word = co_await ctx.Receive<std::string>("go");
    co_return Strings{word};
  });
  {
    auto worker = Engine::Open(Ports{std::make_shared<DeadlyTurnsStore>(store_.ports.store), store_.ports.queue},
                               registry, Options());
    ASSERT_TRUE(worker.ok()) << worker.status();
    auto run = worker->Start("W", {.workflow_id = "w"});
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_EQ(run->Signal("go", std::string("one")), Status());
    EXPECT_THAT(WaitUntilBlocked(*run).reason, HasSubstr("has ended its worker 5 times"));
  }
  Engine engine = Open(registry);  // a new process tries once more
  EXPECT_THAT(engine.Find("w").Result<Strings>(kPatience).value_or(Strings()), ElementsAre("one"));
}

// Cannot read the inbox of any run.
class DamagedInboxStore final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void TakeTurn(TakeTurnRequest, Done<RunSnapshot> done) override { done(DataLoss("message 1 is damaged")); }
  void Read(ReadRequest request, Done<RunSnapshot> done) override {
    if (request.inbox) return done(DataLoss("message 1 is damaged"));
    base()->Read(std::move(request), std::move(done));
  }
};

TEST_P(OperatorTest, ARunWhoseMessagesAreDamagedIsBlockedAndCanBeEnded) {
  auto engine = Engine::Open(Ports{std::make_shared<DamagedInboxStore>(store_.ports.store), store_.ports.queue},
                             With([](WorkflowContext& ctx) -> Workflow<Strings> {
                               const std::string word = co_await ctx.Receive<std::string>("go");
                               co_return Strings{word};
                             }),
                             Options());
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto run = engine->Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal("go", std::string("one")), Status());
  EXPECT_THAT(WaitUntilBlocked(*run).reason, HasSubstr("message 1 is damaged"));
  EXPECT_EQ(run->Terminate("damaged"), Status());
  EXPECT_EQ(run->Describe()->run.status, RunStatus::kTerminated);
}

// ---- Delete

TEST_P(OperatorTest, ADeletedRunIsForgotten) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<Strings> {
    const std::string word = co_await ctx.Receive<std::string>("go");
    co_return Strings{word};
  }));
  const StartOptions once{.workflow_id = "w", .id_reuse = IdReusePolicy::kRejectDuplicate};
  auto run = engine.Start("W", once);
  ASSERT_TRUE(run.ok()) << run.status();
  const Status open = run->Delete();
  EXPECT_EQ(open.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(open.message()), HasSubstr("terminate it"));
  ASSERT_EQ(run->Signal("go", std::string("one")), Status());
  ASSERT_TRUE(run->Result<Strings>(kPatience).ok());
  EXPECT_EQ(engine.Start("W", once).status().code(), StatusCode::kAlreadyExists);

  ASSERT_EQ(run->Delete(), Status());
  EXPECT_EQ(run->Delete().code(), StatusCode::kNotFound);
  EXPECT_EQ(run->Describe().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(run->Result<Strings>(kPatience).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(run->History().status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(engine.List()->runs.empty());
  auto again = engine.Start("W", once);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->Signal("go", std::string("two")), Status());
  EXPECT_THAT(again->Result<Strings>(kPatience).value_or(Strings()), ElementsAre("two"));
}

TEST_P(OperatorTest, AChildThatIsDeletedTellsItsParentFirst) {
  Registry registry = With([](WorkflowContext& ctx) -> Workflow<Strings> {
    const std::string end = co_await ctx.RunChild<std::string>("Child", 1, {.workflow_id = "child"});
    co_return Strings{end};
  });
  registry.Bind("Child", [](WorkflowContext& ctx, int) -> Workflow<std::string> {
    co_return co_await ctx.Receive<std::string>("go");
  });
  Engine engine = Open(registry);
  auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  const marathon::Run child = engine.Find("child");
  ASSERT_TRUE(Eventually([&] { return child.Describe().ok(); }));
  ASSERT_EQ(child.Signal("go", std::string("told")), Status());
  ASSERT_TRUE(Eventually([&] { return child.Delete().ok(); }));
  EXPECT_THAT(run->Result<Strings>(kPatience).value_or(Strings()), ElementsAre("told"));
  ASSERT_TRUE(Eventually([&] { return child.Describe().status().code() == StatusCode::kNotFound; }));
}

}  // namespace
}  // namespace marathon::tests::operator_test
