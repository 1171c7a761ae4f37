#include "facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "shared.h"

namespace marathon::chaos {

Facts::Facts(const std::string& folder) {
  ReadDriver(DriverPath(folder));
  ReadEffects(EffectsPath(folder));
}

void Facts::ReadDriver(const std::string& path) {
  Ledger::ForEachLine(path, [this](int64_t micros, std::istringstream& rest) {
    std::string what, text;
    int64_t number = 0;
    rest >> what >> number;
    JobFacts& job = jobs[number];
    if (what == "start") job.begun = true;
    if (what == "terminate") job.terminate = true;
    if (what == "cancel") job.cancel = true;
    ReadRest(job, micros, what);
    if (what == "started") {
      rest >> text;
      job.runs.insert(text);
    } else if (what == "signaled") {
      int64_t value = 0;
      rest >> text >> value;
      job.taken[text] = std::max(job.taken[text], value + 1);
    } else if (what == "ended") {
      rest >> job.how;
      std::getline(rest >> std::ws, job.text);
    } else if (what == "wrong") {
      std::getline(rest >> std::ws, text);
      wrong_answers.push_back(fmt::format("job-{}: {}", number, text));
    }
  });
}

void Facts::ReadRest(JobFacts& job, int64_t micros, const std::string& what) {
  if (what == "paused") job.rests.emplace_back(micros, 0);
  if (what == "resume" && !job.rests.empty() && job.rests.back().second == 0) job.rests.back().second = micros;
  if (what == "rested") ++rested;
}

void Facts::ReadEffects(const std::string& path) {
  Ledger::ForEachLine(path, [this](int64_t micros, std::istringstream& rest) {
    std::string what, key;
    rest >> what >> key;
    const size_t slash = key.find('/');
    RunDeeds& run = runs[key.substr(0, slash)];
    if (what == "committed") {
      EventId version = 0;
      CommitId commit = 0;
      rest >> version >> commit;
      if (commit == 0) return;
      run.commits[version] = commit;
      run.acknowledged.try_emplace(version, micros);
      return;
    }
    const std::string id = key.substr(slash + 1);
    // Those of local activities are "local/N", N being none of the history's numbers.
    ActivityFacts local;
    ActivityFacts& activity = id.starts_with("local/") ? local : run.activities[std::stoll(id)];
    if (what == "resolved") {
      ++activity.resolved;
    } else if (what == "begin") {
      Execution begun;
      int deliveries = 0;
      begun.begin = micros;
      rest >> begun.attempt >> deliveries >> begun.pid >> begun.type >> begun.claimed;
      activity.executions.push_back(std::move(begun));
    } else if (what == "end") {
      int attempt = 0;
      int64_t value = 0;
      std::string pid, how;
      rest >> attempt >> pid >> how >> value;
      if (how == "ok") activity.results.insert(value);
    }
    run.local_results.merge(local.results);
  });
}

}  // namespace marathon::chaos
