// The loop's side of the tools: arguments, approvals, runs, results.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "marathon/agent/loop.h"
#include "marathon/agent/stream.h"
#include "marathon/detail/sha256.h"
#include "marathon/errors.h"
#include "src/agent/approval.h"
#include "src/agent/stream_writer.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

using nlohmann::json;

// Counts a call of a tool for as long as it runs.
class Slot {
 public:
  explicit Slot(int& count) : count_(count) { ++count_; }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  ~Slot() { --count_; }

 private:
  int& count_;
};

constexpr char kNoVerdict[] = "Not called: it could not be decided whether it may be.";

std::string ListOf(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

// The engine gave the call up, so its tool could not say anything itself.
ToolReply ReplyOf(const Failure& failure, const Tool& tool) {
  ToolReply reply{.text = failure.message, .is_error = true};
  if (failure.kind == FailureKind::kTimeout) {
    reply.text = "it did not end within " + std::to_string(tool.options.timeout.count()) + " ms";
  } else if (failure.kind == FailureKind::kCanceled) {
    reply.text = "it was stopped";
  }
  const bool began = failure.kind != FailureKind::kApplication;
  reply.unknown = began && (tool.options.effect == Effect::kReconcilable || tool.options.effect == Effect::kAtMostOnce);
  if (reply.unknown) reply.text += ". It is not known whether it had its effect";
  return reply;
}

}  // namespace

std::string DigestOf(const json& arguments) { return marathon::detail::Sha256Hex(arguments.dump()); }

// What a call comes to before it is made: a tool and arguments that fit it, or an error for the model.
struct Loop::Arguments {
  const Tool* tool = nullptr;
  json value{};
  std::string error{};
};

// Null: the last step had none of this name.
const Tool* Loop::FindOffered(const std::string& name) const {
  const bool offered = std::ranges::find(offered_, name) != offered_.end();
  return offered ? internal::FindTool(agent_, name) : nullptr;
}

Loop::Arguments Loop::Check(const llm::ToolCall& call) {
  Arguments checked;
  checked.tool = FindOffered(call.name);
  if (checked.tool == nullptr) {
    checked.error = "There is no tool of this name. There are: " + ListOf(offered_);
    return checked;
  }
  // Some models write nothing at all for a tool without arguments.
  StatusOr<json> value = Decode<json>({call.arguments.empty() ? "{}" : call.arguments, Encoding::kJson});
  Status fits = value.status();
  if (fits.ok() && checked.tool->schema) fits = checked.tool->schema->Check(*value);
  int& in_a_row = bad_calls_[call.name];
  if (fits.ok()) {
    in_a_row = 0;
    checked.value = *std::move(value);
    return checked;
  }
  checked.error = "The arguments do not fit the tool's schema: " + std::string(MessageOf(fits));
  if (++in_a_row >= agent_.bad_calls) End(StopReason::kFailed, "Arguments", call.name + ": " + checked.error);
  return checked;
}

Workflow<void> Loop::CallTools() {
  std::string refused;
  if (stop_) {
    refused = "Not called: the agent was stopped.";
  } else if (answer_.stop_reason == llm::StopReason::kMaxTokens) {
    refused = "Not called: the answer was cut off.";
    End(StopReason::kFailed, "MaxTokens", "the answer was cut off: Agent::max_tokens is too small for it");
  } else if (const std::string lacking = ledger_.ReserveTools(static_cast<int>(calls_.size()), ctx_.Now());
             !lacking.empty()) {
    refused = "Not called: the agent's budget is used up.";
    End(StopReason::kBudget, lacking);
  }
  std::vector<llm::ToolResult> results(calls_.size());
  if (!refused.empty()) {
    for (size_t i = 0; i < calls_.size(); ++i) {
      results[i] = llm::ToolResult{.call_id = calls_[i].id, .text = refused, .is_error = true};
    }
    co_await PublishResults("results/" + std::to_string(step_), results);
  } else {
    std::vector<BranchHandle<void>> branches;
    for (size_t i = 0; i < calls_.size(); ++i) branches.push_back(ctx_.Spawn(CallInto(results[i], calls_[i])));
    co_await ctx_.All(branches);
  }
  llm::Message message{.role = llm::Role::kUser, .blocks = {}};
  for (llm::ToolResult& result : results) message.blocks.emplace_back(std::move(result));
  conversation_.Add(std::move(message));
}

Workflow<void> Loop::CallInto(llm::ToolResult& result, const llm::ToolCall& call) {
  llm::ToolResult made = co_await Call(call);
  result = std::move(made);
}

