// Histories as JSON text, for people to read, to keep beside a test as a golden history, and to
// write by hand. Every field survives the way there and back.
//
//   {"workflow_id": "…", "run_id": "…", "events": [
//     {"id": 1, "type": "TurnStarted", "time": "2026-11-23T08:00:00.000000Z", "build_id": "…", …},
//     {"id": 2, "type": "WorkflowStarted", "workflow_type": "Checkout", …}, …]}
//
// Functions only; safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::testing {

// `run` is left out if it is empty.
std::string HistoryToJson(const History& history, const RunKey& run = {});

// kInvalidArgument: not JSON, or not a history; the message says where. A field left out has its
// default, and an id left out is the next one.
StatusOr<History> HistoryFromJson(std::string_view text);
// The run that the text names; empty ids where it names none.
StatusOr<RunKey> RunFromJson(std::string_view text);

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/history_json-inl.h"
#endif
