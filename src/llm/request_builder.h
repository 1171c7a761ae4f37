// RequestBuilder: what the bodies of requests have in common. Members keep their order: models go by the order
// of a schema's properties, and caches by that of bytes.
//
// One thread at a time.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "marathon/config.h"
#include "marathon/llm/chat.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

using OrderedJson = nlohmann::ordered_json;

class RequestBuilder {
 public:
  // The JSON object that `text` is; if it is none, the request fails and says that of `what`.
  OrderedJson ParseObject(std::string_view text, std::string_view what);
  // The schema of a tool's arguments.
  OrderedJson SchemaOf(const Tool& tool);
  // "data:" URL of an image's or a document's bytes.
  static std::string DataUrl(const Media& media);
  // Checks what holds for every provider.
  void CheckMedia(const Media& media);
  // The first reason counts.
  void Refuse(std::string why);

  // Puts `extra` over the rest.
  void Apply(std::string_view extra);
  // The body as it is sent, or the first reason against it.
  std::variant<std::string, Error> Encode();
  // All of that, for a chat.
  std::variant<std::string, Error> Finish(std::string_view extra, bool stream);

  OrderedJson root = OrderedJson::object();

 private:
  std::optional<Error> error_;
};

}  // namespace marathon::inline MARATHON_ABI::llm::internal
