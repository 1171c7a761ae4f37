#include "violations.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marathon::chaos {

Violations::Violations() {
  for (const char* name : {"liveness", "results", "starts", "answers", "history", "commits",
                           "replay", "signals", "pauses", "activities", "effects", "claims", "leftovers",
                           "dead letters", "crashes", "shutdown", "store"}) {
    by_invariant_.emplace_back(name, std::vector<std::string>());
  }
}

void Violations::Add(std::string_view invariant, std::string what) {
  for (auto& [name, list] : by_invariant_) {
    if (name == invariant) return list.push_back(std::move(what));
  }
  by_invariant_.emplace_back(invariant, std::vector<std::string>{std::move(what)});
}

int64_t Violations::count() const {
  int64_t sum = 0;
  for (const auto& [name, list] : by_invariant_) sum += static_cast<int64_t>(list.size());
  return sum;
}

std::string Violations::Summary() const {
  std::string text;
  for (const auto& [name, list] : by_invariant_) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", list.size(), name);
  }
  return text;
}

void Violations::Print() const {
  constexpr size_t kShown = 5;
  for (const auto& [name, list] : by_invariant_) {
    for (size_t i = 0; i < std::min(list.size(), kShown); ++i)
      fmt::print("VIOLATION {}: {}\n", name, list[i]);
    if (list.size() > kShown) fmt::print("VIOLATION {}: {} more\n", name, list.size() - kShown);
  }
}

}  // namespace marathon::chaos
