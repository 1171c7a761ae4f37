#include "audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "backend.h"
#include "facts.h"
#include "shared.h"
#include "marathon/engine/replayer.h"
#include "marathon/event_codec.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::chaos {
namespace {

struct StoredRun {
  RunSnapshot snapshot;
  History history;
  std::map<EventId, CommitId> commits;  // by the version after each
};

class Auditor {
 public:
  Auditor(const std::string& folder, uint64_t seed, Violations& violations)
      : seed_(seed), violations_(violations), facts_(folder) {
    for (const std::string& wrong : facts_.wrong_answers) violations_.Add("answers", wrong);
    registry_.Bind(testing::kSimWorkflow, testing::RunSimProgram);
  }

  AuditResult Run(const std::string& url);

 private:
  bool Open(const std::string& url);
  template <class T, class Call>
  StatusOr<T> Await(Call&& call);
  std::vector<RunRow> ListAll();
  std::optional<StoredRun> Read(const RunKey& key);

  void CheckRun(const RunRow& row);
  void CheckHistory(const StoredRun& run);
  void CheckEnd(const StoredRun& run, int64_t number, const Job& job);
  void CheckSignals(const StoredRun& run, int64_t number, const Job& job);
  void CheckActivities(const StoredRun& run);
  // `recorded`: when it is known to have been, by the clock of the ledgers; kNever: it is not known.
  void CheckActivity(const StoredRun& run, const Event& scheduled, const EventBody* outcome,
                     Time recorded);
  void CheckLocal(const StoredRun& run, const Event& started, const EventBody& outcome);
  void CheckLedger(const std::set<std::string>& known_runs);
  void Add(std::string_view invariant, const RunKey& run, std::string_view what) {
    violations_.Add(invariant, fmt::format("{}, run {}: {}", run.workflow_id, run.run_id, what));
  }

