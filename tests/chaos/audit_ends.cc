#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "audit_parts.h"
#include "marathon/detail/run_messages.h"
#include "marathon/marathon.h"

namespace marathon::chaos {
namespace {

using testing::SimStep;
using enum testing::SimStep::Kind;

struct End {
  std::string how, text;
  bool operator==(const End&) const = default;
};

End EndOf(const StoredRun& run) {
  const EventBody& body = run.history.back().body;
  if (const auto* completed = std::get_if<WorkflowCompleted>(&body)) {
    return {"completed", Decode<std::string>(completed->result).value_or("?")};
  }
  if (const auto* failed = std::get_if<WorkflowFailed>(&body)) return {"failed", failed->failure.message};
  if (std::holds_alternative<WorkflowTerminated>(body)) return {"terminated", ""};
  if (std::holds_alternative<WorkflowTimedOut>(body)) return {"timed-out", ""};
  if (std::holds_alternative<WorkflowCanceled>(body)) return {"canceled", ""};
  return {Describe(body), ""};
}

// How a program ends that nobody interrupts.
End PlannedEnd(const testing::SimProgram& program) {
  return {program.Throws() ? "failed" : "completed", program.Expected()};
}

// Whether it may have met something that the model does not follow: five deaths in a row, or a cancel anywhere.
bool IsFree(Inquiry& inquiry, int64_t number) {
  return inquiry.given_up.contains(number) || inquiry.facts.jobs[number].cancel;
}

// Each run of a chain but its last has ended as the program says: attempts that fail, then runs that continue.
void CheckLinks(Inquiry& inquiry, const Chain& chain, const Job& job, bool whole) {
  const auto failing = static_cast<size_t>(job.program.Attempts()) - 1;
  const auto continuing = static_cast<size_t>(std::count_if(
      job.program.steps.begin(), job.program.steps.end(), [](const SimStep& step) { return step.kind == kContinue; }));
  inquiry.result.followers += static_cast<int64_t>(chain.size()) - 1;
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    const EventType type = TypeOf(chain[i].history.back().body);
    if (type == (i < failing ? EventType::kWorkflowFailed : EventType::kWorkflowContinuedAsNew)) continue;
    inquiry.Add("results", chain[i].key(), fmt::format("run {} of its chain ended with {}", i + 1, ToString(type)));
  }
  const size_t most = 1 + failing + continuing;
  if (chain.size() > most || (whole && chain.size() < most)) {
    inquiry.Add("results", chain.back().key(), fmt::format("is run {} of a chain of {}", chain.size(), most));
  }
}

// ---- Children

// A job's step that has a child of this workflow id. Null: there is none.
const SimStep* StepOf(const Job& job, std::string_view workflow_id) {
  const auto its = std::find_if(job.program.steps.begin(), job.program.steps.end(), [&](const SimStep& step) {
    const testing::SimProgram alone{{step}};
    return alone.HasChildren() && workflow_id == fmt::format("{}/{}", job.id, step.work.id);
  });
  return its == job.program.steps.end() ? nullptr : &*its;
}

std::string_view WorkflowIdOf(const ActivityScheduled& start) {
  return detail::HeaderOf(start.headers, detail::header::kWorkflowId);
}

std::string_view PolicyOf(const ActivityScheduled& start) {  // empty: it is terminated
  return detail::HeaderOf(start.headers, detail::header::kOnParentClose);
}

End PlannedChildEnd(const SimStep& step, const ActivityScheduled& start) {
  const bool is_told = testing::SimCancellationOf(step) != ActivityCancellation::kAbandon;
  if (step.kind == kDismissed && is_told) return {"canceled", ""};
  if (step.kind == kGuard) return {PolicyOf(start).empty() ? "terminated" : "canceled", ""};
  if (step.kind == kErrand || step.kind == kDismissed) return {"completed", "r0,r0,"};  // its program says other numbers
  return PlannedEnd(testing::SimChildOf(step));
}

// What the parent's history says of a child is how that ended.
void CheckTold(Inquiry& inquiry, const StoredRun& parent, EventId scheduled, const StoredRun& child) {
  const auto* returned = std::get_if<WorkflowCompleted>(&child.history.back().body);
  for (const Event& event : parent.history) {
    const auto* completed = std::get_if<ActivityCompleted>(&event.body);
    const auto* failed = std::get_if<ActivityFailed>(&event.body);
    const bool wrong_result = completed != nullptr && completed->scheduled == scheduled &&
                              (returned == nullptr || returned->result != completed->result);
    const bool wrong_failure = failed != nullptr && failed->scheduled == scheduled && returned != nullptr;
    if (!wrong_result && !wrong_failure) continue;
    inquiry.Add("answers", parent.key(), fmt::format("was told {} of run {}, which ended with {}", Describe(event.body),
                                                     child.key().run_id, Describe(child.history.back().body)));
  }
}

void CheckChildSignals(Inquiry& inquiry, const SimStep& step, const StoredRun& child) {
  const auto received = std::count_if(child.history.begin(), child.history.end(), [](const Event& event) {
    return std::holds_alternative<SignalReceived>(event.body);
  });
  const bool goes_on = step.kind == kDismissed && testing::SimCancellationOf(step) == ActivityCancellation::kAbandon;
  const int most = step.kind == kErrand || goes_on ? 2 : step.kind == kToldChild || step.kind == kDismissed ? 1 : 0;
  if (received > most) inquiry.Add("signals", child.key(), fmt::format("has {} signals of {}", received, most));
}

// `cut`: its parent was ended from outside. Whoever may have met anything is free.
void CheckChildEnd(Inquiry& inquiry, const SimStep& step, const ActivityScheduled& start, const StoredRun& child,
                   bool cut, bool free) {
  ++inquiry.result.children;
  CheckChildSignals(inquiry, step, child);
  const End end = EndOf(child), planned = PlannedChildEnd(step, start);
  const std::string_view policy = PolicyOf(start);
  // A parent that does not wait for its canceled child may end before that.
  const bool outlived = step.kind == kDismissed && testing::SimCancellationOf(step) != ActivityCancellation::kWait;
  const bool by_policy =
      (cut || outlived) && policy != "abandon" && end.how == (policy.empty() ? "terminated" : "canceled");
  if (free || by_policy || end == planned) return;
  inquiry.Add("results", child.key(),
              fmt::format("{} {}, and should be {} {}", end.how, end.text, planned.how, planned.text));
}

// A child that does not begin before its parent's chain ends need not begin, if it would be terminated.
bool MayBeMissing(const SimStep& step, const ActivityScheduled& start, bool cut, bool free) {
  return free || (PolicyOf(start).empty() && (cut || step.kind == kGuard));
}

}  // namespace

