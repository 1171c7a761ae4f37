#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <variant>

#include "audit_parts.h"
#include "marathon/marathon.h"

namespace marathon::chaos {
namespace {

// How an activity ended, as its run's history says. Null, kNever: it did not.
struct RecordedEnd {
  const EventBody* body = nullptr;
  Time known = kNever;  // when it is known to have been recorded, by the clock of the ledgers
};

std::map<EventId, RecordedEnd> EndsOf(Inquiry& inquiry, const StoredRun& run) {
  const std::map<EventId, int64_t>& acknowledged = inquiry.facts.runs[run.key().run_id].acknowledged;
  std::map<EventId, RecordedEnd> ends;
  for (const Event& event : run.history) {
    EventId scheduled = 0;
    if (const auto* completed = std::get_if<ActivityCompleted>(&event.body)) {
      scheduled = completed->scheduled;
    } else if (const auto* failed = std::get_if<ActivityFailed>(&event.body)) {
      scheduled = failed->scheduled;
    }
    if (scheduled == 0) continue;
    // By the commit that recorded it; or a later one, if whoever made that did not live to hear of it.
    const auto known = acknowledged.lower_bound(event.id);
    const Time recorded = known == acknowledged.end() ? kNever : FromMicros(known->second);
    if (!ends.emplace(scheduled, RecordedEnd{&event.body, recorded}).second) {
      inquiry.Add("activities", run.key(), fmt::format("activity {} has two outcomes", scheduled));
    }
  }
  return ends;
}

// Of the activities of a job's run none is claimed while that is paused. (Children go on.)
void CheckRests(Inquiry& inquiry, const StoredRun& run, EventId id, const Execution& one) {
  const std::string_view workflow = run.key().workflow_id.view();
  if (workflow.find('/') != std::string_view::npos) return;
  for (const auto& [from, to] : inquiry.facts.jobs[Job::NumberOf(workflow)].rests) {
    if (one.claimed <= from || one.begin >= to) continue;
    inquiry.Add("pauses", run.key(), fmt::format("activity {} was claimed while the run was paused", id));
  }
}

void CheckExecutions(Inquiry& inquiry, const StoredRun& run, const Event& scheduled, Time recorded) {
  const RunKey& key = run.key();
  const auto& plan = std::get<ActivityScheduled>(scheduled.body);
  const int most = plan.policy.retry.maximum_attempts;
  std::map<int, int> begins;
  bool late = false;
  for (const Execution& one : inquiry.facts.runs[key.run_id].activities[scheduled.id].executions) {
    ++begins[one.attempt];
    late |= one.begin > ToMicros(recorded);
    if (one.type != plan.activity_type || (most > 0 && one.attempt > most)) {
      inquiry.Add("effects", key, fmt::format("activity {} is {} at attempt {}, and was executed as {}", scheduled.id,
                                              plan.activity_type, one.attempt, one.type));
    }
    if (one.claimed > ToMicros(recorded)) {
      inquiry.Add("claims", key, fmt::format("activity {} was claimed {} ms after its end was recorded", scheduled.id,
                                             (one.claimed - ToMicros(recorded)) / 1000));
    }
    CheckRests(inquiry, run, scheduled.id, one);
  }
  inquiry.result.duplicates +=
      std::any_of(begins.begin(), begins.end(), [](const auto& begin) { return begin.second > 1; });
  inquiry.result.late_starts += late;
}

void CheckDeadLetter(Inquiry& inquiry, const StoredRun& run, const ActivityFailed& failed) {
  const auto& executions = inquiry.facts.runs[run.key().run_id].activities[failed.scheduled].executions;
  const auto deaths = std::count_if(executions.begin(), executions.end(),
                                    [&](const Execution& one) { return one.attempt == failed.attempt; });
  ++inquiry.result.dead_letters;
  constexpr int kFewest = 3;  // of its five deaths, some may come before it notes its begin
  if (deaths >= kFewest) return;
  inquiry.Add("dead letters", run.key(), fmt::format("activity {} was given up after {} executions of its last attempt",
                                                     failed.scheduled, deaths));
}

void CheckActivity(Inquiry& inquiry, const StoredRun& run, const Event& scheduled, const RecordedEnd& end) {
  const ActivityFacts& facts = inquiry.facts.runs[run.key().run_id].activities[scheduled.id];
  if (facts.resolved > 1) {
    inquiry.Add("activities", run.key(),
                fmt::format("{} ends of activity {} were acknowledged", facts.resolved, scheduled.id));
  }
  if (IsBuiltIn(std::get<ActivityScheduled>(scheduled.body).activity_type)) return;  // it is in no ledger
  CheckExecutions(inquiry, run, scheduled, end.known);
  if (end.body == nullptr) return;
  if (const auto* completed = std::get_if<ActivityCompleted>(end.body)) {
    if (facts.results.contains(Decode<int64_t>(completed->result).value_or(-1))) return;
    inquiry.Add("effects", run.key(),
                fmt::format("activity {} completed with a result that nobody worked for", scheduled.id));
    return;
  }
  const auto& failed = std::get<ActivityFailed>(*end.body);
  if (failed.failure.type == failure_type::kDeadLetter) CheckDeadLetter(inquiry, run, failed);
}

// No row says how often a local activity may begin, for a turn that is lost is taken again.
void CheckLocal(Inquiry& inquiry, const StoredRun& run, const Event& started, const EventBody& end) {
  const auto* const completed = std::get_if<ActivityCompleted>(&end);
  if (completed == nullptr) return;
  const RunDeeds& deeds = inquiry.facts.runs[run.key().run_id];
  if (deeds.local_results.contains(Decode<int64_t>(completed->result).value_or(-1))) return;
  inquiry.Add("effects", run.key(),
              fmt::format("local activity {} completed with a result that nobody worked for", started.id));
}

}  // namespace

void CheckActivities(Inquiry& inquiry, const StoredRun& run) {
  const std::map<EventId, RecordedEnd> ends = EndsOf(inquiry, run);
  for (const Event& event : run.history) {
    const auto end = ends.find(event.id);
    if (std::holds_alternative<LocalActivityStarted>(event.body) && end != ends.end()) {
      CheckLocal(inquiry, run, event, *end->second.body);
    }
    if (!std::holds_alternative<ActivityScheduled>(event.body)) continue;
    CheckActivity(inquiry, run, event, end == ends.end() ? RecordedEnd() : end->second);
  }
  for (const auto& [id, activity] : inquiry.facts.runs[run.key().run_id].activities) {
    const Event* const event = run.Find(id);
    const bool scheduled = event != nullptr && std::holds_alternative<ActivityScheduled>(event->body);
    if (activity.executions.empty() || scheduled) continue;
    inquiry.Add("effects", run.key(), fmt::format("activity {} was executed and is not in history", id));
  }
}

}  // namespace marathon::chaos
