// What the StateStore suite sends: a request for each of the port's calls, with all that a test does not care about
// filled in. A run is named by a short id.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/sha256.h"
#include "marathon/event_codec.h"
#include "marathon/labels.h"
#include "marathon/state_store.h"
#include "marathon/store_rows.h"

namespace marathon::inline MARATHON_ABI::testing {

struct StoreRequests {
  using Bytes = std::vector<std::string>;

  static RunKey Run(const std::string& id) { return RunKey{id, id + "-run"}; }
  static StartRequest NewStart(const std::string& id, const SessionId& session = "") {
    StartRequest request;
    request.run = Run(id);
    request.workflow_type = "Type";
    request.task_queue = "queue";
    request.request_id = id + "-request";
    request.messages.push_back(Message{0, "", WorkflowStarted{.workflow_type = "Type"}});
    request.session = session;
    return request;
  }
  // A turn of `to - from` events, which takes the messages up to `taken`.
  static TurnCommit Turn(const RunKey& run, EventId from, EventId to, const SessionId& session,
                         uint64_t taken = 0) {
    TurnCommit commit;
    commit.run = run;
    commit.expected_version = from;
    commit.new_version = to;
    commit.commit_id = 1000 + static_cast<CommitId>(to);
    commit.session = session;
    commit.inbox_taken = taken;
    if (to > from) commit.record = RecordOf(commit.commit_id, from, to);
    return commit;
  }
  static std::string RecordOf(CommitId commit_id, EventId from, EventId to, size_t bytes = 8) {
    History events;
    for (EventId id = from + 1; id <= to; ++id) {
      events.push_back(
          Event{id, SideEffectRecorded{Payload{std::string(bytes, 'x'), Encoding::kJson}}});
    }
    return EncodeRecord(commit_id, events);
  }
  static NewActivity Activity(EventId id, bool claim = false) {
    NewActivity activity;
    activity.id = id;
    activity.activity_type = "Work";
    activity.task_queue = "queue";
    activity.input = Payload{"1", Encoding::kJson};
    activity.policy.start_to_close = std::chrono::minutes(10);
    activity.claim = claim;
    return activity;
  }
  static Message Signal(const std::string& name, const std::string& key = "") {
    return Message{0, key, SignalReceived{.name = name}};
  }
  static AttemptEnd End(const ActivityKey& key, Epoch epoch, AttemptEnd::Kind kind) {
    AttemptEnd end;
    end.key = key;
    end.epoch = epoch;
    end.kind = kind;
    if (kind == AttemptEnd::Kind::kFinal) {
      end.outcome = ActivityCompleted{.scheduled = key.id, .result = {"2", Encoding::kJson}};
    }
    if (kind == AttemptEnd::Kind::kRetry || kind == AttemptEnd::Kind::kDead) end.failure.emplace().message = "failed";
    return end;
  }

  // ---- Labels
  static StartRequest Labeled(const std::string& id, Labels attributes, Labels memo = {}) {
    StartRequest request = NewStart(id);
    request.labels = {std::move(memo), std::move(attributes)};
    return request;
  }
  static TurnCommit Setting(TurnCommit turn, Labels attributes) {
    turn.attributes = std::move(attributes);
    return turn;
  }

  // ---- Chains of runs
  static RunKey Next(const std::string& id) { return RunKey{id, id + "-next"}; }
  // A turn of two events that closes the run, after which Next(id) goes on.
  static TurnCommit Continuing(const std::string& id, uint64_t taken, EventId from = 0) {
    TurnCommit commit = Turn(Run(id), from, from + 2, "", taken);
    commit.close = RunStatus::kContinuedAsNew;
    commit.next.emplace();
    commit.next->run_id = Next(id).run_id;
    commit.next->workflow_type = "NextType";
    commit.next->task_queue = "queue";
    commit.next->messages.push_back({0, "", WorkflowStarted{.workflow_type = "NextType"}});
    return commit;
  }

  // ---- Activities that are owed: children
  static NewActivity Owes(EventId id, bool claim = false) {
    NewActivity activity = Activity(id, claim);
    activity.activity_type = "marathon.child/Type";
    activity.policy = ActivityPolicy();
    activity.owed = true;
    return activity;
  }
  static AttemptEnd Detach(const ActivityRow& row, bool cancel_told = false) {
    AttemptEnd end = End(row.key, row.epoch, AttemptEnd::Kind::kDetach);
    end.cancel_told = cancel_told;
    return end;
  }
  static TurnCommit Closing(const RunKey& run, EventId from) {
    TurnCommit commit = Turn(run, from, from + 2, "s1", 100);
    commit.close = RunStatus::kCompleted;
    return commit;
  }

  // ---- Blobs that runs hold
  static NamedBlob Blob(const std::string& bytes) {
    return {{marathon::detail::Sha256Hex(bytes), bytes.size()}, bytes};
  }
  static TurnCommit With(TurnCommit commit, const Bytes& blobs) {
    for (const std::string& bytes : blobs) commit.blobs.push_back(Blob(bytes));
    return commit;
  }

  // ---- Updates
  static Message Update(const std::string& id) {
    return Message{0, UpdateKey(id), UpdateAccepted{.update_id = id, .name = "Add"}};
  }
  static UpdateAnswer Accepted(const std::string& id) { return {id, UpdateAccepted{}}; }
  static UpdateAnswer Completed(const std::string& id) {
    return {id, UpdateCompleted{3, Payload{"7", Encoding::kJson}, {}}};
  }
  static UpdateAnswer Rejected(const std::string& id) {
    UpdateCompleted rejected;
    rejected.failure.emplace().message = "no";
    return {id, std::move(rejected)};
  }
  static TurnCommit Answering(TurnCommit turn, std::vector<UpdateAnswer> answers) {
    turn.answers = std::move(answers);
    return turn;
  }
};

}  // namespace marathon::inline MARATHON_ABI::testing
