// The loop's side of the model: a step, from the choice of a model to its answer.
#include <algorithm>
#include <exception>
#include <utility>

#include "marathon/agent/loop.h"
#include "marathon/agent/stream.h"
#include "marathon/errors.h"
#include "marathon/limits.h"
#include "marathon/llm/error.h"
#include "src/agent/lost_attempts.h"
#include "src/agent/same_head.h"
#include "src/agent/stream_writer.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

constexpr Duration kStopPatience{10'000};  // for what a model has said that is stopped

}  // namespace

Workflow<bool> Loop::TakeStep() {
  if (stop_) End(StopReason::kStopped, *stop_);
  if (ended_) {
    TidyUp();
    co_return false;
  }
  for (llm::Message& message : std::exchange(steering_, {})) conversation_.Add(std::move(message));
  co_await Compact();
  if (ended_) co_return false;
  ModelChoice choice = Choose();
  const Hooks& hooks = agent_.hooks;
  if (hooks.before_model && !Guarded("before_model", [&] { hooks.before_model(choice); })) co_return false;
  if (!MayAsk(choice)) co_return false;
  step_ = choice.step;
  offered_ = choice.tools;
  Answered answered = co_await Request(choice, std::nullopt);
  if (!answered) co_return false;
  if (!answered->ok()) {
    EndBy(answered->failure());
    // What a session cannot send must not come with each of its later turns.
    const bool unusable = result_.why == "BadRequest" || result_.why == "TooLarge";
    if (turn_from_ && step_ == turn_step_ + 1 && unusable) conversation_.Cut(*turn_from_);
    co_return false;
  }
  ModelReply& reply = answered->value();
  if (reply.stopped && reply.response.blocks.empty()) {  // what it has said is nothing that a conversation can have
    Settle(choice.model, reply);
    End(StopReason::kStopped, stop_.value_or(""));
    co_return false;
  }
  const BlobRef recorded = reply.head;
  if (reply.unseen) {
    const StreamEvent begin{.kind = StreamEvent::Kind::kStepBegin, .step = choice.step, .text = reply.response.model,
                            .turn = turn_};
    std::vector<std::string> frames = internal::FramesOf(begin, reply.response, recorded.sha256);
    co_await Publish(internal::ModelWriter(choice.step), std::move(frames));
  }
  Settle(choice.model, reply);
  Take(std::move(reply));
  co_await internal::SameHead(ctx_.core(), choice.step, recorded, *conversation_.head());
  if (hooks.after_model) Guarded("after_model", [&] { hooks.after_model(answer_); });
  if (stop_) {  // whatever it wants to do next
    End(StopReason::kStopped, *stop_);
    TidyUp();
  }
  co_return !ended_;
}

void Loop::Settle(const std::string& asked, const ModelReply& reply) {
  const llm::ChatResponse& response = reply.response;
  const int64_t said = reply.stopped ? reply.said_tokens : EstimateTokens(llm::AsMessage(response));
  ledger_.Settle(response.model.empty() ? asked : response.model, response.usage, said);
}

// One that was stopped before it said anything has cost its input, and one that nobody can tell of all that was set aside.
void Loop::SettleStopped(const ModelTask& task, const Answered& answered) {
  if (answered && answered->failure().kind != FailureKind::kCanceled) return;  // it failed by itself
  ledger_.Settle(task.model, {}, answered ? 0 : ledger_.reserved().output);
}

// The worker counts them, as far as it can; what it cannot tell of may have been all that the policy allows.
void Loop::SettleLost(const Outcome<ModelReply>& outcome) {
  if (outcome.ok()) return ledger_.SettleLost(outcome.value().attempts_lost);
  const Failure& failure = outcome.failure();
  const auto told = Decode<internal::LostAttempts>(failure.details);
  int lost = told.ok() ? told->count : 0;
  if (failure.kind == FailureKind::kTimeout) lost = std::max(agent_.model_retry.maximum_attempts, 1);
  if (failure.type == failure_type::kDeadLetter) lost = limits::kMaxDeliveries;
  ledger_.SettleLost(lost);
}

ModelChoice Loop::Choose() const {
  ModelChoice choice{.step = step_ + 1, .model = agent_.model, .tools = {}};
  for (const Tool& tool : agent_.tools) choice.tools.push_back(tool.definition.name);
  return choice;
}

bool Loop::MayAsk(const ModelChoice& choice) {
  Ledger::Reservation reservation{choice.model, EstimateInput(), agent_.max_tokens};
  const std::string lacking = ledger_.Reserve(reservation, ctx_.Now());
  if (lacking.empty()) return true;
  if (lacking == "price") {
    End(StopReason::kFailed, "Price", "the agent has a budget in USD, and no price for " + choice.model);
  } else {
    End(StopReason::kBudget, lacking);
  }
  return false;
}

