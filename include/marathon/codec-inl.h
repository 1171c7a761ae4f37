#pragma once

#include "marathon/codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "marathon/detail/text.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

// Why `value` has no JSON text of ours; empty if it has. Recursion ends at the depth limit.
MARATHON_INLINE std::string_view JsonObjection(const nlohmann::json& value, int depth) {
  if (depth > limits::kJsonMaxDepth) return "it is nested deeper than 128 levels";
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    return "it holds NaN or infinity";
  }
  if (value.is_structured()) {
    for (const auto& element : value) {
      if (auto objection = JsonObjection(element, depth + 1); !objection.empty()) return objection;
    }
  }
  return {};
}

// The deepest nesting of brackets outside strings: checked before parsing, as the parser's document
// is destroyed recursively.
MARATHON_INLINE int JsonDepth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

MARATHON_INLINE StatusOr<Payload> DumpJson(const nlohmann::json& value) {
  if (auto objection = JsonObjection(value, 0); !objection.empty()) {
    return InvalidArgument(fmt::format("cannot write the value as JSON: {}", objection));
  }
  Payload payload{value.dump(), Encoding::kJson};
  if (payload.data.size() > limits::kPayloadMaxBytes) {
    return ResourceExhausted(fmt::format(
        "the value is {} bytes of JSON, over the limit of {}; keep large data in a file or an object "
        "store and pass its name",
        payload.data.size(), limits::kPayloadMaxBytes));
  }
  return payload;
}

inline bool IsItsOwnJson(std::string_view text) {
  return text.find('"') == text.npos && text.find('\\') == text.npos && IsCleanText(text);
}

MARATHON_INLINE bool EncodePlainText(std::string_view text, Payload& payload) {
  if (text.size() + 2 > limits::kPayloadMaxBytes || !IsItsOwnJson(text)) return false;
  payload.data.reserve(text.size() + 2);
  payload.data.append(1, '"').append(text).append(1, '"');
  payload.encoding = Encoding::kJson;
  return true;
}

MARATHON_INLINE bool DecodePlainText(const Payload& payload, std::string& text) {
  const std::string_view json = payload.data;
  if (payload.encoding != Encoding::kJson || json.size() < 2 || json.front() != '"' || json.back() != '"') return false;
  const std::string_view inside = json.substr(1, json.size() - 2);
  if (!IsItsOwnJson(inside)) return false;
  text = inside;
  return true;
}

MARATHON_INLINE Status ParseJson(const Payload& payload, nlohmann::json* json) {
  if (payload.encoding == Encoding::kNone) return InvalidArgument("there is no value (void)");
  if (const std::string_view codec = SealedBy(payload); !codec.empty()) {
    return FailedPrecondition(fmt::format("the value is sealed by payload codec \"{}\", and this engine has not opened "
                                          "it: add that codec to its EngineOptions::payload_codecs", codec));
  }
  if (payload.encoding != Encoding::kJson) {
    return InvalidArgument(fmt::format("the payload's encoding {} is unknown to this build",
                                       static_cast<int>(payload.encoding)));
  }
  if (JsonDepth(payload.data) > limits::kJsonMaxDepth) {
    return InvalidArgument("the JSON is nested deeper than 128 levels");
  }
  *json = nlohmann::json::parse(payload.data, nullptr, /*allow_exceptions=*/false);
  return json->is_discarded() ? InvalidArgument("the payload is not valid UTF-8 JSON") : Status();
}

MARATHON_INLINE bool IsWithin(const nlohmann::json& integer, int64_t least, uint64_t most) {
  if (integer.is_number_unsigned()) return integer.get<uint64_t>() <= most;
  const int64_t value = integer.get<int64_t>();
  return value >= least && std::cmp_less_equal(value, most);
}

MARATHON_INLINE Status ConversionError(std::string_view what, const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    return InvalidArgument(fmt::format("conversion {} failed: {}", what, e.what()));
  } catch (...) {
    return InvalidArgument(
        fmt::format("conversion {} failed with an exception that is not a std::exception", what));
  }
}

}  // namespace marathon::inline MARATHON_ABI::detail
