// StateStore conformance: time, reading, awaiting, big data and reopening. Included by
// state_store_conformance.h.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

// ---- Timers

TEST_P(StateStoreConformance, ATimerFiresOnceAtItsTime) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.timers.push_back({2, std::chrono::hours(24)});
  const RunKey run = Started("w", "s1", std::move(first));
  const Time due = store().Now() + std::chrono::hours(24);
  Advance(std::chrono::hours(24) - std::chrono::microseconds(1));
  EXPECT_TRUE(Renew("s1").ok());
  const DueReply early = Poll("s1");
  EXPECT_TRUE(early.ready.empty());
  EXPECT_EQ(early.next_due, due);
  Advance(std::chrono::microseconds(1));
  const DueReply reply = Poll("s1");
  EXPECT_EQ(reply.ready, std::vector<RunKey>{run});
  EXPECT_EQ(reply.now, store().Now());
  const RunSnapshot after = ReadAll(run);
  ASSERT_EQ(after.inbox.size(), 1u);
  EXPECT_EQ(after.inbox[0].body, EventBody(TimerFired{2}));
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Poll("s1").ready.empty());
    EXPECT_EQ(ReadAll(run).inbox.size(), 1u);
    Advance(std::chrono::minutes(1));
  }
}

TEST_P(StateStoreConformance, ACanceledTimerDoesNotFire) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.timers = {{1, std::chrono::seconds(1)}, {2, std::chrono::seconds(2)}};
  const RunKey run = Started("w", "s1", std::move(first));
  TurnCommit cancel = Turn(run, 2, 3, "s1");
  cancel.cancel_timers = {1, 77};
  ASSERT_TRUE(Commit(cancel).ok());
  Advance(std::chrono::seconds(2));
  Poll("s1");
  const RunSnapshot after = ReadAll(run);
  ASSERT_EQ(after.inbox.size(), 1u);
  EXPECT_EQ(after.inbox[0].body, EventBody(TimerFired{2}));
}

TEST_P(StateStoreConformance, TimersFireInTheOrderOfTheirTime) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  const int order[] = {5, 3, 9, 1, 7, 2, 8, 4, 6};  // seconds, by ascending event id
  for (int i = 0; i < 9; ++i) first.timers.push_back({10 + i, std::chrono::seconds(order[i])});
  const RunKey run = Started("w", "s1", std::move(first));
  Advance(std::chrono::seconds(10));
  Poll("s1", 4);
  EXPECT_EQ(ReadAll(run).inbox.size(), 4u) << "no more than the limit";
  while (Poll("s1", 4).next_due <= store().Now()) continue;
  const RunSnapshot after = ReadAll(run);
  ASSERT_EQ(after.inbox.size(), 9u);
  for (int second = 1; second <= 9; ++second) {
    const EventId id =
        std::get<TimerFired>(after.inbox[static_cast<size_t>(second - 1)].body).timer;
    EXPECT_EQ(order[id - 10], second);
  }
}

TEST_P(StateStoreConformance, ATimerOfAMillionYearsNeverFires) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.timers.push_back({2, Duration::max()});
  Started("w", "s1", std::move(first));
  ASSERT_TRUE(CloseSession("s1").ok());
  EXPECT_EQ(Poll().next_due, kNever);
}

// ---- Deadlines and re-sends

TEST_P(StateStoreConformance, ARunTimeoutIsReportedUntilSomebodyActs) {
  StartRequest request = NewStart("w");
  request.run_timeout = std::chrono::hours(1);
  request.first_turn = Turn(Run("w"), 0, 2, "");
  ASSERT_TRUE(Start(request).ok());
  EXPECT_EQ(Poll().next_due, store().Now() + std::chrono::hours(1));
  Advance(std::chrono::hours(1));
  const DueReply reply = Poll();
  ASSERT_EQ(reply.expired_runs.size(), 1u);
  EXPECT_EQ(reply.expired_runs[0].key, Run("w"));
  EXPECT_EQ(reply.expired_runs[0].version, 2);
  EXPECT_TRUE(Poll().expired_runs.empty()) << "told for now";
  Advance(limits::kDueAgain);
  EXPECT_EQ(Poll().expired_runs.size(), 1u);
  TurnCommit close = Turn(Run("w"), 2, 3, "");
  close.close = RunStatus::kTimedOut;
  ASSERT_TRUE(Commit(close).ok());
  Advance(limits::kDueAgain);
  EXPECT_TRUE(Poll().expired_runs.empty());
}

