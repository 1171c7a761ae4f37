#pragma once

#include "marathon/engine/replayer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/detail/run_messages.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

static_assert(sizeof(Replayer) <= BlockPool::kLargest, "each run has one");

// Whom a command reaches: for a child, the workflow id it was given; for a signal or a cancel, another run's, or one of
// the run's own children.
struct CommandTarget {
  std::string_view child;  // the event that scheduled it
  std::string_view workflow_id;

  friend bool operator==(const CommandTarget&, const CommandTarget&) = default;
};
MARATHON_INLINE CommandTarget TargetOf(const EventBody& body) {
  const auto* scheduled = std::get_if<ActivityScheduled>(&body);
  if (scheduled == nullptr || scheduled->headers.empty()) return {};
  // The id of a child that was given none is made of the run's own, which is another in a fork. The event tells which it is.
  if (const auto child = HeaderOf(scheduled->headers, header::kEvent); !child.empty()) return {child, {}};
  return {{}, HeaderOf(scheduled->headers, header::kWorkflowId)};
}

// A command for people, with its target.
MARATHON_INLINE std::string DescribeCommand(const EventBody& body) {
  const CommandTarget target = TargetOf(body);
  if (!target.child.empty()) return fmt::format("{} for child {}", Describe(body), target.child);
  if (!target.workflow_id.empty()) return fmt::format("{} for \"{}\"", Describe(body), target.workflow_id);
  return Describe(body);
}

// Whether the code's command is the one history has. Inputs and durations may differ between builds.
MARATHON_INLINE bool SameCommand(const EventBody& recorded, const EventBody& issued) {
  if (recorded.index() != issued.index()) return false;
  if (const auto* a = std::get_if<ActivityScheduled>(&recorded)) {
    return a->activity_type == std::get<ActivityScheduled>(issued).activity_type;
  }
  if (const auto* a = std::get_if<LocalActivityStarted>(&recorded)) {
    return a->activity_type == std::get<LocalActivityStarted>(issued).activity_type;
  }
  if (const auto* a = std::get_if<ActivityCancelRequested>(&recorded)) {
    return *a == std::get<ActivityCancelRequested>(issued);
  }
  if (const auto* a = std::get_if<WorkflowContinuedAsNew>(&recorded)) {
    return a->workflow_type == std::get<WorkflowContinuedAsNew>(issued).workflow_type;
  }
  if (const auto* a = std::get_if<UpdateCompleted>(&recorded)) {
    const auto& b = std::get<UpdateCompleted>(issued);
    return a->accepted == b.accepted && a->failure.has_value() == b.failure.has_value();
  }
  if (const auto* a = std::get_if<TimerCanceled>(&recorded)) {
    return *a == std::get<TimerCanceled>(issued);
  }
  if (const auto* a = std::get_if<AttributesSet>(&recorded)) {
    const auto same_name = [](const auto& x, const auto& y) { return x.first == y.first; };
    return std::ranges::equal(a->attributes, std::get<AttributesSet>(issued).attributes, same_name);
  }
  return true;
}

// Terminated and timed-out runs were closed over their code's head.
inline bool ClosedFromOutside(const EventBody& body) {
  return std::holds_alternative<WorkflowTerminated>(body) ||
         std::holds_alternative<WorkflowTimedOut>(body);
}

inline bool IssuedByCode(const EventBody& body) {
  const EventType type = TypeOf(body);
  return (IsCommand(type) || IsClosing(type)) && !ClosedFromOutside(body);
}

}  // namespace detail

MARATHON_INLINE Replayer::Replayer(RunFacts facts, const detail::WorkflowFactory& factory)
    : factory_(factory), core_(std::move(facts)), context_(core_) {}

MARATHON_INLINE void Replayer::Begin(EventId id, const TurnStarted& marker) {
  last_turn_ = marker.time;
  if (!marker.build_id.empty()) build_id_ = marker.build_id;
  core_.BeginTurn(id, marker.time, marker.behavior_flags);
}

MARATHON_INLINE void Replayer::Remember(const WorkflowStarted& started) {
  core_.SetStart(started);
  const bool is_plain = started.headers.empty() && started.origin.empty() &&
                        started.priority == limits::kDefaultPriority;
  if (is_plain) return;
  started_ = std::make_unique<WorkflowStarted>(started);
  const bool retried = !started.origin.empty() && started.origin.front().retry.has_value();
  if (!retried) started_->input = Payload();  // nobody will need it again
}

// Where user code is entered for the first time: calling a coroutine function copies its arguments,
// which may throw.
MARATHON_INLINE void Replayer::Apply(EventId id, const EventBody& inbound) {
  core_.Apply(id, inbound);
  if (const auto* started = std::get_if<WorkflowStarted>(&inbound)) {
    Remember(*started);
    try {
      detail::RootWorkflow root;
      if (const Status made = factory_(context_, started->input, &root); made.ok()) {
        core_.Adopt(std::move(root));
      } else {
        core_.CloseWith(WorkflowFailed{detail::InputFailure(made)});
      }
    } catch (...) {
      core_.CloseWith(WorkflowFailed{FailureFrom(std::current_exception())});
    }
  }
  core_.RunUntilBlocked();
}

