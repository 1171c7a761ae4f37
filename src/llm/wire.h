// Wire: how a provider's protocol says a request and a response.
//
// Pure functions, safe from any thread; a reader is one call's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/client.h"
#include "marathon/llm/embed.h"
#include "marathon/llm/model.h"
#include "src/llm/sse_parser.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

// Takes one answer, as a stream of events or whole.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  // An error is the end. What comes behind the last event of an answer is ignored.
  virtual std::optional<Error> OnEvent(const SseEvent& event) = 0;
  virtual std::optional<Error> OnBody(std::string_view body) = 0;
  // The answer has come to its own end, though there may be more to say of it, such as its usage.
  virtual bool complete() const = 0;
  // Some of it is there.
  virtual bool begun() const = 0;
};

class ResponseReader : public AnswerReader {
 public:
  virtual ChatResponse Take() = 0;
};

// Vectors come whole.
class VectorReader : public AnswerReader {
 public:
  virtual EmbedResponse Take() = 0;
};

struct Wire {
  std::string_view default_base;
  std::string_view path;
  std::vector<std::string> (*headers)(const std::string& api_key);
  // The body; an error says what is wrong with the request.
  std::variant<std::string, Error> (*encode)(const ChatRequest& request, const Endpoint& endpoint);
  std::unique_ptr<ResponseReader> (*new_reader)(Model::OnDelta on_delta);
  // Null: the provider has no embeddings.
  std::string_view embed_path;
  std::variant<std::string, Error> (*encode_embed)(const EmbedRequest& request);
  std::unique_ptr<VectorReader> (*new_vector_reader)(size_t texts);
};

const Wire& WireOf(Protocol protocol);

// ---- Its parts (openai_*.cc, anthropic_*.cc)
std::vector<std::string> OpenAiHeaders(const std::string& api_key);
std::variant<std::string, Error> EncodeOpenAi(const ChatRequest& request, const Endpoint& endpoint);
std::unique_ptr<ResponseReader> NewOpenAiReader(Model::OnDelta on_delta);
std::variant<std::string, Error> EncodeOpenAiEmbed(const EmbedRequest& request);
std::unique_ptr<VectorReader> NewOpenAiVectorReader(size_t texts);
std::vector<std::string> AnthropicHeaders(const std::string& api_key);
std::variant<std::string, Error> EncodeAnthropic(const ChatRequest& request,
                                                 const Endpoint& endpoint);
std::unique_ptr<ResponseReader> NewAnthropicReader(Model::OnDelta on_delta);

}  // namespace marathon::inline MARATHON_ABI::llm::internal
