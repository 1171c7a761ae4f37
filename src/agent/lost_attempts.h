// LostAttempts: attempts at a step of the model that came to nothing, and may have been paid for all the same: they failed
// behind the request, or their worker died. Failures of a step have them as their details.
//
// The engine counts attempts and deaths. Failures that have cost nothing, since the provider turned the request away,
// are counted off in the details of heartbeats; where those are lost, too many are taken for lost, and never too few. A
// shutdown is no failure to the engine: it counts as one less that was free.
//
// Functions and a value; safe from any thread.
#pragma once

#include <charconv>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/llm/error.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

struct LostAttempts {
  int count = 0;
};
inline void to_json(nlohmann::json& to, const LostAttempts& lost) { to = {{"attempts_lost", lost.count}}; }
inline void from_json(const nlohmann::json& from, LostAttempts& lost) { from.at("attempts_lost").get_to(lost.count); }

// What turned the request away, or never got it, has read none of it.
inline bool MayHaveCost(const llm::Error& error) {
  if (error.partial) return true;
  if (!error.sent) return false;
  switch (error.error_class) {
    case llm::ErrorClass::kTransient:
    case llm::ErrorClass::kTruncated:
    case llm::ErrorClass::kTimeout:
    case llm::ErrorClass::kCanceled: return error.http_status < 400;
    default: return false;
  }
}

// As heartbeats have it: behind what else they say.
inline constexpr std::string_view kFreeMark = "\nfree ";

inline int FreeAttempts(const ActivityContext& ctx) {
  const auto kept = ctx.LastHeartbeat<std::string>();
  if (!kept.ok()) return 0;
  const size_t mark = kept->find(kFreeMark);
  if (mark == std::string::npos) return 0;
  int count = 0;
  std::from_chars(kept->data() + mark + kFreeMark.size(), kept->data() + kept->size(), count);
  return count;
}
inline std::string WithFree(std::string details, int count) {
  return count == 0 ? details : std::move(details) + std::string(kFreeMark) + std::to_string(count);
}

// Before this delivery.
inline int LostBefore(const ActivityContext& ctx) {
  return ctx.attempt() - 1 - FreeAttempts(ctx) + ctx.info().deliveries;
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
