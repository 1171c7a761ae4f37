// Layouts: each persisted struct names its members once, in the order of their bytes, and the
// encoder, the decoder and the JSON export all walk that one list (value_fields.h, event_fields.h,
// row_fields.h).
//
//   template <>
//   struct Layout<TimerFired> {
//     static constexpr auto fields = std::tuple{Field{"timer", &TimerFired::timer}};
//   };
//
// A layout with `sparse = true` writes a bit mask and then only the members that differ from a
// default struct. How each type of member is written: docs/event_format.md.
#pragma once

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/wire.h"
#include "marathon/id.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

template <class Struct, class Member>
struct Field {
  const char* name;
  Member Struct::* member;
};

// A member, at the end of an event or a row, that its first version did not have: it has its default where the bytes
// end before it.
template <class Struct, class Member>
struct AddedField {
  const char* name;
  Member Struct::* member;
};
template <class T>
inline constexpr bool kIsAdded = false;
template <class Struct, class Member>
inline constexpr bool kIsAdded<AddedField<Struct, Member>> = true;

template <class T>
struct Layout;

template <class T>
concept HasLayout = requires { Layout<T>::fields; };

template <class T>
concept IsSparse = requires { requires Layout<T>::sparse; };

// The persisted range of an enum: what a reader accepts. Specialised beside the layouts.
template <class Enum>
struct EnumRange;

// Only a failure's causes nest without a natural end. Deeper ones are cut when written and refused
// when read, so that no bytes can exhaust the stack.
inline constexpr int kMaxDepth = 64;

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <class T, class Visit>
void ForEachField(Visit&& visit) {
  std::apply([&](const auto&... field) { (visit(field), ...); }, Layout<T>::fields);
}

template <class T>
const T& DefaultOf() {
  static const T kDefault{};
  return kDefault;
}

// Bit i: field i of the sparse struct `value` is not at its default.
template <IsSparse T>
uint64_t MaskOf(const T& value) {
  uint64_t mask = 0;
  int bit = 0;
  ForEachField<T>([&](const auto& field) {
    mask |= uint64_t{!(value.*field.member == DefaultOf<T>().*field.member)} << bit++;
  });
  return mask;
}

// ---- Writing. Sink: Sizer or Writer.

template <class Sink, class T>
void Put(Sink& sink, const T& value);

template <class Sink, class T>
void PutStruct(Sink& sink, const T& value) {
  if constexpr (IsSparse<T>) {
    const uint64_t mask = MaskOf(value);
    sink.Varint(mask);
    if (mask == 0) return;
    int bit = 0;
    ForEachField<T>([&](const auto& field) {
      if ((mask >> bit++) & 1) Put(sink, value.*field.member);
    });
  } else {
    ForEachField<T>([&](const auto& field) { Put(sink, value.*field.member); });
  }
}

template <class Sink, class T>
void PutSequence(Sink& sink, const std::vector<T>& values) {
  if (HasLayout<T> && sink.depth >= kMaxDepth) return sink.Varint(0);
  sink.Varint(values.size());
  ++sink.depth;
  for (const T& value : values) Put(sink, value);
  --sink.depth;
}

template <class Sink, class T>
void Put(Sink& sink, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    sink.Byte(value ? 1 : 0);
  } else if constexpr (std::is_enum_v<T>) {
    static_assert(sizeof(T) == 1);
    sink.Byte(static_cast<uint8_t>(value));
  } else if constexpr (std::is_unsigned_v<T>) {
    sink.Varint(value);
  } else if constexpr (std::is_integral_v<T>) {
    sink.Varint(ZigZag(value));
  } else if constexpr (std::is_same_v<T, double>) {
    sink.Fixed64(std::bit_cast<uint64_t>(value));
  } else if constexpr (std::is_same_v<T, Time>) {
    sink.Fixed64(static_cast<uint64_t>(ToMicros(value)));
  } else if constexpr (std::is_same_v<T, Duration>) {
    sink.Varint(ZigZag(value.count()));
  } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, Id>) {
    sink.Varint(value.size());
    sink.Bytes(value);
  } else if constexpr (std::is_same_v<T, std::pair<std::string, std::string>>) {
    Put(sink, value.first);
    Put(sink, value.second);
  } else if constexpr (kIsOptional<T>) {
    sink.Byte(value.has_value() ? 1 : 0);
    if (value.has_value()) Put(sink, *value);
  } else if constexpr (kIsVector<T>) {
    PutSequence(sink, value);
  } else {
    static_assert(HasLayout<T>, "a persisted struct needs a Layout");
    PutStruct(sink, value);
  }
}