TEST_P(StateStoreConformance, AnActivitysDeadlineIsReportedUntilSomebodyActs) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  ASSERT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kDetach))->applied);
  ASSERT_TRUE(CloseSession("s1").ok());
  Advance(std::chrono::minutes(10));
  const DueReply reply = Poll();
  ASSERT_EQ(reply.expired_activities.size(), 1u);
  EXPECT_EQ(reply.expired_activities[0].key, (ActivityKey{run, 2}));
  EXPECT_EQ(NextDue(reply.expired_activities[0]).timeout, TimeoutKind::kStartToClose);
  EXPECT_TRUE(Poll().expired_activities.empty());
  Advance(limits::kDueAgain);
  EXPECT_EQ(Poll().expired_activities.size(), 1u);
  EXPECT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kRetry))->applied);
  Advance(limits::kDueAgain);
  EXPECT_TRUE(Poll().expired_activities.empty());
}

TEST_P(StateStoreConformance, WhatNobodyTakesIsPublishedAgainMoreAndMoreRarely) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey worker = StartedWithActivity("a", "s1", false);
  ASSERT_TRUE(Start(NewStart("b")).ok());
  ASSERT_EQ(Hints().size(), 2u);
  auto wait = limits::kResendFirst;
  for (int i = 0; i < 9; ++i) {
    Advance(wait - Duration(1));
    Poll();
    EXPECT_TRUE(Hints().empty()) << i;
    Advance(Duration(1));
    Poll();
    EXPECT_EQ(Hints().size(), 2u) << i;
    wait = std::min<Duration>(wait * 2, limits::kResendMax);
  }
  EXPECT_EQ(wait, limits::kResendMax);
  EXPECT_EQ(Claim("s1", {ClaimRequest{{worker, 2}, 0}})->size(), 1u);
}

TEST_P(StateStoreConformance, WatchersLearnWhatIsDueSooner) {
  auto watcher = std::make_shared<RecordingWatcher>();
  ASSERT_TRUE(Open("s1", watcher).ok());
  Poll("s1");
  const RunKey run = Started("w", "s1");
  const size_t before = watcher->due().size();
  TurnCommit later = Turn(run, 2, 3, "s1");
  later.timers.push_back({3, std::chrono::hours(1)});
  ASSERT_TRUE(Commit(later).ok());
  EXPECT_EQ(watcher->due().size(), before) << "the session's own end comes sooner";
  TurnCommit sooner = Turn(run, 3, 4, "s1");
  sooner.timers.push_back({4, std::chrono::milliseconds(10)});
  ASSERT_TRUE(Commit(sooner).ok());
  ASSERT_EQ(watcher->due().size(), before + 1);
  EXPECT_EQ(watcher->due().back(), store().Now() + std::chrono::milliseconds(10));
}

TEST_P(StateStoreConformance, AnIdlePollCostsTheSameWithManySleepers) {
  ASSERT_TRUE(Open("s1").ok());
  const auto visited_by_polls = [&] {
    const int64_t before = harness().DueVisited().value_or(0);
    for (int i = 0; i < 10; ++i) Poll("s1");
    return harness().DueVisited().value_or(0) - before;
  };
  const auto sleep = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      StartRequest request = NewStart("w" + std::to_string(i), "s1");
      request.first_turn = Turn(request.run, 0, 2, "s1");
      request.first_turn->timers.push_back({2, std::chrono::hours(1)});
      ASSERT_TRUE(Start(request).ok());
    }
  };
  if (!harness().DueVisited()) GTEST_SKIP() << "this adapter cannot count";
  sleep(0, 10);
  const int64_t few = visited_by_polls();
  sleep(10, 10'000);
  EXPECT_LE(visited_by_polls(), 2 * few);
}

