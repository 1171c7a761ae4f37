// needs: testing
// program: ports
// The memory store against the suites of its ports, and what is its own.
#include "marathon/adapters/memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "marathon/testing/blob_store_conformance.h"
#include "marathon/testing/limiter_conformance.h"
#include "marathon/testing/manual_clock.h"
#include "marathon/testing/state_store_conformance.h"
#include "marathon/testing/stream_log_conformance.h"
#include "marathon/testing/task_queue_conformance.h"

namespace marathon::testing::memory_test {
namespace {

class MemoryHarness final : public StoreHarness {
 public:
  explicit MemoryHarness(MemoryOptions options = {}) : ports_(NewMemoryPorts(clock_, options)) {}
  Ports& ports() override { return ports_; }
  void Advance(std::chrono::microseconds by) override { clock_.Advance(by); }
  std::optional<int64_t> DueVisited() override { return MemoryDueVisited(*ports_.store); }
  bool KeepClosed(Duration keep, int64_t bytes) override {
    ports_ = NewMemoryPorts(clock_, {.closed_keep = keep, .closed_bytes = static_cast<size_t>(bytes)});
    return true;
  }

 private:
  ManualClock clock_;
  Ports ports_;
};

const HarnessMaker kMemory{
    "Memory", [] { return std::unique_ptr<StoreHarness>(std::make_unique<MemoryHarness>()); }};

INSTANTIATE_TEST_SUITE_P(Memory, StateStoreConformance, ::testing::Values(kMemory));
INSTANTIATE_TEST_SUITE_P(Memory, TaskQueueConformance, ::testing::Values(kMemory));
INSTANTIATE_TEST_SUITE_P(Memory, BlobStoreConformance, ::testing::Values(kMemory));
INSTANTIATE_TEST_SUITE_P(Memory, StreamLogConformance, ::testing::Values(kMemory));
INSTANTIATE_TEST_SUITE_P(Memory, LimiterConformance, ::testing::Values(kMemory));

// ---- Its own

// Runs the shortest possible workflow to its end.
void RunToEnd(StateStore& store, const std::string& id, size_t record_bytes) {
  StartRequest request;
  request.run = RunKey{id, id + "-run"};
  request.workflow_type = "Type";
  TurnCommit& turn = request.first_turn.emplace();
  turn.run = request.run;
  turn.new_version = 2;
  turn.record = std::string(record_bytes, 'x');
  turn.close = RunStatus::kCompleted;
  store.Start(std::move(request), [](const StatusOr<StartReply>& r) { ASSERT_TRUE(r.ok()); });
}

TEST(MemoryStoreTest, KeepsTheNewestClosedRunHoweverBigItIs) {
  MemoryHarness harness({.closed_bytes = 1000});
  RunToEnd(*harness.ports().store, "w", 100'000);
  harness.ports().store->Read({.run = {"w", ""}, .records = true},
                              [](const StatusOr<RunSnapshot>& r) {
                                ASSERT_TRUE(r.ok());
                                EXPECT_EQ(r->records.at(0).size(), 100'000u);
                              });
}

}  // namespace
}  // namespace marathon::testing::memory_test
