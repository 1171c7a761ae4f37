#pragma once

#include "marathon/labels.h"

#include <fmt/format.h>

#include <algorithm>

#include "marathon/detail/text.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// The place of `name`, or where it would be.
inline auto PlaceOf(auto& labels, std::string_view name) {
  return std::lower_bound(labels.begin(), labels.end(), name,
                          [](const auto& label, std::string_view wanted) { return label.first < wanted; });
}

MARATHON_INLINE void SetLabels(Labels& labels, const Labels& changes) {
  for (const auto& [name, text] : changes) {
    const auto place = PlaceOf(labels, name);
    const bool there = place != labels.end() && place->first == name;
    if (!there && !text.empty()) {
      labels.emplace(place, name, text);
    } else if (there && text.empty()) {
      labels.erase(place);
    } else if (there) {
      place->second = text;
    }
  }
}

MARATHON_INLINE bool HasLabels(const Labels& labels, const Labels& wanted) {
  return std::ranges::all_of(
      wanted, [&](const auto& label) { return std::ranges::find(labels, label) != labels.end(); });
}

inline Status CheckLabel(std::string_view what, std::string_view name, std::string_view text) {
  if (name.empty() || name.size() > limits::kMaxNameBytes || !IsCleanText(name)) {
    return InvalidArgument(
        fmt::format("the name of a label ({}) must have 1 to {} bytes of UTF-8 without control characters", what,
                    limits::kMaxNameBytes));
  }
  if (text.size() <= limits::kMaxLabelBytes && IsCleanText(text)) return {};
  return InvalidArgument(
      fmt::format("the text of {} \"{}\" must be UTF-8 without control characters, of at most {} bytes", what, name,
                  limits::kMaxLabelBytes));
}

MARATHON_INLINE Status CheckLabels(std::string_view what, const Labels& labels) {
  size_t bytes = 0;
  std::vector<std::string_view> names;
  for (const auto& [name, text] : labels) {
    if (Status s = CheckLabel(what, name, text); !s.ok()) return s;
    bytes += name.size() + text.size();
    names.push_back(name);
  }
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    return InvalidArgument(fmt::format("{} \"{}\" is there twice", what, *twice));
  }
  if (labels.size() <= limits::kMaxLabels && bytes <= limits::kMaxLabelsBytes) return {};
  return ResourceExhausted(
      fmt::format("{}s: {} with {} bytes, over the limits of {} and {}; what is large belongs in the input or a blob",
                  what, labels.size(), bytes, limits::kMaxLabels, limits::kMaxLabelsBytes));
}

}  // namespace detail

MARATHON_INLINE std::string_view LabelOf(const Labels& labels, std::string_view name) {
  const auto found = std::ranges::find(labels, name, [](const auto& label) -> std::string_view { return label.first; });
  return found == labels.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace marathon::inline MARATHON_ABI