TEST_P(StateStoreConformance, AClosedRunIsKeptForAWhile) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  Advance(limits::kRetention - Duration(1));
  Poll();
  EXPECT_TRUE(Read({.run = Run("w")}).ok());
  Advance(Duration(1));
  Poll();
  EXPECT_EQ(Read({.run = Run("w")}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Read({.run = {"w", ""}}).status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(List({}).runs.empty());
  EXPECT_TRUE(Start(NewStart("w"))->started);
}

TEST_P(StateStoreConformance, AClosedRunIsKeptForAsLongAsTheStoreIsTold) {
  constexpr Duration kKeep = std::chrono::hours(1);
  if (!harness().KeepClosed(kKeep, int64_t{1} << 30)) GTEST_SKIP() << "this adapter has no such option";
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  Advance(kKeep - Duration(1));
  Poll();
  EXPECT_TRUE(Read({.run = Run("w")}).ok());
  Advance(Duration(1));
  Poll();
  EXPECT_EQ(Read({.run = Run("w")}).status().code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, WhenClosedRunsTakeTooMuchTheOldestGo) {
  constexpr int kRuns = 100, kBytes = 3000, kMost = 60'000;
  if (!harness().KeepClosed(limits::kRetention, kMost)) GTEST_SKIP() << "this adapter has no such option";
  ASSERT_TRUE(Start(NewStart("open")).ok());
  const auto is_there = [&](int i) { return Read({.run = Run(std::to_string(i))}).ok(); };
  for (int i = 0; i < kRuns; ++i) {
    const std::string id = std::to_string(i);
    ASSERT_TRUE(Start(NewStart(id)).ok());
    TurnCommit close = Turn(Run(id), 0, 2, "", 1);
    close.record = RecordOf(close.commit_id, 0, 2, kBytes / 2);
    close.close = RunStatus::kCompleted;
    ASSERT_TRUE(Commit(close).ok());
    Advance(Duration(1));
    Poll();
    ASSERT_TRUE(is_there(i)) << "whoever awaits its end has yet to read it";
  }
  int kept = 0;
  for (int i = 0; i < kRuns; ++i) kept += is_there(i);
  EXPECT_GE(kept, kMost / kBytes / 3);
  EXPECT_LE(kept, kMost / kBytes);
  for (int i = 0; i < kRuns / 4; ++i) EXPECT_FALSE(is_there(i)) << i;  // parts of a store may forget each for itself
  EXPECT_TRUE(Read({.run = Run("open")}).ok());
  EXPECT_EQ(List({.count_only = true}).count, kept + 1);
}

// ---- Reading

TEST_P(StateStoreConformance, RecordsArePaged) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  for (EventId v = 2; v < 22; v += 2) ASSERT_TRUE(Commit(Turn(run, v, v + 2, "s1")).ok());
  const auto all = ReadAll(run).records;
  ASSERT_EQ(all.size(), 11u);
  std::vector<std::string> paged;
  EventId version = 0;
  for (bool more = true; more;) {
    const auto page = Read({.run = run,
                            .records = true,
                            .after_version = version,
                            .max_record_bytes = all[0].size() * 3});
    ASSERT_TRUE(page.ok());
    ASSERT_FALSE(page->records.empty());
    EXPECT_LE(page->records.size(), 3u);
    for (const std::string& record : page->records) {
      version = DecodeRecord(record)->events.back().id;
      paged.push_back(record);
    }
    more = page->more_records;
  }
  EXPECT_EQ(paged, all);
  EXPECT_TRUE(Read({.run = run, .records = true, .after_version = 22})->records.empty());
}

TEST_P(StateStoreConformance, BigPayloadsComeBackWhole) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  const std::string big(limits::kPayloadMaxBytes, 'b');
  Message message = Signal("big");
  std::get<SignalReceived>(message.body).input = Payload{big, Encoding::kJson};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Put(run, message, "s1").ok());
  const auto turn = Take(run, "s1");
  ASSERT_TRUE(turn.ok());
  ASSERT_EQ(turn->inbox.size(), 1u) << "over kTurnMaxBytes, but at least one";
  EXPECT_EQ(std::get<SignalReceived>(turn->inbox[0].body).input.data, big);

  TurnCommit commit = Turn(run, 2, 3, "s1", 2);
  commit.record = RecordOf(commit.commit_id, 2, 3, limits::kPayloadMaxBytes);
  ASSERT_TRUE(Commit(commit).ok());
  const auto page = Read({.run = run, .records = true, .after_version = 2});
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->records, std::vector<std::string>{commit.record});
}

