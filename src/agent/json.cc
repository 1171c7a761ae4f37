// The kept forms of steps, inputs, results and signals: tests/unit/agent_values_test.cc has them written out.
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "marathon/agent/control.h"
#include "marathon/agent/result.h"
#include "marathon/agent/steps.h"
#include "marathon/llm/json.h"
#include "src/agent/json.h"
#include "src/llm/kept_json.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

using llm::internal::EnumOf;
using llm::internal::Get;
using llm::internal::Put;
using nlohmann::json;

// By their values; they never change.
constexpr std::array<std::string_view, 5> kStops = {"done", "budget", "stopped", "refused", "failed"};
constexpr std::array<std::string_view, 3> kVerdicts = {"approve", "deny", "edit"};

void PutTime(json& to, const char* name, Time time) {
  if (time != Time()) to[name] = ToMicros(time);
}
void GetTime(const json& from, const char* name, Time& time) {
  if (const auto found = from.find(name); found != from.end()) time = FromMicros(found->get<int64_t>());
}

}  // namespace

std::string_view NameOf(StopReason stop) { return kStops.at(static_cast<size_t>(stop)); }

std::string_view NameOf(Verdict verdict) { return kVerdicts.at(static_cast<size_t>(verdict)); }

// ---- Steps

void to_json(json& to, const ModelTask& task) {
  to = {{"step", task.step}, {"messages", task.messages}, {"model", task.model}};
  if (task.head) to["head"] = internal::ToJson(*task.head);
  Put(to, "tools", task.tools);
  Put(to, "again", task.again);
  Put(to, "turn", task.turn, 1);
  if (task.summarize) to["summarize"] = {{"first", task.summarize->first}, {"last", task.summarize->last}};
}
void from_json(const json& from, ModelTask& task) {
  from.at("step").get_to(task.step);
  from.at("messages").get_to(task.messages);
  from.at("model").get_to(task.model);
  if (const auto head = from.find("head"); head != from.end()) task.head = internal::ToRef(*head);
  Get(from, "tools", task.tools);
  Get(from, "again", task.again);
  Get(from, "turn", task.turn);
  if (const auto span = from.find("summarize"); span != from.end()) {
    task.summarize = MessageSpan{span->at("first").get<size_t>(), span->at("last").get<size_t>()};
  }
}

void to_json(json& to, const ModelReply& reply) {
  to = json::object();
  if (reply.lost) {
    to["lost"] = true;
  } else {
    to["response"] = reply.response;
    to["head"] = internal::ToJson(reply.head);
    Put(to, "unseen", reply.unseen);
    Put(to, "stopped", reply.stopped);
    Put(to, "said_tokens", reply.said_tokens);
    Put(to, "attempts_lost", reply.attempts_lost);
  }
}
void from_json(const json& from, ModelReply& reply) {
  Get(from, "lost", reply.lost);
  if (reply.lost) return;
  from.at("response").get_to(reply.response);
  reply.head = internal::ToRef(from.at("head"));
  Get(from, "unseen", reply.unseen);
  Get(from, "stopped", reply.stopped);
  Get(from, "said_tokens", reply.said_tokens);
  Get(from, "attempts_lost", reply.attempts_lost);
}

void to_json(json& to, const PublishTask& task) {
  to = {{"writer", task.writer}, {"frames", task.frames}};
  if (!task.silences.empty()) to["silences"] = task.silences;
}
void from_json(const json& from, PublishTask& task) {
  from.at("writer").get_to(task.writer);
  from.at("frames").get_to(task.frames);
  task.silences = from.value("silences", std::vector<std::string>());
}

void to_json(json& to, const ToolTask& task) {
  to = {{"step", task.step}, {"call_id", task.call_id}, {"arguments", task.arguments}};
}
void from_json(const json& from, ToolTask& task) {
  from.at("step").get_to(task.step);
  from.at("call_id").get_to(task.call_id);
  from.at("arguments").get_to(task.arguments);
}

void to_json(json& to, const ToolReply& reply) {
  to = {{"text", reply.text}};
  Put(to, "is_error", reply.is_error);
  Put(to, "unknown", reply.unknown);
}
void from_json(const json& from, ToolReply& reply) {
  from.at("text").get_to(reply.text);
  Get(from, "is_error", reply.is_error);
  Get(from, "unknown", reply.unknown);
}

// ---- What a run takes and gives

