// Reading JSON that others wrote: a field that is missing, or of another type, is a default.
//
// Pure functions; safe from any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/codec.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

// Discarded: the text is no JSON, or nested too deeply.
inline nlohmann::json ParseText(std::string_view text) {
  nlohmann::json json;
  const Status parsed = marathon::detail::ParseJson({std::string(text), Encoding::kJson}, &json);
  return parsed.ok() ? json : nlohmann::json(nlohmann::json::value_t::discarded);
}

// Null: `object` is none, or has no such field, or it is null.
inline const nlohmann::json* Find(const nlohmann::json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

inline std::string StringOf(const nlohmann::json& object, const char* name) {
  const nlohmann::json* found = Find(object, name);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

inline int64_t IntOf(const nlohmann::json& object, const char* name, int64_t by_default = 0) {
  const nlohmann::json* found = Find(object, name);
  return found != nullptr && found->is_number_integer() ? found->get<int64_t>() : by_default;
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
