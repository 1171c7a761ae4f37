// The parts of the audit: each holds what is stored against the ledgers or against the model.
//
// One thread at a time.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "audit.h"
#include "facts.h"
#include "shared.h"
#include "store_reader.h"

namespace marathon::chaos {

// A workflow: the runs of one workflow id, each followed by the one that goes on.
using Chain = std::vector<StoredRun>;

// What all parts know, and where they say what they find.
struct Inquiry {
  Inquiry(const std::string& folder, uint64_t its_seed, Violations& found)
      : seed(its_seed), facts(folder), violations(found) {}

  void Add(std::string_view invariant, const RunKey& run, std::string_view what) {
    violations.Add(invariant, fmt::format("{}, run {}: {}", run.workflow_id, run.run_id, what));
  }

  const uint64_t seed;
  Facts facts;
  Violations& violations;
  AuditResult result;
  std::map<std::string, Chain> chains;  // by workflow id
  std::set<std::string> run_ids;        // all that are stored
  std::set<RunKey> asked_for;           // children, by the histories of their parents
  std::set<int64_t> given_up;           // jobs with an activity that has lost too many workers
};

// audit_history.cc: any closed run.
void CheckHistory(Inquiry& inquiry, const StoredRun& run);
void CheckSignals(Inquiry& inquiry, const Chain& chain, int64_t number, const Job& job);

// audit_activities.cc: any closed run.
void CheckActivities(Inquiry& inquiry, const StoredRun& run);

// audit_ends.cc: a workflow that the driver has started, and its children.
void CheckEnd(Inquiry& inquiry, const Chain& chain, int64_t number, const Job& job);
void CheckChildren(Inquiry& inquiry, const Chain& chain, const Job& job);
void NoteChildren(Inquiry& inquiry, const StoredRun& parent);  // that it has asked for

}  // namespace marathon::chaos
