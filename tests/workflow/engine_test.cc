// The engine as its program sees it: starting, finding, describing, ending; ids, deadlines, shutdown,
// several engines on one store, and what it refuses.
// labels: threads
// needs: testing
// program: engine
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <atomic>
#include <memory>

#include "fixture.h"
#include "marathon/testing/forwarding_state_store.h"
#include "marathon/testing/test_environment.h"

namespace marathon::tests::engine_test {
namespace {

using ::testing::HasSubstr;

class EngineTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, EngineTest, ::testing::ValuesIn(AllSetups()), SetupName);

Workflow<int> WaitForGo(WorkflowContext& ctx) { co_return co_await ctx.Receive<int>("go"); }
Workflow<int> AtOnce(WorkflowContext&, int x) { co_return x; }
Workflow<int> Fails(WorkflowContext&) {
  throw ApplicationError("no");
  co_return 0;
}

Registry Workflows() {
  Registry registry;
  registry.Bind("WaitForGo", WaitForGo);
  registry.Bind("AtOnce", AtOnce);
  registry.Bind("Fails", Fails);
  return registry;
}

// ---- Ids

TEST_P(EngineTest, TheSameRequestStartsOnce) {
  Engine engine = Open(Workflows());
  const auto first = engine.Start("WaitForGo", {.workflow_id = "w", .request_id = "r"});
  const auto again = engine.Start("WaitForGo", {.workflow_id = "w", .request_id = "r"});
  ASSERT_TRUE(first.ok() && again.ok()) << again.status();
  EXPECT_EQ(first->run_id(), again->run_id());
  ASSERT_TRUE(first->Signal("go", 1).ok());
  EXPECT_EQ(ResultOf<int>(first).value_or(0), 1);
  const auto later = engine.Start("WaitForGo", {.workflow_id = "w", .request_id = "r"});
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_EQ(first->run_id(), later->run_id()) << "after its end too";
}

TEST_P(EngineTest, AnOpenRunKeepsItsId) {
  Engine engine = Open(Workflows());
  const auto run = engine.Start("WaitForGo", {.workflow_id = "w"});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto refused = engine.Start("WaitForGo", {.workflow_id = "w"});
  EXPECT_EQ(refused.status().code(), StatusCode::kAlreadyExists);
  const auto same = engine.Start(
      "WaitForGo", {.workflow_id = "w", .id_conflict = IdConflictPolicy::kUseExisting});
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->run_id(), run->run_id());
}

TEST_P(EngineTest, AClosedRunGivesItsIdAwayByPolicy) {
  Engine engine = Open(Workflows());
  const auto start = [&](const char* id, IdReusePolicy policy) {
    return ResultOf<int>(engine.Start("AtOnce", 1, {.workflow_id = id, .id_reuse = policy}))
        .status()
        .code();
  };
  EXPECT_EQ(start("good", IdReusePolicy::kRejectDuplicate), StatusCode::kOk);
  EXPECT_EQ(start("good", IdReusePolicy::kRejectDuplicate), StatusCode::kAlreadyExists);
  EXPECT_EQ(start("good", IdReusePolicy::kAllowDuplicateFailedOnly), StatusCode::kAlreadyExists);
  EXPECT_EQ(start("good", IdReusePolicy::kAllowDuplicate), StatusCode::kOk);
  EXPECT_EQ(ResultOf<int>(engine.Start("Fails", {.workflow_id = "bad"})).status().code(),
            StatusCode::kAborted);
  EXPECT_EQ(start("bad", IdReusePolicy::kRejectDuplicate), StatusCode::kAlreadyExists);
  EXPECT_EQ(start("bad", IdReusePolicy::kAllowDuplicateFailedOnly), StatusCode::kOk);
}

// ---- Signals

constexpr WorkflowDef<int(int)> kAdds{"Adds"};
constexpr WorkflowDef<int()> kTakes{"Takes"};
constexpr SignalDef<int> kNumber{"number"};
constexpr SignalDef<void> kGoOn{"go on"};

