// The loop's side of compaction: a conversation that has grown too long becomes a shorter one.
#include <algorithm>
#include <utility>

#include "marathon/agent/loop.h"
#include "src/agent/compaction.h"
#include "src/agent/same_head.h"

namespace marathon::inline MARATHON_ABI::agent {

// What cannot be summarized, or paid for, stays as it is: the step that follows will tell.
Workflow<void> Loop::Compact() {
  const Compaction& compaction = agent_.compaction;
  if (compaction.above_tokens <= 0 || EstimateInput() <= compact_above_) co_return;
  const MessageSpan span = conversation_.Older(compaction.keep_last);
  int64_t tokens = EstimateTokens(compaction.instructions);
  for (size_t i = span.first; i < span.last; ++i) tokens += EstimateTokens(conversation_.messages()[i]);
  if (tokens < compaction.above_tokens / 4) co_return;  // too little to gain
  ModelChoice choice{.step = step_ + 1, .model = compaction.model.empty() ? agent_.model : compaction.model, .tools = {}};
  const Ledger::Reservation reservation{choice.model, tokens, compaction.max_tokens};
  if (!ledger_.Reserve(reservation, ctx_.Now()).empty()) co_return;
  step_ = choice.step;
  const Answered answered = co_await Request(choice, span);
  if (!answered) co_return;
  BlobRef recorded, computed;
  if (answered->ok()) {
    recorded = answered->value().head;
    computed = conversation_.HeadOf(span, answered->value().response);
    co_await internal::SameHead(ctx_.core(), choice.step, recorded, computed);
  }
  const std::string lacking = TakeSummary(span, *answered, choice.model);
  compact_above_ = std::max(compaction.above_tokens, EstimateInput() + compaction.above_tokens / 4);  // not each step
  if (lacking.empty()) co_return;
  ctx_.Log(LogLevel::kWarning, "the conversation stays as long as it is: " + lacking);
}

// Why it cannot be taken; empty: it is.
std::string Loop::TakeSummary(const MessageSpan& span, const Outcome<ModelReply>& outcome, const std::string& model) {
  if (!outcome.ok()) return outcome.failure().message;
  const llm::ChatResponse& response = outcome.value().response;
  Settle(model, outcome.value());
  if (response.stop_reason == llm::StopReason::kMaxTokens || response.stop_reason == llm::StopReason::kContextFull) {
    return "the summary was cut off: Compaction::max_tokens is too small for it";
  }
  const std::string summary = llm::TextOf(response.blocks);
  if (summary.empty() || response.stop_reason == llm::StopReason::kRefused) return "there is no summary";
  conversation_.Replace(span, internal::SummaryMessage(summary));
  last_usage_ = {};
  return "";
}

}  // namespace marathon::inline MARATHON_ABI::agent
