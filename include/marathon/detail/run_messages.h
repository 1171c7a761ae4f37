// How a run reaches other runs: through activities of reserved types, which the engine runs itself
// (engine/run_messages.h). Their input is the child's or the signal's; what else there is to say is in headers.
//
// Persisted: names of types and headers must not change. Functions only; no thread rule.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/detail/text.h"
#include "marathon/ids.h"
#include "marathon/labels.h"

namespace marathon::inline MARATHON_ABI::detail {

inline constexpr std::string_view kChildRun = "marathon.child/";      // and the workflow's type
inline constexpr std::string_view kSignalRun = "marathon.signal/";    // and the signal's name
inline constexpr std::string_view kCancelRun = "marathon.cancel";
inline constexpr std::string_view kTellParent = "marathon.parent";  // that a child has ended

inline constexpr std::string_view kParentHasEnded = "its parent has ended";  // why a child is terminated, or canceled

namespace header {
inline constexpr std::string_view kWorkflowId = "marathon.workflow_id";
inline constexpr std::string_view kRunId = "marathon.run_id";
inline constexpr std::string_view kTaskQueue = "marathon.task_queue";
inline constexpr std::string_view kRunTimeout = "marathon.run_timeout_ms";
inline constexpr std::string_view kStartDelay = "marathon.start_delay_ms";
inline constexpr std::string_view kOnParentClose = "marathon.on_parent_close";
inline constexpr std::string_view kReason = "marathon.reason";
inline constexpr std::string_view kEvent = "marathon.event";  // which scheduled the child
inline constexpr std::string_view kForkedFrom = "marathon.forked_from";  // see detail/forks.h
inline constexpr std::string_view kMemo = "marathon.memo/";            // and the label's name
inline constexpr std::string_view kAttribute = "marathon.attribute/";  // the same
}  // namespace header

inline bool IsChildRun(std::string_view activity_type) { return activity_type.starts_with(kChildRun); }

inline std::string_view HeaderOf(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

inline int64_t NumberOf(const Headers& headers, std::string_view name) {
  const std::string_view text = HeaderOf(headers, name);
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// The labels whose names stand behind `prefix`.
inline Labels LabelsOf(const Headers& headers, std::string_view prefix) {
  Labels labels;
  for (const auto& [key, value] : headers) {
    if (key.starts_with(prefix)) labels.emplace_back(key.substr(prefix.size()), value);
  }
  return labels;
}

// The first run of the child that event `key.id` of a run has scheduled: everybody names it alike.
inline RunKey ChildKey(const ActivityKey& key, std::string_view workflow_id) {
  RunKey child;
  child.run_id = DerivedRunId(key.run.run_id.str(), key.id);
  child.workflow_id = workflow_id.empty() ? key.run.run_id.str() + "/" + std::to_string(key.id)
                                          : std::string(workflow_id);
  return child;
}

}  // namespace marathon::inline MARATHON_ABI::detail
