// The agent that is killed, as its worker and its test both know it: the six steps that its model takes, its tools,
// and the ledger in which they write down what they do.
//
// Values; no thread rule. A Ledger is safe from any thread and process.
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/agent/agent.h"
#include "marathon/options.h"

namespace marathon::kill_test {

// ---- What its model says

struct ScriptedCall {
  std::string id, tool, what;
};
struct ScriptedStep {
  std::vector<std::string> texts;  // in pieces
  std::vector<ScriptedCall> calls;
};

// Three tools side by side, one that a person must agree to, one that may run once only, and an end.
inline const std::vector<ScriptedStep>& Script() {
  static const std::vector<ScriptedStep> script = {
      {{"First I look, ", "I charge \u2013 ", "and I wire.\n"},
       {{"c1", "look", "archive"}, {"c2", "charge", "card"}, {"c3", "wire", "deposit"}}},
      {{"Then ", "the rent: ", "may I? \u2602\n"}, {{"c4", "wire", "rent"}}},
      {{"The landlord ", "is told\u2026 ", "by mail.\n"}, {{"c5", "mail", "landlord"}}},
      {{"Did it arrive? ", "I look ", "once more.\n"}, {{"c6", "look", "mailbox"}}},
      {{"One charge ", "is left: ", "the fee.\n"}, {{"c7", "charge", "fee"}}},
      {{"All ", "is paid \u2013 ", "d\u00f3ne.\n"}, {}},
  };
  return script;
}

// The first `count` pieces of what a step says.
inline std::string TextOf(const ScriptedStep& step, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += step.texts[i];
  return text;
}

// ---- What its tools do

struct LedgerLine {
  std::string tool;
  std::string key;  // the idempotency key of the call
  int attempt = 0;
  pid_t pid = 0;
};

class Ledger {
 public:
  explicit Ledger(std::string path) : path_(std::move(path)) {}

  // On disk when it returns.
  void Add(const LedgerLine& line) const {
    const std::string text =
        line.tool + " " + line.key + " " + std::to_string(line.attempt) + " " + std::to_string(line.pid) + "\n";
    const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fsync(file) != 0) std::abort();
    close(file);
  }
  std::vector<LedgerLine> Lines() const {
    std::vector<LedgerLine> lines;
    std::ifstream file(path_);
    for (LedgerLine line; file >> line.tool >> line.key >> line.attempt >> line.pid;) lines.push_back(line);
    return lines;
  }
  bool Has(const std::string& key) const {
    for (const LedgerLine& line : Lines()) {
      if (line.key == key) return true;
    }
    return false;
  }

 private:
  std::string path_;
};

struct Errand {
  std::string what;
};
MARATHON_TOOL_INPUT(Errand, (what, "what it is about"))

// `tell` is called before and after each line of the ledger.
inline agent::Agent NewClerk(const Ledger& ledger, const std::function<void(const std::string&)>& tell) {
  const auto errand = [&](const std::string& tool) {
    return [ledger, tell, tool](agent::ToolContext& ctx, const Errand& input) {
      const std::string moment = tool + " " + ctx.call_id() + " has its effect";
      tell("before " + moment);
      ledger.Add({tool, ctx.idempotency_key(), ctx.attempt(), getpid()});
      tell("after " + moment);
      return tool + " " + input.what;
    };
  };
  agent::Agent clerk{.name = "Clerk", .model = "m", .instructions = "Run the errands."};
  clerk.tools = {
      agent::MakeTool("look", "Looks.", errand("look"), {.effect = agent::Effect::kPure}),
      agent::MakeTool("charge", "Charges.", errand("charge"), {.effect = agent::Effect::kIdempotent}),
      agent::MakeTool("mail", "Mails.", errand("mail"), {.effect = agent::Effect::kAtMostOnce}),
      agent::MakeTool(
          "wire", "Wires.", errand("wire"),
          {.effect = agent::Effect::kReconcilable,
           .approve = [](const nlohmann::json& arguments) { return arguments["what"] == "rent"; },
           .check = [ledger](const nlohmann::json& arguments, agent::ToolContext& ctx) -> agent::Reconciled {
             if (!ledger.Has(ctx.idempotency_key())) return {agent::Reconciled::Kind::kNotDone};
             return {agent::Reconciled::Kind::kDone, "wire " + arguments["what"].get<std::string>()};
           }})};
  return clerk;
}

// ---- How worker and client open their engines

// Of a killed worker: Redis has nothing else to tell by that it is dead.
inline constexpr Duration kKilledLease{2'000};

inline EngineOptions KillOptions() {
  EngineOptions options;
  options.turn_threads = 1;
  options.activity_threads = 3;
  options.lease = kKilledLease;
  return options;
}

}  // namespace marathon::kill_test
