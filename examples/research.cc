// The main job: reads real files, lets an editor publish what they say, and survives SIGKILL on the way.
//
//   file ─► Digest ─┐
//   file ─► Digest ─┼─► Condense ─► a second's ─► signal ─────► Editor: model ─► publish ─► model
//   file ─► Digest ─┘               sleep         "approved"    (an agent)       (its tool) ─► report
//
//   research run DB LEDGER REPORT FILE...   starts it in the SQLite file DB, or goes on with it
//   research approve DB                     sends it the signal, from a process of its own
//   research export DB                      prints its history
//
// The editor's model is a script; with OPENAI_BASE_URL it is a real one, called AGENT_MODEL, with the key OPENAI_API_KEY.
//
// examples/research.sh kills it half-way, starts it again and compares the history with the ledger:
// a file in which each activity notes its begin and its end, and which the engine knows nothing of.
#include <marathon/adapters/sqlite.h>
#include <marathon/agent/agent.h>
#include <marathon/llm/client.h>
#include <marathon/llm/scripted_model.h>
#include <marathon/marathon.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "ledger.h"
#include "text_rank.h"

using namespace std::chrono_literals;
namespace agent = marathon::agent;
namespace llm = marathon::llm;

struct Job {
  std::vector<std::string> files;
  std::string report;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Job, files, report)

struct Publication {
  std::string title;
  std::string summary;
};
MARATHON_TOOL_INPUT(Publication, (title, "a few words"), (summary, "in a sentence"))

constexpr char kWorkflowId[] = "research";
using Sentences = std::vector<std::string>;
constexpr marathon::ActivityDef<Sentences(std::string)> kDigest{"Digest"};
constexpr marathon::ActivityDef<Sentences(std::vector<Sentences>)> kCondense{"Condense"};
constexpr marathon::WorkflowDef<std::string(Job)> kResearch{"Research"};
constexpr marathon::SignalDef<bool> kApproved{"approved"};

std::string Lines(const Sentences& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += "- " + sentence + "\n";
  return text;
}

// Whatever the editor says, its tool must have done it.
bool HasPublished(const agent::Result& result) {
  return std::ranges::any_of(result.messages, [](const llm::Message& message) {
    return std::ranges::any_of(message.blocks, [](const llm::Block& block) {
      const auto* published = std::get_if<llm::ToolResult>(&block);
      return published != nullptr && !published->is_error;
    });
  });
}

marathon::Workflow<std::string> Research(marathon::WorkflowContext& ctx, const agent::Agent& editor, Job job) {
  std::vector<marathon::ActivityHandle<Sentences>> digests;
  for (const std::string& file : job.files) digests.push_back(ctx.Start(kDigest, file));
  const std::vector<Sentences> best = co_await ctx.All(digests);
  const Sentences condensed = co_await ctx.Run(kCondense, best);
  co_await ctx.Sleep(1s);
  if (!co_await ctx.Receive(kApproved)) throw marathon::ApplicationError("the report is refused");
  agent::Input input = agent::Ask("Publish a report of this:\n" + Lines(condensed));
  input.keep_messages = true;
  const agent::Result result = co_await agent::RunAgent(ctx, editor, input);
  if (!HasPublished(result)) throw marathon::ApplicationError("nothing is published: " + result.text + result.message);
  co_return job.report;
}

// In one step: an activity may run twice, and a reader must never see half a file.
void Write(const std::string& path, const std::string& text) {
  const std::string draft = path + ".draft";
  std::ofstream out(draft);
  out << text;
  out.close();
  if (!out || std::rename(draft.c_str(), path.c_str()) != 0) throw std::runtime_error("cannot write " + path);
}