// What the provider has counted is known; what is new is guessed.
int64_t Loop::EstimateInput() const {
  int64_t tokens = last_usage_.input + last_usage_.output;
  const bool counted = tokens > 0;
  for (const llm::Message& message : counted ? conversation_.fresh() : conversation_.messages()) {
    tokens += EstimateTokens(message);
  }
  if (counted) return tokens;
  tokens += EstimateTokens(agent_.instructions);
  for (const Tool& tool : agent_.tools) {
    tokens += EstimateTokens(tool.definition.description) + EstimateTokens(tool.definition.schema);
  }
  return tokens;
}

// A worker that has not got the conversation any more is sent all of it. Nothing: the agent has ended meanwhile.
Workflow<Loop::Answered> Loop::Request(const ModelChoice& choice, std::optional<MessageSpan> summarize) {
  const ModelTask task = TaskOf(choice, summarize, false);
  Answered answered = co_await Send(task);
  if (!answered || !answered->ok() || !answered->value().lost) co_return answered;
  conversation_.Forget();
  last_usage_ = {};  // it was of what came before the fresh part
  const ModelTask whole = TaskOf(choice, summarize, true);
  answered = co_await Send(whole);
  if (answered && answered->ok() && answered->value().lost) {
    answered.emplace(Failure{.type = "Lost", .message = "a worker took a whole conversation for a part of one"});
  }
  co_return answered;
}

ModelTask Loop::TaskOf(const ModelChoice& choice, const std::optional<MessageSpan>& summarize, bool again) const {
  ModelTask task{choice.step, conversation_.head(), conversation_.fresh(), choice.model, choice.tools, again, summarize, turn_};
  if (!summarize) return task;
  const size_t kept = conversation_.messages().size() - task.messages.size();
  task.messages.resize(summarize->last > kept ? summarize->last - kept : 0);  // what is behind them is not needed
  return task;
}

Workflow<Loop::Answered> Loop::Send(const ModelTask& task) {
  ActivityOptions options{.task_queue = agent_.task_queue, .start_to_close_timeout = agent_.model_timeout};
  options.retry = &agent_.model_retry;
  options.cancellation = ActivityCancellation::kWait;  // what it has said by then is kept
  const std::string activity = internal::ModelActivityName(agent_);
  std::optional<ActivityHandle<ModelReply>> started;
  Answered answered;
  try {
    started.emplace(ctx_.Start<ModelReply>(activity, task, options));
  } catch (const ApplicationError& error) {
    answered.emplace(Failure{.type = "TooLarge", .message = error.what()});
  }
  if (!started) co_return answered;
  ActivityHandle<ModelReply>& handle = *started;
  ++model_calls_;
  co_await ctx_.WaitUntil([&] { return handle.done() || stop_.has_value(); });
  if (!handle.done()) {
    handle.Cancel();
    co_await ctx_.WaitUntil([&] { return handle.done(); }, kStopPatience);
  }
  --model_calls_;
  if (handle.done()) answered = co_await ctx_.Try(handle);
  if (answered) SettleLost(*answered);
  if (answered && answered->ok()) co_return answered;
  if (stop_) {
    SettleStopped(task, answered);
    End(StopReason::kStopped, *stop_);
    co_return std::nullopt;
  }
  if (answered->failure().kind == FailureKind::kCanceled) co_await handle;  // the run is: throws
  co_return answered;
}

bool Loop::Guarded(std::string_view what, const std::function<void()>& call) {
  try {
    call();
    return true;
  } catch (const CanceledError&) {  // it has the run's context, and the run is canceled
    throw;
  } catch (...) {
    const Failure failure = FailureFrom(std::current_exception());
    End(StopReason::kFailed, "Hook", std::string(what) + " threw: " + failure.message);
    return false;
  }
}

void Loop::EndBy(const Failure& failure) {
  const auto error_class = llm::ClassOf(failure);
  if (error_class == llm::ErrorClass::kRefused) {
    End(StopReason::kRefused, std::string(llm::NameOf(*error_class)), failure.message);
  } else {
    End(StopReason::kFailed, error_class ? std::string(llm::NameOf(*error_class)) : failure.type, failure.message);
  }
}

void Loop::Take(ModelReply reply) {
  answer_ = std::move(reply.response);
  calls_ = llm::ToolCallsOf(answer_.blocks);
  agents_to_call_ = static_cast<int>(std::ranges::count_if(calls_, [this](const llm::ToolCall& call) {
    const Tool* tool = FindOffered(call.name);
    return tool != nullptr && tool->agent;
  }));
  last_usage_ = answer_.usage;
  conversation_.Answer(answer_);
  if (std::string text = llm::TextOf(answer_.blocks); !text.empty()) result_.text = std::move(text);
  if (answer_.stop_reason == llm::StopReason::kRefused) End(StopReason::kRefused, "Refused");
  if (answer_.stop_reason == llm::StopReason::kContextFull) End(StopReason::kFailed, "ContextFull");
}

}  // namespace marathon::inline MARATHON_ABI::agent
