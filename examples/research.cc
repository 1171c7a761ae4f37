// The main job: an editor, which is an agent, reads real files through a tool and publishes what they say once a person
// agrees. It survives SIGKILL on the way, and so does whoever reads along.
//
//                   ┌─► digest ─► file ─┐
//   Editor: model ──┼─► digest ─► file ─┼─► Condense ─► a second's ─► Editor: model ─► publish ─► model
//                   └─► digest ─► file ─┘               sleep                          waits for a person
//
//   research run DB LEDGER REPORT FILE...   starts it in the SQLite file DB, or goes on with it; shows what is said
//   research approve DB                     waits until somebody is to agree, and does, from a process of its own
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
#include <sstream>

#include "ledger.h"
#include "screen.h"
#include "text_rank.h"

using namespace std::chrono_literals;
namespace agent = marathon::agent;
namespace llm = marathon::llm;

struct Job {
  std::vector<std::string> files;
  std::string report;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Job, files, report)

struct Report {
  std::string path;
  std::string said;  // by the editor, in all its steps
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Report, path, said)

struct File {
  std::string path;
};
MARATHON_TOOL_INPUT(File, (path, "of the file, as it was given"))

struct Publication {
  std::string title;
  std::string summary;
};
MARATHON_TOOL_INPUT(Publication, (title, "a few words"), (summary, "in a sentence"))

constexpr char kWorkflowId[] = "research";
using Sentences = std::vector<std::string>;
constexpr marathon::ActivityDef<Sentences(Job)> kCondense{"Condense"};
constexpr marathon::WorkflowDef<Report(Job)> kResearch{"Research"};

std::string Lines(const Sentences& lines) {
  std::string text;
  for (const std::string& line : lines) text += "- " + line + "\n";
  return text;
}
Sentences LinesOf(const std::string& text) {
  Sentences lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("- ")) lines.push_back(line.substr(2));
  }
  return lines;
}

bool AnySucceeded(const llm::Message& results) {
  return std::ranges::any_of(results.blocks, [](const llm::Block& block) {
    const auto* result = std::get_if<llm::ToolResult>(&block);
    return result != nullptr && !result->is_error;
  });
}

// The files that these calls are not of, as calls.
std::vector<llm::ToolCall> CallsOfTheRest(const Job& job, const std::vector<llm::ToolCall>& calls) {
  std::vector<llm::ToolCall> rest;
  for (const std::string& file : job.files) {
    const nlohmann::json arguments = File{file};
    const bool called = std::ranges::any_of(calls, [&](const llm::ToolCall& call) {
      return nlohmann::json::parse(call.arguments, nullptr, false) == arguments;
    });
    if (!called) rest.push_back({fmt::format("rest_{}", rest.size()), "digest", arguments.dump()});
  }
  return rest;
}

std::string WordsOf(const agent::Conversation& conversation) {
  std::string words;
  for (const llm::Message& message : conversation.messages()) {
    if (message.role == llm::Role::kAssistant) words += llm::TextOf(message.blocks);
  }
  return words;
}

// For what it does, and not for the editor.
marathon::Workflow<void> CallAlone(agent::Loop& loop, llm::ToolCall call) { co_await loop.Call(call); }