Registry Signaled() {
  Registry registry;
  registry.Bind(kAdds, [](WorkflowContext& ctx, int x) -> Workflow<int> {
    x += co_await ctx.Receive(kNumber);
    co_await ctx.Receive(kGoOn);
    co_return x;
  });
  registry.Bind(kTakes, [](WorkflowContext& ctx) -> Workflow<int> {
    co_await ctx.Receive(kGoOn);
    const bool again = co_await ctx.Receive(kGoOn, 1h);
    const bool more = co_await ctx.Receive(kGoOn, 0ms);
    const std::optional<int> number = co_await ctx.Receive(kNumber, 0ms);
    co_return number.value_or(0) + (again ? 100 : 0) + (more ? 1'000 : 0);
  });
  return registry;
}

TEST_P(EngineTest, SignalWithStartByDefinition) {
  Engine engine = Open(Signaled());
  const auto first = engine.SignalWithStart(kAdds, 10, kNumber, 1, {.workflow_id = "w"});
  const auto second = engine.SignalWithStart(kAdds, 20, kGoOn, {.workflow_id = "w"});
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  EXPECT_EQ(first->run_id(), second->run_id());
  EXPECT_EQ(ResultOf<int>(first).value_or(0), 11);

  const auto without_input = engine.SignalWithStart(kTakes, kNumber, 5, {.workflow_id = "x"});
  const auto without_value = engine.SignalWithStart(kTakes, kGoOn, {.workflow_id = "x"}, {.request_id = "r"});
  const auto repeated = engine.SignalWithStart(kTakes, kGoOn, {.workflow_id = "x"}, {.request_id = "r"});
  ASSERT_TRUE(without_input.ok() && without_value.ok() && repeated.ok());
  const auto by_name = engine.SignalWithStartPayload("Takes", Payload(), "go on", Payload(), {.workflow_id = "x"});
  ASSERT_TRUE(by_name.ok()) << by_name.status();
  EXPECT_EQ(by_name->run_id(), without_input->run_id());
  EXPECT_EQ(ResultOf<int>(without_input).value_or(0), 105);
}

TEST_P(EngineTest, SignalsWithoutAValue) {
  Engine engine = Open(Signaled());
  const auto run = engine.Start(kTakes);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Signal(kGoOn, {.request_id = "once"}).ok());
  ASSERT_TRUE(run->Signal("go on", {.request_id = "once"}).ok());
  ASSERT_TRUE(run->Signal("go on").ok());
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 100);
  const auto wants_one = engine.Start(kAdds, 1);
  ASSERT_TRUE(wants_one.ok()) << wants_one.status();
  ASSERT_TRUE(wants_one->Signal("number").ok());
  EXPECT_EQ(FailureOf(ResultOf<int>(wants_one).status()).type, failure_type::kDecode);
}

// ---- Looking

TEST_P(EngineTest, DescribesListsAndReadsRuns) {
  Engine engine = Open(Workflows());
  const auto open = engine.Start("WaitForGo", {.workflow_id = "open"});
  const auto closed = engine.Start("AtOnce", 5, {.workflow_id = "closed"});
  ASSERT_EQ(ResultOf<int>(closed).value_or(0), 5);

  const auto description = engine.Find("open").Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->run.key, open->key());
  EXPECT_EQ(description->run.status, RunStatus::kRunning);
  EXPECT_EQ(closed->Describe()->run.status, RunStatus::kCompleted);
  EXPECT_EQ(engine.Find("nobody").Describe().status().code(), StatusCode::kNotFound);

  const auto history = closed->History();
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_EQ(history->size(), 3u);
  EXPECT_EQ(TypeOf((*history)[0].body), EventType::kTurnStarted);
  EXPECT_EQ(TypeOf((*history)[1].body), EventType::kWorkflowStarted);
  EXPECT_EQ(TypeOf((*history)[2].body), EventType::kWorkflowCompleted);

  EXPECT_EQ(engine.List()->runs.size(), 2u);
  EXPECT_EQ(engine.List({.workflow_type = "AtOnce"})->runs.size(), 1u);
  EXPECT_EQ(engine.List({.status = RunStatus::kRunning})->runs.at(0).key.workflow_id, "open");
  const auto page = engine.List({.limit = 1});
  ASSERT_EQ(page->runs.size(), 1u);
  const auto rest = engine.List({.limit = 1, .page_token = page->next_page_token});
  ASSERT_EQ(rest->runs.size(), 1u);
  EXPECT_NE(rest->runs[0].key, page->runs[0].key);
}