MARATHON_INLINE std::optional<Mismatch> Replayer::Replay(std::span<const Event> events) {
  bool without_code = false;
  for (size_t i = 0; i < events.size();) {
    const Event& event = events[i];
    version_ = event.id;
    if (const auto* marker = std::get_if<TurnStarted>(&event.body)) {
      if ((marker->behavior_flags & ~kBehaviorFlags) != 0) {
        return Mismatch{event.id, fmt::format("behavior flags {:#x}, of a newer build", marker->behavior_flags),
                        fmt::format("knows only {:#x}", kBehaviorFlags), {}};
      }
      without_code = (marker->behavior_flags & kTurnWithoutCode) != 0;
      Begin(event.id, *marker);
      ++i;
    } else if (without_code || detail::ClosedFromOutside(event.body)) {
      ++i;
    } else if (!IsInbound(TypeOf(event.body))) {
      return Mismatch{event.id, Describe(event.body), "issued nothing here", {}};
    } else {
      const auto recorded = events.subspan(i + 1);
      if (!core_.IsPending(event.body)) {
        return Mismatch{event.id, Describe(event.body), "waits for no such thing", {}};
      }
      core_.SetReplay(true, recorded);
      Apply(event.id, event.body);
      std::optional<Mismatch> mismatch = std::move(core_.mismatch());
      const size_t matched = Match(event.id, recorded, mismatch);
      if (mismatch) return mismatch;
      version_ += static_cast<EventId>(matched);
      i += 1 + matched;
    }
  }
  return std::nullopt;
}

MARATHON_INLINE StatusOr<Payload> Replayer::Query(std::string_view name, const Payload& input) {
  if (!core_.has_code()) return FailedPrecondition("the run was ended before its code began");
  if (!core_.closed()) return core_.Query(name, input);
  if (core_.answer_at_end()) return std::move(*core_.answer_at_end());
  return FailedPrecondition("the run ended without returning: what its handlers looked at is gone");
}

MARATHON_INLINE size_t Replayer::Match(EventId after, std::span<const Event> recorded,
                                       std::optional<Mismatch>& mismatch) {
  auto& issued = core_.issued();
  size_t unread = 0;  // signals that the run ended without reading stand before its end
  for (size_t i = 0; i < issued.size(); ++i) {
    while (IsClosing(TypeOf(issued[i].event.body)) && i + unread < recorded.size() &&
           std::holds_alternative<SignalReceived>(recorded[i + unread].body)) {
      ++unread;
    }
    const size_t at = i + unread;
    const bool exists = at < recorded.size() && detail::IssuedByCode(recorded[at].body);
    const EventBody& body = issued[i].event.body;
    // In a turn that a fork has kept, what was made of the other run's id is made of the fork's.
    const bool same = exists && detail::SameCommand(recorded[at].body, body) &&
                      (core_.in_kept_turn() || detail::TargetOf(recorded[at].body) == detail::TargetOf(body));
    if (same) continue;
    mismatch = Mismatch{issued[i].event.id,
                        exists ? detail::DescribeCommand(recorded[at].body) : "no further command in this turn",
                        "issued " + detail::DescribeCommand(body), issued[i].where};
    return i;
  }
  const size_t count = issued.size() + unread;
  if (!mismatch && count < recorded.size() && detail::IssuedByCode(recorded[count].body)) {
    mismatch = Mismatch{after + static_cast<EventId>(count) + 1, Describe(recorded[count].body),
                        "issued nothing", {}};
    if (!issued.empty()) {
      mismatch->issued += " more after " + Describe(issued.back().event.body);
      mismatch->where = issued.back().where;
    }
  }
  issued.clear();
  return count;
}

// `marker`: null if the turn has its own already.
MARATHON_INLINE TurnOutput Replayer::Take(TurnStarted* marker, detail::PooledVector<EventBody> inbound) {
  TurnOutput output;
  std::vector<EventBody> unread;
  if (marker != nullptr && marker->build_id == build_id_) marker->build_id.clear();
  core_.SetReplay(false, {});
  for (EventBody& body : inbound) {
    if (core_.closed()) {
      if (IsForWorkflow(body)) unread.push_back(std::move(body));
      continue;
    }
    const auto* update = std::get_if<UpdateAccepted>(&body);
    const Time now = marker != nullptr ? marker->time : core_.now();
    if (update != nullptr ? !core_.Admits(*update, now) : !core_.IsPending(body)) continue;
    if (marker != nullptr) {  // once
      Begin(++version_, *marker);
      output.events.reserve(2 * inbound.size() + 2);  // if each is answered by one command
      output.events.push_back({version_, std::move(*std::exchange(marker, nullptr))});
    }
    Apply(++version_, body);
    output.events.push_back({version_, std::move(body)});
    for (auto& command : core_.issued()) output.events.push_back(std::move(command.event));
    core_.issued().clear();
    version_ = output.events.back().id;
  }
  // A run that was to be canceled is not tried again.
  const bool ends = core_.closed() && !output.events.empty();
  if (ends && (!core_.cancel_requested() ||
               std::holds_alternative<WorkflowContinuedAsNew>(output.events.back().body))) {
    static const WorkflowStarted kPlain;
    output.next = FollowEnd(core_.facts().key.run_id, started_ ? *started_ : kPlain, core_.labels(),
                            output.events.back());
  }
  if (!output.next) {  // nobody is there to be canceled any more
    std::erase_if(unread, [](const EventBody& body) {
      return !std::holds_alternative<SignalReceived>(body);
    });
  }
  if (output.next) {  // what this run has not read, that one will
    output.next->unread = core_.TakeUnread();
    for (EventBody& body : unread) output.next->unread.push_back(std::move(body));
  } else if (!unread.empty()) {  // recorded all the same, before the end
    output.unread_signals = true;
    Event closing = std::move(output.events.back());
    output.events.pop_back();
    for (EventBody& body : unread) output.events.push_back({closing.id++, std::move(body)});
    version_ = closing.id;
    output.events.push_back(std::move(closing));
  }
  output.answers = core_.TakeAnswers();
  output.mismatch = std::move(core_.mismatch());
  output.closed = core_.closed();
  return output;
}

}  // namespace marathon::inline MARATHON_ABI
