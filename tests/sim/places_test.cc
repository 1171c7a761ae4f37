// Places of concurrency keys whose workers die, in virtual time: nothing leaks for long, and nobody who works loses its
// place.
// needs: testing
// program: sim
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/marathon.h"
#include "marathon/testing/forwarding_limiter.h"
#include "marathon/testing/sim_cluster.h"

namespace marathon::testing::places_test {
namespace {

using namespace std::chrono_literals;

constexpr ActivityDef<int64_t(int64_t)> kWork{"Work"};

// Passes on what it is asked, but for one Leave, when it is told that its caller dies then.
class MortalLimiter final : public ForwardingLimiter {
 public:
  using ForwardingLimiter::ForwardingLimiter;

  // The next one comes to nothing.
  void DieAtLeave(std::function<void()> die) { die_ = std::move(die); }
  // The next one is done, and nobody hears of it.
  void LoseAnswerOfLeave(std::function<void()> die) {
    DieAtLeave(std::move(die));
    done_first_ = true;
  }

  void Leave(LeavePlace request, Done<LeaveReply> done) override {
    const auto die = std::exchange(die_, nullptr);
    if (die == nullptr) return base().Leave(std::move(request), std::move(done));
    if (done_first_) base().Leave(std::move(request), [](const StatusOr<LeaveReply>&) {});
    die();
  }

 private:
  std::function<void()> die_;
  bool done_first_ = false;
};

class PlacesTest : public ::testing::Test {
 protected:
  PlacesTest() { ports_.limiter = limiter_; }

  // Workers of workflow "W", whose input is in seconds how long its activity takes.
  void Begin(int workers) {
    SimCluster::Options options;
    options.workers = workers;
    options.rates = FaultRates::None();
    options.engine.lease = 10s;
    options.registry = [this](SimProcess& process) {
      auto registry = std::make_shared<Registry>();
      registry->Bind("W", [](WorkflowContext& ctx, int64_t seconds) -> Workflow<int64_t> {
        co_return co_await ctx.Run(kWork, seconds, {.start_to_close_timeout = 1h, .concurrency_key = "k"});
      });
      registry->Bind(kWork, [this, &process](ActivityContext&, const int64_t& seconds, ActivityCompletion<int64_t> done) {
        begun_.push_back({&process, world_.Now()});
        world_.After(process.runtime.actor(), seconds * 1'000'000, "worked",
                     [seconds, done = std::move(done)]() mutable { done.Complete(seconds); });
      });
      return registry;
    };
    cluster_ = std::make_unique<SimCluster>(world_, ports_, std::move(options), counts_);
    cluster_->Begin();
    world_.RunUntil(world_.Now() + 1s);
  }

  void Start(size_t worker, int64_t seconds) {
    Host& host = *cluster_->worker(worker)->host;
    StartCall call;
    call.options.workflow_id = "run " + std::to_string(++started_);
    call.workflow_type = "W";
    call.input = *Encode(seconds);
    host.Start(std::move(call), [](const StatusOr<StartReply>& started) { EXPECT_TRUE(started.ok()) << started.status(); });
    world_.RunUntil(world_.Now() + 1s);
  }
  bool RunUntilBegun(size_t attempts, Duration within) {
    world_.RunUntil([&] { return begun_.size() >= attempts; }, world_.Now() + within);
    return begun_.size() == attempts;
  }

  struct Begun {
    const SimProcess* process;
    Time at;
  };

  SimWorld world_{1};
  Ports ports_ = NewMemoryPorts(world_);
  std::shared_ptr<MortalLimiter> limiter_ = std::make_shared<MortalLimiter>(ports_.limiter);
  FaultCounts counts_;
  std::unique_ptr<SimCluster> cluster_;
  std::vector<Begun> begun_;
  int started_ = 0;
};

TEST_F(PlacesTest, TheNextOneBeginsElsewhereAtOnce) {
  Begin(2);
  Start(0, 60);
  Start(1, 60);
  Start(1, 60);
  ASSERT_TRUE(RunUntilBegun(2, 62s));
  ASSERT_TRUE(RunUntilBegun(3, 62s));
  for (size_t i = 1; i < begun_.size(); ++i) {
    EXPECT_GE(begun_[i].at - begun_[i - 1].at, 60s);
    EXPECT_LT(begun_[i].at - begun_[i - 1].at, 61s);
  }
}

// Its lease ends, another worker claims the activity anew and has the place that the first one had.
TEST_F(PlacesTest, ADeadWorkersActivityKeepsItsPlace) {
  Begin(2);
  Start(0, 300);
  Start(1, 5);
  ASSERT_TRUE(RunUntilBegun(1, 1s));
  cluster_->Crash(0);
  ASSERT_TRUE(RunUntilBegun(2, 30s));
  EXPECT_FALSE(RunUntilBegun(3, 290s)) << "the second run waits for the first, which has begun again";
  EXPECT_TRUE(RunUntilBegun(3, 30s));
  EXPECT_GE(begun_[2].at - begun_[1].at, 300s);
}

// The activity is done and nobody left its place. Whoever is refused asks whether it still is at work.
TEST_F(PlacesTest, WhoDiesBeforeItLeavesIsFoundOut) {
  Begin(2);
  Start(0, 20);
  Start(1, 5);
  limiter_->DieAtLeave([this] { world_.After(kWorldActor, 0, "crash", [this] { cluster_->Crash(0); }); });
  EXPECT_FALSE(RunUntilBegun(2, 25s));
  EXPECT_TRUE(RunUntilBegun(2, limits::kPlaceLease + 3 * limits::kPlaceRetry));
}

// Who waits is told by whoever leaves; where that one dies first, it asks again by itself.
TEST_F(PlacesTest, AWordThatIsLostIsNotWaitedForLong) {
  Begin(2);
  Start(0, 20);
  Start(1, 5);
  limiter_->LoseAnswerOfLeave([this] { world_.After(kWorldActor, 0, "crash", [this] { cluster_->Crash(0); }); });
  EXPECT_FALSE(RunUntilBegun(2, 25s));
  EXPECT_TRUE(RunUntilBegun(2, 2 * limits::kPlaceRetry));
}

// A suspect that still works is let alone, however long it takes and however often it is looked after.
TEST_F(PlacesTest, WhoWorksForLongKeepsItsPlace) {
  Begin(2);
  Start(0, 1'200);
  Start(1, 5);
  EXPECT_FALSE(RunUntilBegun(2, 1'190s));
  EXPECT_TRUE(RunUntilBegun(2, 20s));
}

}  // namespace
}  // namespace marathon::testing::places_test