TEST_P(EngineTest, ResultCanBeAskedForALittleWhile) {
  Engine engine = Open(Workflows());
  const auto run = engine.Start("WaitForGo");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->Result<int>(5ms).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(run->Signal("go", 3).ok());
  EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 3);
  EXPECT_EQ(run->Result<std::string>(kPatience).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine.Find("nobody").Result().code(), StatusCode::kNotFound);
}

TEST_P(EngineTest, ARunEndsAtItsTimeout) {
  Engine engine = Open(Workflows());
  const auto run = engine.Start("WaitForGo", {.run_timeout = 20ms});
  const auto result = ResultOf<int>(run);
  EXPECT_EQ(result.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(FailureOf(result.status()).timeout, TimeoutKind::kRun);
  EXPECT_EQ(run->Describe()->run.status, RunStatus::kTimedOut);
}

// ---- Several engines, one after the other and side by side

TEST_P(EngineTest, AnotherEngineGoesOn) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    int sum = 0;
    for (int i = 0; i < 3; ++i) sum += co_await ctx.Receive<int>("n");
    co_await ctx.Sleep(30ms);
    co_return sum;
  });
  {
    Engine engine = Open(registry);
    ASSERT_TRUE(engine.Start("W", {.workflow_id = "w"}).ok());
  }
  for (int i = 1; i <= 3; ++i) {
    Engine engine = Open(registry);
    ASSERT_TRUE(engine.Find("w").Signal("n", i).ok());
  }
  Engine engine = Open(registry);
  EXPECT_EQ(engine.Find("w").Result<int>(kPatience).value_or(0), 6);
}

TEST_P(EngineTest, EnginesShareTheWork) {
  Registry registry;
  registry.Bind("Add", [](int x) { return x + 1; });
  registry.Bind("W", [](WorkflowContext& ctx, int x) -> Workflow<int> {
    for (int i = 0; i < 5; ++i) x = co_await ctx.Run<int>("Add", x);
    co_await ctx.Sleep(1ms);
    co_return x;
  });
  Engine one = Open(registry);
  Engine two = Open(registry);
  Engine client = Open(Registry());
  std::vector<marathon::Run> runs;
  for (int i = 0; i < 60; ++i) {
    auto run = (i % 3 == 0 ? one : i % 3 == 1 ? two : client).Start("W", i);
    ASSERT_TRUE(run.ok()) << run.status();
    runs.push_back(*run);
  }
  for (int i = 0; i < 60; ++i) EXPECT_EQ(runs[i].Result<int>(kPatience).value_or(-1), i + 5);
}

