// What a tool takes, as a struct: one line gives it its JSON and its JSON Schema, which the model reads.
//
//   enum class Unit { kCelsius, kKelvin };
//   MARATHON_TOOL_ENUM(Unit, (Unit::kCelsius, "celsius"), (Unit::kKelvin, "kelvin"))
//   struct Weather {
//     std::string city;
//     std::optional<Unit> unit;
//   };
//   MARATHON_TOOL_INPUT(Weather, (city, "a town, in English"), (unit, "of the temperature"))
//
// In the type's own namespace. Members may be bool, integers, floating point, std::string, enums and structs that
// have such a line, std::vector of these, and nlohmann::json, which is anything. std::optional ones may be missing,
// and others may not.
//
// Functions only; safe from any thread. Conversions throw.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::agent {

namespace internal {

struct IgnoreField {
  template <class Member>
  void operator()(const char*, const char*, Member&) const {}
};
template <class T>
concept HasFields = requires(T& value) { MarathonVisitFields(IgnoreField(), value); };
template <class T>
concept HasWords = requires(T value) { MarathonWordsOf(value); };

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;
template <class T>
inline constexpr bool kIsInteger = std::integral<T> && !std::same_as<T, bool>;

// ---- JSON

struct FieldWriter {
  nlohmann::json& to;
  template <class Member>
  void operator()(const char* name, const char*, const Member& member) const {
    if constexpr (kIsOptional<Member>) {
      if (member) to[name] = *member;
    } else {
      to[name] = member;
    }
  }
};

template <class T>
void ReadValue(const nlohmann::json& from, T& value) {
  if constexpr (kIsInteger<T>) {  // nlohmann would narrow in silence
    if (!from.is_number_integer()) throw std::invalid_argument("an integer is wanted");
    const bool fits = from.is_number_unsigned() ? std::in_range<T>(from.get<uint64_t>())
                                                : std::in_range<T>(from.get<int64_t>());
    if (!fits) throw std::invalid_argument(from.dump() + " is out of range");
    from.get_to(value);
  } else if constexpr (kIsVector<T>) {
    if (!from.is_array()) throw std::invalid_argument("a list is wanted");
    value.clear();
    for (const nlohmann::json& one : from) {
      typename T::value_type element{};
      ReadValue(one, element);
      value.push_back(std::move(element));
    }
  } else {
    from.get_to(value);
  }
}

struct FieldReader {
  const nlohmann::json& from;
  template <class Member>
  void operator()(const char* name, const char*, Member& member) const {
    const auto found = from.find(name);
    if constexpr (kIsOptional<Member>) {
      member.reset();
      if (found != from.end() && !found->is_null()) ReadValue(*found, member.emplace());
    } else {
      if (found == from.end()) throw std::invalid_argument(std::string(name) + " is missing");
      ReadValue(*found, member);
    }
  }
};

template <class T>
void WriteWord(nlohmann::json& to, T value) {
  for (const auto& [known, word] : MarathonWordsOf(value)) {
    if (known == value) to = word;
  }
}
template <class T>
void ReadWord(const nlohmann::json& from, T& value) {
  const auto& text = from.get_ref<const std::string&>();
  for (const auto& [known, word] : MarathonWordsOf(T())) {
    if (word != text) continue;
    value = known;
    return;
  }
  throw std::invalid_argument("\"" + text + "\" is none of the words");
}

// ---- Schemas: ordered, so that a model reads members as they are declared

template <class T>
nlohmann::ordered_json SchemaOf();

struct FieldSchemas {
  nlohmann::ordered_json& schema;
  template <class Member>
  void operator()(const char* name, const char* description, Member&) const {
    nlohmann::ordered_json field;
    if constexpr (kIsOptional<Member>) {
      field = SchemaOf<typename Member::value_type>();
    } else {
      field = SchemaOf<Member>();
      schema["required"].push_back(name);
    }
    field["description"] = description;
    schema["properties"][name] = std::move(field);
  }
};

template <class T>
nlohmann::ordered_json SchemaOf() {
  nlohmann::ordered_json schema = nlohmann::ordered_json::object();
  if constexpr (std::same_as<T, bool>) {
    schema["type"] = "boolean";
  } else if constexpr (std::integral<T>) {
    schema["type"] = "integer";
    if (std::is_unsigned_v<T>) schema["minimum"] = 0;
  } else if constexpr (std::floating_point<T>) {
    schema["type"] = "number";
  } else if constexpr (std::same_as<T, std::string>) {
    schema["type"] = "string";
  } else if constexpr (kIsVector<T>) {
    schema["type"] = "array";
    schema["items"] = SchemaOf<typename T::value_type>();
  } else if constexpr (HasWords<T>) {
    schema["type"] = "string";
    for (const auto& entry : MarathonWordsOf(T())) schema["enum"].push_back(entry.second);
  } else if constexpr (HasFields<T>) {
    schema["type"] = "object";
    schema["properties"] = nlohmann::ordered_json::object();
    schema["required"] = nlohmann::ordered_json::array();
    schema["additionalProperties"] = false;
    T value{};
    MarathonVisitFields(FieldSchemas{schema}, value);
  } else {
    static_assert(std::same_as<T, nlohmann::json>,
                  "Marathon: this type has no JSON Schema; give it a MARATHON_TOOL_INPUT or MARATHON_TOOL_ENUM");
  }
  return schema;
}

}  // namespace internal

