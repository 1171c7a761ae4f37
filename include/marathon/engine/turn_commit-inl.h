// TurnRunner: what a turn commits, and what the store's answer means.
#pragma once

#include "marathon/engine/turn_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/detail/run_messages.h"
#include "marathon/engine/host.h"
#include "marathon/engine/to_schedule.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

// The status of a run that its code has ended with `closing`.
inline RunStatus StatusAfter(const EventBody& closing) {
  if (std::holds_alternative<WorkflowCompleted>(closing)) return RunStatus::kCompleted;
  if (std::holds_alternative<WorkflowContinuedAsNew>(closing)) return RunStatus::kContinuedAsNew;
  if (std::holds_alternative<WorkflowCanceled>(closing)) return RunStatus::kCanceled;
  return RunStatus::kFailed;
}

// Whether what the run's last turn has scheduled takes place: children do, but for those that would end at once.
inline bool StartsAtEnd(const RunSlot& slot, const ActivityScheduled& scheduled) {
  if (!IsChildRun(scheduled.activity_type)) return false;
  return slot.next != nullptr || !HeaderOf(scheduled.headers, header::kOnParentClose).empty();
}

MARATHON_INLINE TurnCommit TurnRunner::BuildCommit(RunSlot& slot) {
  TurnCommit commit;
  commit.run = slot.key;
  commit.expected_version = slot.base_version;
  commit.expected_commit = slot.commit_id;
  commit.incarnation = slot.incarnation;
  commit.commit_id = slot.turn_commit;
  // A try with claims may have been applied already: its session stays.
  if (slot.claims.empty()) slot.session = host_.session().id();
  commit.session = slot.session;
  commit.build_id = host_.options().build_id;
  const bool first = slot.base_version == 0 && slot.replayer != nullptr;
  commit.pin = first && host_.registry().IsPinned(slot.replayer->facts().workflow_type);
  commit.new_version = slot.events.empty() ? slot.base_version : slot.events.back().id;
  if (!slot.events.empty()) commit.record = EncodeEvents(slot.turn_commit, slot.events);
  slot.turn_bytes = static_cast<int64_t>(commit.record.size());
  commit.inbox_taken = slot.inbox_taken;
  for (const HandedOutcome& outcome : slot.taken) {
    commit.handed_over.push_back({outcome.activity, outcome.epoch});
  }
  commit.answers = slot.answers;
  if (slot.closing) {
    commit.close = StatusAfter(slot.events.back().body);
    if (slot.next) commit.next = host_.NextRunOf(*slot.next);
    commit.leave_signals = slot.close_refusals >= limits::kMaxCloseRefusals;
  }
  const bool first_build = !std::exchange(slot.claims_chosen, true);
  for (const Event& event : slot.events) {
    const auto* set = std::get_if<AttributesSet>(&event.body);
    if (set == nullptr) continue;
    commit.attributes.insert(commit.attributes.end(), set->attributes.begin(), set->attributes.end());
  }
  if (slot.closing) {
    for (const Event& event : slot.events) {
      if (const auto* canceled = std::get_if<ActivityCancelRequested>(&event.body)) {
        commit.cancel_activities.push_back({canceled->scheduled, false});
      }
      const auto* scheduled = std::get_if<ActivityScheduled>(&event.body);
      if (scheduled == nullptr || !StartsAtEnd(slot, *scheduled)) continue;
      commit.activities.push_back(ToSchedule(event.id, *scheduled));
      Choose(slot, commit.activities.back(), first_build);
    }
    if (slot.news) {
      commit.activities.push_back(*slot.news);
      Choose(slot, commit.activities.back(), first_build);
    }
    return commit;
  }
  // What was started and canceled in the same turn has no effect.
  for (const Event& event : slot.events) {
    if (const auto* scheduled = std::get_if<ActivityScheduled>(&event.body)) {
      NewActivity activity = ToSchedule(event.id, *scheduled);
      Choose(slot, activity, first_build);
      commit.activities.push_back(std::move(activity));
    } else if (const auto* timer = std::get_if<TimerStarted>(&event.body)) {
      commit.timers.push_back({event.id, timer->duration});
    } else if (const auto* no_timer = std::get_if<TimerCanceled>(&event.body)) {
      const EventId id = no_timer->timer;
      if (std::erase_if(commit.timers, [id](const NewTimer& t) { return t.id == id; }) == 0) {
        commit.cancel_timers.push_back(id);
      }
    } else if (const auto* canceled = std::get_if<ActivityCancelRequested>(&event.body)) {
      commit.cancel_activities.push_back({canceled->scheduled, canceled->wait});
    }
  }
  return commit;
}