  const uint64_t seed_;
  Violations& violations_;
  Facts facts_;
  Registry registry_;
  ThreadRuntime runtime_{2, 2};
  Ports ports_;
  AuditResult result_;
};

// ---- The store

template <class T, class Call>
StatusOr<T> Auditor::Await(Call&& call) {
  for (;;) {
    StatusOr<T> answer = absl::UnknownError("");
    const std::shared_ptr<OneShot> ready = runtime_.NewOneShot();
    call(Done<T>([&answer, ready](StatusOr<T> value) {  // which must outlive its own Set()
      answer = std::move(value);
      ready->Set();
    }));
    ready->Wait(OneShot::kForever);
    if (answer.ok() || !IsTransient(answer.status())) return answer;
    runtime_.NewOneShot()->Wait(Duration(50));
  }
}

bool Auditor::Open(const std::string& url) {
  const StatusOr<BackendUrl> parsed = ParseBackendUrl(url);
  for (const Backend& backend : KnownSchemes()) {
    if (!parsed.ok() || backend.scheme != parsed->scheme) continue;
    StatusOr<Ports> ports = backend.open(*parsed, runtime_);
    while (!ports.ok() && IsTransient(ports.status())) {
      runtime_.NewOneShot()->Wait(Duration(50));
      ports = backend.open(*parsed, runtime_);
    }
    if (!ports.ok()) violations_.Add("store", ports.status().ToString());
    if (ports.ok()) ports_ = *std::move(ports);
    return ports.ok();
  }
  violations_.Add("store", fmt::format("{} cannot be opened", url));
  return false;
}

std::vector<RunRow> Auditor::ListAll() {
  std::vector<RunRow> rows;
  ListRequest request;
  do {
    const auto page = Await<ListReply>(
        [&](Done<ListReply> done) { ports_.store->List(request, std::move(done)); });
    if (!page.ok()) {
      violations_.Add("store", page.status().ToString());
      break;
    }
    rows.insert(rows.end(), page->runs.begin(), page->runs.end());
    request.page_token = page->next_page_token;
  } while (!request.page_token.empty());
  return rows;
}

std::optional<StoredRun> Auditor::Read(const RunKey& key) {
  StoredRun run;
  ReadRequest request;
  request.run = key;
  request.records = request.inbox = request.activities = true;
  for (bool more = true; more;) {
    auto page = Await<RunSnapshot>(
        [&](Done<RunSnapshot> done) { ports_.store->Read(request, std::move(done)); });
    Status status = page.status();
    for (size_t i = 0; status.ok() && i < page->records.size(); ++i) {
      const StatusOr<Record> record = DecodeRecord(page->records[i]);
      if (record.ok() && !record->events.empty()) {
        run.commits[record->events.back().id] = record->commit_id;
      }
      status = AppendRecord(page->records[i], run.history);
    }
    if (!status.ok()) {
      Add("history", key, status.ToString());
      return std::nullopt;
    }
    more = page->more_records;
    if (!run.history.empty()) request.after_version = run.history.back().id;
    run.snapshot = *std::move(page);
  }
  return run;
}

// ---- The checks

AuditResult Auditor::Run(const std::string& url) {
  if (!Open(url)) return result_;
  std::set<std::string> known, ids;
  for (const RunRow& row : ListAll()) {
    if (!known.insert(row.key.run_id).second) Add("starts", row.key, "is listed twice");
    if (!ids.insert(row.key.workflow_id).second) Add("starts", row.key, "is the second of its id");
    CheckRun(row);
  }
  for (const auto& [number, job] : facts_.jobs) {
    if (job.runs.size() > 1) {
      violations_.Add("starts", fmt::format("job-{} was answered with several runs", number));
    }
    for (const std::string& run : job.runs) {
      if (!known.contains(run)) violations_.Add("starts", fmt::format("job-{} is lost", number));
    }
    if (!job.runs.empty() && job.how.empty()) {
      violations_.Add("liveness", fmt::format("job-{}: its user was not told of an end", number));
    }
  }
  CheckLedger(known);
  ports_ = {};
  runtime_.Stop();
  return result_;
}

void Auditor::CheckRun(const RunRow& row) {
  int64_t number = 0;
  if (row.key.workflow_id.view().starts_with("job-")) number = std::stoll(row.key.workflow_id.str().substr(4));
  if (!facts_.jobs.contains(number) || !facts_.jobs[number].begun) {
    return Add("starts", row.key, "was never asked for");
  }
  const std::optional<StoredRun> run = Read(row.key);
  if (!run) return;
  const RunRow& now = run->snapshot.row;
  if (IsOpen(now)) {
    std::string pending;
    for (const ActivityRow& a : run->snapshot.activities) {
      pending += fmt::format("; activity {} in state {}, attempt {}, epoch {}, of session \"{}\"",
                             a.key.id, static_cast<int>(a.state), a.attempt, a.epoch, a.session);
    }
    Add("liveness", row.key,
        fmt::format("is open at version {}, {} messages wait, ready {}, owner \"{}\"{}{}",
                    now.version, now.inbox_size, now.ready_since != kNever, now.owner, pending,
                    now.blocked ? "; blocked: " + now.blocked->reason : ""));
    return;
  }
  ++result_.workflows;
  const Job job = Job::Draw(seed_, number);
  CheckHistory(*run);
  CheckEnd(*run, number, job);
  CheckSignals(*run, number, job);
  CheckActivities(*run);
  if (!run->snapshot.inbox.empty() || !run->snapshot.activities.empty() || now.inbox_size != 0 ||
      now.pending_activities != 0 || now.ready_since != kNever) {
    Add("leftovers", row.key, "has ended, and left messages or activities behind");
  }
}

void Auditor::CheckHistory(const StoredRun& run) {
  const RunKey& key = run.snapshot.row.key;
  if (run.history.empty() || run.history.back().id != run.snapshot.row.version ||
      static_cast<EventId>(run.history.size()) != run.snapshot.row.version) {
    return Add("history", key, "its events are not those of its version");
  }
  for (const Event& event : run.history) {
    const bool last = &event == &run.history.back();
    if (IsClosing(TypeOf(event.body)) != last) {
      Add("history", key, fmt::format("event {} is {}", event.id, Describe(event.body)));
    }
  }
  for (const auto& [version, commit] : facts_.runs[key.run_id].commits) {
    const auto stored = run.commits.find(version);
    if (stored == run.commits.end() || stored->second != commit) {
      Add("commits", key,
          fmt::format("the commit to version {} was acknowledged and is lost", version));
    }
  }
  const RunRow& row = run.snapshot.row;
  Replayer replayer({key, row.workflow_type, row.task_queue},
                    *registry_.FindWorkflow(testing::kSimWorkflow.name));
  if (const auto mismatch = replayer.Replay(run.history)) {
    Add("replay", key, mismatch->ToString());
  }
}

bool IsDeadLetter(const Event& event) {
  const auto* failed = std::get_if<ActivityFailed>(&event.body);
  return failed != nullptr && failed->failure.type == failure_type::kDeadLetter;
}

void Auditor::CheckEnd(const StoredRun& run, int64_t number, const Job& job) {
  const RunKey& key = run.snapshot.row.key;
  const JobFacts& facts = facts_.jobs[number];
  const EventBody& end = run.history.back().body;
  const bool given_up = std::any_of(run.history.begin(), run.history.end(), IsDeadLetter);
  std::string how, text;
  bool right = false;
  if (const auto* completed = std::get_if<WorkflowCompleted>(&end)) {
    how = "completed";
    text = Decode<std::string>(completed->result).value_or("?");
    right = given_up || (!job.program.Throws() && text == job.program.Expected());
  } else if (const auto* failed = std::get_if<WorkflowFailed>(&end)) {
    how = "failed";
    text = failed->failure.message;
    right = job.program.Throws() && text == job.program.Expected();
  } else if (std::holds_alternative<WorkflowTerminated>(end)) {
    how = "terminated";
    right = facts.terminate;
  } else if (std::holds_alternative<WorkflowTimedOut>(end)) {
    how = "timed-out";
    right = job.run_timeout.count() > 0;
  }
  if (!right) {
    Add("results", key, fmt::format("{} {}, and should be {}", how, text, job.program.Expected()));
  }
  const bool tells_text = how == "completed" || how == "failed";
  if (!facts.how.empty() && (facts.how != how || (tells_text && facts.text != text))) {
    Add("answers", key,
        fmt::format("its user was told {} {}; it is {} {}", facts.how, facts.text, how, text));
  }
}

void Auditor::CheckSignals(const StoredRun& run, int64_t number, const Job& job) {
  const RunKey& key = run.snapshot.row.key;
  std::map<std::string, int64_t> received;
  for (const Event& event : run.history) {
    const auto* signal = std::get_if<SignalReceived>(&event.body);
    if (signal == nullptr) continue;
    const int64_t value = Decode<int64_t>(signal->input).value_or(-1);
    int64_t& next = received[signal->name];
    if (value != next) {
      Add("signals", key,
          fmt::format("event {}: {} {} comes instead of {}", event.id, signal->name, value, next));
    }
    next = std::max(next, value + 1);
  }
  for (const auto& [sender, taken] : facts_.jobs[number].taken) {
    if (received[sender] < taken) {
      Add("signals", key,
          fmt::format("{} {} was acknowledged, and {} are recorded", sender, taken - 1,
                      received[sender]));
    }
  }
  if (received[std::string(testing::kSimSignal.name)] > job.signals ||
      received[std::string(kOtherSignal)] > job.other_signals) {
    Add("signals", key, "has more signals than were sent");
  }
}

void Auditor::CheckActivities(const StoredRun& run) {
  const RunKey& key = run.snapshot.row.key;
  const std::map<EventId, int64_t>& acknowledged = facts_.runs[key.run_id].acknowledged;
  std::map<EventId, std::pair<const EventBody*, Time>> outcomes;
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
    if (!outcomes.emplace(scheduled, std::pair(&event.body, recorded)).second) {
      Add("activities", key, fmt::format("activity {} has two outcomes", scheduled));
    }
  }
  for (const Event& event : run.history) {
    const auto outcome = outcomes.find(event.id);
    if (std::holds_alternative<LocalActivityStarted>(event.body) && outcome != outcomes.end()) {
      CheckLocal(run, event, *outcome->second.first);
    }
    if (!std::holds_alternative<ActivityScheduled>(event.body)) continue;
    if (outcome == outcomes.end()) {
      CheckActivity(run, event, nullptr, kNever);
    } else {
      CheckActivity(run, event, outcome->second.first, outcome->second.second);
    }
  }
  std::set<EventId> scheduled;
  for (const Event& event : run.history) {
    if (std::holds_alternative<ActivityScheduled>(event.body)) scheduled.insert(event.id);
  }
  for (const auto& [id, activity] : facts_.runs[key.run_id].activities) {
    if (!activity.executions.empty() && !scheduled.contains(id)) {
      Add("effects", key, fmt::format("activity {} was executed and is not in history", id));
    }
  }
}

