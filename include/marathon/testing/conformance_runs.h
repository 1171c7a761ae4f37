// StateStore conformance: starts and messages. Included by state_store_conformance.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/testing/state_store_fixture.h"

namespace marathon::inline MARATHON_ABI::testing {

// ---- Starting

TEST_P(StateStoreConformance, StartMakesAReadyRun) {
  const auto started = Start(NewStart("w"));
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_TRUE(started->started);
  EXPECT_FALSE(started->mine);
  EXPECT_EQ(started->run, Run("w"));

  const RunSnapshot run = ReadAll(Run("w"));
  EXPECT_EQ(run.row.workflow_type, "Type");
  EXPECT_EQ(run.row.version, 0);
  EXPECT_EQ(run.row.start_time, store().Now());
  EXPECT_EQ(run.row.ready_since, store().Now());
  ASSERT_EQ(run.inbox.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<WorkflowStarted>(run.inbox[0].body));
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0], (TaskHint{TaskKind::kTurn, "queue", Run("w"), 0, 0, ""}));
}

TEST_P(StateStoreConformance, TheStartingWorkerOwnsTheRun) {
  ASSERT_TRUE(Open("s1").ok());
  const auto started = Start(NewStart("w", "s1"));
  ASSERT_TRUE(started.ok());
  EXPECT_TRUE(started->mine);
  EXPECT_TRUE(Hints().empty());
  EXPECT_EQ(ReadAll(Run("w")).row.owner, "s1");
}

TEST_P(StateStoreConformance, TheSameRequestIdGivesTheSameRun) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  StartRequest again = NewStart("w");
  again.run.run_id = "another";
  const auto second = Start(again);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->run, Run("w"));
  EXPECT_FALSE(second->started);
  EXPECT_EQ(ReadAll(Run("w")).inbox.size(), 1u);

  // … also when it has ended, and when the workflow id has a newer run.
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  EXPECT_EQ(Start(again)->run, Run("w"));
  StartRequest newer = NewStart("w");
  newer.run.run_id = "newer";
  newer.request_id = "newer-request";
  EXPECT_TRUE(Start(newer)->started);
  EXPECT_EQ(Start(again)->run, Run("w"));
  EXPECT_EQ(Read({.run = {"w", ""}})->row.key.run_id, "newer");
}

TEST_P(StateStoreConformance, AnOpenRunRefusesAnotherStart) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  StartRequest other = NewStart("w");
  other.run.run_id = "other";
  other.request_id = "other-request";
  const auto refused = Start(other);
  EXPECT_EQ(refused.status().code(), StatusCode::kAlreadyExists);
  EXPECT_NE(MessageOf(refused.status()).find("w-run"), std::string_view::npos);
  EXPECT_EQ(Read({.run = other.run}).status().code(), StatusCode::kNotFound);
}

TEST_P(StateStoreConformance, AnExistingRunGetsTheSignalsOfAStart) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  StartRequest other = NewStart("w");
  other.run.run_id = "other";
  other.request_id = "other-request";
  other.conflict = IdConflictPolicy::kUseExisting;
  other.messages.push_back(Signal("go", "key"));
  for (int i = 0; i < 2; ++i) {  // the dedupe key holds here too
    const auto reply = Start(other);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->run, Run("w"));
    EXPECT_FALSE(reply->started);
    EXPECT_EQ(ReadAll(Run("w")).inbox.size(), 2u);
  }
}

