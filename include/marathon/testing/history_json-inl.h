#pragma once

#include "marathon/testing/history_json.h"

#include <fmt/format.h>

#include <type_traits>
#include <utility>

#include "marathon/testing/layout_json.h"

namespace marathon::inline MARATHON_ABI::testing {
namespace detail {

MARATHON_INLINE Json EventToJson(const Event& event) {
  Json json{{"id", event.id}, {"type", marathon::ToString(TypeOf(event.body))}};
  std::visit([&](const auto& body) { json.update(ToJson(body)); }, event.body);
  return json;
}

MARATHON_INLINE void EventFromJson(const Json& json, EventId next, JsonReader& reader,
                                   Event& event) {
  if (!json.is_object()) return reader.Fail("should be an object");
  event.id = next;
  if (json.contains("id") && json["id"] != next) {
    return reader.Fail(fmt::format("has id {} where {} should follow", json["id"].dump(), next));
  }
  const Json type = json.value("type", Json());
  const bool known = marathon::detail::AnyEventType([&]<class T>(std::in_place_type_t<T>) {
    if (type != Layout<T>::name) return false;
    reader.GetStruct(json, event.body.emplace<T>(), {"id", "type"});
    return true;
  });
  if (!known) reader.Fail(fmt::format("unknown event type {}", type.dump()));
}

}  // namespace detail

MARATHON_INLINE std::string HistoryToJson(const History& history, const RunKey& run) {
  detail::Json events = detail::Json::array();
  for (const Event& event : history) events.push_back(detail::EventToJson(event));
  detail::Json json;
  if (!run.workflow_id.empty()) json["workflow_id"] = run.workflow_id.str();
  if (!run.run_id.empty()) json["run_id"] = run.run_id.str();
  json["events"] = std::move(events);
  return json.dump(2) + "\n";
}

MARATHON_INLINE StatusOr<RunKey> RunFromJson(std::string_view text) {
  const detail::Json json = detail::Json::parse(text, nullptr, false);
  if (!json.is_object()) return InvalidArgument("history: this is not a JSON object");
  for (const char* name : {"workflow_id", "run_id"}) {
    if (!json.contains(name) || json[name].is_string()) continue;
    return InvalidArgument(fmt::format("history: {} should be a string", name));
  }
  return RunKey{json.value("workflow_id", std::string()), json.value("run_id", std::string())};
}

MARATHON_INLINE StatusOr<History> HistoryFromJson(std::string_view text) {
  const detail::Json json = detail::Json::parse(text, nullptr, false);
  if (json.is_discarded()) return InvalidArgument("history: this is not JSON");
  if (!json.is_object() || !json.contains("events") || !json["events"].is_array()) {
    return InvalidArgument("history: should be an object with an array \"events\"");
  }
  const detail::Json& events = json["events"];
  History history;
  detail::JsonReader reader;
  for (size_t i = 0; i < events.size() && reader.ok(); ++i) {
    const EventId next = history.empty() ? 1 : history.back().id + 1;
    reader.Nested(fmt::format("events[{}]", i),
                  [&] { detail::EventFromJson(events[i], next, reader, history.emplace_back()); });
  }
  if (!reader.ok()) return InvalidArgument(reader.error());
  return history;
}

}  // namespace marathon::inline MARATHON_ABI::testing
