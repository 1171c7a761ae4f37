#include "audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "audit_parts.h"
#include "marathon/marathon.h"

namespace marathon::chaos {
namespace {

std::string_view Successor(const StoredRun& run) {
  return run.history.empty() ? std::string_view() : NextRunId(run.history.back().body);
}

// Puts the runs of a workflow id into the order of their chain. Those that do not belong to it are left over.
Chain InOrder(std::vector<StoredRun>& runs) {
  Chain chain;
  const auto take = [&](const auto& is_next) {
    const auto found = std::find_if(runs.begin(), runs.end(), is_next);
    if (found == runs.end()) return false;
    chain.push_back(std::move(*found));
    runs.erase(found);
    return true;
  };
  bool more = take([&](const StoredRun& run) {
    return std::none_of(runs.begin(), runs.end(),
                        [&](const StoredRun& other) { return Successor(other) == run.key().run_id.view(); });
  });
  while (more) {
    more = take([next = std::string(Successor(chain.back()))](const StoredRun& run) { return run.key().run_id.view() == next; });
  }
  return chain;
}

bool IsDeadLetter(const Event& event) {
  const auto* failed = std::get_if<ActivityFailed>(&event.body);
  return failed != nullptr && failed->failure.type == failure_type::kDeadLetter;
}

void TakeIn(Inquiry& inquiry, std::vector<StoredRun> all) {
  std::map<std::string, std::vector<StoredRun>> by_id;
  for (StoredRun& run : all) {
    const std::string id = run.key().workflow_id.str();
    if (!inquiry.run_ids.insert(run.key().run_id.str()).second) inquiry.Add("starts", run.key(), "is listed twice");
    if (std::any_of(run.history.begin(), run.history.end(), IsDeadLetter)) inquiry.given_up.insert(Job::NumberOf(id));
    NoteChildren(inquiry, run);
    by_id[id].push_back(std::move(run));
  }
  for (auto& [id, runs] : by_id) {
    inquiry.chains[id] = InOrder(runs);
    for (const StoredRun& run : runs) inquiry.Add("starts", run.key(), "is the second of its id");
  }
}

void ReportOpen(Inquiry& inquiry, const StoredRun& run) {
  const RunRow& row = run.snapshot.row;
  std::string pending;
  for (const ActivityRow& a : run.snapshot.activities) {
    pending += fmt::format("; activity {} in state {}, attempt {}, epoch {}, of session \"{}\"", a.key.id,
                           static_cast<int>(a.state), a.attempt, a.epoch, a.session);
  }
  inquiry.Add("liveness", row.key,
              fmt::format("is open at version {}, {} messages wait, ready {}, owner \"{}\"{}{}{}", row.version,
                          row.inbox_size, row.ready_since != kNever, row.owner, pending,
                          row.paused ? "; paused" : "", row.blocked ? "; blocked: " + row.blocked->reason : ""));
}

void CheckClosed(Inquiry& inquiry, const StoredRun& run) {
  CheckHistory(inquiry, run);
  CheckActivities(inquiry, run);
  const RunRow& row = run.snapshot.row;
  if (!run.snapshot.inbox.empty() || !run.snapshot.activities.empty() || row.inbox_size != 0 ||
      row.pending_activities != 0 || row.ready_since != kNever) {
    inquiry.Add("leftovers", row.key, "has ended, and left messages or activities behind");
  }
}

void CheckChain(Inquiry& inquiry, const std::string& id, const Chain& chain) {
  const int64_t number = Job::NumberOf(id);
  if (!inquiry.facts.jobs.contains(number) || !inquiry.facts.jobs[number].begun) {
    return inquiry.Add("starts", chain.front().key(), "was never asked for");
  }
  for (const StoredRun& run : chain) {
    if (IsOpen(run.snapshot.row)) return ReportOpen(inquiry, run);
    CheckClosed(inquiry, run);
  }
  const Job job = Job::Draw(inquiry.seed, number);
  if (id != job.id) {  // its end: with its parent's
    if (chain.size() == 1 && inquiry.asked_for.contains(chain.front().key())) return;
    return inquiry.Add("starts", chain.back().key(), "is a child that no history has asked for, or its second run");
  }
  ++inquiry.result.workflows;
  CheckEnd(inquiry, chain, number, job);
  CheckSignals(inquiry, chain, number, job);
  CheckChildren(inquiry, chain, job);
}

// What the ledgers tell of and the store does not have.
void CheckLedgers(Inquiry& inquiry) {
  for (const auto& [number, job] : inquiry.facts.jobs) {
    const Chain& chain = inquiry.chains[fmt::format("job-{}", number)];
    for (const std::string& run : job.runs) {
      const bool stored = std::any_of(chain.begin(), chain.end(), [&](const StoredRun& one) { return one.key().run_id.view() == run; });
      if (!stored) inquiry.violations.Add("starts", fmt::format("job-{}: its run {} is lost", number, run));
    }
    if (!job.runs.empty() && job.how.empty()) {
      inquiry.violations.Add("liveness", fmt::format("job-{}: its user was not told of an end", number));
    }
  }
  for (const auto& [run, deeds] : inquiry.facts.runs) {
    if (inquiry.run_ids.contains(run)) continue;
    inquiry.violations.Add("effects", fmt::format("run {} has effects, and is not in the store", run));
  }
}

}  // namespace

AuditResult Audit(const std::string& folder, const std::string& url, uint64_t seed,
                  Violations& violations) {
  Inquiry inquiry(folder, seed, violations);
  for (const std::string& wrong : inquiry.facts.wrong_answers) violations.Add("answers", wrong);
  StoreReader reader(violations);
  if (!reader.Open(url)) return inquiry.result;
  TakeIn(inquiry, reader.ReadAll());
  for (const auto& [id, chain] : inquiry.chains) {
    if (!chain.empty()) CheckChain(inquiry, id, chain);
  }
  CheckLedgers(inquiry);
  inquiry.result.rests = inquiry.facts.rested;
  return inquiry.result;
}

}  // namespace marathon::chaos
