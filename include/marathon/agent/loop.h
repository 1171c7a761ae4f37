// Loop: an agent at work, inside a workflow. RunAgent (agent.h) is all of it in a few lines; a workflow of your own
// puts the same pieces together otherwise:
//
//   agent::Loop loop(ctx, agent, input);
//   while (co_await loop.Ask()) {            // a step of the model; false: that was all, see result()
//     if (loop.calls().empty()) {
//       loop.Accept();                       // its answer: is it one?
//     } else {
//       co_await loop.CallTools();           // approvals, all tools side by side, one result for each
//     }
//   }
//   co_return loop.TakeResult();
//
// It answers the signals and queries of control.h for as long as it lives: one at a time in a run. It keeps the
// conversation in memory; a replay makes it again from what is recorded, and compares: if the code now says
// something else to the model than it did, the run blocks as nondeterministic.
//
// Thread rule: only from the workflow's own body.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/activity_def.h"
#include "marathon/agent/control.h"
#include "marathon/agent/conversation.h"
#include "marathon/agent/definition.h"
#include "marathon/agent/result.h"
#include "marathon/agent/steps.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/workflow.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI::agent {

class MARATHON_EXPORT Loop {
 public:
  // `ctx` and `agent` must outlive it.
  Loop(WorkflowContext& ctx, const Agent& agent, const Input& input);
  // Of a conversation that has gone on for a while: has ended until Begin.
  Loop(WorkflowContext& ctx, const Agent& agent, Conversation before);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Asks the model, one step. False: the agent has ended, and nothing was asked, or what came is no answer. Throws
  // CanceledError if the run is canceled, and nothing else: other failures are ends.
  Workflow<bool> Ask();

  // What the last step came to, and which tools it wants called.
  const llm::ChatResponse& answer() const { return answer_; }
  const std::vector<llm::ToolCall>& calls() const { return calls_; }

  // Takes an answer without calls for the last one, if nothing is against it: people who still want to say
  // something, an output that does not fit its schema, an answer that was cut off.
  void Accept();

  // Makes all calls of the last step, and adds their results to the conversation, in the model's order.
  Workflow<void> CallTools();
  // One call, with its approval, and nothing added: for loops that order their calls otherwise. What goes wrong is a
  // result, too; a call that has not begun when the loop ends is not made. `call` must outlive the co_await.
  Workflow<llm::ToolResult> Call(const llm::ToolCall& call);
  // Asks a person, whatever the tool's rule says. `arguments` must outlive the co_await.
  Workflow<Decision> Approve(const Tool& tool, const std::string& call_id, const nlohmann::json& arguments);

  // Said to the model with its next step.
  void Say(llm::Message message) { conversation_.Add(std::move(message)); }
  const Conversation& conversation() const { return conversation_; }
  const Spending& spent() const { return ledger_.spent(); }

  // Ends it: Ask gives false from here on. The first end counts.
  void End(StopReason stop, std::string why, std::string message = "");
  bool ended() const { return ended_; }
  const Result& result() const { return result_; }
  Result TakeResult();

  // Once it has ended: another turn of the same conversation, with a budget, a result and an end of its own. Steps count
  // on. A stop that came in between is forgotten; what was said to steer it is not. `turn`: its number, by which it can be
  // stopped; 0: the next one.
  void Begin(const Input& input, int turn = 0);
  // Before a run with such a conversation continues as new: readers of its stream learn that another one goes on.
  Workflow<void> TellContinued();

 private:
  struct Approval;
  // What a call came to; `unsaid`: it is not in the run's stream yet.
  struct Called {
    ToolReply reply;
    bool unsaid = true;
  };
  static Called Unsaid(std::string error) { return {{.text = std::move(error), .is_error = true}, true}; }
  struct Arguments;