std::string Read(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What is known of a file, beside the report that it will be a part of.
std::string NotePath(const Job& job, std::string file) {
  std::ranges::replace(file, '/', '_');
  return job.report + "." + file;
}

Sentences DigestFile(const Job& job, const std::string& file) {
  const Sentences sentences = text_rank::Sentences(Read(file));
  const Sentences best = text_rank::Summary(sentences, 3);
  Write(NotePath(job, file), fmt::format("\n## {} ({} sentences)\n\n{}", file, sentences.size(), Lines(best)));
  return best;
}

Sentences CondenseAll(const std::vector<Sentences>& digests) {
  Sentences best;
  for (const Sentences& digest : digests) {
    for (const std::string& sentence : digest) {
      if (std::ranges::find(best, sentence) == best.end()) best.push_back(sentence);
    }
  }
  return text_rank::Summary(best, 5);
}

std::string Publish(const Job& job, const Publication& publication) {
  std::string text = "# " + publication.title + "\n\n" + publication.summary + "\n";
  for (const std::string& file : job.files) text += Read(NotePath(job, file));
  Write(job.report, text);
  return fmt::format("{} files are in the report.", job.files.size());
}

// Publishes the sentence that says most of what it was given, and is done. It knows nothing but what it is asked, so
// any process can have one.
llm::ChatResult AnswerAsEditor(const llm::ChatRequest& request) {
  const std::string text = llm::TextOf(request.messages.back().blocks);
  if (text.empty()) return llm::ChatResponse{.blocks = {llm::Text{"That was it."}}};  // a tool's result
  const Sentences summary = text_rank::Summary(text_rank::Sentences(text), 1);
  const nlohmann::json arguments = Publication{"What the files say", summary.empty() ? text : summary[0]};
  return llm::ChatResponse{.blocks = {llm::ToolCall{"call_1", "publish", arguments.dump()}},
                           .stop_reason = llm::StopReason::kToolCalls};
}

std::string EnvironmentOr(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

absl::StatusOr<std::shared_ptr<llm::Model>> OpenModel() {
  const std::string url = EnvironmentOr("OPENAI_BASE_URL", "");
  if (!url.empty()) return llm::Client::Open({.base_url = url, .api_key = EnvironmentOr("OPENAI_API_KEY", "")});
  return std::make_shared<llm::ScriptedModel>(AnswerAsEditor);
}

int Complain(const absl::Status& status) {
  fmt::print(stderr, "research: {}\n", status.ToString());
  return 1;
}

absl::StatusOr<marathon::Engine> Open(const std::string& db, marathon::Registry registry) {
  registry.Use(marathon::SqliteBackend());
  return marathon::Engine::Open("sqlite:" + db, registry, {.activity_threads = 2});
}

int RunJob(const std::string& db, const char* ledger_path, const Job& job) {
  const Ledger ledger(ledger_path);
  if (!ledger.ok()) return Complain(absl::NotFoundError("the ledger cannot be opened"));
  const auto model = OpenModel();
  if (!model.ok()) return Complain(model.status());
  auto editor = std::make_shared<agent::Agent>();
  editor->name = "Editor";
  editor->model = EnvironmentOr("AGENT_MODEL", "any");
  editor->instructions = "You publish reports. Be brief.";
  editor->budget = {.steps = 5, .tool_calls = 2};
  editor->stream = false;  // nobody watches
  editor->tools = {agent::MakeTool("publish", "Publishes the report.",
                                   [&](agent::ToolContext& ctx, const Publication& publication) {
                                     return ledger.Around(ctx.activity(), job.report,
                                                          [&] { return Publish(job, publication); });
                                   },
                                   {.effect = agent::Effect::kIdempotent})};
  marathon::Registry registry;
  agent::BindActivities(registry, editor, *model);
  registry.Bind(kResearch, [editor](marathon::WorkflowContext& ctx, Job of) {
    return Research(ctx, *editor, std::move(of));
  });
  registry.Bind(kDigest, [&](marathon::ActivityContext& ctx, const std::string& file) {
    return ledger.Around(ctx, file, [&] { return DigestFile(job, file); });
  });
  registry.Bind(kCondense, [&](marathon::ActivityContext& ctx, const std::vector<Sentences>& digests) {
    return ledger.Around(ctx, "all", [&] { return CondenseAll(digests); });
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
