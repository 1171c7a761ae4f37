// What tests of agents read off a result that keeps its messages.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "marathon/agent/result.h"
#include "marathon/llm/message.h"

namespace marathon::agent {

// The results of tools, in their order.
inline std::vector<std::string> ToolTexts(const Result& result) {
  std::vector<std::string> texts;
  for (const llm::Message& message : result.messages) {
    for (const llm::Block& block : message.blocks) {
      if (const auto* said = std::get_if<llm::ToolResult>(&block)) {
        texts.push_back((said->is_error ? "error: " : "") + said->text);
      }
    }
  }
  return texts;
}

}  // namespace marathon::agent
