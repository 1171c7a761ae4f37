#pragma once

#include "marathon/registry.h"

#include <fmt/format.h>

#include "marathon/detail/text.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE const detail::WorkflowFactory* Registry::FindWorkflow(std::string_view name) const {
  const auto found = workflows_.find(name);
  return found == workflows_.end() ? nullptr : &found->second;
}

MARATHON_INLINE const detail::ActivityEntry* Registry::FindActivity(std::string_view name) const {
  if (interceptor_ && !IsBuiltIn(name)) return &*interceptor_;
  // What follows the slash of a built-in one is for people and for replays.
  if (IsBuiltIn(name)) name = name.substr(0, name.find('/'));
  const auto found = activities_.find(name);
  return found == activities_.end() ? nullptr : &found->second;
}

MARATHON_INLINE std::string Registry::WorkflowNames() const {
  std::string names;
  for (const auto& [name, factory] : workflows_) {
    if (name.starts_with(kReservedNames)) continue;
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", name);
  }
  return names;
}

MARATHON_INLINE void Registry::AddWorkflow(std::string_view name, detail::WorkflowFactory factory) {
  has_workflows_ = true;
  CheckName("workflow", name, workflows_.emplace(name, std::move(factory)).second);
}

MARATHON_INLINE void Registry::AddActivity(std::string_view name, detail::ActivityEntry entry) {
  has_activities_ = true;
  CheckName("activity", name, activities_.emplace(name, std::move(entry)).second);
}

MARATHON_INLINE void Registry::CheckName(std::string_view what, std::string_view name, bool is_new) {
  if (name.empty() || name.size() > limits::kMaxNameBytes) {
    mistakes_ += fmt::format("the {} name \"{}\" must have 1 to {} bytes; ", what,
                             name.substr(0, 64), limits::kMaxNameBytes);
  } else if (!detail::IsCleanText(name)) {
    mistakes_ += fmt::format("a {} name must be UTF-8 without control characters; ", what);
  } else if (name.starts_with(kReservedNames)) {
    mistakes_ += fmt::format("the {} \"{}\" needs another name: \"{}\" begins the library's own; ", what,
                             name, kReservedNames);
  } else if (!is_new) {
    mistakes_ += fmt::format("the {} \"{}\" is bound twice; ", what, name);
  }
}

}  // namespace marathon::inline MARATHON_ABI