Workflow<llm::ToolResult> Loop::Call(const llm::ToolCall& call) {
  llm::ToolResult result{.call_id = call.id, .is_error = true};
  bool unsaid = true;
  Arguments arguments = Check(call);
  if (arguments.error.empty()) arguments.error = Veto(call);
  std::string note;
  if (arguments.error.empty() && NeedsApproval(arguments, arguments.error)) {
    const Decision decision = co_await Approve(*arguments.tool, call.id, arguments.value);
    if (decision.verdict == Verdict::kDeny) {
      arguments.error = "Not called: " + decision.text;
    } else if (decision.verdict == Verdict::kEdit) {
      arguments.value = json::parse(decision.arguments);  // it has been checked
      llm::ToolCall edited = call;
      edited.arguments = decision.arguments;
      arguments.error = Veto(edited);
      note = "[called with other arguments, by a person: " + decision.arguments + "]\n";
    }
  }
  if (arguments.error.empty()) {
    const std::string text = arguments.value.dump();
    const Called called = co_await RunTool(*arguments.tool, call.id, text);
    result.text = note + called.reply.text;
    result.is_error = called.reply.is_error;
    unsaid = called.unsaid;
  } else {
    result.text = arguments.error;
    if (arguments.tool != nullptr && arguments.tool->agent) --agents_to_call_;
  }
  if (agent_.hooks.after_tool) Guarded("after_tool", [&] { agent_.hooks.after_tool(call, result); });
  if (unsaid) {  // in the tool's place, so that one which was given up is not heard behind it
    const std::vector<llm::ToolResult> results = {result};
    co_await PublishResults(internal::ToolCallWriter(step_, call.id), results);
  }
  co_return result;
}

// Why it must not be made; empty: it may.
std::string Loop::Veto(const llm::ToolCall& call) {
  std::string why;
  if (!agent_.hooks.before_tool) return why;
  if (!Guarded("before_tool", [&] { why = agent_.hooks.before_tool(call); })) why = kNoVerdict;
  return why;
}

// A rule that throws says neither yes nor no: the call is not made.
bool Loop::NeedsApproval(const Arguments& arguments, std::string& error) {
  bool needed = false;
  const ApprovalRule& rule = arguments.tool->options.approve;
  if (!rule) return needed;
  const std::string what = "the approval rule of " + arguments.tool->definition.name;
  if (!Guarded(what, [&] { needed = rule(arguments.value); })) error = kNoVerdict;
  return needed && error.empty();
}

Workflow<Loop::Called> Loop::RunTool(const Tool& tool, const std::string& call_id, const std::string& arguments) {
  int& running = running_[tool.definition.name];
  const int most = tool.options.max_parallel;
  while (most > 0 && running >= most && !Halted()) {  // all that wait are woken, and one may go
    co_await ctx_.WaitUntil([&] { return running < most || Halted(); });
  }
  if (Halted()) co_return Unsaid("Not called: " + std::string(WhyHalted()));
  const Slot slot(running);
  if (tool.agent) {
    Called called = co_await RunAgentTool(tool, call_id, arguments);
    co_return called;
  }
  const ToolTask task{step_, call_id, arguments};
  RetryPolicy retry = tool.options.retry;
  if (tool.options.effect == Effect::kAtMostOnce) retry.maximum_attempts = 1;
  ActivityOptions options{.task_queue = tool.options.task_queue, .start_to_close_timeout = tool.options.timeout};
  options.retry = &retry;
  options.cancellation = ActivityCancellation::kWait;  // what a stopped tool has done is worth knowing
  const std::string activity = internal::ToolActivityName(agent_, tool.definition.name);
  std::optional<ActivityHandle<ToolReply>> started;
  std::string unsent;
  try {
    started.emplace(ctx_.Start<ToolReply>(activity, task, options));
  } catch (const ApplicationError& error) {  // what a person put instead is too large
    unsent = std::string("Not called: ") + error.what();
  }
  if (!started) co_return Unsaid(std::move(unsent));
  ActivityHandle<ToolReply>& handle = *started;
  co_await ctx_.WaitUntil([&] { return handle.done() || stop_.has_value(); });
  if (!handle.done()) handle.Cancel();
  const Outcome<ToolReply> outcome = co_await ctx_.Try(handle);
  if (outcome.ok()) co_return Called{outcome.value(), false};
  if (outcome.failure().kind == FailureKind::kCanceled && !stop_) co_await handle;  // the run is: throws
  co_return Called{ReplyOf(outcome.failure(), tool), true};
}

// ---- Approvals