void CheckEnd(Inquiry& inquiry, const Chain& chain, int64_t number, const Job& job) {
  const JobFacts& facts = inquiry.facts.jobs[number];
  const RunKey& key = chain.back().key();
  const End end = EndOf(chain.back()), planned = PlannedEnd(job.program);
  const bool given_up = inquiry.given_up.contains(number);
  const bool right = end == planned || (given_up && end.how == "completed") ||
                     (facts.cancel && (end.how == "canceled" || end.how == "completed" || end.how == "failed")) ||
                     (facts.terminate && end.how == "terminated") ||
                     (job.run_timeout > Duration(0) && end.how == "timed-out");
  if (!right) {
    inquiry.Add("results", key,
                fmt::format("{} {}, and should be {} {}", end.how, end.text, planned.how, planned.text));
  }
  CheckLinks(inquiry, chain, job, end == planned);
  const bool tells_text = end.how == "completed" || end.how == "failed";
  if (!facts.how.empty() && (facts.how != end.how || (tells_text && facts.text != end.text))) {
    inquiry.Add("answers", key,
                fmt::format("its user was told {} {}; it is {} {}", facts.how, facts.text, end.how, end.text));
  }
}

void CheckChildren(Inquiry& inquiry, const Chain& chain, const Job& job) {
  const std::string how = EndOf(chain.back()).how;
  const bool cut = how == "terminated" || how == "timed-out";
  const bool free = IsFree(inquiry, Job::NumberOf(job.id));
  for (const StoredRun& parent : chain) {
    for (const Event& event : parent.history) {
      const auto* start = std::get_if<ActivityScheduled>(&event.body);
      if (start == nullptr || !detail::IsChildRun(start->activity_type)) continue;
      const std::string_view id = WorkflowIdOf(*start);
      const RunKey child = detail::ChildKey({parent.key(), event.id}, id);
      const SimStep* const step = StepOf(job, id);
      const auto found = inquiry.chains.find(std::string(id));
      if (step == nullptr) {
        inquiry.Add("starts", parent.key(), fmt::format("has a child {} that is none of its program's", id));
      } else if (found == inquiry.chains.end() || found->second.front().key() != child) {
        if (MayBeMissing(*step, *start, cut, free)) continue;
        inquiry.Add("starts", child, "is a child that is lost");
      } else if (!IsOpen(found->second.back().snapshot.row)) {
        CheckChildEnd(inquiry, *step, *start, found->second.back(), cut, free);
        CheckTold(inquiry, parent, event.id, found->second.back());
      }
    }
  }
}

void NoteChildren(Inquiry& inquiry, const StoredRun& parent) {
  for (const Event& event : parent.history) {
    const auto* start = std::get_if<ActivityScheduled>(&event.body);
    if (start != nullptr && detail::IsChildRun(start->activity_type)) {
      inquiry.asked_for.insert(detail::ChildKey({parent.key(), event.id}, WorkflowIdOf(*start)));
    }
  }
}

}  // namespace marathon::chaos
