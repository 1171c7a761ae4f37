#include "src/llm/response_builder.h"

#include <utility>

namespace marathon::inline MARATHON_ABI::llm::internal {

void ResponseBuilder::AppendText(size_t& block, std::string_view piece) {
  if (piece.empty()) return;
  if (block == kNone) block = Open(Text{});
  if (auto* text = Find<Text>(block)) text->text += piece;
  Tell(Delta::Kind::kText, block, piece);
}

void ResponseBuilder::AppendReasoning(size_t& block, std::string_view piece,
                                      std::string_view field) {
  if (piece.empty()) return;
  if (block == kNone) block = Open(Reasoning{.field = std::string(field)});
  if (auto* reasoning = Find<Reasoning>(block)) reasoning->text += piece;
  Tell(Delta::Kind::kReasoning, block, piece);
}

size_t ResponseBuilder::OpenToolCall(std::string id, std::string name) {
  const std::string base = id.empty() ? "call_" + response.id : id + "_";
  for (int n = 1; id.empty() || ids_.contains(id); ++n) id = base + std::to_string(n);
  ids_.insert(id);
  const size_t block = Open(ToolCall{.id = id, .name = name, .arguments = {}});
  Tell(Delta::Kind::kToolCall, block, name, id);
  return block;
}

void ResponseBuilder::AppendArguments(size_t block, std::string_view piece) {
  auto* call = Find<ToolCall>(block);
  if (call == nullptr || piece.empty()) return;
  call->arguments += piece;
  Tell(Delta::Kind::kToolArguments, block, piece);
}

void ResponseBuilder::SetName(size_t block, std::string name) {
  auto* call = Find<ToolCall>(block);
  if (call != nullptr && call->name.empty()) call->name = std::move(name);
}

size_t ResponseBuilder::Open(Block block) {
  response.blocks.push_back(std::move(block));
  return response.blocks.size() - 1;
}

ChatResponse ResponseBuilder::Take() {
  for (Block& block : response.blocks) {
    auto* call = std::get_if<ToolCall>(&block);
    if (call == nullptr) continue;
    if (call->arguments.empty()) call->arguments = "{}";
    // Some servers say "stop" all the same.
    if (response.stop_reason == StopReason::kEnd) response.stop_reason = StopReason::kToolCalls;
  }
  return std::move(response);
}

void ResponseBuilder::Tell(Delta::Kind kind, size_t block, std::string_view text,
                           std::string_view id) {
  if (!on_delta_) return;
  on_delta_({.kind = kind, .block = block, .text = std::string(text), .id = std::string(id)});
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