// Whether this process starts the activity at once: asked again, as before.
MARATHON_INLINE void TurnRunner::Choose(RunSlot& slot, NewActivity& activity, bool first_build) {
  if (first_build) {
    activity.claim = host_.activities().Reserve(activity.activity_type, activity.task_queue, activity.policy.priority);
    if (activity.claim) slot.claims.push_back(activity.id);
  } else {
    activity.claim = std::ranges::find(slot.claims, activity.id) != slot.claims.end();
  }
}

MARATHON_INLINE void TurnRunner::Commit(SlotPtr slot) {
  TurnCommit commit = BuildCommit(*slot);
  host_.store().Commit(std::move(commit), [self = host_.Self(), slot](StatusOr<CommitReply> reply) {
    self->turns().OnCommitted(slot, std::move(reply));
  });
}

MARATHON_INLINE void TurnRunner::OnCommitted(SlotPtr slot, StatusOr<CommitReply> reply) {
  if (reply.ok()) return Applied(std::move(slot), reply->inbox_size);
  switch (reply.status().code()) {
    case StatusCode::kUnknown:
      if (MARATHON_MUTANT("unknown_commit_is_applied")) return Applied(std::move(slot), 0);
      slot->in_doubt = true;
      slot->refused = false;
      return LookUpCommit(std::move(slot));
    case StatusCode::kAborted:
    case StatusCode::kNotFound:
      slot->refused = true;
      return LookUpCommit(std::move(slot));
    case StatusCode::kFailedPrecondition:
      return Redo(std::move(slot));
    case StatusCode::kDataLoss: {
      if (slot->in_doubt) return TryAgain(std::move(slot), &TurnRunner::Commit);
      const EventId version = slot->base_version;
      return Block(std::move(slot), fmt::format("its turn cannot be stored: {}", MessageOf(reply.status())), version);
    }
    case StatusCode::kOutOfRange:
    case StatusCode::kInvalidArgument: {
      Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
      failure.type = failure_type::kTooLarge;
      failure.message = fmt::format("its turn was refused: {}", MessageOf(reply.status()));
      return FailRun(std::move(slot), std::move(failure));
    }
    default:
      break;
  }
  if (!IsTransient(reply.status())) {
    host_.Log(LogLevel::kError, fmt::format("a turn of run {} was not committed: {}",
                                            slot->key.run_id, MessageOf(reply.status())));
    return Lost(std::move(slot));
  }
  TryAgain(std::move(slot), &TurnRunner::Commit);
}

MARATHON_INLINE void TurnRunner::TryAgain(SlotPtr slot, void (TurnRunner::*step)(SlotPtr)) {
  constexpr int kPatience = 8;
  if (++slot->failures > kPatience && host_.stopping()) return GiveUp(std::move(slot));
  host_.AfterBackoff(slot->failures,
                     [self = host_.Self(), slot, step] { (self->turns().*step)(slot); });
}

// Was our commit applied? Its id tells.
MARATHON_INLINE void TurnRunner::LookUpCommit(SlotPtr slot) {
  ReadRequest request;
  request.run = slot->key;
  host_.store().Read(std::move(request), [self = host_.Self(), slot](StatusOr<RunSnapshot> read) {
    TurnRunner& turns = self->turns();
    if (!read.ok() && IsTransient(read.status())) {
      turns.TryAgain(slot, &TurnRunner::LookUpCommit);
    } else if (!read.ok()) {
      turns.Lost(slot);
    } else if (read->row.commit_id == slot->turn_commit) {
      turns.Applied(slot, read->row.inbox_size);
    } else if (slot->in_doubt && IsOpen(read->row) && read->row.version == slot->base_version) {
      turns.GoOnInDoubt(slot, Rests(read->row));
    } else {
      turns.Lost(slot);
    }
  });
}

// The run is where it was. A rest refuses the commit, which may come once more when the rest is over, and with it claims that
// nobody would work at: so the rest is waited for.
MARATHON_INLINE void TurnRunner::GoOnInDoubt(SlotPtr slot, bool rests) {
  if (rests && !slot->claims.empty()) {
    slot->refused = false;
    TryAgain(std::move(slot), &TurnRunner::LookUpCommit);
  } else {
    rests || slot->refused ? Lost(std::move(slot)) : Commit(std::move(slot));
  }
}

