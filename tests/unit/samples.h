// One value of every persisted type with every field set, and one with as much as possible at its
// default. The golden files hold exactly these: never change one, add new ones.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "marathon/event.h"
#include "marathon/store_rows.h"

namespace marathon::samples {

inline Payload JsonPayload(std::string text) { return {std::move(text), Encoding::kJson}; }

inline constexpr Time kSampleTime =
    FromMicros(1'795'420'800'123'456);  // 2026-11-23T08:00:00.123456Z

inline Failure FullFailure() {
  Failure cause;
  cause.kind = FailureKind::kTimeout;
  cause.timeout = TimeoutKind::kHeartbeat;
  cause.type = "marathon.Timeout";
  Failure failure;
  failure.kind = FailureKind::kEngine;
  failure.non_retryable = true;
  failure.type = "CardDeclined";
  failure.message = "no funds \xe2\x80\x94 try \"later\"";
  failure.details = JsonPayload(R"({"left":0.5})");
  failure.next_retry_delay = Duration(90'000);
  failure.cause.push_back(cause);
  return failure;
}

inline ActivityPolicy FullPolicy() {
  ActivityPolicy policy;
  policy.start_to_close = Duration(10'000);
  policy.schedule_to_start = Duration(20'000);
  policy.schedule_to_close = Duration(30'000);
  policy.heartbeat = Duration(5'000);
  policy.retry.initial_interval = Duration(250);
  policy.retry.backoff_coefficient = 1.5;
  policy.retry.maximum_interval = Duration(60'000);
  policy.retry.maximum_attempts = 7;
  policy.retry.jitter = 0.25;
  policy.retry.non_retryable_types = {"CardDeclined", "Fraud"};
  policy.hold_dead_letter = true;
  policy.priority = 1;
  policy.concurrency_key = "customer 7";
  policy.max_per_key = 3;
  return policy;
}

inline Headers FullHeaders() {
  return {{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, {"k", ""}};
}

inline RunOrigin FullOrigin() {
  RunOrigin origin;
  origin.first_run_id = "0192-run";
  origin.previous_run_id = "0193-run";
  origin.retry = FullPolicy().retry;
  origin.attempt = 3;
  origin.start_delay = Duration(1'500);
  origin.parent = ActivityKey{{"order-0", "0191-run"}, 4};
  return origin;
}

inline RunLabels FullLabels() {
  return {{{"for", "Ada \xe2\x80\x94 Lovelace"}}, {{"customer", "c-7"}, {"stage", "paid"}}};
}

inline std::vector<EventBody> FullBodies() {
  return {
      TurnStarted{kSampleTime, "build-7", 5},
      WorkflowStarted{"Checkout", JsonPayload(R"({"id":"o-1"})"), "orders", "req-1",
                      Duration(86'400'000), FullHeaders(), {FullOrigin()}, FullLabels().memo,
                      FullLabels().attributes, 5},
      ActivityCompleted{3, JsonPayload("\"receipt-1\""), 2},
      ActivityFailed{3, FullFailure(), 4},
      TimerFired{300},
      SignalReceived{"approved", JsonPayload("true"), FullHeaders()},
      ActivityScheduled{"Charge", "payments", JsonPayload("[1,2]"), FullPolicy(), FullHeaders()},
      ActivityCancelRequested{3, true},
      TimerStarted{Duration(2'592'000'000)},
      TimerCanceled{300},
      SideEffectRecorded{JsonPayload("42")},
      WorkflowCompleted{JsonPayload("null")},
      WorkflowFailed{FullFailure(), "0194-run"},
      WorkflowTerminated{"operator said so"},
      WorkflowTimedOut{"0194-run"},
      WorkflowCancelRequested{"no longer wanted"},
      VersionRecorded{"ask twice", 2},
      WorkflowCanceled{"no longer wanted"},
      WorkflowContinuedAsNew{"0194-run", "Checkout", "orders", JsonPayload("7"), Duration(60'000),
                             true},
      UpdateAccepted{"update-1", "Add", JsonPayload("2"), FullHeaders()},
      UpdateCompleted{3, JsonPayload("44"), FullFailure()},
      LocalActivityStarted{"Charge", 2},
      AttributesSet{{{"stage", "paid"}, {"early", ""}}},
  };
}

inline std::vector<EventBody> DefaultBodies() {
  return {TurnStarted{},    WorkflowStarted{},    ActivityCompleted{},  ActivityFailed{},
          TimerFired{},     SignalReceived{},     ActivityScheduled{},  ActivityCancelRequested{},
          TimerStarted{},   TimerCanceled{},      SideEffectRecorded{}, WorkflowCompleted{},
          WorkflowFailed{}, WorkflowTerminated{}, WorkflowTimedOut{},   WorkflowCancelRequested{},
          VersionRecorded{}, WorkflowCanceled{},  WorkflowContinuedAsNew{},
          UpdateAccepted{}, UpdateCompleted{},   LocalActivityStarted{}, AttributesSet{}};
}

// A small run's history in one record.
inline History SmallHistory() {
  const std::vector<EventBody> bodies = {
      TurnStarted{kSampleTime, "build-7", 0},
      WorkflowStarted{
          "Checkout", JsonPayload(R"({"amount":9.5,"id":"o-1"})"), "default", "", Duration(0), {}, {}},
      ActivityScheduled{"Charge", "default", JsonPayload(R"({"amount":9.5,"id":"o-1"})"), {}, {}},
      TurnStarted{kSampleTime + std::chrono::seconds(1), "", 0},
      ActivityCompleted{3, JsonPayload("\"receipt-1\""), 1},
      WorkflowCompleted{JsonPayload("\"receipt-1\"")},
  };
  History history;
  for (const EventBody& body : bodies)
    history.push_back({static_cast<EventId>(history.size() + 1), body});
  return history;
}

// Payloads that stand beside their record.
inline History NamedPayloads() {
  const Payload large{"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 70000 1", Encoding::kBlob};
  Failure failure = FullFailure();
  failure.details = large;
  return {{1, WorkflowStarted{"Checkout", large, "default", "", Duration(0), {}, {}}},
          {2, ActivityScheduled{"Charge", "default", large, {}, {}}},
          {3, ActivityFailed{2, failure, 1}}};
}

// Payloads that a codec has sealed, of JSON and of bytes without an encoding.
inline History SealedPayloads() {
  const Payload json{std::string("aes-2026 1 \x00\xff bytes", 19), Encoding::kSealed};
  Failure failure = FullFailure();
  failure.details = {"aes-2025 0 text", Encoding::kSealed};
  return {{1, WorkflowStarted{"Checkout", json, "default", "", Duration(0), {}, {}}}, {2, ActivityFailed{2, failure, 1}}};
}

inline RunRow FullRunRow() {
  RunRow row;
  row.key = {"order-1", "0193-run"};
  row.workflow_type = "Checkout";
  row.task_queue = "orders";
  row.request_id = "req-1";
  row.status = RunStatus::kTimedOut;
  row.version = 300;
  row.commit_id = 0xfedcba9876543210u;
  row.history_bytes = 70'000;
  row.pending_activities = 2;
  row.start_time = kSampleTime;
  row.close_time = kSampleTime + std::chrono::hours(1);
  row.run_deadline = kSampleTime + std::chrono::hours(2);
  row.inbox_last = 400;
  row.inbox_last_signal = 399;
  row.inbox_size = 3;
  row.ready_since = kSampleTime + std::chrono::seconds(5);
  row.owner = "session-1";
  row.owner_until = kSampleTime + std::chrono::seconds(6);
  row.deliveries = 1;
  row.resends = 2;
  row.blocked = BlockInfo{"build-7", "event 4 does not match", 4, kSampleTime,
                          kSampleTime + std::chrono::seconds(1)};
  row.give_backs = 3;
  row.links = RunLinks{"0192-run", "0194-run", kSampleTime + std::chrono::seconds(2),
                       {{{"order-1", "0192-run"}, 9}}, ActivityKey{{"customer-1", "0191-run"}, 7}};
  row.paused = PauseInfo{"the bank is closed", kSampleTime};
  row.dead_letters = 1;
  row.deleted = true;
  row.labels = FullLabels();
  row.pinned = "build-7";
  row.has_blobs = true;
  return row;
}

inline ActivityRow FullActivityRow() {
  ActivityRow row;
  row.key = {{"order-1", "0193-run"}, 3};
  row.activity_type = "Charge";
  row.task_queue = "payments";
  row.workflow_type = "Checkout";
  row.input = JsonPayload("[1,2]");
  row.headers = FullHeaders();
  row.policy = FullPolicy();
  row.state = ActivityState::kDetached;
  row.attempt = 3;
  row.deliveries = 2;
  row.epoch = 6;
  row.session = "session-1";
  row.scheduled_at = kSampleTime;
  row.available_at = kSampleTime + std::chrono::seconds(1);
  row.started_at = kSampleTime + std::chrono::seconds(2);
  row.heartbeat_at = kSampleTime + std::chrono::seconds(3);
  row.heartbeat = JsonPayload("7");
  row.last_failure = FullFailure();
  row.cancel_requested = true;
  row.resends = 1;
  row.owed = Owed::kAtEnd;
  row.paused = true;
  return row;
}

inline SessionRow FullSessionRow() {
  return {"session-1", "host-1", Duration(15'000), kSampleTime, 7};
}
inline IdRow FullIdRow() { return {"order-1", "0193-run", "req-1", RunStatus::kCompleted}; }

}  // namespace marathon::samples
