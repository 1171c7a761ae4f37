// Requests and responses as JSON, for marathon::Encode and Decode. What is written is kept in histories: names
// and words never change, what has its default is left out, and what is not known is ignored.
//
// Functions only; safe from any thread. They throw, as conversions do.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/embed.h"
#include "marathon/llm/message.h"

namespace marathon::inline MARATHON_ABI::llm {

MARATHON_EXPORT void to_json(nlohmann::json& json, const Message& message);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Message& message);
MARATHON_EXPORT void to_json(nlohmann::json& json, const Tool& tool);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Tool& tool);
MARATHON_EXPORT void to_json(nlohmann::json& json, const Usage& usage);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Usage& usage);
MARATHON_EXPORT void to_json(nlohmann::json& json, const ChatRequest& request);
MARATHON_EXPORT void from_json(const nlohmann::json& json, ChatRequest& request);
MARATHON_EXPORT void to_json(nlohmann::json& json, const ChatResponse& response);
MARATHON_EXPORT void from_json(const nlohmann::json& json, ChatResponse& response);
MARATHON_EXPORT void to_json(nlohmann::json& json, const EmbedRequest& request);
MARATHON_EXPORT void from_json(const nlohmann::json& json, EmbedRequest& request);
MARATHON_EXPORT void to_json(nlohmann::json& json, const EmbedResponse& response);
MARATHON_EXPORT void from_json(const nlohmann::json& json, EmbedResponse& response);

}  // namespace marathon::inline MARATHON_ABI::llm
