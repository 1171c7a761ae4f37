// The conformance suite of the TaskQueue port. A test program includes this header in one file,
// brings a StoreHarness (of which only the queue is used, and the store for its sessions), and
// instantiates TaskQueueConformance.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/task_queue.h"
#include "marathon/testing/store_harness.h"

namespace marathon::inline MARATHON_ABI::testing {

class TaskQueueConformance : public ::testing::TestWithParam<HarnessMaker> {
 protected:
  using Deliveries = StatusOr<std::vector<Delivery>>;

  TaskQueueConformance() : harness_(GetParam().make()) {}

  TaskQueue& queue() { return *harness_->ports().queue; }

  static TaskHint Turn(const std::string& run, const SessionId& preferred = "",
                       const std::string& task_queue = "queue") {
    return TaskHint{TaskKind::kTurn, task_queue, {run, run + "-run"}, 0, 0, preferred};
  }
  static TaskHint Activity(const std::string& run, EventId id, uint8_t priority = limits::kDefaultPriority,
                           const SessionId& preferred = "") {
    return TaskHint{TaskKind::kActivity, "queue", {run, run + "-run"}, id, 0, preferred, "Work", priority};
  }
  static ReceiveRequest ActivitiesFor(const SessionId& session, int max) {
    return ReceiveRequest{session, TaskKind::kActivity, {"queue"}, max};
  }
  static ReceiveRequest From(const SessionId& session, int max = 100,
                             std::vector<std::string> task_queues = {"queue"}) {
    return ReceiveRequest{session, TaskKind::kTurn, std::move(task_queues), max};
  }

