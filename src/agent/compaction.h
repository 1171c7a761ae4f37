// What a model is asked for a summary with, and the message that it becomes.
#pragma once

#include <string>
#include <vector>

#include "marathon/agent/definition.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/message.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

// As text: no provider wants calls without the tools, or another model's reasoning.
llm::ChatRequest SummaryRequest(const Agent& agent, std::string model, const std::vector<llm::Message>& messages);

// Digests go by it: it never changes.
llm::Message SummaryMessage(const std::string& summary);

}  // namespace marathon::inline MARATHON_ABI::agent::internal
