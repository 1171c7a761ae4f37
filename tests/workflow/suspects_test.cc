// Activities that have seen workers die: they run one at a time, and those that have to wait for each
// other are not counted among the dead.
// needs: testing
// program: testing
#include <gtest/gtest.h>

#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"
#include "marathon/adapters/memory.h"
#include "marathon/limits.h"
#include "marathon/testing/forwarding_state_store.h"

namespace marathon::tests::suspects_test {
namespace {

constexpr ActivityDef<int(int)> kSuspicious{"Suspicious"};

// Says of each activity that it has killed as many workers as makes it a suspect, and notes what is
// given back.
class SuspiciousStore final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    base()->ClaimActivities(std::move(session), std::move(requests),
                            [done = std::move(done)](StatusOr<std::vector<ActivityRow>> rows) mutable {
                              if (rows.ok()) {
                                for (ActivityRow& row : *rows) row.deliveries = limits::kSuspectDeliveries;
                              }
                              done(std::move(rows));
                            });
  }
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override {
    if (end.kind == AttemptEnd::Kind::kGiveBack) given_back_.Put(end);
    base()->EndAttempt(std::move(end), std::move(done));
  }
  AttemptEnd GivenBack() { return given_back_.Get(); }

 private:
  Mailbox<AttemptEnd> given_back_;
};

TEST(SuspectsTest, OneRunsAndTheOthersAreGivenBackForAMoment) {
  ThreadRuntime runtime(2, 4);
  const Ports ports = NewMemoryPorts(runtime);
  const auto suspicious = std::make_shared<SuspiciousStore>(ports.store);
  Mailbox<int> began, go;
  {
    Registry workflows, activities;
    workflows.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> {
      auto first = ctx.Start(kSuspicious, 1);
      auto second = ctx.Start(kSuspicious, 2);
      const int sum = co_await first;
      co_return sum + co_await second;
    });
    activities.Bind(kSuspicious, [&](int x) {
      began.Put(x);
      return go.Take();
    });
    auto starter = Engine::Open(ports, workflows);
    auto worker = Engine::Open(Ports{suspicious, ports.queue}, activities, {.activity_threads = 4});
    ASSERT_TRUE(starter.ok() && worker.ok());
    const auto run = starter->Start("W");
    ASSERT_TRUE(run.ok()) << run.status();
    const int alone = began.Take();
    const AttemptEnd other = suspicious->GivenBack();
    EXPECT_GT(other.delay, Duration(0));
    EXPECT_EQ(began.size(), 0u);
    go.Put(20);
    EXPECT_EQ(began.Take(), 3 - alone);
    go.Put(22);
    EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 42);
  }
  runtime.Stop();
}

}  // namespace
}  // namespace marathon::tests::suspects_test
