// Simulation: its users who only look. What they see is never more than what was acknowledged, and nothing else.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/event_codec.h"
#include "marathon/testing/simulation-inl.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

MARATHON_INLINE void Simulation::LookAtJob(SimJob& job) {
  if (!job.run.has_value()) return;
  switch (random_.Below(job.is_fork ? 3 : 5)) {  // a fork has the other's name
    case 0: return DescribeJob(job);
    case 1: return ReadHistory(job, *job.run, std::make_shared<std::vector<std::string>>());
    case 2: return SubscribeTo(job, *job.run, 0);
    case 3: return ListJob(job);
    default: return CountJob(job);
  }
}

MARATHON_INLINE void Simulation::DescribeJob(SimJob& job) {
  Ask("describe " + job.id, job, [this, &job, run = *job.run](Host& host, Answered answered) {
    ReadRequest request;
    request.run = run;
    request.activities = true;
    SimUses<"Run.Describe">();
    host.store().Read(std::move(request), [this, &job, run, answered](const StatusOr<RunSnapshot>& read) {
      if (!answered(read.status())) return;
      const bool fits = read.ok() && read->row.key == run && read->row.version <= invariants_.Find(run)->version &&
                        (IsOpen(read->row) || invariants_.Find(run)->closed);
      if (!fits) Violation("I3", job, fmt::format("describing it got: {}", MessageOf(read.status())));
    });
  }, true);
}

// Page by page, a record each.
MARATHON_INLINE void Simulation::ReadHistory(SimJob& job, const RunKey& run,
                                             const std::shared_ptr<std::vector<std::string>>& seen) {
  EventId after = 0;
  if (!seen->empty()) after = DecodeRecord(seen->back())->events.back().id;
  Ask("read " + job.id, job, [this, &job, run, seen, after](Host& host, Answered answered) {
    ReadRequest request;
    request.run = run;
    request.records = true;
    request.after_version = after;
    request.max_record_bytes = 1;
    SimUses<"Run.History">();
    host.store().Read(std::move(request), [this, &job, run, seen, answered](const StatusOr<RunSnapshot>& page) {
      if (!answered(page.status())) return;
      if (!page.ok()) return Violation("I3", job, fmt::format("reading it got: {}", MessageOf(page.status())));
      seen->insert(seen->end(), page->records.begin(), page->records.end());
      const std::vector<std::string>& records = invariants_.Find(run)->records;
      const bool fits = seen->size() <= records.size() && std::equal(seen->begin(), seen->end(), records.begin());
      if (!fits) return Violation("I3", job, "whoever reads its history page by page reads another");
      if (page->more_records) ReadHistory(job, run, seen);
    });
  }, true);
}

MARATHON_INLINE void Simulation::ListJob(SimJob& job) {
  Ask("list " + job.id, job, [this, &job](Host& host, Answered answered) {
    ListRequest request;
    request.workflow_id_prefix = job.id;
    request.attributes = {{"job", job.id}};
    request.workflow_type = kSimWorkflow.name;
    request.limit = 2;
    SimUses<"Engine.List">();
    host.store().List(std::move(request), [this, &job, answered](const StatusOr<ListReply>& page) {
      if (!answered(page.status())) return;
      bool fits = page.ok() && !page->runs.empty() && page->runs.size() <= 2;
      for (const RunRow& row : fits ? page->runs : std::vector<RunRow>()) {
        fits &= row.key.workflow_id == job.id || row.key.workflow_id == ForkId(job);
        fits &= LabelOf(row.labels.value_or(RunLabels()).attributes, "job") == job.id;
      }
      if (fits) return;
      Violation("I13", job, fmt::format("a list of its runs has others, or none: {}", MessageOf(page.status())));
    });
  }, true);
}

MARATHON_INLINE void Simulation::CountJob(SimJob& job) {
  Ask("count " + job.id, job, [this, &job](Host& host, Answered answered) {
    ListRequest request;
    request.attributes = {{"job", job.id}};
    request.count_only = true;
    SimUses<"Engine.Count">();
    host.store().List(std::move(request), [this, &job, answered](const StatusOr<ListReply>& all) {
      if (!answered(all.status())) return;
      const int64_t most = std::count_if(invariants_.runs().begin(), invariants_.runs().end(), [&](const auto& run) {
        return run.first.workflow_id == job.id || run.first.workflow_id == ForkId(job);
      });
      if (all.ok() && all->count > 0 && all->count <= most) return;
      Violation("I13", job, fmt::format("{} runs are counted of {}", all.ok() ? all->count : -1, most));
    });
  }, true);
}

MARATHON_INLINE void Simulation::SubscribeTo(SimJob& job, const RunKey& run, EventId after) {
  Ask("follow " + job.id, job, [this, &job, run, after](Host& host, Answered answered) {
    AwaitRequest request{run};
    request.after = after;
    SimUses<"Run.Subscribe">();
    host.Await(std::move(request), [this, &job, run, after, answered](const StatusOr<RunEnd>& told) {
      if (!answered(told.status())) return;
      EventId last = after;
      bool fits = told.ok() && told->events.has_value();
      for (const Event& event : fits ? told->events->events : History()) fits &= event.id == ++last;
      if (!fits) return Violation("I3", job, fmt::format("following it got: {}", MessageOf(told.status())));
      if (!told->events->ended) SubscribeTo(job, run, last);
    });
  }, true);
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
