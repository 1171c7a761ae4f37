// What the ledgers of a chaos run say: what its driver meant to do and was told, and what its
// activities did.
//
// Values; no thread rule.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "marathon/ids.h"

namespace marathon::chaos {

struct JobFacts {
  std::set<std::string> runs;            // that starts were answered with
  std::map<std::string, int64_t> taken;  // signals, by sender: the highest, plus one
  bool begun = false, terminate = false, cancel = false;
  // When it is known to have been paused, in microseconds: from the answer to before it was to go on.
  std::vector<std::pair<int64_t, int64_t>> rests;
  std::string how, text;  // how it ended, as its user was told
};

struct Execution {
  int64_t begin = 0, claimed = 0;
  int attempt = 0;
  std::string pid, type;
};

struct ActivityFacts {
  std::vector<Execution> executions;
  std::set<int64_t> results;  // of those that succeeded
  int resolved = 0;           // ends that were acknowledged
};

struct RunDeeds {
  std::map<EventId, CommitId> commits;      // acknowledged ones that wrote events, by the version after each
  std::map<EventId, int64_t> acknowledged;  // when those first were, in microseconds
  std::map<EventId, ActivityFacts> activities;
  std::set<int64_t> local_results;  // of local activities that succeeded, whether their turn was taken or not
};

struct Facts {
  explicit Facts(const std::string& folder);

  std::map<int64_t, JobFacts> jobs;      // by number
  std::map<std::string, RunDeeds> runs;  // by run id
  std::vector<std::string> wrong_answers;
  int64_t rested = 0;  // runs that were seen to stay where they were while they were paused

 private:
  void ReadDriver(const std::string& path);
  void ReadRest(JobFacts& job, int64_t micros, const std::string& what);
  void ReadEffects(const std::string& path);
};

}  // namespace marathon::chaos