TEST_P(EngineTest, ShutdownAnswersWhoWaits) {
  Engine engine = Open(Workflows());
  const auto run = engine.Start("WaitForGo");
  ASSERT_TRUE(run.ok()) << run.status();
  Mailbox<StatusCode> code;
  std::jthread waits([&] { code.Put(run->Result<int>().status().code()); });
  EXPECT_TRUE(engine.Shutdown().ok());
  EXPECT_THAT(code.Get(), ::testing::AnyOf(StatusCode::kCancelled, StatusCode::kFailedPrecondition));
  EXPECT_TRUE(engine.Shutdown().ok()) << "again: nothing happens";
  EXPECT_EQ(run->Describe().status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(EngineTest, ActivitiesMayUseTheEngine) {
  Engine* engine_of_activity = nullptr;
  Registry registry = Workflows();
  registry.Bind("StartAnother", [&](int x) {
    auto run = engine_of_activity->Start("AtOnce", x);
    return ResultOf<int>(run).value_or(-1);
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run<int>("StartAnother", 9);
  });
  Engine engine = Open(registry);
  engine_of_activity = &engine;
  EXPECT_EQ(ResultOf<int>(engine.Start("W")).value_or(0), 9);
}

// ---- What is refused

TEST_P(EngineTest, WorkflowBodiesMayNotUseTheEngine) {
  Engine* engine_of_workflow = nullptr;
  Registry registry;
  registry.Bind("W", [&](WorkflowContext& ctx) -> Workflow<std::vector<int>> {
    std::vector<int> codes;
    for (int i = 0; i < 2; ++i) {
      codes.push_back(engine_of_workflow->Start("W").status().raw_code());
      codes.push_back(engine_of_workflow->Find("w").Signal("go", 1).raw_code());
      if (i == 0) co_await ctx.Receive<int>("go");
    }
    co_return codes;
  });
  Engine engine = Open(registry);
  engine_of_workflow = &engine;
  const auto run = engine.Start("W", {.workflow_id = "w"});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Signal("go", 1).ok());
  const int refused = static_cast<int>(StatusCode::kFailedPrecondition);
  EXPECT_EQ(ResultOf<std::vector<int>>(run).value_or(std::vector<int>()),
            std::vector<int>(4, refused));
}

TEST_P(EngineTest, AForkedChildMayNotUseTheEngine) {
  Engine engine = Open(Workflows());
  const auto run = engine.Start("WaitForGo");
  ASSERT_TRUE(run.ok()) << run.status();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool refused =
        run->Describe().status().code() == StatusCode::kFailedPrecondition &&
        run->Signal("go", 1).code() == StatusCode::kFailedPrecondition &&
        engine.Start("WaitForGo").status().code() == StatusCode::kFailedPrecondition &&
        run->Result<int>().status().code() == StatusCode::kFailedPrecondition &&
        engine.Shutdown().code() == StatusCode::kFailedPrecondition;  // leaves the parent's alone
    _exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_TRUE(run->Signal("go", 4).ok());
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 4);
}

TEST_P(EngineTest, IsNotEndedByWhatItWouldWaitFor) {
  Engine* engine_of_run = nullptr;
  const auto end = [&] { return engine_of_run->Shutdown().raw_code(); };
  Registry registry = Workflows();
  registry.Bind("End", [&] { return end(); });
  registry.Bind("EndLater", [&](ActivityCompletion<int> done) { done.Complete(end()); });
  registry.Bind("W", [&](WorkflowContext& ctx) -> Workflow<std::vector<int>> {
    std::vector<int> codes = {end()};
    codes.push_back(co_await ctx.Run<int>("End"));
    codes.push_back(co_await ctx.RunLocal<int>("End"));
    codes.push_back(co_await ctx.Run<int>("EndLater"));
    codes.push_back(end());
    co_return codes;
  });
  Engine engine = Open(registry);
  engine_of_run = &engine;
  const int refused = static_cast<int>(StatusCode::kFailedPrecondition);
  EXPECT_EQ(ResultOf<std::vector<int>>(engine.Start("W")).value_or(std::vector<int>()),
            std::vector<int>(5, refused));
  EXPECT_EQ(ResultOf<int>(engine.Start("AtOnce", 3)).value_or(0), 3) << "it works on";
  EXPECT_TRUE(engine.Shutdown().ok());
}

