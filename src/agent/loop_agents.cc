// The loop's side of other agents: a call of one is a child run.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "marathon/agent/agent_tool.h"
#include "marathon/agent/control.h"
#include "marathon/agent/loop.h"
#include "marathon/detail/sha256.h"
#include "marathon/detail/text.h"
#include "marathon/errors.h"
#include "marathon/limits.h"
#include "src/agent/cut_text.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

using nlohmann::json;

// Providers make call ids as they like.
std::string ChildIdOf(const Id& run_id, int step, const std::string& call_id) {
  const std::string before = run_id.str() + "/" + std::to_string(step) + "/";
  const bool good = before.size() + call_id.size() <= limits::kMaxIdBytes && marathon::detail::IsCleanText(call_id);
  return before + (good ? call_id : marathon::detail::Sha256Hex(call_id));
}

ToolReply ReplyOfEnd(const Result& result) {
  if (result.stop == StopReason::kDone) return {.text = result.output.empty() ? result.text : result.output};
  std::string text = "It came to no end: " + std::string(NameOf(result.stop));
  if (!result.why.empty()) text += ", " + result.why;
  if (!result.message.empty()) text += ": " + result.message;
  if (!result.text.empty()) text += "\nIts last words: " + result.text;
  return {.text = std::move(text), .is_error = true};
}

// It ended without a result.
ToolReply ReplyOfLoss(const Failure& failure, Effect effect) {
  ToolReply reply{.text = "It came to no end: " + failure.message, .is_error = true};
  reply.unknown = effect == Effect::kReconcilable || effect == Effect::kAtMostOnce;
  if (reply.unknown) reply.text += ". It is not known what it has done by then";
  return reply;
}

}  // namespace

// What it may spend is set aside until it has ended, so that agents side by side do not spend the same twice.
Workflow<Loop::Called> Loop::RunAgentTool(const Tool& tool, const std::string& call_id, const std::string& arguments) {
  const int shares = std::max(agents_to_call_--, 1);
  Budget lent;
  const std::string lacking = ledger_.Lend(tool.agent->budget, shares, ctx_.Now(), lent);
  if (!lacking.empty()) {
    co_return Unsaid("Not called: the budget is used up (" + lacking + ").");
  }
  Input input = agent::Ask(json::parse(arguments).get<AgentTask>().task);
  input.budget = lent;
  const std::string id = ChildIdOf(ctx_.run_id(), step_, call_id);
  ChildOptions options{.workflow_id = id, .task_queue = tool.options.task_queue, .run_timeout = tool.options.timeout};
  ChildHandle<Result> child = ctx_.StartChild<Result>(tool.agent->name, input, options);
  co_await ctx_.WaitUntil([&] { return child.done() || stop_.has_value(); });
  if (!child.done()) {
    const StopOrder order{.reason = *stop_};
    try {
      co_await ctx_.SignalRun(child, kStop, order);
    } catch (const DeliveryError&) {  // it has just ended
    }
  }
  const Outcome<Result> outcome = co_await ctx_.Try(child);
  ToolReply reply;
  if (outcome.ok()) {
    ledger_.Return(lent, outcome.value().spent);
    reply = ReplyOfEnd(outcome.value());
  } else {
    const bool canceled = ctx_.cancel_requested() && outcome.failure().kind == FailureKind::kCanceled;
    if (canceled) co_await child;  // the run is canceled: throws
    ledger_.Return(lent, std::nullopt);
    reply = ReplyOfLoss(outcome.failure(), tool.options.effect);
  }
  reply.text = internal::CutText(std::move(reply.text), tool.options.result_max);
  co_return Called{std::move(reply), true};
}

Tool MakeAgentTool(std::string name, std::string description, Agent agent, AgentToolOptions options) {
  ToolOptions all{.effect = options.effect, .timeout = options.timeout, .max_parallel = options.max_parallel,
                  .approve = std::move(options.approve), .approval_timeout = options.approval_timeout,
                  .result_max = options.result_max, .task_queue = std::move(options.task_queue)};
  Tool tool = internal::NewTool(std::move(name), std::move(description), SchemaTextOf<AgentTask>(), std::move(all));
  tool.agent = std::make_shared<const Agent>(std::move(agent));
  return tool;
}

}  // namespace marathon::inline MARATHON_ABI::agent
