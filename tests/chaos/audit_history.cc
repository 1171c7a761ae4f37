#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <variant>

#include "audit_parts.h"
#include "marathon/engine/replayer.h"
#include "marathon/marathon.h"

namespace marathon::chaos {
namespace {

void CheckCommits(Inquiry& inquiry, const StoredRun& run) {
  for (const auto& [version, commit] : inquiry.facts.runs[run.key().run_id].commits) {
    const auto stored = run.commits.find(version);
    if (stored != run.commits.end() && stored->second == commit) continue;
    inquiry.Add("commits", run.key(),
                fmt::format("the commit to version {} was acknowledged and is lost", version));
  }
}

// How many signals the runs before this one have received, as its input says: those of the steps that are done, and
// some for later ones. What history had beyond that comes again.
int64_t ReceivedBefore(const std::string& input, const Job& job) {
  const size_t bar = input.find('|'), end = input.find(']');
  if (!input.starts_with('[') || bar == std::string::npos || end == std::string::npos) return 0;
  const std::string_view early = std::string_view(input).substr(bar + 1, end - bar - 1);
  const auto commas = std::count(early.begin(), early.end(), ',');
  return job.program.Receives() - testing::SimProgram::FromText(std::string_view(input).substr(end + 1)).Receives() +
         (early.empty() ? 0 : commas + 1);
}

}  // namespace

void CheckHistory(Inquiry& inquiry, const StoredRun& run) {
  const RunRow& row = run.snapshot.row;
  if (run.history.empty() || run.history.back().id != row.version ||
      static_cast<EventId>(run.history.size()) != row.version) {
    return inquiry.Add("history", row.key, "its events are not those of its version");
  }
  for (const Event& event : run.history) {
    const bool last = &event == &run.history.back();
    if (IsClosing(TypeOf(event.body)) != last) {
      inquiry.Add("history", row.key, fmt::format("event {} is {}", event.id, Describe(event.body)));
    }
  }
  CheckCommits(inquiry, run);
  Registry registry;
  registry.Bind(testing::kSimWorkflow, testing::RunSimProgram);
  Replayer replayer({row.key, row.workflow_type, row.task_queue},
                    *registry.FindWorkflow(testing::kSimWorkflow.name));
  if (const auto mismatch = replayer.Replay(run.history)) {
    inquiry.Add("replay", row.key, mismatch->ToString());
  }
}

void CheckSignals(Inquiry& inquiry, const Chain& chain, int64_t number, const Job& job) {
  std::map<std::string, int64_t> next;  // number of each sender
  std::string input;
  for (const StoredRun& run : chain) {
    const Event* const first = run.Find(2);  // behind the marker; there is none where it was closed before its first turn
    const auto* started = first == nullptr ? nullptr : std::get_if<WorkflowStarted>(&first->body);
    if (started != nullptr) input = Decode<std::string>(started->input).value_or("");
    for (auto& [sender, its_next] : next) its_next = 0;  // nobody receives a second sender's
    next[std::string(testing::kSimSignal.name)] = ReceivedBefore(input, job);
    for (const Event& event : run.history) {
      const auto* signal = std::get_if<SignalReceived>(&event.body);
      if (signal == nullptr) continue;
      const int64_t value = Decode<int64_t>(signal->input).value_or(-1);
      int64_t& expected = next[signal->name];
      if (value != expected) {
        inquiry.Add("signals", run.key(), fmt::format("event {}: {} {} comes instead of {}", event.id, signal->name,
                                                      value, expected));
      }
      expected = std::max(expected, value + 1);
    }
    const auto* continued =
        run.history.empty() ? nullptr : std::get_if<WorkflowContinuedAsNew>(&run.history.back().body);
    if (continued != nullptr) input = Decode<std::string>(continued->input).value_or("");
  }
  const RunKey& last = chain.back().key();
  for (const auto& [sender, taken] : inquiry.facts.jobs[number].taken) {
    if (next[sender] < taken) {
      inquiry.Add("signals", last, fmt::format("{} {} was acknowledged, and {} are recorded", sender, taken - 1,
                                               next[sender]));
    }
  }
  if (next[std::string(testing::kSimSignal.name)] > job.signals ||
      next[std::string(kOtherSignal)] > job.other_signals) {
    inquiry.Add("signals", last, "has more signals than were sent");
  }
}

}  // namespace marathon::chaos
