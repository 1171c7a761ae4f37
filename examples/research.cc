// The main job: reads real files, condenses them into a report, and survives SIGKILL on the way.
//
//   file ─► Digest ─┐
//   file ─► Digest ─┼─► Condense ─► a second's ─► signal ──────► Publish ─► report
//   file ─► Digest ─┘               sleep         "approved"
//
//   research run DB LEDGER REPORT FILE...   starts it in the SQLite file DB, or goes on with it
//   research approve DB                     sends it the signal, from a process of its own
//   research export DB                      prints its history
//
// examples/research.sh kills it half-way, starts it again and compares the history with the ledger:
// a file in which each activity notes its begin and its end, and which the engine knows nothing of.
#include <marathon/adapters/sqlite.h>
#include <marathon/marathon.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "text_rank.h"

using namespace std::chrono_literals;

struct Job {
  std::vector<std::string> files;
  std::string report;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Job, files, report)

struct Digest {
  std::string file;
  size_t sentences = 0;
  std::vector<std::string> best;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Digest, file, sentences, best)

struct Report {
  std::string path;
  std::vector<std::string> summary;
  std::vector<Digest> digests;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Report, path, summary, digests)

constexpr char kWorkflowId[] = "research";
constexpr marathon::ActivityDef<Digest(std::string)> kDigest{"Digest"};
using Sentences = std::vector<std::string>;
constexpr marathon::ActivityDef<Sentences(std::vector<Digest>)> kCondense{"Condense"};
constexpr marathon::ActivityDef<void(Report)> kPublish{"Publish"};
constexpr marathon::WorkflowDef<std::string(Job)> kResearch{"Research"};
constexpr marathon::SignalDef<bool> kApproved{"approved"};

marathon::Workflow<std::string> Research(marathon::WorkflowContext& ctx, Job job) {
  std::vector<marathon::ActivityHandle<Digest>> digests;
  for (const std::string& file : job.files) digests.push_back(ctx.Start(kDigest, file));
  Report report;
  report.path = job.report;
  report.digests = co_await ctx.All(digests);
  report.summary = co_await ctx.Run(kCondense, report.digests);
  co_await ctx.Sleep(1s);
  if (!co_await ctx.Receive(kApproved)) throw marathon::ApplicationError("the report is refused");
  co_await ctx.Run(kPublish, report);
  co_return report.path;
}

// Each line is on disk before the work goes on: time, begin or end, step, attempt, process, what.
class Ledger {
 public:
  explicit Ledger(const char* path) : file_(open(path, O_WRONLY | O_CREAT | O_APPEND, 0644)) {}
  bool ok() const { return file_ >= 0; }

  template <class Work>
  auto Around(const marathon::ActivityContext& ctx, std::string_view what, Work&& work) const {
    Note("begin", ctx, what);
    auto result = work();
    Note("end", ctx, what);
    return result;
  }

 private:
  void Note(std::string_view when, const marathon::ActivityContext& ctx,
            std::string_view what) const {
    const auto now = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
    const std::string line =
        fmt::format("{} {} {} {} {} {} {}\n", now.time_since_epoch().count(), when,
                    ctx.idempotency_key(), ctx.attempt(), getpid(), ctx.info().activity_type, what);
    if (write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        fsync(file_) != 0) {
      throw std::runtime_error("the ledger cannot be written");
    }
  }

  int file_;
};

Digest ReadAndScore(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::vector<std::string> sentences = text_rank::Sentences(text);
  return {path, sentences.size(), text_rank::Summary(sentences, 3)};
}

Sentences CondenseAll(const std::vector<Digest>& digests) {
  Sentences best;
  for (const Digest& digest : digests) {
    for (const std::string& sentence : digest.best) {
      if (std::ranges::find(best, sentence) == best.end()) best.push_back(sentence);
    }
  }
  return text_rank::Summary(best, 5);
}

