// StateStore conformance: events that are awaited. Included by state_store_conformance.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

TEST_P(StateStoreConformance, WhoeverAwaitsAnEventIsToldOfIt) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  const TurnCommit first = Turn(Run("w"), 0, 2, "", 1);
  const auto told = AwaitEvent(Run("w"), 0, &first);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->records, Names{first.record});
  EXPECT_EQ(told->row.version, 2);
  EXPECT_FALSE(told->more_records);
  const TurnCommit second = Turn(Run("w"), 2, 5, "");
  EXPECT_EQ(AwaitEvent(Run("w"), 2, &second)->records, Names{second.record});
  // What is there already, from anywhere.
  EXPECT_EQ(AwaitEvent(Run("w"), 0)->records, (Names{first.record, second.record}));
  EXPECT_EQ(AwaitEvent(Run("w"), 1)->records, (Names{first.record, second.record}));
  EXPECT_EQ(AwaitEvent(Run("w"), 2)->records, Names{second.record});
  EXPECT_EQ(AwaitEvent(Run("w"), 4)->records, Names{second.record});
  EXPECT_EQ(AwaitEvent({"w", ""}, 4)->row.key, Run("w"));
}

// Whatever the commit that comes then says, who is far behind gets the records in order.
TEST_P(StateStoreConformance, ManyFollowOneRun) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  auto seen = std::make_shared<std::vector<std::string>>();
  for (const EventId after : {0, 2, 3, 2}) {
    AwaitRequest request{Run("w")};
    request.after = after;
    store().Await(std::move(request), [seen, after](const StatusOr<RunSnapshot>& told) {
      ASSERT_TRUE(told.ok()) << told.status();
      seen->push_back(std::to_string(after) + ":" + std::to_string(told->row.version));
    });
  }
  const auto told = [&](size_t count) {
    for (int i = 0; i < kPumpsMax && seen->size() < count; ++i) harness().Pump();
    std::ranges::sort(*seen);
    return std::exchange(*seen, {});
  };
  ASSERT_TRUE(Commit(Turn(Run("w"), 0, 2, "", 1)).ok());
  EXPECT_EQ(told(1), Names{"0:2"});
  ASSERT_TRUE(Commit(Turn(Run("w"), 2, 3, "")).ok());
  EXPECT_EQ(told(2), (Names{"2:3", "2:3"}));
  ASSERT_TRUE(Commit(Turn(Run("w"), 3, 4, "")).ok());
  EXPECT_EQ(told(1), Names{"3:4"});
}

TEST_P(StateStoreConformance, ACommitWithoutAnEventTellsNobody) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  ASSERT_TRUE(Commit(Turn(Run("w"), 0, 2, "", 1)).ok());
  auto told = std::make_shared<int>(0);
  AwaitRequest request{Run("w")};
  request.after = 2;
  const uint64_t name = store().Await(request, [told](auto) { ++*told; });
  ASSERT_TRUE(Put(Run("w"), Update("u")).ok());
  ASSERT_TRUE(Commit(Answering(Turn(Run("w"), 2, 2, "", 2), {Rejected("u")})).ok());
  for (int i = 0; i < 20; ++i) harness().Pump();
  EXPECT_EQ(*told, 0);
  store().CancelAwait(name);
  EXPECT_EQ(told.use_count(), 1) << "its callback is gone";
  ASSERT_TRUE(Commit(Turn(Run("w"), 2, 3, "")).ok());
  EXPECT_EQ(*told, 0);
}

TEST_P(StateStoreConformance, TheEndIsTheLastEvent) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  const auto told = AwaitEvent(Run("w"), 0, &close);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->records, Names{close.record});
  EXPECT_EQ(told->row.status, RunStatus::kCompleted);
  const auto over = AwaitEvent(Run("w"), 2);
  ASSERT_TRUE(over.ok()) << over.status();
  EXPECT_TRUE(over->records.empty());
  EXPECT_EQ(over->row.status, RunStatus::kCompleted);
}

TEST_P(StateStoreConformance, WhoAwaitsAnEventHearsOfTheRunThatGoesOn) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  const TurnCommit next = Continuing("w", 1);
  const auto told = AwaitEvent(Run("w"), 0, &next);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->records, Names{next.record});
  ASSERT_TRUE(told->row.links.has_value());
  EXPECT_EQ(told->row.links->next_run_id, Next("w").run_id);
  const TurnCommit first = Turn(Next("w"), 0, 2, "", 1);
  EXPECT_EQ(AwaitEvent(Next("w"), 0, &first)->records, Names{first.record});
}

TEST_P(StateStoreConformance, EventsComeInPages) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit large = Turn(Run("w"), 0, 1, "", 1);
  large.record = RecordOf(large.commit_id, 0, 1, limits::kPayloadMaxBytes - 100);
  ASSERT_TRUE(Commit(large).ok());
  const TurnCommit small = Turn(Run("w"), 1, 2, "");
  ASSERT_TRUE(Commit(small).ok());
  TurnCommit close = Turn(Run("w"), 2, 3, "");
  close.record = RecordOf(close.commit_id, 2, 3, limits::kPayloadMaxBytes - 100);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  const auto first = AwaitEvent(Run("w"), 0);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->more_records);
  Names records = first->records;
  const EventId read = static_cast<EventId>(records.size());
  const auto rest = AwaitEvent(Run("w"), read);
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_FALSE(rest->more_records);
  records.insert(records.end(), rest->records.begin(), rest->records.end());
  EXPECT_TRUE(records == (Names{large.record, small.record, close.record}));
}

TEST_P(StateStoreConformance, EventsOfNoRunAreNotFound) {
  EXPECT_EQ(AwaitEvent(Run("none"), 0).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(AwaitEvent({"none", ""}, 0).status().code(), StatusCode::kNotFound);
}

}  // namespace marathon::inline MARATHON_ABI::testing
