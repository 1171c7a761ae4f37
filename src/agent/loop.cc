// The loop's life: turns, what people say to it, answers, ends. loop_model.cc has its side of the model, loop_tools.cc
// that of the tools.
#include "marathon/agent/loop.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "marathon/agent/stream.h"
#include "marathon/errors.h"
#include "src/agent/approval.h"
#include "src/agent/stream_writer.h"

namespace marathon::inline MARATHON_ABI::agent {

using nlohmann::json;

namespace {

constexpr Duration kPublishTimeout{30'000};  // whoever should have taken it, the loop goes on then
constexpr RetryPolicy kPublishRetry{.maximum_attempts = 5};

Workflow<void> Nothing() { co_return; }

Workflow<void> PublishIn(WorkflowContext& ctx, std::string activity, std::string task_queue, PublishTask task) {
  ActivityOptions options{.task_queue = task_queue, .schedule_to_close_timeout = kPublishTimeout};
  options.retry = &kPublishRetry;
  std::optional<ActivityHandle<void>> handle;
  std::string lacking;
  try {
    handle.emplace(ctx.Start<void>(activity, task, options));
  } catch (const ApplicationError& error) {  // it is too large
    lacking = error.what();
  }
  if (handle) {
    const Outcome<void> outcome = co_await ctx.Try(*handle);
    if (outcome.ok()) co_return;
    if (outcome.failure().kind == FailureKind::kCanceled) co_await *handle;  // the run is: throws
    if (outcome.failure().type == "UNIMPLEMENTED") co_return;
    lacking = outcome.failure().message;
  }
  ctx.Log(LogLevel::kWarning, "the stream lacks \"" + task.writer + "\": " + lacking);
}

}  // namespace

Loop::Loop(WorkflowContext& ctx, const Agent& agent, const Input& input) : Loop(ctx, agent, Conversation(), false) {
  turn_ = 1;
  Open(input);
}

Loop::Loop(WorkflowContext& ctx, const Agent& agent, Conversation before)
    : Loop(ctx, agent, std::move(before), true) {}

// A signal may be anything, and what a handler throws fails the run: so they take it as it came, and ignore what is wrong.
Loop::Loop(WorkflowContext& ctx, const Agent& agent, Conversation before, bool ended)
    : ctx_(ctx),
      agent_(agent),
      ledger_(agent.budget, agent.prices, ctx.Now()),
      conversation_(std::move(before)),
      compact_above_(agent.compaction.above_tokens),
      ended_(ended),
      end_is_published_(ended),
      decides_(ctx.OnSignal(kDecide.name, [this](Payload signal) { OnDecide(signal); })),
      decides_and_tells_(ctx.OnUpdate(
          kDecideAndTell, [this](Decision decision) { TakeDecision(std::move(decision)); },
          [this](const Decision& decision) {
            const Objection objection = Judge(decision);
            if (objection.type.empty()) return;
            throw ApplicationError(objection.message, {.type = objection.type, .non_retryable = true});
          })),
      steers_(ctx.OnSignal(kSteer.name,
                           [this](Payload signal) {
                             const auto said = Decode<Steering>(signal);
                             if (!said.ok()) {
                               return ctx_.Log(LogLevel::kWarning, "ignored a signal agent.steer without a text");
                             }
                             steering_.push_back(llm::UserMessage(said->text));
                             if (end_is_published_) TidyUp();
                           })),
      stops_(ctx.OnSignal(kStop.name, [this](Payload signal) { OnStop(signal); })),
      pending_(ctx.OnQuery(kPending, [this] { return Pending(); })),
      status_(ctx.OnQuery(kStatus, [this] { return GetStatus(); })) {}

void Loop::Open(const Input& input) {
  keep_messages_ = input.keep_messages;
  const Budget budget = input.budget ? Least(agent_.budget, *input.budget) : agent_.budget;
  ledger_ = Ledger(budget, agent_.prices, ctx_.Now());
  for (const llm::Message& message : input.messages) conversation_.Add(message);
  if (!agent_.output || output_) return;
  auto schema = JsonSchema::Parse(agent_.output->schema);
  if (schema.ok()) {
    output_ = *std::move(schema);
  } else {
    End(StopReason::kFailed, "Output", std::string(MessageOf(schema.status())));
  }
}

void Loop::Begin(const Input& input, int turn) {
  TidyUp();
  turn_ = turn != 0 ? turn : turn_ + 1;
  turn_from_ = conversation_.messages().size();
  turn_step_ = step_;
  answer_ = llm::ChatResponse();
  calls_.clear();
  result_ = Result();
  ended_ = false;
  end_is_published_ = false;
  output_errors_ = 0;
  bad_calls_.clear();
  stop_.reset();
  Open(input);
}

// People act on what they see, and that may be over.
void Loop::OnStop(const Payload& signal) {
  const auto order = Decode<StopOrder>(signal);
  if (stop_ || end_is_published_) return;
  if (order.ok() && order->turn != 0 && order->turn != turn_) {
    return ctx_.Log(LogLevel::kInfo, "ignored a signal agent.stop: turn " + std::to_string(order->turn) + " is not on");
  }
  stop_ = order.ok() ? order->reason : "";
}

// A turn may have ended with an answer whose calls nobody made; no provider takes a call without its result. And what
// people still had to say belongs to the conversation.
void Loop::TidyUp() {
  llm::Message results{.role = llm::Role::kUser, .blocks = {}};
  if (!conversation_.messages().empty()) {
    for (const llm::ToolCall& call : llm::ToolCallsOf(conversation_.messages().back().blocks)) {
      results.blocks.emplace_back(
          llm::ToolResult{.call_id = call.id, .text = "Not called: the agent had ended.", .is_error = true});
    }
  }
  if (!results.blocks.empty()) conversation_.Add(std::move(results));
  for (llm::Message& message : std::exchange(steering_, {})) conversation_.Add(std::move(message));
}

Loop::~Loop() = default;

void Loop::End(StopReason stop, std::string why, std::string message) {
  if (std::exchange(ended_, true)) return;
  result_.stop = stop;
  result_.why = std::move(why);
  result_.message = std::move(message);
}

Result Loop::TakeResult() {
  result_.spent = ledger_.spent();
  if (keep_messages_) result_.messages = conversation_.messages();
  return std::move(result_);
}

// ---- Steps, and what the stream hears of them

Workflow<bool> Loop::Ask() {
  const bool answered = co_await TakeStep();
  if (answered) co_return true;
  if (!std::exchange(end_is_published_, true)) {
    std::vector<std::string> frames = {
        EncodeEvent({.kind = StreamEvent::Kind::kDone, .text = std::string(NameOf(result_.stop)), .turn = turn_,
                     .why = internal::ShownPart(result_.why)})};
    std::string writer = "done";
    if (turn_ > 1) writer += "/" + std::to_string(turn_);
    // A worker that was given up may still be on the last step.
    std::vector<std::string> silences = {internal::ModelWriter(step_)};
    co_await Publish(std::move(writer), std::move(frames), std::move(silences));
  }
  co_return false;
}

Workflow<void> Loop::TellContinued() {
  TidyUp();
  std::vector<std::string> frames = {EncodeEvent({.kind = StreamEvent::Kind::kDone, .text = "continued"})};
  return Publish("continued/" + std::to_string(turn_), std::move(frames));
}

Workflow<void> Loop::Publish(std::string writer, std::vector<std::string> frames, std::vector<std::string> silences) {
  if (!agent_.stream) return Nothing();
  PublishTask task{std::move(writer), std::move(frames), std::move(silences)};
  return PublishIn(ctx_, internal::PublishActivityName(agent_), agent_.task_queue, std::move(task));
}

Workflow<void> Loop::PublishResults(std::string writer, const std::vector<llm::ToolResult>& results) {
  if (!agent_.stream) return Nothing();
  std::vector<std::string> frames;
  for (const llm::ToolResult& result : results) {
    frames.push_back(EncodeEvent({.kind = StreamEvent::Kind::kToolResult, .step = step_,
                                  .text = internal::ShownPart(result.text), .id = result.call_id,
                                  .is_error = result.is_error}));
  }
  return Publish(std::move(writer), std::move(frames));
}

// ---- An answer

void Loop::Accept() {
  if (answer_.stop_reason == llm::StopReason::kPaused) return;  // sent back as it is, it goes on
  if (answer_.stop_reason == llm::StopReason::kMaxTokens) {
    return End(StopReason::kFailed, "MaxTokens", "the answer was cut off: Agent::max_tokens is too small for it");
  }
  if (!steering_.empty()) return;
  if (!output_) return End(StopReason::kDone, "");
  const std::string text = llm::TextOf(answer_.blocks);
  const StatusOr<json> value = Decode<json>({text, Encoding::kJson});
  const Status fits = value.ok() ? output_->Check(*value) : value.status();
  if (fits.ok()) {
    result_.output = text;
    return End(StopReason::kDone, "");
  }
  const std::string words(MessageOf(fits));
  if (output_errors_++ >= agent_.output_retries) return End(StopReason::kFailed, "Output", words);
  Say(llm::UserMessage("This answer is not of the form that was asked for. Answer again, with JSON alone. " + words));
}

// ---- For those who look

AgentStatus Loop::GetStatus() const {
  AgentStatus status{.state = "tools", .spent = ledger_.spent(), .text = result_.text, .turn = turn_};
  const bool runs = std::ranges::any_of(running_, [](const auto& entry) { return entry.second > 0; });
  if (ended_) {
    status.state = "ended";
  } else if (model_calls_ > 0) {
    status.state = "model";
  } else if (!runs && !approvals_.empty()) {
    status.state = "approval";
  }
  return status;
}

}  // namespace marathon::inline MARATHON_ABI::agent
