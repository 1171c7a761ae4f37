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

MARATHON_INLINE bool Registry::IsPinned(std::string_view workflow) const { return pinned_.contains(workflow); }

MARATHON_INLINE bool Registry::has_activities(bool asynchronous) const {
  return interceptor_ ? interceptor_->asynchronous == asynchronous : asynchronous ? has_asynchronous_ : has_blocking_;
}

MARATHON_INLINE void Registry::AddBuiltIn(std::string_view name, detail::WorkflowFactory factory) {
  workflows_.insert_or_assign(std::string(name), std::move(factory));
}

MARATHON_INLINE void Registry::AddBuiltIn(std::string_view name, detail::ActivityEntry entry) {
  activities_.insert_or_assign(std::string(name), std::move(entry));
}

MARATHON_INLINE void Registry::InterceptActivities(detail::ActivityEntry entry) {
  interceptor_ = std::move(entry);
  has_activities_ = true;
}

MARATHON_INLINE void Registry::AddMistake(std::string_view mistake) { (mistakes_ += mistake) += "; "; }

MARATHON_INLINE const std::string* Registry::FindTransactionalElsewhere(std::string_view kind) const {
  if (interceptor_) return nullptr;
  for (const auto& [name, entry] : activities_) {
    if (!entry.transactions.empty() && entry.transactions != kind) return &name;
  }
  return nullptr;
}

MARATHON_INLINE std::string Registry::WorkflowNames() const {
  std::string names;
  for (const auto& [name, factory] : workflows_) {
    if (name.starts_with(kReservedNames)) continue;
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", name);
  }
  return names;
}

MARATHON_INLINE void Registry::AddWorkflow(std::string_view name, detail::WorkflowFactory factory,
                                           WorkflowOptions options) {
  has_workflows_ = true;
  if (options.versioning == Versioning::kPinned) pinned_.emplace(name);
  CheckName("workflow", name, workflows_.emplace(name, std::move(factory)).second);
}

MARATHON_INLINE void Registry::AddActivity(std::string_view name, detail::ActivityEntry entry) {
  has_activities_ = true;
  (entry.asynchronous ? has_asynchronous_ : has_blocking_) = true;
  CheckName("activity", name, activities_.emplace(name, std::move(entry)).second);
}

MARATHON_INLINE void Registry::Limit(std::string_view name, const ActivityLimits& limits, bool workflow) {
  if (limits.max_concurrent == 0 && limits.max_per_second == 0) return;
  if (workflow) {
    mistakes_ += fmt::format("the workflow \"{}\" is bound with limits, which only activities have; ", name);
  } else if (limits.max_concurrent < 0 || !(limits.max_per_second >= 0)) {
    mistakes_ += fmt::format("the limits of the activity \"{}\" must not be negative; 0 is none; ", name);
  } else {
    limits_.insert_or_assign(std::string(name), limits);
  }
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
