// Conversation: all that was said in a run, as its code has it. Workers keep it in the store's blobs, as a chain: a
// node holds the messages of one step, and the digest of the node before it. The digest of the newest node, the
// head, names the whole conversation; histories have only heads.
//
// The history is the truth, and the blobs are a cache: what is not there is sent once more.
//
// Values; no thread rule.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/agent/steps.h"
#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::agent {

// One link of the chain.
struct ConversationNode {
  std::optional<BlobRef> parent{};  // none: it is the first
  std::vector<llm::Message> messages{};

  // Its bytes: canonical JSON, the same in every process.
  MARATHON_EXPORT std::string ToBytes() const;
  MARATHON_EXPORT static StatusOr<ConversationNode> FromBytes(const std::string& bytes);

  friend bool operator==(const ConversationNode&, const ConversationNode&) = default;
};

// What a blob of these bytes is called.
MARATHON_EXPORT BlobRef RefOf(const std::string& bytes);

class MARATHON_EXPORT Conversation {
 public:
  Conversation() = default;
  // One that goes on: `head` stands for the first `kept` of its messages.
  Conversation(std::vector<llm::Message> messages, size_t kept, std::optional<BlobRef> head)
      : messages_(std::move(messages)), kept_(kept), head_(std::move(head)) {}

  void Add(llm::Message message) { messages_.push_back(std::move(message)); }
  const std::vector<llm::Message>& messages() const { return messages_; }

  // Of all but the fresh ones.
  const std::optional<BlobRef>& head() const { return head_; }
  size_t kept() const { return kept_; }
  // Those that no head stands for yet.
  std::vector<llm::Message> fresh() const;

  // The fresh ones were sent behind head(), and this came back: gives the new head.
  BlobRef Answer(const llm::ChatResponse& response);
  // Without what is fresh behind the first `size`.
  void Cut(size_t size) {
    messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(std::max(size, kept_)), messages_.end());
  }
  // Nothing is kept: all are fresh again.
  void Forget();

  // What a summary may stand for: all but the system's messages that it begins with, and at least the last `keep`; and
  // no call without its result. May be empty.
  MessageSpan Older(int keep) const;
  // The head of a conversation of `span` and of what was answered to it.
  BlobRef HeadOf(const MessageSpan& span, const llm::ChatResponse& response) const;
  // Puts `summary` in the place of `span`. All are fresh then.
  void Replace(const MessageSpan& span, llm::Message summary);

 private:
  std::vector<llm::Message> messages_;
  size_t kept_ = 0;  // how many of them head_ stands for
  std::optional<BlobRef> head_;
};

}  // namespace marathon::inline MARATHON_ABI::agent
