// HistoryBuilder: histories by hand, for tests that replay code without having run it. It numbers the events,
// opens turns, and lets each answer find what it answers.
//
//   StatusOr<History> history = HistoryBuilder()
//       .Started("Checkout", order)
//       .ActivityScheduled("Charge", order)
//       .NextTurn(5s)
//       .ActivityCompleted("Charge", std::string("receipt-1"))
//       .Completed(std::string("receipt-1"))
//       .Build();
//
// A mistake (an answer to nothing, an event after the end) is reported by Build. A value; no thread rule.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

class HistoryBuilder {
 public:
  // The first turn opens at `start`.
  explicit HistoryBuilder(Time start = FromMicros(1'893'456'000'000'000)) : now_(start) {}

  // ---- What happens to the run

  template <class In>
  HistoryBuilder& Started(std::string_view workflow_type, const In& input) {
    return StartedWith(workflow_type, Encode(input));
  }
  HistoryBuilder& Started(std::string_view workflow_type) {
    return StartedWith(workflow_type, Payload());
  }
  // A new commit, `elapsed` after the turn before it.
  HistoryBuilder& NextTurn(Duration elapsed = Duration(0));
  // Answers the oldest activity of that type which has no answer yet.
  template <class Out>
  HistoryBuilder& ActivityCompleted(std::string_view activity_type, const Out& result) {
    return CompletedWith(activity_type, Encode(result));
  }
  HistoryBuilder& ActivityCompleted(std::string_view activity_type) {
    return CompletedWith(activity_type, Payload());
  }
  HistoryBuilder& ActivityFailed(std::string_view activity_type, Failure failure, int attempt = 1);
  // The oldest timer that has neither fired nor been canceled.
  HistoryBuilder& TimerFired();
  template <class T>
  HistoryBuilder& SignalReceived(std::string_view name, const T& value) {
    return SignalWith(name, Encode(value));
  }
  // With the update id "NAME-1" for the first of a name, and so on.
  template <class In>
  HistoryBuilder& UpdateAccepted(std::string_view name, const In& input) {
    return UpdateWith(name, Encode(input));
  }
  HistoryBuilder& UpdateAccepted(std::string_view name) { return UpdateWith(name, Payload()); }
  HistoryBuilder& Terminated(std::string_view reason);

  // ---- What its code asked for

  template <class In>
  HistoryBuilder& ActivityScheduled(std::string_view activity_type, const In& input) {
    return ScheduledWith(activity_type, Encode(input));
  }
  HistoryBuilder& ActivityScheduled(std::string_view activity_type) {
    return ScheduledWith(activity_type, Payload());
  }
  // Answered as other activities are, before the next turn.
  HistoryBuilder& LocalActivityStarted(std::string_view activity_type);
  HistoryBuilder& TimerStarted(Duration duration);
  HistoryBuilder& TimerCanceled();  // the oldest, as above
  template <class T>
  HistoryBuilder& SideEffect(const T& value) {
    return SideEffectWith(Encode(value));
  }
  // Answers the oldest update of that name which has no answer yet.
  template <class Out>
  HistoryBuilder& UpdateCompleted(std::string_view name, const Out& result) {
    return UpdatedWith(name, Encode(result));
  }
  HistoryBuilder& UpdateCompleted(std::string_view name) { return UpdatedWith(name, Payload()); }
  HistoryBuilder& UpdateFailed(std::string_view name, Failure failure);
  template <class Out>
  HistoryBuilder& Completed(const Out& result) {
    return EndedWith(Encode(result));
  }
  HistoryBuilder& Completed() { return EndedWith(Payload()); }
  HistoryBuilder& Failed(Failure failure);

  // Any other event, as it is.
  HistoryBuilder& Add(EventBody body);
  // The id of the event added last.
  EventId last_id() const { return static_cast<EventId>(history_.size()); }

  // kInvalidArgument: the first mistake, and at which event.
  StatusOr<History> Build() const;

 private:
  HistoryBuilder& StartedWith(std::string_view workflow_type, StatusOr<Payload> input);
  HistoryBuilder& ScheduledWith(std::string_view activity_type, StatusOr<Payload> input);
  HistoryBuilder& CompletedWith(std::string_view activity_type, StatusOr<Payload> result);
  HistoryBuilder& SignalWith(std::string_view name, StatusOr<Payload> value);
  HistoryBuilder& UpdateWith(std::string_view name, StatusOr<Payload> input);
  HistoryBuilder& UpdatedWith(std::string_view name, StatusOr<Payload> result);
  HistoryBuilder& SideEffectWith(StatusOr<Payload> value);
  HistoryBuilder& EndedWith(StatusOr<Payload> result);
  // The value, or nothing, and a mistake.
  Payload Take(StatusOr<Payload> value);
  EventId TakeActivity(std::string_view activity_type);
  EventId TakeTimer();
  EventId TakeUpdate(std::string_view name);
  void Mistake(std::string_view what);

  Time now_;
  History history_;
  std::map<std::string, std::deque<EventId>, std::less<>> activities_;  // pending, by type
  struct Updates {
    int count = 0;
    std::deque<EventId> pending;
  };
  std::map<std::string, Updates, std::less<>> updates_;                 // by name
  std::deque<EventId> timers_;                                          // pending
  std::string mistake_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/history_builder-inl.h"
#endif
