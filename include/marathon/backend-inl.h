#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <system_error>

#include "marathon/backend.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

inline int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// `what` names the part for the message; its text may be a secret and is not shown.
inline StatusOr<std::string> PercentDecode(std::string_view text, std::string_view what) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return InvalidArgument(fmt::format(
          "the URL's {} has a '%' without two hexadecimal digits; write a plain '%' as \"%25\"",
          what));
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  if (out.find('\0') != std::string::npos) {
    return InvalidArgument(fmt::format("the URL's {} has a zero byte", what));
  }
  return out;
}

inline Status DecodeInto(std::string& out, std::string_view text, std::string_view what) {
  StatusOr<std::string> decoded = PercentDecode(text, what);
  if (!decoded.ok()) return decoded.status();
  out = *std::move(decoded);
  return {};
}

// "user:password@host:port"
inline Status ParseAuthority(std::string_view text, BackendUrl& url) {
  if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
    const std::string_view info = text.substr(0, at);
    const size_t colon = info.find(':');
    if (Status s = DecodeInto(url.user, info.substr(0, colon), "user"); !s.ok()) return s;
    if (colon != std::string_view::npos) {
      if (Status s = DecodeInto(url.password, info.substr(colon + 1), "password"); !s.ok())
        return s;
    }
    text.remove_prefix(at + 1);
  }
  return DecodeInto(url.host, text, "host");
}

// "key=value&key=value"
inline Status ParseParameters(std::string_view text, BackendUrl& url) {
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    std::string key, value;
    if (Status s = DecodeInto(key, pair.substr(0, equals), "parameter name"); !s.ok()) return s;
    if (equals == std::string_view::npos || key.empty()) {
      return InvalidArgument("a parameter of the URL is not written key=value");
    }
    if (Status s = DecodeInto(value, pair.substr(equals + 1), key); !s.ok()) return s;
    if (url.Find(key)) return InvalidArgument(fmt::format("the URL has \"{}\" twice", key));
    url.parameters.emplace_back(std::move(key), std::move(value));
  }
  return {};
}

}  // namespace detail

MARATHON_INLINE std::optional<std::string_view> BackendUrl::Find(std::string_view key) const {
  for (const auto& [name, value] : parameters) {
    if (name == key) return value;
  }
  return std::nullopt;
}

MARATHON_INLINE Status BackendUrl::ReadNumber(std::string_view key, int64_t least, int64_t most,
                                              int64_t* value) const {
  const auto text = Find(key);
  if (!text) return {};
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  const bool whole = error == std::errc() && end == text->data() + text->size();
  if (!whole || number < least || number > most) {
    return InvalidArgument(fmt::format("{}={}: write a number from {} to {}", key, *text, least, most));
  }
  *value = number;
  return {};
}

MARATHON_INLINE Status BackendUrl::ReadMillis(std::string_view key, Duration least, Duration most,
                                              Duration* value) const {
  int64_t millis = value->count();
  if (Status status = ReadNumber(key, least.count(), most.count(), &millis); !status.ok()) {
    return InvalidArgument(fmt::format("{}, of milliseconds", MessageOf(status)));
  }
  *value = Duration(millis);
  return {};
}

MARATHON_INLINE Status
BackendUrl::CheckParameters(std::initializer_list<std::string_view> known) const {
  for (const auto& [name, value] : parameters) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (known.size() == 0) {
      return InvalidArgument(
          fmt::format("\"{}:\" takes no parameters, but has \"{}\"", scheme, name));
    }
    return InvalidArgument(fmt::format("\"{}:\" has no parameter \"{}\", only {}", scheme, name,
                                       fmt::join(known, ", ")));
  }
  return {};
}

MARATHON_INLINE StatusOr<BackendUrl> ParseBackendUrl(std::string_view text) {
  BackendUrl url;
  const size_t colon = text.find(':');
  const std::string_view scheme = text.substr(0, colon);
  const auto is_scheme_char = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.';
  };
  if (colon == std::string_view::npos || scheme.empty() ||
      !std::isalpha(static_cast<unsigned char>(scheme[0])) ||
      !std::all_of(scheme.begin(), scheme.end(), is_scheme_char)) {
    return InvalidArgument(
        "a backend URL begins with its scheme and a colon, as \"memory:\" or \"sqlite:app.db\"");
  }
  for (char c : scheme)
    url.scheme += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  text.remove_prefix(colon + 1);

  const size_t question = text.find('?');
  std::string_view location = text.substr(0, question);
  if (question != std::string_view::npos) {
    if (Status s = detail::ParseParameters(text.substr(question + 1), url); !s.ok()) return s;
  }
  if (location.substr(0, 2) == "//") {
    location.remove_prefix(2);
    const size_t slash = location.find('/');
    const std::string_view authority = location.substr(0, slash);
    if (Status s = detail::ParseAuthority(authority, url); !s.ok()) return s;
    location = slash == std::string_view::npos ? std::string_view() : location.substr(slash);
    if (!authority.empty() && !location.empty()) location.remove_prefix(1);
  }
  if (Status s = detail::DecodeInto(url.path, location, "path"); !s.ok()) return s;
  return url;
}

MARATHON_INLINE std::string ToString(const BackendUrl& url) {
  std::string out = url.scheme + ":";
  if (!url.host.empty()) out += "//" + url.host + (url.path.empty() ? "" : "/");
  out += url.path;
  char separator = '?';
  for (const auto& [key, value] : url.parameters) {
    out += fmt::format("{}{}={}", std::exchange(separator, '&'), key, value);
  }
  return out;
}

}  // namespace marathon::inline MARATHON_ABI
