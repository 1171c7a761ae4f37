// Claims of which nobody knows whether they were applied: what they claimed begins once, whatever else happens.
// needs: testing
// program: testing
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "fixture.h"
#include "marathon/adapters/memory.h"
#include "marathon/testing/forwarding_state_store.h"

namespace marathon::tests::claims_in_doubt_test {
namespace {

constexpr ActivityDef<int(int)> kWork{"Work"};

// Applies claims and does not say so. The first look at what they have claimed is answered at once, others when told;
// ends do not arrive until then.
class DoubtfulStore final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override {
    watcher_ = watcher;
    base()->OpenSession(std::move(row), std::move(watcher), std::move(done));
  }
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    claims.Put(requests.front());
    base()->ClaimActivities(std::move(session), std::move(requests),
                            [done = std::move(done)](const StatusOr<std::vector<ActivityRow>>&) mutable {
                              done(Unknown("the connection broke"));
                            });
  }
  void Read(ReadRequest request, Done<RunSnapshot> done) override {
    if (!request.activities || looks_++ == 0) return base()->Read(std::move(request), std::move(done));
    const std::lock_guard lock(mutex_);
    later_.push_back([store = base(), request = std::move(request), done = std::move(done)]() mutable {
      store->Read(std::move(request), std::move(done));
    });
    late_looks.Put(1);
  }
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override {
    if (ends_arrive) return base()->EndAttempt(std::move(end), std::move(done));
    lost_ends.Put(1);
    done(Unavailable("away"));
  }

  // The store is another incarnation of itself, that has lost nothing.
  void Return(std::vector<HeldActivity> held) {
    if (const auto watcher = watcher_.lock()) watcher->OnReturned(std::move(held));
  }
  void AnswerLooks() {
    std::vector<Callback<void()>> later;
    {
      const std::lock_guard lock(mutex_);
      later = std::exchange(later_, {});
    }
    for (Callback<void()>& one : later) one();
  }

  Mailbox<ClaimRequest> claims;
  Mailbox<int> late_looks, lost_ends;
  std::atomic<bool> ends_arrive{false};

 private:
  std::weak_ptr<StoreWatcher> watcher_;
  std::atomic<int> looks_{0};
  std::mutex mutex_;
  std::vector<Callback<void()>> later_;
};

TEST(ClaimsInDoubtTest, WhatHasBegunBeginsNoMoreThoughItsStoreReturnsBeforeItsEndArrives) {
  ThreadRuntime runtime(2, 4);
  const Ports ports = NewMemoryPorts(runtime);
  const auto doubtful = std::make_shared<DoubtfulStore>(ports.store);
  std::atomic<int> begun{0};
  {
    Registry workflows, activities;
    workflows.Bind("W", [](WorkflowContext& ctx) -> Workflow<int> { co_return co_await ctx.Run(kWork, 1); });
    activities.Bind(kWork, [&](int x) {
      ++begun;
      return x;
    });
    auto starter = Engine::Open(ports, workflows);
    auto worker = Engine::Open(Ports{doubtful, ports.queue}, activities, {.activity_threads = 2});
    ASSERT_TRUE(starter.ok() && worker.ok());
    const auto run = starter->Start("W");
    ASSERT_TRUE(run.ok()) << run.status();

    const ClaimRequest claim = doubtful->claims.Take();
    doubtful->lost_ends.Get();  // it has begun, and ended
    ports.queue->Send({TaskHint{TaskKind::kActivity, "default", claim.key.run, claim.key.id, claim.epoch, "", "Work"}},
                      [](const Status&) {});  // once more
    doubtful->claims.Take();
    doubtful->late_looks.Get();
    doubtful->Return({{claim.key, claim.epoch + 1}});
    doubtful->AnswerLooks();
    doubtful->ends_arrive = true;
    EXPECT_EQ(run->Result<int>(kPatience).value_or(0), 1);
  }  // what has begun has ended
  EXPECT_EQ(begun, 1);
  runtime.Stop();
}

}  // namespace
}  // namespace marathon::tests::claims_in_doubt_test