// The schema of a type that has a line of these, or is made of such, as text.
template <class T>
std::string SchemaTextOf() {
  return internal::SchemaOf<T>().dump();
}

}  // namespace marathon::inline MARATHON_ABI::agent

// macro(a, b) for each (a, b) of a list; up to about 80.
#define MARATHON_AGENT_PARENS ()
#define MARATHON_AGENT_EXPAND(...) \
  MARATHON_AGENT_EXPAND3(MARATHON_AGENT_EXPAND3(MARATHON_AGENT_EXPAND3(__VA_ARGS__)))
#define MARATHON_AGENT_EXPAND3(...) \
  MARATHON_AGENT_EXPAND2(MARATHON_AGENT_EXPAND2(MARATHON_AGENT_EXPAND2(__VA_ARGS__)))
#define MARATHON_AGENT_EXPAND2(...) \
  MARATHON_AGENT_EXPAND1(MARATHON_AGENT_EXPAND1(MARATHON_AGENT_EXPAND1(__VA_ARGS__)))
#define MARATHON_AGENT_EXPAND1(...) __VA_ARGS__
#define MARATHON_AGENT_EACH(macro, ...) \
  __VA_OPT__(MARATHON_AGENT_EXPAND(MARATHON_AGENT_EACH_STEP(macro, __VA_ARGS__)))
#define MARATHON_AGENT_EACH_STEP(macro, first, ...) \
  macro first __VA_OPT__(MARATHON_AGENT_EACH_AGAIN MARATHON_AGENT_PARENS(macro, __VA_ARGS__))
#define MARATHON_AGENT_EACH_AGAIN() MARATHON_AGENT_EACH_STEP

// Parameters have names that hide none of yours.
#define MARATHON_AGENT_FIELD(member, description) \
  marathon_visitor(#member, description, marathon_value.member);
#define MARATHON_TOOL_INPUT(Type, ...)                                              \
  template <class Visitor, class Value>                                             \
    requires std::same_as<std::remove_const_t<Value>, Type>                         \
  void MarathonVisitFields(const Visitor& marathon_visitor, Value& marathon_value) { \
    MARATHON_AGENT_EACH(MARATHON_AGENT_FIELD, __VA_ARGS__)                        \
  }                                                                                 \
  [[maybe_unused]] inline void to_json(nlohmann::json& marathon_json, const Type& marathon_value) { \
    marathon_json = nlohmann::json::object();                                       \
    MarathonVisitFields(::marathon::agent::internal::FieldWriter{marathon_json}, marathon_value); \
  }                                                                                 \
  [[maybe_unused]] inline void from_json(const nlohmann::json& marathon_json, Type& marathon_value) { \
    MarathonVisitFields(::marathon::agent::internal::FieldReader{marathon_json}, marathon_value); \
  }

#define MARATHON_AGENT_WORD(value, word) {value, word},
#define MARATHON_TOOL_ENUM(Type, ...)                                               \
  [[maybe_unused]] inline std::vector<std::pair<Type, std::string>> MarathonWordsOf(Type) { \
    return {MARATHON_AGENT_EACH(MARATHON_AGENT_WORD, __VA_ARGS__)};               \
  }                                                                                 \
  [[maybe_unused]] inline void to_json(nlohmann::json& marathon_json, Type marathon_value) { \
    ::marathon::agent::internal::WriteWord(marathon_json, marathon_value);          \
  }                                                                                 \
  [[maybe_unused]] inline void from_json(const nlohmann::json& marathon_json, Type& marathon_value) { \
    ::marathon::agent::internal::ReadWord(marathon_json, marathon_value);           \
  }
