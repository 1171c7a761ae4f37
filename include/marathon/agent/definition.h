// Agent: what there is to say of an agent before it runs. A workflow's code has one, and so do the workers that run
// its steps; both have the same if it is bound with agent.h.
//
// A value; no thread rule.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "marathon/agent/budget.h"
#include "marathon/agent/steps.h"
#include "marathon/agent/tool.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/retry_policy.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent {

// What a step of the model is asked of, and with which tools.
struct ModelChoice {
  int step = 0;  // from 1
  std::string model;
  std::vector<std::string> tools;  // names; those that are taken away are not offered
};

// Called in workflow code, so each must be deterministic. Empty ones are not called. What one throws ends the agent
// (kFailed, "Hook"); a call that before_tool throws for is not made.
struct Hooks {
  std::function<void(ModelChoice& choice)> before_model{};
  std::function<void(const llm::ChatResponse& answer)> after_model{};
  // Why this call must not be made, for the model to read; empty: it may. Before a person is asked.
  std::function<std::string(const llm::ToolCall& call)> before_tool{};
  std::function<void(const llm::ToolCall& call, llm::ToolResult& result)> after_tool{};
};

// What becomes of a conversation that grows too long: its older part is summarized by a model, as a step of its own that
// the budget pays for, and the summary stands in its place from there on. Should that fail, nothing is lost, and the
// agent goes on with all of it.
struct Compaction {
  int64_t above_tokens = 0;  // of what the next step would send, at a guess; 0: never
  int keep_last = 6;         // messages that stay as they are; more if a call would be parted from its result
  std::string model{};       // asked for the summary; empty: the agent's
  std::string instructions{};  // for that model; empty: those of the library. In no history
  int64_t max_tokens = 2'048;  // of the summary
};

struct Agent {
  // Its workflow, and how its activities begin: "Researcher/model", "Researcher/tool/search". Persisted.
  std::string name;
  std::string model;           // as the provider calls it
  std::string instructions{};  // a system message in front of all others; in no history
  std::vector<Tool> tools{};   // keep their order: prompt caches go by it

  Budget budget{};
  PriceTable prices{};

  int64_t max_tokens = 8'192;  // of one answer
  std::optional<double> temperature{};
  llm::CacheHint cache{};
  std::string extra{};         // as ChatRequest::extra
  std::optional<llm::OutputSchema> output{};  // what the last answer must fit
  int output_retries = 2;      // so often the model may mend it
  Compaction compaction{};
  int bad_calls = 3;           // calls of one tool in a row with arguments that do not fit: the end (kFailed)

  Duration model_timeout{600'000};  // of one attempt
  RetryPolicy model_retry{.maximum_attempts = 10};
  std::string task_queue{};    // whose workers ask the model; empty: the run's
  bool stream = true;          // what it says is in its run's stream as it comes (stream.h)

  Hooks hooks{};
};

namespace internal {

inline std::string ModelActivityName(const Agent& agent) { return agent.name + "/model"; }
inline std::string PublishActivityName(const Agent& agent) { return agent.name + "/publish"; }
inline std::string ToolActivityName(const Agent& agent, const std::string& tool) {
  return agent.name + "/tool/" + tool;
}
// Null: it has none of this name.
inline const Tool* FindTool(const Agent& agent, const std::string& name) {
  for (const Tool& tool : agent.tools) {
    if (tool.definition.name == name) return &tool;
  }
  return nullptr;
}

}  // namespace internal
}  // namespace marathon::inline MARATHON_ABI::agent
