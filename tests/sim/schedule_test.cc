// Schedules in virtual time: days of them, with crashes, outages and each overlap policy.
// needs: testing
// program: sim
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/engine/payload_store.h"
#include "marathon/engine/schedules.h"
#include "marathon/event_codec.h"
#include "marathon/marathon.h"
#include "marathon/schedule/plan.h"
#include "marathon/testing/sim_cluster.h"
#include "../sanitized.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MARATHON_TEST_LEAKS
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(MARATHON_TEST_LEAKS)
// A store in one process with its clients holds what they await, and that holds them: followed runs that are open
// when a test ends are a circle, which a connection would cut.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace marathon::testing::schedule_test {
namespace {

using namespace std::chrono_literals;
using detail::ScheduleCommand;
using detail::ScheduleCommandKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kFaultySeeds = kSanitized ? 3 : 10;

// "Job" sleeps for its input, in minutes, or fails if that is negative: badly, if it is -2.
std::shared_ptr<const Registry> Jobs(SimProcess&) {
  auto registry = std::make_shared<Registry>();
  registry->Bind("Job", [](WorkflowContext& ctx, int64_t minutes) -> Workflow<int64_t> {
    if (minutes == -2) throw std::runtime_error("caf\xe9" + std::string(5 << 20, 'x'));
    if (minutes < 0) throw ApplicationError("no work today");
    if (minutes > 0) co_await ctx.Sleep(std::chrono::minutes(minutes));
    co_return minutes;
  });
  return registry;
}

ScheduleConfig Hourly(int64_t minutes, OverlapPolicy overlap = OverlapPolicy::kSkip) {
  ScheduleConfig config;
  config.spec.crons = {"0 * * * *"};
  config.action = {"Job", *Encode(minutes)};
  config.options.overlap = overlap;
  return config;
}

class ScheduleTest : public ::testing::Test {
 protected:
  // A world that begins at 2030-01-01T00:00:00Z, with a schedule "s".
  void Begin(const ScheduleConfig& config, uint64_t seed = 1, int workers = 1,
             FaultRates rates = FaultRates::None()) {
    ASSERT_TRUE(detail::CheckSchedule("s", config).ok());
    world_ = std::make_unique<SimWorld>(seed);
    memory_ = NewMemoryPorts(*world_);
    SimCluster::Options options;
    options.workers = workers;
    options.rates = rates;
    options.registry = Jobs;
    cluster_ = std::make_unique<SimCluster>(*world_, memory_, std::move(options), counts_);
    cluster_->Begin();
    At(1s);
    detail::ScheduleState state;
    state.id = "s";
    state.config = config;
    state.seen_until = world_->Now();
    StartCall call;
    call.workflow_type = detail::kScheduleWorkflow;
    call.options.workflow_id = detail::ScheduleWorkflowId("s");
    call.options.request_id = "s";
    call.input = *detail::EncodeSchedule(state);
    Create(std::move(call));
    At(2s);
  }
  void TearDown() override { cluster_.reset(); }

  void Create(StartCall call) {
    cluster_->client().host->Start(StartCall(call), [this, call](const StatusOr<StartReply>& started) {
      if (started.ok()) return;
      ASSERT_TRUE(IsTransient(started.status())) << started.status();
      Create(call);
    });
  }

  void At(Duration since_begin) {
    world_->RunUntil(SimWorld::Options().start + since_begin);
  }

  void Send(ScheduleCommand command) {
    std::optional<Status> sent;
    cluster_->client().host->Signal({detail::ScheduleWorkflowId("s"), ""},
                                    std::string(detail::kScheduleSignal),
                                    *detail::EncodeSchedule(command), {},
                                    [&](const Status& status) { sent = status; });
    world_->RunUntil([&] { return sent.has_value(); });
    ASSERT_TRUE(sent->ok()) << *sent;
    world_->RunUntil(world_->Now() + 5s);
  }
  void Send(ScheduleCommandKind kind, std::string note = "") {
    ScheduleCommand command;
    command.kind = kind;
    command.note = std::move(note);
    command.request_id = std::to_string(++requests_);
    Send(std::move(command));
  }

