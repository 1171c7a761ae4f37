#pragma once

#include "marathon/testing/open_runs.h"

#include <fmt/format.h>

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

inline std::string DescribePending(const ActivityRow& row) {
  std::string text = fmt::format("activity {} \"{}\", attempt {}", row.key.id, row.activity_type,
                                 row.attempt);
  if (row.task_queue != "default") text += fmt::format(", on queue \"{}\"", row.task_queue);
  const std::string& key = row.policy.concurrency_key;
  if (!key.empty()) text += fmt::format(", with the concurrency key \"{}\"", key);
  if (row.state == ActivityState::kDetached) text += ", to be completed from outside";
  if (row.state == ActivityState::kDead) text += ", a dead letter";
  if (row.last_failure.has_value()) text += ", failed last with: " + ToString(*row.last_failure);
  return text;
}

inline std::string DescribeOpenRun(StateStore& store, const RunRow& row) {
  std::string text = fmt::format("\"{}\" ({}), at event {}", row.key.workflow_id.view(),
                                 row.workflow_type, row.version);
  if (row.blocked.has_value()) text += "; blocked: " + row.blocked->reason;
  if (row.paused.has_value()) text += "; paused: " + row.paused->reason;
  if (row.task_queue != "default") text += fmt::format("; on queue \"{}\"", row.task_queue);
  ReadRequest request;
  request.run = row.key;
  request.activities = true;
  store.Read(std::move(request), [&text](const StatusOr<RunSnapshot>& run) {
    if (!run.ok()) return;
    for (const ActivityRow& activity : run->activities) text += "; " + DescribePending(activity);
  });
  return text;
}

}  // namespace internal

MARATHON_INLINE std::string DescribeOpenRuns(StateStore& store) {
  ListReply open;
  store.List({.status = RunStatus::kRunning}, [&open](StatusOr<ListReply> reply) {
    if (reply.ok()) open = *std::move(reply);
  });
  std::string text;
  for (const RunRow& row : open.runs) text += internal::DescribeOpenRun(store, row) + "\n";
  return text;
}

}  // namespace marathon::inline MARATHON_ABI::testing
