// The parts of the testing kit that need no engine: one activity alone, histories by hand, and histories
// held against code.
// needs: testing
// program: testing
#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "marathon/marathon.h"
#include "marathon/testing/activity_tester.h"
#include "marathon/testing/history_builder.h"
#include "marathon/testing/history_json.h"
#include "marathon/testing/replay_history.h"

namespace marathon::testing::testing_kit_test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// ---- ActivityTester

TEST(ActivityTesterTest, GivesWhatTheActivityReturnsOrThrows) {
  ActivityTester tester;
  EXPECT_EQ(tester.Run([](int x) { return x + 1; }, 41).value(), 42);
  EXPECT_TRUE(tester.Run([] {}).ok());
  const auto failed = tester.Run([](const std::string& what) -> StatusOr<int> {
    throw ApplicationError(what, {.type = "CardDeclined"});
  }, std::string("no funds"));
  EXPECT_EQ(failed.status().code(), StatusCode::kAborted);
  EXPECT_EQ(GetFailure(failed.status())->type, "CardDeclined");
  const auto status = tester.Run([](int) { return Unavailable("the line is busy"); }, 1);
  EXPECT_EQ(GetFailure(status)->message, "the line is busy");
}

TEST(ActivityTesterTest, TheContextIsTheTests) {
  static constexpr ActivityDef<std::string(int)> kDef{"Upload"};
  ActivityTester tester({.attempt = 3,
                         .key = {{"w", "r"}, 7},
                         .activity_type = "Upload",
                         .last_heartbeat = *Encode(50)});
  const auto upload = [](ActivityContext& ctx, const int& percent) {
    for (int at = ctx.LastHeartbeat<int>().value_or(0); at <= percent; at += 25) {
      EXPECT_TRUE(ctx.Heartbeat(at).ok());
    }
    return ctx.info().activity_type + " " + ctx.idempotency_key() + " " + std::to_string(ctx.attempt());
  };
  EXPECT_EQ(tester.Run(kDef, upload, 100).value(), "Upload r/7 3");
  EXPECT_THAT(tester.Heartbeats<int>(), ElementsAre(50, 75, 100));
}

TEST(ActivityTesterTest, CancelsInTheMiddle) {
  ActivityTester* cancels = nullptr;
  ActivityTester tester({.on_heartbeat = [&](const Payload& details) {
    if (details.data == "2") cancels->Cancel();
  }});
  cancels = &tester;
  const auto rounds = [](ActivityContext& ctx) {
    int round = 0;
    while (!ctx.stop_token().stop_requested()) ctx.Heartbeat(++round).IgnoreError();
    return round;
  };
  EXPECT_EQ(tester.Run(rounds).value(), 2);
  EXPECT_EQ(tester.Run(rounds).value(), 0) << "and stays so";
}

TEST(ActivityTesterTest, WaitsForACompletionOnAnotherThread) {
  ActivityTester tester;
  std::thread thread;
  const auto ask = [&thread](const int& x, ActivityCompletion<int> done) {
    thread = std::thread([x, done = std::move(done)]() mutable { done.Complete(2 * x); });
  };
  EXPECT_EQ(tester.Run(ask, 21).value(), 42);
  thread.join();
  const auto drops = [](const int&, ActivityCompletion<int>) {};
  EXPECT_THAT(tester.Run(drops, 1).status().ToString(), HasSubstr("dropped its completion unused"));
  const auto later = [](ActivityContext& ctx, const int&) { return ctx.CompleteLater().ok() ? 1 : 0; };
  EXPECT_EQ(tester.Run(later, 1).status().code(), StatusCode::kUnavailable);
}

// ---- Histories

inline constexpr ActivityDef<std::string(int)> kCharge{"Charge"};

Workflow<std::string> Checkout(WorkflowContext& ctx, int order) {
  auto timer = ctx.StartTimer(24h);
  std::string receipt = co_await ctx.Run(kCharge, order);
  timer.Cancel();
  if (!co_await ctx.Receive<bool>("approved")) throw ApplicationError("declined");
  co_return receipt;
}

// … as somebody has changed it: the timer is gone.
Workflow<std::string> Faster(WorkflowContext& ctx, int order) {
  co_return co_await ctx.Run(kCharge, order);
}

template <class Fn>
Registry With(Fn fn) {
  Registry registry;
  registry.Bind("Checkout", fn);
  return registry;
}

HistoryBuilder UpToTheCharge() {
  return HistoryBuilder()
      .Started("Checkout", 7)
      .TimerStarted(24h)
      .ActivityScheduled("Charge", 7)
      .NextTurn(5s)
      .ActivityCompleted("Charge", std::string("r-1"))
      .TimerCanceled();
}

TEST(HistoryBuilderTest, NumbersAndAnswers) {
  const auto history = UpToTheCharge()
                           .NextTurn(1h)
                           .SignalReceived("approved", true)
                           .Completed(std::string("r-1"))
                           .Build();
  ASSERT_TRUE(history.ok()) << history.status();
  std::vector<std::string> lines;
  for (const Event& event : *history) lines.push_back(std::to_string(event.id) + " " + Describe(event.body));
  EXPECT_THAT(lines, ElementsAre("1 TurnStarted", "2 WorkflowStarted \"Checkout\"",
                                 "3 TimerStarted (86400000 ms)", "4 ActivityScheduled \"Charge\"",
                                 "5 TurnStarted", "6 ActivityCompleted (activity 4)",
                                 "7 TimerCanceled (timer 3)", "8 TurnStarted",
                                 "9 SignalReceived \"approved\"", "10 WorkflowCompleted"));
  EXPECT_EQ(std::get<TurnStarted>((*history)[7].body).time -
                std::get<TurnStarted>((*history)[0].body).time,
            1h + 5s);
  EXPECT_EQ(ReplayHistory(With(Checkout), *history), absl::OkStatus());
}