TEST(ShutdownTest, AnActivityMayEndAnotherEngine) {
  auto other = Engine::Open("memory:", Workflows());
  ASSERT_TRUE(other.ok()) << other.status();
  Registry registry;
  registry.Bind("End", [&] { return other->Shutdown().raw_code(); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("End"); });
  auto engine = Engine::Open("memory:", registry);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(ResultOf<int>(engine->Start("W")).value_or(-1), 0);
  EXPECT_EQ(other->Start("AtOnce", 1).status().code(), StatusCode::kFailedPrecondition);
}

TEST(ShutdownTest, InVirtualTimeToo) {
  Engine* engine_of_run = nullptr;
  Registry registry;
  registry.Bind("End", [&] { return engine_of_run->Shutdown().raw_code(); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("End"); });
  testing::TestEnvironment env(registry);
  engine_of_run = &env.engine();
  EXPECT_EQ(ResultOf<int>(env.engine().Start("W")).value_or(0), static_cast<int>(StatusCode::kFailedPrecondition));
  bool ended = false;
  env.After(1h, [&] { ended = env.engine().Shutdown().ok(); });
  env.Advance(2h);
  EXPECT_TRUE(ended);
}

// A worker whose last owner is one of its own activities.
TEST(ShutdownTest, AnEngineDestroyedByItsActivityWorksOn) {
  if (kSanitized) GTEST_SKIP() << "its threads are left";
  std::optional<Engine> engine;
  Mailbox<int> opened;
  Registry registry;
  registry.Bind("Drop", [&] {
    opened.Get();
    engine.reset();
    return 7;
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("Drop"); });
  const auto log = std::make_shared<CollectingLog>();
  auto made = Engine::Open("memory:", registry, {.log = log});
  ASSERT_TRUE(made.ok()) << made.status();
  engine.emplace(*std::move(made));
  const auto run = engine->Start("W");
  opened.Put(1);
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 7);
  EXPECT_EQ(log->Count("~Engine: an engine cannot be shut down by"), 1);
}

// ---- Activities that ignore their stop_token

TEST(ShutdownTest, NamesEveryFiveSecondsWhatItWaitsFor) {
  std::optional<ActivityCompletion<int>> kept;
  Registry registry;
  registry.Bind("Ignores", [&](ActivityContext&, ActivityCompletion<int> done) { kept.emplace(std::move(done)); });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("Ignores"); });
  const auto log = std::make_shared<CollectingLog>();
  testing::TestEnvironment env(registry, {.log = log});
  ASSERT_TRUE(env.engine().Start("W", {.workflow_id = "w"}).ok());
  env.RunUntilIdle();
  ASSERT_TRUE(kept);
  const Time begin = env.Now();
  env.After(26s, [&] { kept->Complete(7); });
  EXPECT_TRUE(env.engine().Shutdown(10s).ok());
  EXPECT_EQ(env.Now() - begin, 26s) << "it is waited for";
  EXPECT_EQ(log->Count("waiting for activities that ignore their stop_token: \"Ignores\" of workflow \"w\""), 4)
      << "after 10, 15, 20 and 25 seconds";
}

TEST_P(EngineTest, ShutdownWaitsForWhatIgnoresItsStopToken) {
  Mailbox<int> begun;
  Mailbox<int> go;
  Registry registry;
  registry.Bind("Ignores", [&] {
    begun.Put(1);
    return go.Get();
  });
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run<int>("Ignores"); });
  Engine engine = Open(registry);
  const auto run = engine.Start("W", {.workflow_id = "w"});
  ASSERT_TRUE(run.ok()) << run.status();
  begun.Get();
  std::atomic<bool> ended{false};
  std::jthread ends([&] {
    EXPECT_TRUE(engine.Shutdown(1ms).ok());
    ended = true;
  });
  EXPECT_TRUE(log_->WaitFor("waiting for activities that ignore their stop_token: \"Ignores\" of workflow \"w\""));
  EXPECT_FALSE(ended);
  go.Put(7);
  ends.join();
  Engine next = Open(registry);
  EXPECT_EQ(next.Find("w").Result<int>(kPatience).value_or(0), 7) << "what it did counts, or is done again";
}

