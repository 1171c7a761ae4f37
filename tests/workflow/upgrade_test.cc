// Upgrades: stores that were kept, tests/golden/stores/VERSION, are opened by today's code, which finds in them
// what was there and brings their runs to their ends. The README beside them says how they are kept.
//
// The workflows here must fit the histories of every version, as a user's must who upgrades.
// needs: sqlite redis
// program: histories
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kept_stores.h"
#include "marathon/detail/forks.h"

namespace marathon::tests::upgrade_test {
namespace {

using ::testing::ElementsAreArray;
using ::testing::UnorderedElementsAreArray;

const std::filesystem::path kFolder = "tests/golden/stores";  // tests run in the source folder

// A store is written at the first instant, and read at the second.
constexpr Time kThen = FromMicros(1'893'456'000'000'000);  // 2030-01-01
constexpr Time kNow = kThen + 12h;

// ---- The program, as it was and is

inline constexpr RetryPolicy kHourly{.initial_interval = 1h, .maximum_attempts = 5, .jitter = 0};
inline constexpr ActivityDef<std::string(std::string)> kCharge{"Charge"};
inline constexpr UpdateDef<int(int)> kAdd{"add"};

Workflow<std::string> Pay(WorkflowContext& ctx, std::string card) {
  co_return co_await ctx.Run(kCharge, card, {.start_to_close_timeout = 24h, .retry = &kHourly});
}

Workflow<std::string> Remind(WorkflowContext& ctx, std::string what) {
  co_await ctx.Sleep(1h);
  co_return what + ", an hour later";
}

Workflow<std::string> Collect(WorkflowContext& ctx, int count) {
  std::string collected;
  for (int i = 0; i < count; ++i) collected += co_await ctx.Receive<std::string>("letter");
  co_return collected;
}

// What comes meanwhile waits.
Workflow<std::string> CollectLater(WorkflowContext& ctx, int count) {
  co_await ctx.Sleep(1h);
  co_return co_await Collect(ctx, count);
}

Workflow<std::string> Parent(WorkflowContext& ctx, std::string child) {
  const std::string result = co_await ctx.RunChild<std::string>("Remind", child, {.workflow_id = "child"});
  co_return "the child says: " + result;
}

Workflow<std::string> Poll(WorkflowContext& ctx, int round) {
  if (round < 2) co_await ctx.ContinueAsNew(round + 1);
  co_await ctx.Sleep(1h);
  co_return fmt::format("round {}", round);
}

Workflow<std::string> Account(WorkflowContext& ctx, int balance) {
  auto adds = ctx.OnUpdate(kAdd, [&](int amount) { return balance += amount; });
  co_await ctx.Receive<bool>("close");
  co_return fmt::format("balance {}", balance);
}

Registry Workflows() {
  Registry registry;
  registry.Bind("Pay", Pay);
  registry.Bind("Remind", Remind);
  registry.Bind("Collect", Collect);
  registry.Bind("CollectLater", CollectLater);
  registry.Bind("Parent", Parent);
  registry.Bind("Poll", Poll);
  registry.Bind("Account", Account);
  registry.Bind("Pinned", Remind, {Versioning::kPinned});
  return registry;
}

// ---- A process: an engine over a store, at a time of its own

class Process {
 public:
  template <class Store>
  Process(Store& store, Time now, const Registry& registry, std::vector<std::string> queues = {"default"})
      : runtime_(std::make_shared<TurnedRuntime>(now)), ports_(store.Open(*runtime_)) {
    EXPECT_TRUE(ports_.ok()) << ports_.status();
    if (!ports_.ok()) return;
    engine_ = Engine::Open(*ports_, registry, {.task_queues = std::move(queues), .build_id = "a program"},
                           runtime_);
    EXPECT_TRUE(engine_.ok()) << engine_.status();
  }
  Engine* operator->() { return &*engine_; }
  bool ok() const { return engine_.ok(); }

 private:
  std::shared_ptr<TurnedRuntime> runtime_;
  StatusOr<Ports> ports_;
  StatusOr<Engine> engine_ = Unknown("not opened");
};

RunDescription DescriptionOf(const Run& run) {
  auto description = run.Describe();
  EXPECT_TRUE(description.ok()) << run.workflow_id() << description.status();
  return description.ok() ? *description : RunDescription();
}

template <class Wanted>
void WaitUntil(const Run& run, Wanted&& wanted) {
  EXPECT_TRUE(Eventually([&] {
    const auto description = run.Describe();
    return description.ok() && wanted(*description);
  })) << run.workflow_id();
}

// The signals in a run's history, by their input.
template <class T>
std::vector<T> Signals(const Run& run) {
  std::vector<T> signals;
  const auto history = run.History();
  EXPECT_TRUE(history.ok()) << history.status();
  for (const Event& event : history.ok() ? *history : History()) {
    const auto* signal = std::get_if<SignalReceived>(&event.body);
    if (signal != nullptr) signals.push_back(Decode<T>(signal->input).value());
  }
  return signals;
}

// ---- Writing

// Cards that are there to be kept in all states that an activity can be in.
Registry AtWork(Mailbox<std::string>& token, Mailbox<bool>& held) {
  Registry registry = Workflows();
  registry.Bind(kCharge, [&](ActivityContext& ctx, const std::string& card) -> std::string {
    if (card == "refused") throw ApplicationError("no money", {.type = "Refused", .non_retryable = true});
    if (card == "busy") throw ApplicationError("the line is busy", {.type = "Busy"});
    if (card == "slow") token.Put(ctx.CompleteLater().value());
    if (card == "stuck") {
      held.Put(true);
      WaitForStop(ctx.stop_token());
    }
    return card;
  });
  return registry;
}

template <class Store>
void Write(const std::filesystem::path& kept) {
  Store store("");
  Mailbox<std::string> token;
  Mailbox<bool> held;
  Process process(store, kThen, AtWork(token, held));
  Process client(store, kThen, Registry());
  ASSERT_TRUE(process.ok() && client.ok());
  const auto start = [](Process& by, const char* id, const char* type, const auto& input,
                        StartOptions options = {}) {
    options.workflow_id = id;
    return by->Start(type, input, options).value();
  };
  const auto sleeps = [](const RunDescription& run) { return run.run.version > 2; };

  for (const char* card : {"paid", "refused", "busy", "slow", "stuck"}) {
    start(process, card, "Pay", std::string(card));
  }
  EXPECT_EQ(process->Find("paid").Result<std::string>(kPatience).value_or(""), "paid");
  EXPECT_FALSE(process->Find("refused").Result(kPatience).ok());
  WaitUntil(process->Find("busy"), [](const RunDescription& run) { return run.activities[0].attempt == 2; });
  // Whoever opens the store finds the token in it.
  EXPECT_TRUE(process->Find("slow").Signal("token", token.Get()).ok());
  WaitUntil(process->Find("slow"), [](const RunDescription& run) {
    return run.activities[0].state == ActivityState::kDetached && run.run.inbox_size == 0;
  });
  EXPECT_TRUE(held.Get());

  WaitUntil(start(process, "asleep", "Remind", std::string("awake")), sleeps);
  const Run letters = start(process, "letters", "CollectLater", 2);
  WaitUntil(letters, sleeps);
  const Run untaken = start(client, "untaken", "Collect", 2, {.task_queue = "elsewhere"});
  for (const Run& run : {letters, untaken}) {
    for (const char* letter : {"a", "b"}) EXPECT_TRUE(run.Signal("letter", std::string(letter)).ok());
  }
  WaitUntil(letters, [](const RunDescription& run) { return run.run.inbox_size == 0; });

  const Run parent = start(process, "parent", "Parent", std::string("grown up"));
  WaitUntil(parent, [](const RunDescription& run) {
    return !run.activities.empty() && run.activities[0].state == ActivityState::kDetached;
  });
  WaitUntil(process->Find("child"), sleeps);
  start(process, "rounds", "Poll", 0);
  WaitUntil(process->Find("rounds"), sleeps);
  const Run account = start(process, "account", "Account", 10);
  EXPECT_EQ(account.Update(kAdd, 5, {.update_id = "u-1"}).value_or(0), 15);

  const Run labelled = start(process, "labelled", "Remind", std::string("labelled"),
                             {.memo = {{"note", "kept"}}, .attributes = {{"customer", "ada"}}});
  const Run pinned = start(process, "pinned", "Pinned", std::string("pinned"));
  const Run moved = start(process, "moved", "Pinned", std::string("moved"));
  for (const Run& run : {labelled, pinned, moved}) WaitUntil(run, sleeps);
  EXPECT_TRUE(moved.Pin("another program").ok());
  ForkOptions fork{.keep = 3, .workflow_id = "forked"};  // the timer of its first turn
  EXPECT_TRUE(fork.SetInput(std::string("forked")).ok());
  const auto forked = process->Find("asleep").Fork(fork);
  ASSERT_TRUE(forked.ok()) << forked.status();
  WaitUntil(*forked, sleeps);

  const auto daily = process->CreateSchedule("daily", {.crons = {"0 3 * * *"}}, "Pay", std::string("rent"));
  ASSERT_TRUE(daily.ok()) << daily.status();
  EXPECT_TRUE(Eventually([&] { return daily->Describe().ok(); }));

  create_directories(kept.parent_path());
  store.Keep(kept);
}

// ---- Reading

void FindsWhatWasKept(Process& client) {
  const auto list = client->List();
  ASSERT_TRUE(list.ok()) << list.status();
  std::vector<std::string> runs;
  for (const RunRow& run : list->runs) {
    runs.push_back(fmt::format("{} {} {}", run.key.workflow_id.view(), run.workflow_type,
                               static_cast<int>(run.status)));
  }
  EXPECT_THAT(runs, UnorderedElementsAreArray({
      "paid Pay 2", "refused Pay 3", "busy Pay 1", "slow Pay 1", "stuck Pay 1", "asleep Remind 1",
      "letters CollectLater 1", "untaken Collect 1", "parent Parent 1", "child Remind 1", "rounds Poll 7",
      "rounds Poll 7", "rounds Poll 1", "account Account 1", "labelled Remind 1", "pinned Pinned 1", "moved Pinned 1",
      "forked Remind 1", "marathon.schedule/daily marathon.schedule 1"}));

  EXPECT_EQ(client->Find("paid").Result<std::string>(kPatience).value_or(""), "paid");
  EXPECT_EQ(FailureOf(client->Find("refused").Result(kPatience)).message, "no money");
  const RunDescription busy = DescriptionOf(client->Find("busy"));
  ASSERT_EQ(busy.activities.size(), 1u);
  EXPECT_EQ(busy.activities[0].state, ActivityState::kBackoff);
  EXPECT_EQ(busy.activities[0].attempt, 2);
  EXPECT_EQ(busy.activities[0].last_failure->type, "Busy");
  const RunDescription slow = DescriptionOf(client->Find("slow"));
  ASSERT_EQ(slow.activities.size(), 1u);
  EXPECT_EQ(slow.activities[0].state, ActivityState::kDetached);
  EXPECT_THAT(Signals<std::string>(client->Find("letters")), ElementsAreArray({"a", "b"}));
  EXPECT_EQ(DescriptionOf(client->Find("untaken")).run.inbox_size, 3);
  EXPECT_EQ(DescriptionOf(client->Find("rounds")).run.version, 3);
  EXPECT_THAT(*client->ListSchedules(), ElementsAreArray({"daily"}));

  EXPECT_EQ(client->Count({.attributes = {{"customer", "ada"}}}).value_or(0), 1);
  const RunRow labelled = DescriptionOf(client->Find("labelled")).run;
  ASSERT_TRUE(labelled.labels.has_value());
  EXPECT_EQ(labelled.labels->memo, (Labels{{"note", "kept"}}));
  EXPECT_EQ(labelled.labels->attributes, (Labels{{"customer", "ada"}}));
  EXPECT_EQ(DescriptionOf(client->Find("pinned")).run.pinned, "a program");
  EXPECT_EQ(DescriptionOf(client->Find("moved")).run.pinned, "another program");
  const auto forked = client->Find("forked").History();
  ASSERT_TRUE(forked.ok()) << forked.status();
  const std::vector<detail::KeptTurns> kept = detail::ForksOf(std::get<WorkflowStarted>(forked->at(1).body).headers);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].run_id, client->Find("asleep").Describe()->run.key.run_id.str());
  const RunRow child = DescriptionOf(client->Find("child")).run;
  ASSERT_TRUE(child.links.has_value());
  EXPECT_EQ(child.links->parent->run.workflow_id, "parent");
}

void BringsThemToTheirEnds(Process& process) {
  const std::map<std::string, std::string> results = {
      {"busy", "busy, attempt 2, delivery 1"},
      {"slow", "paid from outside"},
      {"stuck", "stuck, attempt 1, delivery 2"},  // whoever had it was killed
      {"asleep", "awake, an hour later"},
      {"letters", "ab"},
      {"untaken", "ab"},
      {"parent", "the child says: grown up, an hour later"},
      {"child", "grown up, an hour later"},
      {"rounds", "round 2"},
      {"account", "balance 17"},
      {"labelled", "labelled, an hour later"},
      {"pinned", "pinned, an hour later"},
      {"moved", "moved, an hour later"},
      {"forked", "forked, an hour later"},
      {"daily/2030-01-01T03:00:00Z", "rent, attempt 1, delivery 1"},
  };
  const std::string token = Signals<std::string>(process->Find("slow")).at(0);
  const Status completed = process->CompleteActivity(token, std::string("paid from outside"));
  EXPECT_TRUE(completed.ok()) << completed;
  const Run account = process->Find("account");
  EXPECT_EQ(account.Update(kAdd, 5, {.update_id = "u-1"}).value_or(0), 15);  // as it was answered then
  EXPECT_EQ(account.Update(kAdd, 2, {.update_id = "u-2"}).value_or(0), 17);
  EXPECT_TRUE(account.Signal("close", true).ok());
  EXPECT_TRUE(process->Find("moved").Unpin().ok());
  const Schedule daily = process->FindSchedule("daily");
  EXPECT_TRUE(Eventually([&] { return daily.Describe()->counts.started == 1; }));
  for (const auto& [id, result] : results) {
    const auto got = process->Find(id).Result<std::string>(kPatience);
    ASSERT_TRUE(got.ok()) << id << ": " << got.status();
    EXPECT_EQ(*got, result) << id;
  }
  EXPECT_EQ(daily.Describe()->next_times.at(0), kThen + 27h);
  EXPECT_TRUE(daily.Delete().ok());
  EXPECT_TRUE(process->List({.status = RunStatus::kRunning})->runs.empty());
}

Registry Today() {
  Registry registry = Workflows();
  registry.Bind(kCharge, [](ActivityContext& ctx, const std::string& card) {
    return fmt::format("{}, attempt {}, delivery {}", card, ctx.attempt(), ctx.info().deliveries + 1);
  });
  return registry;
}

std::string Version() {
  return fmt::format("{}.{}.{}", MARATHON_VERSION_MAJOR, MARATHON_VERSION_MINOR, MARATHON_VERSION_PATCH);
}

template <class Store>
void OpensAllThatWereKept() {
  if (std::getenv("MARATHON_REGENERATE_GOLDEN") != nullptr) Write<Store>(kFolder / Version() / Store::kName);
  int kept = 0;
  for (const auto& version : std::filesystem::directory_iterator(kFolder)) {
    const std::filesystem::path file = version.path() / Store::kName;
    if (!exists(file)) continue;
    SCOPED_TRACE(file);
    ++kept;
    Store store(file);
    {
      Process client(store, kNow, Registry());  // takes no turns
      ASSERT_TRUE(client.ok());
      FindsWhatWasKept(client);
    }
    {
      Process process(store, kNow, Today(), {"default", "elsewhere"});
      ASSERT_TRUE(process.ok());
      BringsThemToTheirEnds(process);
    }
    const Status sound = store.Check();
    EXPECT_TRUE(sound.ok()) << sound;
  }
  EXPECT_GT(kept, 0);
}

TEST(UpgradeTest, OpensSqliteFilesOfAllVersions) { OpensAllThatWereKept<SqliteCopy>(); }

TEST(UpgradeTest, OpensRedisDataOfAllVersions) { OpensAllThatWereKept<RedisCopy>(); }

}  // namespace
}  // namespace marathon::tests::upgrade_test
