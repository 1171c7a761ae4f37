// StoreProtocol: starts, messages and reading. Included by store_protocol.h.
#pragma once

#include <fmt/format.h>

#include <utility>
#include <variant>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI {

// ---- Starting ----------------------------------------------------------------------------------

template <class Tables>
StatusOr<StartReply> StoreProtocol<Tables>::Start(StartRequest&& request) {
  Run* newest = t_.FindNewestRun(request.run.workflow_id);
  if (!request.request_id.empty() && !MARATHON_MUTANT("duplicate_start_new_run")) {
    // Though the newest run may have been deleted.
    Run* same = t_.FindRunByRequest(request.run.workflow_id, request.request_id);
    if (same != nullptr) return StartedBySame(*same, std::move(request));
  }
  if (newest != nullptr && !MARATHON_MUTANT("duplicate_start_new_run")) {
    if (newest->status == RunStatus::kRunning) return StartedBefore(*newest, std::move(request));
    const bool allowed = request.reuse == IdReusePolicy::kAllowDuplicate ||
                         (request.reuse == IdReusePolicy::kAllowDuplicateFailedOnly &&
                          newest->status != RunStatus::kCompleted);
    if (!allowed || t_.FindRun(request.run) != nullptr) {
      return AlreadyExists(
          fmt::format("{} is there already and the id reuse policy forbids another",
                      detail::Name(newest->key)));
    }
  }
  // Nor an older one, where the newest has been deleted.
  if (Run* same = newest == nullptr ? t_.FindRun(request.run) : nullptr; same != nullptr) {
    if (same->request_id == request.request_id) return StartedBySame(*same, std::move(request));
    return AlreadyExists(fmt::format("{} is there already", detail::Name(same->key)));
  }
  if (request.first_turn.has_value()) {
    if (Status s = CheckTurn(*request.first_turn, 0); !s.ok()) return s;
  }

  RunRow row;
  row.key = std::move(request.run);
  row.workflow_type = std::move(request.workflow_type);
  row.task_queue = std::move(request.task_queue);
  row.request_id = std::move(request.request_id);
  detail::SetTimes(row, now_, request.delay, request.run_timeout);
  detail::SetParent(row, request.messages);
  RunLabels labels;
  detail::SetLabels(labels.memo, request.labels.memo);
  detail::SetLabels(labels.attributes, request.labels.attributes);
  if (!labels.empty()) row.labels = std::move(labels);
  Run& run = t_.InsertRun(std::move(row));
  if (request.first_turn.has_value()) {
    for (const Message& message :
         request.messages) {  // they are in the record; a repeat must not be
      if (!message.dedupe_key.empty()) t_.AddKey(run, message.dedupe_key, now_);
    }
    ApplyTurn(run, std::move(*request.first_turn));
    if (!request.inbox.empty()) {
      for (Message& message : request.inbox) Append(run, std::move(message));
      MakeReady(run, request.session);
      Update(run);
    }
  } else {
    for (Message& message : request.messages) Append(run, std::move(message));
    MakeReady(run, request.session);
    Update(run);
  }
  return Answer(run, request.session, true);
}

// An open run has the workflow id: it gets the signals, or the start is refused.
template <class Tables>
StatusOr<StartReply> StoreProtocol<Tables>::StartedBefore(Run& run, StartRequest&& request) {
  if (request.conflict == IdConflictPolicy::kFail) {
    return AlreadyExists(fmt::format("{} is open", detail::Name(run.key)));
  }
  if (run.inbox_size + static_cast<int64_t>(request.messages.size()) > limits::kMaxInboxMessages) {
    return ResourceExhausted(fmt::format("{}: its inbox is full (kMaxInboxMessages = {})",
                                         detail::Name(run.key), limits::kMaxInboxMessages));
  }
  for (size_t i = 1; i < request.messages.size(); ++i) {  // the first one is WorkflowStarted
    Message& message = request.messages[i];
    if (message.dedupe_key.empty() || !t_.HasKey(run, message.dedupe_key)) {
      Append(run, std::move(message));
    }
  }
  MakeReady(run, request.session);
  Update(run);
  return Answer(run, request.session, false);
}

// The start's own request made this run. What came with it is known by its dedupe key; a message that is not, such as
// another signal-with-start's, is put as if by itself.
template <class Tables>
StatusOr<StartReply> StoreProtocol<Tables>::StartedBySame(Run& run, StartRequest&& request) {
  std::erase_if(request.messages, [&](const Message& message) {
    return message.dedupe_key.empty() ? !std::holds_alternative<WorkflowStarted>(message.body)
                                      : t_.HasKey(run, message.dedupe_key);
  });
  if (request.messages.size() <= 1) return Answer(run, request.session, false);
  if (run.status != RunStatus::kRunning) {
    return FailedPrecondition(fmt::format("{} is closed", detail::Name(run.key)));
  }
  request.conflict = IdConflictPolicy::kUseExisting;
  return StartedBefore(run, std::move(request));
}

template <class Tables>
StartReply StoreProtocol<Tables>::Answer(const Run& run, const SessionId& session,
                                         bool started) const {
  const bool mine = detail::IsReady(run) && !session.empty() && run.owner == session;
  return StartReply{run.key, started, mine, now_};
}

// ---- Messages ----------------------------------------------------------------------------------

