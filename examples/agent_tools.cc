// Tools that are there: an agent that reads a folder, calculates, writes a report below the same folder, and cannot leave
// it. What its tools say while they work is on its stream.
//
//   list_files ──► read_file ──► "../secrets" (refused) ──► count_words (says how far it is) ──► calculator ──► write_file
//
// The model is a script, so it needs no network; examples/agent.cc shows how to take a real one.
#include <marathon/agent/agent.h>
#include <marathon/agent/stream.h>
#include <marathon/agent/tools/calculator.h>
#include <marathon/agent/tools/files.h>
#include <marathon/llm/scripted_model.h>
#include <marathon/marathon.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

namespace agent = marathon::agent;
namespace llm = marathon::llm;

struct Count {
  std::string text;
};
MARATHON_TOOL_INPUT(Count, (text, "whose words are counted"))

std::string CountWords(agent::ToolContext& ctx, const Count& count) {
  std::istringstream words(count.text);
  int counted = 0;
  for (std::string word; words >> word;) {
    ++counted;
    ctx.Progress(static_cast<double>(words.eof() ? count.text.size() : static_cast<size_t>(words.tellg())) /
                     static_cast<double>(count.text.size()),
                 word);
  }
  return std::to_string(counted) + " words";
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  std::string folder = (std::filesystem::temp_directory_path() / "marathon_notes_XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return Complain(absl::UnavailableError("no place for a folder"));
  std::ofstream(folder + "/today.txt") << "three plain words";

  auto model = std::make_shared<llm::ScriptedModel>();
  model->CallsTool("list_files", "{}")
      .CallsTool("read_file", R"({"path": "today.txt"})")
      .CallsTool("read_file", R"({"path": "../secrets.txt"})")
      .CallsTool("count_words", R"({"text": "three plain words"})")
      .CallsTool("calculator", R"({"expression": "3 * 365.25"})")
      .CallsTool("write_file", R"({"path": "report.txt", "text": "1095.75 words a year"})")
      .Says("The report is written.");
  agent::Agent clerk{.name = "Clerk", .model = "any", .instructions = "You keep the notes in order."};
  clerk.tools = {agent::ListFilesTool(folder), agent::ReadFileTool(folder), agent::WriteFileTool(folder),
                 agent::CalculatorTool(),
                 agent::MakeTool("count_words", "Counts words.", CountWords, {.effect = agent::Effect::kPure})};

  marathon::Registry registry;
  agent::Bind(registry, clerk, model);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Clerk", agent::Ask("How many words do I write in a year?"));
  if (!run.ok()) return Complain(run.status());
  agent::StreamReader reader(engine->streams(), agent::StreamOf(run->run_id()));
  for (bool done = false; !done;) {
    auto events = reader.Next(std::chrono::seconds(10));
    if (!events.ok()) return Complain(events.status());
    for (const agent::StreamEvent& event : *events) {
      using Kind = agent::StreamEvent::Kind;
      if (event.kind == Kind::kToolCall) std::cout << event.text << "\n";
      if (event.kind == Kind::kToolProgress) std::cout << "  " << *event.fraction * 100 << "% " << event.text << "\n";
      if (event.kind == Kind::kToolResult) std::cout << "  " << (event.is_error ? "no: " : "") << event.text << "\n";
      done = done || event.kind == Kind::kDone;
    }
  }
  const auto result = run->Result<agent::Result>();
  if (!result.ok()) return Complain(result.status());
  std::ifstream report(folder + "/report.txt");
  std::string line;
  std::getline(report, line);
  std::cout << result->text << " [" << line << "]\n";
  std::filesystem::remove_all(folder);
  return line == "1095.75 words a year" ? 0 : 1;
}
