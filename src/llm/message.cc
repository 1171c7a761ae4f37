#include "marathon/llm/message.h"

namespace marathon::inline MARATHON_ABI::llm {

std::string TextOf(const std::vector<Block>& blocks) {
  std::string text;
  for (const Block& block : blocks) {
    if (const auto* part = std::get_if<Text>(&block)) text += part->text;
  }
  return text;
}

std::vector<ToolCall> ToolCallsOf(const std::vector<Block>& blocks) {
  std::vector<ToolCall> calls;
  for (const Block& block : blocks) {
    if (const auto* call = std::get_if<ToolCall>(&block)) calls.push_back(*call);
  }
  return calls;
}

}  // namespace marathon::inline MARATHON_ABI::llm