TEST_P(StateStoreConformance, TheSameStartBringsOnlyNewSignals) {
  StartRequest start = NewStart("w");
  start.messages.push_back(Signal("go", "first"));
  ASSERT_TRUE(Start(start).ok());
  StartRequest other = NewStart("w");
  other.messages.push_back(Signal("go", "second"));
  for (const StartRequest& again : {start, other, other, start}) {
    const auto reply = Start(again);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->run, Run("w"));
    EXPECT_FALSE(reply->started);
  }
  const RunSnapshot seen = ReadAll(Run("w"));
  ASSERT_EQ(seen.inbox.size(), 3u);
  EXPECT_EQ(seen.inbox[1].dedupe_key, "first");
  EXPECT_EQ(seen.inbox[2].dedupe_key, "second");

  TurnCommit close = Turn(Run("w"), 0, 2, "", 3);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  EXPECT_TRUE(Start(other).ok()) << "it was delivered";
  StartRequest late = NewStart("w");
  late.messages.push_back(Signal("go", "third"));
  EXPECT_EQ(Start(late).status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(StateStoreConformance, ReusePoliciesDecideAboutClosedRuns) {
  const auto start_after = [this](const std::string& id, RunStatus status, IdReusePolicy reuse) {
    EXPECT_TRUE(Start(NewStart(id)).ok());
    TurnCommit close = Turn(Run(id), 0, 2, "", 1);
    close.close = status;
    EXPECT_TRUE(Commit(close).ok());
    StartRequest next = NewStart(id);
    next.run.run_id = id + "-next";
    next.request_id = id + "-next-request";
    next.reuse = reuse;
    return Start(next).status().code();
  };
  using enum IdReusePolicy;
  EXPECT_EQ(start_after("a", RunStatus::kCompleted, kAllowDuplicate), StatusCode::kOk);
  EXPECT_EQ(start_after("b", RunStatus::kCompleted, kAllowDuplicateFailedOnly),
            StatusCode::kAlreadyExists);
  EXPECT_EQ(start_after("c", RunStatus::kFailed, kAllowDuplicateFailedOnly), StatusCode::kOk);
  EXPECT_EQ(start_after("d", RunStatus::kFailed, kRejectDuplicate), StatusCode::kAlreadyExists);
}

TEST_P(StateStoreConformance, AStartFoldsWithItsFirstTurn) {
  ASSERT_TRUE(Open("s1").ok());
  StartRequest request = NewStart("w", "s1");
  request.messages.push_back(Signal("go", "key"));
  request.first_turn = Turn(Run("w"), 0, 3, "s1");
  request.first_turn->activities.push_back(Activity(3, /*claim=*/true));
  const auto reply = Start(request);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->started);
  EXPECT_FALSE(reply->mine);
  EXPECT_TRUE(Hints().empty());

  const RunSnapshot run = ReadAll(Run("w"));
  EXPECT_EQ(run.row.version, 3);
  EXPECT_EQ(run.row.commit_id, request.first_turn->commit_id);
  EXPECT_EQ(run.row.ready_since, kNever);
  EXPECT_TRUE(run.inbox.empty());
  EXPECT_EQ(run.records, std::vector<std::string>{request.first_turn->record});
  ASSERT_EQ(run.activities.size(), 1u);
  EXPECT_EQ(run.activities[0].state, ActivityState::kClaimed);
  EXPECT_EQ(run.activities[0].epoch, 1);
  EXPECT_TRUE(Put(Run("w"), Signal("go", "key"))->duplicate);
  EXPECT_FALSE(Start(request)->started);
}

TEST_P(StateStoreConformance, MessagesMayWaitBehindAFirstTurn) {
  ASSERT_TRUE(Open("s1").ok());
  StartRequest request = NewStart("w", "s1");
  request.first_turn = Turn(Run("w"), 0, 3, "");
  request.first_turn->timers.push_back({3, std::chrono::hours(1)});
  request.inbox.push_back(Signal("one"));
  request.inbox.push_back(Signal("two"));
  const auto reply = Start(request);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->started);
  EXPECT_TRUE(reply->mine);
  EXPECT_TRUE(Hints().empty());
  const RunSnapshot run = ReadAll(Run("w"));
  EXPECT_EQ(run.row.version, 3);
  EXPECT_EQ(run.row.inbox_size, 2);
  EXPECT_EQ(run.row.owner, "s1");
  ASSERT_EQ(run.inbox.size(), 2u);
  EXPECT_EQ(std::get<SignalReceived>(run.inbox[0].body).name, "one");
  EXPECT_EQ(Take(Run("w"), "s1")->inbox.size(), 2u);

  // For nobody in particular, it is hinted; another start gets none of them.
  StartRequest other = NewStart("v");
  other.first_turn = Turn(Run("v"), 0, 3, "");
  other.inbox.push_back(Signal("one"));
  ASSERT_TRUE(Start(other).ok());
  EXPECT_EQ(Hints().size(), 1u);
  EXPECT_FALSE(Start(other)->started);
  EXPECT_EQ(ReadAll(Run("v")).inbox.size(), 1u);
}

// ---- Messages

TEST_P(StateStoreConformance, MessagesKeepTheirOrder) {
  ASSERT_TRUE(Start(NewStart("w")).ok());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Put({"w", ""}, Signal(std::to_string(i))).ok());
  const RunSnapshot run = ReadAll(Run("w"));
  ASSERT_EQ(run.inbox.size(), 21u);
  for (size_t i = 1; i < run.inbox.size(); ++i) {
    EXPECT_EQ(run.inbox[i].seq, run.inbox[i - 1].seq + 1);
    EXPECT_EQ(std::get<SignalReceived>(run.inbox[i].body).name, std::to_string(i - 1));
  }
  EXPECT_EQ(run.row.inbox_last, run.inbox.back().seq);
  EXPECT_EQ(run.row.inbox_last_signal, run.inbox.back().seq);
}

