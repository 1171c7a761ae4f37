#include "src/llm/request_builder.h"

#include <utility>

#include "marathon/codec.h"
#include "src/llm/base64.h"
#include "src/llm/fields.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

OrderedJson RequestBuilder::ParseObject(std::string_view text, std::string_view what) {
  if (ParseText(text).is_object()) return OrderedJson::parse(text);
  Refuse(std::string(what) + " is not a JSON object");
  return OrderedJson::object();
}

OrderedJson RequestBuilder::SchemaOf(const Tool& tool) {
  if (tool.schema.empty()) return {{"type", "object"}, {"properties", OrderedJson::object()}};
  return ParseObject(tool.schema, "the schema of tool \"" + tool.name + "\"");
}

std::string RequestBuilder::DataUrl(const Media& media) {
  return "data:" + media.media_type + ";base64," + ToBase64(media.bytes);
}

void RequestBuilder::CheckMedia(const Media& media) {
  const int sources = int{!media.url.empty()} + int{!media.file_id.empty()} + int{!media.bytes.empty()};
  if (media.blob) {
    Refuse(sources > 0 ? "an image or a document needs exactly one of url, file_id, blob and bytes"
                       : "a client has no store to look for a blob in: call by ChatActivity, or give it the bytes");
  } else if (sources != 1) {
    Refuse("an image or a document needs exactly one of url, file_id, blob and bytes");
  }
  if (!media.bytes.empty() && media.media_type.empty()) {
    Refuse("an image or a document with bytes needs its media_type");
  }
}

void RequestBuilder::Refuse(std::string why) {
  if (!error_) error_ = MakeError(ErrorClass::kBadRequest, std::move(why));
}

std::variant<std::string, Error> RequestBuilder::Finish(std::string_view extra, bool stream) {
  if (root["model"] == "") Refuse("the request names no model");
  if (root["messages"].empty()) Refuse("the request has no messages");
  Apply(extra);
  root["stream"] = stream;  // whatever `extra` says: the reader must know
  return Encode();
}

void RequestBuilder::Apply(std::string_view extra) {
  if (!extra.empty()) root.update(ParseObject(extra, "extra"));
}

std::variant<std::string, Error> RequestBuilder::Encode() {
  if (error_) return *std::move(error_);
  auto body = marathon::detail::CatchingConversion(
      "to JSON", [&]() -> StatusOr<std::string> { return root.dump(); });
  if (!body.ok()) return MakeError(ErrorClass::kBadRequest, "the request has text that is not UTF-8");
  return *std::move(body);
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