  ScheduleDescription Look() {
    ReadRequest request;
    request.run.workflow_id = detail::ScheduleWorkflowId("s");
    request.records = true;
    request.max_record_bytes = 1 << 30;
    ScheduleDescription description;
    PayloadStore(memory_.store, limits::kPayloadInlineBytes).Read(std::move(request), [&](const StatusOr<RunSnapshot>& read) {
      ASSERT_TRUE(read.ok()) << read.status();
      History history;
      for (const std::string& record : read->records) {
        ASSERT_TRUE(AppendRecord(record, history).ok());
      }
      const auto state = detail::ReplaySchedule(read->row.key, history);
      ASSERT_TRUE(state.ok()) << state.status();
      description = detail::DescribeSchedule(*state, world_->Now());
      events_ = static_cast<int64_t>(history.size());
    });
    return description;
  }

  // All runs of "Job" in the order of their starts: "01:00 at 01:00", the time they were for and that of the
  // start, with how they ended.
  std::vector<std::string> Runs() {
    std::vector<std::string> runs;
    ListRequest request;
    request.workflow_type = "Job";
    request.limit = 10'000;
    memory_.store->List(request, [&](const StatusOr<ListReply>& list) {
      ASSERT_TRUE(list.ok());
      for (const RunRow& row : list->runs) {
        std::string text = row.key.workflow_id.str().substr(2);
        if (text.starts_with("2030-01-01T")) text = text.substr(11, 5);
        text += " at " + ScheduleTimeText(row.start_time).substr(11, 5);
        if (row.status == RunStatus::kRunning) text += " open";
        if (row.status == RunStatus::kTerminated) text += " terminated";
        if (row.status == RunStatus::kCanceled) text += " canceled";
        if (row.status == RunStatus::kFailed) text += " failed";
        runs.insert(runs.begin(), text);
      }
    });
    return runs;
  }

  std::unique_ptr<SimWorld> world_;
  Ports memory_;
  FaultCounts counts_;
  std::unique_ptr<SimCluster> cluster_;
  int requests_ = 0;
  int64_t events_ = 0;  // of the schedule's run, when it was looked at last
};

TEST_F(ScheduleTest, StartsARunAtEachOfItsTimes) {
  Begin(Hourly(0));
  At(3h + 30min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "02:00 at 02:00", "03:00 at 03:00"));
  const ScheduleDescription seen = Look();
  EXPECT_EQ(seen.id, "s");
  EXPECT_EQ(seen.counts.started, 3);
  EXPECT_FALSE(seen.running.has_value());
  ASSERT_EQ(seen.recent.size(), 3u);
  EXPECT_EQ(seen.recent[2].state, ScheduleRunState::kCompleted);
  EXPECT_EQ(seen.recent[2].workflow_id, "s/2030-01-01T03:00:00Z");
  ASSERT_EQ(seen.next_times.size(), 10u);
  EXPECT_EQ(ScheduleTimeText(seen.next_times[0]), "2030-01-01T04:00:00Z");
}

TEST_F(ScheduleTest, JitterPutsStartsOff) {
  ScheduleConfig config = Hourly(0);
  config.spec.jitter = 30min;
  Begin(config);
  At(24h + 45min);
  const std::vector<std::string> runs = Runs();
  ASSERT_EQ(runs.size(), 24u);
  int late = 0;
  for (const std::string& run : runs) {
    if (run.starts_with("2030")) continue;  // the last, of the next day
    EXPECT_EQ(run.substr(0, 2), run.substr(9, 2)) << run;
    late += run.substr(12) > "05" ? 1 : 0;
  }
  EXPECT_GT(late, 10);
}

// ---- Overlap

TEST_F(ScheduleTest, SkipPassesOverTimesWhileARunIsOpen) {
  Begin(Hourly(90));
  At(5h + 10min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "03:00 at 03:00", "05:00 at 05:00 open"));
  EXPECT_EQ(Look().counts.overlapped, 2);
}

