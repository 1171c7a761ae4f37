// Simulation: its verdict, once all faults are over.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/detail/forks.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/testing/simulation-inl.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

MARATHON_INLINE bool Simulation::AllEnded() const {
  for (const SimJob& job : jobs_) {
    if (!job.end.has_value() && !job.none) return false;
  }
  for (const std::shared_ptr<Request>& request : requests_) {
    if (!request->answered) return false;
  }
  return jobs_.size() > 0 && invariants_.FindUnsettled(rewinding_ == nullptr) == nullptr;
}

// Turns that take long, for they wait for local activities, may meet five crashes in a row. When these are over, an
// operator looks at what is blocked.
MARATHON_INLINE void Simulation::PlanUnblocking() {
  for (const int64_t at_ms : {60'000, 600'000, 1'800'000}) {
    After(at_ms, at_ms, "operator: unblock", [this] {
      for (const auto& [key, run] : invariants_.runs()) {
        if (run.closed) continue;
        SimUses<"Run.Unblock">();
        store_->Unblock(key, [](const Status&) {});
      }
    });
  }
}

MARATHON_INLINE void Simulation::RunUntilAllEnded() {
  // A session that was at rest in what is left of a store, and claims before it knows, has a day if it dies.
  const Duration rest = rewinding_ != nullptr ? limits::kRestingLease : Duration(0);
  const Time limit = world_.Now() + rest + kSimLiveness;
  world_.RunUntil([this] { return Broken() || AllEnded() || world_.steps() > kSimStepsMax; }, limit);
  if (Broken() || AllEnded()) return;
  const std::string_view how = world_.steps() > kSimStepsMax ? "after too many steps"
                               : world_.IsIdle()             ? "though nothing is left to happen"
                                                             : "after hours without faults";
  for (const SimJob& job : jobs_) {
    if (job.none) continue;
    const Invariants::Run* run = job.run.has_value() ? invariants_.FindLast(*job.run) : nullptr;
    if (run == nullptr) return Violation("I4", job, fmt::format("has not started {}", how));
    if (!run->closed) return Violation("I4", job, fmt::format("has not ended {}", how));
  }
  const Invariants::Run* run = invariants_.FindUnsettled(rewinding_ == nullptr);
  if (run != nullptr) {
    return invariants_.Report("I4", run->key, fmt::format("{} {}", run->closed ? "owes something" : "has not ended",
                                                          how));
  }
  for (const std::shared_ptr<Request>& request : requests_) {
    if (request->answered) continue;
    return invariants_.Report("I4", {}, fmt::format("\"{}\" is unanswered {}", request->what, how));
  }
}

MARATHON_INLINE void Simulation::CheckJob(SimJob& job) {
  const Invariants::Run& last = *invariants_.FindLast(*job.run);
  if (*job.end != last.end) Violation("I3", job, "awaiting it told another end than its history");
  const auto followed = followed_.find(last.key);
  if (followed == followed_.end() || followed->second != last.records) {
    Violation("I3", job, "whoever follows it was not told all of its history");
  }
  CheckEnd(job, last);
}

// An orphan may have the workflow id of a child that is started anew, which cannot be sent a signal then; and what a
// parent whose turn was lost has told its child, may have ended it before it is told again. So may the end of the parent,
// which goes on without it.
MARATHON_INLINE bool Simulation::MetAnOrphan(const Invariants::Run& run) {
  for (const std::string& bytes : run.records) {
    const StatusOr<Record> record = DecodeRecord(bytes);
    for (const Event& event : record->events) {
      const auto* failed = std::get_if<ActivityFailed>(&event.body);
      if (failed == nullptr) continue;
      const std::string& type = failed->failure.type;
      if (type == failure_type::kNotStarted || type == failure_type::kNotDelivered) return true;
      if (failed->failure.message == marathon::detail::kParentHasEnded) return true;
    }
  }
  return false;
}

MARATHON_INLINE void Simulation::CheckEnd(SimJob& job, const Invariants::Run& run) {
  if (std::holds_alternative<WorkflowTerminated>(run.end)) {
    if (!job.terminate) Violation("I8", job, "was terminated and nobody asked for it");
    return;
  }
  if (std::holds_alternative<WorkflowTimedOut>(run.end)) {
    if (job.run_timeout == Duration(0)) Violation("I8", job, "timed out and had no timeout");
    return;
  }
  if (std::holds_alternative<WorkflowCanceled>(run.end) && !job.cancel) {
    return Violation("I8", job, "was canceled and nobody asked for it");
  }
  if (job.cancel) return;  // it may have caught it anywhere
  // Five crashes in a row are allowed to show, and so is the order of signals that a loss has mixed.
  if (HasDeadLetter(job) || job.disordered || (life_ > 0 && MetAnOrphan(run))) return;
  if (const auto* completed = std::get_if<WorkflowCompleted>(&run.end)) {
    const StatusOr<std::string> result = Decode<std::string>(completed->result);
    const std::string expected = job.program.Expected();
    if (!job.program.Throws() && result.ok() && *result == expected) return;
    return Violation("I8", job, fmt::format("returned {}, not {}", completed->result.data, expected));
  }
  const auto* failed = std::get_if<WorkflowFailed>(&run.end);
  if (failed != nullptr && job.program.Throws() &&
      failed->failure.message == job.program.Expected()) {
    return;
  }
  Violation("I8", job, fmt::format("ended as {}", Describe(run.end)));
}