void to_json(json& to, const Input& input) {
  to = {{"messages", input.messages}};
  Put(to, "keep_messages", input.keep_messages);
  if (input.budget) to["budget"] = *input.budget;
}
void from_json(const json& from, Input& input) {
  from.at("messages").get_to(input.messages);
  Get(from, "keep_messages", input.keep_messages);
  if (const auto budget = from.find("budget"); budget != from.end()) input.budget = budget->get<Budget>();
}

// What is not there has no limit.
void to_json(json& to, const Budget& budget) {
  to = json::object();
  Put(to, "steps", budget.steps);
  Put(to, "tool_calls", budget.tool_calls);
  Put(to, "tokens", budget.tokens);
  Put(to, "micro_usd", budget.micro_usd);
  Put(to, "wall_ms", static_cast<int64_t>(budget.wall.count()));
}
void from_json(const json& from, Budget& budget) {
  budget = {.steps = from.value("steps", 0), .tool_calls = from.value("tool_calls", 0)};
  Get(from, "tokens", budget.tokens);
  Get(from, "micro_usd", budget.micro_usd);
  budget.wall = Duration(from.value("wall_ms", int64_t{0}));
}

void to_json(json& to, const Spending& spent) {
  to = {{"steps", spent.steps}, {"tool_calls", spent.tool_calls}, {"usage", spent.usage},
        {"micro_usd", spent.micro_usd}};
  Put(to, "estimated", spent.estimated);
}
void from_json(const json& from, Spending& spent) {
  Get(from, "steps", spent.steps);
  Get(from, "tool_calls", spent.tool_calls);
  Get(from, "usage", spent.usage);
  Get(from, "micro_usd", spent.micro_usd);
  Get(from, "estimated", spent.estimated);
}

void to_json(json& to, const Result& result) {
  to = {{"stop", std::string(NameOf(result.stop))}, {"text", result.text}, {"spent", result.spent}};
  Put(to, "output", result.output);
  Put(to, "why", result.why);
  Put(to, "message", result.message);
  Put(to, "messages", result.messages);
}
void from_json(const json& from, Result& result) {
  result.stop = EnumOf<StopReason>(kStops, from.at("stop"), "end of an agent");
  Get(from, "text", result.text);
  Get(from, "spent", result.spent);
  Get(from, "output", result.output);
  Get(from, "why", result.why);
  Get(from, "message", result.message);
  Get(from, "messages", result.messages);
}

// ---- Signals and queries

void to_json(json& to, const PendingApproval& pending) {
  to = {{"key", pending.key}, {"tool", pending.tool}, {"arguments", pending.arguments},
        {"digest", pending.digest}};
  PutTime(to, "asked", pending.asked);
  PutTime(to, "expires", pending.expires);
}
void from_json(const json& from, PendingApproval& pending) {
  from.at("key").get_to(pending.key);
  from.at("tool").get_to(pending.tool);
  from.at("arguments").get_to(pending.arguments);
  from.at("digest").get_to(pending.digest);
  GetTime(from, "asked", pending.asked);
  GetTime(from, "expires", pending.expires);
}

void to_json(json& to, const Decision& decision) {
  to = {{"key", decision.key}, {"digest", decision.digest},
        {"verdict", std::string(NameOf(decision.verdict))}};
  Put(to, "text", decision.text);
  Put(to, "arguments", decision.arguments);
}
void from_json(const json& from, Decision& decision) {
  from.at("key").get_to(decision.key);
  from.at("digest").get_to(decision.digest);
  decision.verdict = EnumOf<Verdict>(kVerdicts, from.at("verdict"), "verdict");
  Get(from, "text", decision.text);
  Get(from, "arguments", decision.arguments);
}

void to_json(json& to, const Steering& steering) { to = {{"text", steering.text}}; }
void from_json(const json& from, Steering& steering) { from.at("text").get_to(steering.text); }

void to_json(json& to, const StopOrder& order) {
  to = {{"reason", order.reason}};
  Put(to, "turn", order.turn);
}
void from_json(const json& from, StopOrder& order) {
  Get(from, "reason", order.reason);
  Get(from, "turn", order.turn);
}

void to_json(json& to, const AgentStatus& status) {
  to = {{"state", status.state}, {"spent", status.spent}, {"text", status.text}, {"turn", status.turn}};
}
void from_json(const json& from, AgentStatus& status) {
  from.at("state").get_to(status.state);
  Get(from, "spent", status.spent);
  Get(from, "text", status.text);
  Get(from, "turn", status.turn);
}

}  // namespace marathon::inline MARATHON_ABI::agent