// In one step: an activity may run twice, and a reader must never see half a report.
bool Write(const Report& report) {
  const std::string draft = report.path + ".draft";
  std::ofstream out(draft);
  out << "# What " << report.digests.size() << " files say\n\n";
  for (const std::string& sentence : report.summary) out << "- " << sentence << "\n";
  for (const Digest& digest : report.digests) {
    out << "\n## " << digest.file << " (" << digest.sentences << " sentences)\n\n";
    for (const std::string& sentence : digest.best) out << "- " << sentence << "\n";
  }
  out.close();
  if (!out || std::rename(draft.c_str(), report.path.c_str()) != 0) {
    throw std::runtime_error("cannot write " + report.path);
  }
  return true;
}

int Complain(const absl::Status& status) {
  fmt::print(stderr, "research: {}\n", status.ToString());
  return 1;
}

absl::StatusOr<marathon::Engine> Open(const std::string& db, marathon::Registry registry) {
  registry.Use(marathon::SqliteBackend());
  return marathon::Engine::Open("sqlite:" + db, registry, {.activity_threads = 2});
}

int RunJob(const std::string& db, const char* ledger_path, Job job) {
  const Ledger ledger(ledger_path);
  if (!ledger.ok()) return Complain(absl::NotFoundError("the ledger cannot be opened"));
  marathon::Registry registry;
  registry.Bind(kResearch, Research);
  registry.Bind(kDigest, [&](marathon::ActivityContext& ctx, const std::string& path) {
    return ledger.Around(ctx, path, [&] { return ReadAndScore(path); });
  });
  registry.Bind(kCondense, [&](marathon::ActivityContext& ctx, const std::vector<Digest>& digests) {
    return ledger.Around(ctx, "all", [&] { return CondenseAll(digests); });
  });
  registry.Bind(kPublish, [&](marathon::ActivityContext& ctx, const Report& report) {
    ledger.Around(ctx, report.path, [&] { return Write(report); });
  });
  auto engine = Open(db, registry);
  if (!engine.ok()) return Complain(engine.status());
  // The same request id gives the same run: the second process only waits for it.
  auto run = engine->Start(kResearch, job, {.workflow_id = kWorkflowId, .request_id = kWorkflowId});
  if (!run.ok()) return Complain(run.status());
  const auto path = run->Result<std::string>();
  return path.ok() ? 0 : Complain(path.status());
}

int Approve(const std::string& db) {
  auto engine = Open(db, {});  // no code is registered: this process takes no work
  if (!engine.ok()) return Complain(engine.status());
  const auto status = engine->Find(kWorkflowId).Signal(kApproved, true);
  return status.ok() ? 0 : Complain(status);
}

// A line an event: the time of its turn, its id, its type, and the step whose result it is.
int Export(const std::string& db) {
  auto engine = Open(db, {});
  if (!engine.ok()) return Complain(engine.status());
  const marathon::Run run = engine->Find(kWorkflowId);
  const auto description = run.Describe();
  if (!description.ok()) return Complain(description.status());
  const auto history = run.History();
  if (!history.ok()) return Complain(history.status());
  int64_t time = 0;
  for (const marathon::Event& event : *history) {
    const std::string type = marathon::ToString(marathon::TypeOf(event.body));
    std::string step = "-";
    if (const auto* turn = std::get_if<marathon::TurnStarted>(&event.body)) {
      time = marathon::ToMicros(turn->time);
    } else if (const auto* done = std::get_if<marathon::ActivityCompleted>(&event.body)) {
      step = fmt::format("{}/{}", description->run.key.run_id, done->scheduled);
    }
    fmt::print("{} {} {} {}\n", time, event.id, type, step);
  }
  return 0;
}

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode == "run" && argc > 5) {
    return RunJob(argv[2], argv[3], {{argv + 5, argv + argc}, argv[4]});
  }
  if (mode == "approve") return Approve(argv[2]);
  if (mode == "export") return Export(argv[2]);
  fmt::print(stderr, "usage: research run DB LEDGER REPORT FILE... | approve DB | export DB\n");
  return 2;
}