TEST(HistoryBuilderTest, Updates) {
  Registry registry;
  registry.Bind("Sum", [](WorkflowContext& ctx) -> Workflow<int> {
    int total = 0;
    auto add = ctx.OnUpdate("add", [&](int x) -> int {
      if (x == 0) throw ApplicationError("nothing", {.type = "Nothing"});
      return total += x;
    });
    co_await ctx.WaitUntil([&] { return total > 3; });
    co_return total;
  });
  Failure nothing;
  nothing.type = "Nothing";
  const auto history = HistoryBuilder()
                           .Started("Sum")
                           .NextTurn()
                           .UpdateAccepted("add", 3)
                           .UpdateCompleted("add", 3)
                           .UpdateAccepted("add", 0)
                           .UpdateFailed("add", nothing)
                           .UpdateAccepted("add", 4)
                           .UpdateCompleted("add", 7)
                           .Completed(7)
                           .Build();
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(Describe((*history)[7].body), "UpdateAccepted \"add\" (add-3)");
  EXPECT_EQ(ReplayHistory(registry, *history), absl::OkStatus());
  const auto twice = HistoryBuilder().Started("Sum").UpdateCompleted("add", 1).Build();
  EXPECT_THAT(std::string(MessageOf(twice.status())), HasSubstr("no update \"add\" waits"));
}

TEST(HistoryBuilderTest, TellsTheFirstMistake) {
  const auto mistake = [](const HistoryBuilder& builder) {
    const auto history = builder.Build();
    EXPECT_EQ(history.status().code(), StatusCode::kInvalidArgument);
    return std::string(MessageOf(history.status()));
  };
  EXPECT_THAT(mistake(HistoryBuilder()), HasSubstr("begins with Started"));
  EXPECT_THAT(mistake(HistoryBuilder().SignalReceived("s", 1)), HasSubstr("before Started"));
  EXPECT_THAT(mistake(UpToTheCharge().ActivityCompleted("Charge", std::string())),
              AllOf(HasSubstr("event 8"), HasSubstr("no activity \"Charge\" waits")));
  EXPECT_THAT(mistake(UpToTheCharge().TimerFired()), HasSubstr("no timer runs"));
  EXPECT_THAT(mistake(UpToTheCharge().NextTurn().TimerStarted(1s)), HasSubstr("no event of this turn"));
  EXPECT_THAT(mistake(HistoryBuilder().Started("W").Completed().TimerStarted(1s)),
              HasSubstr("follows the end"));
  EXPECT_THAT(mistake(UpToTheCharge().SignalReceived("s", std::string("\xff"))), HasSubstr("event 8"));
}

TEST(ReplayHistoryTest, SaysWhatDiffersAndWhere) {
  const History history = UpToTheCharge().Build().value();
  const Status status = ReplayHistory(With(Faster), history);
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr("event 3"), HasSubstr("TimerStarted"),
                                       HasSubstr("ActivityScheduled \"Charge\""),
                                       HasSubstr("testing_kit_test.cc:")));
  EXPECT_EQ(ReplayHistory(Registry(), history).code(), StatusCode::kNotFound);
  EXPECT_EQ(ReplayHistory(With(Checkout), {}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReplayHistoryJson(With(Checkout), "{").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReplayHistoryJson(With(Checkout), R"({"run_id": 7, "events": []})").code(),
            StatusCode::kInvalidArgument);
}

// A run whose code asks ctx.Random: its ids are in the file.
TEST(ReplayHistoryTest, RunsARecordedRunAgain) {
  Registry registry;
  registry.Bind("Dice", [](WorkflowContext& ctx) -> Workflow<void> {
    const bool heads = ctx.Random() % 2 == 0;
    for (int i = 0; i < (heads ? 1 : 2); ++i) co_await ctx.Run(kCharge, i);
  });
  registry.Bind(kCharge, [](int) { return std::string(); });
  auto engine = Engine::Open("memory:", registry);
  ASSERT_TRUE(engine.ok()) << engine.status();
  for (int i = 0; i < 8; ++i) {
    const auto run = engine->Start("Dice");
    ASSERT_TRUE(run->Result().ok());
    const std::string json = HistoryToJson(run->History().value(), run->key());
    EXPECT_EQ(ReplayHistoryJson(registry, json), absl::OkStatus()) << json;
  }
}

TEST(ReplayHistoryTest, ReplaysAWholeFolder) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("marathon-replay-" + std::to_string(getpid()));
  EXPECT_EQ(ReplayHistories(With(Checkout), folder).code(), StatusCode::kNotFound);
  std::filesystem::create_directory(folder);
  EXPECT_EQ(ReplayHistories(With(Checkout), folder).code(), StatusCode::kNotFound);
  const History matches = HistoryBuilder().Started("Checkout", 7).TimerStarted(24h)
                              .ActivityScheduled("Charge", 7).Build().value();
  std::ofstream(folder / "1.json") << HistoryToJson(matches);
  std::ofstream(folder / "notes.txt") << "no history";
  EXPECT_EQ(ReplayHistories(With(Checkout), folder), absl::OkStatus());

  const History differs = HistoryBuilder().Started("Checkout", 7).TimerStarted(24h).Build().value();
  std::ofstream(folder / "2.json") << HistoryToJson(differs);
  std::ofstream(folder / "3.json") << "no history";
  const Status status = ReplayHistories(With(Checkout), folder);
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), AllOf(Not(HasSubstr("1.json")), HasSubstr("2.json: event 4"),
                                       HasSubstr("3.json: history: this is not JSON")));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace marathon::testing::testing_kit_test
