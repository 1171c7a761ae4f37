#include "marathon/agent/conversation.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "marathon/codec.h"
#include "marathon/detail/sha256.h"
#include "marathon/llm/json.h"
#include "src/agent/json.h"

namespace marathon::inline MARATHON_ABI::agent {

using nlohmann::json;

// nlohmann's objects are sorted by their names, and its dump has no spaces: that is canonical.
std::string ConversationNode::ToBytes() const {
  json node = {{"messages", messages}};
  if (parent) node["parent"] = internal::ToJson(*parent);
  return node.dump();
}

StatusOr<ConversationNode> ConversationNode::FromBytes(const std::string& bytes) {
  StatusOr<json> parsed = Decode<json>({bytes, Encoding::kJson});
  if (!parsed.ok()) return parsed.status();
  return marathon::detail::CatchingConversion("from JSON", [&]() -> StatusOr<ConversationNode> {
    ConversationNode node;
    parsed->at("messages").get_to(node.messages);
    if (const auto parent = parsed->find("parent"); parent != parsed->end()) {
      node.parent = internal::ToRef(*parent);
    }
    return node;
  });
}

BlobRef RefOf(const std::string& bytes) {
  return {marathon::detail::Sha256Hex(bytes), bytes.size()};
}

std::vector<llm::Message> Conversation::fresh() const {
  return {messages_.begin() + static_cast<std::ptrdiff_t>(kept_), messages_.end()};
}

BlobRef Conversation::Answer(const llm::ChatResponse& response) {
  messages_.push_back(llm::AsMessage(response));
  head_ = RefOf(ConversationNode{head_, fresh()}.ToBytes());
  kept_ = messages_.size();
  return *head_;
}

void Conversation::Forget() {
  kept_ = 0;
  head_.reset();
}

MessageSpan Conversation::Older(int keep) const {
  MessageSpan span;
  while (span.first < messages_.size() && messages_[span.first].role == llm::Role::kSystem) ++span.first;
  span.last = span.first;
  std::multiset<std::string> open;  // calls without a result so far
  for (size_t i = span.first; i + static_cast<size_t>(std::max(keep, 0)) <= messages_.size(); ++i) {
    if (open.empty()) span.last = i;
    if (i == messages_.size()) break;
    for (const llm::Block& block : messages_[i].blocks) {
      if (const auto* call = std::get_if<llm::ToolCall>(&block)) open.insert(call->id);
      if (const auto* result = std::get_if<llm::ToolResult>(&block)) {
        if (const auto found = open.find(result->call_id); found != open.end()) open.erase(found);
      }
    }
  }
  return span;
}

BlobRef Conversation::HeadOf(const MessageSpan& span, const llm::ChatResponse& response) const {
  const auto begin = messages_.begin();
  ConversationNode node;
  node.messages.assign(begin + static_cast<std::ptrdiff_t>(span.first), begin + static_cast<std::ptrdiff_t>(span.last));
  node.messages.push_back(llm::AsMessage(response));
  return RefOf(node.ToBytes());
}

void Conversation::Replace(const MessageSpan& span, llm::Message summary) {
  const auto begin = messages_.begin() + static_cast<std::ptrdiff_t>(span.first);
  *begin = std::move(summary);
  messages_.erase(begin + 1, messages_.begin() + static_cast<std::ptrdiff_t>(span.last));
  Forget();
}

}  // namespace marathon::inline MARATHON_ABI::agent