TEST(OpenTest, AnUnknownSchemeListsThoseThereAre) {
  const auto sqlite = Engine::Open("sqlite:app.db", Registry());
  EXPECT_EQ(sqlite.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(sqlite.status())),
              ::testing::AllOf(HasSubstr("\"memory:\""), HasSubstr("marathon::sqlite"),
                               HasSubstr("SqliteBackend()")));
  Registry registry;
  registry.Use(Backend{"mine", [](const BackendUrl&, Runtime& runtime) {
                         return StatusOr<Ports>(NewMemoryPorts(runtime));
                       }});
  EXPECT_TRUE(Engine::Open("mine:", registry).ok());
  const auto unknown = Engine::Open("postgres://user:secret@host/db", registry);
  EXPECT_EQ(unknown.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(unknown.status())),
              ::testing::AllOf(HasSubstr("postgres"), HasSubstr("\"mine:\""),
                               ::testing::Not(HasSubstr("secret"))));
}

TEST(OpenTest, MistakesInTheRegistryAreReported) {
  const auto message = [](const Registry& registry) {
    const auto engine = Engine::Open("memory:", registry);
    EXPECT_EQ(engine.status().code(), StatusCode::kInvalidArgument);
    return std::string(MessageOf(engine.status()));
  };
  Registry twice = Workflows();
  twice.Bind("AtOnce", AtOnce);
  twice.Bind("a", [](int x) { return x; });
  twice.Bind("a", [](int x) { return x; });
  EXPECT_THAT(message(twice), ::testing::AllOf(HasSubstr("workflow \"AtOnce\" is bound twice"),
                                               HasSubstr("activity \"a\" is bound twice")));
  Registry empty;
  empty.Bind("", AtOnce);
  EXPECT_THAT(message(empty), HasSubstr("1 to 200 bytes"));
  Registry huge;
  huge.Bind(std::string(201, 'x'), [](int x) { return x; });
  EXPECT_THAT(message(huge), HasSubstr("1 to 200 bytes"));
}

TEST(OpenTest, TheEngineHasACopyOfTheRegistry) {
  auto registry = std::make_unique<Registry>(Workflows());
  auto engine = Engine::Open("memory:", *registry);
  registry.reset();
  ASSERT_TRUE(engine.ok()) << engine.status();
  Engine moved = *std::move(engine);
  EXPECT_EQ(ResultOf<int>(moved.Start("AtOnce", 2)).value_or(0), 2);
}

// ---- A store that is away

// Refuses the first two to ask for an end.
class AwayAtFirst final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override {
    if (asked_.fetch_add(1) >= 2) return base()->Await(std::move(request), std::move(done));
    done(Unavailable("not now"));
    return 0;
  }
  int asked() const { return asked_; }

 private:
  std::atomic<int> asked_{0};
};

TEST(AwayTest, ResultAsksAgain) {
  std::shared_ptr<AwayAtFirst> store;
  Registry registry = Workflows();
  registry.Use(Backend{"mine", [&](const BackendUrl&, Runtime& runtime) {
                         Ports ports = NewMemoryPorts(runtime);
                         ports.store = store = std::make_shared<AwayAtFirst>(ports.store);
                         return StatusOr<Ports>(std::move(ports));
                       }});
  auto engine = Engine::Open("mine:", registry);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(ResultOf<int>(engine->Start("AtOnce", 5)).value_or(0), 5);
  EXPECT_EQ(store->asked(), 3);
  const auto open = engine->Start("WaitForGo");
  ASSERT_TRUE(open.ok());
  EXPECT_EQ(open->Result<int>(Duration(1)).status().code(), StatusCode::kDeadlineExceeded);
}

// ---- Many