  void Send(std::vector<TaskHint> hints) {
    const Status sent = Await<Status>(
        *harness_, [&](auto done) { queue().Send(std::move(hints), std::move(done)); });
    ASSERT_TRUE(sent.ok()) << sent;
  }
  void OpenSession(const SessionId& id) {
    SessionRow row;
    row.id = id;
    const auto opened = Await<StatusOr<Time>>(*harness_, [&](auto done) {
      harness_->ports().store->OpenSession(row, {}, std::move(done));
    });
    ASSERT_TRUE(opened.ok()) << opened.status();
  }
  // A Receive that may stay open.
  std::shared_ptr<AnswerSlot<Deliveries>> Receive(ReceiveRequest request) {
    auto slot = std::make_shared<AnswerSlot<Deliveries>>();
    queue().Receive(std::move(request), [slot](Deliveries d) { slot->Set(std::move(d)); });
    return slot;
  }
  // The hints that it brings; fails if it brings nothing.
  std::vector<TaskHint> Take(AnswerSlot<Deliveries>& slot) {
    for (int i = 0; i < kPumpsMax && !slot.has_value(); ++i) harness_->Pump();
    std::vector<TaskHint> hints;
    if (!slot.has_value()) {
      ADD_FAILURE() << "no hint came";
      return hints;
    }
    Deliveries deliveries = slot.Take();
    EXPECT_TRUE(deliveries.ok()) << deliveries.status();
    if (deliveries.ok()) {
      for (Delivery& delivery : *deliveries) hints.push_back(std::move(delivery.hint));
    }
    return hints;
  }
  std::vector<TaskHint> Take(ReceiveRequest request) { return Take(*Receive(std::move(request))); }
  // As many as there are to come; they may come in several answers, and in any order.
  std::vector<std::string> Collect(const ReceiveRequest& request, size_t count) {
    std::vector<std::string> names;
    while (names.size() < count) {
      const std::vector<TaskHint> some = Take(request);
      if (some.empty()) break;
      EXPECT_LE(some.size(), static_cast<size_t>(request.max));
      for (const TaskHint& hint : some) names.push_back(hint.run.workflow_id);
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  bool IsOpen(AnswerSlot<Deliveries>& slot) {
    for (int i = 0; i < 20; ++i) harness_->Pump();
    return !slot.has_value();
  }
  StatusCode CodeOf(AnswerSlot<Deliveries>& slot) {
    for (int i = 0; i < kPumpsMax && !slot.has_value(); ++i) harness_->Pump();
    return slot.has_value() ? slot.Take().status().code() : StatusCode::kOk;
  }

  // The activities of `count` hints, each asked for alone.
  std::vector<EventId> TakeOneByOne(const SessionId& session, int count) {
    std::vector<EventId> ids;
    for (int i = 0; i < count; ++i) {
      for (const TaskHint& hint : Take(ActivitiesFor(session, 1))) ids.push_back(hint.activity);
    }
    return ids;
  }
  // Makes a session one that receives, and is busy.
  void ReceiveOnce(const SessionId& session) {
    Send({Activity("once", 1)});
    ASSERT_EQ(Take(ActivitiesFor(session, 1)).size(), 1u);
  }

  std::unique_ptr<StoreHarness> harness_;
};

using Hints = std::vector<TaskHint>;
using Names = std::vector<std::string>;
using EventIds = std::vector<EventId>;

TEST_P(TaskQueueConformance, HintsWaitForAReceiver) {
  Send({Turn("a"), Turn("b")});
  EXPECT_EQ(Collect(From("s1"), 2), (Names{"a", "b"}));
}

TEST_P(TaskQueueConformance, AReceiverWaitsForHints) {
  const auto waiting = Receive(From("s1"));
  EXPECT_TRUE(IsOpen(*waiting));
  Send({Turn("a")});
  EXPECT_EQ(Take(*waiting), Hints{Turn("a")});
  EXPECT_TRUE(IsOpen(*Receive(From("s1")))) << "once";
}

TEST_P(TaskQueueConformance, NoMoreThanAskedForAreDelivered) {
  Hints all;
  Names names;
  for (int i = 0; i < 10; ++i) {
    names.push_back(std::to_string(i));
    all.push_back(Turn(names.back()));
  }
  Send(all);
  EXPECT_EQ(Collect(From("s1", 3), 10), names);
}

TEST_P(TaskQueueConformance, OnlyTheQueuesAskedForAreDelivered) {
  Send({Turn("a", "", "other"), Turn("b", "", "third"), Turn("c")});
  EXPECT_EQ(Take(From("s1")), Hints{Turn("c")});
  const auto waiting = Receive(From("s1"));
  EXPECT_TRUE(IsOpen(*waiting));
  EXPECT_EQ(Collect(From("s2", 100, {"third", "other"}), 2), (Names{"a", "b"}));
}

TEST_P(TaskQueueConformance, TurnsAndActivitiesAreApart) {
  Send({Activity("a", 3), Turn("a")});
  EXPECT_EQ(Take(From("s1")), Hints{Turn("a")});
  EXPECT_EQ(Take(ReceiveRequest{"s1", TaskKind::kActivity, {"queue"}, 1}),
            (Hints{Activity("a", 3)}));
}

TEST_P(TaskQueueConformance, ThePreferredSessionComesFirst) {
  OpenSession("s1");
  OpenSession("s2");
  const auto first = Receive(From("s1"));
  const auto second = Receive(From("s2"));
  Send({Turn("a", "s2")});
  EXPECT_EQ(Take(*second), (Hints{Turn("a", "s2")}));
  EXPECT_TRUE(IsOpen(*first));
  Send({Turn("b", "s2")});
  EXPECT_TRUE(IsOpen(*first)) << "it waits for s2, which is only busy";
  EXPECT_EQ(Take(From("s2")), (Hints{Turn("b", "s2")}));
}

TEST_P(TaskQueueConformance, AHintForAnUnknownSessionGoesToAnyone) {
  const auto waiting = Receive(From("s1"));
  Send({Turn("a", "long gone")});
  const Hints hints = Take(*waiting);
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].run.workflow_id, "a");
}

TEST_P(TaskQueueConformance, AcknowledgingTwiceIsHarmless) {
  Send({Turn("a")});
  const auto slot = Receive(From("s1"));
  for (int i = 0; i < kPumpsMax && !slot->has_value(); ++i) harness_->Pump();
  ASSERT_TRUE(slot->has_value());
  const Deliveries deliveries = slot->Take();
  ASSERT_TRUE(deliveries.ok());
  for (int i = 0; i < 2; ++i) {
    const Status acked = Await<Status>(
        *harness_, [&](auto done) { queue().Ack({deliveries->at(0).receipt}, std::move(done)); });
    EXPECT_TRUE(acked.ok()) << acked;
  }
}

TEST_P(TaskQueueConformance, WhatIsGivenBackGoesToOthers) {
  Send({Turn("a")});
  const auto slot = Receive(From("s1"));
  for (int i = 0; i < kPumpsMax && !slot->has_value(); ++i) harness_->Pump();
  ASSERT_TRUE(slot->has_value());
  Deliveries deliveries = slot->Take();
  ASSERT_TRUE(deliveries.ok());
  ASSERT_EQ(deliveries->size(), 1u);
  const auto other = Receive(From("s2"));
  EXPECT_TRUE(IsOpen(*other));
  std::vector<Delivery> back{std::move(deliveries->at(0))};
  const Status nacked = Await<Status>(
      *harness_, [&](auto done) { queue().Nack(std::move(back), std::move(done)); });
  EXPECT_TRUE(nacked.ok()) << nacked;
  EXPECT_EQ(Take(*other), Hints{Turn("a")});
}

// ---- Priorities. All are of one run, and so in one place, however a queue is divided.

TEST_P(TaskQueueConformance, TheSmallestPriorityComesFirstAndThenTheOldest) {
  if (!harness_->HintsComeInOrder()) GTEST_SKIP() << "it has no order";
  Send({Activity("a", 1), Activity("a", 2, 5), Activity("a", 3, 1)});
  Send({Activity("a", 4), Activity("a", 5, 1), Activity("a", 6, 4)});
  EXPECT_EQ(TakeOneByOne("s1", 3), (EventIds{3, 5, 1}));
  Send({Activity("a", 7, 2), Activity("a", 8, 4)});
  EXPECT_EQ(Take(ActivitiesFor("s1", 3)),
            (Hints{Activity("a", 7, 2), Activity("a", 4), Activity("a", 6, 4)}));
  EXPECT_EQ(TakeOneByOne("s2", 2), (EventIds{8, 2}));
}

TEST_P(TaskQueueConformance, WhatIsGivenBackKeepsItsPlace) {
  if (!harness_->HintsComeInOrder()) GTEST_SKIP() << "it has no order";
  Send({Activity("a", 1, 4), Activity("a", 2, 2), Activity("a", 3, 2), Activity("a", 4, 2)});
  const auto slot = Receive(ActivitiesFor("s1", 2));
  for (int i = 0; i < kPumpsMax && !slot->has_value(); ++i) harness_->Pump();
  ASSERT_TRUE(slot->has_value());
  Deliveries taken = slot->Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_EQ(taken->size(), 2u);
  Send({Activity("a", 5)});
  const Status nacked = Await<Status>(
      *harness_, [&](auto done) { queue().Nack(*std::move(taken), std::move(done)); });
  EXPECT_TRUE(nacked.ok()) << nacked;
  EXPECT_EQ(TakeOneByOne("s1", 5), (EventIds{2, 3, 4, 5, 1}));
}

TEST_P(TaskQueueConformance, ThePrioritiesOfWhatWaitsForASessionHoldToo) {
  if (!harness_->HintsComeInOrder()) GTEST_SKIP() << "it has no order";
  OpenSession("s1");
  ReceiveOnce("s1");
  Send({Activity("a", 1, 5, "s1"), Activity("a", 2, 3, "s1"), Activity("a", 3, 1, "s1")});
  EXPECT_EQ(TakeOneByOne("s1", 3), (EventIds{3, 2, 1}));
}

TEST_P(TaskQueueConformance, WhatWaitedForAStoppedSessionKeepsItsPriority) {
  if (!harness_->HintsComeInOrder()) GTEST_SKIP() << "it has no order";
  OpenSession("s1");
  ReceiveOnce("s1");
  Send({Activity("a", 1, 5, "s1"), Activity("a", 2, 3, "s1"), Activity("a", 3, 1, "s1")});
  queue().StopReceiving("s1");
  EXPECT_EQ(TakeOneByOne("s2", 3), (EventIds{3, 2, 1}));
}

TEST_P(TaskQueueConformance, AFlushComesToAnEndAndLosesNothing) {
  constexpr size_t kHints = 25;
  for (size_t i = 0; i < kHints; ++i) queue().Send({Turn(std::to_string(i))}, [](const Status&) {});
  const Status flushed = Await<Status>(*harness_, [&](auto done) { queue().Flush(std::move(done)); });
  EXPECT_EQ(flushed, Status());
  EXPECT_EQ(Collect(From("a"), kHints).size(), kHints);
}

TEST_P(TaskQueueConformance, StopReceivingEndsReceivesNowAndLater) {
  OpenSession("s1");
  const auto now = Receive(From("s1"));
  const auto other = Receive(From("s2"));
  queue().StopReceiving("s1");
  EXPECT_EQ(CodeOf(*now), StatusCode::kCancelled);
  EXPECT_EQ(CodeOf(*Receive(From("s1"))), StatusCode::kCancelled);
  EXPECT_TRUE(IsOpen(*other));
  Send({Turn("a", "s1")});
  EXPECT_EQ(Take(*other).size(), 1u) << "what it was to get goes to others";
}

TEST_P(TaskQueueConformance, WhatWaitedForAStoppedSessionGoesToOthers) {
  OpenSession("s1");
  Send({Turn("a", "s1")});
  const auto other = Receive(From("s2"));
  queue().StopReceiving("s1");
  const Hints hints = Take(*other);
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].run.workflow_id, "a");
}

}  // namespace marathon::inline MARATHON_ABI::testing