  Loop(WorkflowContext& ctx, const Agent& agent, Conversation before, bool ended);
  void Open(const Input& input);
  void TidyUp();
  Workflow<bool> TakeStep();
  // Says something in the run's stream, if there is one. Nothing depends on it. It may outlive the loop.
  Workflow<void> Publish(std::string writer, std::vector<std::string> frames, std::vector<std::string> silences = {});
  // … the results of calls whose tools have not said them themselves.
  Workflow<void> PublishResults(std::string writer, const std::vector<llm::ToolResult>& results);
  bool MayAsk(const ModelChoice& choice);
  ModelChoice Choose() const;
  using Answered = std::optional<Outcome<ModelReply>>;
  Workflow<Answered> Request(const ModelChoice& choice, std::optional<MessageSpan> summarize);
  ModelTask TaskOf(const ModelChoice& choice, const std::optional<MessageSpan>& summarize, bool again) const;
  Workflow<Answered> Send(const ModelTask& task);
  void SettleStopped(const ModelTask& task, const Answered& answered);
  void SettleLost(const Outcome<ModelReply>& outcome);
  Workflow<void> Compact();
  std::string TakeSummary(const MessageSpan& span, const Outcome<ModelReply>& outcome, const std::string& model);
  void Settle(const std::string& asked, const ModelReply& reply);
  void Take(ModelReply reply);
  void EndBy(const Failure& failure);
  // Calls code of the agent's author; what it throws is an end (kFailed, "Hook"), and false.
  bool Guarded(std::string_view what, const std::function<void()>& call);
  // Whether nothing new is to begin: somebody has stopped it, or it has ended while others were at work.
  bool Halted() const { return stop_.has_value() || ended_; }
  std::string_view WhyHalted() const { return stop_ ? "the agent was stopped." : "the agent has ended."; }
  int64_t EstimateInput() const;
  const Tool* FindOffered(const std::string& name) const;
  Arguments Check(const llm::ToolCall& call);
  std::string Veto(const llm::ToolCall& call);
  bool NeedsApproval(const Arguments& arguments, std::string& error);
  Workflow<void> CallInto(llm::ToolResult& result, const llm::ToolCall& call);
  Workflow<Called> RunTool(const Tool& tool, const std::string& call_id, const std::string& arguments);
  Workflow<Called> RunAgentTool(const Tool& tool, const std::string& call_id, const std::string& arguments);
  void OnDecide(const Payload& signal);
  void OnStop(const Payload& signal);
  // Why it does not count: a type of kDecideAndTell's, and a sentence. Empty: it does.
  struct Objection {
    std::string type{}, message{};
  };
  Objection Judge(const Decision& decision) const;
  void TakeDecision(Decision decision);
  void TellWaiting(bool waits);
  std::vector<PendingApproval> Pending() const;
  AgentStatus GetStatus() const;

  WorkflowContext& ctx_;
  const Agent& agent_;
  bool keep_messages_ = false;
  Ledger ledger_;
  Conversation conversation_;
  std::optional<JsonSchema> output_;
  llm::ChatResponse answer_;
  std::vector<llm::ToolCall> calls_;
  std::vector<std::string> offered_;  // tools, in the last step
  llm::Usage last_usage_;  // what the kept part of the conversation is worth
  int64_t compact_above_;  // tokens
  Result result_;
  int turn_ = 0;  // from 1
  int step_ = 0;  // the last one
  int agents_to_call_ = 0;  // calls of other agents in it that have not been lent their part
  bool ended_;
  bool end_is_published_ = false;
  std::optional<size_t> turn_from_;  // messages before this turn's; none: there are no turns
  int turn_step_ = 0;                // the last step before it
  int output_errors_ = 0;
  std::map<std::string, int> bad_calls_;  // in a row, by tool
  std::map<std::string, int> running_;    // by tool
  int model_calls_ = 0;                   // under way
  std::vector<std::unique_ptr<Approval>> approvals_;
  std::map<std::string, std::string> settled_;  // calls that have waited, by key: why they do not any more
  std::vector<llm::Message> steering_;
  std::optional<std::string> stop_;  // why

  // Behind all that they refer to.
  HandlerRegistration decides_;
  HandlerRegistration decides_and_tells_;
  HandlerRegistration steers_;
  HandlerRegistration stops_;
  HandlerRegistration pending_;
  HandlerRegistration status_;
};

}  // namespace marathon::inline MARATHON_ABI::agent