// The store below the faults answers before it returns.
MARATHON_INLINE void Simulation::CheckStored(const RunKey& key) {
  ReadRequest request;
  request.run = key;
  request.records = request.inbox = request.activities = true;
  memory_.store->Read(std::move(request), [this, &key](const StatusOr<RunSnapshot>& stored) {
    if (!stored.ok()) return invariants_.Report("I3", key, MessageOf(stored.status()));
    invariants_.Compare(*stored);
    if (!stored->inbox.empty() || !stored->activities.empty() || stored->row.inbox_size != 0 ||
        stored->row.pending_activities != 0 || stored->row.ready_since != kNever) {
      invariants_.Report("I10", key, "is closed and has left something behind");
    }
  });
}

// Where an open run stands, for whoever has to find out why.
MARATHON_INLINE std::string Simulation::DescribeStored(const RunKey& key) {
  ReadRequest request;
  request.run = key;
  request.records = request.inbox = request.activities = true;
  std::string text;
  memory_.store->Read(std::move(request), [&](const StatusOr<RunSnapshot>& stored) {
    if (!stored.ok()) return;
    const RunRow& row = stored->row;
    text = fmt::format("status {}, version {}, {} deliveries, owner \"{}\"", static_cast<int>(row.status), row.version,
                       row.deliveries,
                       static_cast<const std::string&>(row.owner));
    if (row.ready_since != kNever) text += ", ready";
    if (row.blocked.has_value()) text += ", blocked: " + row.blocked->reason;
    if (row.paused.has_value()) text += ", paused: " + row.paused->reason;
    if (row.pinned.has_value()) text += ", pinned to " + *row.pinned;
    for (const Message& message : stored->inbox) text += "; waits: " + Describe(message.body);
    for (const ActivityRow& a : stored->activities) {
      text += fmt::format("; activity {}: state {}, attempt {}, deliveries {}, epoch {}, session {}",
                          a.key.id, static_cast<int>(a.state), a.attempt, a.deliveries, a.epoch,
                          static_cast<const std::string&>(a.session));
    }
    History history;
    for (const std::string& record : stored->records) AppendRecord(record, history).IgnoreError();
    for (const Event& event : history) text += fmt::format("\n  {} {}", event.id, Describe(event.body));
  });
  return text;
}

// Activities that have an oracle of their own.
inline bool IsBeside(std::string_view type) {
  return type == kSimSpeak.name || type == kSimKeep.name || type == kSimFetch.name || type == kSimTake.name;
}

MARATHON_INLINE void Simulation::CheckWork(const Invariants::Run& run) {
  std::map<EventId, const ActivityScheduled*> calls;
  std::deque<Record> records;  // which these are in
  std::vector<marathon::detail::KeptTurns> kept;
  for (const std::string& bytes : run.records) {
    records.push_back(*DecodeRecord(bytes));
    for (const Event& event : records.back().events) {
      const auto* scheduled = std::get_if<ActivityScheduled>(&event.body);
      if (scheduled != nullptr && !IsBuiltIn(scheduled->activity_type)) calls[event.id] = scheduled;
      if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) {
        kept = marathon::detail::ForksOf(started->headers);
      }
      const auto* completed = std::get_if<ActivityCompleted>(&event.body);
      if (completed == nullptr || !calls.contains(completed->scheduled)) continue;
      const auto its = std::find_if(kept.begin(), kept.end(), [&](const auto& turns) { return event.id <= turns.until; });
      const std::string_view worked_for = its == kept.end() ? run.key.run_id.view() : std::string_view(its->run_id);
      const std::string key = fmt::format("{}/{}", worked_for, completed->scheduled);
      const ActivityScheduled& call = *calls[completed->scheduled];
      const Payload& input = call.input;
      const SimWork work = SimWork::Unpack(Decode<int64_t>(input).value_or(0));
      if (call.activity_type == kSimSpeak.name && its == kept.end()) {
        streams_->CheckSpoken(run.key, key, work, Decode<int64_t>(completed->result).value_or(-1));
      }
      if (IsBeside(call.activity_type)) continue;
      const int64_t result = work.Result();
      if (ledger_.IsDone(key, input) && completed->result == *Encode(result)) continue;
      invariants_.Report("I8", run.key, fmt::format("activity {} completed with {}, which nobody "
                                                    "worked for", completed->scheduled,
                                                    completed->result.data));
    }
  }
}