// Of a history when it passes a mark, and of each event that is large.
MARATHON_INLINE void TurnRunner::WarnOfSize(const RunSlot& slot) {
  if (slot.events.empty()) return;
  const EventId events = slot.events.back().id;
  const int64_t bytes_before = slot.history_bytes - slot.turn_bytes;
  const bool many = slot.base_version < limits::kHistoryWarnEvents && events >= limits::kHistoryWarnEvents;
  const bool much = bytes_before < limits::kHistoryWarnBytes && slot.history_bytes >= limits::kHistoryWarnBytes;
  if (many || much) {
    host_.Log(LogLevel::kWarning,
              fmt::format("run {} of workflow \"{}\" has a history of {} events and {} bytes, and fails at {} or {}: "
                          "let it continue as new", slot.key.run_id, slot.key.workflow_id, events, slot.history_bytes,
                          limits::kHistoryMaxEvents, limits::kHistoryMaxBytes));
  }
  if (slot.turn_bytes < static_cast<int64_t>(limits::kPayloadWarnBytes)) return;
  for (const Event& event : slot.events) {
    const size_t size = EncodeBody(event.body).size();
    if (size < limits::kPayloadWarnBytes) continue;
    host_.Log(LogLevel::kWarning,
              fmt::format("run {} of workflow \"{}\": event {}, {}, has {} bytes; values that large are better kept "
                          "elsewhere, and their names in the history", slot.key.run_id, slot.key.workflow_id, event.id,
                          Describe(event.body), size));
  }
}

MARATHON_INLINE void TurnRunner::Applied(SlotPtr slot, int64_t inbox_left) {
  slot->commit_id = slot->turn_commit;
  slot->history_bytes += slot->turn_bytes;
  WarnOfSize(*slot);
  slot->turn_bytes = 0;
  slot->failures = 0;
  slot->close_refusals = 0;
  slot->signals_first = false;
  for (size_t i = 0; i < slot->taken.size(); ++i) host_.session().Release();
  slot->taken.clear();
  if (host_.options().verify_determinism) {
    slot->verified.insert(slot->verified.end(), slot->events.begin(), slot->events.end());
  }
  const PooledVector<EventId> claims = std::exchange(slot->claims, {});
  const auto claimed_row = [&slot](EventId id) {
    ActivityRow row;
    row.key = {slot->key, id};
    row.state = ActivityState::kClaimed;
    row.epoch = UnclaimedEpoch(slot->commit_id) + 1;
    row.session = slot->session;
    row.scheduled_at = slot->now;
    return row;
  };
  for (Event& event : slot->events) {
    if (auto* scheduled = std::get_if<ActivityScheduled>(&event.body)) {
      if (std::ranges::find(claims, event.id) == claims.end()) continue;
      ActivityRow row = claimed_row(event.id);
      row.workflow_type = slot->replayer->facts().workflow_type;
      row.activity_type = std::move(scheduled->activity_type);
      row.task_queue = std::move(scheduled->task_queue);
      row.input = std::move(scheduled->input);
      row.headers = std::move(scheduled->headers);
      row.policy = std::move(scheduled->policy);
      if (IsChildRun(row.activity_type)) row.owed = Owed::kAtEnd;
      slot->closing ? StartOwed(*slot, std::move(row))
                    : host_.activities().Start(std::move(row), slot);
    } else if (const auto* canceled = std::get_if<ActivityCancelRequested>(&event.body)) {
      host_.activities().Cancel({slot->key, canceled->scheduled});
    }
  }
  if (slot->news && std::ranges::find(claims, slot->news->id) != claims.end()) {
    ActivityRow row = claimed_row(slot->news->id);
    row.activity_type = std::move(slot->news->activity_type);
    row.task_queue = std::move(slot->news->task_queue);
    row.headers = std::move(slot->news->headers);
    StartOwed(*slot, std::move(row));
  }
  if (inbox_left > 0) cache_.NoteWoken(*slot);
  if (slot->next) host_.WakeNext(slot->key.workflow_id, *slot->next);
  const bool keep = !slot->closing;
  Finish(std::move(slot), keep);
}

// It takes room of its own: the run has no turns any more that could take its outcome.
MARATHON_INLINE void TurnRunner::StartOwed(const RunSlot& slot, ActivityRow row) {
  if (!slot.next) row.owed = Owed::kNow;
  const std::string type = row.activity_type;
  host_.activities().Start(std::move(row));
  host_.activities().Unreserve(type);
}

}  // namespace marathon::inline MARATHON_ABI::detail
