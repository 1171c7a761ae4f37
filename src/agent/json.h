// JSON of the parts that several kept forms have.
//
// Functions only; safe from any thread. Those that read throw.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "marathon/blob_store.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

inline nlohmann::json ToJson(const BlobRef& ref) { return {{"sha256", ref.sha256}, {"size", ref.size}}; }
inline BlobRef ToRef(const nlohmann::json& from) {
  return {from.at("sha256").get<std::string>(), from.at("size").get<uint64_t>()};
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