MARATHON_INLINE void Simulation::CheckQuiescence() {
  world_.RunUntil(world_.Now() + std::chrono::seconds(10));
  cluster_->Shutdown();
  SimUses<"Engine.Shutdown">();
  if (!world_.RunUntilIdle(kSimStepsMax) || !cluster_->IsShutDown()) {
    return invariants_.Report("I10", {}, "the processes do not shut down");
  }
  virtual_micros_ = world_.ElapsedMicros();
  // An orphan of a store that has lost its tail may be at anything.
  if (rewinding_ != nullptr && invariants_.FindUnsettled(true) != nullptr) return;
  // What is left are the sessions of the crashed, which end by themselves, and closed runs.
  world_.RunUntil(world_.Now() + limits::kRestingLease);
  for (int polls = 0; polls < 2; ++polls) {
    memory_.store->PollDue({}, [this, polls](const StatusOr<DueReply>& due) {
      for (const SessionId& session : due->expired_sessions) {
        memory_.store->ExpireSession(session, [](const Status&) {});
      }
      const bool sessions = polls > 0 && !due->expired_sessions.empty();
      if (!due->ready.empty() || !due->expired_activities.empty() || !due->expired_runs.empty() ||
          !due->claimable.empty() || sessions || (polls > 0 && due->next_due < world_.Now() + limits::kRestingLease)) {
        invariants_.Report(
            "I10", {}, fmt::format("the store has something due although all has ended: {} runs, {} activities, {} run "
                                   "timeouts, {} claims, {} sessions; the next in {} ms", due->ready.size(),
                                   due->expired_activities.size(), due->expired_runs.size(), due->claimable.size(),
                                   due->expired_sessions.size(), (ToMicros(due->next_due) - ToMicros(world_.Now())) / 1000));
      }
    });
  }
}

// Retention forgets all runs, and nothing of their payloads is left.
MARATHON_INLINE void Simulation::CheckBlobs() {
  for (const auto& [key, run] : invariants_.runs()) {
    if (!run.closed) return;  // an orphan
  }
  world_.RunUntil(world_.Now() + limits::kRetention);
  // A thousand at a time.
  for (size_t left = invariants_.runs().size() / 500 + 2; left > 0; --left) {
    memory_store_->PollDue({}, [](const StatusOr<DueReply>&) {});
  }
  world_.RunUntil(world_.Now() + limits::kBlobGrace);
  const int64_t held = MemoryBlobsHeld(*memory_store_);
  if (held > 0) invariants_.Report("I20", {}, fmt::format("all runs are forgotten, and {} of their blobs are not", held));
}

// The world goes on for as long as anything beside the runs is kept.
MARATHON_INLINE void Simulation::CheckBeside() {
  limits_.Check();
  streams_->Check();
  if (Broken()) return;
  world_.RunUntil(world_.Now() + kSimStreamKeep);
  streams_->CheckSwept();
  world_.RunUntil(world_.Now() + limits::kBlobKeep);
  blobs_.CheckSwept();
}

// A list by a job's name has the runs of its chain and its fork's, as far as they are there, and no others.
MARATHON_INLINE void Simulation::CheckLists() {
  for (const SimJob& job : jobs_) {
    if (job.is_fork) continue;  // it has the other's name
    std::set<RunKey> expected, listed;
    for (const auto& [key, run] : invariants_.runs()) {
      const bool its = key.workflow_id == job.id || key.workflow_id == ForkId(job);
      if (!run.deleted && its) expected.insert(key);
    }
    ListRequest request;
    request.attributes = {{"job", job.id}};
    request.limit = 2;
    for (bool more = true; more; more = !request.page_token.empty()) {
      memory_.store->List(request, [&](const StatusOr<ListReply>& page) {
        for (const RunRow& row : page->runs) listed.insert(row.key);
        request.page_token = page->next_page_token;
      });
    }
    request.count_only = true;
    memory_.store->List(request, [&](const StatusOr<ListReply>& all) {
      if (listed == expected && all->count == static_cast<int64_t>(expected.size())) return;
      Violation("I13", job, fmt::format("{} runs are listed and {} counted, of {}", listed.size(), all->count,
                                        expected.size()));
    });
  }
}

// Every other run that has ended is deleted, and nothing goes with it.
MARATHON_INLINE void Simulation::CheckDeletes() {
  bool other = false;
  for (const auto& [key, run] : invariants_.runs()) {
    if (!run.closed || std::exchange(other, !other)) continue;
    SimUses<"Run.Delete">();
    store_->Delete(key, [this, &key](const Status& status) {
      if (!status.ok()) invariants_.Report("I12", key, MessageOf(status));
    });
  }
  for (const auto& [key, run] : invariants_.runs()) {
    if (!run.closed) continue;
    if (!run.deleted) CheckStored(key);
    memory_.store->Read({.run = key}, [this, &key, &run](const StatusOr<RunSnapshot>& stored) {
      if (stored.ok() == run.deleted) invariants_.Report("I12", key, "was deleted, and is there, or is not");
    });
  }
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