template <class Tables>
StatusOr<PutReply> StoreProtocol<Tables>::Put(PutRequest&& request) {
  Run* run = FindInChain(request.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(request.run)));
  if (const std::string& key = request.message.dedupe_key; !key.empty()) {
    t_.TrimKeys(*run, now_ - limits::kDedupeWindow, limits::kDedupeKeys);
    if (t_.HasKey(*run, key) && !MARATHON_MUTANT("no_signal_dedupe")) {
      const bool mine =
          detail::IsReady(*run) && !request.session.empty() && run->owner == request.session;
      return PutReply{run->key, mine, /*duplicate=*/true};
    }
  }
  if (run->status != RunStatus::kRunning) {
    return FailedPrecondition(fmt::format("{} is closed", detail::Name(run->key)));
  }
  if (run->inbox_size >= limits::kMaxInboxMessages) {
    return ResourceExhausted(fmt::format("{}: its inbox is full (kMaxInboxMessages = {})",
                                         detail::Name(run->key), limits::kMaxInboxMessages));
  }
  Append(*run, std::move(request.message));
  const bool mine = !MARATHON_MUTANT("ready_not_set_on_put") && MakeReady(*run, request.session);
  Update(*run);
  return PutReply{run->key, mine, false};
}

template <class Tables>
auto StoreProtocol<Tables>::FindRunOrNewest(const RunKey& key) -> Run* {
  return key.run_id.empty() ? t_.FindNewestRun(key.workflow_id) : t_.FindRun(key);
}

template <class Tables>
auto StoreProtocol<Tables>::FindInChain(const RunKey& key) -> Run* {
  if (Run* run = Follow(FindRunOrNewest(key)); run != nullptr) return run;
  Run* newest = t_.FindNewestRun(key.workflow_id);
  return newest != nullptr && detail::FirstRunId(*newest) == key.run_id ? newest : nullptr;
}

template <class Tables>
void StoreProtocol<Tables>::Append(Run& run, Message&& message) {
  message.seq = ++run.inbox_last;
  ++run.inbox_size;
  if (std::holds_alternative<SignalReceived>(message.body)) run.inbox_last_signal = message.seq;
  if (!message.dedupe_key.empty()) t_.AddKey(run, message.dedupe_key, now_);
  t_.AppendMessage(run, std::move(message));
}

template <class Tables>
bool StoreProtocol<Tables>::MakeReady(Run& run, const SessionId& offered) {
  if (run.status != RunStatus::kRunning || detail::Rests(run) || run.inbox_size == 0) return false;
  if (detail::DelayedUntil(run) > now_) return false;
  // Of which build a session is, its turns tell: a pinned run is its owner's or anyone's who asks for it.
  static const SessionId kNobody;
  const SessionId& session = detail::IsPinned(run) && !(run.owner == offered) ? kNobody : offered;
  if (!detail::IsReady(run)) {
    run.ready_since = now_;
    run.resends = 0;
    const bool owned = !run.owner.empty() && t_.HasSession(run.owner);
    if (!owned && run.owner != session) t_.SetOwner(run, session);
    run.owner_until = run.owner.empty() ? now_ : AddSaturated(now_, limits::kOwnerPreference);
    if (run.owner.empty() || run.owner != session) HintTurn(run, run.owner);
  }
  return !session.empty() && run.owner == session;
}

// ---- Reading -----------------------------------------------------------------------------------

template <class Tables>
StatusOr<RunSnapshot> StoreProtocol<Tables>::Read(const ReadRequest& request) {
  const Run* run = FindRunOrNewest(request.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(request.run)));
  RunSnapshot snapshot;
  snapshot.now = now_;
  snapshot.row = t_.ToRow(*run);
  if (request.records) {
    snapshot.more_records =
        t_.ReadRecords(*run, request.after_version, request.max_record_bytes, snapshot.records);
  }
  if (request.inbox) t_.ReadInbox(*run, 0, limits::kTurnMaxMessages, snapshot.inbox);
  if (request.activities) {
    for (EventId id : t_.ActivitiesOf(*run)) {
      snapshot.activities.push_back(*t_.FindActivity(run->key, id));
    }
  }
  return snapshot;
}

template <class Tables>
StatusOr<std::optional<RunSnapshot>> StoreProtocol<Tables>::ReadAwaited(
    const AwaitRequest& request) {
  const Run* run = FindRunOrNewest(request.run);
  if (run == nullptr) return NotFound(fmt::format("no {}", detail::Name(request.run)));
  if (request.after) return ReadEvents(*run, *request.after);
  StatusOr<std::optional<UpdateAnswer>> answer = ReadAnswer(*run, request);
  if (!answer.ok()) return answer.status();
  if (run->status == RunStatus::kRunning && !answer->has_value()) return std::optional<RunSnapshot>();
  std::optional<RunSnapshot> snapshot(std::in_place);
  snapshot->answer = *std::move(answer);
  snapshot->now = now_;
  snapshot->row = t_.ToRow(*run);
  std::string end = run->status == RunStatus::kRunning ? std::string() : t_.LastRecord(*run);
  if (!end.empty()) snapshot->records.push_back(std::move(end));
  return snapshot;
}

template <class Tables>
std::optional<RunSnapshot> StoreProtocol<Tables>::ReadEvents(const Run& run, EventId after) {
  if (run.status == RunStatus::kRunning && run.version <= after) return std::nullopt;
  RunSnapshot snapshot;
  snapshot.now = now_;
  snapshot.row = t_.ToRow(run);
  snapshot.more_records = t_.ReadRecords(run, after, limits::kHistoryPageBytes, snapshot.records);
  return snapshot;
}

}  // namespace marathon::inline MARATHON_ABI
