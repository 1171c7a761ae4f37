// RedisTables::Ask, for the files that define RedisTables.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "tables.h"

namespace marathon::inline MARATHON_ABI::detail {

template <class... Args>
const RedisTables::Answer* RedisTables::Ask(std::string_view name, std::string_view key,
                                            const Args&... args) {
  RedisCommand call(name, key);
  (call.Add(args), ...);
  std::string bytes = call.Bytes();
  if (const auto found = answers_.find(bytes); found != answers_.end()) return &found->second;
  if (std::find(asked_.begin(), asked_.end(), bytes) == asked_.end()) {
    reads_.Read(name, key, args...);
    asked_.push_back(std::move(bytes));
  }
  return nullptr;
}

}  // namespace marathon::inline MARATHON_ABI::detail