template <class T>
size_t SizeOf(const T& value) {
  Sizer sizer;
  Put(sizer, value);
  return sizer.size();
}

// ---- Reading. On failure the reader says so, and `value` is valid and of no meaning.

template <class T>
void Get(Reader& reader, T& value);

template <class T>
void GetStruct(Reader& reader, T& value) {
  if constexpr (IsSparse<T>) {
    uint64_t mask = reader.Varint();
    if (mask >> std::tuple_size_v<decltype(Layout<T>::fields)> != 0) {
      return reader.Fail("has a field that a newer Marathon wrote");
    }
    ForEachField<T>([&](const auto& field) {
      if (mask & 1) Get(reader, value.*field.member);
      mask >>= 1;
    });
  } else {
    ForEachField<T>([&](const auto& field) {
      const bool is_older = kIsAdded<std::decay_t<decltype(field)>> && reader.remaining() == 0;
      if (!is_older) Get(reader, value.*field.member);
    });
  }
}

// Appends one by one: the count is only a claim, and each element takes at least a byte.
template <class T>
void GetSequence(Reader& reader, std::vector<T>& values) {
  uint64_t count = reader.Varint();
  if (count > reader.remaining()) return reader.Fail("ends too early");
  if (HasLayout<T> && count > 0 && reader.depth >= kMaxDepth) return reader.Fail("nests too deep");
  values.clear();
  ++reader.depth;
  for (; count > 0 && reader.ok(); --count) Get(reader, values.emplace_back());
  --reader.depth;
}

template <class Int>
Int Narrow(Reader& reader, auto wide) {
  if (!std::in_range<Int>(wide)) return reader.Fail("holds a number out of range"), Int{0};
  return static_cast<Int>(wide);
}

inline bool GetBool(Reader& reader) {
  const uint8_t byte = reader.Byte();
  if (byte > 1) reader.Fail("holds neither yes nor no");
  return byte == 1;
}

template <class Enum>
Enum GetEnum(Reader& reader) {
  const uint8_t byte = reader.Byte();
  const auto value = static_cast<Enum>(byte);
  if (reader.ok() && (value < EnumRange<Enum>::first || value > EnumRange<Enum>::last)) {
    reader.Fail("holds an unknown enumerator");
  }
  return reader.ok() ? value : EnumRange<Enum>::first;
}

template <class T>
void Get(Reader& reader, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    value = GetBool(reader);
  } else if constexpr (std::is_enum_v<T>) {
    value = GetEnum<T>(reader);
  } else if constexpr (std::is_unsigned_v<T>) {
    value = Narrow<T>(reader, reader.Varint());
  } else if constexpr (std::is_integral_v<T>) {
    value = Narrow<T>(reader, UnZigZag(reader.Varint()));
  } else if constexpr (std::is_same_v<T, double>) {
    value = std::bit_cast<double>(reader.Fixed64());
  } else if constexpr (std::is_same_v<T, Time>) {
    value = FromMicros(static_cast<int64_t>(reader.Fixed64()));
  } else if constexpr (std::is_same_v<T, Duration>) {
    value = Duration(UnZigZag(reader.Varint()));
  } else if constexpr (std::is_same_v<T, std::string>) {
    const uint64_t size = reader.Varint();
    value.assign(reader.Bytes(size));
  } else if constexpr (std::is_same_v<T, Id>) {
    const uint64_t size = reader.Varint();
    value = reader.Bytes(size);
  } else if constexpr (std::is_same_v<T, std::pair<std::string, std::string>>) {
    Get(reader, value.first);
    Get(reader, value.second);
  } else if constexpr (kIsOptional<T>) {
    value.reset();
    if (GetBool(reader)) Get(reader, value.emplace());
  } else if constexpr (kIsVector<T>) {
    GetSequence(reader, value);
  } else {
    static_assert(HasLayout<T>, "a persisted struct needs a Layout");
    GetStruct(reader, value);
  }
}

}  // namespace marathon::inline MARATHON_ABI::detail
