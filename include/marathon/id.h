// Id: the text of a workflow's or a run's id. Like a std::string, to and from which it converts, but ids of
// up to 43 bytes, as those of UUIDs, are inside it: they are copied with every call to a store, often on
// one thread for another, and each copy would be an allocation.
//
// A value; no thread rule.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI {

class Id;

namespace detail {
// What converts to a view of text and is no Id: constrained so that no comparison is ambiguous.
template <class T>
concept OtherText = !std::same_as<T, Id> && std::convertible_to<const T&, std::string_view>;
}  // namespace detail

class Id {
 public:
  Id() { text_[0] = '\0'; }
  template <detail::OtherText T>
  Id(const T& text) {  // NOLINT(google-explicit-constructor)
    Set(text);
  }
  Id(const Id& other) {
    if (other.is_inside()) {
      std::memcpy(static_cast<void*>(this), &other, sizeof(Id));
    } else {
      Set(other);
    }
  }
  Id(Id&& other) noexcept {
    std::memcpy(static_cast<void*>(this), &other, sizeof(Id));
    other.size_ = 0;
    other.text_[0] = '\0';
  }
  Id& operator=(const Id& other) {
    if (this != &other) *this = Id(other);
    return *this;
  }
  Id& operator=(Id&& other) noexcept {
    if (this == &other) return *this;
    Drop();
    std::memcpy(static_cast<void*>(this), &other, sizeof(Id));
    other.size_ = 0;
    other.text_[0] = '\0';
    return *this;
  }
  template <detail::OtherText T>
  Id& operator=(const T& text) {
    return *this = Id(text);
  }
  ~Id() { Drop(); }

  const char* data() const { return is_inside() ? text_ : Outside(); }
  const char* c_str() const { return data(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() { *this = Id(); }
  std::string_view view() const { return {data(), size_}; }
  std::string str() const { return std::string(view()); }
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  operator std::string() const { return str(); }        // NOLINT(google-explicit-constructor)
  const char* begin() const { return data(); }
  const char* end() const { return data() + size_; }

  friend bool operator==(const Id& a, const Id& b) { return a.view() == b.view(); }
  friend auto operator<=>(const Id& a, const Id& b) { return a.view() <=> b.view(); }
  template <detail::OtherText T>
  friend bool operator==(const Id& a, const T& b) {
    return a.view() == std::string_view(b);
  }
  template <detail::OtherText T>
  friend auto operator<=>(const Id& a, const T& b) {
    return a.view() <=> std::string_view(b);
  }
  template <detail::OtherText T>
  friend std::string operator+(const Id& a, const T& b) {
    return a.str().append(std::string_view(b));
  }
  template <detail::OtherText T>
  friend std::string operator+(const T& a, const Id& b) {
    return std::string(std::string_view(a)).append(b.view());
  }
  friend std::string operator+(const Id& a, const Id& b) { return a.str().append(b.view()); }
  friend std::ostream& operator<<(std::ostream& out, const Id& id) { return out << id.view(); }
  friend std::string_view format_as(const Id& id) { return id.view(); }  // what fmt 10 formats

 private:
  static constexpr size_t kInside = 43;

  bool is_inside() const { return size_ <= kInside; }
  const char* Outside() const {
    const char* text;
    std::memcpy(&text, text_, sizeof(text));
    return text;
  }
  // REQUIRES: this is new.
  void Set(std::string_view text) {
    size_ = static_cast<uint32_t>(text.size());
    char* to = text_;
    if (!is_inside()) {
      to = new char[text.size() + 1];
      std::memcpy(text_, &to, sizeof(to));
    }
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    to[text.size()] = '\0';
  }
  void Drop() {
    if (!is_inside()) delete[] Outside();
  }

  uint32_t size_ = 0;
  char text_[kInside + 1];
};

}  // namespace marathon::inline MARATHON_ABI

template <>
struct std::hash<marathon::Id> {
  size_t operator()(const marathon::Id& id) const noexcept {
    return std::hash<std::string_view>()(id.view());
  }
};