// Whatever the editor wants, all files are read, and something is published.
marathon::Workflow<Report> Research(marathon::WorkflowContext& ctx, const agent::Agent& editor, Job job) {
  agent::Loop loop(ctx, editor, agent::Ask("Digest each of these files:\n" + Lines(job.files)));
  if (!co_await loop.Ask()) throw marathon::ApplicationError("nothing is read: " + loop.result().message);
  const std::vector<llm::ToolCall> rest = CallsOfTheRest(job, loop.calls());
  if (!loop.calls().empty()) co_await loop.CallTools();
  std::vector<marathon::BranchHandle<void>> branches;
  for (const llm::ToolCall& call : rest) branches.push_back(ctx.Spawn(CallAlone(loop, call)));
  co_await ctx.All(branches);

  const Sentences condensed = co_await ctx.Run(kCondense, job);
  co_await ctx.Sleep(1s);
  loop.Say(llm::UserMessage("All files are read. Publish a report of this:\n" + Lines(condensed)));
  bool published = false;
  while (co_await loop.Ask()) {
    if (loop.calls().empty()) {
      loop.Accept();
    } else {
      co_await loop.CallTools();
      published = published || AnySucceeded(loop.conversation().messages().back());
    }
  }
  const agent::Result& result = loop.result();
  if (!published) throw marathon::ApplicationError("nothing is published: " + result.text + result.why + result.message);
  Report report{job.report, WordsOf(loop.conversation())};
  co_return report;
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

std::string DigestFile(const Job& job, const std::string& file) {
  const Sentences sentences = text_rank::Sentences(Read(file));
  const std::string best = Lines(text_rank::Summary(sentences, 3));
  Write(NotePath(job, file), fmt::format("\n## {} ({} sentences)\n\n{}", file, sentences.size(), best));
  return best;
}

Sentences CondenseAll(const Job& job) {
  Sentences all;
  for (const std::string& file : job.files) {
    for (const std::string& sentence : LinesOf(Read(NotePath(job, file)))) {
      if (std::ranges::find(all, sentence) == all.end()) all.push_back(sentence);
    }
  }
  return text_rank::Summary(all, 5);
}

std::string Publish(const Job& job, const Publication& publication) {
  std::string text = "# " + publication.title + "\n\n" + publication.summary + "\n";
  for (const std::string& file : job.files) text += Read(NotePath(job, file));
  Write(job.report, text);
  return fmt::format("{} files are in the report.", job.files.size());
}

llm::ChatResponse SaysAndCalls(std::string text, std::vector<llm::ToolCall> calls) {
  llm::ChatResponse response{.blocks = {llm::Text{std::move(text)}}};
  if (!calls.empty()) response.stop_reason = llm::StopReason::kToolCalls;
  for (llm::ToolCall& call : calls) response.blocks.emplace_back(std::move(call));
  return response;
}

// Reads all files at once, publishes the sentence that says most of what it was given, and is done. It knows nothing but
// what it is asked, so any process can have one.
llm::ChatResult AnswerAsEditor(const llm::ChatRequest& request) {
  const std::string asked = llm::TextOf(request.messages.back().blocks);
  const Sentences lines = LinesOf(asked);
  if (asked.empty()) return SaysAndCalls("That was it.", {});  // it was given a tool's result
  std::vector<llm::ToolCall> calls;
  if (request.tools.front().name == "digest") {
    for (const std::string& file : lines) {
      calls.push_back({fmt::format("call_{}", calls.size()), "digest", nlohmann::json(File{file}).dump()});
    }
    return SaysAndCalls(fmt::format("I read {} files. ", lines.size()), std::move(calls));
  }
  const Sentences best = text_rank::Summary(lines, 1);
  const Publication publication{"What the files say", best.empty() ? asked : best[0]};
  calls.push_back({"publish_1", "publish", nlohmann::json(publication).dump()});
  return SaysAndCalls("This says most: " + publication.summary + " ", std::move(calls));
}

absl::StatusOr<std::shared_ptr<llm::Model>> OpenModel() {
  if (std::getenv("OPENAI_BASE_URL") == nullptr) return std::make_shared<llm::ScriptedModel>(AnswerAsEditor);
  const auto endpoint = llm::EndpointFromEnvironment();
  if (!endpoint.ok()) return endpoint.status();
  return llm::Client::Open(*endpoint);
}

int Complain(const absl::Status& status) {
  fmt::print(stderr, "research: {}\n", status.ToString());
  return 1;
}

absl::StatusOr<marathon::Engine> Open(const std::string& db, marathon::Registry registry) {
  registry.Use(marathon::SqliteBackend());
  return marathon::Engine::Open("sqlite:" + db, registry, {.activity_threads = 2});
}

// First it may read, then publish.
std::shared_ptr<agent::Agent> Editor(const Ledger& ledger, const Job& job) {
  auto editor = std::make_shared<agent::Agent>();
  const char* name = std::getenv("AGENT_MODEL");
  editor->name = "Editor";
  editor->model = name != nullptr ? name : "any";
  editor->instructions = "You read files and publish reports. Be brief.";
  editor->budget.steps = 6;
  const auto digest = [&](agent::ToolContext& ctx, const File& file) {
    if (std::ranges::find(job.files, file.path) == job.files.end()) {
      return agent::ToolReply{.text = "There is no such file on the list.", .is_error = true};
    }
    const auto work = [&] { return DigestFile(job, file.path); };
    return agent::ToolReply{.text = ledger.Around(ctx.activity(), file.path, work)};
  };
  const auto publish = [&](agent::ToolContext& ctx, const Publication& publication) {
    return ledger.Around(ctx.activity(), job.report, [&] { return Publish(job, publication); });
  };
  editor->tools = {
      agent::MakeTool("digest", "Reads a file, and gives the sentences that say most of it.", digest,
                      {.effect = agent::Effect::kIdempotent, .timeout = 10min}),
      agent::MakeTool("publish", "Publishes the report of all files.", publish,
                      {.effect = agent::Effect::kIdempotent, .approve = agent::Always(), .approval_timeout = 72h})};
  editor->hooks.before_model = [](agent::ModelChoice& choice) {
    choice.tools = {choice.step == 1 ? "digest" : "publish"};
  };
  return editor;
}

int RunJob(const std::string& db, const char* ledger_path, const Job& job) {
  const Ledger ledger(ledger_path);
  if (!ledger.ok()) return Complain(absl::NotFoundError("the ledger cannot be opened"));
  const auto model = OpenModel();
  if (!model.ok()) return Complain(model.status());
  const auto editor = Editor(ledger, job);
  marathon::Registry registry;
  agent::BindActivities(registry, editor, *model);
  registry.Bind(kResearch, [editor](marathon::WorkflowContext& ctx, Job of) {
    return Research(ctx, *editor, std::move(of));
  });
  registry.Bind(kCondense, [&](marathon::ActivityContext& ctx, const Job& of) {
    return ledger.Around(ctx, "all", [&] { return CondenseAll(of); });
  });
  auto engine = Open(db, registry);
  if (!engine.ok()) return Complain(engine.status());
  // The same request id gives the same run: the second process only waits for it.
  auto run = engine->Start(kResearch, job, {.workflow_id = kWorkflowId, .request_id = kWorkflowId});
  if (!run.ok()) return Complain(run.status());
  Screen screen(job.report + ".shown");  // … and shows what the first one has not
  const auto watched = agent::Watch(*engine, *run, [&](const agent::StreamEvent& event) { screen.Show(event); },
                                    screen.last());
  if (!watched.ok()) return Complain(watched);
  const auto report = run->Result<Report>();
  if (!report.ok()) return Complain(report.status());
  if (screen.text() == report->said) return 0;
  return Complain(absl::DataLossError("the editor has said \"" + report->said + "\", and what was shown is \"" +
                                      screen.text() + "\""));
}

// All that it takes to decide is in the stream.
int Approve(const std::string& db) {
  auto engine = Open(db, {});  // no code is registered: this process takes no work
  if (!engine.ok()) return Complain(engine.status());
  const marathon::Run run = engine->Find(kWorkflowId);
  const auto description = run.Describe();
  if (!description.ok()) return Complain(description.status());
  agent::StreamReader reader(engine->streams(), agent::StreamOf(description->run.key.run_id));
  for (;;) {
    const auto events = reader.Next(5min);
    if (!events.ok()) return Complain(events.status());
    if (events->empty()) return Complain(absl::DeadlineExceededError("nobody is asked for anything"));
    for (const agent::StreamEvent& event : *events) {
      if (event.kind != agent::StreamEvent::Kind::kApproval) continue;
      const auto status = agent::Approve(run, agent::AsPending(event));
      return status.ok() ? 0 : Complain(status);
    }
  }
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