TEST_P(StateStoreConformance, AnUnknownRunIsNotFound) {
  EXPECT_EQ(Read({.run = Run("none")}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Take(Run("none"), "s1").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Block(Run("none"), 0).code(), StatusCode::kNotFound);
  EXPECT_EQ(Unblock(Run("none")).code(), StatusCode::kNotFound);
  ASSERT_TRUE(Start(NewStart("w")).ok());
  EXPECT_EQ(Read({.run = {"w", "other"}}).status().code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, RunsAreListedNewestFirstInPages) {
  for (int i = 0; i < 25; ++i) {
    StartRequest request = NewStart("w" + std::to_string(i));
    request.workflow_type = i % 5 == 0 ? "Fifth" : "Type";
    ASSERT_TRUE(Start(request).ok());
    Advance(std::chrono::milliseconds(1));
  }
  std::vector<std::string> ids;
  ListRequest request{.limit = 10};
  int pages = 0;
  do {
    ListReply reply = List(request);
    for (const RunRow& row : reply.runs) ids.push_back(row.key.workflow_id);
    request.page_token = reply.next_page_token;
    ++pages;
  } while (!request.page_token.empty() && pages < 10);
  EXPECT_EQ(pages, 3);
  ASSERT_EQ(ids.size(), 25u);
  for (int i = 0; i < 25; ++i) {
    EXPECT_EQ(ids[static_cast<size_t>(i)], "w" + std::to_string(24 - i));
  }
  EXPECT_EQ(List({.workflow_type = "Fifth"}).runs.size(), 5u);
  EXPECT_EQ(List({.workflow_type = "Fifth", .limit = 2}).runs.size(), 2u);
  EXPECT_TRUE(List({.status = RunStatus::kFailed}).runs.empty());
  EXPECT_EQ(List({.status = RunStatus::kRunning}).runs.size(), 25u);
  EXPECT_TRUE(List({.blocked_only = true}).runs.empty());
}

// ---- Awaiting the end

TEST_P(StateStoreConformance, WhoeverAwaitsTheEndIsToldOfIt) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  int before = 0;
  const auto result = Await<StatusOr<RunSnapshot>>(harness(), [&](auto done) {
    store().AwaitClose(Run("w"), [&before, done = std::move(done)](auto snapshot) mutable {
      ++before;
      done(std::move(snapshot));
    });
    EXPECT_EQ(before, 0) << "it is open";
    EXPECT_TRUE(Commit(close).ok());
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->row.status, RunStatus::kCompleted);
  EXPECT_EQ(result->records, std::vector<std::string>{close.record});

  const auto later = Await<StatusOr<RunSnapshot>>(
      harness(), [&](auto done) { store().AwaitClose({"w", ""}, std::move(done)); });
  ASSERT_TRUE(later.ok());
  EXPECT_EQ(later->records, std::vector<std::string>{close.record});
  const auto unknown = Await<StatusOr<RunSnapshot>>(
      harness(), [&](auto done) { store().AwaitClose(Run("none"), std::move(done)); });
  EXPECT_EQ(unknown.status().code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, ACanceledAwaitIsNotCalled) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  auto calls = std::make_shared<int>(0);
  const uint64_t name = store().AwaitClose(Run("w"), [calls](auto) { ++*calls; });
  store().CancelAwait(name);
  EXPECT_EQ(calls.use_count(), 1) << "its callback is gone";
  store().CancelAwait(name);
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  EXPECT_EQ(*calls, 0);
}

// ---- Durability

TEST_P(StateStoreConformance, EverythingSurvivesAReopening) {
  ASSERT_TRUE(Open("s1").ok());
  TurnCommit first;
  first.activities = {Activity(1, true), Activity(2)};
  first.timers.push_back({2, std::chrono::hours(1)});
  const RunKey run = Started("w", "s1", std::move(first));
  ASSERT_TRUE(Put(run, Signal("go", "key")).ok());
  ASSERT_TRUE(Beat({run, 1}, 1, Payload{"50", Encoding::kJson}).ok());
  const RunKey blocked = Started("blocked", "s1");
  ASSERT_TRUE(Block(blocked, 2).ok());
  const RunSnapshot before = ReadAll(run);
  const RunSnapshot blocked_before = ReadAll(blocked);
  if (!harness().Reopen()) GTEST_SKIP() << "this adapter is not durable";

  const RunSnapshot after = ReadAll(run);
  EXPECT_EQ(after.row, before.row);
  EXPECT_EQ(after.records, before.records);
  EXPECT_EQ(after.inbox, before.inbox);
  EXPECT_EQ(after.activities, before.activities);
  EXPECT_EQ(ReadAll(blocked).row, blocked_before.row);
  EXPECT_TRUE(Put(run, Signal("go", "key"))->duplicate);
  EXPECT_FALSE(Start(NewStart("w"))->started);
  EXPECT_EQ(Open("s1").code(),
            harness().SessionsEndWithTheStore() ? StatusCode::kOk : StatusCode::kAlreadyExists);
  Advance(std::chrono::hours(1));
  Poll();
  EXPECT_EQ(ReadAll(run).inbox.size(), before.inbox.size() + 1) << "the timer fires";
}

}  // namespace marathon::inline MARATHON_ABI::testing
