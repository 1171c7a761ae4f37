// TurnRunner: what becomes of a turn that comes to nothing. It is taken again, given up or another worker's, or its run
// fails, blocks or is given back.
#pragma once

#include "marathon/engine/turn_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "marathon/detail/run_messages.h"
#include "marathon/engine/host.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

// Forgets what the turn did: the coroutines have gone on and cannot go back.
MARATHON_INLINE void TurnRunner::Undo(RunSlot& slot) {
  for (const EventId id : std::exchange(slot.claims, {})) {
    if (slot.news && slot.news->id == id) host_.activities().Unreserve(kTellParent);
    for (const Event& event : slot.events) {
      const auto* scheduled = std::get_if<ActivityScheduled>(&event.body);
      if (event.id == id && scheduled != nullptr) {
        host_.activities().Unreserve(scheduled->activity_type);
      }
    }
  }
  slot.news.reset();
  slot.events.clear();
  slot.claims_chosen = false;
  slot.closing = false;
  slot.next.reset();
  slot.answers.clear();
  slot.replayer.reset();
}

// A signal came before the close: the turn is taken again, with the signals first.
MARATHON_INLINE void TurnRunner::Redo(SlotPtr slot) {
  ++slot->close_refusals;
  slot->signals_first = true;
  Undo(*slot);
  Take(std::move(slot));
}

MARATHON_INLINE void TurnRunner::ReturnOutcomes(RunSlot& slot) {
  for (HandedOutcome& outcome : std::exchange(slot.taken, {})) {
    if (MARATHON_MUTANT("lost_turn_drops_outcomes")) {
      host_.session().Release();
    } else {
      SendHanded(slot, std::move(outcome));
    }
  }
}

MARATHON_INLINE void TurnRunner::SendHanded(const RunSlot& slot, HandedOutcome outcome) {
  host_.session().Release();
  AttemptEnd end;
  end.key = {slot.key, outcome.activity};
  end.epoch = outcome.epoch;
  end.outcome = std::move(outcome.outcome);
  end.session = host_.session().id();
  host_.activities().SendEnd(std::move(end));
}

MARATHON_INLINE void TurnRunner::GiveUp(SlotPtr slot) {
  Undo(*slot);
  ReturnOutcomes(*slot);
  Finish(std::move(slot), false);
}

MARATHON_INLINE void TurnRunner::Discard(SlotPtr slot) {
  Undo(*slot);
  Finish(std::move(slot), false);
}

// Stands among a slot's claims when they are still to be looked for.
inline constexpr EventId kLookAgain = 0;

// Somebody else went on, or nobody knows. What is in the store counts, and that may include claims of
// ours that were applied by a commit whose reply is lost.
MARATHON_INLINE void TurnRunner::Lost(SlotPtr slot) {
  const bool claimed = !slot->claims.empty();
  const bool again = claimed && slot->claims.back() == kLookAgain;
  if (claimed && !again) host_.session().HoldClaimed();  // as long as it may be so
  Undo(*slot);
  ReturnOutcomes(*slot);
  cache_.NoteWoken(*slot);
  if (!claimed) return Finish(std::move(slot), true);
  host_.session().Renew();
  ReadRequest request;
  request.run = slot->key;
  request.activities = true;
  host_.store().Read(std::move(request), [self = host_.Self(), slot](StatusOr<RunSnapshot> read) {
    if (!read.ok() && IsTransient(read.status())) {
      slot->claims.push_back(kLookAgain);
      return self->turns().TryAgain(slot, &TurnRunner::Lost);
    }
    if (read.ok()) {
      const SessionId session = self->session().id();
      for (ActivityRow& row : read->activities) {
        if (row.state == ActivityState::kClaimed && row.session == session &&
            self->activities().MayBegin(row.key, row.epoch)) {
          self->activities().Start(std::move(row));
        }
      }
    }
    self->session().Release();
    self->turns().Finish(slot, true);
  });
}

// Ends the run as failed, over its code's head.
MARATHON_INLINE void TurnRunner::FailRun(SlotPtr slot, Failure failure) {
  host_.Log(LogLevel::kError, fmt::format("run {} of \"{}\" fails: {}", slot->key.run_id,
                                          slot->key.workflow_id, failure.message));
  const Time last_turn = slot->replayer ? slot->replayer->last_turn() : Time();
  const Time time = std::max(slot->now, last_turn);
  std::optional<NewActivity> news;
  if (slot->replayer) news = NewsOf(*slot, slot->base_version + 2);
  Undo(*slot);
  slot->news = std::move(news);
  slot->turn_commit = host_.runtime().Random();
  slot->in_doubt = slot->refused = false;
  slot->events.push_back({slot->base_version + 1, TurnStarted{time, "", kTurnWithoutCode}});
  slot->events.push_back({slot->base_version + 2, WorkflowFailed{std::move(failure)}});
  slot->closing = true;
  slot->close_refusals = limits::kMaxCloseRefusals;
  Commit(std::move(slot));
}

MARATHON_INLINE void TurnRunner::Block(SlotPtr slot, std::string reason, EventId event_id) {
  host_.Log(LogLevel::kError,
            fmt::format("run {} of workflow \"{}\" is blocked: {}", slot->key.run_id,
                        slot->key.workflow_id, reason));
  Leave(std::move(slot), {host_.options().build_id, std::move(reason), event_id});
}

MARATHON_INLINE void TurnRunner::GiveBack(SlotPtr slot, std::string reason, EventId event_id) {
  host_.Log(LogLevel::kWarning,
            fmt::format("run {} of workflow \"{}\" is given back: {}", slot->key.run_id,
                        slot->key.workflow_id, reason));
  BlockInfo info{host_.options().build_id, std::move(reason), event_id};
  info.retry_at = Time();  // when, the store says
  Leave(std::move(slot), std::move(info));
}

MARATHON_INLINE void TurnRunner::Leave(SlotPtr slot, BlockInfo info) {
  Undo(*slot);
  ReturnOutcomes(*slot);
  host_.store().Block(slot->key, slot->base_version, info,
                      [self = host_.Self(), slot, info](Status status) {
                        constexpr int kPatience = 8;
                        const bool enough = slot->failures >= kPatience && self->stopping();
                        if (!IsTransient(status) || enough) return self->turns().Finish(slot, false);
                        self->AfterBackoff(++slot->failures, [self, slot, info] {
                          self->turns().Leave(slot, info);
                        });
                      });
}

}  // namespace marathon::inline MARATHON_ABI::detail
