#pragma once

#include "marathon/event.h"

#include <fmt/format.h>

#include <type_traits>

#include "marathon/detail/event_fields.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE EventBody::EventBody(const EventBody& other) = default;
MARATHON_INLINE EventBody::EventBody(EventBody&& other) noexcept = default;
MARATHON_INLINE EventBody& EventBody::operator=(const EventBody& other) = default;
MARATHON_INLINE EventBody& EventBody::operator=(EventBody&& other) noexcept = default;
MARATHON_INLINE EventBody::~EventBody() = default;

MARATHON_INLINE bool EventBody::Equals(const EventBody& other) const {
  return static_cast<const detail::AnyEvent&>(*this) == static_cast<const detail::AnyEvent&>(other);
}

MARATHON_INLINE EventType TypeOf(const EventBody& body) {
  return std::visit(
      [](const auto& event) { return detail::Layout<std::decay_t<decltype(event)>>::type; }, body);
}

MARATHON_INLINE std::string ToString(EventType type) {
  std::string name;
  detail::AnyEventType([&]<class T>(std::in_place_type_t<T>) {
    if (detail::Layout<T>::type != type) return false;
    name = detail::Layout<T>::name;
    return true;
  });
  if (name.empty()) name = fmt::format("unknown event {}", static_cast<int>(type));
  return name;
}

namespace detail {

// What Describe adds to the event's name.
struct DescribeDetail {
  std::string operator()(const WorkflowStarted& e) {
    return fmt::format(" \"{}\"", e.workflow_type);
  }
  std::string operator()(const ActivityScheduled& e) {
    return fmt::format(" \"{}\"", e.activity_type);
  }
  std::string operator()(const LocalActivityStarted& e) {
    return fmt::format(" \"{}\"", e.activity_type);
  }
  std::string operator()(const SignalReceived& e) { return fmt::format(" \"{}\"", e.name); }
  std::string operator()(const TimerStarted& e) {
    return fmt::format(" ({} ms)", e.duration.count());
  }
  std::string operator()(const TimerFired& e) { return fmt::format(" (timer {})", e.timer); }
  std::string operator()(const TimerCanceled& e) { return fmt::format(" (timer {})", e.timer); }
  std::string operator()(const ActivityCompleted& e) {
    return fmt::format(" (activity {})", e.scheduled);
  }
  std::string operator()(const ActivityCancelRequested& e) {
    return fmt::format(" (activity {})", e.scheduled);
  }
  std::string operator()(const ActivityFailed& e) {
    return fmt::format(" (activity {}): {}", e.scheduled, ToString(e.failure));
  }
  std::string operator()(const WorkflowFailed& e) { return ": " + ToString(e.failure); }
  std::string operator()(const WorkflowTerminated& e) { return ": " + e.reason; }
  std::string operator()(const WorkflowCanceled& e) { return ": " + e.reason; }
  std::string operator()(const WorkflowCancelRequested& e) { return ": " + e.reason; }
  std::string operator()(const UpdateAccepted& e) {
    return fmt::format(" \"{}\" ({})", e.name, e.update_id);
  }
  std::string operator()(const UpdateCompleted& e) {
    return fmt::format(" (update {}){}", e.accepted, e.failure ? ": " + ToString(*e.failure) : "");
  }
  std::string operator()(const VersionRecorded& e) {
    return fmt::format(" \"{}\" {}", e.change, e.version);
  }
  std::string operator()(const AttributesSet& e) {
    std::string names;
    for (const auto& [name, text] : e.attributes) {
      names += fmt::format("{}\"{}\"", names.empty() ? " " : ", ", name);
    }
    return names;
  }
  std::string operator()(const TurnStarted&) { return ""; }
  std::string operator()(const SideEffectRecorded&) { return ""; }
  std::string operator()(const WorkflowCompleted&) { return ""; }
  std::string operator()(const WorkflowTimedOut&) { return ""; }
  std::string operator()(const WorkflowContinuedAsNew& e) {
    return fmt::format(" \"{}\"", e.workflow_type);
  }
};

}  // namespace detail

MARATHON_INLINE std::string_view NextRunId(const EventBody& closing) {
  if (const auto* e = std::get_if<WorkflowContinuedAsNew>(&closing)) return e->run_id;
  if (const auto* e = std::get_if<WorkflowFailed>(&closing)) return e->next_run_id;
  if (const auto* e = std::get_if<WorkflowTimedOut>(&closing)) return e->next_run_id;
  return {};
}

MARATHON_INLINE std::string Describe(const EventBody& body) {
  return ToString(TypeOf(body)) + std::visit(detail::DescribeDetail{}, body);
}

}  // namespace marathon::inline MARATHON_ABI
