#include "src/llm/wire.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

const Wire& WireOf(Protocol protocol) {
  static constexpr Wire kOpenAi{"https://api.openai.com/v1", "/chat/completions", OpenAiHeaders,
                                EncodeOpenAi, NewOpenAiReader,
                                "/embeddings", EncodeOpenAiEmbed, NewOpenAiVectorReader};
  static constexpr Wire kAnthropic{"https://api.anthropic.com", "/v1/messages", AnthropicHeaders,
                                   EncodeAnthropic, NewAnthropicReader,
                                   "", nullptr, nullptr};
  return protocol == Protocol::kAnthropic ? kAnthropic : kOpenAi;
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
