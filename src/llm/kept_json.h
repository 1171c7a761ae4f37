// How what is kept in histories becomes JSON: what has its default is left out, and enumerators are words.
//
// Functions only; safe from any thread. Those that read throw.
#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

template <class T>
void Put(nlohmann::json& to, const char* name, const T& value, const T& by_default = {}) {
  if (value != by_default) to[name] = value;
}
template <class T>
void Get(const nlohmann::json& from, const char* name, T& value) {
  if (const auto found = from.find(name); found != from.end()) found->get_to(value);
}

// By the enumerators' values, which never change.
template <class Enum, size_t kCount>
std::string WordOf(const std::array<std::string_view, kCount>& words, Enum value) {
  return std::string(words.at(static_cast<size_t>(value)));
}
template <class Enum, size_t kCount>
Enum EnumOf(const std::array<std::string_view, kCount>& words, const nlohmann::json& value,
            std::string_view what) {
  const auto& text = value.get_ref<const std::string&>();
  for (size_t i = 0; i < kCount; ++i) {
    if (words[i] == text) return static_cast<Enum>(i);
  }
  throw std::invalid_argument("\"" + text + "\" is no " + std::string(what));
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