void Auditor::CheckActivity(const StoredRun& run, const Event& scheduled, const EventBody* outcome,
                            Time recorded) {
  const RunKey& key = run.snapshot.row.key;
  const auto& plan = std::get<ActivityScheduled>(scheduled.body);
  const ActivityFacts& facts = facts_.runs[key.run_id].activities[scheduled.id];
  if (facts.resolved > 1) {
    Add("activities", key,
        fmt::format("{} ends of activity {} were acknowledged", facts.resolved, scheduled.id));
  }
  const int most = plan.policy.retry.maximum_attempts;
  std::map<int, int> begins;
  bool late = false;
  for (const Execution& one : facts.executions) {
    ++begins[one.attempt];
    late |= one.begin > ToMicros(recorded);
    if (one.type != plan.activity_type || (most > 0 && one.attempt > most)) {
      Add("effects", key,
          fmt::format("activity {} is {} at attempt {}, and was executed as {}", scheduled.id,
                      plan.activity_type, one.attempt, one.type));
    }
    if (one.claimed > ToMicros(recorded)) {
      Add("claims", key,
          fmt::format("activity {} was claimed {} ms after its end was recorded", scheduled.id,
                      (one.claimed - ToMicros(recorded)) / 1000));
    }
  }
  result_.duplicates +=
      std::any_of(begins.begin(), begins.end(), [](const auto& begin) { return begin.second > 1; });
  result_.late_starts += late;
  if (outcome == nullptr) return;
  if (const auto* completed = std::get_if<ActivityCompleted>(outcome)) {
    if (!facts.results.contains(Decode<int64_t>(completed->result).value_or(-1))) {
      Add("effects", key,
          fmt::format("activity {} completed with a result that nobody worked for", scheduled.id));
    }
    return;
  }
  const auto& failed = std::get<ActivityFailed>(*outcome);
  if (failed.failure.type == failure_type::kDeadLetter) {
    ++result_.dead_letters;
    // Of its five deaths, some may come before it notes its begin.
    constexpr int kFewest = 3;
    if (begins[failed.attempt] < kFewest) {
      Add("dead letters", key,
          fmt::format("activity {} was given up after {} executions of its last attempt",
                      scheduled.id, begins[failed.attempt]));
    }
  }
}

// No row says how often a local activity may begin, for a turn that is lost is taken again.
void Auditor::CheckLocal(const StoredRun& run, const Event& started, const EventBody& outcome) {
  const auto* const completed = std::get_if<ActivityCompleted>(&outcome);
  if (completed == nullptr) return;
  const RunKey& key = run.snapshot.row.key;
  if (!facts_.runs[key.run_id].local_results.contains(
          Decode<int64_t>(completed->result).value_or(-1))) {
    Add("effects", key,
        fmt::format("local activity {} completed with a result that nobody worked for", started.id));
  }
}

void Auditor::CheckLedger(const std::set<std::string>& known_runs) {
  for (const auto& [run, facts] : facts_.runs) {
    if (!known_runs.contains(run)) {
      violations_.Add("effects", fmt::format("run {} has effects, and is not in the store", run));
    }
  }
}

}  // namespace

AuditResult Audit(const std::string& folder, const std::string& url, uint64_t seed,
                  Violations& violations) {
  return Auditor(folder, seed, violations).Run(url);
}

}  // namespace marathon::chaos