// Starts "Sleeper" with the inputs 0, 1, 2 …, each under its own workflow id.
void StartSleepers(Engine& engine, int count) {
  constexpr int kThreads = 8;
  std::atomic<int> next{0};
  std::atomic<int> failed{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int n = next++; n < count; n = next++) {
          if (!engine.Start("Sleeper", n, {.workflow_id = "s" + std::to_string(n)}).ok()) ++failed;
        }
      });
    }
  }
  EXPECT_EQ(failed, 0);
}

class TimedSleepersTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, TimedSleepersTest, ::testing::ValuesIn(SetupsWhere([](const Setup& setup) {
                           const bool here = setup.store == StoreKind::kMemory || setup.store == StoreKind::kSqlite;
                           return here && setup.cache_runs == 0;  // nobody has them in its cache anyway
                         })),
                         SetupName);

// They go to sleep in one process. An hour later another one comes, and has all of them wake.
TEST_P(TimedSleepersTest, AHundredThousandWakeInTime) {
  constexpr int kSleepers = kSanitized ? 10'000 : 100'000;
  std::vector<std::atomic<int>> woken(kSleepers);
  std::atomic<int> count{0};
  Mailbox<int> all;
  Registry registry;
  registry.Bind("Sleeper", [&](WorkflowContext& ctx, int x) -> Workflow<int> {
    co_await ctx.Sleep(1h);
    // Live, once: nobody else takes its turns.
    if (!ctx.is_replaying() && woken[static_cast<size_t>(x)]++ == 0 && ++count == kSleepers) all.Put(1);
    co_return x + 1;
  });
  EngineOptions options = Options();
  options.verify_determinism = false;
  {
    Engine engine = Open(registry, options);
    StartSleepers(engine, kSleepers);
    EXPECT_EQ(engine.Count({.status = RunStatus::kRunning}).value_or(0), kSleepers);
  }
  EXPECT_EQ(count, 0);
  store_.Turn(1h);
  Engine engine = Open(registry, options);
  EXPECT_EQ(all.Get(), 1);
  EXPECT_TRUE(Eventually([&] { return engine.Count({.status = RunStatus::kRunning}).value_or(-1) == 0; }));
  EXPECT_EQ(engine.Count({.status = RunStatus::kCompleted}).value_or(0), kSleepers);
  for (int n = 0; n < kSleepers; n += 101) {
    EXPECT_EQ(engine.Find("s" + std::to_string(n)).Result<int>(kPatience).value_or(0), n + 1);
  }
}

// The same in one process, and on the other stores.
class SleepersTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, SleepersTest, ::testing::ValuesIn(SetupsWhere([](const Setup& setup) {
                           const bool timed = setup.store == StoreKind::kMemory || setup.store == StoreKind::kSqlite;
                           return !timed && setup.cache_runs != 0;
                         })),
                         SetupName);

// Most of them do not fit into the cache: those woken are replayed.
TEST_P(SleepersTest, AHundredThousandSleep) {
  constexpr int kSleepers = kSanitized ? 20'000 : 100'000;
  Registry registry;
  registry.Bind("Sleeper", [](WorkflowContext& ctx, int x) -> Workflow<int> {
    const std::optional<int> woken = co_await ctx.Receive<int>("wake", 24h);
    co_return woken ? *woken + x : -1;
  });
  EngineOptions options = Options();
  options.verify_determinism = false;
  Engine engine = Open(registry, options);
  StartSleepers(engine, kSleepers);
  for (int n = 0; n < kSleepers; n += 1'000) {
    const auto run = engine.Find("s" + std::to_string(n));
    ASSERT_TRUE(run.Signal("wake", 1).ok());
    EXPECT_EQ(run.Result<int>(kPatience).value_or(0), n + 1);
  }
  EXPECT_TRUE(engine.Find("s1").Terminate("enough").ok());
  EXPECT_EQ(engine.Find("s2").Describe()->run.status, RunStatus::kRunning);
}

}  // namespace
}  // namespace marathon::tests::engine_test