TEST_F(ScheduleTest, BufferOneKeepsOneStart) {
  Begin(Hourly(150, OverlapPolicy::kBufferOne));
  At(7h + 50min);  // 02:00 waits, 03:00 finds the place taken; 04:00 waits for that of 02:00; …
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "02:00 at 03:30", "04:00 at 06:00 open"));
  EXPECT_EQ(Look().buffered, 1);
  EXPECT_EQ(Look().counts.overlapped, 3);
}

TEST_F(ScheduleTest, BufferAllStartsAllOneAfterAnother) {
  ScheduleConfig config = Hourly(90, OverlapPolicy::kBufferAll);
  config.spec.end = SimWorld::Options().start + 4h;
  Begin(config);
  At(8h);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "02:00 at 02:30", "03:00 at 04:00", "04:00 at 05:30"));
}

TEST_F(ScheduleTest, BufferAllHasAnEnd) {
  ScheduleConfig config = Hourly(60 * 24 * 365, OverlapPolicy::kBufferAll);
  config.spec.crons = {"* * * * *"};
  Begin(config);
  At(24h + 30s);  // 1440 times: one runs, a thousand wait
  EXPECT_EQ(Look().buffered, 1'000);
  EXPECT_EQ(Look().counts.dropped, 1'440 - 1'001);
}

TEST_F(ScheduleTest, TerminateOtherMakesWay) {
  Begin(Hourly(600, OverlapPolicy::kTerminateOther));
  At(3h + 10min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00 terminated", "02:00 at 02:00 terminated",
                                  "03:00 at 03:00 open"));
  EXPECT_EQ(Look().recent[0].state, ScheduleRunState::kTerminated);
}

TEST_F(ScheduleTest, CancelOtherLetsItCleanUp) {
  Begin(Hourly(600, OverlapPolicy::kCancelOther));
  At(3h + 10min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00 canceled", "02:00 at 02:00 canceled",
                                  "03:00 at 03:00 open"));
  EXPECT_EQ(Look().recent[0].state, ScheduleRunState::kCanceled);
}

TEST_F(ScheduleTest, AllowAllRunsSideBySide) {
  Begin(Hourly(150, OverlapPolicy::kAllowAll));
  At(3h + 10min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00 open", "02:00 at 02:00 open", "03:00 at 03:00 open"));
  EXPECT_FALSE(Look().running.has_value());
}

// ---- Outages

TEST_F(ScheduleTest, MissedTimesAreMadeUpForWithinTheWindow) {
  ScheduleConfig config = Hourly(0, OverlapPolicy::kAllowAll);
  config.options.catch_up_window = 2h + 30min;
  Begin(config);
  At(1h + 10min);
  world_->Pause(cluster_->worker(0)->runtime.actor(), 5h);  // until 06:10
  At(7h + 10min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "04:00 at 06:10", "05:00 at 06:10", "06:00 at 06:10",
                                  "07:00 at 07:00"));
  EXPECT_EQ(Look().counts.missed, 2);
}

