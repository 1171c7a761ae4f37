// OpenAI's embeddings, and those of the many servers that speak alike.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "src/llm/base64.h"
#include "src/llm/classify.h"
#include "src/llm/fields.h"
#include "src/llm/floats.h"
#include "src/llm/request_builder.h"
#include "src/llm/wire.h"

namespace marathon::inline MARATHON_ABI::llm::internal {
namespace {

using nlohmann::json;

// As numbers, or in base64, as some servers answer whatever they are asked for.
std::optional<std::vector<float>> VectorOf(const json* from) {
  if (from == nullptr) return std::nullopt;
  if (from->is_string()) {
    const auto bytes = FromBase64(from->get_ref<const std::string&>());
    return bytes ? FloatsOfBytes(*bytes) : std::nullopt;
  }
  if (!from->is_array()) return std::nullopt;
  std::vector<float> vector;
  vector.reserve(from->size());
  for (const json& value : *from) {
    if (!value.is_number()) return std::nullopt;
    vector.push_back(value.get<float>());
  }
  return vector;
}

class OpenAiVectorReader final : public VectorReader {
 public:
  explicit OpenAiVectorReader(size_t texts) : texts_(texts) {}

  std::optional<Error> OnEvent(const SseEvent&) override {
    return MakeError(ErrorClass::kTransient, "the server answered a request for vectors with a stream");
  }

  std::optional<Error> OnBody(std::string_view body) override {
    const json parsed = ParseText(body);
    if (!parsed.is_object()) {
      return MakeError(ErrorClass::kTransient, "the answer is not a JSON object");
    }
    if (Find(parsed, "error") != nullptr) return ErrorOfJson(200, parsed);
    response_.vectors.resize(texts_);
    std::vector<bool> filled(texts_);
    const json* data = Find(parsed, "data");
    if (data != nullptr && !data->is_array()) {
      return MakeError(ErrorClass::kTransient, "the answer's data is no list of vectors");
    }
    for (size_t i = 0; data != nullptr && i < data->size(); ++i) {
      const json& one = data->at(i);
      const auto index = static_cast<size_t>(IntOf(one, "index", static_cast<int64_t>(i)));
      auto vector = VectorOf(Find(one, "embedding"));
      if (index >= texts_ || filled[index] || !vector || vector->empty()) {
        return MakeError(ErrorClass::kTransient, fmt::format("vector {} of the answer is none", i));
      }
      response_.vectors[index] = *std::move(vector);
      filled[index] = true;
    }
    const auto count = static_cast<size_t>(std::count(filled.begin(), filled.end(), true));
    if (count != texts_) {
      return MakeError(ErrorClass::kTransient,
                       fmt::format("the answer has {} vectors for {} texts", count, texts_));
    }
    response_.model = StringOf(parsed, "model");
    if (const json* usage = Find(parsed, "usage")) {
      response_.usage.input = IntOf(*usage, "prompt_tokens");
    }
    complete_ = true;
    return std::nullopt;
  }

  bool complete() const override { return complete_; }
  bool begun() const override { return complete_; }
  EmbedResponse Take() override { return std::move(response_); }

 private:
  const size_t texts_;
  EmbedResponse response_;
  bool complete_ = false;
};

}  // namespace

std::variant<std::string, Error> EncodeOpenAiEmbed(const EmbedRequest& request) {
  RequestBuilder body;
  if (request.model.empty()) body.Refuse("the request names no model");
  if (request.texts.empty()) body.Refuse("the request has no texts");
  body.root = {{"model", request.model}, {"input", request.texts}, {"encoding_format", "float"}};
  if (request.dimensions) body.root["dimensions"] = *request.dimensions;
  body.Apply(request.extra);
  return body.Encode();
}

std::unique_ptr<VectorReader> NewOpenAiVectorReader(size_t texts) {
  return std::make_unique<OpenAiVectorReader>(texts);
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