Workflow<Decision> Loop::Approve(const Tool& tool, const std::string& call_id, const json& arguments) {
  const Duration timeout = tool.options.approval_timeout;
  auto owned = std::make_unique<Approval>();
  Approval* const approval = owned.get();
  approval->tool = &tool;
  approval->call.key = std::to_string(step_) + "/" + call_id;
  approval->call.tool = tool.definition.name;
  approval->call.arguments = arguments.dump();
  approval->call.digest = DigestOf(arguments);
  approval->call.asked = ctx_.Now();
  if (timeout > Duration(0)) approval->call.expires = AddSaturated(ctx_.Now(), timeout);
  const std::string key = approval->call.key;
  const int step = step_;
  std::vector<std::string> asks = {internal::ApprovalFrame(step, approval->call)};
  approvals_.push_back(std::move(owned));
  if (approvals_.size() == 1) TellWaiting(true);
  BranchHandle<void> asked = ctx_.Spawn(Publish("approval/" + DigestOf(key), std::move(asks)));
  bool in_time = true;
  if (timeout > Duration(0)) {
    in_time = co_await ctx_.WaitUntil([&] { return approval->decision || Halted(); }, timeout);
  } else {
    co_await ctx_.WaitUntil([&] { return approval->decision || Halted(); });
  }
  Decision decision{.key = approval->call.key, .digest = approval->call.digest, .verdict = Verdict::kDeny};
  settled_[key] = approval->decision ? "Decided" : in_time ? "Stopped" : "Expired";
  if (approval->decision) {
    decision = *std::move(approval->decision);
    if (decision.verdict == Verdict::kDeny && decision.text.empty()) decision.text = "a person denied it.";
  } else {
    decision.text = in_time ? WhyHalted() : "nobody approved it in time.";
  }
  std::erase_if(approvals_, [&](const auto& one) { return one.get() == approval; });
  if (approvals_.empty()) TellWaiting(false);
  co_await asked;
  std::vector<std::string> tells = {EncodeEvent(
      {.kind = StreamEvent::Kind::kDecision, .step = step, .text = std::string(NameOf(decision.verdict)), .id = key})};
  co_await Publish("decision/" + DigestOf(key), std::move(tells));
  co_return decision;
}

void Loop::OnDecide(const Payload& signal) {
  auto decision = Decode<Decision>(signal);
  const std::string ignored = decision.ok() ? Judge(*decision).message : "it is no decision";
  if (!ignored.empty()) return ctx_.Log(LogLevel::kWarning, "ignored a signal agent.decide: " + ignored);
  TakeDecision(*std::move(decision));
}

Loop::Objection Loop::Judge(const Decision& decision) const {
  const std::string& key = decision.key;
  const auto found = std::ranges::find_if(approvals_, [&](const auto& approval) { return approval->call.key == key; });
  if (found == approvals_.end()) {
    const auto settled = settled_.find(key);
    if (settled == settled_.end()) return {"Unknown", "no call waits as " + key};
    return {settled->second, "no call waits as " + key + " any more"};
  }
  const Approval& approval = **found;
  if (approval.decision) return {"Decided", key + " is decided"};
  if (decision.digest != approval.call.digest) return {"Changed", key + " waits with other arguments"};
  if (decision.verdict != Verdict::kEdit) return {};
  const auto edited = Decode<json>({decision.arguments, Encoding::kJson});
  if (!edited.ok()) return {"Unfit", "the arguments for " + key + " are no JSON"};
  const Status fits = approval.tool->schema ? approval.tool->schema->Check(*edited) : Status();
  if (!fits.ok()) return {"Unfit", "the arguments for " + key + " do not fit: " + std::string(MessageOf(fits))};
  return {};
}

// REQUIRES: nothing is against it.
void Loop::TakeDecision(Decision decision) {
  const auto found = std::ranges::find_if(
      approvals_, [&](const auto& approval) { return approval->call.key == decision.key; });
  (*found)->decision = std::move(decision);
}

// Whoever comes back days later finds the run by it. One that has too many attributes already goes without.
void Loop::TellWaiting(bool waits) {
  try {
    ctx_.SetAttributes({{kWaitsAttribute, waits ? kWaitsForApproval : ""}});
  } catch (const ApplicationError& error) {
    ctx_.Log(LogLevel::kWarning, std::string("no list will tell that a call waits for a person: ") + error.what());
  }
}

std::vector<PendingApproval> Loop::Pending() const {
  std::vector<PendingApproval> pending;
  for (const auto& approval : approvals_) {
    if (!approval->decision) pending.push_back(approval->call);
  }
  return pending;
}

}  // namespace marathon::inline MARATHON_ABI::agent
