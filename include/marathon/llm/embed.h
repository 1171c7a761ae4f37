// Embeddings: texts as vectors, near each other where the texts mean alike.
//
// Values; no thread rule. An Embedder is safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/error.h"
#include "marathon/llm/pace.h"

namespace marathon::inline MARATHON_ABI::llm {

struct EmbedRequest {
  std::string model;
  std::vector<std::string> texts{};     // one or more; how many and how long is the provider's to say
  std::optional<int64_t> dimensions{};  // of each vector, for models that can be told
  std::string extra{};                  // see ChatRequest

  friend bool operator==(const EmbedRequest&, const EmbedRequest&) = default;
};

struct EmbedResponse {
  std::string model{};  // the one that answered
  std::vector<std::vector<float>> vectors{};  // one a text, in their order
  Usage usage{};

  friend bool operator==(const EmbedResponse&, const EmbedResponse&) = default;
};

using EmbedResult = std::variant<EmbedResponse, Error>;

// What makes vectors of texts. A Client of kOpenAi is one.
class Embedder {
 public:
  using OnVectors = Callback<void(EmbedResult)>;

  virtual ~Embedder() = default;
  // As Model::Chat, without pieces.
  virtual void Embed(EmbedRequest request, std::stop_token stop, OnVectors done) = 0;
  // As Model::ChatWithin.
  virtual void EmbedWithin(Pace pace, EmbedRequest request, std::stop_token stop, OnVectors done) {
    static_cast<void>(pace);
    Embed(std::move(request), std::move(stop), std::move(done));
  }
};

}  // namespace marathon::inline MARATHON_ABI::llm
