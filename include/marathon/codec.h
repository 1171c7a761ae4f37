// User values as payloads: JSON text through nlohmann's to_json/from_json. The only public header that
// includes the JSON library. Functions only; safe from any thread.
//
// Strict: invalid UTF-8, NaN and infinity, nesting over limits::kJsonMaxDepth, text over
// limits::kPayloadMaxBytes, a missing field or one of the wrong type are errors that no retry mends
// (kInvalidArgument, kResourceExhausted). An unknown field is ignored. `void` is the empty payload.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "marathon/config.h"
#include "marathon/payload.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

StatusOr<Payload> DumpJson(const nlohmann::json& value);
// Clean text without quotes and backslashes is its own JSON between quotes, and needs no document: false, it is not.
bool EncodePlainText(std::string_view text, Payload& payload);
bool DecodePlainText(const Payload& payload, std::string& text);
Status ParseJson(const Payload& payload, nlohmann::json* json);
bool IsWithin(const nlohmann::json& integer, int64_t least, uint64_t most);
Status ConversionError(std::string_view what, const std::exception_ptr& exception);

template <class T>
inline constexpr bool kPlainInteger = std::integral<T> && !std::same_as<T, bool> &&
                                      !std::same_as<T, char> && sizeof(T) <= 8;

// Calls `body` and turns what it throws into a status: user conversions may throw anything.
template <class Body>
auto CatchingConversion(std::string_view what, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    return ConversionError(what, std::current_exception());
  }
}

}  // namespace detail

template <class T>
StatusOr<Payload> Encode(const T& value) {
  if constexpr (detail::kPlainInteger<T>) {  // the common case needs no document
    char text[24];
    const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
    return Payload{std::string(text, end), Encoding::kJson};
  } else {
    if constexpr (std::same_as<T, std::string>) {
      if (Payload payload; detail::EncodePlainText(value, payload)) return payload;
    }
    return detail::CatchingConversion("to JSON", [&]() -> StatusOr<Payload> {
      return detail::DumpJson(nlohmann::json(value));
    });
  }
}

template <class T>
StatusOr<T> Decode(const Payload& payload) {
  if constexpr (detail::kPlainInteger<T>) {
    T value{};
    const char* end = payload.data.data() + payload.data.size();
    const auto [at, error] = std::from_chars(payload.data.data(), end, value);
    if (payload.encoding == Encoding::kJson && error == std::errc() && at == end) return value;
  }
  if constexpr (std::same_as<T, std::string>) {
    if (std::string text; detail::DecodePlainText(payload, text)) return text;
  }
  nlohmann::json json;
  if (Status parsed = detail::ParseJson(payload, &json); !parsed.ok()) return parsed;
  if constexpr (std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>) {
    // nlohmann would narrow in silence.
    if (!json.is_number_integer()) return InvalidArgument("the JSON value is not an integer");
    if (!detail::IsWithin(json, std::numeric_limits<T>::min(), std::numeric_limits<T>::max())) {
      return InvalidArgument("the JSON integer is out of the type's range");
    }
  }
  return detail::CatchingConversion("from JSON", [&]() -> StatusOr<T> {
    return json.get<T>();
  });
}

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/codec-inl.h"
#endif