TEST_F(ScheduleTest, AYearOfMissedSecondsIsPassedOverAtOnce) {
  ScheduleConfig config = Hourly(0, OverlapPolicy::kAllowAll);
  config.spec = {.intervals = {{.every = 1s}}};
  config.options.catch_up_window = 10s;
  Begin(config);
  world_->Pause(cluster_->worker(0)->runtime.actor(), 24h * 365);
  At(24h * 365 + 60s);
  const ScheduleDescription seen = Look();
  EXPECT_GE(seen.counts.missed, 1'000);
  EXPECT_GE(seen.counts.started, 58);  // since the worker is back, and ten seconds before
  EXPECT_LE(seen.counts.started, 75);
}

// Every time has its run, once, whatever becomes of workers and messages.
TEST_F(ScheduleTest, CrashesLoseNoTimeAndDoubleNone) {
  ScheduleConfig config = Hourly(0, OverlapPolicy::kBufferAll);
  config.spec.crons = {"* * * * *"};
  for (uint64_t seed = 1; seed <= kFaultySeeds; ++seed) {
    SCOPED_TRACE(seed);
    Begin(config, seed, 3, FaultRates::Plain());
    At(20min);
    cluster_->Heal();
    At(30min + 30s);
    std::map<std::string, int> times;
    for (const std::string& run : Runs()) {
      if (!run.ends_with("open")) ++times[run.substr(0, run.find(' '))];
    }
    EXPECT_EQ(times.size(), 30u);
    for (const auto& [time, count] : times) EXPECT_EQ(count, 1) << time;
    EXPECT_EQ(Look().counts.started, 30);
    EXPECT_EQ(Look().counts.missed, 0);
    cluster_.reset();
  }
}

// Workers that only take turns: nobody is there to receive activities from the queue.
TEST_F(ScheduleTest, FollowsARunOfDaysThroughCrashes) {
  Begin(Hourly(60 * 70));
  for (int hour = 2; hour < 60; hour += 7) {
    At(std::chrono::hours(hour));
    cluster_->Crash(0);
  }
  At(71h + 30min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00"));
  EXPECT_EQ(Look().recent[0].state, ScheduleRunState::kCompleted);
  At(72h + 5min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", HasSubstr("2030-01-04T00:00:00Z at 00:00 open")));
}

// ---- A long life

TEST_F(ScheduleTest, ContinuesAsNewAndKeepsItsHistoryShort) {
  ScheduleConfig config = Hourly(0);
  config.spec.crons = {"* * * * *"};
  Begin(config);
  At(24h - 30s);
  const ScheduleDescription seen = Look();
  EXPECT_EQ(seen.counts.started, 24 * 60 - 1);
  EXPECT_EQ(seen.counts.overlapped + seen.counts.missed + seen.counts.dropped, 0);
  EXPECT_LT(events_, limits::kHistoryHintEvents + 100);
  EXPECT_EQ(Runs().size(), 24u * 60 - 1);
}

TEST_F(ScheduleTest, FollowsItsRunThroughContinueAsNew) {
  ScheduleConfig config = Hourly(2'000);
  config.spec.crons = {"* * * * *"};
  Begin(config);
  At(2'000min);
  EXPECT_EQ(Look().counts.overlapped, 1'998);
  EXPECT_LT(events_, limits::kHistoryHintEvents);
  At(2'003min + 30s);  // the run of 00:01 has ended by then, and another begun
  const ScheduleDescription seen = Look();
  ASSERT_EQ(seen.recent.size(), 2u);
  EXPECT_EQ(seen.recent[0].state, ScheduleRunState::kCompleted);
}

// ---- Commands

TEST_F(ScheduleTest, PauseAndResume) {
  Begin(Hourly(0));
  At(1h + 10min);
  Send(ScheduleCommandKind::kPause, "the disk is full");
  EXPECT_TRUE(Look().config.options.paused);
  EXPECT_EQ(Look().config.options.note, "the disk is full");
  EXPECT_THAT(Look().next_times, IsEmpty());
  At(3h + 10min);
  Send(ScheduleCommandKind::kResume);
  At(4h + 10min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "04:00 at 04:00"));
  EXPECT_EQ(Look().config.options.note, "");
  EXPECT_EQ(Look().counts.missed, 0);
}

TEST_F(ScheduleTest, TriggerStartsAtOnceAndWhilePaused) {
  ScheduleConfig config = Hourly(30);
  config.options.paused = true;
  Begin(config);
  At(10min);
  Send(ScheduleCommandKind::kTrigger);
  Send(ScheduleCommandKind::kTrigger);  // skipped: the first is open
  ScheduleCommand beside;
  beside.kind = ScheduleCommandKind::kTrigger;
  beside.request_id = "beside";
  beside.overlap = OverlapPolicy::kAllowAll;
  Send(beside);
  EXPECT_THAT(Runs(), ElementsAre("trigger-1 at 00:10 open", "trigger-3 at 00:10 open"));
  At(2h);
  EXPECT_EQ(Runs().size(), 2u);
}

TEST_F(ScheduleTest, BackfillStartsTimesOfThePastAlsoAgain) {
  Begin(Hourly(10, OverlapPolicy::kBufferAll));
  At(1h + 20min);
  ScheduleCommand backfill;
  backfill.kind = ScheduleCommandKind::kBackfill;
  backfill.request_id = "backfill";
  const Time begin = SimWorld::Options().start;
  backfill.times = {begin - 2h, begin - 1h, begin + 1h};
  Send(backfill);
  At(1h + 55min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "2029-12-31T22:00:00Z at 01:20",
                                  "2029-12-31T23:00:00Z at 01:30", "01:00 at 01:40"));
  EXPECT_EQ(Look().counts.started, 4);
}

TEST_F(ScheduleTest, UpdateReplacesTheSpecFromNowOn) {
  Begin(Hourly(90));
  At(1h + 10min);
  ScheduleCommand update;
  update.kind = ScheduleCommandKind::kUpdate;
  update.config = Hourly(0, OverlapPolicy::kBufferOne);
  update.config->spec.crons = {"15,20 * * * *"};
  Send(update);
  EXPECT_EQ(ScheduleTimeText(Look().next_times[0]), "2030-01-01T01:15:00Z");
  At(3h + 10min);
  // The run that was open is followed: 01:15 waits for it, 01:20 and 02:15, 02:20 find the place taken.
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "01:15 at 02:30"));
}

TEST_F(ScheduleTest, PausesItselfWhenARunFails) {
  ScheduleConfig config = Hourly(-1);
  config.options.pause_on_failure = true;
  Begin(config);
  At(3h);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00 failed"));
  const ScheduleDescription seen = Look();
  EXPECT_TRUE(seen.config.options.paused);
  EXPECT_THAT(seen.config.options.note, HasSubstr("no work today"));
  EXPECT_EQ(seen.recent[0].state, ScheduleRunState::kFailed);
}

// The schedule tells of it as much as it can keep, and goes on.
TEST_F(ScheduleTest, ARunMayFailWithAnyText) {
  Begin(Hourly(-2));
  At(3h + 30min);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00 failed", "02:00 at 02:00 failed", "03:00 at 03:00 failed"));
  const ScheduleDescription seen = Look();
  ASSERT_EQ(seen.recent.size(), 3u);
  EXPECT_THAT(seen.recent[2].failure, HasSubstr("caf?xxx"));
  EXPECT_LE(seen.recent[2].failure.size(), limits::kMaxReasonBytes);
}

TEST_F(ScheduleTest, StopsAfterItsLastAction) {
  ScheduleConfig config = Hourly(0);
  config.options.remaining_actions = 2;
  Begin(config);
  At(5h);
  EXPECT_THAT(Runs(), ElementsAre("01:00 at 01:00", "02:00 at 02:00"));
  EXPECT_EQ(Look().config.options.remaining_actions, 0);
  EXPECT_THAT(Look().next_times, IsEmpty());
  Send(ScheduleCommandKind::kTrigger);  // a trigger is not one of them
  EXPECT_EQ(Runs().size(), 3u);
}

TEST_F(ScheduleTest, AWorkflowIdThatIsTakenIsReportedAndTheScheduleGoesOn) {
  Begin(Hourly(0));
  StartCall call;
  call.workflow_type = "Job";
  call.options.workflow_id = "s/2030-01-01T01:00:00Z";
  call.input = *Encode(int64_t{600});
  Create(std::move(call));
  At(2h + 10min);
  const ScheduleDescription seen = Look();
  ASSERT_EQ(seen.recent.size(), 2u);
  EXPECT_EQ(seen.recent[0].state, ScheduleRunState::kNotStarted);
  EXPECT_THAT(seen.recent[0].failure, HasSubstr("s/2030-01-01T01:00:00Z"));
  EXPECT_EQ(seen.recent[1].state, ScheduleRunState::kCompleted);
}

TEST_F(ScheduleTest, ASignalThatIsNoCommandIsPassedOver) {
  Begin(Hourly(0));
  std::optional<Status> sent;
  cluster_->client().host->Signal({detail::ScheduleWorkflowId("s"), ""},
                                  std::string(detail::kScheduleSignal), *Encode(std::string("pause!")),
                                  {}, [&](const Status& status) { sent = status; });
  At(1h + 10min);
  ASSERT_TRUE(sent.has_value() && sent->ok());
  EXPECT_EQ(Runs().size(), 1u);
}

}  // namespace
}  // namespace marathon::testing::schedule_test
