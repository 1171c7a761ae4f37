// StoreProtocol: chains of runs. Included by store_protocol.h.
#pragma once

#include <utility>
#include <vector>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"
#include "marathon/store/update_answers.h"
#include "marathon/store/store_protocol_updates.h"

namespace marathon::inline MARATHON_ABI {

template <class Tables>
auto StoreProtocol<Tables>::Follow(Run* run) -> Run* {
  const bool followed = run != nullptr && run->status != RunStatus::kRunning && run->links &&
                        !(*run->links).next_run_id.empty();
  if (!followed) return run;
  Run* newest = t_.FindNewestRun(run->key.workflow_id);
  const bool same = newest != nullptr && detail::FirstRunId(*newest) == detail::FirstRunId(*run);
  return same ? newest : run;
}

template <class Tables>
std::vector<ActivityKey> StoreProtocol<Tables>::OpenChildren(const Run& run) {
  std::vector<ActivityKey> children;
  if (run.links) children = (*run.links).children;
  std::erase_if(children, [this](const ActivityKey& child) {
    return t_.FindActivity(child.run, child.id) == nullptr;
  });
  if (run.pending_activities == 0) return children;
  for (EventId id : t_.ActivitiesOf(run)) {
    if (t_.FindActivity(run.key, id)->owed != Owed::kNo) children.push_back({run.key, id});
  }
  return children;
}

template <class Tables>
void StoreProtocol<Tables>::Continue(Run& run, NextRun&& next, uint64_t taken) {
  RunRow row;
  row.key = RunKey{run.key.workflow_id, next.run_id};
  row.workflow_type = std::move(next.workflow_type);
  row.task_queue = std::move(next.task_queue);
  row.request_id = run.request_id;
  detail::SetTimes(row, now_, next.delay, next.run_timeout);
  if (!row.links) row.links.emplace();
  row.links->first_run_id = detail::FirstRunId(run);
  row.links->children = OpenChildren(run);
  detail::SetParent(row, next.messages);
  if (run.paused) row.paused = *run.paused;
  if (run.labels) row.labels = *run.labels;
  if (next.keeps_pin && run.pinned) {
    row.pinned = *run.pinned;
    row.owner = next.session;  // has just shown that it is of that build
  }
  RunLinks links = run.links ? *run.links : RunLinks();
  links.next_run_id = next.run_id;
  links.children.clear();
  run.links = std::move(links);

  Run& after = t_.InsertRun(std::move(row));
  if (!MARATHON_MUTANT("chain_leaves_keys")) t_.MoveKeys(run, after);
  t_.ReplaceAnswers(after, detail::AcceptedAnswer(), detail::UnfinishedAnswer(), now_);
  for (Message& message : next.messages) Append(after, std::move(message));
  std::vector<Message> page;
  while (run.inbox_size > 0 && taken < run.inbox_last) {
    if (MARATHON_MUTANT("chain_leaves_messages")) break;
    page.clear();
    t_.ReadInbox(run, taken, limits::kTurnMaxMessages, page);
    if (page.empty()) break;
    taken = page.back().seq;
    for (Message& message : page) {
      message.dedupe_key.clear();  // it has moved already
      if (IsForWorkflow(message.body)) Append(after, std::move(message));
    }
  }
  MakeReady(after, next.session);
  Update(after);
}

}  // namespace marathon::inline MARATHON_ABI
