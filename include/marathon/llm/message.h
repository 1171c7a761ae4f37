// What is said to a model and by it: messages made of blocks, in no provider's own form.
//
// Values; no thread rule. json.h makes them JSON, so they may be inputs and results of activities.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::llm {

enum class Role : uint8_t { kSystem, kUser, kAssistant };

struct Text {
  std::string text;

  friend bool operator==(const Text&, const Text&) = default;
};

enum class MediaKind : uint8_t { kImage, kDocument };

// An image or a document: exactly one of `url`, `file_id`, `blob` and `bytes`. A history that holds a message holds
// the bytes, too; a reference is better.
struct Media {
  MediaKind kind = MediaKind::kImage;
  std::string media_type{};  // "image/png", "application/pdf"
  std::string url{};         // where the provider fetches it
  std::string file_id{};     // of the provider's own store of files
  // In the store's BlobStore (Engine::blobs, ctx.blobs), by whose name it stands in histories; its bytes go to the
  // provider with each call. ChatActivity and agents look it up, a Client alone does not. Where it is not kept any more
  // (limits::kBlobKeep after the last call), ChatActivity fails, and an agent's model is told so in words.
  std::optional<BlobRef> blob{};
  std::string bytes{};       // as they are, not in base64
  std::string name{};        // of a document; may be empty

  friend bool operator==(const Media&, const Media&) = default;
};

// The model wants a tool called. Each needs exactly one ToolResult in the next message.
struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // as the model wrote them: JSON text as a rule, and nobody's promise

  friend bool operator==(const ToolCall&, const ToolCall&) = default;
};

// In a message of the user's.
struct ToolResult {
  std::string call_id;
  std::string text{};
  std::vector<Media> media{};  // Anthropic only
  bool is_error = false;       // OpenAI knows no such mark: let the text say it as well

  friend bool operator==(const ToolResult&, const ToolResult&) = default;
};

// What a model thought before it spoke, kept as it came, since providers want it back unchanged.
struct Reasoning {
  std::string text;
  std::string signature{};  // Anthropic's proof that the text is its own
  std::string field{};      // the field of an OpenAI-compatible server that it came in

  friend bool operator==(const Reasoning&, const Reasoning&) = default;
};

// A block that has no type here, such as reasoning that the provider has encrypted. It goes back as it came,
// to the same kind of provider, and others are not shown it.
struct Opaque {
  std::string provider;  // "anthropic"
  std::string json;

  friend bool operator==(const Opaque&, const Opaque&) = default;
};

using Block = std::variant<Text, Media, ToolCall, ToolResult, Reasoning, Opaque>;

struct Message {
  Role role = Role::kUser;
  std::vector<Block> blocks{};

  friend bool operator==(const Message&, const Message&) = default;
};

// Messages of one text. They are calls, so they may stand inside a co_await expression on g++ 12.
inline Message TextMessage(Role role, std::string text) {
  Message message{.role = role};
  message.blocks.emplace_back(Text{std::move(text)});
  return message;
}
inline Message SystemMessage(std::string text) {
  return TextMessage(Role::kSystem, std::move(text));
}
inline Message UserMessage(std::string text) { return TextMessage(Role::kUser, std::move(text)); }
inline Message AssistantMessage(std::string text) {
  return TextMessage(Role::kAssistant, std::move(text));
}

// All texts among the blocks, one behind the other.
MARATHON_EXPORT std::string TextOf(const std::vector<Block>& blocks);
// All tool calls among them, in the model's order.
MARATHON_EXPORT std::vector<ToolCall> ToolCallsOf(const std::vector<Block>& blocks);

}  // namespace marathon::inline MARATHON_ABI::llm