TEST_P(StateStoreConformance, ARepeatedDedupeKeyIsDropped) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = Started("w", "s1");
  EXPECT_FALSE(Put(run, Signal("go", "key"), "s1")->duplicate);
  const auto again = Put(run, Signal("go", "key"), "s1");
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(ReadAll(run).inbox.size(), 1u);

  ASSERT_TRUE(Commit(Turn(run, 2, 3, "s1", 2)).ok());
  EXPECT_TRUE(Put(run, Signal("go", "key"))->duplicate) << "keys outlive their message";
  Advance(limits::kDedupeWindow + std::chrono::seconds(1));
  EXPECT_FALSE(Put(run, Signal("go", "key"))->duplicate) << "but not for ever";
}

TEST_P(StateStoreConformance, AMessageNeedsAnOpenRun) {
  EXPECT_EQ(Put(Run("none"), Signal("go")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Put({"none", ""}, Signal("go")).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(Start(NewStart("w")).ok());
  TurnCommit close = Turn(Run("w"), 0, 2, "", 1);
  close.close = RunStatus::kCompleted;
  ASSERT_TRUE(Commit(close).ok());
  EXPECT_EQ(Put(Run("w"), Signal("go")).status().code(), StatusCode::kFailedPrecondition);
}

TEST_P(StateStoreConformance, AFullInboxRefusesSignalsButNoResults) {
  ASSERT_TRUE(Open("s1").ok());
  const RunKey run = StartedWithActivity("w", "s1", true);
  for (int64_t i = 0; i < limits::kMaxInboxMessages; ++i) {
    const auto put = Put(run, Signal("go"));
    ASSERT_TRUE(put.ok()) << put.status();
  }
  const auto refused = Put(run, Signal("go"));
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(MessageOf(refused.status()).find("kMaxInboxMessages"), std::string_view::npos);
  EXPECT_TRUE(EndAttempt(End({run, 2}, 1, AttemptEnd::Kind::kFinal))->applied);

  const auto turn = Take(run, "s1");
  ASSERT_TRUE(turn.ok());
  EXPECT_EQ(turn->inbox.size(), static_cast<size_t>(limits::kTurnMaxMessages));
  EXPECT_EQ(turn->row.inbox_size, limits::kMaxInboxMessages + 1);
}

TEST_P(StateStoreConformance, AMessageToAnotherWorkersRunIsHintedToIt) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = Started("w", "s1");
  EXPECT_TRUE(Hints().empty());
  const auto put = Put(run, Signal("go"), "s2");
  ASSERT_TRUE(put.ok());
  EXPECT_FALSE(put->mine);
  if (harness().HintsWaitForTheirSession()) {
    EXPECT_TRUE(Hints().empty()) << "the owner comes first";
    const auto own = ReceiveAs("s1", TaskKind::kTurn);
    ASSERT_TRUE(own.ok());
    EXPECT_EQ(own->at(0).hint.run, run);
    EXPECT_EQ(own->at(0).hint.preferred, "s1");
  } else {
    EXPECT_EQ(Hints().size(), 1u);
    EXPECT_EQ(Take(run, "s2").status().code(), StatusCode::kAborted) << "it is the owner's for now";
  }

  Advance(limits::kOwnerPreference);
  Poll();
  const auto hints = Hints();
  ASSERT_EQ(hints.size(), 1u) << "then anyone";
  EXPECT_EQ(hints[0].run, run);
  EXPECT_TRUE(Take(run, "s2").ok());
}

TEST_P(StateStoreConformance, AMessageToAnUnownedRunIsItsSendersToHandle) {
  ASSERT_TRUE(Open("s1").ok());
  ASSERT_TRUE(Open("s2").ok());
  const RunKey run = Started("w", "s1");
  ASSERT_TRUE(CloseSession("s1").ok());
  EXPECT_TRUE(Put(run, Signal("go"), "s2")->mine);
  EXPECT_EQ(ReadAll(run).row.owner, "s2");
  EXPECT_TRUE(Hints().empty());
}

}  // namespace marathon::inline MARATHON_ABI::testing
